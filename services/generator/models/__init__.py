"""What a diffusion model is: presets, the network, and the files of its weights, also to and from elsewhere."""
