"""Signing: private keys and who holds them, attaching signatures to packages, collecting those of others.

- ``errors`` the tree · ``secret`` passphrases · ``keyfile`` private keys as files
- ``keyring`` the keys of this machine by name
- ``signers`` one interface over files, hardware modules and key services

What a signature means, and what follows from it, is ``installml.trust``, which does no I/O.
"""
