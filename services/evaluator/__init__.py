"""Evaluator: how far synthetic images are from real ones, with error bars and a floor."""
