"""The store on disk: content shared by all repositories, and one small file for each ref (docs/adr/0003).

There is no database and no shared index, so two processes cannot damage one. A ref is
``refs/<registry>/<repository>/@<tag>``; ``=<digest>`` keeps a manifest that has no tag; ``^<subject>/<digest>``
lists a referrer. The marks ``@ = ^`` cannot start a path component of a repository, so a tag is never in the way
of a repository of the same name.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..digest import Digest, Readable
from ..errors import NotFound, StoreUnusable
from ..reference import Reference, check_repository, check_tag
from ..spec.canonical import MAX_MANIFEST, JSONInvalid, canonical, parse_json
from ..spec.descriptor import Descriptor, parse_descriptor
from ..spec.manifest import Index, Manifest, as_referrer
from ..spec.media import IMAGE_INDEX, IMAGE_MANIFEST, MANIFESTS
from ..spec.node import Node
from .blobs import LAYOUT_MARK, BlobFolder
from .chunks import ChunkFolder
from .files import disk_errors, make_folder, remove_empty, unique_suffix, write_whole
from .host import Host, process_alive
from .left_out import LeftOut
from .made import Made
from .owed import Owed
from .partial import Partial
from .room import Spared, check_room, nothing_spared
from .unsynced import Unsynced
from .verified import read_manifest

__all__ = ["DiskRepository", "DiskStore", "Ref"]

_LEASE_LIFE = 24 * 3600.0  # seconds a lease of another host counts without a sign of life


def encode_host(registry: str) -> str:
    """Return ``registry`` as a folder name on any file system; ``_decode_host`` is the way back."""
    return registry.replace(":", "_").replace("[", "(").replace("]", ")")  # none of _ ( ) can be in a host name


def _decode_host(name: str) -> str:
    return name.replace("_", ":").replace("(", "[").replace(")", "]")


@dataclass(frozen=True, slots=True)
class Ref:
    """One entry of the store.

    Attributes:
        reference: Registry, repository and tag or digest.
        descriptor: The manifest.
        modified: Seconds since the epoch at which the ref was last set.
    """

    reference: Reference
    descriptor: Descriptor
    modified: float


class DiskStore:
    """A folder that holds packages.

    Args:
        root: The folder; created at the first write.
        clock: Seconds since the epoch.
        host: The machine; its clock counts for what other machines have left.
    """

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time, host: Host | None = None) -> None:
        self.root = root
        self.clock = clock
        self._mark = f"{root}/oci-layout"
        self.host = host or Host(clock=clock)
        self.unsynced = Unsynced(root / "state" / "unsynced", self.host)
        self.blobs = BlobFolder(root, root / "ingest", self.host, self.unsynced)
        self.chunks = ChunkFolder(root, root / "ingest", self.host)
        self.owed = Owed(root / "state", self.blobs, self.write, clock)
        self.left_out = LeftOut(root / "state" / "partial", self.write, self.blobs.path)
        self.made = Made(root / "state" / "made", self.write)

    def __str__(self) -> str:
        return str(self.root)

    def prepare(self) -> None:
        """Create the folder and its layout mark, so that other tools know what it is.

        Raises:
            StoreUnusable: The place is a file, read-only, or not ours.
        """
        if not os.path.exists(self._mark):  # noqa: PTH110  # before each blob: a Path takes longer than the question
            make_folder(self.root)
            self.write(Path(self._mark), LAYOUT_MARK)

    def write(self, path: Path, data: bytes) -> None:
        """Make ``path`` hold exactly ``data``; what a killed process leaves of it lies where a collection looks."""
        write_whole(path, data, via=self.root / "ingest")

    def reassemble(self, descriptor: Descriptor) -> AbstractContextManager[Partial]:
        """Open damaged content for mending: an assembly of a copy of it, in which nothing is missing.

        Take out what is wrong with ``forget``, write it anew, ``publish``: the content is replaced in one step. Leaving
        without ``publish`` changes nothing.

        Raises:
            NotFound: There is nothing to mend.
            DiskFull: There is no room for the copy.
        """
        return self.blobs.reassemble(descriptor, self.owed.note)

    def repository(self, registry: str, repository: str) -> DiskRepository:
        """Return the place for one repository."""
        return DiskRepository(self, registry, check_repository(repository))

    @contextlib.contextmanager
    def lease(self) -> Iterator[None]:
        """Keep a collection from removing what is written or reused inside the block.

        Raises:
            StoreUnusable: Nothing can be written here.
        """
        path = self.root / "ingest" / f"lease.{unique_suffix()}"
        holder = canonical({"host": socket.gethostname(), "pid": os.getpid(), "since": int(self.clock())})
        try:
            write_whole(path, holder)
        except StoreUnusable as error:
            raise self._closed(error) from error.__cause__
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    def _closed(self, error: StoreUnusable) -> StoreUnusable:
        """Return the error that says so when nothing at all can be written here; else ``error``."""
        cause = error.__cause__
        if not self.root.is_dir() or os.access(self.root, os.W_OK) or not isinstance(cause, OSError):
            return error
        why = (cause.strerror or str(cause)).lower()
        return StoreUnusable(
            f"{self.root} can only be read: {why}",
            hint="What is there can be listed, read, copied and verified. To fetch, build or install, choose another "
            "place with --home DIR or INSTALLML_HOME.",
            subject=str(self.root),
        )

    def lease_floor(self) -> float:
        """Return the time since which content may belong to somebody's unfinished work; now when there is none."""
        floor = self.clock()
        for path in (self.root / "ingest").glob("lease.*"):
            with contextlib.suppress(OSError):
                since = self._held_since(path)
                if since is None:
                    path.unlink(missing_ok=True)
                else:
                    floor = min(floor, since)
        return floor

    def _held_since(self, path: Path) -> float | None:
        """Return when the work under a lease began, or None when its holder is gone."""
        written = path.stat().st_mtime
        try:
            node = Node(parse_json(path.read_bytes(), str(path)))
        except JSONInvalid:
            node = Node({})
        keys = node.mapping(("host", "pid", "since"), ("host", "pid", "since"))
        host, pid, since = keys["host"].string(), keys["pid"].integer(), keys["since"].integer()
        if node.violations or host != socket.gethostname():
            return float(since) if self.clock() - written < _LEASE_LIFE else None
        return float(since) if process_alive(pid) else None

    def refs(self) -> Iterator[Ref]:
        """Yield every ref, in the order of their names; damaged ref files raise StoreUnusable."""
        base = self.root / "refs"
        for path in sorted(p for mark in "@=" for p in base.rglob(f"{mark}*")):
            ref = self._read(path, base)
            if ref is not None:
                yield ref

    def _read(self, path: Path, base: Path) -> Ref | None:
        host, *parts = path.relative_to(base).parent.parts
        try:
            descriptor = read_ref(path)
            modified = path.stat().st_mtime
        except NotFound:
            return None
        name = Reference(_decode_host(host), "/".join(parts))
        mark, rest = path.name[0], path.name[1:]
        reference = name.with_tag(rest) if mark == "@" else name.with_digest(descriptor.digest)
        return Ref(reference, descriptor, modified)


class DiskRepository:
    """One repository of the disk store: implements ``store.protocol.Target``."""

    def __init__(self, store: DiskStore, registry: str, repository: str) -> None:
        self.store = store
        self.registry = registry
        self.name = repository
        self.folder = store.root.joinpath("refs", encode_host(registry), *repository.split("/"))

    def __str__(self) -> str:
        return f"{self.store}:{self.registry}/{self.name}"

    def exists(self, descriptor: Descriptor) -> bool:
        """Return whether the content is in the store; a referrer must be listed in this repository as well."""
        return self.store.blobs.exists(descriptor) and self._listed(descriptor)

    def _listed(self, descriptor: Descriptor) -> bool:
        subject = self.manifest(descriptor).subject if descriptor.media_type in MANIFESTS else None
        return subject is None or self._referrer(subject.digest, descriptor.digest).exists()

    def fetch(self, descriptor: Descriptor) -> AbstractContextManager[Readable]:
        """Open the content."""
        return self.store.blobs.open(descriptor)

    def push(self, descriptor: Descriptor, content: Readable) -> None:
        """Take the content; a manifest with a subject is listed among the subject's referrers."""
        self.store.prepare()
        self.store.blobs.write(descriptor, content)
        if descriptor.media_type in MANIFESTS:
            manifest = read_manifest(self, descriptor)
            if manifest.subject is not None:
                entry = descriptor.bare().to_json() | {"artifactType": manifest.kind}
                self.store.write(self._referrer(manifest.subject.digest, descriptor.digest), canonical(entry))

    def assemble(
        self, descriptor: Descriptor, *, stopped: Callable[[], bool], on_wait: Callable[[str], None]
    ) -> AbstractContextManager[Partial | None]:
        """Open a blob for putting together, with everything that an earlier attempt has left of it."""
        self.store.prepare()
        return self.store.blobs.assemble(descriptor, stopped=stopped, on_wait=on_wait, owe=self.store.owed.note)

    def check_room(self, blobs: Sequence[Descriptor], spared: Spared = nothing_spared) -> None:
        """Look whether the disk has room for those of ``blobs`` that are not there yet."""
        check_room(self.store.blobs, blobs, spared)

    def open_file(self, descriptor: Descriptor) -> AbstractContextManager[BinaryIO | None]:
        """Open the file that holds exactly the content."""
        return self.store.blobs.open_file(descriptor)

    def _referrer(self, subject: Digest, digest: Digest) -> Path:
        return self.folder / f"^{subject.algorithm}-{subject.hex}" / f"{digest.algorithm}-{digest.hex}"

    def _ref(self, pointer: str) -> Path:
        if ":" in pointer:
            digest = Digest.parse(pointer)
            return self.folder / f"={digest.algorithm}-{digest.hex}"
        return self.folder / f"@{check_tag(pointer)}"

    def resolve(self, pointer: str) -> Descriptor:
        """Return the manifest's descriptor under a tag or digest."""
        if ":" in pointer:
            return self._by_digest(Digest.parse(pointer))
        return read_ref(self._ref(pointer), f"{self.registry}/{self.name}:{pointer}")

    def _by_digest(self, digest: Digest) -> Descriptor:
        path = self.store.blobs.path(digest)
        try:
            size = path.stat().st_size
            data = path.read_bytes() if size <= MAX_MANIFEST else b""
        except FileNotFoundError as error:
            raise NotFound(f"{self} has no {digest}", subject=str(digest)) from error
        except OSError as error:
            raise StoreUnusable(f"{error.strerror}: {path}", subject=str(path)) from error
        media_type = sniff(data, str(path))
        if media_type is None:
            raise NotFound(f"{self} has no manifest {digest}", subject=str(digest))
        return Descriptor(media_type, digest, size)

    def tag(self, descriptor: Descriptor, tag: str) -> None:
        """Let ``tag`` (or the digest itself) keep the manifest, after checking that all below it is there.

        Raises:
            NotFound: The manifest is missing, or something that it names and that was not left out on purpose.
        """
        missing = next(self._missing(descriptor), None)
        if missing is not None:
            raise NotFound(f"{self.store} has no {missing.digest}, which {tag} needs", subject=str(missing.digest))
        self.store.write(self._ref(tag), canonical(descriptor.bare().to_json()))

    def _missing(self, descriptor: Descriptor) -> Iterator[Descriptor]:
        if not self.exists(descriptor):
            yield descriptor
            return
        manifest = self.manifest(descriptor)
        missing = [blob for blob in manifest.blobs if not self.exists(blob)]
        left = self.store.left_out.of(descriptor.digest) if missing else frozenset()
        # looked at again: whoever brought the last of them has removed the list
        yield from (blob for blob in missing if blob.digest not in left and not self.exists(blob))
        for child in manifest.manifests:
            yield from self._missing(child)

    def manifest(self, descriptor: Descriptor) -> Manifest | Index:
        """Return a manifest of this store, proved and parsed."""
        return read_manifest(self, descriptor)

    def tags(self) -> list[str]:
        """Return all tags."""
        return sorted(path.name[1:] for path in self.folder.glob("@*"))

    def untag(self, tag: str) -> None:
        """Remove ``tag``; the content stays until ``cache gc``."""
        path = self._ref(tag)
        with disk_errors(path):
            try:
                path.unlink()
            except FileNotFoundError as error:
                raise NotFound(f"{self.registry}/{self.name} has no tag {tag} here", subject=tag) from error
        remove_empty(self.folder, self.store.root / "refs")

    def delete(self, descriptor: Descriptor) -> None:
        """Remove every ref to the manifest, and its own entry among the referrers of another.

        Content goes with the next ``cache gc`` unless something else needs it.
        """
        subject = self.manifest(self.resolve(str(descriptor.digest))).subject
        if subject is not None:
            entry = self._referrer(subject.digest, descriptor.digest)
            entry.unlink(missing_ok=True)
            remove_empty(entry.parent, self.folder)
        for mark in "@=":
            for path in self.folder.glob(f"{mark}*"):
                with contextlib.suppress(NotFound):
                    if read_ref(path).digest == descriptor.digest:
                        path.unlink(missing_ok=True)
        remove_empty(self.folder, self.store.root / "refs")

    def keep_beside(self, subject: Digest, manifest: Descriptor) -> None:
        """Let a manifest that names no subject stay as long as ``subject`` does; it takes the place of one of its kind.

        Signatures and attestations in cosign's classic form are such: in a registry only their tag says what they are
        about, and here it would stand among the tags of packages.
        """
        found = self.manifest(manifest)
        before = self.beside(subject, found.blobs[-1].media_type) if found.blobs else None
        self.store.write(self._referrer(subject, manifest.digest), canonical(manifest.bare().to_json()))
        if before is not None and before.digest != manifest.digest:
            self._referrer(subject, before.digest).unlink(missing_ok=True)

    def beside(self, subject: Digest, kind: str) -> Descriptor | None:
        """Return the manifest that ``keep_beside`` keeps for ``subject`` and that has layers of a media type."""
        for path in sorted(self._referrer(subject, subject).parent.glob("sha*-*")):
            with contextlib.suppress(NotFound):
                entry = read_ref(path)
                manifest = self.manifest(entry)
                if manifest.subject is None and kind in {blob.media_type for blob in manifest.blobs}:
                    return entry
        return None

    def referrers(self, descriptor: Descriptor, artifact_type: str = "") -> list[Descriptor]:
        """Return what refers to ``descriptor``, with artifact type and annotations filled in."""
        found = []
        for path in sorted(self._referrer(descriptor.digest, descriptor.digest).parent.glob("sha*-*")):
            with contextlib.suppress(NotFound):
                entry = read_ref(path)
                manifest = self.manifest(entry)
                if artifact_type in ("", manifest.kind):
                    found.append(as_referrer(entry, manifest))
        return sorted(found, key=lambda d: d.digest)


def read_ref(path: Path, subject: str = "") -> Descriptor:
    """Return the descriptor in a ref file.

    Raises:
        NotFound: There is no such file.
        StoreUnusable: It holds something else.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"{subject or path.name} is not in the local store", subject=subject or path.name) from error
    except OSError as error:
        raise StoreUnusable(f"{error.strerror}: {path}", subject=str(path)) from error
    node = read_document(data, path)
    descriptor = parse_descriptor(node)
    if descriptor is None or node.violations:
        raise damaged(path, node.violations)
    return descriptor


def read_document(data: bytes, path: Path) -> Node:
    """Return the JSON mapping in one of our own small files.

    Raises:
        StoreUnusable: It holds something else.
    """
    try:
        value = parse_json(data, "it")
    except JSONInvalid as error:
        raise damaged(path, [error.message]) from error
    if not isinstance(value, dict):
        raise damaged(path, ["it is not a mapping"])
    return Node(value)


def damaged(path: Path, reasons: Iterable[str]) -> StoreUnusable:
    """Return the error for one of our own files that somebody or something has changed."""
    hint = "Remove that file, then fetch the package again."
    return StoreUnusable(f"{path} is damaged: {'; '.join(reasons)}", hint=hint, subject=str(path))


def sniff(data: bytes, origin: str) -> str | None:
    """Return the media type of the manifest that ``data`` spell, or None when they are something else.

    ``mediaType`` may be missing in OCI manifests; then the one field that only one of them has tells
    (image-spec, "mediaType": for compatibility with older versions).
    """
    try:
        value = parse_json(data, origin)
    except JSONInvalid:
        return None
    if not isinstance(value, dict) or value.get("schemaVersion") != 2:
        return None
    guess = IMAGE_INDEX if "manifests" in value else IMAGE_MANIFEST if "layers" in value else None
    media_type = value.get("mediaType", guess)
    return media_type if media_type in MANIFESTS else None
