"""The interfaces that every place shares, one method each, and what they compose to.

A place ("target") is one repository: memory, a repository of the disk store, an ``oci-layout:`` folder, a
repository of a registry, a model folder as built. ``transfer.copy`` needs a ``Source`` and a ``Destination`` and
nothing else. ``installml.testing.StoreContract`` is the test that all of them pass.

Shared promises:

- ``fetch`` hands out bytes that the reader checks (``store.verified``): a place is never trusted.
- ``push`` takes exactly the named bytes or raises and leaves nothing visible; pushing what is there is no error.
- ``tag`` is atomic: readers see the old descriptor or the new one.
- Absent things raise ``installml.errors.NotFound``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol, runtime_checkable

from ..digest import Readable
from ..spec.descriptor import Descriptor
from ..spec.extents import Extent

__all__ = [
    "Assembler",
    "Assembly",
    "Completeness",
    "Deleter",
    "Destination",
    "Doubter",
    "Existence",
    "Fetcher",
    "FilePusher",
    "FileSource",
    "Mounter",
    "Pusher",
    "RangeFetcher",
    "ReferrerLister",
    "Resolver",
    "Roomy",
    "Source",
    "Span",
    "Supposer",
    "TagLister",
    "TagPusher",
    "Tagger",
    "Target",
    "Untagger",
    "Unwanted",
]


class Fetcher(Protocol):
    """Content can be read from it."""

    def fetch(self, descriptor: Descriptor) -> AbstractContextManager[Readable]:
        """Open the content that ``descriptor`` names; its bytes are not verified yet.

        Raises:
            NotFound: It is not there.
        """
        ...


class Existence(Protocol):
    """It can say whether it holds something."""

    def exists(self, descriptor: Descriptor) -> bool:
        """Return whether the content is there, whole."""
        ...


class Pusher(Protocol):
    """Content can be written to it."""

    def push(self, descriptor: Descriptor, content: Readable) -> None:
        """Take the content that ``descriptor`` names, all of it or nothing.

        Raises:
            IntegrityError: ``content`` is not what ``descriptor`` names; nothing was kept.
        """
        ...


class Resolver(Protocol):
    """It knows tags."""

    def resolve(self, pointer: str) -> Descriptor:
        """Return the descriptor of the manifest under ``pointer``, a tag or a digest.

        Raises:
            NotFound: There is none.
        """
        ...


class Tagger(Protocol):
    """Tags can be set."""

    def tag(self, descriptor: Descriptor, tag: str) -> None:
        """Let ``tag`` name the manifest ``descriptor``, which must be there already.

        Raises:
            NotFound: The manifest is not there.
        """
        ...


@runtime_checkable
class TagPusher(Protocol):
    """A manifest and its tag can be set in one step."""

    def push_tagged(self, manifest: Descriptor, content: Readable, tag: str) -> None:
        """Take ``manifest`` as ``push`` does, under ``tag`` at once if that can be done; ``tag`` is still to be called.

        Raises:
            IntegrityError: ``content`` is not what ``manifest`` names; nothing was kept.
        """
        ...


class TagLister(Protocol):
    """Tags can be listed."""

    def tags(self) -> Iterable[str]:
        """Return all tags, in ASCII order."""
        ...


class Untagger(Protocol):
    """Tags can be removed."""

    def untag(self, tag: str) -> None:
        """Remove ``tag``; the manifest stays until nothing names it.

        Raises:
            NotFound: There is no such tag.
        """
        ...


class Deleter(Protocol):
    """Manifests can be removed."""

    def delete(self, descriptor: Descriptor) -> None:
        """Remove the manifest and every tag on it."""
        ...


class ReferrerLister(Protocol):
    """It knows what refers to a manifest (image-spec, "subject")."""

    def referrers(self, descriptor: Descriptor, artifact_type: str = "") -> Iterable[Descriptor]:
        """Return the manifests whose subject is ``descriptor``, filtered by ``artifact_type`` when given."""
        ...


@runtime_checkable
class Mounter(Protocol):
    """A blob of a neighbour repository can be linked instead of sent."""

    def mount(self, descriptor: Descriptor, origin: object) -> bool:
        """Link the blob from ``origin``, a source place; return whether that worked."""
        ...


@runtime_checkable
class Completeness(Protocol):
    """It never holds a manifest without all that the manifest names."""

    def complete(self, manifest: Descriptor) -> bool:
        """Return whether the manifest, and so everything below it, is there."""
        ...


@runtime_checkable
class Supposer(Protocol):
    """To ask it costs time, and what it has said tells what it will say."""

    def supposes_missing(self, descriptor: Descriptor) -> bool:
        """Return whether the blob is to be pushed without asking for it: it is most likely not there."""
        ...


class Span(Protocol):
    """Consecutive bytes of one blob on their way from a place; not verified yet.

    Attributes:
        start: Offset of the first byte: the one that was asked for, or 0 when the place sends the whole blob instead.
        stop: Offset behind the last byte that will come.
    """

    start: int
    stop: int

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill ``buffer`` from its front as far as bytes come; return how many, 0 only at ``stop``.

        Raises:
            ConnectionLost: The bytes end before ``stop``; those already read are good to keep.
            TimedOut: Nothing came for too long.
        """
        ...

    def abort(self) -> None:
        """Cut it off, from any thread: a ``readinto`` that waits ends with ConnectionLost. Harmless when repeated."""
        ...


@runtime_checkable
class RangeFetcher(Protocol):
    """Parts of a blob can be read from it."""

    def fetch_range(self, descriptor: Descriptor, extent: Extent) -> AbstractContextManager[Span]:
        """Open the bytes ``extent`` of a blob. One attempt: whoever asks decides about another.

        Raises:
            RangesUnsupported: The place sends the whole blob although ``extent`` does not begin at 0; it was cut off.
            NotFound: The blob is not there.
            SizeMismatch: The place says that the blob has another size.
        """
        ...


@runtime_checkable
class Doubter(Protocol):
    """What it gives may come from several places, some of which may be wrong."""

    def doubt(self, descriptor: Descriptor) -> bool:
        """Hear that what came for a blob was wrong; return whether another attempt gets it from somewhere else."""
        ...


class Assembly(Protocol):
    """A blob that is being put together from pieces in any order; what is finished survives the process.

    ``write`` and ``read`` may be called from several threads, for bytes that do not overlap. Nothing is visible in
    the store before ``publish``.
    """

    descriptor: Descriptor

    def missing(self) -> list[Extent]:
        """Return the bytes that nobody has written yet, in ascending order."""
        ...

    def write(self, offset: int, block: memoryview | bytes) -> int:
        """Put bytes in their place.

        Returns:
            How many of them were missing until now.

        Raises:
            DiskFull: There is no room; what is there stays for another time.
        """
        ...

    def keep(self, extent: Extent) -> None:
        """Record that ``extent`` has been written whole, so that another process need not fetch it again."""
        ...

    def front(self) -> int:
        """Return up to which offset there is no gap."""
        ...

    def read(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer`` with bytes that have been written; return how many."""
        ...

    def file(self) -> BinaryIO:
        """Return the open file, for copying into it without passing through this process (``copy_file_range``).

        Whoever writes into it calls ``written`` for what it wrote.
        """
        ...

    def written(self, extent: Extent) -> int:
        """Take note of bytes that were put in place through ``file``; return how many were missing until now."""
        ...

    def forget(self, extent: Extent) -> None:
        """Take bytes for missing again: they have proved wrong."""
        ...

    def discard(self) -> None:
        """Throw everything away: the whole has proved wrong and nobody knows where."""
        ...

    def publish(self, *, hashed: bool = True) -> None:
        """Make the blob visible. Whoever calls it has compared the bytes with the descriptor.

        Args:
            hashed: With the blob's own digest; False when each chunk was compared with a list that a verified
                signature vouches for, and the blob's own digest is still to be computed some day.
        """
        ...


@runtime_checkable
class Assembler(Protocol):
    """Blobs can be put together in it from pieces."""

    def assemble(
        self, descriptor: Descriptor, *, stopped: Callable[[], bool], on_wait: Callable[[str], None]
    ) -> AbstractContextManager[Assembly | None]:
        """Open the blob for putting together, with everything that an earlier attempt has left of it.

        While another living process puts the same blob together, wait for it; if it dies, go on with what it has.

        Args:
            descriptor: The blob.
            stopped: Asked while waiting; true ends the wait.
            on_wait: Told once, in words, when there is somebody to wait for.

        Yields:
            The assembly; None when the blob is there already (meanwhile, perhaps). Leaving the block without
            ``publish`` keeps what was kept, for whoever comes next.

        Raises:
            DiskFull: The blob cannot fit; nothing was fetched.
        """
        ...


@runtime_checkable
class Roomy(Protocol):
    """It can say beforehand whether something fits."""

    def check_room(self, blobs: Sequence[Descriptor], spared: Callable[[Sequence[Descriptor]], int]) -> None:
        """Look whether there is room for those of ``blobs`` that are not there yet.

        Args:
            blobs: The blobs.
            spared: Asked only where it matters: how many bytes of the blobs it is given, which lack, lie in files of
                this machine already.

        Raises:
            DiskFull: There is not; nothing was changed.
        """
        ...


@runtime_checkable
class FileSource(Protocol):
    """Its blobs lie in files."""

    def open_file(self, descriptor: Descriptor) -> AbstractContextManager[BinaryIO | None]:
        """Open the file that holds exactly the content; None when this content is in no file of its own.

        Raises:
            NotFound: It is not there.
            SourceChanged: At the end of the block, when the file changed meanwhile.
        """
        ...


class Unwanted(Exception):
    """What a ``report`` raises when the blob need not arrive any more, so that what came of it is thrown away.

    After anything else that ends an upload, what came stays where it is, for whoever goes on with it.
    """


@runtime_checkable
class FilePusher(Protocol):
    """It can take content straight from a file."""

    def push_file(
        self,
        descriptor: Descriptor,
        file: BinaryIO,
        report: Callable[[int], None],
        *,
        proved: bool = False,
        already: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Take the content that ``descriptor`` names from ``file``; as ``push`` otherwise.

        Args:
            descriptor: What it must be.
            file: A regular file, unbuffered, that holds exactly the content.
            report: Told how many more bytes have gone, as ``BlobProgress.advance``, never those sent a second time;
                with 0 when it is only asked whether to go on. What it raises ends the push (``Unwanted``).
            proved: The bytes were compared with the digest before and the file has not been touched since: a
                destination that compares them itself may leave it at that.
            already: Told, before anything goes, how many bytes an earlier attempt has brought, if it has.
        """
        ...


class Source(Fetcher, Resolver, Protocol):
    """A place that packages come from."""


class Destination(Existence, Pusher, Tagger, Protocol):
    """A place that packages go to."""


class Target(Source, Destination, TagLister, Untagger, Deleter, ReferrerLister, Protocol):
    """A place in full: what the contract tests exercise."""
