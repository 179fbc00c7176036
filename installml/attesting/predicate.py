"""Statements of others about a package: any JSON document becomes an in-toto statement over the manifest's digest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..digest import Digest
from ..errors import UsageError
from ..spec.canonical import parse_json
from ..trust.statement import ML_BOM, PROVENANCE, SCAN, Statement, Subject

__all__ = ["MAX_PREDICATE", "SPDX", "TYPES", "PredicateInvalid", "predicate_type", "read_predicate", "statement_about"]

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
    value = parse_json(data, origin, cap=MAX_PREDICATE)
    if not isinstance(value, dict):
        raise PredicateInvalid(f"{origin} is JSON but no object", subject=origin)
    if "predicateType" in value or {"payload", "payloadType"} <= value.keys():
        raise PredicateInvalid(
            f"{origin} is a whole statement, and only its predicate is needed",
            hint="Give the value of its key predicate alone; the subject is the package.",
            subject=origin,
        )
    return value


def statement_about(digest: Digest, name: str, type_: str, predicate: Mapping[str, Any]) -> Statement:
    """Return the statement that ``predicate`` holds for a package.

    Args:
        digest: Of the package's manifest.
        name: What the signer calls the package.
        type_: Predicate type, from ``predicate_type``.
        predicate: What is said.
    """
    return Statement((Subject(name, (digest,)),), type_, predicate)
