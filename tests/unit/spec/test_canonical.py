"""JSON in and out."""

from __future__ import annotations

import json

import pytest

from installml.spec.canonical import MAX_DEPTH, MAX_MANIFEST, JSONInvalid, canonical, parse_json


def test_the_same_value_gives_the_same_bytes() -> None:
    assert canonical({"b": [1, 2.5, None], "a": "é\n"}) == '{"a":"é\\n","b":[1,2.5,null]}'.encode()
    assert canonical({"a": 1, "b": 2}) == canonical({"b": 2, "a": 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_json_is_not_written(value: float) -> None:
    with pytest.raises(ValueError):
        canonical(value)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting"),
        (b'{"a":1} x', "Extra data"),
        (b'{"a":1,"a":1}', "'a' stands twice"),
        (b'{"x":{"a":1,"b":2,"a":3}}', "'a' stands twice"),
        (b'{"a":NaN}', "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"[-Infinity]", "Infinity is not JSON"),
        (b"\xff", "utf-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'"\\ud800"', "surrogates"),
        (b'{"\\uDC00":1}', "surrogates"),
        (b"1" * 5000, "digits"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested deeper"),
        (b"[" * 500_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_what_is_made_to_hurt_its_reader_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(JSONInvalid, match=reason) as caught:
        parse_json(data, "here")
    assert caught.value.message.startswith("here: ")
    assert len(caught.value.message) < 400


def test_more_than_the_cap_is_not_even_read() -> None:
    with pytest.raises(JSONInvalid, match="at most 4194304"):
        parse_json(b" " * (MAX_MANIFEST + 1), "here")
    assert parse_json(b" " * (MAX_MANIFEST - 2) + b"{}", "here") == {}
    with pytest.raises(JSONInvalid, match="at most 10"):
        parse_json(b"[1,2,3,4,5]", "here", cap=10)


def test_what_is_just_deep_enough_is_read() -> None:
    data = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert parse_json(data, "here") == json.loads(data)


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert parse_json(b'"\\ud83d\\ude00"', "here") == "\U0001f600"
