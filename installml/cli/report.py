"""Errors to words or JSON: what failed, why, and what to type next, gathered down the chain of causes."""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InstallMLError, Interrupted
from ..spec.units import format_size
from .screen import Screen, plain

if TYPE_CHECKING:
    from .tally import Tally

__all__ = ["InternalError", "Stopped", "causes", "error_json", "hints", "report", "stopped"]


class InternalError(InstallMLError):
    """Something that nobody foresaw: a defect of InstallML, not of what was asked."""

    reference = "internal-error"
    default_hint = "Run it again with --debug and report what it prints to the authors of InstallML."

    def __init__(self, error: BaseException) -> None:
        # Only the type: the text of an unforeseen exception may carry anything, a signed URL for instance.
        super().__init__(f"internal error: {type(error).__name__}")


class Stopped(Interrupted):
    """Ctrl-C or SIGTERM."""

    default_hint = "Nothing half done is visible. Type the same command again to go on; what has arrived is kept."

    def __init__(self, hint: str = "") -> None:
        super().__init__("interrupted", hint=hint)


def stopped(tallies: Iterable[Tally], words: Sequence[str]) -> Stopped:
    """Return the interruption of a command line, with how much it leaves and what goes on from there.

    Args:
        tallies: What was done; the last one that moved anything counts.
        words: The words after ``installml``; no secret is ever among them.
    """
    moving = [tally for tally in tallies if tally.total]
    if not moving:
        return Stopped()
    tally, line = moving[-1], shlex.join(["installml", *words])
    where = "are kept" if tally.phase == "downloading" else "have arrived"
    # "About": a part that a connection was in the middle of is fetched again.
    kept = f"About {format_size(tally.kept)} of {format_size(tally.total)} {where}" if tally.kept else "Nothing is lost"
    return Stopped(f"{kept}; go on with: {line}")


def causes(error: InstallMLError) -> Iterator[InstallMLError]:
    """Yield ``error`` and those that it came from, as far as they are ours."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if isinstance(link, InstallMLError):
            yield link
        link = link.__cause__


def hints(error: InstallMLError) -> list[str]:
    """Return the hints of ``error`` and its causes, nearest first, each once."""
    return list(dict.fromkeys(link.hint for link in causes(error) if link.hint))


def reasons(error: InstallMLError) -> list[str]:
    """Return what the causes say that ``error`` itself does not."""
    texts = [link.message for link in causes(error)]
    return [text for position, text in enumerate(texts) if position and text not in " ".join(texts[:position])]


def error_json(error: InstallMLError) -> dict[str, Any]:
    """Return the document that scripts read (docs/reference/errors.md)."""
    return {
        "schemaVersion": 1,
        "kind": "Error",
        "reference": error.reference,
        "message": ": ".join([error.message, *reasons(error)]),
        "hint": "\n".join(hints(error)),
        "subject": error.subject,
    }


def report(error: InstallMLError, screen: Screen, *, as_json: bool, debug: bool = False) -> None:
    """Tell the reader: JSON on standard output, or text on standard error; with ``debug`` the traceback before it."""
    if debug:
        screen.say("".join(traceback.format_exception(error)).rstrip())
    if as_json:
        screen.json(error_json(error))
        return
    if isinstance(error, Stopped):
        screen.say(f"Stopped. {error.hint}")
        return
    parts = [("error: ", error.message), *(("because: ", reason) for reason in reasons(error))]
    parts += [("hint: ", hint.replace("\n", "\n      ")) for hint in hints(error)]
    if screen.colored:
        _colored(parts, screen)
    else:
        screen.say("\n".join(f"{label}{text}" for label, text in parts))


_STYLES = {"error: ": "bold red", "because: ": "dim", "hint: ": "cyan"}


def _colored(parts: list[tuple[str, str]], screen: Screen) -> None:
    from rich.text import Text

    console = screen.console()
    for label, text in parts:
        console.print(Text.assemble((label, _STYLES[label]), plain(text)))
