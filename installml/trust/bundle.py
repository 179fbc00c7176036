"""Sigstore bundles (protobuf-specs "sigstore_bundle.proto"): a signature with what is needed to check it.

Version 0.3 is written, 0.1 to 0.3 are read. It is protobuf's JSON: 64-bit numbers are texts, absent means zero, bytes
are base64; unknown fields are refused, as sigstore-go and sigstore-python do.

Nothing is verified here but what one key can say. Certificates, logs and timestamps are for ``signing.keyless``,
which takes the document as it came; they are parsed here so that a bundle can be described and written again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..spec.canonical import canonical
from ..spec.node import Node
from .dsse import MAX_ENVELOPE, Envelope, check, decode64, encode64, envelope_of, read_json
from .errors import EvidenceInvalid, SignatureInvalid
from .keys import MAX_SIGNATURE, PublicKey

__all__ = [
    "BUNDLE",
    "Bundle",
    "Certificates",
    "InclusionProof",
    "KeyHint",
    "LogEntry",
    "MessageSignature",
    "parse_bundle",
]

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
"""Media type of a bundle, as artifact type and layer type of the referrer that carries it."""
_MEDIA_TYPES = (BUNDLE, *(f"application/vnd.dev.sigstore.bundle+json;version=0.{minor}" for minor in (1, 2, 3)))

_MOST_ENTRIES = 16
_MOST_CERTIFICATES = 16
_MOST_HASHES = 64  # a Merkle tree of 2**64 leaves is that high
_BLOB = 64 << 10
_HASH_NAMES = ("SHA2_256", "SHA2_384", "SHA2_512", "SHA3_256", "SHA3_384")


@dataclass(frozen=True, slots=True)
class MessageSignature:
    """A signature over plain bytes that are somewhere else.

    Attributes:
        signature: Its bytes.
        algorithm: Name of the digest that is told, such as ``SHA2_256``, or empty.
        digest: That digest; a hint for finding the bytes, never a proof.
    """

    signature: bytes
    algorithm: str = ""
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class KeyHint:
    """Which key made it, as its signer says; compare with ``PublicKey.answers_to``."""

    hint: str


@dataclass(frozen=True, slots=True)
class Certificates:
    """The certificate of a short-lived key.

    Attributes:
        chain: DER, the signer's own first.
        single: Whether the bundle has the form for one alone (0.3), not the one for a chain.
    """

    chain: tuple[bytes, ...]
    single: bool = True


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """Proof that an entry is in a log (RFC 6962, 2.1.1).

    Attributes:
        log_index: Place of the leaf.
        root_hash: Root of the tree.
        tree_size: Leaves of the tree.
        hashes: The path.
        checkpoint: Signed note of the log (C2SP tlog-checkpoint).
    """

    log_index: int
    root_hash: bytes
    tree_size: int
    hashes: tuple[bytes, ...]
    checkpoint: str = ""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An entry of a transparency log.

    Attributes:
        log_index: Its number.
        log_id: SHA-256 of the log's key.
        kind: Kind of the entry, such as ``dsse``.
        version: Version of the kind.
        integrated_time: Seconds since the epoch at which the log says that it took it; None where it says nothing
            (Rekor version 2).
        promise: Signed entry timestamp; empty without.
        proof: Proof of inclusion.
        body: The entry as it was logged.
    """

    log_index: int
    log_id: bytes
    kind: str
    version: str
    integrated_time: int | None = None
    promise: bytes = b""
    proof: InclusionProof | None = None
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A signature with what is needed to check it.

    Attributes:
        content: An envelope, or a signature over bytes elsewhere.
        material: Which key, or its certificate.
        log_entries: Where it was logged.
        timestamps: RFC 3161 responses, DER.
        media_type: The version it was read from.
    """

    content: Envelope | MessageSignature
    material: KeyHint | Certificates
    log_entries: tuple[LogEntry, ...] = ()
    timestamps: tuple[bytes, ...] = ()
    media_type: str = BUNDLE

    @property
    def envelope(self) -> Envelope:
        """The envelope.

        Raises:
            EvidenceInvalid: It holds a signature over bytes elsewhere.
        """
        if not isinstance(self.content, Envelope):
            raise EvidenceInvalid("the bundle signs bytes elsewhere; a statement in an envelope is wanted")
        return self.content

    def verify(self, key: PublicKey) -> Envelope:
        """Return the envelope when ``key`` signed it.

        Raises:
            EvidenceInvalid: There is no envelope.
            SignatureInvalid: It did not, or the bundle names another key or a certificate.
        """
        if not isinstance(self.material, KeyHint):
            raise SignatureInvalid("the bundle was signed with a certificate, not with a known key")
        if self.material.hint and not key.answers_to(self.material.hint):
            raise SignatureInvalid(f"the bundle names the key {self.material.hint[:100]}, not {key.fingerprint}")
        self.envelope.verify(key)
        return self.envelope

    def to_bytes(self) -> bytes:
        """Return its JSON, canonical; always of the version that is written."""
        content = (
            {"dsseEnvelope": self.content.document()}
            if isinstance(self.content, Envelope)
            else {"messageSignature": _message_document(self.content)}
        )
        material = {**_material_document(self.material), "tlogEntries": [_entry_document(e) for e in self.log_entries]}
        if self.timestamps:
            material["timestampVerificationData"] = {
                "rfc3161Timestamps": [{"signedTimestamp": encode64(each)} for each in self.timestamps]
            }
        return canonical({"mediaType": BUNDLE, "verificationMaterial": material, **content})


def parse_bundle(data: bytes, origin: str) -> Bundle:
    """Return the bundle that ``data`` spells.

    Raises:
        EvidenceInvalid: Too large, not acceptable JSON, or not a bundle; every violation is named.
    """
    node = read_json(data, origin, cap=MAX_ENVELOPE)
    fields = node.mapping(
        ("mediaType", "verificationMaterial", "messageSignature", "dsseEnvelope"),
        ("mediaType", "verificationMaterial"),
    )
    media_type = fields["mediaType"].choice(_MEDIA_TYPES, BUNDLE)
    material = fields["verificationMaterial"].mapping(
        ("publicKey", "x509CertificateChain", "certificate", "tlogEntries", "timestampVerificationData")
    )
    bundle = Bundle(
        _content(node, fields),
        _material(fields["verificationMaterial"], material),
        tuple(_entry(each) for each in material["tlogEntries"].sequence(_MOST_ENTRIES)),
        _timestamps(material["timestampVerificationData"]),
        media_type,
    )
    check(node, origin)
    return bundle


def _one_of(node: Node, fields: Mapping[str, Node], names: tuple[str, ...]) -> str:
    present = [name for name in names if fields[name]]
    if len(present) != 1:
        node.fail(f"must have exactly one of {', '.join(names)}")
        return ""
    return present[0]


def _content(node: Node, fields: Mapping[str, Node]) -> Envelope | MessageSignature:
    if _one_of(node, fields, ("messageSignature", "dsseEnvelope")) != "dsseEnvelope":
        return _message(fields["messageSignature"])
    envelope = envelope_of(fields["dsseEnvelope"])
    if (
        len(envelope.signatures) != 1
    ):  # sigstore_bundle.proto: "DSSE envelope MUST contain one, and only one, signature"
        fields["dsseEnvelope"].fail(f"must have exactly one signature, not {len(envelope.signatures)}")
    return envelope


def _message(node: Node) -> MessageSignature:
    fields = node.mapping(("messageDigest", "signature"), ("signature",) if node else ())
    told = fields["messageDigest"].mapping(("algorithm", "digest"))
    return MessageSignature(
        decode64(fields["signature"], most=MAX_SIGNATURE),
        told["algorithm"].choice(_HASH_NAMES),
        decode64(told["digest"], most=64),
    )


def _material(node: Node, fields: Mapping[str, Node]) -> KeyHint | Certificates:
    chosen = _one_of(node, fields, ("publicKey", "x509CertificateChain", "certificate"))
    if chosen == "certificate":
        return Certificates((_certificate(fields["certificate"]),))
    if chosen == "x509CertificateChain":
        chain = fields[chosen].mapping(("certificates",), ("certificates",))["certificates"]
        found = tuple(_certificate(each) for each in chain.sequence(_MOST_CERTIFICATES))
        if not found:
            chain.fail("must have at least one entry")
        return Certificates(found, single=False)
    # model_signing before 1.0 wrote rawBytes and keyDetails beside the hint; they prove nothing
    return KeyHint(fields["publicKey"].mapping(("hint", "rawBytes", "keyDetails"))["hint"].string(most=1000))


def _certificate(node: Node) -> bytes:
    return decode64(node.mapping(("rawBytes",), ("rawBytes",))["rawBytes"], most=_BLOB)


def _timestamps(node: Node) -> tuple[bytes, ...]:
    found = node.mapping(("rfc3161Timestamps",))["rfc3161Timestamps"].sequence(_MOST_ENTRIES)
    fields = [each.mapping(("signedTimestamp",), ("signedTimestamp",))["signedTimestamp"] for each in found]
    return tuple(decode64(each, most=_BLOB) for each in fields)


def _entry(node: Node) -> LogEntry:
    fields = node.mapping(
        (
            "logIndex", "logId", "kindVersion", "integratedTime",
            "inclusionPromise", "inclusionProof", "canonicalizedBody",
        ),
        ("logId", "kindVersion"),
    )  # fmt: skip
    kind = fields["kindVersion"].mapping(("kind", "version"), ("kind", "version") if fields["kindVersion"] else ())
    promise = fields["inclusionPromise"].mapping(("signedEntryTimestamp",))["signedEntryTimestamp"]
    return LogEntry(
        _integer(fields["logIndex"]),
        decode64(fields["logId"].mapping(("keyId",))["keyId"], most=64),
        kind["kind"].string(most=100),
        kind["version"].string(most=100),
        _integer(fields["integratedTime"]) or None,  # zero and absent are one in protobuf
        decode64(promise, most=MAX_SIGNATURE),
        _proof(fields["inclusionProof"]) if fields["inclusionProof"] else None,
        decode64(fields["canonicalizedBody"], most=MAX_ENVELOPE),
    )


def _proof(node: Node) -> InclusionProof:
    fields = node.mapping(("logIndex", "rootHash", "treeSize", "hashes", "checkpoint"))
    return InclusionProof(
        _integer(fields["logIndex"]),
        decode64(fields["rootHash"], most=64),
        _integer(fields["treeSize"]),
        tuple(decode64(each, most=64) for each in fields["hashes"].sequence(_MOST_HASHES)),
        fields["checkpoint"].mapping(("envelope",))["envelope"].string(most=_BLOB),
    )


def _integer(node: Node) -> int:
    """Return a 64-bit number, which protobuf's JSON writes as text and reads as either."""
    if isinstance(node.value, str):
        text = node.string(pattern="[0-9]{1,19}", noun="a whole number")
        number = Node(int(text or 0), node.where, node.violations)
        return number.integer()
    return node.integer()


def _message_document(content: MessageSignature) -> dict[str, Any]:
    document: dict[str, Any] = {"signature": encode64(content.signature)}
    if content.digest:
        document["messageDigest"] = {"algorithm": content.algorithm, "digest": encode64(content.digest)}
    return document


def _material_document(material: KeyHint | Certificates) -> dict[str, Any]:
    if isinstance(material, KeyHint):
        return {"publicKey": {"hint": material.hint}}
    certificates = [{"rawBytes": encode64(each)} for each in material.chain]
    return (
        {"certificate": certificates[0]}
        if material.single
        else {"x509CertificateChain": {"certificates": certificates}}
    )


def _entry_document(entry: LogEntry) -> dict[str, Any]:
    document: dict[str, Any] = {
        "logIndex": str(entry.log_index),
        "logId": {"keyId": encode64(entry.log_id)},
        "kindVersion": {"kind": entry.kind, "version": entry.version},
    }
    if entry.integrated_time is not None:
        document["integratedTime"] = str(entry.integrated_time)
    if entry.promise:
        document["inclusionPromise"] = {"signedEntryTimestamp": encode64(entry.promise)}
    if entry.proof is not None:
        document["inclusionProof"] = _proof_document(entry.proof)
    if entry.body:
        document["canonicalizedBody"] = encode64(entry.body)
    return document


def _proof_document(proof: InclusionProof) -> dict[str, Any]:
    document: dict[str, Any] = {
        "logIndex": str(proof.log_index),
        "rootHash": encode64(proof.root_hash),
        "treeSize": str(proof.tree_size),
        "hashes": [encode64(each) for each in proof.hashes],
    }
    if proof.checkpoint:
        document["checkpoint"] = {"envelope": proof.checkpoint}
    return document
