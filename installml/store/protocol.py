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

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from ..digest import Readable
from ..spec.descriptor import Descriptor

__all__ = [
    "Completeness",
    "Deleter",
    "Destination",
    "Existence",
    "Fetcher",
    "Mounter",
    "Pusher",
    "ReferrerLister",
    "Resolver",
    "Source",
    "TagLister",
    "Tagger",
    "Target",
    "Untagger",
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


class Source(Fetcher, Resolver, Protocol):
    """A place that packages come from."""


class Destination(Existence, Pusher, Tagger, Protocol):
    """A place that packages go to."""


class Target(Source, Destination, TagLister, Untagger, Deleter, ReferrerLister, Protocol):
    """A place in full: what the contract tests exercise."""
