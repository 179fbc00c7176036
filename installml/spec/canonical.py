"""JSON in and out: one canonical way to write it, one strict way to read it.

Written: UTF-8, keys sorted, no white space, no floats that are not finite; the same value gives the same bytes on
any machine. Read: size and depth caps, no duplicate keys, no NaN: whoever wrote it may mean harm.
"""

from __future__ import annotations

import json
from typing import Any

from ..errors import UsageError

__all__ = ["MAX_DEPTH", "MAX_MANIFEST", "JSONInvalid", "canonical", "parse_json"]

MAX_MANIFEST = 4 << 20
"""Largest manifest in bytes: the limit that distribution-spec asks registries to support at least."""
MAX_DEPTH = 64


class JSONInvalid(UsageError):
    """A document that is not JSON, or is made to hurt its reader."""

    reference = "json-invalid"


def canonical(value: Any) -> bytes:
    """Return ``value`` as canonical JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def parse_json(data: bytes, origin: str, *, cap: int = MAX_MANIFEST) -> Any:
    """Return the value that ``data`` spells.

    Args:
        data: UTF-8 JSON.
        origin: Where it came from, for the error's sentence.
        cap: Most bytes accepted.

    Raises:
        JSONInvalid: Too large, too deep, not UTF-8, not JSON, a key twice, half a character, or NaN.
    """
    if len(data) > cap:
        raise JSONInvalid(f"{origin}: {len(data)} bytes of JSON, at most {cap} are read", subject=origin)
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
        _check_depth(value)
        if b"\\ud" in data.lower():  # half of a surrogate pair is text that nobody can write again
            canonical(value)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise JSONInvalid(f"{origin}: not acceptable JSON: {reason}", subject=origin) from error
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:60]!r} stands twice")
    return result


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            if isinstance(node, (dict, list))
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return
    raise ValueError(f"nested deeper than {MAX_DEPTH}")
