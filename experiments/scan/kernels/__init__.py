"""The same training, compiled by numba for speed; see README.md."""
