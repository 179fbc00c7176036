"""Reading the signatures of a manifest from where it is: a registry or the local store.

Bundles are referrers (OCI 1.1, or the tag that stands for them), as cosign 3 writes them; classic signatures of cosign
are a manifest under the tag ``sha256-<hex>.sig``, its classic attestations one under ``sha256-<hex>.att``. Nothing is
decided here. What could be read and does not hold is told as ``Unproved``; that signatures could not be listed is an
error, never "there are none".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from ..digest import Digest
from ..errors import NotFound, UsageError
from ..spec.descriptor import Descriptor
from ..spec.manifest import Manifest
from ..store.protocol import Fetcher, ReferrerLister, Resolver
from ..store.verified import read_manifest, read_verified
from ..trust.bundle import BUNDLE
from ..trust.dsse import MAX_ENVELOPE
from ..trust.evidence import Evidence, KeySigner, Signed, Unproved, UnprovedKind
from ..trust.simple import CLASSIC_ATTESTATION, SIMPLE_SIGNING, attestation_tag, classic_tag
from ..trust.statement import COSIGN_SIGN, OMS
from .attach import ANNOTATION_PREDICATE
from .proof import Proofs

__all__ = ["EvidencePlace", "collect"]

_MOST_BUNDLES = 64
"""Bundles that are read: whoever may push can attach any number, and each costs two requests."""
_MOST_CLASSIC = 16
_CLASSIC_BYTES = 64 << 10

Prove = Callable[[bytes, Digest, Mapping[str, str]], Signed | Unproved]


class EvidencePlace(Fetcher, Resolver, ReferrerLister, Protocol):
    """A place that has a manifest and what refers to it."""


def collect(
    place: EvidencePlace, subject: Descriptor, proofs: Proofs, *, only: frozenset[str] = frozenset()
) -> Evidence:
    """Return everything that was found about a manifest, proved or not.

    Args:
        place: Where the manifest is.
        subject: The manifest.
        proofs: Proves what is found; about the same manifest.
        only: Predicate types that matter; a bundle that announces another is not read. Empty for all. What a bundle
            announces proves nothing: it decides only about reading.

    Raises:
        RegistryError: They could not be listed.
        IntegrityError: A signature's bytes are not what the registry named.
    """
    found = [_bundle(place, each, subject, proofs) for each in _chosen(place, subject, only)]
    evidence = [each for each in found if each is not None]
    if not any(_settles(each, subject, proofs) for each in evidence):
        evidence += _classic(place, classic_tag(subject.digest), SIMPLE_SIGNING, proofs.classic)
    if _lacks_statements(evidence, only):
        evidence += _classic(
            place, attestation_tag(subject.digest), CLASSIC_ATTESTATION, proofs.classic_attestation, MAX_ENVELOPE
        )
    return Evidence(
        subject.digest,
        tuple(each for each in evidence if isinstance(each, Signed)),
        tuple(each for each in evidence if isinstance(each, Unproved)),
    )


def _settles(found: Signed | Unproved, subject: Descriptor, proofs: Proofs) -> bool:
    """Return whether it spares asking for the classic form: a key that is known here has signed in the present one.

    Whatever else there is must not hide a classic signature: anybody may attach a bundle by a key that nobody knows.
    """
    if isinstance(found, Unproved) or found.predicate_type != COSIGN_SIGN:
        return False
    known = {key.fingerprint for key in proofs.keys}
    by_known = isinstance(found.signer, KeySigner) and found.signer.fingerprint in known
    return by_known and subject.digest in found.subjects


def _chosen(place: EvidencePlace, subject: Descriptor, only: frozenset[str]) -> list[Descriptor]:
    """Return the bundles to read, in an order that does not depend on who listed them."""
    listed = {each.digest: each for each in place.referrers(subject, BUNDLE)}
    wanted = [each for each in listed.values() if not only or _announced(each) in {"", *only}]
    return sorted(wanted, key=lambda each: each.digest)[:_MOST_BUNDLES]


def _announced(referrer: Descriptor) -> str:
    return referrer.annotations.get(ANNOTATION_PREDICATE, "")


def _bundle(
    place: EvidencePlace, referrer: Descriptor, subject: Descriptor, proofs: Proofs
) -> Signed | Unproved | None:
    """Return what one referrer proves; None when it refers to something else."""
    try:
        manifest = read_manifest(place, referrer.bare())
        if not isinstance(manifest, Manifest) or manifest.subject is None or manifest.subject.digest != subject.digest:
            return None
        layers = [layer for layer in manifest.layers if layer.media_type == BUNDLE]
        if len(layers) != 1 or layers[0].size > MAX_ENVELOPE:
            return _unreadable(referrer, "it does not hold exactly one bundle of an acceptable size")
        data = read_verified(place, layers[0], cap=MAX_ENVELOPE)
    except (NotFound, UsageError) as error:  # gone meanwhile, or no manifest: somebody may attach anything
        return _unreadable(referrer, error.message)
    return proofs.bundle(data, referrer.digest, manifest.annotations)


def _lacks_statements(evidence: Iterable[Signed | Unproved], only: frozenset[str]) -> bool:
    """Return whether to ask for attestations in the classic form: all are wanted, or one that nothing proves so far."""
    found = {each.predicate_type for each in evidence if isinstance(each, Signed)}
    return not only or not only <= {COSIGN_SIGN, OMS, *found}


def _classic(
    place: EvidencePlace, tag: str, layers: str, prove: Prove, cap: int = _CLASSIC_BYTES
) -> Iterator[Signed | Unproved]:
    """Yield what the layers of one media type prove that are in the manifest under a tag."""
    try:
        carrier = place.resolve(tag)
    except NotFound:
        return
    try:
        manifest = read_manifest(place, carrier)
    except (NotFound, UsageError) as error:
        yield _unreadable(carrier, error.message)
        return
    if isinstance(manifest, Manifest):
        for layer in _payloads(manifest, layers, cap):
            try:
                data = read_verified(place, layer, cap=cap)
            except NotFound as error:
                yield _unreadable(carrier, error.message)
            else:
                yield prove(data, carrier.digest, layer.annotations)


def _payloads(manifest: Manifest, kind: str, cap: int) -> Iterable[Descriptor]:
    fit = [each for each in manifest.layers if each.media_type == kind and each.size <= cap]
    return fit[-_MOST_CLASSIC:]  # the newest are appended


def _unreadable(source: Descriptor, reason: str) -> Unproved:
    return Unproved(source.digest, UnprovedKind.UNREADABLE, reason)
