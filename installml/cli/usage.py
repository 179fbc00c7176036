"""What typer could not parse, as our own error: the one place where its exceptions are translated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typer import TyperException

from ..errors import UsageError

__all__ = ["CommandLineInvalid", "translate", "wanted"]


class CommandLineInvalid(UsageError):
    """A command line that no verb understands."""

    reference = "command-line-invalid"


def translate(error: TyperException) -> UsageError:
    """Return our error: what is wrong, the usage line, and how to get help."""
    context: Any = getattr(error, "ctx", None)
    message = error.format_message().rstrip(".") or "this command line cannot be understood"
    message, _, guess = message.partition(". Did you mean ")
    options = sorted(getattr(error, "possibilities", None) or ())
    if options:
        message, guess = error.message, " or ".join(options)
    hints = [f"Did you mean {guess.rstrip('?')}?"] if guess else []
    if context is not None:
        hints += [context.get_usage().strip(), f"Help: installml {_verb(context)}--help"]
    return CommandLineInvalid(f"{message[:1].lower()}{message[1:]}", hint="\n".join(hints))


def _verb(context: Any) -> str:
    """Return the verb's words with a space behind them; empty for installml itself."""
    return "".join(f"{word} " for word in context.command_path.split()[1:])


def wanted(arguments: Sequence[str], flag: str) -> str:
    """Return the last value of ``flag`` on a command line that may not be parseable; empty when it is not there.

    A failure has to be told in the form that was asked for even when the rest of the line makes no sense.
    """
    value = ""
    words = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    for position, word in enumerate(words):
        if word == flag:
            value = words[position + 1] if position + 1 < len(words) else ""
        elif word.startswith(f"{flag}="):
            value = word.partition("=")[2]
    return value
