"""Artifacts: the image sets, models and reports that users keep, each with a manifest that explains it."""
