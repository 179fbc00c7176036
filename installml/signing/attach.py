"""Writing signatures where a manifest is: bundles as referrers, and cosign's classic form where it is asked for.

The shape of the referrer is the one that cosign 3 writes and reads: an empty config, one layer that is the bundle, and
two annotations that say what is in it (sigstore/cosign, "Sigstore Bundle specification for OCI").
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Protocol

from ..errors import NotFound
from ..spec.canonical import canonical
from ..spec.descriptor import Descriptor
from ..spec.manifest import Manifest
from ..spec.media import EMPTY, IMAGE_MANIFEST
from ..store.protocol import Destination, Fetcher, Resolver
from ..store.verified import read_manifest
from ..trust.bundle import BUNDLE, Bundle
from ..trust.dsse import encode64
from ..trust.errors import EvidenceInvalid
from ..trust.keys import PublicKey
from ..trust.simple import ANNOTATION_SIGNATURE, SIMPLE_SIGNING, SimplePayload, classic_tag
from ..trust.statement import statement_of
from .proof import ANNOTATION_KEY

__all__ = ["ANNOTATION_CONTENT", "ANNOTATION_PREDICATE", "attach_bundle", "attach_classic"]

ANNOTATION_CONTENT = "dev.sigstore.bundle.content"
ANNOTATION_PREDICATE = "dev.sigstore.bundle.predicateType"

_CONFIG = "application/vnd.oci.image.config.v1+json"
_TRIES = 4


class ClassicPlace(Destination, Resolver, Fetcher, Protocol):
    """A place where a tag can be read, and written anew."""


def attach_bundle(
    place: Destination, subject: Descriptor, bundle: Bundle, key: PublicKey | None = None
) -> tuple[Descriptor, bool]:
    """Let a bundle refer to a manifest.

    Args:
        place: Where the manifest is.
        subject: The manifest.
        bundle: What is said about it, signed.
        key: The key that signed, if it was a key.

    Returns:
        The referrer, and whether it is new there.
    """
    data = bundle.to_bytes()
    layer, config = Descriptor.of(data, BUNDLE), Descriptor.of(b"{}", EMPTY)
    statement = statement_of(bundle.envelope, "the bundle")
    annotations = {ANNOTATION_CONTENT: "dsse-envelope", ANNOTATION_PREDICATE: statement.predicate_type}
    if key is not None:
        annotations[ANNOTATION_KEY] = key.pem
    manifest = Manifest(config, (layer,), BUNDLE, annotations, subject.bare()).to_bytes()
    descriptor = Descriptor.of(manifest, IMAGE_MANIFEST)
    if place.exists(descriptor):
        return descriptor, False
    _push(place, [(layer, data), (config, b"{}"), (descriptor, manifest)])
    return descriptor, True


def attach_classic(place: ClassicPlace, payload: SimplePayload, signature: bytes) -> Descriptor:
    """Add a classic signature to those of a manifest.

    A registry offers no compare-and-swap: somebody who signs at the same moment may overwrite the tag, so it is read
    again, and written again until our signature is in it.

    Args:
        place: Where the manifest is.
        payload: What is signed.
        signature: Over ``payload.to_bytes()``.

    Returns:
        The manifest under the tag.

    Raises:
        EvidenceInvalid: The tag keeps being overwritten, or names something that is not a list of signatures.
    """
    tag, data = classic_tag(payload.digest), payload.to_bytes()
    layer = Descriptor.of(data, SIMPLE_SIGNING, annotations={ANNOTATION_SIGNATURE: encode64(signature)})
    for _ in range(_TRIES):
        before = _signatures(place, tag)
        if any(each.digest == layer.digest and each.annotations == layer.annotations for each in before):
            return place.resolve(tag)
        _write_classic(place, tag, (*before, layer), data)
    raise EvidenceInvalid(f"{place}: the tag {tag} keeps being overwritten by somebody else", subject=tag)


def _signatures(place: ClassicPlace, tag: str) -> tuple[Descriptor, ...]:
    try:
        manifest = read_manifest(place, place.resolve(tag))
    except NotFound:
        return ()
    if not isinstance(manifest, Manifest):
        raise EvidenceInvalid(f"{place}: the tag {tag} names no list of signatures", subject=tag)
    return manifest.layers


def _write_classic(place: ClassicPlace, tag: str, layers: tuple[Descriptor, ...], data: bytes) -> None:
    config = canonical(
        {
            "architecture": "",
            "config": {},
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": [str(each.digest) for each in layers]},
        }
    )
    described = Descriptor.of(config, _CONFIG)
    manifest = Manifest(described, layers).to_bytes()
    descriptor = Descriptor.of(manifest, IMAGE_MANIFEST)
    _push(place, [(layers[-1], data), (described, config), (descriptor, manifest)])
    place.tag(descriptor, tag)


def _push(place: Destination, contents: Sequence[tuple[Descriptor, bytes]]) -> None:
    for descriptor, data in contents:
        if not place.exists(descriptor):
            place.push(descriptor, io.BytesIO(data))
