"""Weights that others trained: which are known, how they are checked, converted and kept."""
