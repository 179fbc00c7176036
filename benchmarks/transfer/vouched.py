"""The short way, measured before signatures exist: a pull whose chunk index is taken for signed.

``index OUT FILE ...`` computes the index that a push attaches; ``pull INDEX HOME REF`` pulls with it. The product
itself says that an index is vouched for only when a signature names it; here the answer is always yes, which is what
the trust module will answer for such a package. All the rest is the product's own way. Run it with ``python -P``: this
folder's modules must not shadow others.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from installml.api.places import find_remote, full
from installml.config import load
from installml.digest import Digest
from installml.errors import InstallMLError
from installml.packing.chunking import index_stream
from installml.spec.chunks import ChunkIndex, parse_chunk_index
from installml.spec.descriptor import Descriptor
from installml.store.protocol import Assembly
from installml.transfer import copy


def make(out: Path, files: list[Path]) -> None:
    """Write the indexes of files, by digest."""
    found = {}
    for path in files:
        with path.open("rb") as file:
            digest = Digest("sha256", hashlib.file_digest(file, "sha256").hexdigest())
            file.seek(0)
            size = path.stat().st_size
            data = index_stream(file, digest, size).to_bytes()
        found[str(digest)] = {"size": size, "index": base64.b64encode(data).decode()}
    out.write_text(json.dumps(found))


class Vouched:
    """A ``Delta`` without seeds that vouches for every index that it has."""

    def __init__(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        self._found = found

    def index(self, blob: Digest) -> ChunkIndex | None:
        """Return the chunk index of a blob."""
        entry = self._found.get(str(blob))
        if entry is None or not entry["size"]:
            return None
        return parse_chunk_index(base64.b64decode(entry["index"]), blob, entry["size"], "the benchmark")

    def vouched(self, blob: Digest) -> bool:
        """Say yes for whatever has an index."""
        return self.index(blob) is not None

    def fill(self, descriptor: Descriptor, assembly: Assembly) -> int:
        """Give nothing: there are no seeds."""
        return 0


def pull(index: Path, home: Path, reference: str) -> None:
    """Pull as ``installml pull`` does, with the index."""
    session = load({"home": str(home), "insecure": ("*",)}).session()
    found = find_remote(full(reference, session), session)
    found.package()
    session.store.prepare()
    with session.store.lease():
        copy(
            found.source,
            session.local(found.reference),
            found.descriptor,
            tags=[found.reference.tag],
            jobs=session.jobs,
            delta=Vouched(json.loads(index.read_text())),
        )


if __name__ == "__main__":
    if sys.argv[1] == "index":
        make(Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
    else:
        try:
            pull(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
        except InstallMLError as error:
            print(f"error: {error}\nhint: {error.hint}", file=sys.stderr)
            sys.exit(error.exit_code)
