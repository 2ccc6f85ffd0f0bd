"""Latent spaces: pixels, and KL autoencoders."""
