"""What a command costs: wall seconds, CPU seconds of its process tree, peak memory of its largest process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launch.py")
TIMEOUT = 1800.0
TAIL = 600
"""Characters of a failing command's last words that are kept."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one or several commands in a row cost.

    Attributes:
        wall: Seconds.
        cpu: Seconds, user and system, of the commands and the children that they waited for.
        peak: Bytes of memory of the largest single process.
        code: Exit code of the last command that ran; negative is a signal.
        said: The end of what they wrote, both streams.
    """

    wall: float
    cpu: float
    peak: int
    code: int
    said: str


class TookTooLong(RuntimeError):
    """A command was stopped after ``TIMEOUT`` seconds."""


def measure(commands: Sequence[Sequence[str]], *, cwd: Path, env: Mapping[str, str], timeout: float = TIMEOUT) -> Cost:
    """Run commands one after the other, until one fails, and return what they cost together.

    Args:
        commands: Each a program and its arguments.
        cwd: Their folder.
        env: Their whole environment.
        timeout: Seconds after which all of them are killed.

    Raises:
        TookTooLong: They were killed.
    """
    with tempfile.TemporaryDirectory(prefix="installml-cost-") as folder, tempfile.TemporaryFile() as words:
        result = Path(folder, "cost.json")
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(result), json.dumps([list(c) for c in commands])]
        process = subprocess.Popen(
            launcher, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=words, stderr=words,
            start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TookTooLong(f"{commands[0][0]} took more than {timeout:.0f} s") from None
        finally:  # Ctrl-C too: a group of its own hears nothing of the terminal
            end_group(process)
        words.seek(0, os.SEEK_END)
        words.seek(max(0, words.tell() - TAIL))
        said = words.read().decode(errors="replace").strip()
        if not result.exists():
            raise RuntimeError(f"{' '.join(commands[0][:3])} could not be run: {said}")
        return Cost(**json.loads(result.read_text()), said=said)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a group, with the whole group; harmless when all have ended."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
