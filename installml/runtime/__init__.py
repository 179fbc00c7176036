"""A package's Python: locking its requirements at build, and making the environment its worker runs in.

``uv`` does the work in a child process; nothing of a package's environment is ever imported here.
"""
