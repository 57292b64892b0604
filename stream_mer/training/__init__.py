"""Training and measuring: the corpus, what is computed of it once, the losses, the loop and the tables."""
