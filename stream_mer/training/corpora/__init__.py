"""Public data sets in their published layouts, one module each; ``registry`` knows them all."""
