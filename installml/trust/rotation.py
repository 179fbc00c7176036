"""A key hands over to its successor: one statement that both have signed.

The old key says which key follows it, so that whoever trusts the old one can trust the new one; the new key says which
one it follows, so that nobody passes off somebody else's key as his own. It is a DSSE envelope around an in-toto
statement whose subjects are both keys (by the SHA-256 of their DER), with one signature each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..digest import Digest
from ..spec.canonical import canonical
from ..spec.node import Node
from .dsse import IN_TOTO, Envelope, EnvelopeSignature, check, pae, parse_envelope
from .errors import EvidenceInvalid
from .keys import PublicKey
from .statement import Statement, Subject, statement_of

__all__ = ["KEY_ROTATION", "Rotation", "parse_rotation", "rotation_bytes"]

KEY_ROTATION = "https://installml.dev/key-rotation/v1"
"""Predicate of the statement."""

_MOST_SECONDS = 253_402_300_799  # the last second of the year 9999


@dataclass(frozen=True, slots=True)
class Rotation:
    """One key follows another; both say so.

    Attributes:
        old: The key that was used until now.
        new: The one that follows.
        created: Seconds since the epoch at which the signer says that it was.
    """

    old: PublicKey
    new: PublicKey
    created: int


def rotation_bytes(rotation: Rotation, sign_old: Callable[[bytes], bytes], sign_new: Callable[[bytes], bytes]) -> bytes:
    """Return the statement, signed by both keys, as canonical JSON."""
    keys = {"old": rotation.old, "new": rotation.new}
    predicate = {
        "created": rotation.created,
        **{name: {"fingerprint": key.fingerprint, "publicKey": key.pem} for name, key in keys.items()},
    }
    subjects = tuple(Subject(name, (Digest.parse(key.fingerprint),)) for name, key in keys.items())
    payload = Statement(subjects, KEY_ROTATION, predicate).to_bytes()
    signed = pae(IN_TOTO, payload)
    signatures = (
        EnvelopeSignature(sign_old(signed), rotation.old.fingerprint),
        EnvelopeSignature(sign_new(signed), rotation.new.fingerprint),
    )
    return canonical(Envelope(payload, IN_TOTO, signatures).document()) + b"\n"


def parse_rotation(data: bytes, origin: str) -> Rotation:
    """Return the rotation that ``data`` proves.

    Raises:
        EvidenceInvalid: Not such a statement, or its parts name different keys.
        SignatureInvalid: One of the two did not sign it.
        KeyInvalid: One of them is no key that is accepted.
    """
    envelope = parse_envelope(data, origin)
    statement = statement_of(envelope, origin)
    if statement.predicate_type != KEY_ROTATION:
        raise EvidenceInvalid(
            f"{origin}: the predicate is {statement.predicate_type}, not {KEY_ROTATION}", subject=origin
        )
    node = Node(dict(statement.predicate), "predicate")
    fields = node.mapping(("created", "old", "new"), ("created", "old", "new"))
    created = fields["created"].integer(most=_MOST_SECONDS)
    named = [_key(fields[name]) for name in ("old", "new")]
    check(node, origin)
    keys = [PublicKey.parse(pem, origin) for _, pem in named]
    prints = [key.fingerprint for key in keys]
    if prints[0] == prints[1] or prints != [fingerprint for fingerprint, _ in named]:
        raise EvidenceInvalid(f"{origin}: the keys are not two, or not the ones named", subject=origin)
    if [str(digest) for digest in statement.digests] != prints:
        raise EvidenceInvalid(f"{origin}: the statement is about other keys", subject=origin)
    for key in keys:
        envelope.verify(key)
    return Rotation(keys[0], keys[1], created)


def _key(node: Node) -> tuple[str, str]:
    fields = node.mapping(("fingerprint", "publicKey"), ("fingerprint", "publicKey"))
    return fields["fingerprint"].string(most=200), fields["publicKey"].string(most=20_000)
