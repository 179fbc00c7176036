"""Changing somebody's policy file without losing what they wrote: text in, text out, comments kept.

Python reads TOML and does not write it. So lines are put in and taken out, and the result is read again: when it does
not mean exactly what was wanted, nothing is changed and the person is told what to write themselves.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

from ..errors import UsageError
from .patterns import IdentityIs, IdentityLike, KeyIs, Pattern
from .policy import Place, Policy, Rule, Trusted
from .policy_document import parse_policy

__all__ = ["PolicyTooIntricate", "add_signer", "remove_rule", "remove_signer", "spelled"]

_RULE = re.compile(r"^[ \t]*\[\[[ \t]*rules[ \t]*\]\]", re.MULTILINE)
_NEXT = re.compile(r"^[ \t]*\[(?!\[?[ \t]*rules[ \t]*\.)", re.MULTILINE)
_SIGNERS = re.compile(r"^[ \t]*signers[ \t]*=[ \t]*\[", re.MULTILINE)


class PolicyTooIntricate(UsageError):
    """A policy file is written in a way that a program had better not change."""

    reference = "policy-too-intricate"

    def __init__(self, origin: str, wanted: str) -> None:
        super().__init__(
            f"{origin} is written in a way that is not changed by a program; nothing was changed",
            hint=f"Open it in an editor and {wanted}",
            subject=origin,
        )


def spelled(pattern: Pattern) -> str:
    """Return a condition as an inline table of TOML."""
    if isinstance(pattern, KeyIs):
        return f"{{ key = {_text(pattern.fingerprint)} }}"
    if isinstance(pattern, IdentityLike):
        return f"{{ identity_glob = {_text(pattern.glob)}, issuer = {_text(pattern.issuer)} }}"
    if isinstance(pattern, IdentityIs):
        return f"{{ identity = {_text(pattern.identity)}, issuer = {_text(pattern.issuer)} }}"
    raise TypeError(f"{type(pattern).__name__} is written by people only")


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # a basic string of TOML is one of JSON


@dataclass(frozen=True, slots=True)
class _Document:
    text: str
    origin: str

    @property
    def policy(self) -> Policy:
        return parse_policy(self.text.encode(), self.origin)

    def rule(self, place: Place) -> tuple[int, Rule] | None:
        """Return position and rule of a prefix."""
        return next(((i, rule) for i, rule in enumerate(self.policy.rules) if rule.prefix == place), None)

    def block(self, position: int) -> tuple[int, int] | None:
        """Return where the text of the rule at ``position`` begins and ends; None when that cannot be told."""
        starts = [match.start() for match in _RULE.finditer(self.text)]
        if len(starts) != len(self.policy.rules):
            return None
        behind = _NEXT.search(self.text, _line_end(self.text, starts[position]))
        return starts[position], behind.start() if behind else len(self.text)


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end + 1


def add_signer(text: str, origin: str, place: Place, pattern: Pattern, note: str = "") -> str:
    """Return the document with one more signer for a prefix; the same text when they are there.

    Args:
        text: The document.
        origin: Its path.
        place: The prefix.
        pattern: Who.
        note: A comment behind a new entry, on the same line.

    Raises:
        PolicyInvalid: The document breaks its format.
        PolicyTooIntricate: It cannot be changed safely.
    """
    document = _Document(text, origin)
    entry = f"  {spelled(pattern)},{f'  # {note}' if note else ''}\n"
    found = document.rule(place)
    if found is None:
        new = f"[[rules]]\nprefix = {_text(str(place))}\nsigners = [\n{entry}]\n"
        changed = f"{text.rstrip()}\n\n{new}" if text.strip() else new
        return _checked(document, changed, place, (Trusted(pattern),), f"add:\n{new}")
    position, rule = found
    if any(trusted.pattern == pattern for trusted in rule.signers):
        return text
    wanted = f"add {spelled(pattern)} to the signers of {place}"
    changed = _with_entry(document, position, entry, wanted)
    return _checked(document, changed, place, (*rule.signers, Trusted(pattern)), wanted)


def _with_entry(document: _Document, position: int, entry: str, wanted: str) -> str:
    block = document.block(position)
    if block is None:
        raise PolicyTooIntricate(document.origin, wanted)
    start, end = block
    text = document.text
    listed = _SIGNERS.search(text, start, end)
    if listed is None:
        at = _line_end(text, start)
        return f"{text[:at]}signers = [\n{entry}]\n{text[at:]}"
    return f"{text[: listed.end()]}\n{entry}{text[listed.end() :].lstrip(' ').removeprefix(chr(10))}"


def remove_signer(text: str, origin: str, place: Place, pattern: Pattern) -> str:
    """Return the document without one signer of a prefix; without the rule when they were the only one.

    Raises:
        PolicyInvalid: The document breaks its format.
        PolicyTooIntricate: It cannot be changed safely, or names them in another way.
        UsageError: They are not named there.
    """
    document = _Document(text, origin)
    found = document.rule(place)
    left = [trusted for trusted in (found[1].signers if found else ()) if trusted.pattern != pattern]
    if found is None or len(left) == len(found[1].signers):
        raise UsageError(
            f"{origin} has no rule for {place} that names {pattern}",
            hint="See what it has with: installml trust list",
            subject=str(place),
        )
    if not left:
        return remove_rule(text, origin, place)
    wanted = f"take {spelled(pattern)} out of the signers of {place}"
    block = document.block(found[0])
    lines = text[block[0] : block[1]].splitlines(keepends=True) if block else []
    hits = [i for i, line in enumerate(lines) if line.strip().startswith(f"{spelled(pattern)},")]
    if block is None or len(hits) != 1:
        raise PolicyTooIntricate(origin, wanted)
    kept = "".join(line for i, line in enumerate(lines) if i != hits[0])
    return _checked(document, text[: block[0]] + kept + text[block[1] :], place, tuple(left), wanted)


def remove_rule(text: str, origin: str, place: Place) -> str:
    """Return the document without the rule of a prefix.

    Raises:
        PolicyInvalid: The document breaks its format.
        PolicyTooIntricate: It cannot be changed safely.
        UsageError: There is no such rule.
    """
    document = _Document(text, origin)
    found = document.rule(place)
    if found is None:
        raise UsageError(
            f"{origin} has no rule for {place}", hint="See what it has with: installml trust list", subject=str(place)
        )
    wanted = f"remove the rule for {place}"
    block = document.block(found[0])
    if block is None:
        raise PolicyTooIntricate(origin, wanted)
    changed = _Document(text[: block[0]].rstrip() + "\n\n" + text[block[1] :].lstrip("\n"), origin)
    changed = _Document(changed.text.strip("\n") + "\n" if changed.text.strip() else "", origin)
    before = [rule for rule in document.policy.rules if rule.prefix != place]
    if _meaning(changed) != (before, document.policy.revocations):
        raise PolicyTooIntricate(origin, wanted)
    return changed.text


def _checked(document: _Document, text: str, place: Place, signers: tuple[Trusted, ...], wanted: str) -> str:
    """Return ``text`` when it differs from the document in the signers of one prefix, and in nothing else."""
    changed = _Document(text, document.origin)
    old = {rule.prefix: rule for rule in document.policy.rules}
    try:
        new = {rule.prefix: rule for rule in changed.policy.rules}
        rule = new.pop(place, None)
    except UsageError:
        raise PolicyTooIntricate(document.origin, wanted) from None
    before = old.pop(place, None)
    named = rule is not None and {t.pattern for t in rule.signers} == {t.pattern for t in signers}
    # Whether others may be asked about is "never" from the first named signer on, unless the file says otherwise.
    alike = rule is not None and (
        before is None or replace(rule, signers=before.signers, first_use=before.first_use) == before
    )
    if not named or not alike or old != new or changed.policy.revocations != document.policy.revocations:
        raise PolicyTooIntricate(document.origin, wanted)
    return text


def _meaning(document: _Document) -> object:
    try:
        policy = document.policy
    except UsageError:
        return None
    return list(policy.rules), policy.revocations
