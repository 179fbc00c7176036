"""Quantities that people write: sizes in bytes and dotted versions with a bound."""

from __future__ import annotations

import re

from ..errors import UsageError

__all__ = ["QuantityInvalid", "format_size", "parse_bound", "parse_rate", "parse_size", "version_key"]

_UNITS = {"": 1, "B": 1, **{f"{p}B": 1000**i for i, p in enumerate("kMGTP", 1)}, "KB": 1000}
_UNITS |= {f"{p}iB": 1024**i for i, p in enumerate("KMGTP", 1)}
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?) *([A-Za-z]*)")
_RATE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?) *([A-Za-z]*)(?:/s)?")
_RATE_UNITS = {**_UNITS, **{p: 1024**i for i, p in enumerate("KMGT", 1)}, "k": 1024}
_RATE_UNITS |= {f"{p}bit": 1000**i / 8 for i, p in enumerate(("", "k", "M", "G", "T"))} | {"Kbit": 125.0}
MAX_RATE = 1 << 50
"""Bytes a second above which a limit is a mistake: a pebibyte a second."""
_BOUND = re.compile(r"(>=|>|<=|<|==|) *([0-9]{1,9}(?:\.[0-9]{1,9}){0,7})")


class QuantityInvalid(UsageError):
    """A size or version bound that cannot be read."""

    reference = "quantity-invalid"


def parse_size(text: str) -> int:
    """Return the bytes that ``text`` means: ``20GiB``, ``1.5 GB``, ``4096``.

    Raises:
        QuantityInvalid: Another unit, or no number.
    """
    match = _SIZE.fullmatch(text)
    if match is None or match[2] not in _UNITS:
        raise QuantityInvalid(f"{text[:80]!r} is not a size", hint="Write bytes or a unit: 512MiB, 20GiB, 1.5GB.")
    return int(float(match[1]) * _UNITS[match[2]]) if "." in match[1] else int(match[1]) * _UNITS[match[2]]


def parse_rate(text: str) -> int:
    """Return the bytes a second that ``text`` means; 0 for ``0`` and ``none``, which mean no limit.

    ``10MiB/s``, ``10MB/s``, ``80Mbit/s`` and ``80Mbps`` say what they mean; ``10M`` is 10 MiB/s, as with the
    ``--limit-rate`` of curl and wget. ``/s`` may be left out.

    Raises:
        QuantityInvalid: Another unit, no number, less than one byte a second or more than ``MAX_RATE``.
    """
    if text in ("0", "none"):
        return 0
    match = _RATE.fullmatch(text)
    unit = _RATE_UNITS.get(_unit(text, match[2])) if match else None
    rate = int(float(match[1]) * unit) if match and unit is not None else 0
    if not 1 <= rate <= MAX_RATE:
        raise QuantityInvalid(
            f"{text[:80]!r} is not a rate", hint="Write bytes or bits a second: 10MiB/s, 10M, 80Mbit/s; 0 for no limit."
        )
    return rate


def _unit(text: str, letters: str) -> str:
    """Return the unit: networks write bits with a small b and ``ps``, as in ``80Mbps``."""
    stem = letters.removesuffix("ps")
    return f"{stem[:-1]}bit" if stem != letters and stem.endswith("b") else stem


def format_size(size: int) -> str:
    """Return ``size`` bytes for people, in binary units with three digits."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1000 or unit == "TiB":
            return f"{int(value)} B" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def version_key(text: str) -> tuple[int, ...]:
    """Return the numbers of a dotted version for comparison; trailing zeros do not count."""
    numbers = [int(n) for n in re.findall(r"\d+", text)[:8]]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def parse_bound(text: str) -> tuple[str, tuple[int, ...]]:
    """Return operator and version of a bound such as ``>=8.0``; a bare version means ``>=``.

    Raises:
        QuantityInvalid: It is none.
    """
    match = _BOUND.fullmatch(text)
    if match is None:
        raise QuantityInvalid(f"{text[:80]!r} is not a version bound", hint="Write for example >=8.0.")
    return match[1] or ">=", version_key(match[2])
