"""What can be said about a package in other people's formats: bills of materials, provenance, scan results.

Pure builders: facts in, a document out that JSON can spell; times and identities are arguments, and the same
arguments give the same bytes. ``facts`` alone reads, through ``store.protocol``. Nothing here signs or attaches.
"""
