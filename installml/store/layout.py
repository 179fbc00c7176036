"""An ``oci-layout:`` folder as a place: what other tools export and import (image-spec, "Image Layout").

Unlike our own store it has one shared ``index.json``; it is rewritten whole, under an advisory lock where the file
system has one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from ..digest import Digest, Readable
from ..errors import NotFound, StoreUnusable
from ..reference import check_tag
from ..spec.descriptor import Descriptor
from ..spec.manifest import Index, as_referrer, parse_manifest
from ..spec.media import IMAGE_INDEX, MANIFESTS
from .blobs import LAYOUT_MARK, BlobFolder
from .files import disk_errors, make_folder, write_whole
from .room import Spared, check_room, nothing_spared
from .verified import read_manifest

__all__ = ["LayoutStore"]

_REF_NAME = "org.opencontainers.image.ref.name"
Entries = tuple[Descriptor, ...]


class LayoutStore:
    """One OCI image layout folder.

    Args:
        path: The folder; created at the first write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.blobs = BlobFolder(path, path)

    def __str__(self) -> str:
        return f"oci-layout:{self.path}"

    def exists(self, descriptor: Descriptor) -> bool:
        """Return whether the content is there, and listed if it is a manifest that others shall find."""
        return self.blobs.exists(descriptor) and (
            descriptor.media_type not in MANIFESTS
            or any(entry.digest == descriptor.digest for entry in self._entries())
        )

    def fetch(self, descriptor: Descriptor) -> AbstractContextManager[Readable]:
        """Open the content."""
        return self.blobs.open(descriptor)

    def check_room(self, blobs: Sequence[Descriptor], spared: Spared = nothing_spared) -> None:
        """Look whether the disk has room for those of ``blobs`` that are not there yet."""
        check_room(self.blobs, blobs, spared)

    def push(self, descriptor: Descriptor, content: Readable) -> None:
        """Take the content; manifests are listed in the index, with or without a tag."""
        self._prepare()
        self.blobs.write(descriptor, content)
        if descriptor.media_type in MANIFESTS:
            self._change(lambda entries: _with(entries, descriptor))

    def _prepare(self) -> None:
        mark = make_folder(self.path) / "oci-layout"
        with _locked(self.path):
            if mark.exists():
                return
            if any(self.path.iterdir()):
                raise StoreUnusable(
                    f"{self.path} is not empty and not an OCI layout",
                    hint="Name a new or empty folder.",
                    subject=str(self.path),
                )
            write_whole(mark, LAYOUT_MARK)

    def _entries(self) -> Entries:
        path = self.path / "index.json"
        with disk_errors(path):
            data = path.read_bytes() if path.exists() else b""
        if not data:
            if not (self.path / "oci-layout").exists():
                raise NotFound(f"{self.path} is not an OCI layout folder", subject=str(self.path))
            return ()
        return parse_manifest(data, IMAGE_INDEX, str(path)).manifests

    def _change(self, change: Callable[[Entries], Entries]) -> None:
        with _locked(self.path):
            entries = change(self._entries())
            write_whole(self.path / "index.json", Index(entries).to_bytes())

    def resolve(self, pointer: str) -> Descriptor:
        """Return the manifest's descriptor under a tag or digest."""
        if ":" in pointer:
            digest = Digest.parse(pointer)
            found = next((entry for entry in self._entries() if entry.digest == digest), None)
        else:
            found = next((entry for entry in self._entries() if entry.annotations.get(_REF_NAME) == pointer), None)
        if found is None:
            raise NotFound(f"{self} has no {pointer}", subject=pointer)
        return found.bare()

    def tag(self, descriptor: Descriptor, tag: str) -> None:
        """Let ``tag`` name the manifest."""
        if not self.blobs.exists(descriptor):
            raise NotFound(f"{self} has no {descriptor.digest}", subject=str(descriptor.digest))
        if ":" in tag:
            return
        check_tag(tag)
        self._change(lambda entries: _with(_without(entries, tag), descriptor.bare().annotated({_REF_NAME: tag})))

    def manifests(self) -> list[Descriptor]:
        """Return what the index lists, each once: with one tag, with several, or with none."""
        return list({entry.digest: entry.bare() for entry in self._entries()}.values())

    def tags(self) -> list[str]:
        """Return all tags."""
        return sorted(name for entry in self._entries() if (name := entry.annotations.get(_REF_NAME)))

    def untag(self, tag: str) -> None:
        """Remove ``tag``; the manifest stays listed under its digest."""
        self.resolve(tag)
        self._change(lambda entries: _without(entries, tag))

    def delete(self, descriptor: Descriptor) -> None:
        """Remove the manifest from the index."""
        self.resolve(str(descriptor.digest))
        self._change(lambda entries: tuple(e for e in entries if e.digest != descriptor.digest))

    def referrers(self, descriptor: Descriptor, artifact_type: str = "") -> list[Descriptor]:
        """Return what refers to ``descriptor``, with artifact type and annotations filled in."""
        found = {}
        for entry in self._entries():
            if entry.media_type not in MANIFESTS or not self.blobs.exists(entry):
                continue
            manifest = read_manifest(self, entry)
            subject = manifest.subject
            if subject is not None and subject.digest == descriptor.digest and artifact_type in ("", manifest.kind):
                found[entry.digest] = as_referrer(entry, manifest)
        return sorted(found.values(), key=lambda d: d.digest)


def _with(entries: Entries, descriptor: Descriptor) -> Entries:
    """Return the entries with one more; an untagged entry gives way to a tagged one of the same manifest."""
    tagged = _REF_NAME in descriptor.annotations
    if not tagged and any(entry.digest == descriptor.digest for entry in entries):
        return entries
    kept = tuple(e for e in entries if not (tagged and e.digest == descriptor.digest and not e.annotations))
    return (*kept, descriptor if tagged else descriptor.bare())


def _without(entries: Entries, tag: str) -> Entries:
    return tuple(
        kept
        for entry in entries
        for kept in ([entry] if entry.annotations.get(_REF_NAME) != tag else _orphan(entries, entry))
    )


def _orphan(entries: Entries, entry: Descriptor) -> list[Descriptor]:
    others = sum(1 for other in entries if other.digest == entry.digest)
    return [] if others > 1 else [entry.bare()]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with disk_errors(path):
        handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # no flock on this file system
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
