"""The one owner of the uv child: its arguments, its environment, and the translation of its failures."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from ..errors import DiskFull, InstallMLError, StoreUnusable
from ..store.files import disk_errors
from .errors import (
    HashMismatch,
    IndexUnreachable,
    NoSolution,
    PythonMissing,
    RuntimeFailed,
    WheelsMissing,
)
from .index import Index, without_secrets

__all__ = ["failure", "run", "useful_lines"]

TIMEOUT = 3600.0
"""Seconds for one call; gigabytes of wheels may have to come over a slow line. uv limits each request itself."""

OUTPUT_CAP = 16 << 20
TAIL = 64 << 10
LINES = 12

_UNREACHABLE = (
    r"error sending request|tcp connect error|dns error|operation timed out|connection (?:closed|reset|refused)"
    r"|tls handshake|invalid peer certificate|401 Unauthorized|403 Forbidden|HTTP status (?:client|server) error"
)
# First match wins. uv has no machine-readable errors; the words are checked by tests against the real uv.
_FAILURES: tuple[tuple[str, Callable[..., InstallMLError], str], ...] = (
    (r"No space left on device|os error 28\b|Disk quota exceeded", DiskFull, "no space left for the runtime"),
    (r"Hash mismatch for|with(?:out)? (?:a )?matching hash", HashMismatch, "a wheel is not the one that was locked"),
    (r"network (?:was|is) disabled|Network connectivity is disabled", WheelsMissing, "wheels are not in the cache"),
    (r"not found in the provided package locations", WheelsMissing, "the wheel folder lacks a wheel"),
    (r"No interpreter found|No virtual environment or system Python", PythonMissing, "no such Python"),
    (_UNREACHABLE, IndexUnreachable, "the package index cannot be used"),
    (
        r"No solution found|ha(?:s|ve) no usable wheels|no wheels? with a matching",
        NoSolution,
        "no versions fit together",
    ),
    (r"Permission denied|Read-only file system", StoreUnusable, "the runtime cannot be written"),
)
_NOISE = re.compile(r"^(?:warning|Using |Resolved |Prepared |Creating |Downloading |Downloaded )|^\s*$")
_REFUSED = re.compile(r"401 Unauthorized|403 Forbidden")
_PREFIX = re.compile(r"^[\s×│╰╭─▶|]*(?:(?:error|cause|Caused by): ?)?")


def run(args: Sequence[str], index: Index, *, folder: Path, hold: int | None = None, timeout: float = TIMEOUT) -> str:
    """Run uv and return what it prints on stdout.

    Args:
        args: Subcommand and its arguments; no secret is among them.
        index: Where wheels come from; gives the child's environment.
        folder: Working folder, one of ours. It gets an empty ``uv.toml``: uv takes the settings of the nearest
            project, and that must not be whatever lies above, such as a file that somebody left in /tmp.
        hold: A file descriptor that the child keeps open as long as it lives: a lock that outlasts a killed parent.
        timeout: Seconds.

    Raises:
        InstallMLError: What uv could not do, as one of this room's errors with uv's own useful lines.
    """
    command = [_binary(), *args, "--no-progress", "--color", "never", "--no-python-downloads"]
    with disk_errors(folder):
        (folder / "uv.toml").touch()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            code = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=index.variables(),
                cwd=folder,
                timeout=timeout,
                check=False,
                pass_fds=() if hold is None else (hold,),
            ).returncode
        except subprocess.TimeoutExpired:
            raise RuntimeFailed(f"uv {args[0]} did not end within {timeout:.0f} seconds") from None
        except OSError as error:
            raise RuntimeFailed(f"uv cannot be started: {error.strerror}", hint="pip install --upgrade uv") from error
        if code:
            raise failure(_tail(errors) + _tail(output))
        return _whole(output)


def _binary() -> str:
    from uv import find_uv_bin

    try:
        return find_uv_bin()
    except FileNotFoundError as error:
        raise RuntimeFailed(
            "uv is not where its package should have put it", hint="pip install --upgrade uv"
        ) from error


def _tail(file: IO[bytes]) -> str:
    end = file.seek(0, 2)
    file.seek(max(0, end - TAIL))
    return file.read().decode("utf-8", "replace")


def _whole(file: IO[bytes]) -> str:
    file.seek(0)
    data = file.read(OUTPUT_CAP + 1)
    if len(data) > OUTPUT_CAP:
        raise RuntimeFailed(f"uv printed more than {OUTPUT_CAP} bytes")
    return data.decode("utf-8", "replace")


def failure(text: str) -> InstallMLError:
    """Return the error that uv's words mean.

    Args:
        text: The end of what uv wrote when it failed.
    """
    kind, summary = next(
        ((kind, summary) for pattern, kind, summary in _FAILURES if re.search(pattern, text, re.IGNORECASE)),
        (RuntimeFailed, "the runtime environment cannot be made"),
    )
    return kind(f"{summary}: {useful_lines(text)}")


def useful_lines(text: str) -> str:
    """Return the lines of uv's report that say something, without credentials and decoration.

    Of its hints only those about a refusing index are kept; the others speak of options that our reader does not have.
    """
    report, *hints = without_secrets(text).split("\nhint: ")
    said = [*report.splitlines(), *(hint for hint in hints if _REFUSED.search(hint))]
    lines = [_PREFIX.sub("", line).strip() for line in said if not _NOISE.search(line)]
    kept = [line for line in lines if line][:LINES]
    return "\n  ".join(kept) or "uv gave no reason"
