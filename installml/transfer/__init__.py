"""Moving packages: one mechanism, ``copy(source, destination)``, for every pair of places."""

from .copy import Copied, copy

__all__ = ["Copied", "copy"]
