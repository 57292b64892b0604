"""The joint model, its audio backbone, its checkpoints, and how its estimates become steady frames."""
