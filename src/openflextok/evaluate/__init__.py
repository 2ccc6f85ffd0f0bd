"""Measuring tokenizers and generators: metrics, Frechet distances, reconstruction curves."""
