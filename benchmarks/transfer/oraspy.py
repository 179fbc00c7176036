"""oras-py as a command, run by its own interpreter: ``push REF FILE ...`` or ``pull REF DIR``."""

import sys

import oras.client

verb, reference, *rest = sys.argv[1:]
client = oras.client.OrasClient(insecure=True)
if verb == "push":
    client.push(target=reference, files=rest, disable_path_validation=True)
else:
    client.pull(target=reference, outdir=rest[0])
