"""The study's loop against the platform's on one GPU, as ratios of the same minutes: `make bench-gpu`."""
