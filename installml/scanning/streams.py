"""Compressed files: gzip, bzip2, xz, LZMA, Zstandard, zlib as joblib writes it; and what nothing here can open."""

from __future__ import annotations

from installml.scanning.content import Expanded, codecs
from installml.scanning.finding import Content, Unreadable, Visit
from installml.scanning.sniff import compression, unscannable
from installml.scanning.zips import UNOPENABLE

__all__ = ["STREAMS", "UNOPENED"]

_EXTENSIONS = {
    ".gz": "", ".bz2": "", ".xz": "", ".lzma": "", ".zst": "", ".zstd": "", ".z": "", ".zlib": "",
    ".tgz": ".tar", ".tbz2": ".tar", ".tbz": ".tar", ".txz": ".tar", ".tzst": ".tar",
}  # fmt: skip
_CLOSED = (".7z", ".rar", ".lz4", ".cab", ".lz", ".lzo", ".sz", ".arj", ".sqfs", ".iso", ".dmg")
#: These have no checked header, so that other files can begin like them.
_WEAK = ("zlib", "lzma")


class StreamScanner:
    """Scans what comes out of a compression under the name without its ending."""

    name = "compressed"

    def claims(self, head: bytes, name: str) -> bool:
        """Claim what begins like a compressed stream or is called one."""
        return bool(compression(head)) or name.endswith(tuple(_EXTENSIONS))

    def scan(self, content: Content, visit: Visit) -> None:
        """Scan what comes out."""
        codec = compression(content.read_at(0, 16))
        ending = next((ending for ending in _EXTENSIONS if visit.name.lower().endswith(ending)), "")
        if not codec:
            if not unscannable(content.read_at(0, 64)):
                raise Unreadable("is called compressed and is not", 0)
            return
        expanded = Expanded(content, codecs()[codec], codec, visit.budget, several=codec != "zlib")
        try:
            expanded.read_at(0, 1)
        except Unreadable:
            # Nothing comes out for whoever loads it, either.
            if codec in _WEAK and not ending and not visit.name.lower().endswith((".pkl", ".joblib", ".pickle")):
                return
            raise
        name = visit.name[: len(visit.name) - len(ending)] + _EXTENSIONS.get(ending, "")
        visit.enter(name.rpartition("/")[2], expanded)


class ClosedScanner:
    """Reports containers that cannot be opened."""

    name = "closed container"

    def claims(self, head: bytes, name: str) -> bool:
        """Claim by first bytes or name."""
        return bool(unscannable(head)) or name.endswith(_CLOSED)

    def scan(self, content: Content, visit: Visit) -> None:
        """Report it."""
        kind = unscannable(content.read_at(0, 64)) or visit.name.rpartition(".")[2]
        visit.found(UNOPENABLE, f"a {kind} file", 0)


STREAMS = StreamScanner()
UNOPENED = ClosedScanner()
