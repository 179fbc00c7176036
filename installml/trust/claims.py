"""What our signatures say beyond the digest: the annotations ``dev.installml.*`` of the statement's subject.

They are texts, so that ``cosign verify -a key=value`` can compare them. Times are RFC 3339 in UTC, to the second, in
one spelling. A claim that cannot be read is refused with its signature: leaving it out would make the signature say
less than its signer meant, such as that it never expires.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..digest import Digest
from ..spec.node import Node
from .dsse import check
from .evidence import Claims

__all__ = ["PREFIX", "annotations_of", "read_claims"]

PREFIX = "dev.installml."
_NAMES = ("ref", "version", "created", "expires", "chunks")
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_SPELLED = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"


def annotations_of(claims: Claims) -> dict[str, str]:
    """Return the annotations that spell ``claims``; what is not claimed is left out."""
    values = {
        "ref": claims.ref,
        "version": claims.version,
        "created": _spelled(claims.created),
        "expires": _spelled(claims.expires),
        "chunks": str(claims.chunks or ""),
    }
    return {f"{PREFIX}{name}": value for name, value in values.items() if value}


def read_claims(annotations: Mapping[str, Any], origin: str) -> Claims:
    """Return what annotations claim; those of others are nobody's business here.

    Args:
        annotations: Of one subject, or the ``optional`` part of a classic payload.
        origin: Where they came from, for the error's sentence.

    Raises:
        EvidenceInvalid: One of ours cannot be read, or is not known: it may restrict what the signature means.
    """
    node = Node({key.removeprefix(PREFIX): value for key, value in annotations.items() if key.startswith(PREFIX)})
    fields = node.mapping(_NAMES)
    claims = Claims(
        fields["ref"].string(most=1000),
        fields["version"].string(most=256),
        _time(fields["created"]),
        _time(fields["expires"]),
        fields["chunks"].parsed(Digest.parse),
    )
    check(node, origin)
    return claims


def _spelled(seconds: int | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime(_TIME)


def _time(node: Node) -> int | None:
    text = node.string(pattern=_SPELLED, noun="a time such as 2026-01-31T12:00:00Z")
    if not text:
        return None
    try:
        return int(datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp())
    except ValueError:
        node.fail(f"{text!r} is no day of the calendar or hour of a day")
        return None
