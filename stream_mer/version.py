"""The version, in a module of its own: the build reads it, and no module of the package imports ``__init__``."""

__version__ = "0.2.0"
