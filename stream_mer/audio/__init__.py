"""From samples to the inputs of the models."""
