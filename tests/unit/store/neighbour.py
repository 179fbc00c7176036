"""Another process that puts a blob together in the same store: run as a script, told what to do on its input.

``python neighbour.py STORE SIZE``, then lines: ``write START STOP``, ``keep START STOP``, ``publish``; each is
answered with a line. The blob is ``content(SIZE)``.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from installml.digest import Digest
from installml.spec.descriptor import Descriptor
from installml.spec.extents import Extent
from installml.store.disk import DiskStore


def content(size: int) -> bytes:
    """Return bytes no stretch of which is like another."""
    return hashlib.shake_128(str(size).encode()).digest(size)


def descriptor(size: int) -> Descriptor:
    """Return what names ``content(size)``."""
    return Descriptor("application/octet-stream", Digest.of(content(size)), size)


class Neighbour:
    """The process, seen from the test."""

    def __init__(self, store: Path, size: int) -> None:
        command = [sys.executable, __file__, str(store), str(size)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer("open")

    def tell(self, *words: object) -> None:
        """Give one order and wait until it is done."""
        assert self.process.stdin is not None
        print(*words, file=self.process.stdin, flush=True)
        self._answer("done")

    def _answer(self, word: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == word

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        self.process.kill()
        self.process.communicate()


def main(root: str, size: str) -> None:
    """Do what the lines on standard input say."""
    place = DiskStore(Path(root)).repository("localhost", "neighbour")
    blob, data = descriptor(int(size)), content(int(size))
    with place.assemble(blob, stopped=lambda: False, on_wait=print) as assembly:
        assert assembly is not None
        print("open", flush=True)
        for line in sys.stdin:
            order, *numbers = line.split()
            if order == "write":
                start, stop = map(int, numbers)
                assembly.write(start, data[start:stop])
            elif order == "keep":
                assembly.keep(Extent(*map(int, numbers)))
            elif order == "publish":
                assembly.publish()
            print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
