"""From samples to what the models read."""
