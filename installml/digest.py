"""Content digests: the one type through which a digest becomes a path, a URL or a comparison.

Grammar: image-spec, "Digests" (``algorithm ":" encoded``), narrowed to the registered algorithms sha256 and
sha512. Nothing else in the project builds a path from a digest string.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from .errors import DigestMismatch, IntegrityError, SizeMismatch

__all__ = ["CHUNK", "Digest", "DigestInvalid", "Readable", "VerifyingReader", "hash_stream"]

CHUNK = 1 << 20
"""Bytes moved at a time; large enough for hashing to dominate, small enough to stay in a core's cache."""

_PATTERN = re.compile(r"(sha256):([0-9a-f]{64})|(sha512):([0-9a-f]{128})")


class DigestInvalid(IntegrityError):
    """A string in a digest's place that is none."""

    reference = "digest-invalid"


class Readable(Protocol):
    """Something bytes can be read from, in pieces."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes; empty at the end."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """An algorithm and its lowercase hexadecimal value."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: object) -> Digest:
        """Return the digest that ``text`` spells.

        Raises:
            DigestInvalid: ``text`` is not a string of the grammar, or of another algorithm.
        """
        match = _PATTERN.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            shown = repr(text)[:90]
            raise DigestInvalid(f"{shown} is not a sha256 or sha512 digest", subject=shown)
        return cls(match[1] or match[3], match[2] or match[4])

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """Return the digest of ``data``."""
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    def hasher(self) -> hashlib._Hash:
        """Return a fresh hash object of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    @property
    def short(self) -> str:
        """The first twelve hexadecimal digits, for people."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


class VerifyingReader:
    """A stream that hands out exactly the named bytes, or raises before the last of them is trusted.

    The caller must read until it returns ``b""``: only then has the digest been compared.

    Args:
        source: Where the bytes come from.
        digest: What they must hash to.
        size: How many there must be, in bytes; reading stops at ``size + 1``.
        origin: Who sent them, for the error's sentence.

    Raises:
        SizeMismatch: At the read that finds too many or too few bytes.
        DigestMismatch: At the read that finds the end.
    """

    def __init__(self, source: Readable, digest: Digest, size: int, origin: str) -> None:
        self._source = source
        self._digest = digest
        self._size = size
        self._origin = origin
        self._hash = digest.hasher()
        self._seen = 0
        self.verified = False

    @classmethod
    def over(cls, source: Readable, digest: Digest, size: int, origin: str) -> VerifyingReader:
        """Return ``source`` itself when it proves the same claim already, so that no byte is hashed twice."""
        if isinstance(source, cls) and (source._digest, source._size, source._seen) == (digest, size, 0):
            return source
        return cls(source, digest, size, origin)

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes; all that is left, proved, when negative."""
        if size < 0:  # one read may be short (a socket, a file beyond 2 GiB) and must not pass for all of it
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        block = self._source.read(min(size, self._size + 1 - self._seen))
        self._seen += len(block)
        if self._seen > self._size:
            raise SizeMismatch(self._size, f"more than {self._size}", self._origin)
        self._hash.update(block)
        if not block and size:
            self._finish()
        return block

    def _finish(self) -> None:
        if self._seen != self._size:
            raise SizeMismatch(self._size, str(self._seen), self._origin)
        actual = Digest(self._digest.algorithm, self._hash.hexdigest())
        if actual != self._digest:
            raise DigestMismatch(str(self._digest), str(actual), self._origin)
        self.verified = True


def hash_stream(
    source: Readable, write: Callable[[bytes], Any] | None = None, algorithm: str = "sha256"
) -> tuple[Digest, int]:
    """Read ``source`` to its end once.

    Args:
        source: The stream.
        write: Called with each block, in order; the way to copy and hash in one read.
        algorithm: ``sha256`` or ``sha512``.

    Returns:
        The digest and the number of bytes.
    """
    state = hashlib.new(algorithm)
    total = 0
    while block := source.read(CHUNK):
        state.update(block)
        total += len(block)
        if write is not None:
            write(block)
    return Digest(algorithm, state.hexdigest()), total
