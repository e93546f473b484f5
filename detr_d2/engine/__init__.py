"""Training: optimizer, step, trainer, weight averaging, hooks."""
