"""The record of which bytes of a half-fetched blob are there: a header line, then one short line an extent.

Lines are appended by one write each, so a killed process leaves whole lines and perhaps one torn one, which is ignored.
Nothing here is trusted beyond "these bytes need not be fetched": whoever publishes the blob has hashed them.

``+ start stop``: written, in the page cache of the boot that the header names. ``= start stop``: on the disk for
good. ``- start stop``: proved wrong, to be fetched again.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from ..digest import Digest
from ..spec.canonical import JSONInvalid, canonical, parse_json
from ..spec.descriptor import Descriptor
from ..spec.extents import Extent, Extents
from ..spec.node import Node

__all__ = ["MAX_JOURNAL", "Journal", "Log"]

MAX_JOURNAL = 16 << 20
"""Bytes of a journal that are read, and after which it is written anew with its extents joined."""

_MAX_HEADER = 1024
_LINE = re.compile(rb"([-+=]) (\d{1,18}) (\d{1,18})")
_VERSION = 1


@dataclass(slots=True)
class Journal:
    """What is there of one blob.

    Attributes:
        descriptor: The blob, by digest and size.
        boot: The run of the kernel in whose page cache the kept bytes are.
        kept: Bytes written, whoever looks from the same boot.
        synced: Those of them that survive a power cut.
    """

    descriptor: Descriptor
    boot: str
    kept: Extents = field(default_factory=Extents)
    synced: Extents = field(default_factory=Extents)

    @classmethod
    def read(cls, path: Path, descriptor: Descriptor) -> Journal | None:
        """Return the journal in ``path``; None when it is of another blob, another format, or none at all."""
        try:
            with path.open("rb") as file:
                data = file.read(MAX_JOURNAL)
        except OSError:
            return None
        header, *lines = data.split(b"\n")
        boot = _boot(header, descriptor)
        if boot is None:
            return None
        journal = cls(descriptor, boot)
        for line in lines[:-1]:  # what follows the last newline is torn, or nothing
            if not journal._take(line):
                break
        return journal

    def _take(self, line: bytes) -> bool:
        match = _LINE.fullmatch(line)
        if match is None:
            return False
        extent = Extent(int(match[2]), int(match[3]))
        if not extent.start < extent.stop <= self.descriptor.size:
            return False
        self.note(chr(line[0]), extent)
        return True

    def note(self, sign: str, extent: Extent) -> bytes:
        """Take note of an extent under one of the signs ``+ = -``; return the line that says so."""
        if sign == "-":
            self.kept.remove(extent)
            self.synced.remove(extent)
        else:
            self.kept.add(extent)
        if sign == "=":
            self.synced.add(extent)
        return f"{sign} {extent.start} {extent.stop}\n".encode()

    def usable(self, boot: str) -> Extents:
        """Return the bytes that a process of ``boot`` may go on with."""
        return Extents(self.kept if boot == self.boot else self.synced)

    def encode(self) -> bytes:
        """Return the journal's text, each extent once."""
        digest, size = self.descriptor.digest, self.descriptor.size
        header = canonical({"boot": self.boot, "digest": str(digest), "size": size, "version": _VERSION})
        lines = [header + b"\n"]
        lines += [f"+ {extent.start} {extent.stop}\n".encode() for extent in self.kept]
        lines += [f"= {extent.start} {extent.stop}\n".encode() for extent in self.synced]
        return b"".join(lines)

    def save(self, path: Path) -> int:
        """Replace the file ``path`` by this journal; return a handle to append further lines with."""
        staging = path.with_name("journal.new")
        handle = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
        try:
            os.write(handle, self.encode())
            staging.replace(path)
        except BaseException:
            os.close(handle)
            raise
        return handle


class Log:
    """A journal and the open file that it is written to, line by line. Not thread-safe.

    Args:
        journal: What is there; the file is written anew from it.
        path: The file.
    """

    def __init__(self, journal: Journal, path: Path) -> None:
        self._journal = journal
        self._handle = journal.save(path)
        self._length = 0

    def note(self, sign: str, extent: Extent, path: Path) -> None:
        """Take note of an extent as ``Journal.note`` does, in the file too; ``path`` is where that lies now."""
        if extent.start >= extent.stop:
            return
        line = self._journal.note(sign, extent)
        os.write(self._handle, line)
        self._length += len(line)
        if self._length > MAX_JOURNAL // 4:
            self.rewrite(path)

    def rewrite(self, path: Path) -> None:
        """Write the journal anew, each extent once; on a full disk the old one has to do."""
        with contextlib.suppress(OSError):
            old, self._handle = self._handle, self._journal.save(path)
            self._length = 0
            os.close(old)

    def duplicate(self) -> int:
        """Return another handle to the file, for the caller to close."""
        return os.dup(self._handle)

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)


def _boot(header: bytes, descriptor: Descriptor) -> str | None:
    """Return the boot that a header names, or None when it is not the header of this blob's journal."""
    if len(header) > _MAX_HEADER:
        return None
    try:
        node = Node(parse_json(header, "journal"))
    except JSONInvalid:
        return None
    keys = node.mapping(("boot", "digest", "size", "version"), ("boot", "digest", "size", "version"))
    digest = keys["digest"].parsed(Digest.parse)
    boot, size, version = keys["boot"].string(), keys["size"].integer(), keys["version"].integer()
    if node.violations or (digest, size, version) != (descriptor.digest, descriptor.size, _VERSION):
        return None
    return boot
