"""Conditions: labels and captions as what a GPT reads before the tokens, or attends to."""
