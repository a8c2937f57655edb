"""Images to features: reading, the networks that see them, and what each feature space is called."""
