"""cosign's classic payload ("simple signing", sigstore/cosign specs/SIGNATURE_SPEC.md): a small JSON document.

It lies as a layer in the manifest of the tag ``sha256-<hex>.sig``; the signature over its bytes is an annotation of the
layer. Registries without referrers, and admission controllers of some years ago, know only this form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..digest import Digest
from ..spec.canonical import canonical
from .dsse import check, read_json

__all__ = [
    "ANNOTATION_CERTIFICATE",
    "ANNOTATION_CHAIN",
    "ANNOTATION_LOG",
    "ANNOTATION_SIGNATURE",
    "CLASSIC_ATTESTATION",
    "SIMPLE_SIGNING",
    "SimplePayload",
    "attestation_tag",
    "classic_tag",
    "parse_simple",
]

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
"""Media type of the layer."""
CLASSIC_ATTESTATION = "application/vnd.dsse.envelope.v1+json"
"""Media type of a layer that is an envelope around a statement (sigstore/cosign specs/ATTESTATION_SPEC.md)."""
ANNOTATION_SIGNATURE = "dev.cosignproject.cosign/signature"
"""On the layer: base64 of the signature over the layer's bytes."""
ANNOTATION_CERTIFICATE = "dev.sigstore.cosign/certificate"
ANNOTATION_CHAIN = "dev.sigstore.cosign/chain"
ANNOTATION_LOG = "dev.sigstore.cosign/bundle"

_TYPE = "cosign container image signature"
_MAX = 256 << 10


@dataclass(frozen=True, slots=True)
class SimplePayload:
    """What a classic signature says.

    Attributes:
        reference: Repository that the signer pushed to; empty or another one where it was copied since.
        digest: The manifest that is signed.
        optional: What the signer added: ``cosign sign -a key=value``.
    """

    reference: str
    digest: Digest
    optional: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def to_bytes(self) -> bytes:
        """Return the bytes that are signed and stored."""
        critical = {
            "identity": {"docker-reference": self.reference},
            "image": {"docker-manifest-digest": str(self.digest)},
            "type": _TYPE,
        }
        return canonical({"critical": critical, "optional": dict(self.optional) or None})


def parse_simple(data: bytes, origin: str) -> SimplePayload:
    """Return the payload that ``data`` spells.

    Raises:
        EvidenceInvalid: Not acceptable JSON, or not such a payload. Unknown keys of ``critical`` are refused: the
            specification says that whoever does not understand one must.
    """
    node = read_json(data, origin, cap=_MAX)
    fields = node.mapping(("critical", "optional"), ("critical",))
    critical = fields["critical"].mapping(("identity", "image", "type"), ("identity", "image", "type"))
    identity = critical["identity"].mapping(("docker-reference",))
    image = critical["image"].mapping(("docker-manifest-digest",), ("docker-manifest-digest",))
    critical["type"].choice((_TYPE,))
    digest = image["docker-manifest-digest"].parsed(Digest.parse)
    optional = fields["optional"].value
    if optional is not None and not isinstance(optional, dict):
        fields["optional"].fail("must be a mapping")
    check(node, origin)
    assert digest is not None  # noqa: S101 - required above, so its absence was refused
    return SimplePayload(identity["docker-reference"].string(), digest, optional or {})


def classic_tag(digest: Digest) -> str:
    """Return the tag under which the classic signatures of ``digest`` are kept."""
    return f"{digest.algorithm}-{digest.hex}.sig"


def attestation_tag(digest: Digest) -> str:
    """Return the tag under which the classic attestations of ``digest`` are kept (ATTESTATION_SPEC.md, "Storage")."""
    return f"{digest.algorithm}-{digest.hex}.att"
