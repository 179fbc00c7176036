"""DSSE envelopes (secure-systems-lab/dsse, "envelope.md" and "protocol.md"): a payload, its type, signatures over both.

Strict where the specification is lenient: base64 is the standard alphabet with padding in its only spelling, and no
key stands twice. One signed content has one spelling, so that two readers cannot see two things.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..spec.canonical import JSONInvalid, parse_json
from ..spec.node import Node
from .errors import EvidenceInvalid, SignatureInvalid
from .keys import MAX_SIGNATURE, PublicKey

__all__ = [
    "IN_TOTO",
    "MAX_ENVELOPE",
    "Envelope",
    "EnvelopeSignature",
    "check",
    "decode64",
    "encode64",
    "envelope_of",
    "pae",
    "parse_envelope",
    "read_json",
]

IN_TOTO = "application/vnd.in-toto+json"
"""Payload type of an in-toto statement (in-toto attestation framework, "envelope.md")."""
MAX_ENVELOPE = 32 << 20
"""Bytes of an envelope or bundle: an SBOM of some ten thousand components fits."""
_MOST_SIGNATURES = 16


@dataclass(frozen=True, slots=True)
class EnvelopeSignature:
    """One signature of an envelope.

    Attributes:
        sig: The signature's bytes.
        keyid: What the signer calls its key; nobody has checked it.
    """

    sig: bytes
    keyid: str = ""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload with signatures over it and its type.

    Attributes:
        payload: The signed bytes, as they are.
        payload_type: What they are.
        signatures: At least one.
    """

    payload: bytes
    payload_type: str
    signatures: tuple[EnvelopeSignature, ...]

    @classmethod
    def signed(cls, payload: bytes, sign: Callable[[bytes], bytes], payload_type: str = IN_TOTO) -> Envelope:
        """Return ``payload`` in an envelope that ``sign`` has signed.

        Args:
            payload: The bytes, such as ``Statement.to_bytes()``.
            sign: Takes what is to be signed, returns the signature: ``Signer.sign``.
            payload_type: Media type of the payload.
        """
        return cls(payload, payload_type, (EnvelopeSignature(sign(pae(payload_type, payload))),))

    def verify(self, key: PublicKey) -> None:
        """Return when ``key`` made one of the signatures.

        Raises:
            SignatureInvalid: It made none.
        """
        signed = pae(self.payload_type, self.payload)
        failure = SignatureInvalid("the envelope has no signature")
        for each in self.signatures:
            try:
                key.verify(each.sig, signed)
            except SignatureInvalid as error:
                failure = error
            else:
                return
        raise failure

    def document(self) -> dict[str, Any]:
        """Return its JSON form."""
        signatures = [
            {"sig": encode64(each.sig), **({"keyid": each.keyid} if each.keyid else {})} for each in self.signatures
        ]
        return {"payload": encode64(self.payload), "payloadType": self.payload_type, "signatures": signatures}


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return what is signed: the pre-authentication encoding of the protocol, with lengths in bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def parse_envelope(data: bytes, origin: str) -> Envelope:
    """Return the envelope that ``data`` spells.

    Raises:
        EvidenceInvalid: Too large, not acceptable JSON, or not an envelope; every violation is named.
    """
    node = read_json(data, origin)
    envelope = envelope_of(node)
    check(node, origin)
    return envelope


def envelope_of(node: Node) -> Envelope:
    """Return the envelope at ``node``; what is wrong with it is recorded there."""
    fields = node.mapping(("payload", "payloadType", "signatures"), ("payload", "payloadType", "signatures"))
    kind = fields["payloadType"].string(pattern=r"[\x21-\x7e]{1,200}", noun="a media type")
    signatures = []
    for each in fields["signatures"].sequence(_MOST_SIGNATURES):
        parts = each.mapping(("sig", "keyid"), ("sig",))
        sig = decode64(parts["sig"], most=MAX_SIGNATURE)
        signatures.append(EnvelopeSignature(sig, parts["keyid"].string(most=1000)))
    if not signatures:
        fields["signatures"].fail("must have at least one entry")
    return Envelope(decode64(fields["payload"], most=MAX_ENVELOPE), kind, tuple(signatures))


def encode64(data: bytes) -> str:
    """Return standard base64 with padding (RFC 4648, 4)."""
    return base64.b64encode(data).decode()


def decode64(node: Node, *, most: int) -> bytes:
    """Return the bytes that a text of base64 stands for; empty, with the violation recorded, when it is none.

    Args:
        node: The text, in the standard alphabet, padded, with no spare bits set (RFC 4648, 3.5).
        most: Most bytes that it may stand for.
    """
    text = node.value
    if text is None:
        return b""
    if not isinstance(text, str) or not text.isascii():
        node.fail("must be base64 text")
        return b""
    if len(text) > most * 4 // 3 + 4:
        node.fail(f"stands for more than {most} bytes")
        return b""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = None
    if data is None or encode64(data) != text:
        node.fail("is not base64 in its standard spelling (RFC 4648, section 4)")
        return b""
    return data


def read_json(data: bytes, origin: str, *, cap: int = MAX_ENVELOPE) -> Node:
    """Return the document in ``data``.

    Raises:
        EvidenceInvalid: Too large, or not acceptable JSON.
    """
    try:
        value = parse_json(data, origin, cap=cap)
    except JSONInvalid as error:
        raise EvidenceInvalid(error.message, subject=origin) from None
    if not isinstance(value, Mapping):
        raise EvidenceInvalid(f"{origin}: must be a JSON object", subject=origin)
    return Node(value)


def check(node: Node, origin: str) -> None:
    """Return when nothing is wrong with a document.

    Raises:
        EvidenceInvalid: Something is; all of it is named.
    """
    if node.violations:
        shown = "; ".join(node.violations[:5])
        more = f"; and {len(node.violations) - 5} more" if len(node.violations) > 5 else ""
        raise EvidenceInvalid(f"{origin}: {shown}{more}", subject=origin)
