"""A pin is read back as it was written; anything else is an error."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from installml.errors import InstallMLError
from installml.trust.evidence import IdentitySigner, KeySigner
from installml.trust.pins import Mark, Memory, Pin, parse_pin

from .people import ALICE, PACKAGE

fingerprints = st.text("0123456789abcdef", min_size=64, max_size=64).map(lambda text: KeySigner(f"sha256:{text}"))
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60)
signers = fingerprints | st.builds(IdentitySigner, texts, texts)
pins = st.builds(
    Pin,
    st.lists(signers, min_size=1, max_size=4).map(tuple),
    st.integers(0, 2**40),
    st.sampled_from(["asked", "rotated"]),
)


@given(pins)
def test_a_pin_is_read_back_as_it_was_written(pin: Pin) -> None:
    assert parse_pin(pin.to_bytes(), "x") == pin


@given(pins, st.data())
def test_a_pin_with_one_byte_changed_is_a_pin_of_somebody_or_an_error(pin: Pin, data: st.DataObject) -> None:
    raw = bytearray(pin.to_bytes())
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InstallMLError):
        assert parse_pin(bytes(raw), "x").signers


@given(st.binary(max_size=100))
def test_any_bytes_are_a_pin_or_an_error(raw: bytes) -> None:
    with contextlib.suppress(InstallMLError):
        assert parse_pin(raw, "x").signers


def test_a_repository_was_signed_when_anything_says_so() -> None:
    memories = [Memory(), Memory(Pin((ALICE,))), Memory(mark=Mark(0, PACKAGE)), Memory(signed_before=True)]
    assert [memory.was_signed for memory in memories] == [False, True, True, True]
