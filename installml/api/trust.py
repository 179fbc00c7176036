"""``trust``: who is trusted for what, and why a package may be used or not."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ..errors import ReferenceInvalid, UsageError
from ..events import Phase
from ..signing.keyring import read_key_file
from ..trust.decide import decide
from ..trust.errors import SignerUnknown
from ..trust.evidence import IdentitySigner, KeySigner, Signer
from ..trust.keys import PublicKey
from ..trust.patterns import IdentityIs, IdentityLike, KeyIs, Pattern, is_too_wide
from ..trust.pins import Pin
from ..trust.policy import DEFAULT_POLICY, FirstUse, Level, Place, Policy, Rule
from ..trust.policy_document import MAX_POLICY, parse_policy
from ..trust.policy_edit import add_signer, remove_rule, remove_signer
from ..trust.rotation import parse_rotation
from ..trust.verdict import Request, Verdict, shown, words
from .kept import gather
from .keys import key_ring
from .places import find
from .results import (
    PolicyResult,
    TrustChangeResult,
    TrustListResult,
    TrustPin,
    TrustRule,
    TrustStep,
    TrustTestResult,
)
from .session import AMBIENT, Session

__all__ = [
    "known_keys",
    "named_signer",
    "policy_of",
    "trust_add",
    "trust_list",
    "trust_policy",
    "trust_remove",
    "trust_rotate",
    "trust_test",
]

_ISSUER = re.compile(r"https?://[!-~]{1,1000}")
_FINGERPRINT = re.compile("sha256:[0-9a-f]{64}")
_MAX_ROTATION = 256 << 10


def policy_of(session: Session) -> Policy:
    """Return the policy in force: the given one, then the user's own for what that has no rule for.

    Raises:
        PolicyInvalid: One of them breaks its format.
        UsageError: The given one cannot be read.
    """
    own = session.trusted.policy()
    if session.policy_file is None:
        return own
    return parse_policy(_file(session.policy_file, MAX_POLICY), str(session.policy_file)).over(own)


def known_keys(session: Session) -> tuple[PublicKey, ...]:
    """Return every public key of which this machine has the bytes. To be known is not to be trusted.

    They are those given to ``trust add``, those spelled out in a policy and those of ``keys``.
    """
    written = (key for policy in policy_of(session).documents() for key in policy.keys)
    own = (entry.public for entry in key_ring(session).entries())
    found = {key.fingerprint: key for key in (*session.trusted.keys(), *written, *own)}
    return tuple(found[fingerprint] for fingerprint in sorted(found))


def trust_add(
    prefix: str,
    *,
    key: str = "",
    identity: str = "",
    identity_glob: str = "",
    issuer: str = "",
    session: Session = AMBIENT,
) -> TrustChangeResult:
    """Trust a signer for every package under a prefix, in the user's own policy.

    Args:
        prefix: A registry, or a registry and a path; a bare path is in the default registry.
        key: Public key file, name of a key of this machine, or fingerprint.
        identity: Identity of a certificate, compared exactly; with ``issuer``.
        identity_glob: The same with ``*`` and ``**``.
        issuer: URL of who vouches for the identity.
        session: Collaborators.

    Raises:
        UsageError: Not exactly one signer is named, or the policy file cannot be changed by a program.
    """
    place = _place(prefix, session)
    pattern, public = _who(key, identity, identity_glob, issuer, session)
    folder = session.trusted
    before = folder.policy()
    note = f"added {_day(session.clock())}"
    if public is not None:
        folder.add_key(public)
    after = folder.change_policy(lambda text: add_signer(text, str(folder.policy_file), place, pattern, note))
    notices = (*_overruled(place, session), *_pinned_otherwise(place, pattern, session), *_no_more_asked(place, after))
    change = "unchanged" if after == before else "added"
    written = "" if after == before else str(folder.policy_file)
    return TrustChangeResult(change, str(place), shown(str(pattern)), (), written, notices)


def _no_more_asked(place: Place, policy: Policy) -> tuple[str, ...]:
    rule = policy.rule_for(place)
    if rule.prefix != place or rule.first_use is FirstUse.ASK or len(rule.signers) != 1:
        return ()
    return (f"packages under {place} are now accepted from signers named for it only; nobody is asked about others",)


def _overruled(place: Place, session: Session) -> tuple[str, ...]:
    if session.policy_file is None:
        return ()
    rule = policy_of(session).rule_for(place)
    if rule.origin != str(session.policy_file):
        return ()
    return (f"the rule {rule} decides about {place}; your own policy is not asked there",)


def _pinned_otherwise(place: Place, pattern: Pattern, session: Session) -> tuple[str, ...]:
    return tuple(
        f"{repository} is pinned to {words(pin.signers)}; that stays so until: installml trust rotate {repository}"
        for repository, pin in session.trusted.pins(place)
        if not any(pattern.matches(signer) for signer in pin.signers)
    )


def trust_list(prefix: str = "", *, session: Session = AMBIENT) -> TrustListResult:
    """List who is trusted for what, by rule and by pin.

    Args:
        prefix: Only what is under it, and the rules that decide about it; everything when left out.
        session: Collaborators.
    """
    place = _place(prefix, session) if prefix else Place()
    rules = [rule for rule in _rules(policy_of(session)) if place.covers(rule.prefix) or rule.prefix.covers(place)]
    pins = tuple(
        TrustPin(str(repository), _spelled(pin.signers), _moment(pin.pinned_at), pin.how)
        for repository, pin in session.trusted.pins(place)
    )
    return TrustListResult(tuple(map(_rule, rules)), pins, str(session.trusted.policy_file))


def trust_remove(
    prefix: str,
    *,
    key: str = "",
    identity: str = "",
    identity_glob: str = "",
    issuer: str = "",
    session: Session = AMBIENT,
) -> TrustChangeResult:
    """Trust a signer under a prefix no longer; everybody there when none is named.

    What was seen stays remembered: packages that were signed before are not accepted unsigned afterwards.

    Args:
        prefix: As it was given to ``trust_add``, or a repository that is pinned.
        key: Public key file, name of a key of this machine, or fingerprint.
        identity: Identity of a certificate; with ``issuer``.
        identity_glob: The same with wildcards, spelled as it was.
        issuer: URL of who vouches for the identity.
        session: Collaborators.

    Raises:
        UsageError: Nobody is trusted there, or not in this way.
    """
    place, folder = _place(prefix, session), session.trusted
    pattern: Pattern | None = None
    if key or identity or identity_glob or issuer:
        pattern, _ = _who(key, identity, identity_glob, issuer, session)
    unpinned = tuple(
        str(repository)
        for repository, pin in list(folder.pins(place))
        if (pattern is None or all(pattern.matches(signer) for signer in pin.signers)) and folder.unpin(repository)
    )
    origin = str(folder.policy_file)
    ruled = any(
        rule.prefix == place and (pattern is None or any(each.pattern == pattern for each in rule.signers))
        for rule in folder.policy().rules
    )
    written = ruled or not unpinned
    if written:
        folder.change_policy(_without(origin, place, pattern))
    return TrustChangeResult("removed", str(place), shown(str(pattern or "")), unpinned, origin if written else "")


def _without(origin: str, place: Place, pattern: Pattern | None) -> Callable[[str], str]:
    def change(text: str) -> str:
        return remove_signer(text, origin, place, pattern) if pattern else remove_rule(text, origin, place)

    return change


def trust_rotate(
    prefix: str,
    *,
    key: str = "",
    identity: str = "",
    issuer: str = "",
    statement: str = "",
    session: Session = AMBIENT,
) -> TrustChangeResult:
    """Put a new signer in the place of whoever is pinned or named for a prefix; without one, forget what was known.

    Args:
        prefix: A repository, or a prefix whose repositories all have the new signer.
        key: The new signer: public key file, name of a key of this machine, or fingerprint.
        identity: The new signer: identity of a certificate; with ``issuer``.
        issuer: URL of who vouches for the identity.
        statement: File by which the trusted key hands over to its successor (``keys rotate``): proof that whoever held
            the old key wants this.
        session: Collaborators.

    Returns:
        The repositories that changed. What was seen under their tags stays remembered, unless all is forgotten.

    Raises:
        SignerUnknown: The statement is by a key that is not trusted for the prefix.
        UsageError: Nothing is known under the prefix.
    """
    place, folder = _place(prefix, session), session.trusted
    if not (key or identity or issuer or statement):
        gone = tuple(map(str, folder.forget(place)))
        return TrustChangeResult("forgotten", str(place), "", gone)
    signer, public = (
        _successor(statement, place, session) if statement else named_signer(key, identity, issuer, session)
    )
    if public is not None:
        folder.add_key(public)
    pinned = [repository for repository, _ in folder.pins(place)]
    ruled = any(rule.prefix == place for rule in folder.policy().rules)
    if ruled:
        _replace_named(place, signer, session)
    if not pinned and not ruled:
        _check_repository(place)
        pinned = [place]
    for repository in pinned:
        folder.rotate(repository, Pin((signer,), int(session.clock()), "rotated"))
    written = str(folder.policy_file) if ruled else ""
    return TrustChangeResult("rotated", str(place), words([signer]), tuple(map(str, pinned)), written)


def _replace_named(place: Place, signer: Signer, session: Session) -> None:
    """Write the new signer into the rule of a prefix, and whoever stood there out of it."""
    folder = session.trusted
    origin = str(folder.policy_file)
    new = _exactly(signer)

    def change(text: str) -> str:
        rule = parse_policy(text.encode(), origin).rule_for(place)
        changed = add_signer(text, origin, place, new, f"rotated {_day(session.clock())}")
        for trusted in rule.signers:
            if trusted.pattern != new:
                changed = remove_signer(changed, origin, place, trusted.pattern)
        return changed

    folder.change_policy(change)


def _exactly(signer: Signer) -> Pattern:
    if isinstance(signer, KeySigner):
        return KeyIs(signer.fingerprint)
    return IdentityIs(signer.identity, signer.issuer)


def _check_repository(place: Place) -> None:
    if len(place.parts) < 2:
        raise UsageError(
            f"nobody is pinned or named under {place}",
            hint=f"Trust somebody there with: installml trust add {place} --key FILE",
            subject=str(place),
        )


def _successor(statement: str, place: Place, session: Session) -> tuple[Signer, PublicKey]:
    rotation = parse_rotation(_file(Path(statement), _MAX_ROTATION), statement)
    old = KeySigner(rotation.old.fingerprint)
    pinned = any(old in pin.signers for _, pin in session.trusted.pins(place))
    named = any(
        rule.prefix == place and any(each.pattern.matches(old) for each in rule.signers)
        for rule in session.trusted.policy().rules
    )
    if not pinned and not named:
        raise SignerUnknown(
            f"{statement} hands over from {old}, which is not trusted for {place}",
            hint=f"See who is with: installml trust list {place}",
            subject=str(place),
        )
    return KeySigner(rotation.new.fingerprint), rotation.new


def trust_policy(reference: str = "", *, session: Session = AMBIENT) -> PolicyResult:
    """Show the policy in force, and which rule of it decides about a package.

    Args:
        reference: The package or repository; none when left out.
        session: Collaborators.
    """
    policy = policy_of(session)
    documents = [document for document in policy.documents() if document is not DEFAULT_POLICY]
    revoked = tuple(
        shown(f"{each.pattern}{f' since {_moment(each.since)}' if each.since is not None else ''}: {each.reason}")
        for document in documents
        for each in document.revocations
    )
    decides = policy.rule_for(Place.of(session.qualify(reference))) if reference else None
    return PolicyResult(
        tuple(document.origin for document in documents),
        tuple(map(_rule, _rules(policy))),
        revoked,
        _rule(decides) if decides else None,
    )


def trust_test(
    reference: str,
    *,
    interactive: bool = False,
    allow_unsigned: bool = False,
    allow_downgrade: bool = False,
    session: Session = AMBIENT,
) -> TrustTestResult:
    """Say whether a package may be used, and how that was decided, rule by rule. Nothing is written down.

    Args:
        reference: The package: the registry's, else the local store's.
        interactive: Somebody could be asked about an unknown signer.
        allow_unsigned: As if ``--allow-unsigned`` were given.
        allow_downgrade: As if ``--allow-downgrade`` were given.
        session: Collaborators.

    Raises:
        NotFound: Nobody has the package.
        RegistryError: The signatures could not be listed.
    """
    session.on_event(Phase("resolving", reference))
    found = find(reference, session)
    request = Request(
        found.reference,
        found.descriptor.digest,
        interactive,
        allow_unsigned=allow_unsigned,
        allow_downgrade=allow_downgrade,
    )
    policy = policy_of(session)
    off = policy.rule_for(request.place).level is Level.OFF
    session.on_event(Phase("verifying", str(found.reference)))
    evidence = None if off else gather(found, session, known_keys(session), keep=False)
    memory = session.trusted.memory(found.reference)
    return _tested(decide(evidence, request, policy, memory, int(session.clock())))


def _tested(verdict: Verdict) -> TrustTestResult:
    states = {True: "met", False: "failed", None: "noted"}
    return TrustTestResult(
        reference=verdict.request.reference,
        digest=verdict.request.digest,
        outcome=verdict.outcome.value,
        passes=verdict.passes,
        reason=verdict.reference,
        message=verdict.message,
        signers=_spelled(verdict.signers),
        steps=tuple(TrustStep(step.rule, states[step.passed], step.sentence) for step in verdict.steps),
        hint=verdict.hint,
    )


def _place(prefix: str, session: Session) -> Place:
    """Return the place that somebody means; a bare path is in the default registry, as in every other verb."""
    try:
        return Place.parse(prefix)
    except ReferenceInvalid:
        reference = session.qualify(prefix)
        if reference.tag or reference.digest or not session.default_registry:
            raise
        return Place.of(reference)


def _who(
    key: str, identity: str, identity_glob: str, issuer: str, session: Session
) -> tuple[Pattern, PublicKey | None]:
    """Return the one signer that options name, and the public key where its bytes are known."""
    if sum(map(bool, (key, identity, identity_glob))) != 1 or bool(issuer) == bool(key):
        raise UsageError(
            "name one signer: a key, or an identity and its issuer",
            hint="--key FILE, or --identity WHO --issuer URL, or --identity-glob WHO --issuer URL",
        )
    if identity_glob:
        if is_too_wide(identity_glob):
            raise UsageError(f"{identity_glob!r} means everybody whom {issuer} knows", hint="Name a domain or a path.")
        return IdentityLike(_plain(identity_glob), _url(issuer)), None
    signer, public = named_signer(key, identity, issuer, session)
    return _exactly(signer), public


def named_signer(key: str, identity: str, issuer: str, session: Session) -> tuple[Signer, PublicKey | None]:
    """Return the one signer that options name, and the public key where its bytes are known.

    Args:
        key: Public key file, name of a key of this machine, or fingerprint.
        identity: Identity of a certificate; with ``issuer``.
        issuer: URL of who vouches for the identity.
        session: Collaborators.

    Raises:
        UsageError: Not exactly one is named, or not in a way that can be meant.
        KeyNotFound: There is no such key.
    """
    if bool(key) == bool(identity) or bool(identity) != bool(issuer):
        raise UsageError(
            "name one signer: a key, or an identity and its issuer", hint="--key FILE, or --identity WHO --issuer URL"
        )
    if identity:
        return IdentitySigner(_plain(identity), _url(issuer)), None
    if _FINGERPRINT.fullmatch(key):
        return KeySigner(key), None
    path = Path(key)
    in_file = (
        path.is_file() or "/" in key or key.endswith((".pub", ".pem", ".key"))
    )  # what is not there is told as a file
    public = PublicKey.parse(read_key_file(path), key) if in_file else key_ring(session).find(key).public
    return KeySigner(public.fingerprint), public


def _plain(text: str) -> str:
    if not text.isprintable() or len(text) > 1000:
        raise UsageError(f"{shown(text[:80])!r} is no identity")
    return text


def _url(issuer: str) -> str:
    if not _ISSUER.fullmatch(issuer):
        raise UsageError(
            f"{shown(issuer[:80])!r} is no issuer",
            hint="It is the URL of who vouches for the identity, such as https://token.actions.githubusercontent.com",
        )
    return issuer


def _file(path: Path, cap: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(cap + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", subject=str(path)) from error
    if len(data) > cap:
        raise UsageError(f"{path} has more than {cap} bytes", subject=str(path))
    return data


def _rules(policy: Policy) -> list[Rule]:
    """Return the rules of every document, those asked first before the others."""
    return [
        rule
        for document in policy.documents()
        for rule in sorted(document.rules, key=lambda rule: (-len(rule.prefix.parts), rule.prefix))
    ]


def _rule(rule: Rule) -> TrustRule:
    return TrustRule(
        prefix=str(rule.prefix),
        level=rule.level.value,
        signers=tuple(shown(str(trusted)) for trusted in rule.signers),
        threshold=rule.threshold,
        first_use=rule.first_use.value,
        rollback=rule.rollback.value,
        max_age=rule.max_age,
        mirror_of=str(rule.mirror_of or ""),
        attestations=tuple(wanted.type for wanted in rule.attestations),
        origin=rule.origin,
    )


def _spelled(signers: tuple[Signer, ...]) -> tuple[str, ...]:
    return tuple(shown(str(signer)) for signer in signers)


def _moment(seconds: int | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
