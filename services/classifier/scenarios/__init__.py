"""Which mixes of real and synthetic images to train on, and what training on each of them shows."""
