"""The same training compiled by numba, for speed alone; README.md says how it is organised."""
