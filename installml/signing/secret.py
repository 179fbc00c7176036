"""Passphrases and PINs on their way from whoever types them to whoever uses them.

Nothing heavy is imported here: the composition root makes the question, and few commands ever ask it.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

from .errors import PassphraseMissing, PassphraseRefused

__all__ = ["LEAST", "Ask", "Secret", "ask_nobody", "chosen"]

LEAST = 8
"""Characters of a new passphrase (NIST SP 800-63B, 3.1.1.2: at least eight)."""


class Secret:
    """A passphrase that no representation, log or traceback shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> bytes:
        """Return it as UTF-8."""
        return self._text.encode("utf-8", "surrogateescape")

    def __len__(self) -> int:
        return len(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self.reveal(), other.reveal())

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return "Secret(...)"

    def __reduce__(self) -> Any:
        raise TypeError("a secret is not stored")


Ask = Callable[[str], Secret]
"""Given what is wanted ("passphrase of acme"), returns it; called only where it is needed."""


def ask_nobody(what: str) -> Secret:
    """Answer as where there is nobody to ask.

    Raises:
        PassphraseMissing: Always.
    """
    raise PassphraseMissing(f"there is nobody to ask for the {what}")


def chosen(what: str, ask: Ask) -> Secret:
    """Return a new passphrase, asked for twice.

    Args:
        what: What it will be for, such as ``the key acme``.
        ask: Asked for it.

    Raises:
        PassphraseRefused: It is empty or too short, or not the same twice.
    """
    secret = ask(f"new passphrase of {what}")
    if len(secret) == 0:
        raise PassphraseRefused(
            f"an empty passphrase protects {what} from nobody",
            hint="Choose one, or say with --no-passphrase that whoever can read the file may sign.",
        )
    if len(secret) < LEAST:
        raise PassphraseRefused(f"a passphrase has at least {LEAST} characters", hint="Choose a longer one.")
    if ask(f"new passphrase of {what}, again") != secret:
        raise PassphraseRefused("the two are not the same", hint="Try again.")
    return secret
