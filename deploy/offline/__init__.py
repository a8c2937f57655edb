"""Training and drawing where no platform runs, such as a node of a cluster: a file in, files out."""
