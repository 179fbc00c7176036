"""A place in memory: for tests, small things, and as the shortest description of what a place is."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

from ..digest import Digest, Readable, VerifyingReader
from ..errors import NotFound
from ..reference import check_tag
from ..spec.descriptor import Descriptor
from ..spec.manifest import as_referrer, parse_manifest
from ..spec.media import MANIFESTS

__all__ = ["MemoryStore"]


class MemoryStore:
    """One repository in memory; safe for several threads because each step is one dictionary operation."""

    def __init__(self, name: str = "memory") -> None:
        self._name = name
        self._content: dict[Digest, tuple[Descriptor, bytes]] = {}
        self._tags: dict[str, Descriptor] = {}

    def __str__(self) -> str:
        return self._name

    def exists(self, descriptor: Descriptor) -> bool:
        """Return whether the content is there."""
        held = self._content.get(descriptor.digest)
        return held is not None and held[0].size == descriptor.size

    @contextlib.contextmanager
    def fetch(self, descriptor: Descriptor) -> Iterator[Readable]:
        """Open the content."""
        if descriptor.digest not in self._content:
            raise NotFound(f"{self} has no {descriptor.digest}", subject=str(descriptor.digest))
        yield io.BytesIO(self._content[descriptor.digest][1])

    def push(self, descriptor: Descriptor, content: Readable) -> None:
        """Take the content, verified."""
        data = VerifyingReader.over(content, descriptor.digest, descriptor.size, "the source").read()
        self._content[descriptor.digest] = (descriptor.bare(), data)

    def resolve(self, pointer: str) -> Descriptor:
        """Return the manifest's descriptor under a tag or digest."""
        if ":" in pointer:
            found, _ = self._content.get(Digest.parse(pointer), (None, b""))
        else:
            found = self._tags.get(pointer)
        if found is None or found.media_type not in MANIFESTS:
            raise NotFound(f"{self} has no {pointer}", subject=pointer)
        return found

    def tag(self, descriptor: Descriptor, tag: str) -> None:
        """Let ``tag`` name the manifest; a digest in its place changes nothing here."""
        if not self.exists(descriptor):
            raise NotFound(f"{self} has no {descriptor.digest}", subject=str(descriptor.digest))
        if ":" not in tag:
            self._tags[check_tag(tag)] = descriptor.bare()

    def tags(self) -> list[str]:
        """Return all tags."""
        return sorted(self._tags)

    def untag(self, tag: str) -> None:
        """Remove ``tag``."""
        if self._tags.pop(tag, None) is None:
            raise NotFound(f"{self} has no tag {tag}", subject=tag)

    def delete(self, descriptor: Descriptor) -> None:
        """Remove the manifest and its tags."""
        if self._content.pop(descriptor.digest, None) is None:
            raise NotFound(f"{self} has no {descriptor.digest}", subject=str(descriptor.digest))
        self._tags = {t: d for t, d in self._tags.items() if d.digest != descriptor.digest}

    def referrers(self, descriptor: Descriptor, artifact_type: str = "") -> list[Descriptor]:
        """Return what refers to ``descriptor``, with artifact type and annotations filled in."""
        found = []
        for own, data in list(self._content.values()):
            if own.media_type not in MANIFESTS:
                continue
            manifest = parse_manifest(data, own.media_type, str(self))
            if manifest.subject is None or manifest.subject.digest != descriptor.digest:
                continue
            if artifact_type in ("", manifest.kind):
                found.append(as_referrer(own, manifest))
        return sorted(found, key=lambda d: d.digest)
