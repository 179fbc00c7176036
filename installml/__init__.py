"""Models as installable packages."""

__version__ = "0.1.0"
