"""What a registry's answers mean: its error document, the statuses, and the error of ours that says the same.

Source: distribution-spec, "Error Codes". Codes decide before statuses, because registries agree on them more.
Everything that a registry wrote is cut and stripped of control characters before it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from ..spec.canonical import parse_json
from .errors import (
    BlobUnknown,
    Denied,
    DigestRefused,
    ManifestUnknown,
    NameUnknown,
    NotFoundInRegistry,
    RateLimited,
    Refused,
    RegistryError,
    ServerFailed,
    TooLarge,
    TransportError,
    Unauthorized,
    UnexpectedAnswer,
    Unsupported,
)
from .http import Response
from .sites import canonical_host

__all__ = ["Complaint", "document", "failure", "read_complaint"]

_CAP = 256 << 10
_SHOWN = 500

_BY_CODE: dict[str, type[RegistryError]] = {
    "BLOB_UNKNOWN": BlobUnknown,
    "MANIFEST_UNKNOWN": ManifestUnknown,
    "NAME_UNKNOWN": NameUnknown,
    "REPOSITORY_NOT_FOUND": NameUnknown,
    "DENIED": Denied,
    "UNAUTHORIZED": Unauthorized,
    "TOOMANYREQUESTS": RateLimited,
    "UNSUPPORTED": Unsupported,
    "DIGEST_INVALID": DigestRefused,
    "SIZE_INVALID": Refused,
    "MANIFEST_INVALID": Refused,
    "MANIFEST_UNVERIFIED": Refused,
    "NAME_INVALID": Refused,
    "TAG_INVALID": Refused,
}
_BY_STATUS: dict[int, type[RegistryError]] = {
    400: Refused,
    401: Unauthorized,
    403: Denied,
    404: NotFoundInRegistry,
    405: Unsupported,
    408: ServerFailed,
    412: Refused,
    413: TooLarge,
    415: Refused,
    422: Refused,
    429: RateLimited,
    501: Unsupported,
}
# Statuses that mean one thing whatever code comes with them.
_FIRST_BY_STATUS = (401, 413, 429)


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a registry wrote about its refusal.

    Attributes:
        codes: Its error codes, in its order.
        message: Its messages, joined, for people.
        detail: Its ``detail`` fields as JSON text.
    """

    codes: tuple[str, ...] = ()
    message: str = ""
    detail: str = ""


def clean(text: str, most: int = _SHOWN) -> str:
    """Return foreign text fit for a terminal: one line, no control characters, not longer than ``most``."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: most * 4]).split())
    return line if len(line) <= most else line[:most] + " ..."


def read_complaint(response: Response) -> Complaint:
    """Return the error document of an answer, closing it; empty when there is none that can be read."""
    try:
        root = parse_json(response.body(_CAP), response.place, cap=_CAP)
    except (UsageError, UnexpectedAnswer, TransportError):
        return Complaint()
    entries = root.get("errors") if isinstance(root, dict) else None
    listed = [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
    return Complaint(
        codes=tuple(clean(e["code"], 60).upper() for e in listed if isinstance(e.get("code"), str)),
        message=clean("; ".join(e["message"] for e in listed if isinstance(e.get("message"), str))),
        detail=clean("; ".join(json.dumps(e["detail"]) for e in listed if e.get("detail"))),
    )


def failure(response: Response, what: str, *, known: Sequence[tuple[str, str]] = ()) -> RegistryError:
    """Return the error that an unwanted answer stands for, closing the answer.

    Args:
        response: The answer.
        what: What was asked for, as the end of "refused ...": ``"the manifest acme/x:1.0"``.
        known: Pairs of a lowercase piece of the registry's message or code, and the hint that belongs to it.
    """
    complaint = read_complaint(response)
    kind = _kind(response.status, complaint.codes)
    said = ", ".join(complaint.codes)
    said = f"{said}: {complaint.message}" if said and complaint.message else said or complaint.message
    text = f"{response.place} answered {response.status} for {what}" + (f" ({said})" if said else "")
    searched = f"{said} {complaint.detail}".lower()
    hint = next((hint for piece, hint in known if piece in searched), "") or _hint(kind, response)
    return kind(
        text,
        hint=hint,
        subject=what,
        status=response.status,
        codes=complaint.codes,
        detail=complaint.detail,
        retry_after=response.retry_after,
    )


def _kind(status: int, codes: tuple[str, ...]) -> type[RegistryError]:
    if status >= 500 and status != 501:
        return ServerFailed
    if status not in _FIRST_BY_STATUS and status >= 400:
        for code in codes:
            if code in _BY_CODE:
                return _BY_CODE[code]
    return _BY_STATUS.get(status, Refused if 400 <= status < 500 else UnexpectedAnswer)


def _hint(kind: type[RegistryError], response: Response) -> str:
    if kind is Unauthorized:
        return f"Log in with: installml login {canonical_host(response.place)}"
    if kind is RateLimited and response.retry_after is not None:
        return f"The registry asks to wait {response.retry_after:.0f} seconds before the next try."
    return ""


def document(response: Response, cap: int, what: str) -> Any:
    """Return the JSON that an answer carries, closing it.

    Raises:
        UnexpectedAnswer: It is none, or larger than ``cap``.
    """
    place = response.place
    data = response.body(cap)
    try:
        return parse_json(data, place, cap=cap)
    except UsageError as error:
        raise UnexpectedAnswer(f"{place} sent {what} that cannot be read: {error.message}", subject=place) from error
