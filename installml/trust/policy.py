"""What somebody wants before a package counts as vouched for: rules by prefix, revocations, and which rule decides.

How the document is read is in ``policy_document``; what follows from a rule is in ``decide``. Nothing here depends on
the order of a file: prefixes are unique in a document, and the longest that covers a repository decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from ..errors import ReferenceInvalid
from ..reference import Reference, canonical_host
from .evidence import Signer
from .keys import PublicKey
from .patterns import Pattern

__all__ = [
    "DEFAULT_POLICY",
    "SEVERITIES",
    "Condition",
    "Equals",
    "FirstUse",
    "Level",
    "NoWorseThan",
    "Place",
    "Policy",
    "RequiredAttestation",
    "Revocation",
    "Rollback",
    "Rule",
    "Trusted",
    "matched",
]

SEVERITIES = ("info", "low", "medium", "high", "critical")
"""Of a finding, the harmless first; the names of ``installml.scanning``."""


class Level(StrEnum):
    """What happens to a package that does not meet its rule."""

    ENFORCE = "enforce"
    WARN = "warn"
    OFF = "off"


class FirstUse(StrEnum):
    """Whether a person may be asked about a signer who is not known yet, and the answer be kept as a pin."""

    ASK = "ask"
    NEVER = "never"


class Rollback(StrEnum):
    """Whether a name may go back to something that was signed earlier."""

    REFUSE = "refuse"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A registry, a namespace or a repository: what a rule is about. Compared component by component.

    Attributes:
        parts: The registry's one name, then the path's components; empty for everything.
    """

    parts: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Place:
        """Return the place that ``text`` names: ``*``, ``HOST`` or ``HOST/path``.

        Raises:
            ReferenceInvalid: It has no registry, a tag, or a wildcard inside.
        """
        if text == "*":
            return cls()
        try:
            found = Reference.parse(f"{text}/x")
        except ReferenceInvalid:
            found = Reference("", "x")
        if not found.registry:
            raise ReferenceInvalid(
                f"{text[:80]!r} is not a prefix",
                hint="Write * or a registry with or without a path, such as ghcr.io/acme: no tag, no other wildcard.",
                subject=text,
            )
        whole = cls.of(found)
        return cls(whole.parts[:-1])

    @classmethod
    def of(cls, reference: Reference) -> Place:
        """Return the place of a repository. All names of one registry are one: a rule is not escaped by an alias,
        by capital letters, or by the port that https has anyway.
        """
        host = canonical_host(reference.registry.lower().removesuffix(":443"))
        return cls((host, *reference.repository.split("/")))

    def covers(self, other: Place) -> bool:
        """Return whether ``other`` is this place or inside it; ``acme`` does not cover ``acme-evil``."""
        return other.parts[: len(self.parts)] == self.parts

    def moved(self, start: Place, target: Place) -> Place:
        """Return this place with the beginning ``start``, which covers it, exchanged for ``target``."""
        return Place((*target.parts, *self.parts[len(start.parts) :]))

    def __str__(self) -> str:
        return "/".join(self.parts) or "*"


@dataclass(frozen=True, slots=True)
class Trusted:
    """One entry of a list of signers.

    Attributes:
        pattern: Who is meant.
        name: What the policy calls them, or empty.
    """

    pattern: Pattern
    name: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.pattern}" if self.name else str(self.pattern)


class Condition(Protocol):
    """Something that an attestation must say."""

    def unmet(self, predicate: Mapping[str, Any]) -> str:
        """Return what is wrong with ``predicate`` as the end of a sentence, empty for nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Equals:
    """A value at a place of the predicate.

    Attributes:
        path: Keys from the outside in, joined by dots.
        value: What must stand there: text, whole number or truth value.
    """

    path: str
    value: str | int | bool

    def unmet(self, predicate: Mapping[str, Any]) -> str:
        """Return what stands there instead."""
        found: Any = predicate
        for key in self.path.split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        same = type(found) is type(self.value) and found == self.value  # in Python 1 is true
        return "" if same else f"has {str(found)[:80]!r} at {self.path}, not {self.value!r}"

    def __str__(self) -> str:
        return f"{self.path} is {self.value!r}"


@dataclass(frozen=True, slots=True)
class NoWorseThan:
    """A scan whose findings are all of a severity or below. A finding that cannot be understood is worse than any.

    Attributes:
        severity: One of ``SEVERITIES``, or ``none`` for no finding at all.
    """

    severity: str

    def unmet(self, predicate: Mapping[str, Any]) -> str:
        """Return what the scan found that is worse, or that it is no scan."""
        findings = predicate.get("findings")
        if not isinstance(findings, Sequence) or isinstance(findings, str):
            return "lists no findings, not even none"
        worse = {name for finding in findings if self._rank(name := _severity(finding)) > self._rank(self.severity)}
        return f"has findings of severity {', '.join(sorted(worse))}, which is above {self.severity}" if worse else ""

    @staticmethod
    def _rank(name: str) -> int:
        return -1 if name == "none" else SEVERITIES.index(name) if name in SEVERITIES else len(SEVERITIES)

    def __str__(self) -> str:
        return f"nothing worse than {self.severity}"


def _severity(finding: object) -> str:
    name = finding.get("severity") if isinstance(finding, Mapping) else None
    return name if isinstance(name, str) and name in SEVERITIES else "unknown"


@dataclass(frozen=True, slots=True)
class RequiredAttestation:
    """A statement that somebody must have signed about the package.

    Attributes:
        type: Its predicate type.
        signers: By whom, any of them; empty for those whom the rule trusts to sign the package.
        conditions: What it must say.
        max_age: Seconds since it was signed after which it counts no more; None for no limit.
    """

    type: str
    signers: tuple[Trusted, ...] = ()
    conditions: tuple[Condition, ...] = ()
    max_age: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """What is asked of the packages under one prefix.

    Attributes:
        prefix: Where it holds.
        level: What happens to a package that does not meet it.
        signers: Who may vouch; empty for nobody in advance.
        threshold: How many entries of ``signers`` must be met, each by another signer.
        first_use: Whether a person may be asked about somebody who is not among them.
        rollback: Whether a name may go back.
        max_age: Seconds after which a signature counts no more; None for no limit.
        mirror_of: Place under whose names the packages were signed, where it is not this one.
        attestations: What else must be there.
        origin: Which document it stands in.
    """

    prefix: Place
    level: Level = Level.ENFORCE
    signers: tuple[Trusted, ...] = ()
    threshold: int = 1
    first_use: FirstUse = FirstUse.ASK
    rollback: Rollback = Rollback.REFUSE
    max_age: int | None = None
    mirror_of: Place | None = None
    attestations: tuple[RequiredAttestation, ...] = ()
    origin: str = "built in"

    def signed_as(self, place: Place) -> Place:
        """Return the name under which the package at ``place`` was signed."""
        return place.moved(self.prefix, self.mirror_of) if self.mirror_of is not None else place

    def __str__(self) -> str:
        return f"{self.prefix} ({self.origin})"


@dataclass(frozen=True, slots=True)
class Revocation:
    """Somebody whose signatures count no more.

    Attributes:
        pattern: Whom.
        since: Seconds since the epoch from which on; signatures that are proved older still count. None: all of them.
        reason: Why, for the refusal's sentence.
    """

    pattern: Pattern
    since: int | None = None
    reason: str = ""

    def strikes(self, signer: Signer, signed_at: int | None) -> bool:
        """Return whether a signature counts no more.

        Args:
            signer: Who made it.
            signed_at: When, proved by a log or timestamp authority. What the signer says about the time is worth
                nothing: whoever stole the key says what they like.
        """
        proved_older = self.since is not None and signed_at is not None and signed_at < self.since
        return self.pattern.matches(signer) and not proved_older


@dataclass(frozen=True, slots=True)
class Policy:
    """A document of rules, perhaps with another that is asked for what it has no rule for.

    Attributes:
        rules: In any order; no two have the same prefix.
        revocations: Who counts no more.
        keys: Public keys that the document spells out.
        origin: Where it came from.
        otherwise: The policy that is asked where no rule of this one covers a repository.
    """

    rules: tuple[Rule, ...] = ()
    revocations: tuple[Revocation, ...] = ()
    keys: tuple[PublicKey, ...] = ()
    origin: str = "built in"
    otherwise: Policy | None = field(default=None)

    def rule_for(self, place: Place) -> Rule:
        """Return the one rule that decides about ``place``: the longest prefix that covers it."""
        covering = [rule for rule in self.rules if rule.prefix.covers(place)]
        if covering:
            return max(covering, key=lambda rule: len(rule.prefix.parts))
        return self.otherwise.rule_for(place) if self.otherwise else _DEFAULT_RULE

    def revoked(self, signer: Signer, signed_at: int | None) -> Revocation | None:
        """Return the revocation that strikes a signature, of this or any policy below it."""
        found = next((each for each in self.revocations if each.strikes(signer, signed_at)), None)
        return found or (self.otherwise.revoked(signer, signed_at) if self.otherwise else None)

    def over(self, other: Policy) -> Policy:
        """Return this policy with ``other`` for what it has no rule for; revocations of both hold."""
        below = self.otherwise.over(other) if self.otherwise else other
        return Policy(self.rules, self.revocations, self.keys, self.origin, below)

    def documents(self) -> tuple[Policy, ...]:
        """Return this policy and those below it, the first asked first."""
        return (self, *(self.otherwise.documents() if self.otherwise else ()))


_DEFAULT_RULE = Rule(Place())
DEFAULT_POLICY = Policy()
"""Nobody is known in advance; a person may be asked; what nobody vouches for is refused."""


def matched(entries: Sequence[Trusted], signers: Iterable[Signer]) -> dict[int, Signer]:
    """Return as many entries as can be met at once, each by another signer.

    Somebody who has signed twice, or who is meant by two entries, counts once (TUF specification 1.0, 4.2: a threshold
    is of unique keys). This is a maximum bipartite matching, found by augmenting paths.

    Returns:
        Position of each entry that is met to who meets it.
    """
    unique = sorted(set(signers), key=str)
    by_entry = [[s for s in unique if entry.pattern.matches(s)] for entry in entries]
    taken: dict[Signer, int] = {}
    for position in range(len(by_entry)):
        _augment(position, by_entry, taken, set())
    return {position: signer for signer, position in sorted(taken.items(), key=lambda item: item[1])}


def _augment(position: int, by_entry: Sequence[Sequence[Signer]], taken: dict[Signer, int], tried: set[Signer]) -> bool:
    for signer in by_entry[position]:
        if signer in tried:
            continue
        tried.add(signer)
        if signer not in taken or _augment(taken[signer], by_entry, taken, tried):
            taken[signer] = position
            return True
    return False
