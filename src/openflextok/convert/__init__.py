"""Foreign checkpoints and networks: their names live here only."""
