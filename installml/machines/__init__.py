"""What a machine has and whether a package can run on it: rules without I/O, and one probe that asks the machine."""
