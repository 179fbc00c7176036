"""Uploads that were cut off, remembered so that another process can go on with them.

One small file for each: the session's address. An address that may itself be a key is not written down: nothing but
distribution's ``_state`` (a signed offset, worth nothing without the right to push) may stand in its query.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from ..digest import Digest
from ..errors import StoreError
from ..store.files import write_whole

__all__ = ["Leftovers"]

_HARMLESS = frozenset({"_state"})
_MAX_URL = 4096
_LIFE = 24 * 3600.0  # seconds; registries sweep unfinished uploads away after hours or a week
_MOST = 1000


class Leftovers:
    """A folder of session addresses.

    Args:
        folder: Where they are; made at the first use.
        clock: Seconds since the epoch.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    def _path(self, place: str, digest: Digest) -> Path:
        return self._folder / f"{Digest.of(f'{place}@{digest}'.encode()).hex[:32]}.url"

    def find(self, place: str, digest: Digest) -> str:
        """Return where the upload of ``digest`` to the repository ``place`` was cut off, or nothing."""
        path = self._path(place, digest)
        try:
            status = path.stat()
            if status.st_size > _MAX_URL or not 0 <= self._clock() - status.st_mtime < _LIFE:
                return ""
            url = path.read_text("ascii")
        except (OSError, UnicodeDecodeError):
            return ""
        return url if _harmless(url) else ""

    def keep(self, place: str, digest: Digest, url: str) -> None:
        """Remember ``url``, unless it looks like a secret or the disk refuses: an upload does not fail for that."""
        if len(url) <= _MAX_URL and _harmless(url):
            with suppress(StoreError):
                self._sweep()
                write_whole(self._path(place, digest), url.encode("ascii"), mode=0o600)

    def drop(self, place: str, digest: Digest) -> None:
        """Forget the upload."""
        with suppress(OSError):
            self._path(place, digest).unlink(missing_ok=True)

    def _sweep(self) -> None:
        with suppress(OSError):
            known = [(path.stat().st_mtime, path) for path in self._folder.glob("*.url")]
            oldest = self._clock() - _LIFE
            for _, path in sorted(known)[: max(0, len(known) - _MOST)] + [one for one in known if one[0] < oldest]:
                path.unlink(missing_ok=True)


def _harmless(url: str) -> bool:
    try:
        parts = urlsplit(url)
        names = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))}
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and parts.scheme in {"http", "https"} and bool(parts.hostname)
    return plain and parts.username is None and parts.password is None and names <= _HARMLESS and not parts.fragment
