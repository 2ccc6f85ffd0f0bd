"""Rectified flow: the path between noise and latents, its solvers and its guidance."""
