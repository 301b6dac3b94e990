"""Tables, figures, claims and the page, made of the rows under ``results/``; no model is run."""
