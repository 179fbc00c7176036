"""Rates that people write."""

from __future__ import annotations

import pytest

from installml.spec.units import QuantityInvalid, parse_rate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4096", 4096),
        ("10MiB/s", 10 << 20),
        ("10 MiB/s", 10 << 20),
        ("10MB", 10_000_000),
        ("10M", 10 << 20),  # as curl and wget read it
        ("100k", 100 << 10),
        ("1.5M", 3 << 19),
        ("80Mbit", 10_000_000),
        ("80Mbit/s", 10_000_000),
        ("80Mbps", 10_000_000),
        ("10MBps", 10_000_000),
        ("0", 0),
        ("none", 0),
    ],
)
def test_a_rate_is_bytes_a_second(text: str, expected: int) -> None:
    assert parse_rate(text) == expected


@pytest.mark.parametrize("text", ["", "M", "-1M", "10X", "10Mb", "1e9", "10M/h", "0.1", "1bit", "99999P", "٣M", "0x10"])
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(QuantityInvalid) as refused:
        parse_rate(text)
    assert "10MiB/s" in refused.value.hint
