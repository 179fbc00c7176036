"""Content files named by their digest: ``blobs/<algorithm>/<hex>``, read-only, whole or absent.

Shared by the disk store and ``oci-layout:`` folders (image-spec, "Image Layout").
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, cast

from ..digest import CHUNK, Digest, DigestInvalid, Readable, VerifyingReader, hash_stream
from ..errors import IntegrityError, NotFound, SourceChanged, StoreUnusable
from ..spec.descriptor import Descriptor
from .files import disk_errors, fsync_folder, in_folder, link_whole, make_folder, unique_suffix
from .host import Host
from .partial import Partial
from .partials import Partials
from .unsynced import Unsynced

__all__ = ["LAYOUT_MARK", "MISSING", "BlobFolder"]

LAYOUT_MARK = b'{"imageLayoutVersion":"1.0.0"}'
"""Content of the file ``oci-layout`` beside ``blobs/`` (image-spec, "oci-layout file")."""

MISSING = "is missing"
"""What ``BlobFolder.check`` says of content that is not there."""


_MAY_NOT_MARK = {errno.EPERM, errno.EACCES, errno.EROFS}
"""Another user's store, or one that is mounted read-only: reading is enough."""


class BlobFolder:
    """The content-addressed folder of one store.

    Args:
        root: Folder that has ``blobs/`` below it.
        ingest: Folder on the same file system for what is not whole yet.
        host: The machine.
        unsynced: Where blobs are listed that a power cut could still damage; without it each is fsynced.
    """

    def __init__(self, root: Path, ingest: Path, host: Host | None = None, unsynced: Unsynced | None = None) -> None:
        self.root = root
        self.ingest_folder = ingest
        self._ingest_name = str(ingest)
        self._folders = {algorithm: root / "blobs" / algorithm for algorithm in ("sha256", "sha512")}
        # With thousands of small files, putting a Path together takes longer than what is asked of it
        self._names = {algorithm: str(folder) for algorithm, folder in self._folders.items()}
        self._host = host or Host()
        self.partials = Partials(ingest, self._host)
        self._unsynced = unsynced

    def path(self, digest: Digest) -> Path:
        """Return where the content with ``digest`` lives or would live."""
        return self._folders[digest.algorithm] / digest.hex

    def exists(self, descriptor: Descriptor) -> bool:
        """Return whether the content is there; marks it as wanted, so that a collection that runs now keeps it."""
        path = f"{self._names[descriptor.digest.algorithm]}/{descriptor.digest.hex}"
        try:
            if os.stat(path).st_size != descriptor.size:  # noqa: PTH116  # see _names
                return False
            os.utime(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            if error.errno not in _MAY_NOT_MARK:
                raise StoreUnusable(f"{error.strerror}: {path}", subject=path) from error
        return True

    @contextlib.contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[Readable]:
        """Open content for reading.

        Raises:
            NotFound: It is not there.
            StoreError: It cannot be read.
        """
        path = self.path(descriptor.digest)
        with disk_errors(path):
            try:
                file = path.open("rb", buffering=0)
            except FileNotFoundError as error:
                raise NotFound(f"{self.root} has no {descriptor.digest}", subject=str(descriptor.digest)) from error
        with file:
            yield file

    @contextlib.contextmanager
    def open_file(self, descriptor: Descriptor) -> Iterator[BinaryIO | None]:
        """Open the content's own file.

        Raises:
            NotFound: It is not there.
            SourceChanged: It has not the named size, or had it no more at the end of the block.
        """
        path = self.path(descriptor.digest)
        with self.open(descriptor) as file:
            handle = cast(BinaryIO, file)
            _check_size(handle, descriptor, path)
            yield handle
            _check_size(handle, descriptor, path)

    def write(self, descriptor: Descriptor, content: Readable) -> None:
        """Take exactly the content that ``descriptor`` names.

        Raises:
            IntegrityError: It is not; nothing was kept.
            StoreError: The disk refuses; nothing visible was left.
        """
        if self.exists(descriptor):
            return
        reader = VerifyingReader.over(content, descriptor.digest, descriptor.size, "the source")
        with self._staged(descriptor.digest.short) as (staging, write):
            while block := reader.read(CHUNK):
                write(block)
            self._publish(staging, descriptor.digest)

    def take(self, content: Readable) -> tuple[Digest, int]:
        """Take content whose digest is not known yet: copied and hashed in one read.

        Returns:
            Its digest and size.
        """
        with self._staged("new") as (staging, write):
            digest, size = hash_stream(content, write)
            self._publish(staging, digest)
        return digest, size

    def assemble(
        self,
        descriptor: Descriptor,
        *,
        stopped: Callable[[], bool],
        on_wait: Callable[[str], None],
        owe: Callable[[Digest, bool], None],
    ) -> AbstractContextManager[Partial | None]:
        """Open a blob for putting together; see ``store.protocol.Assembler``.

        Args:
            descriptor: The blob.
            stopped: Asked while waiting.
            on_wait: Told when there is somebody to wait for.
            owe: Told before a blob becomes visible whose own digest nobody has compared (true), and after one became
                visible whose digest was (false).
        """
        return self.partials.open(
            descriptor,
            exists=lambda: self.exists(descriptor),
            publish=self._publisher(descriptor.digest, owe),
            stopped=stopped,
            on_wait=on_wait,
        )

    @contextlib.contextmanager
    def reassemble(self, descriptor: Descriptor, owe: Callable[[Digest, bool], None]) -> Iterator[Partial]:
        """Open damaged content for mending: a copy of it, all taken for written. It is replaced by ``publish``.

        Raises:
            NotFound: There is nothing to mend.
            DiskFull: There is no room for the copy.
        """
        with self.open(descriptor) as damaged:
            partial = self.partials.fresh(descriptor, self._publisher(descriptor.digest, owe))
            try:
                partial.copy_from(cast(BinaryIO, damaged).fileno())
                yield partial
            finally:
                partial.drop()

    def _publisher(self, digest: Digest, owe: Callable[[Digest, bool], None]) -> Callable[[Path, bool], None]:
        def publish(path: Path, hashed: bool) -> None:
            if not hashed:
                owe(digest, True)
            self._publish(path, digest)
            if hashed:
                owe(digest, False)

        return publish

    @contextlib.contextmanager
    def staging(self, label: str) -> Iterator[tuple[Path, Callable[[bytes], None]]]:
        """Yield a fresh file of ours and a way to write to it; it is removed unless it was moved away."""
        with self._staged(label) as (path, write):
            yield Path(path), write
            Path(path).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _staged(self, label: str) -> Iterator[tuple[str, Callable[[bytes], None]]]:
        """Yield a fresh file of ours and a way to write to it; the block moves it away, or fails and it is removed."""
        path = f"{self._ingest_name}/{label}.{unique_suffix()}"
        with disk_errors(path):
            handle = in_folder(self.ingest_folder, lambda: os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))

        def write(block: bytes) -> None:
            with disk_errors(path):
                written = os.write(handle, block)
                while written < len(block):
                    written += os.write(handle, memoryview(block)[written:])

        try:
            yield path, write
        except BaseException:
            Path(path).unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)

    def _publish(self, staging: Path | str, digest: Digest) -> None:
        """Make a finished file visible, read-only; a power cut may damage it unless it is listed or fsynced."""
        listed = self._unsynced is not None and self._unsynced.note(digest, self.path)
        with disk_errors(staging):
            if not listed:
                _fsync(staging)
            os.chmod(staging, 0o444)  # noqa: PTH101  # see _names
        link_whole(staging, self.path(digest), durable=not listed)

    def check(self, digest: Digest, *, quarantine: bool = False) -> str:
        """Hash the content again.

        Args:
            digest: The content.
            quarantine: Set it aside when it is damaged, unless somebody has replaced it meanwhile.

        Returns:
            What is wrong with it, in words, or nothing.
        """
        path = self.path(digest)
        try:
            with path.open("rb", buffering=0) as file:
                seen = os.fstat(file.fileno())
                reason = _wrong(file, digest, seen.st_size, str(path))
                if reason and quarantine:
                    self.quarantine(digest, seen)  # while the file is open: no other one can have its inode
        except FileNotFoundError:
            return MISSING
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return reason

    def quarantine(self, digest: Digest, seen: os.stat_result | None = None) -> Path | None:
        """Set damaged content aside, so that the next pull or push brings it again; a collection removes it.

        Args:
            digest: The content.
            seen: The file that proved damaged, still open; another one under its name stays.

        Returns:
            Where it is now; None when nothing was set aside.
        """
        path = self.path(digest)
        aside = make_folder(self.ingest_folder) / f"damaged.{digest.short}.{unique_suffix()}"
        with disk_errors(path):
            try:
                path.rename(aside)
            except FileNotFoundError:
                return None
            if seen is not None and not os.path.samestat(seen, aside.stat()):
                aside.rename(path)
                return None
        fsync_folder(path.parent)
        return aside

    def digests(self) -> Iterator[tuple[Digest, Path]]:
        """Yield every content file; names that are no digests are not ours and left alone."""
        for path in sorted((self.root / "blobs").glob("sha*/*")):
            try:
                digest = Digest.parse(f"{path.parent.name}:{path.name}")
            except DigestInvalid:
                continue
            yield digest, path

    def stale(self, digest: Digest, older_than: float) -> bool:
        """Return whether the content is there and nobody has wanted it since ``older_than``."""
        try:
            return self.path(digest).stat().st_mtime < older_than
        except FileNotFoundError:
            return False

    def remove(self, digest: Digest, *, older_than: float) -> bool:
        """Remove content that nobody has wanted since ``older_than`` (seconds since the epoch).

        It is moved aside before its time is read for the last time: whoever wants it meanwhile either marks it
        before the move, and it comes back, or finds it gone and brings it again.

        Returns:
            Whether it went.
        """
        if not self.stale(digest, older_than):
            return False
        path = self.path(digest)
        aside = make_folder(self.ingest_folder) / f"{digest.short}.{unique_suffix()}"
        with disk_errors(path):
            try:
                path.rename(aside)
                if aside.stat().st_mtime >= older_than:
                    aside.rename(path)
                    return False
                aside.unlink()
            except FileNotFoundError:  # another collection was faster
                return False
        return True


def _wrong(file: Readable, digest: Digest, size: int, origin: str) -> str:
    """Read ``file`` to its end; return what is wrong with it, or nothing."""
    reader = VerifyingReader(file, digest, size, origin)
    try:
        while reader.read(CHUNK):
            pass
    except IntegrityError as error:
        return error.message
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def _fsync(path: Path | str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check_size(file: BinaryIO, descriptor: Descriptor, path: Path) -> None:
    if os.fstat(file.fileno()).st_size != descriptor.size:
        raise SourceChanged(str(path))
