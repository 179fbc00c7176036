"""Who is meant: conditions on one signer that can be put together.

Every condition looks at one signer at a time, so that a further signature can never make an earlier one count less.
An identity means nothing without the issuer who vouched for it, so the two always stand together and the issuer is
always compared exactly (as sigstore-python's ``verify.policy.Identity`` does). Globs are never regular expressions:
cosign's ``--certificate-identity-regexp`` is searched, not matched whole, and its dots match anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .evidence import IdentitySigner, KeySigner, Signer

__all__ = [
    "MAX_IDENTITY",
    "AllOf",
    "AnyOf",
    "IdentityIs",
    "IdentityLike",
    "KeyIs",
    "Not",
    "Pattern",
    "UnsafeAnyone",
    "exactly",
    "glob_matches",
    "is_too_wide",
]

MAX_IDENTITY = 2048
"""Characters of an identity that is compared with a glob; a longer one matches none."""

_STEPS = re.compile(r"\*{2,}|\*|[^*]", re.DOTALL)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://")


class Pattern(Protocol):
    """A condition on one signer."""

    @property
    def bounded(self) -> bool:
        """Whether it names somebody, and does not mean everybody but a few."""
        ...

    def matches(self, signer: Signer) -> bool:
        """Return whether ``signer`` is meant."""
        ...


@dataclass(frozen=True, slots=True)
class KeyIs:
    """The holder of one key.

    Attributes:
        fingerprint: ``sha256:<hex>`` of its DER SubjectPublicKeyInfo.
    """

    fingerprint: str
    bounded = True

    def matches(self, signer: Signer) -> bool:
        """Return whether ``signer`` has signed with that key."""
        return isinstance(signer, KeySigner) and signer.fingerprint == self.fingerprint

    def __str__(self) -> str:
        return f"key {self.fingerprint}"


@dataclass(frozen=True, slots=True)
class IdentityIs:
    """One identity of one issuer, compared character by character.

    Attributes:
        identity: E-mail address or URI of the certificate.
        issuer: URL of the OpenID Connect provider.
    """

    identity: str
    issuer: str
    bounded = True

    def matches(self, signer: Signer) -> bool:
        """Return whether ``signer`` is that identity."""
        return isinstance(signer, IdentitySigner) and signer.identity == self.identity and signer.issuer == self.issuer

    def __str__(self) -> str:
        return f"{self.identity} ({self.issuer})"


@dataclass(frozen=True, slots=True)
class IdentityLike:
    """Identities of one issuer that a glob means.

    Attributes:
        glob: See ``glob_matches``.
        issuer: URL of the OpenID Connect provider, never a glob.
    """

    glob: str
    issuer: str
    bounded = True

    def matches(self, signer: Signer) -> bool:
        """Return whether ``signer`` is one of them."""
        return (
            isinstance(signer, IdentitySigner)
            and signer.issuer == self.issuer
            and glob_matches(self.glob, signer.identity)
        )

    def __str__(self) -> str:
        return f"anyone like {self.glob} ({self.issuer})"


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Whoever meets one condition at least."""

    members: tuple[Pattern, ...]

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("AnyOf of nothing means nobody")

    @property
    def bounded(self) -> bool:
        """Whether every member names somebody."""
        return all(member.bounded for member in self.members)

    def matches(self, signer: Signer) -> bool:
        """Return whether ``signer`` meets one of the conditions."""
        return any(member.matches(signer) for member in self.members)

    def __str__(self) -> str:
        return f"any of ({'; '.join(map(str, self.members))})"


@dataclass(frozen=True, slots=True)
class AllOf:
    """Whoever meets every condition. Of no conditions it would be everybody, and is refused."""

    members: tuple[Pattern, ...]

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("AllOf of nothing would mean everybody")

    @property
    def bounded(self) -> bool:
        """Whether one member names somebody; the others only narrow it."""
        return any(member.bounded for member in self.members)

    def matches(self, signer: Signer) -> bool:
        """Return whether ``signer`` meets all of the conditions."""
        return all(member.matches(signer) for member in self.members)

    def __str__(self) -> str:
        return f"all of ({'; '.join(map(str, self.members))})"


@dataclass(frozen=True, slots=True)
class Not:
    """Everybody who does not meet a condition: of use inside ``AllOf`` beside who is meant, and refused elsewhere."""

    member: Pattern
    bounded = False

    def matches(self, signer: Signer) -> bool:
        """Return whether ``signer`` does not meet the condition."""
        return not self.member.matches(signer)

    def __str__(self) -> str:
        return f"not ({self.member})"


@dataclass(frozen=True, slots=True)
class UnsafeAnyone:
    """Everybody who can make a signature, an attacker included: it proves that somebody signed, not who."""

    bounded = True  # whoever writes "unsafe" has been told

    def matches(self, signer: Signer) -> bool:
        """Return True."""
        return True

    def __str__(self) -> str:
        return "anyone at all (unsafe)"


def exactly(signer: Signer) -> Pattern:
    """Return the condition that only ``signer`` meets; no character of it is a wildcard."""
    if isinstance(signer, KeySigner):
        return KeyIs(signer.fingerprint)
    return IdentityIs(signer.identity, signer.issuer)


def is_too_wide(glob: str) -> bool:
    """Return whether ``glob`` names nobody in particular: wildcards, a scheme and punctuation are all that it has."""
    return not any(char.isalnum() for char in _SCHEME.sub("", glob, count=1))


def glob_matches(glob: str, identity: str) -> bool:
    """Return whether ``glob`` means the whole of ``identity``.

    ``*`` is any characters but ``/`` and ``@``, so that it stays inside one piece of a URI or address; ``**`` is any
    characters. All others stand for themselves, ``?``, ``[`` and ``.`` too (``dependabot[bot]`` is an identity). The
    time is linear in the identity: whoever wants a signature to count may choose it.
    """
    if len(identity) > MAX_IDENTITY:
        return False
    steps: Sequence[str] = _STEPS.findall(glob)
    literals: dict[str, int] = {}
    piece = anything = 0
    for position, step in enumerate(steps):
        if step == "*":
            piece |= 1 << position
        elif step.startswith("*"):
            anything |= 1 << position
        else:
            literals[step] = literals.get(step, 0) | 1 << position
    skips = piece | anything
    state = _past(1, skips)
    for char in identity:
        stay = state & (anything | (0 if char in "/@" else piece))
        state = _past(stay | (state & literals.get(char, 0)) << 1, skips)
        if not state:
            return False
    return bool(state >> len(steps) & 1)


def _past(state: int, skips: int) -> int:
    """Return ``state`` with the positions behind wildcards, which may stand for nothing."""
    while (more := state | (state & skips) << 1) != state:
        state = more
    return state
