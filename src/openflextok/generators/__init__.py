"""Generators: a GPT over the ordered tokens of a tokenizer."""
