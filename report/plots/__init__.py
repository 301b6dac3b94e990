"""Marks and panels of figures."""
