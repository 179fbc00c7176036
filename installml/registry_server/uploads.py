"""Upload sessions: bytes that arrive in order, hashed once as they are written (distribution-spec, "Push").

A session is one file in its repository, named by an unguessable UUID; its size is the offset, so it survives a
restart of the registry. The running hash lives in memory: after a restart the bytes are read once more at the end.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..digest import Digest, hash_stream
from ..errors import DigestMismatch, InstallMLError
from ..store.files import disk_errors, make_folder

if TYPE_CHECKING:
    from .storage import Repository

__all__ = ["TooManyUploads", "Upload", "Uploads"]


class TooManyUploads(InstallMLError):
    """Every upload session that the registry allows is in use."""

    reference = "too-many-uploads"


class Upload:
    """One session. Used by one request at a time: ``claim`` first, ``release`` last.

    Attributes:
        id: Its UUID.
        repository: Where its blob will be.
        offset: Bytes received.
    """

    def __init__(self, repository: Repository, session: str, algorithm: str = "sha256") -> None:
        self.id = session
        self.repository = repository
        self._path = repository.uploads / session
        self._busy = threading.Lock()
        self._file: BinaryIO | None = None
        self._gone = False
        self.offset = 0
        self._hash: hashlib._Hash | None = hashlib.new(algorithm)
        with disk_errors(self._path):
            if self._path.exists():
                self.offset = self._path.stat().st_size
                self._hash = None

    @property
    def path(self) -> Path:
        """Where its bytes are."""
        return self._path

    def claim(self) -> bool:
        """Take the session for one request; False when another has it or it is over."""
        if not self._busy.acquire(blocking=False):
            return False
        if self._gone:
            self._busy.release()
        return not self._gone

    def release(self) -> None:
        """Close the file and let the next request have the session."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._busy.release()

    def expect(self, algorithm: str) -> None:
        """Hash with ``algorithm`` from the first byte on; too late once there are bytes."""
        if self.offset == 0:
            self._hash = hashlib.new(algorithm)

    def write(self, *pieces: bytes) -> None:
        """Append ``pieces``; when the disk refuses, the session is as it was before.

        Raises:
            StoreError: The disk is full or unusable.
        """
        with disk_errors(self._path):
            if self._file is None:
                self._file = self._path.open("ab", buffering=0)
            try:
                for piece in pieces:
                    _write_all(self._file, piece)
            except OSError:
                os.truncate(self._path, self.offset)
                raise
        for piece in pieces:
            if self._hash is not None:
                self._hash.update(piece)
            self.offset += len(piece)

    def flush(self) -> None:
        """Bring what was written so far to the disk while more arrives, so that ``finish`` has little to wait for.

        Does nothing where the storage is not durable, and when the session is over.
        """
        if self.repository.storage.durable:
            with contextlib.suppress(OSError), self._path.open("rb") as file:  # told when the session is finished
                os.fdatasync(file.fileno())

    def rewind(self, offset: int) -> None:
        """Forget the bytes after ``offset``."""
        if offset == self.offset:
            return
        with disk_errors(self._path):
            os.truncate(self._path, offset)
        self.offset = offset
        self._hash = None

    def finish(self, digest: Digest) -> None:
        """Make the bytes a blob of the repository; the session is over, whatever the outcome.

        Raises:
            DigestMismatch: They are other bytes than ``digest`` names.
        """
        try:
            actual = self._digest(digest.algorithm)
            if actual != digest:
                raise DigestMismatch(str(digest), str(actual), "the upload")
            if self.repository.storage.durable:
                self._sync()
            self.repository.take_blob(self._path, digest)
        finally:
            self.discard()

    def _digest(self, algorithm: str) -> Digest:
        if self._hash is not None and self._hash.name == algorithm:
            return Digest(algorithm, self._hash.hexdigest())
        with disk_errors(self._path), self._path.open("rb") as file:
            return hash_stream(file, algorithm=algorithm)[0]

    def _sync(self) -> None:
        with disk_errors(self._path), self._path.open("rb") as file:
            os.fsync(file.fileno())

    def discard(self) -> None:
        """Drop the session and its bytes."""
        self._gone = True
        with disk_errors(self._path):
            self._path.unlink(missing_ok=True)
        self.repository.storage.uploads.forget(self)


def _write_all(file: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


class Uploads:
    """All sessions of a registry.

    Args:
        most: How many may be open at once.
        seconds: How long an untouched one is kept.
        now: Seconds since the epoch.
    """

    def __init__(self, most: int, seconds: float, now: Callable[[], float]) -> None:
        self._most = most
        self._seconds = seconds
        self._now = now
        self._guard = threading.Lock()
        self._open: dict[Path, Upload | None] = {}

    def adopt(self, folders: Iterable[Path]) -> None:
        """Keep what an earlier run left in ``folders`` and drop what is too old."""
        for folder in folders:
            with disk_errors(folder):
                for path in folder.iterdir() if folder.is_dir() else ():
                    self._open[path] = None
        self._expire()

    def _expire(self) -> None:
        oldest = self._now() - self._seconds
        for path, upload in list(self._open.items()):
            with disk_errors(path):
                if path.exists() and path.stat().st_mtime > oldest:
                    continue
                if upload is None:
                    path.unlink(missing_ok=True)
                    del self._open[path]
                elif upload.claim():
                    upload._gone = True
                    path.unlink(missing_ok=True)
                    del self._open[path]
                    upload.release()

    def begin(self, repository: Repository, algorithm: str = "sha256") -> Upload:
        """Open a session.

        Raises:
            TooManyUploads: There are too many, and all of them are fresh.
        """
        with self._guard:
            if len(self._open) >= self._most:
                self._expire()
            if len(self._open) >= self._most:
                raise TooManyUploads(f"{self._most} uploads are open, and no more are allowed")
            upload = Upload(repository, str(uuid.uuid4()), algorithm)
            make_folder(repository.uploads)
            with disk_errors(upload.path):
                upload.path.touch(exist_ok=False)
            self._open[upload.path] = upload
            return upload

    def find(self, repository: Repository, session: str) -> Upload | None:
        """Return the session of ``repository`` with that id, or None."""
        path = repository.uploads / session
        with self._guard:
            if path not in self._open:  # so no path is ever made of an id that was not ours
                return None
            upload = self._open[path]
            if upload is None:
                upload = self._open[path] = Upload(repository, session)
            return upload

    def forget(self, upload: Upload) -> None:
        """Free the session's place."""
        with self._guard:
            self._open.pop(upload.path, None)
