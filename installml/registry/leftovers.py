"""Uploads that were cut off, remembered so that another process can go on with them.

One small file for each: the session's address, under the place and the blob. A file that was sent while it was still
being hashed has no digest yet; what ``stat`` tells of it stands for it until then. An address that may itself be a key
is not written down: nothing but distribution's ``_state`` (a signed offset, worth nothing without the right to push)
may stand in its query.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qsl, urlsplit

from ..digest import Digest
from ..errors import StoreError
from ..store.files import write_whole

__all__ = ["Leftovers", "Trace", "identity"]

_HARMLESS = frozenset({"_state"})
_MAX_URL = 4096
_LIFE = 24 * 3600.0  # seconds; registries sweep unfinished uploads away after hours or a week
_MOST = 1000


def identity(file: BinaryIO) -> str:
    """Return what names an open file, as it is now, before its digest is known.

    A file that is written to gets another ctime, which no program can set; and whatever is taken for the same file by
    mistake, the registry compares the blob with its digest at the end.
    """
    seen = os.fstat(file.fileno())
    return f"file:{seen.st_dev}:{seen.st_ino}:{seen.st_size}:{seen.st_mtime_ns}:{seen.st_ctime_ns}"


class Leftovers:
    """A folder of session addresses.

    Args:
        folder: Where they are; made at the first use.
        clock: Seconds since the epoch.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    def _path(self, place: str, blob: Digest | str) -> Path:
        return self._folder / f"{Digest.of(f'{place}@{blob}'.encode()).hex[:32]}.url"

    def find(self, place: str, blob: Digest | str) -> str:
        """Return where the upload of a blob to the repository ``place`` goes on, or nothing.

        Args:
            place: The repository.
            blob: Its digest, or the ``identity`` of a file whose digest was not known.
        """
        path = self._path(place, blob)
        try:
            status = path.stat()
            if status.st_size > _MAX_URL or not 0 <= self._clock() - status.st_mtime < _LIFE:
                return ""
            url = path.read_text("ascii")
        except (OSError, UnicodeDecodeError):
            return ""
        return url if _harmless(url) else ""

    def keep(self, place: str, blob: Digest | str, url: str) -> bool:
        """Remember ``url``, unless it looks like a secret or the disk refuses: an upload does not fail for that.

        Returns:
            Whether it is written down.
        """
        if len(url) > _MAX_URL or not _harmless(url):
            return False
        try:
            self._sweep()
            write_whole(self._path(place, blob), url.encode("ascii"), mode=0o600)
        except StoreError:
            return False
        return True

    def drop(self, place: str, blob: Digest | str) -> None:
        """Forget the upload."""
        with suppress(OSError):
            self._path(place, blob).unlink(missing_ok=True)

    def _sweep(self) -> None:
        with suppress(OSError):
            known = [(path.stat().st_mtime, path) for path in self._folder.glob("*.url")]
            oldest = self._clock() - _LIFE
            for _, path in sorted(known)[: max(0, len(known) - _MOST)] + [one for one in known if one[0] < oldest]:
                path.unlink(missing_ok=True)


class Trace:
    """What is written down of one upload.

    Args:
        leftovers: Where; None writes nothing.
        place: The repository.
        blobs: What the blob may be known by; the first of them from now on.

    Attributes:
        kept: Whether another process would find the upload.
    """

    def __init__(self, leftovers: Leftovers | None, place: str, *blobs: Digest | str) -> None:
        self.kept = False
        self._leftovers = leftovers
        self._place = place
        self._blobs = blobs

    def find(self) -> str:
        """Return where an upload of the blob goes on, or nothing."""
        if self._leftovers is None:
            return ""
        return next(filter(None, (self._leftovers.find(self._place, blob) for blob in self._blobs)), "")

    def keep(self, url: str) -> None:
        """Write down where it goes on."""
        self.kept = self._leftovers is not None and self._leftovers.keep(self._place, self._blobs[0], url)

    def drop(self) -> None:
        """Forget it."""
        self.kept = False
        if self._leftovers is not None:
            for blob in self._blobs:
                self._leftovers.drop(self._place, blob)


def _harmless(url: str) -> bool:
    try:
        parts = urlsplit(url)
        names = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))}
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and parts.scheme in {"http", "https"} and bool(parts.hostname)
    return plain and parts.username is None and parts.password is None and names <= _HARMLESS and not parts.fragment
