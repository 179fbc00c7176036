"""Compare an answer with the recorded one; pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["compare"]

SHOWN = 5
"""Differing elements that are told apart; more of one output are counted."""


def compare(answer: Mapping[str, Any], expected: Mapping[str, Any], tolerance: float) -> list[str]:
    """Return what differs, in sentences; empty when the answers agree.

    Args:
        answer: What the model said, in the protocol's JSON.
        expected: What was recorded.
        tolerance: Largest absolute or relative difference between two numbers that counts as none.
    """
    given = {item["name"]: item for item in answer.get("outputs") or ()}
    differences: list[str] = []
    for item in expected.get("outputs") or ():
        name = item["name"]
        if name not in given:
            differences.append(f"output {name!r} is missing")
            continue
        differences += _tensor(f"output {name!r}", given[name], item, tolerance)
    return differences


def _tensor(where: str, given: Mapping[str, Any], expected: Mapping[str, Any], tolerance: float) -> list[str]:
    for key in ("datatype", "shape"):
        if given.get(key) != expected.get(key):
            return [f"{where} has {key} {given.get(key)}, recorded is {expected.get(key)}"]
    mine, theirs = list(_flat(given.get("data"))), list(_flat(expected.get("data")))
    if len(mine) != len(theirs):
        return [f"{where} has {len(mine)} elements, recorded are {len(theirs)}"]
    pairs = enumerate(zip(mine, theirs, strict=True))
    wrong = [f"{where}[{index}] is {a!r}, recorded is {b!r}" for index, (a, b) in pairs if not _same(a, b, tolerance)]
    rest = len(wrong) - SHOWN
    return wrong[:SHOWN] + ([f"{where}: {rest} more elements differ"] if rest > 0 else [])


def _flat(data: Any) -> Iterator[Any]:
    if hasattr(data, "tolist"):
        data = data.tolist()
    if isinstance(data, list):
        for item in data:
            yield from _flat(item)
    else:
        yield data


def _same(a: Any, b: Any, tolerance: float) -> bool:
    if isinstance(a, (int, float)) and isinstance(b, (int, float)) and bool not in (type(a), type(b)):
        return math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)
    return bool(a == b)
