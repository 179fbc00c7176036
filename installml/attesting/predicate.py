"""Statements of others about a package: any JSON document becomes an in-toto statement over the manifest's digest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..digest import Digest
from ..errors import UsageError
from ..spec.canonical import canonical, parse_json
from ..trust.claims import annotations_of
from ..trust.evidence import Claims
from ..trust.statement import ML_BOM, PROVENANCE, SCAN, Statement, Subject

__all__ = [
    "MAX_PREDICATE",
    "SPDX",
    "TYPES",
    "PredicateInvalid",
    "check_predicate",
    "predicate_type",
    "read_predicate",
    "statement_about",
]

MAX_PREDICATE = 16 << 20
"""Bytes of a predicate; an envelope is base64 of it and must stay below ``trust.dsse.MAX_ENVELOPE``."""
SPDX = "https://spdx.dev/Document/v3.0.1"
"""in-toto attestation framework, "Predicate type: SPDX", with the specification's version as that page does."""
TYPES: Mapping[str, str] = {
    "sbom": ML_BOM,
    "cyclonedx": ML_BOM,
    "spdx": SPDX,
    "provenance": PROVENANCE,
    "slsaprovenance1": PROVENANCE,
    "scan": SCAN,
}
"""Short names, where the tools of others have one in their words."""
_NO_CLAIMS = Claims()
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}:[!-~]{1,460}")


class PredicateInvalid(UsageError):
    """A predicate or its type that cannot be attested."""

    reference = "predicate-invalid"
    default_hint = "A predicate is a JSON object, and its type a URI or one of: " + ", ".join(TYPES)


def predicate_type(text: str) -> str:
    """Return the type URI that ``text`` spells: a URI (RFC 3986), or a short name of ``TYPES``.

    Raises:
        PredicateInvalid: It is neither.
    """
    found = TYPES.get(text, text)
    if not _URI.fullmatch(found):
        raise PredicateInvalid(f"{text[:200]!r} is no predicate type", subject=text[:200])
    return found


def read_predicate(data: bytes, origin: str) -> dict[str, Any]:
    """Return the predicate that ``data`` spells.

    Raises:
        JSONInvalid: Too large, or not acceptable JSON.
        PredicateInvalid: Not an object, or already a statement or an envelope around one.
    """
    return check_predicate(parse_json(data, origin, cap=MAX_PREDICATE), origin)


def check_predicate(value: object, origin: str) -> dict[str, Any]:
    """Return ``value`` when it can be said in a statement.

    Raises:
        PredicateInvalid: Not an object, already a statement or an envelope around one, or nothing that JSON can spell.
    """
    if not isinstance(value, dict):
        raise PredicateInvalid(f"{origin} is JSON but no object", subject=origin)
    if "predicateType" in value or {"payload", "payloadType"} <= value.keys():
        raise PredicateInvalid(
            f"{origin} is a whole statement, and only its predicate is needed",
            hint="Give the value of its key predicate alone; the subject is the package.",
            subject=origin,
        )
    _check_spelled(value, origin)
    return value


def _check_spelled(value: dict[Any, Any], origin: str) -> None:
    """Refuse what would not come back as it is: numbers beyond every float, keys that are no text, other objects."""
    try:
        same = parse_json(canonical(value), origin, cap=MAX_PREDICATE) == value
    except (TypeError, ValueError, RecursionError) as error:
        raise PredicateInvalid(f"{origin} cannot be written as JSON: {error}", subject=origin) from error
    if not same:
        raise PredicateInvalid(f"{origin} holds what JSON does not have", subject=origin)


def statement_about(
    digest: Digest, name: str, type_: str, predicate: Mapping[str, Any], claims: Claims = _NO_CLAIMS
) -> Statement:
    """Return the statement that ``predicate`` holds for a package.

    Args:
        digest: Of the package's manifest.
        name: What the signer calls the package.
        type_: Predicate type, from ``predicate_type``.
        predicate: What is said.
        claims: What else the signer claims, such as when it was said.
    """
    return Statement((Subject(name, (digest,), annotations_of(claims)),), type_, predicate)
