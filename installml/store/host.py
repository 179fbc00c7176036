"""What the store must know of the machine it runs on, given from outside; and who owns what lies in ``ingest/``.

A name in ``ingest/`` ends in its owner: ``<host>-<process>-<token>-<boot>``. One rename changes the content's name and
its owner together, so no reader ever sees the one without the other, on NFS as well.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .files import unique_suffix

__all__ = ["Host", "Owner", "boot_id", "flock_exclusive", "process_alive"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EBADF}
_OWNER = re.compile(r"([A-Za-z0-9]{1,20})-(\d{1,10})-([0-9a-f]{8})-([0-9a-z]{1,32})")


def boot_id() -> str:
    """Return what names this run of the machine's kernel; ``none`` where nothing does."""
    try:
        return "".join(c for c in _BOOT_ID.read_text().lower() if c.isalnum())[:32] or "none"
    except OSError:
        return "none"


def flock_exclusive(handle: int) -> bool | None:
    """Try to lock an open file for this process.

    Returns:
        Whether that worked; None when the file system has no such locks.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def process_alive(pid: int) -> bool:
    """Return whether a process with this number runs on this machine."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


class Owner(NamedTuple):
    """Who made something in ``ingest/``.

    Attributes:
        host: Letters and digits of the host's name, at most 20.
        pid: Process number there.
        token: Eight random hexadecimal digits.
        boot: Which run of the host's kernel.
    """

    host: str
    pid: int
    token: str
    boot: str

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """Return the owner that ``text`` spells, or None when it spells none."""
        match = _OWNER.fullmatch(text)
        return cls(match[1], int(match[2]), match[3], match[4]) if match else None


def _here() -> str:
    return unique_suffix().partition("-")[0]


@dataclass(frozen=True, slots=True)
class Host:
    """The machine and the process, as far as the store depends on them; tests give others.

    Attributes:
        name: Letters and digits of the host's name.
        boot: Which run of its kernel (``boot_id``).
        lock: Tries to lock an open file (``flock_exclusive``).
        clock: Seconds since the epoch.
        monotonic: Seconds that never jump.
        pause: Lets so many seconds pass.
    """

    name: str = field(default_factory=_here)
    boot: str = field(default_factory=boot_id)
    lock: Callable[[int], bool | None] = flock_exclusive
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def mark(self) -> str:
        """Return a new owner's name for something of this process."""
        _, pid, token = unique_suffix().split("-")
        return f"{self.name}-{pid}-{token}-{self.boot}"

    def runs(self, owner: Owner) -> bool:
        """Return whether the owner is a process that runs on this machine now."""
        return self.same_boot(owner) and process_alive(owner.pid)

    def same_boot(self, owner: Owner) -> bool:
        """Return whether the owner is, or was, a process of this run of this machine."""
        return (owner.host, owner.boot) == (self.name, self.boot)
