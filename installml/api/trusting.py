"""May this package be used: the one place where what others signed, what somebody wants and what is remembered meet.

``judge`` answers; whoever asks it does the rest: shows the verdict, asks a person, ``remember``s what was decided, and
refuses with ``verdict.check()`` before any layer moves. What follows from a verdict is here as well: which chunk
indexes are vouched for, and which signature goes into the installed folder.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext, suppress
from pathlib import Path

from ..digest import Digest
from ..errors import InstallMLError, IntegrityError
from ..spec.chunks import chunks_digest
from ..spec.descriptor import Descriptor
from ..spec.manifest import Manifest
from ..store.materialise import add_file
from ..store.verified import read_manifest, read_verified
from ..transfer.delta import IndexSource, Release, published_indexes
from ..trust.bundle import BUNDLE
from ..trust.decide import decide
from ..trust.dsse import MAX_ENVELOPE
from ..trust.evidence import Evidence, Form, Signer
from ..trust.oms import SIGNATURE_FILE
from ..trust.policy import Level, Policy, Rule
from ..trust.statement import COSIGN_SIGN, OMS
from ..trust.verdict import Outcome, Request, Verdict
from .kept import Here, gather
from .places import Found
from .session import Session
from .trust import known_keys, policy_of

__all__ = ["index_layers", "judge", "model_signature", "place_signature", "remember", "trusted_indexes"]

_SETTLED = frozenset({Outcome.TRUSTED, Outcome.PINNED})


def judge(
    found: Found,
    session: Session,
    *,
    interactive: bool = False,
    accepted: Collection[Signer] = (),
    allow_unsigned: bool = False,
    allow_downgrade: bool = False,
    locked: Collection[Signer] = (),
) -> Verdict:
    """Decide whether a package that was found may be used. Nothing of it but signatures is read.

    What the local store has of signatures is looked at first: where that is enough, the registry is asked nothing. A
    further signature cannot make a verdict worse, so what the registry may have besides does not matter then. Else the
    registry is asked, and what it gives is kept: whoever comes back with ``accepted`` costs no request either.

    Args:
        found: The package, its tag resolved.
        session: Collaborators.
        interactive: Whether a person is there to be asked about unknown signers.
        accepted: Signers about whom a person has said yes.
        allow_unsigned: A person has said that nobody needs to vouch.
        allow_downgrade: A person has said that an earlier version is fine.
        locked: Signers that a lock names; one of them must have signed.

    Returns:
        The verdict. Where its outcome is ``ask``, ``unknown`` names the signers to ask about.

    Raises:
        RegistryError: The signatures could not be listed, which never means that there are none.
        StoreError: What is remembered cannot be read.
        PolicyInvalid: The policy cannot be.
    """
    request = Request(
        found.reference,
        found.descriptor.digest,
        interactive,
        frozenset(accepted),
        allow_unsigned,
        allow_downgrade,
        frozenset(locked),
    )
    policy = policy_of(session)
    rule = policy.rule_for(request.place)
    if rule.level is Level.OFF:
        return _decided(None, request, policy, session)
    keys, only = known_keys(session), _wanted(rule)
    with suppress(IntegrityError) if found.remote else nullcontext():  # a damaged copy is as good as none
        verdict = _decided(gather(found, session, keys, only=only, offline=True), request, policy, session)
        if verdict.outcome in _SETTLED or not found.remote:
            return verdict
    return _decided(gather(found, session, keys, only=only, keep=True), request, policy, session)


def _decided(evidence: Evidence | None, request: Request, policy: Policy, session: Session) -> Verdict:
    return decide(evidence, request, policy, session.trusted.memory(request.reference), int(session.clock()))


def _wanted(rule: Rule) -> frozenset[str]:
    """Return the predicate types that a rule looks at: each other statement would cost two requests for nothing."""
    return frozenset({COSIGN_SIGN, OMS, *(wanted.type for wanted in rule.attestations)})


def remember(verdict: Verdict, session: Session) -> None:
    """Write down what follows from a verdict: a pin, the newest signature seen, that packages there are signed.

    Raises:
        SignerChanged: Somebody has pinned another signer in the meantime: nothing may be used.
        StoreError: It cannot be written.
    """
    session.trusted.remember(verdict)


def trusted_indexes(verdict: Verdict, source: IndexSource, release: Release) -> dict[Digest, Descriptor]:
    """Return the chunk indexes that the signers of a verdict vouch for, so that chunks prove as much as whole files.

    Anybody who may push can attach another list of indexes; it is not the one that was signed, and then none is vouched
    for and whole files are compared. Nothing is asked where no signer speaks of chunk indexes.

    Args:
        verdict: The verdict.
        source: Where the indexes are.
        release: The package.

    Returns:
        Where the index of each large file is, by the file's digest; empty where none is vouched for.
    """
    if not verdict.chunks or not release.large:
        return {}
    layers = index_layers(source, release)
    vouched = layers and chunks_digest(layers) in verdict.chunks
    return {blob.digest: layer for blob, layer in zip(release.large, layers, strict=True)} if vouched else {}


def index_layers(source: IndexSource, release: Release) -> list[Descriptor]:
    """Return the published chunk indexes of a package's large files, in the manifest's order; none if one lacks."""
    try:
        found = published_indexes(source, release)
    except InstallMLError:  # without them whole files are compared
        return []
    layers = [found[blob.digest] for blob in release.large if blob.digest in found]
    return layers if len(layers) == len(release.large) else []


def model_signature(found: Found, verdict: Verdict, session: Session) -> bytes | None:
    """Return the OpenSSF Model Signing bundle of a package by a signer who counts, from the local store.

    Args:
        found: The package.
        verdict: What ``judge`` said about it, which has brought the signatures here.
        session: Collaborators.

    Returns:
        The content of ``model.sig``; None when nobody who counts has signed the files, or the package has such a file.
    """
    if found.package().file(SIGNATURE_FILE):
        return None
    evidence = gather(found, session, known_keys(session), only=frozenset({OMS}), offline=True)
    for signed in evidence.signed:
        fit = signed.form is Form.OMS and signed.subjects == (found.descriptor.digest,)
        if fit and signed.signer in verdict.signers and signed.source is not None:
            return _bundle(Here(session.local(found.reference), found.descriptor), signed.source)
    return None


def _bundle(here: Here, source: Digest) -> bytes | None:
    manifest = read_manifest(here, here.resolve(str(source)))
    layers = [layer for layer in manifest.blobs if layer.media_type == BUNDLE] if isinstance(manifest, Manifest) else []
    return read_verified(here, layers[0], cap=MAX_ENVELOPE) if layers else None


def place_signature(folder: Path, data: bytes) -> None:
    """Write ``model.sig`` into a folder that has been laid out, unless it is there already.

    Args:
        folder: The installed folder, or the one that is about to become it.
        data: Of ``model_signature``.
    """
    path = folder / SIGNATURE_FILE
    if not path.exists() or path.read_bytes() != data:
        add_file(folder, SIGNATURE_FILE, data)
