"""The paper's claims, judged by rows."""
