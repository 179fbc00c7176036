"""Reading from places that nobody trusts: every byte is counted and hashed on its way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from ..digest import Readable, VerifyingReader
from ..errors import SizeMismatch
from ..spec.canonical import MAX_MANIFEST
from ..spec.descriptor import Descriptor
from ..spec.manifest import Index, Manifest, parse_manifest
from .protocol import Fetcher

__all__ = ["MAX_SMALL", "open_verified", "read_manifest", "read_verified"]

MAX_SMALL = 8 << 20
"""Largest blob read into memory: configs and our own small documents."""


@contextlib.contextmanager
def open_verified(
    source: Fetcher, descriptor: Descriptor, through: Callable[[Readable], Readable] | None = None
) -> Iterator[VerifyingReader]:
    """Open content; reading it to the end proves it.

    Args:
        source: Where it is.
        descriptor: What it must be.
        through: Wraps the raw stream, for counting.

    Raises:
        NotFound: The source does not have it.
        IntegrityError: From ``read``, when the bytes are not what ``descriptor`` names.
    """
    with source.fetch(descriptor) as stream:
        raw = through(stream) if through else stream
        yield VerifyingReader(raw, descriptor.digest, descriptor.size, str(source))


def read_verified(source: Fetcher, descriptor: Descriptor, *, cap: int = MAX_SMALL) -> bytes:
    """Return small content whole, proved.

    Raises:
        SizeMismatch: It claims more than ``cap`` bytes.
    """
    if descriptor.size > cap:
        raise SizeMismatch(cap, f"a claim of {descriptor.size}", str(source))
    with open_verified(source, descriptor) as stream:
        return stream.read()


def read_manifest(source: Fetcher, descriptor: Descriptor) -> Manifest | Index:
    """Return the manifest that ``descriptor`` names, proved and parsed."""
    data = read_verified(source, descriptor, cap=MAX_MANIFEST)
    return parse_manifest(data, descriptor.media_type, f"{source}@{descriptor.digest}")
