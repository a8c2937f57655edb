"""How a diffusion model learns: `loop` runs it, the other modules are its parts."""
