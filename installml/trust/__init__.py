"""Who vouches for a package, and what is decided about it: formats, evidence, policy. Pure: no I/O, no clock."""
