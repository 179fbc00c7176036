"""Places that hold content: one set of small interfaces, in memory, on disk, as an OCI layout folder."""
