"""Comparing a file with its digest while it is being sent: a second thread reads the same pages from memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import BinaryIO

from ..digest import CHUNK, Digest
from ..errors import DigestMismatch, InstallMLError, SizeMismatch
from ..spec.descriptor import Descriptor
from ..store.files import translate

__all__ = ["Proof"]

_ALONE = 1 << 20  # bytes; below, a thread costs more than it saves
_LOOK = 0.2  # seconds between two looks whether the rest of the copy still goes on


class Proof:
    """Whether a file holds exactly what a descriptor names. Use it as a context manager.

    Args:
        descriptor: The claim.
        file: The file; its position is neither used nor moved.
        proved: The bytes have been compared before and the file was not touched since; they are compared again only
            when ``insist`` says so.
    """

    def __init__(self, descriptor: Descriptor, file: BinaryIO, proved: bool = False) -> None:
        self._descriptor = descriptor
        self._file = file
        self._proved = proved
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Proof:
        if not self._proved:
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def insist(self) -> None:
        """Compare the bytes after all: somebody doubts them."""
        self._proved = False
        self._start()

    def wait(self, look: Callable[[], None] = lambda: None) -> None:
        """Return when the bytes have proved right.

        Args:
            look: Called now and then; what it raises ends the wait.

        Raises:
            IntegrityError: They are others.
            StoreError: They cannot be read.
        """
        if self._proved:
            return
        if self._thread is None:
            self._compare()
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(_LOOK)
            look()
        if self._error is not None:
            raise self._error
        self._proved = True

    def _start(self) -> None:
        if self._thread is None and self._descriptor.size > _ALONE:
            self._thread = threading.Thread(target=self._compare, name="prove", daemon=True)
            self._thread.start()

    def _compare(self) -> None:
        try:
            self._check()
        except OSError as error:
            self._error = translate(error, self._name)
        except InstallMLError as error:
            self._error = error

    @property
    def _name(self) -> str:
        return str(getattr(self._file, "name", "the file"))

    def _check(self) -> None:
        wanted, size = self._descriptor.digest, self._descriptor.size
        found = os.fstat(self._file.fileno()).st_size
        if found != size:
            raise SizeMismatch(size, str(found), self._name)
        state = wanted.hasher()
        buffer = memoryview(bytearray(min(CHUNK, max(1, size))))
        at = 0
        while not self._stop.is_set() and (count := os.preadv(self._file.fileno(), [buffer], at)):
            state.update(buffer[:count])
            at += count
        actual = Digest(wanted.algorithm, state.hexdigest())
        if actual != wanted and not self._stop.is_set():
            raise DigestMismatch(str(wanted), str(actual), self._name)
