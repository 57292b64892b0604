"""Programs for the maintainers: they make what the package ships and what the documentation shows."""
