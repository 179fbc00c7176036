"""When the source was last changed, as the source itself records it: the time of git's last commit in the folder.

Nothing here asks what time it is now, or when a file was written to this disk: both differ between machines.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["commit_time"]

_TIMEOUT = 20.0  # seconds
# A folder may come from anywhere, and git runs programs that a repository's own configuration names: no signature
# check, no monitor, no pager; ``status`` and ``diff`` (clean filters) are not used at all.
_TAME = ("-c", "core.fsmonitor=false", "-c", "log.showSignature=false", "-c", "core.pager=cat")


def commit_time(folder: Path) -> int | None:
    """Return the time of the last commit that touched ``folder``, in seconds since the epoch.

    None when the folder is not tracked by git, or there is no git.
    """
    command = ["git", "-C", str(folder), *_TAME, "log", "-1", "--format=%ct", "--", "."]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    text = done.stdout.strip()
    return int(text) if done.returncode == 0 and text.isdigit() else None
