"""Training: settings, objectives, the loop, exact resume."""
