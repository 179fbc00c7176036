"""When the source was last changed, as the source itself records it: git's commit time for a clean folder.

Nothing here asks what time it is now, or when a file was written to this disk: both differ between machines.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["commit_time"]

_TIMEOUT = 20.0


def _git(folder: Path, *args: str) -> str | None:
    command = ["git", "-C", str(folder), "-c", "core.fsmonitor=false", *args]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def commit_time(folder: Path) -> int | None:
    """Return the time of the last commit that touched ``folder``, in seconds since the epoch.

    None when the folder is not tracked by git, or holds changes that no commit has.
    """
    if _git(folder, "status", "--porcelain", "--", ".") != "":
        return None
    text = _git(folder, "log", "-1", "--format=%ct", "--", ".")
    return int(text) if text and text.isdigit() else None
