"""``attest``: what somebody says about a package, signed and attached to it; and what has been said so far.

Nothing is decided here: whether an attestation counts is for ``trust.decide``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..attesting.predicate import MAX_PREDICATE, check_predicate, predicate_type, read_predicate, statement_about
from ..errors import UsageError
from ..events import Phase
from ..trust.evidence import Claims, Signed, Unproved
from .attaching import attach, signed
from .kept import gather
from .keys import key_ring
from .places import Found, find
from .results import AttestationInfo, AttestResult
from .session import AMBIENT, Session
from .vouchers import Keyless, Login, Voucher, voucher_of

__all__ = ["attach_statement", "attest", "attestations_of"]


def attest(
    reference: str,
    *,
    predicate: str | Path | Mapping[str, Any],
    type_: str,
    key: str = "",
    login: Login | None = None,
    session: Session = AMBIENT,
) -> AttestResult:
    """Sign a statement about a package and attach it to the package where it is.

    Args:
        reference: The package: the registry's, else the local store's.
        predicate: What is said: a JSON object, or a file that holds one.
        type_: What kind of statement it is: a URI, or ``sbom``, ``spdx``, ``provenance``, ``scan``.
        key: Whose statement it is: name of a key of this machine, a key file, or the URI of a device or service; the
            only key here when left out.
        login: How somebody shows who they are, to sign as that instead of with a key.
        session: Collaborators; its ``ask`` is asked for the key's passphrase.

    Returns:
        What was attached.

    Raises:
        PredicateInvalid: There is no such type, or the predicate is none.
        KeyNotFound: There is no such key, or several to choose from.
        NotFound: Nobody has the package.
        RegistryError: The registry does not take it.
    """
    kind = predicate_type(type_)
    said = check_predicate(dict(predicate), "predicate") if isinstance(predicate, Mapping) else _read(Path(predicate))
    session.on_event(Phase("resolving", reference))
    found = find(reference, session)
    signer = voucher_of(key, login, session)
    session.on_event(Phase("attaching", str(found.reference)))
    return attach_statement(found, kind, said, signer, session)


def attach_statement(
    found: Found, kind: str, predicate: Mapping[str, Any], signer: Voucher, session: Session
) -> AttestResult:
    """Sign a statement about a package that was found, and attach it there.

    It claims when it was made, so that policies can ask for a fresh one, and names no reference: what is said about a
    digest stays true wherever the package is copied to.

    Args:
        found: The package.
        kind: Predicate type, a URI.
        predicate: What is said.
        signer: Whoever says it.
        session: Collaborators.
    """
    claims = Claims(created=int(session.clock()))
    place = f"{found.reference.registry}/{found.reference.repository}"
    statement = statement_about(found.descriptor.digest, place, kind, predicate, claims)
    carrier = attach(found, signed(statement, signer), signer, session)
    return AttestResult(
        reference=found.reference,
        digest=found.descriptor.digest,
        place=found.origin,
        type=kind,
        signer=str(signer.identity) if isinstance(signer, Keyless) else signer.public_key.fingerprint,
        attestation=carrier.digest,
        size=len(statement.to_bytes()),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PREDICATE + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", subject=str(path)) from error
    return read_predicate(data, str(path))


def attestations_of(found: Found, session: Session) -> tuple[AttestationInfo, ...]:
    """Return every signed statement that is attached to a package, and what only looks like one.

    Args:
        found: The package.
        session: Collaborators.

    Raises:
        RegistryError: They could not be listed.
    """
    evidence = gather(found, session, tuple(entry.public for entry in key_ring(session).entries()))
    named = {entry.public.fingerprint: entry.label for entry in key_ring(session).entries()}
    told = [_proved(signed, named, found) for signed in evidence.signed]
    told.sort(key=lambda one: (one.type, one.made, one.signer, str(one.source)))
    return (*told, *map(_unproved, evidence.unproved))


def _proved(signed: Signed, named: Mapping[str, str], found: Found) -> AttestationInfo:
    about = found.descriptor.digest in signed.subjects
    fingerprint = getattr(signed.signer, "fingerprint", "")
    return AttestationInfo(
        type=signed.predicate_type,
        signer=str(signed.signer),
        key=named.get(fingerprint, ""),
        state="holds" if about else "about-another",
        made=_time(signed.signed_at if signed.signed_at is not None else signed.claims.created),
        source=signed.source,
        summary=_summary(signed.predicate),
        reason="" if about else "it is signed, and is not about this package",
    )


def _unproved(one: Unproved) -> AttestationInfo:
    return AttestationInfo("", "", "", one.kind.value, "", one.source, "", one.reason)


def _time(seconds: int | None) -> str:
    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):  # a log may say anything
        return ""


def _summary(predicate: Mapping[str, Any]) -> str:
    """Return the one thing that somebody wants to know of a predicate, as far as it is of a kind that is known."""
    worst, spec, graph = predicate.get("worst"), predicate.get("specVersion"), predicate.get("@graph")
    builder = predicate.get("runDetails")
    if isinstance(worst, str) and isinstance(predicate.get("findings"), list):
        return f"worst finding: {worst[:20]}"
    if isinstance(spec, str) and isinstance(predicate.get("components"), list):
        return f"CycloneDX {spec[:10]}, {len(predicate['components'])} components"
    if isinstance(graph, list):
        return f"SPDX, {len(graph)} elements"
    if isinstance(builder, Mapping) and isinstance(builder.get("builder"), Mapping):
        return f"built by {str(builder['builder'].get('id', ''))[:200]}"
    return ""
