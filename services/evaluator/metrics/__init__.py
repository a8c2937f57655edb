"""Features to numbers with error bars: which images are compared, each score, its interval and its floor."""
