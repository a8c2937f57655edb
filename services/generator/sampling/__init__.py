"""How a trained model draws: `drawing` runs it, `samplers` has the steps, `recipe` says all that decides a pixel."""
