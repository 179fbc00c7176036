"""The process that loads one model: runs in the package's own environment, as a plain script.

Imports the standard library, numpy and the engine's library, never InstallML (tests/unit/serving holds it), so that
a package's pins are never touched by ours. Written for Python 3.9 and later. ``protocol`` and ``tensors`` are the
part that the front shares.
"""
