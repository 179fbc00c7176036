"""Look for danger in the files of a package without opening them the dangerous way.

Nothing here unpickles, imports or runs what a file names. What cannot be read to its end, although its name or
its first bytes say what it is, is a finding and never silence.
"""
