"""What a trusted root says about time: read strictly, both ends in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from installml.signing.errors import TrustConfigInvalid
from installml.signing.trustroot import TrustRoot, Window
from installml.testing.sigstore import SimulatedSigstore

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
ROOT = json.loads(SimulatedSigstore(NOW).trusted_root())


def told(start: Any) -> TrustRoot:
    """Read a root whose log is in force since then."""
    document = json.loads(json.dumps(ROOT))
    document["tlogs"][0]["publicKey"]["validFor"] = {"start": start}
    return TrustRoot.parse(document, "root.json")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-06-01T12:00:00Z", NOW),
        ("2025-06-01T12:00:00.5Z", NOW + timedelta(milliseconds=500)),
        ("2025-06-01T12:00:00.123456789Z", NOW + timedelta(microseconds=123456)),
    ],
)
def test_a_time_is_read_as_protobuf_writes_it(text: str, moment: datetime) -> None:
    assert told(text).logs[0][2] == Window(moment)


@pytest.mark.parametrize("text", ["2025-06-01", "2025-13-01T12:00:00Z", "2025-06-01T12:00:00", "yesterday", 7, ["x"]])
def test_what_is_no_time_is_refused(text: Any) -> None:
    with pytest.raises(TrustConfigInvalid, match=r"validFor\.start"):
        told(text)


def test_both_ends_of_a_window_are_in_it() -> None:
    window = Window(NOW, NOW + timedelta(days=1))
    assert NOW in window
    assert NOW + timedelta(days=1) in window
    assert NOW - timedelta(seconds=1) not in window
    assert NOW + timedelta(days=1, seconds=1) not in window


@pytest.mark.parametrize("name", ["tlogs", "ctlogs", "certificateAuthorities"])
@pytest.mark.parametrize("value", [None, [], [{}], {}, [{"certChain": {"certificates": [{"rawBytes": "AAAA"}]}}]])
def test_a_root_that_names_nobody_is_refused(name: str, value: Any) -> None:
    with pytest.raises(TrustConfigInvalid):
        TrustRoot.parse({**ROOT, name: value}, "root.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(path=st.lists(st.integers(0, 5), min_size=1, max_size=6), value=JSON)
def test_a_changed_root_is_read_or_refused(path: list[int], value: Any) -> None:
    document = json.loads(json.dumps(ROOT))
    place: Any = document
    for step in path[:-1]:
        keys = list(place) if isinstance(place, dict) else list(range(len(place))) if isinstance(place, list) else []
        following = place[keys[step % len(keys)]] if keys else None
        if not isinstance(following, dict | list) or not following:
            break
        place = following
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    place[keys[path[-1] % len(keys)]] = value
    try:
        TrustRoot.parse(document, "root.json")
    except TrustConfigInvalid:
        return
