"""The verbs as functions: the Python SDK. One verb a file; ``installml`` re-exports them.

Functions take keyword arguments named as the command line's flags, return frozen dataclasses (``results``) that the
command line prints, and raise the tree of ``installml.errors``.
"""
