"""Quantizers: continuous slots to token ids and back."""
