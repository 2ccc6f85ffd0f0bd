"""The `openflextok` command: one typed function per sub-command, heavy imports inside the functions."""
