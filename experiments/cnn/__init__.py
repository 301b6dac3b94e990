"""CNNs: equitune, equizero and lambda-equitune on rotated images (paper, Figures 5b and 11b)."""
