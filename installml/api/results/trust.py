"""What is trusted, and why a package may be used or not."""

from __future__ import annotations

from dataclasses import dataclass

from ...digest import Digest
from ...reference import Reference
from .form import Result

__all__ = [
    "PolicyResult",
    "TrustChangeResult",
    "TrustListResult",
    "TrustPin",
    "TrustRule",
    "TrustStep",
    "TrustTestResult",
]


@dataclass(frozen=True, slots=True)
class TrustRule:
    """What a policy asks of the packages under one prefix.

    Attributes:
        prefix: `*`, or a registry with or without a path.
        level: `enforce`, `warn` or `off`.
        signers: Who may sign, in words; empty for nobody in advance.
        threshold: How many of them must have signed.
        first_use: `ask` where a person may be asked about somebody else, else `never`.
        rollback: `refuse`, or `allow` where a tag may go back.
        max_age: Seconds after which a signature counts no more; null for no limit.
        mirror_of: Prefix under whose names the packages were signed; empty for their own.
        attestations: Predicate types that must be attached.
        origin: The file that it stands in.
    """

    prefix: str
    level: str
    signers: tuple[str, ...]
    threshold: int
    first_use: str
    rollback: str
    max_age: int | None
    mirror_of: str
    attestations: tuple[str, ...]
    origin: str


@dataclass(frozen=True, slots=True)
class TrustPin:
    """Whom somebody accepted for one repository.

    Attributes:
        repository: With its registry.
        signers: One of whom must sign there.
        pinned: When; ISO 8601 in UTC.
        how: `asked` at the first use, or `rotated` by hand.
    """

    repository: str
    signers: tuple[str, ...]
    pinned: str
    how: str


@dataclass(frozen=True, slots=True)
class TrustListResult(Result):
    """Who is trusted for what.

    Attributes:
        rules: Of the policies, those asked first before the others.
        pins: By repository.
        file: The user's own policy.
    """

    rules: tuple[TrustRule, ...]
    pins: tuple[TrustPin, ...]
    file: str


@dataclass(frozen=True, slots=True)
class TrustChangeResult(Result):
    """Trust was given, taken or moved.

    Attributes:
        change: `added`, `unchanged`, `removed`, `rotated` or `forgotten`.
        prefix: Where it holds.
        signer: Whom it is about, in words; empty for everybody there.
        repositories: Repositories whose pin changed.
        file: The user's own policy, where it was changed; empty otherwise.
        notices: What the reader should know.
    """

    change: str
    prefix: str
    signer: str
    repositories: tuple[str, ...]
    file: str = ""
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyResult(Result):
    """The policy in force.

    Attributes:
        files: Its documents, those asked first before the others.
        rules: What they ask, longest prefix first within a document.
        revoked: Whose signatures count no more, in words.
        decides: The one rule that decides about the reference that was asked about; null when none was.
    """

    files: tuple[str, ...]
    rules: tuple[TrustRule, ...]
    revoked: tuple[str, ...]
    decides: TrustRule | None = None


@dataclass(frozen=True, slots=True)
class TrustStep:
    """One thing that was looked at on the way to a decision.

    Attributes:
        rule: Which rule, in one word: `digest`, `policy`, `signature`, `lock`, `pin`, `signers`, `rollback`,
            `attestation`, `verdict`.
        state: `met`, `failed`, or `noted` where it only says what is so.
        sentence: What was found.
    """

    rule: str
    state: str
    sentence: str


@dataclass(frozen=True, slots=True)
class TrustTestResult(Result):
    """Whether a package may be used, and why; nothing was written down.

    Attributes:
        reference: The package.
        digest: Its manifest.
        outcome: `trusted`, `ask`, `warned`, `off` or `refused`.
        passes: Whether it may be used as things are.
        reason: The error that an installation would end or warn with; empty for none.
        message: The decision in words.
        signers: Who vouches for it and counts.
        steps: How it was decided.
        hint: What to type about it; may be empty.
    """

    reference: Reference
    digest: Digest
    outcome: str
    passes: bool
    reason: str
    message: str
    signers: tuple[str, ...]
    steps: tuple[TrustStep, ...]
    hint: str
