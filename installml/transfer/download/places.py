"""Between which places a download works, and who is told about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ...errors import InstallMLError
from ...events import Listener
from ...spec.chunks import ChunkIndex
from ...spec.descriptor import Descriptor
from ...spec.media import ANNOTATION_TITLE, IMAGE_INDEX, IMAGE_MANIFEST, MODEL_CONFIGS
from ...store.protocol import Assembler, Destination, Doubter, RangeFetcher
from ..delta import Delta
from ..rate import Rate

__all__ = ["Cancelled", "Places", "Store", "title"]

_NAMES = {**dict.fromkeys(MODEL_CONFIGS, "config"), IMAGE_MANIFEST: "manifest", IMAGE_INDEX: "index"}
"""What has no path in the package."""


class Cancelled(InstallMLError):
    """Another part of the same copy failed first; never shown by itself."""

    reference = "cancelled"


class Store(Assembler, Destination, Protocol):
    """Where blobs are put."""


def title(descriptor: Descriptor) -> str:
    """Return what people call a blob: its file's path, or what it is, or the beginning of its digest."""
    named = descriptor.annotations.get(ANNOTATION_TITLE) or _NAMES.get(descriptor.media_type)
    return named or descriptor.digest.short


@dataclass(frozen=True, slots=True)
class Places:
    """Where blobs come from, where they go, and what helps on the way.

    Attributes:
        source: Where they are.
        destination: Where they go.
        on_event: Told what happens, from several threads.
        done: Told of each blob that is there, and how: ``copied`` or ``exists``.
        delta: Chunk indexes, and what is on this machine already.
        limit: A ceiling on bytes a second.
    """

    source: RangeFetcher
    destination: Store
    on_event: Listener
    done: Callable[[Descriptor, str], None]
    delta: Delta | None = None
    limit: Rate | None = None

    @property
    def origin(self) -> str:
        """What people call the source."""
        return str(self.source)

    def elsewhere(self, descriptor: Descriptor) -> bool:
        """Tell the source that what came was wrong; return whether the next attempt gets it from another place."""
        return isinstance(self.source, Doubter) and self.source.doubt(descriptor)

    def index(self, descriptor: Descriptor) -> ChunkIndex | None:
        """Return the chunk index of a blob; asking for it may cost requests, so only whoever needs it does.

        An index that is about another blob would only lead astray: it counts as none.
        """
        index = self.delta.index(descriptor.digest) if self.delta is not None else None
        if index is None or index.blob != descriptor.digest or index.size != descriptor.size:
            return None
        return index if len(index) else None

    def vouched(self, descriptor: Descriptor) -> ChunkIndex | None:
        """Return the chunk index of a blob when a verified signature vouches for it."""
        known = self.delta is not None and self.delta.vouched(descriptor.digest)
        return self.index(descriptor) if known else None
