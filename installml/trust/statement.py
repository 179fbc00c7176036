"""in-toto statements (in-toto attestation framework v1, "statement.md"): who says what about which digests.

Version 1 is written. Version 0.1, which ``cosign attest`` still writes, is read as well: it has the same fields.
Unknown fields are ignored, as the framework asks ("parsing rules"); keys that stand twice are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..digest import Digest, DigestInvalid
from ..spec.canonical import canonical
from ..spec.node import Node
from .dsse import IN_TOTO, MAX_ENVELOPE, Envelope, check, read_json
from .errors import EvidenceInvalid

__all__ = [
    "COSIGN_SIGN",
    "ML_BOM",
    "OMS",
    "PROVENANCE",
    "SCAN",
    "STATEMENT",
    "Statement",
    "Subject",
    "parse_statement",
    "statement_of",
]

STATEMENT = "https://in-toto.io/Statement/v1"
_STATEMENTS = (STATEMENT, "https://in-toto.io/Statement/v0.1")

COSIGN_SIGN = "https://sigstore.dev/cosign/sign/v1"
"""Predicate of a signature as cosign 3 makes it: nothing is said but that the subject is signed."""
OMS = "https://model_signing/signature/v1.0"
"""Predicate of an OpenSSF Model Signing signature."""
ML_BOM = "https://cyclonedx.org/bom"
PROVENANCE = "https://slsa.dev/provenance/v1"
SCAN = "https://installml.dev/scan/v1"

_MOST_SUBJECTS = 10_000


@dataclass(frozen=True, slots=True)
class Subject:
    """One thing that a statement is about.

    Attributes:
        name: What the signer calls it; empty for cosign's signatures.
        digests: Its sha256 and sha512 digests; those of other algorithms are not kept, nothing here compares them.
        annotations: What else is said about it ("resource_descriptor.md").
    """

    name: str = ""
    digests: tuple[Digest, ...] = ()
    annotations: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement about subjects.

    Attributes:
        subjects: What it is about.
        predicate_type: What kind of statement it is; it means nothing without that.
        predicate: What is said.
    """

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def digests(self) -> tuple[Digest, ...]:
        """Every digest of every subject."""
        return tuple(digest for subject in self.subjects for digest in subject.digests)

    def to_bytes(self) -> bytes:
        """Return its canonical JSON: the payload that is signed."""
        return canonical(
            {
                "_type": STATEMENT,
                "subject": [_subject_document(each) for each in self.subjects],
                "predicateType": self.predicate_type,
                "predicate": _plain(self.predicate),
            }
        )


def statement_of(envelope: Envelope, origin: str) -> Statement:
    """Return the statement in an envelope, whose signature the caller has checked.

    Raises:
        EvidenceInvalid: The payload is of another type, or not a statement.
    """
    if envelope.payload_type != IN_TOTO:
        raise EvidenceInvalid(f"{origin}: the payload is {envelope.payload_type}, not {IN_TOTO}", subject=origin)
    return parse_statement(envelope.payload, origin)


def parse_statement(data: bytes, origin: str) -> Statement:
    """Return the statement that ``data`` spells.

    Raises:
        EvidenceInvalid: Not acceptable JSON, or not a statement about at least one subject with a digest.
    """
    node = read_json(data, origin, cap=MAX_ENVELOPE)
    fields = node.mapping(
        ("_type", "subject", "predicateType", "predicate"), ("_type", "subject", "predicateType"), open_=True
    )
    if fields["_type"]:
        fields["_type"].choice(_STATEMENTS)
    kind = fields["predicateType"].string(pattern=r"[\x21-\x7e]{1,500}", noun="a URI")
    subjects = tuple(_subject(each) for each in fields["subject"].sequence(_MOST_SUBJECTS))
    if not subjects:
        fields["subject"].fail("must have at least one entry")
    predicate = fields["predicate"].value
    if predicate is not None and not isinstance(predicate, dict):
        fields["predicate"].fail("must be a mapping")
    check(node, origin)
    return Statement(subjects, kind, predicate or {})


def _subject(node: Node) -> Subject:
    fields = node.mapping(("name", "digest", "annotations"), ("digest",), open_=True)
    annotations = fields["annotations"].value
    if annotations is not None and not isinstance(annotations, dict):
        fields["annotations"].fail("must be a mapping")
    digests = list(_digests(fields["digest"]))
    return Subject(fields["name"].string(), tuple(digests), annotations or {})


def _digests(node: Node) -> Iterable[Digest]:
    """Yield what a DigestSet ("digest_set.md") says in the algorithms that we compare."""
    entries = list(node.items())
    if not entries:
        node.fail("must name at least one digest")
    for algorithm, value in entries:
        text = value.string(pattern="[0-9A-Za-z]{1,256}", noun="a digest")
        if algorithm in {"sha256", "sha512"} and text:
            try:
                yield Digest.parse(f"{algorithm}:{text}")
            except DigestInvalid as error:
                value.fail(error.message)


def _subject_document(subject: Subject) -> dict[str, Any]:
    document: dict[str, Any] = {"digest": {digest.algorithm: digest.hex for digest in subject.digests}}
    if subject.name:
        document["name"] = subject.name
    if subject.annotations:
        document["annotations"] = _plain(subject.annotations)
    return document


def _plain(value: Any) -> Any:
    """Return ``value`` with mappings and tuples as JSON knows them."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value
