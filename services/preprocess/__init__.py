"""Preprocessing: raw image sets in, clean square gray images and a report on the data out."""
