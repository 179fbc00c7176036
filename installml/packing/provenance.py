"""Where the source was when it was packed, as the source itself records it: git's last commit in the folder.

Nothing here asks what time it is now, or when a file was written to this disk: both differ between machines.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

__all__ = ["commit_of", "commit_time"]

_TIMEOUT = 20.0  # seconds
# A folder may come from anywhere, and git runs programs that a repository's own configuration names: no signature
# check, no monitor, no pager; ``status`` and ``diff`` (clean filters) are not used at all.
_TAME = ("-c", "core.fsmonitor=false", "-c", "log.showSignature=false", "-c", "core.pager=cat")


def commit_time(folder: Path) -> int | None:
    """Return the time of the last commit that touched ``folder``, in seconds since the epoch.

    None when the folder is not tracked by git, or there is no git.
    """
    text = _last_commit(folder, "%ct")
    return int(text) if text.isdigit() else None


def commit_of(folder: Path) -> str:
    """Return the id of the last commit that touched ``folder``; empty when git does not know the folder.

    Whether files were changed since then is not asked: see above.
    """
    text = _last_commit(folder, "%H")
    return text if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", text) else ""


def _last_commit(folder: Path, form: str) -> str:
    """Return one fact about the last commit that touched ``folder``, or an empty text."""
    command = ["git", "-C", str(folder), *_TAME, "log", "-1", f"--format={form}", "--", "."]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
