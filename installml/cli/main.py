"""The entry point, and the only place that catches everything: a failure becomes words or JSON, and an exit code.

Nothing heavy is imported here, so that ``installml --version`` answers at once (benchmarks/startup.py).
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from .. import __version__

if TYPE_CHECKING:
    from ..errors import InstallMLError
    from .context import Cli

__all__ = ["main"]

INTERRUPTED = 130

YOUNG = 100_000
"""Objects that are made before Python looks for cycles among them; its 700 cost a sixth of the start, for nothing."""

GRACE = 2.0
"""Seconds between an interruption and the end, at most."""


def main(arguments: Sequence[str] | None = None, *, cli: Cli | None = None) -> int:
    """Run one command line.

    Args:
        arguments: The words after ``installml``; the process's own when left out.
        cli: What it works with; what this process has when left out.

    Returns:
        The exit code (docs/reference/errors.md).
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        gc.set_threshold(YOUNG)
    _open_streams()
    if words[:1] == ["--version"]:
        sys.stdout.write(f"installml {__version__}\n")
        return 0
    if cli is None:
        from .context import Cli

        cli = Cli.of_process()
    cli = replace(cli, words=tuple(words))
    with _interruptible(words, cli, leave=arguments is None):
        code = _run(words, cli)
        _end(code, cli)
    if arguments is None:
        _leave(code)
    return code


def _open_streams() -> None:
    """Put nothing in the place of a stream that the parent closed (``>&-``): Python has None there."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))


def _run(words: list[str], cli: Cli) -> int:
    from typer import Abort, TyperException

    from ..errors import InstallMLError
    from .report import InternalError, Stopped
    from .screen import Ended
    from .usage import translate

    error: InstallMLError
    try:
        code = _command(words, cli)
        if code != INTERRUPTED:
            return code
        error = Stopped()
    except Ended as ended:
        return ended.code
    except (KeyboardInterrupt, Abort):
        error = Stopped()
    except TyperException as refused:
        error = translate(refused)
    except InstallMLError as failed:
        error = failed
    except Exception as unforeseen:
        error = InternalError(unforeseen)
        error.__cause__ = unforeseen
    _tell(error, words, cli)
    return error.exit_code


def _command(words: list[str], cli: Cli) -> int:
    from .app import command

    result = command(words).main(args=words or ["--help"], prog_name="installml", standalone_mode=False, obj=cli)
    if not words:
        return 2
    return result if isinstance(result, int) else 0


def _tell(error: InstallMLError, words: list[str], cli: Cli) -> bool:
    """Tell a failure, unless it is being told already."""
    from .report import Stopped, report, stopped
    from .screen import Color, OutputClosed
    from .usage import wanted

    if not cli.telling.acquire(blocking=False):
        return False
    colour = wanted(words, "--color")
    screen = replace(cli.screen, color=Color(colour) if colour in list(Color) else Color.AUTO)
    for status in cli.showing:
        status.close()
    if isinstance(error, Stopped):
        error = stopped([status.tally for status in cli.showing], words)
    as_json = "json" in (wanted(words, "--format"), wanted(words, "--progress"))
    with contextlib.suppress(OutputClosed):
        report(error, screen, as_json=as_json, debug="--debug" in words)
    return True


@contextlib.contextmanager
def _interruptible(words: list[str], cli: Cli, *, leave: bool) -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does.

    What is under way gets ``GRACE`` seconds to end; a thread that waits for a silent registry would take as long as
    the registry is silent. A second signal ends at once. Ending in the middle is safe: nothing is visible half done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, _frame: FrameType | None) -> NoReturn:
        if leave and interruptions:
            _abandon(cli)
        interruptions.append(number)
        if leave:
            timer.start()
        raise KeyboardInterrupt

    def give_up() -> None:
        from .report import Stopped

        if _tell(Stopped(), words, cli):
            _end(INTERRUPTED, cli)
            _leave(INTERRUPTED)

    interruptions: list[int] = []
    timer = threading.Timer(GRACE, give_up)
    timer.daemon = True
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(code: int, cli: Cli) -> None:
    for ending in cli.endings:
        ending(code)


def _abandon(cli: Cli) -> NoReturn:
    """End in the middle of whatever runs, without a lock that it may hold; only the cursor is given back."""
    from .painter import RESTORE

    with contextlib.suppress(OSError, ValueError):
        if cli.showing and cli.screen.terminal:
            os.write(cli.screen.err.fileno(), RESTORE.encode())
    os._exit(INTERRUPTED)


def _leave(code: int) -> NoReturn:
    """End at once.

    Taking the interpreter apart takes a tenth of a short command, and threads that wait for a silent registry would
    keep it for as long as that is silent. What has to be put in order is the business of ``Cli.endings``.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)
