"""The generator: trains one diffusion model per tumour class and draws synthetic MRIs from it."""
