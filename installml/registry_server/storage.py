"""The registry's folder: repositories, and in each its blobs, manifests, tags and referrers. All disk I/O is here
and in uploads.py; nothing here knows HTTP.

::

    ROOT/registry.json                                     what this folder is
    ROOT/lock                                              held while a registry runs on it
    ROOT/pool/<algorithm>/<hex>                            one more hard link of every blob: finds duplicates
    ROOT/repositories/<name>/_blobs/<algorithm>/<hex>      a blob
    ROOT/repositories/<name>/_manifests/<algorithm>/<hex>  its media type, a line feed, its exact bytes
    ROOT/repositories/<name>/_tags/<tag>                   the digest that the tag names
    ROOT/repositories/<name>/_referrers/<algorithm>/<hex>/ one descriptor for each manifest with that subject
    ROOT/repositories/<name>/_uploads/<uuid>               bytes of an unfinished upload

A component of a repository name starts with a letter or digit, so folders that start with ``_`` never collide.
Every file appears whole (rename), so no lock guards correctness. A blob is read through its own repository's
link: the pool only saves space, and losing it loses nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from ..digest import CHUNK, Digest, DigestInvalid, hash_stream
from ..errors import StoreUnusable
from ..reference import check_repository, check_tag
from ..spec.canonical import canonical
from ..store.files import disk_errors, fsync_folder, link_whole, make_folder, unique_suffix, write_whole
from .uploads import Uploads

__all__ = ["RegistryStorage", "Repository", "StoredManifest"]

_MARKER = {"kind": "installml-registry", "layoutVersion": 1}


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as it was pushed.

    Attributes:
        media_type: The Content-Type it came with.
        data: Its exact bytes.
        digest: Under which it is kept.
    """

    media_type: str
    data: bytes
    digest: Digest


class RegistryStorage:
    """One folder that one running registry owns.

    Args:
        root: The folder; created when missing.
        durable: Make every accepted byte survive a power cut (fsync). Without it only a crash of the process
            is survived: for tests and demonstrations.
        max_uploads: Most upload sessions open at once.
        upload_seconds: An upload that nobody touched for so long is dropped at the next start, or earlier when
            the sessions run out.
        now: Seconds since the epoch.

    Raises:
        StoreUnusable: The folder holds something else, or another registry runs on it.
    """

    def __init__(
        self,
        root: Path,
        *,
        durable: bool = True,
        max_uploads: int = 1000,
        upload_seconds: float = 24 * 3600,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.root = make_folder(root).resolve()
        self.durable = durable
        self._repositories = self.root / "repositories"
        self._pool = self.root / "pool"
        self._lock = self._claim()
        try:
            self.uploads = Uploads(max_uploads, upload_seconds, now)
            self.uploads.adopt(folder / "_uploads" for folder in self._walk())
        except BaseException:
            self._lock.close()
            raise

    def _claim(self) -> BinaryIO:
        marker = self.root / "registry.json"
        with disk_errors(self.root):
            if not marker.exists() and any(entry.name != "lock" for entry in self.root.iterdir()):
                raise StoreUnusable(
                    f"{self.root} is not empty and not a registry's folder",
                    hint="Choose an empty or new folder with --root DIR.",
                    subject=str(self.root),
                )
            lock = (self.root / "lock").open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise StoreUnusable(
                f"another registry runs on {self.root}",
                hint="Stop it, or choose another folder.",
                subject=str(self.root),
            ) from error
        self._check_marker(marker)
        return lock

    def _check_marker(self, marker: Path) -> None:
        if not marker.exists():
            write_whole(marker, canonical(_MARKER) + b"\n")
            return
        with disk_errors(marker):
            text = marker.read_bytes()[:4096]
        with contextlib.suppress(ValueError):
            if json.loads(text) == _MARKER:
                return
        raise StoreUnusable(f"{marker} is not of this version", subject=str(self.root))

    def close(self) -> None:
        """Let another registry have the folder."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def repository(self, name: str) -> Repository:
        """Return the repository called ``name``, whether it exists or not.

        Raises:
            ReferenceInvalid: It cannot be a repository's name.
        """
        return Repository(check_repository(name), self._repositories / name, self)

    def names(self) -> list[str]:
        """Return the names of all repositories that hold a manifest, sorted."""
        return sorted(
            str(folder.relative_to(self._repositories))
            for folder in self._walk()
            if _holds_files(folder / "_manifests")
        )

    def _walk(self) -> Iterator[Path]:
        with disk_errors(self._repositories):
            for path, folders, _files in os.walk(self._repositories):
                if any(folder.startswith("_") for folder in folders):
                    yield Path(path)
                folders[:] = [folder for folder in folders if not folder.startswith("_")]

    def pooled(self, digest: Digest) -> Path:
        """Return where the pool keeps its link of a blob."""
        return self._pool / digest.algorithm / digest.hex


@dataclass(frozen=True, slots=True)
class Repository:
    """A namespace of blobs, manifests and tags; made by RegistryStorage.repository, which checks the name.

    Attributes:
        name: Its checked name.
        folder: Where it is.
        storage: Whose it is.
    """

    name: str
    folder: Path
    storage: RegistryStorage

    def exists(self) -> bool:
        """Say whether anything was ever pushed here."""
        return (self.folder / "_blobs").is_dir() or (self.folder / "_manifests").is_dir()

    @property
    def uploads(self) -> Path:
        """The folder of unfinished uploads."""
        return self.folder / "_uploads"

    # --- blobs ---

    def _blob(self, digest: Digest) -> Path:
        return self.folder / "_blobs" / digest.algorithm / digest.hex

    def has_blob(self, digest: Digest) -> bool:
        """Say whether the blob can be pulled from here."""
        return self._blob(digest).is_file()

    def open_blob(self, digest: Digest) -> tuple[BinaryIO, int] | None:
        """Return a blob's open file and size in bytes, or None when it is not here."""
        path = self._blob(digest)
        with disk_errors(path), contextlib.suppress(FileNotFoundError):
            file = path.open("rb", buffering=0)
            return file, os.fstat(file.fileno()).st_size
        return None

    def blob_size(self, digest: Digest) -> int | None:
        """Return a blob's size in bytes, or None when it is not here."""
        path = self._blob(digest)
        with disk_errors(path), contextlib.suppress(FileNotFoundError):
            return path.stat().st_size
        return None

    def take_blob(self, finished: Path, digest: Digest) -> None:
        """Make the verified file ``finished`` the blob ``digest``; of two equal blobs one copy stays on disk.

        Pushing a blob that is here already replaces it: the new bytes have just been verified, the old ones may
        have rotted.
        """
        target, pooled = self._blob(digest), self.storage.pooled(digest)
        if not target.exists() and _is_whole(pooled, digest, finished) and _link(pooled, target):
            finished.unlink(missing_ok=True)
        else:
            link_whole(finished, target)
            _link(target, pooled)
        if self.storage.durable:
            fsync_folder(target.parent)

    def mount(self, digest: Digest, source: Repository | None) -> bool:
        """Make a blob of another repository available here as well.

        Args:
            digest: Which.
            source: The repository to take it from; None for wherever it is.

        Returns:
            Whether it was found.
        """
        origin = source._blob(digest) if source else self.storage.pooled(digest)
        return origin.is_file() and (_link(origin, self._blob(digest)) or _copy(origin, self._blob(digest)))

    def delete_blob(self, digest: Digest) -> bool:
        """Remove a blob from this repository, and from the disk when no other repository has it."""
        if not _unlink(self._blob(digest)):
            return False
        pooled = self.storage.pooled(digest)
        with disk_errors(pooled), contextlib.suppress(FileNotFoundError):
            if pooled.stat().st_nlink == 1:  # whoever links it between these lines has a link of their own
                pooled.unlink()
        return True

    # --- manifests ---

    def _manifest(self, digest: Digest) -> Path:
        return self.folder / "_manifests" / digest.algorithm / digest.hex

    def has_manifest(self, digest: Digest) -> bool:
        """Say whether the manifest can be pulled from here."""
        return self._manifest(digest).is_file()

    def put_manifest(self, manifest: StoredManifest) -> None:
        """Keep a manifest; whoever calls has verified its digest."""
        head = manifest.media_type.encode("ascii") + b"\n"
        self._write(self._manifest(manifest.digest), head + manifest.data)

    def manifest(self, digest: Digest) -> StoredManifest | None:
        """Return a manifest, or None when it is not here."""
        data = _read(self._manifest(digest))
        if data is None:
            return None
        media_type, _, body = data.partition(b"\n")
        return StoredManifest(media_type.decode("ascii"), body, digest)

    def delete_manifest(self, digest: Digest) -> bool:
        """Remove a manifest and the tags that name it."""
        if not self.has_manifest(digest):
            return False
        for tag in self.tags():
            if self.tag(tag) == digest:
                self.delete_tag(tag)
        return _unlink(self._manifest(digest))

    # --- tags ---

    def _tag(self, tag: str) -> Path:
        return self.folder / "_tags" / _fold_case(check_tag(tag))

    def set_tag(self, tag: str, digest: Digest) -> None:
        """Make ``tag`` name the manifest ``digest``."""
        self._write(self._tag(tag), str(digest).encode())

    def tag(self, tag: str) -> Digest | None:
        """Return the digest that ``tag`` names, or None."""
        data = _read(self._tag(tag))
        if data is None:
            return None
        try:
            return Digest.parse(data.decode("ascii", "replace"))
        except DigestInvalid as error:
            raise StoreUnusable(f"{self._tag(tag)} is damaged", subject=str(self._tag(tag))) from error

    def delete_tag(self, tag: str) -> bool:
        """Remove a tag; the manifest stays."""
        return _unlink(self._tag(tag))

    def tags(self) -> list[str]:
        """Return all tags in lexical order, that is without regard to case (distribution-spec, "Listing Tags")."""
        return sorted(map(_unfold_case, _list(self.folder / "_tags")), key=tag_order)

    # --- referrers ---

    def _referrers(self, subject: Digest) -> Path:
        return self.folder / "_referrers" / subject.algorithm / subject.hex

    def add_referrer(self, subject: Digest, descriptor: dict[str, Any], digest: Digest) -> None:
        """Note that the manifest ``digest`` refers to ``subject``."""
        self._write(self._referrers(subject) / f"{digest.algorithm}-{digest.hex}", canonical(descriptor))

    def remove_referrer(self, subject: Digest, digest: Digest) -> None:
        """Forget what add_referrer noted."""
        _unlink(self._referrers(subject) / f"{digest.algorithm}-{digest.hex}")

    def referrers(self, subject: Digest) -> Iterator[tuple[Digest, bytes]]:
        """Yield digest and JSON descriptor of every manifest here that refers to ``subject``, sorted by digest."""
        folder = self._referrers(subject)
        for name in sorted(_list(folder)):
            digest = Digest.parse(name.replace("-", ":", 1))
            data = _read(folder / name)
            if data is not None and self.has_manifest(digest):
                yield digest, data

    def _write(self, path: Path, data: bytes) -> None:
        if self.storage.durable:
            write_whole(path, data)
            return
        staging = make_folder(path.parent) / f".{path.name[:100]}.{unique_suffix()}"
        with disk_errors(path):
            try:
                staging.write_bytes(data)
                staging.replace(path)
            except BaseException:
                staging.unlink(missing_ok=True)
                raise


def tag_order(tag: str) -> tuple[str, str]:
    """Return the key by which tags are sorted and paged."""
    return tag.lower(), tag


def _fold_case(tag: str) -> str:
    # v1 and V1 are two tags, and one file where the file system ignores case: the capitals go into a number
    capitals = sum(1 << i for i, letter in enumerate(tag) if letter.isupper())
    return f"{tag.lower()}~{capitals:x}" if capitals else tag


def _unfold_case(name: str) -> str:
    tag, _, capitals = name.partition("~")
    mask = int(capitals or "0", 16)
    return "".join(letter.upper() if mask >> i & 1 else letter for i, letter in enumerate(tag))


def _list(folder: Path) -> list[str]:
    with disk_errors(folder), contextlib.suppress(FileNotFoundError):
        return [entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")]
    return []


def _holds_files(folder: Path) -> bool:
    return any(_list(folder / algorithm) for algorithm in _list(folder))


def _read(path: Path) -> bytes | None:
    with disk_errors(path), contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    return None


def _unlink(path: Path) -> bool:
    with disk_errors(path), contextlib.suppress(FileNotFoundError):
        path.unlink()
        return True
    return False


def _is_whole(pooled: Path, digest: Digest, fresh: Path) -> bool:
    """Say whether the pool's bytes are still those of ``digest``; ``fresh`` holds them for certain."""
    with contextlib.suppress(OSError):
        if pooled.stat().st_size == fresh.stat().st_size:
            with pooled.open("rb") as file:
                return hash_stream(file, algorithm=digest.algorithm)[0] == digest
    return False


def _link(source: Path, target: Path) -> bool:
    """Give ``source`` the further name ``target``, replacing what is there; False where the disk has no links."""
    staging = make_folder(target.parent) / f".{unique_suffix()}"
    try:
        staging.hardlink_to(source)
        staging.replace(target)
    except OSError:  # too many links, no links at all, or the source has just gone: the caller copies or goes on
        return False
    finally:
        staging.unlink(missing_ok=True)  # rename does nothing when both names are the same file already
    return True


def _copy(source: Path, target: Path) -> bool:
    staging = make_folder(target.parent) / f".{unique_suffix()}"
    with disk_errors(target):
        try:
            with source.open("rb") as reader, staging.open("xb") as writer:
                shutil.copyfileobj(reader, writer, CHUNK)
                writer.flush()
                os.fsync(writer.fileno())
            staging.replace(target)
        except FileNotFoundError:
            return False
        finally:
            staging.unlink(missing_ok=True)
    return True
