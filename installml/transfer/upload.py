"""Blobs that leave from files: straight from an open file where both places can, without passing through ``read``."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, Protocol, runtime_checkable

from ..spec.descriptor import Descriptor
from ..store.protocol import FilePusher, FileSource

__all__ = ["Proved", "send_file"]


@runtime_checkable
class Proved(Protocol):
    """It remembers which of its files have been compared with their digests."""

    def proved(self, descriptor: Descriptor, file: BinaryIO) -> bool:
        """Return whether ``file`` has been compared with ``descriptor`` and not been touched since."""
        ...


def send_file(source: object, destination: object, descriptor: Descriptor, report: Callable[[int], None]) -> bool:
    """Send a blob from its file.

    Args:
        source: Where it is.
        destination: Where it shall be.
        descriptor: The blob.
        report: As ``FilePusher.push_file``.

    Returns:
        Whether it was sent; when not, one of the two has nothing to do with files, and it goes as a stream.

    Raises:
        SourceChanged: The file changed meanwhile.
        InstallMLError: As ``destination.push``.
    """
    if not isinstance(source, FileSource) or not isinstance(destination, FilePusher):
        return False
    with source.open_file(descriptor) as file:
        if file is None:
            return False
        proved = isinstance(source, Proved) and source.proved(descriptor, file)
        destination.push_file(descriptor, file, report, proved=proved)
    return True
