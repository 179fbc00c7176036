"""A model's folder and the signature in it: what ``model.sig`` says, and what every file really is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..digest import Digest, hash_stream
from ..events import BlobDone, BlobProgress, BlobStarted, Phase
from ..store.files import disk_errors
from ..store.installed import Record
from ..trust import oms
from ..trust.bundle import parse_bundle
from ..trust.dsse import MAX_ENVELOPE
from ..trust.errors import EvidenceInvalid, Unsigned
from ..trust.oms import SIGNATURE_FILE, ModelFiles
from ..trust.statement import statement_of
from .session import Session

__all__ = ["HashedFiles", "ModelSignature", "hash_files", "installed_in", "read_signature"]

_WORKERS = 8
"""Files that are hashed at the same time, at most: hashing is faster than most disks from two on."""


@dataclass(frozen=True, slots=True)
class ModelSignature:
    """What ``model.sig`` says; nothing of it is proved yet.

    Attributes:
        data: The bundle as it lies there.
        files: The files that it lists.
        root: Digest that stands for the list.
    """

    data: bytes
    files: ModelFiles
    root: Digest


@dataclass(frozen=True, slots=True)
class HashedFiles:
    """The files of a folder.

    Attributes:
        digests: By path, relative and with slashes.
        odd: What is there and is no file that could be hashed, one sentence each.
        left_out: Paths of which the signature says nothing, and that were not looked at.
    """

    digests: Mapping[str, Digest]
    odd: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def installed_in(folder: Path, session: Session) -> Record | None:
    """Return the record of the model that is installed in a folder, if one is."""
    real = folder.resolve()
    return next((record for record in session.installed.records() if record.path.resolve() == real), None)


def read_signature(folder: Path, record: Record | None) -> ModelSignature:
    """Return what the signature in a folder says.

    Args:
        folder: The folder.
        record: What is installed there, for the hint.

    Raises:
        Unsigned: There is none.
        EvidenceInvalid: It is something else.
    """
    path = folder / SIGNATURE_FILE
    if not path.is_file():
        raise Unsigned(
            f"{folder} has no {SIGNATURE_FILE}",
            hint=f"See who signed the package: installml verify {record.reference}"
            if record
            else "Ask its publisher for one; a package is signed with: installml sign REF",
            subject=str(folder),
        )
    with disk_errors(path), path.open("rb") as file:
        data = file.read(MAX_ENVELOPE + 1)
    if len(data) > MAX_ENVELOPE:
        raise EvidenceInvalid(f"{path} has more than {MAX_ENVELOPE} bytes", subject=str(path))
    origin = str(path)
    statement = statement_of(parse_bundle(data, origin).envelope, origin)
    return ModelSignature(data, oms.read(statement, origin), statement.digests[0])


def hash_files(folder: Path, listed: ModelFiles, session: Session) -> HashedFiles:
    """Read every file of a folder that a signature can say something about.

    Links are not followed: what they lead to is not part of the model. Only the store's own content, which an
    installation may be made of where nothing else works, is.

    Args:
        folder: The folder.
        listed: What the signature lists, and leaves out.
        session: Collaborators.

    Raises:
        StoreError: A file cannot be read.
    """
    everything = dict(_entries(folder))
    entries = {name: path for name, path in everything.items() if listed.covers(name)}
    left_out = tuple(sorted(everything.keys() - entries.keys() - {SIGNATURE_FILE}))
    blobs = (session.home / "blobs").resolve()
    odd = {name: text for name, path in entries.items() if (text := _oddity(name, path, blobs))}
    regular = {name: path for name, path in entries.items() if name not in odd}
    session.on_event(Phase("hashing", count=len(regular), size=sum(path.stat().st_size for path in regular.values())))
    with ThreadPoolExecutor(min(_WORKERS, os.cpu_count() or 1)) as pool:
        digests = pool.map(partial(_hashed, session=session), regular.items())
        return HashedFiles(dict(zip(regular, digests, strict=True)), tuple(odd[name] for name in sorted(odd)), left_out)


def _entries(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield everything below a folder that is not itself a folder, links to folders included."""
    with disk_errors(folder):
        for root, folders, files in os.walk(folder, onerror=_raise):
            links = [name for name in folders if Path(root, name).is_symlink()]
            for name in sorted((*files, *links)):
                path = Path(root, name)
                yield path.relative_to(folder).as_posix(), path


def _raise(error: OSError) -> None:
    raise error


def _oddity(name: str, path: Path, blobs: Path) -> str:
    """Return why something is not hashed; empty when it is."""
    with disk_errors(path):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            real = path.resolve()
            return "" if real.is_relative_to(blobs) and real.is_file() else f"{name} is a symbolic link"
        return "" if stat.S_ISREG(mode) else f"{name} is no regular file"


def _hashed(entry: tuple[str, Path], session: Session) -> Digest:
    name, path = entry
    with disk_errors(path), path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        session.on_event(BlobStarted(name, name, size))
        digest, _ = hash_stream(file, lambda block: session.on_event(BlobProgress(name, len(block))))
        session.on_event(BlobDone(name, name, size, "copied"))
        return digest
