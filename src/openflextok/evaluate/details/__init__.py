"""Details that people look for: words that stay legible, faces that stay recognisable, by their size in the picture.

After TokBench (arXiv 2505.18142): T-ACC and T-NED of words, F-Sim of faces.
"""
