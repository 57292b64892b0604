"""One module a subcommand; each defines ``command`` and holds no logic of its own beyond joining."""
