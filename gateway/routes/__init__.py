"""The calls of the public API, one module for each noun."""
