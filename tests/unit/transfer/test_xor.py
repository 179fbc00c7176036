"""XOR patches: bit-exact, small where they should be, and never trusted."""

import io
import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from installml.spec.patch import BLOCK, WIDTHS
from installml.transfer.xor import PatchUnusable, apply_patch, best_width, make_patch


def _patch(base: bytes, target: bytes, width: int) -> bytes:
    out = io.BytesIO()
    assert make_patch(io.BytesIO(base), io.BytesIO(target), width, out.write) == len(out.getvalue())
    return out.getvalue()


def _applied(base: bytes, patch: bytes, size: int, width: int) -> bytes:
    out = io.BytesIO()
    apply_patch(io.BytesIO(base), io.BytesIO(patch), size, width, out.write)
    return out.getvalue()


def _tuned(count: int) -> tuple[bytes, bytes]:
    """Return float32 weights and the same after a little training."""
    rng = np.random.default_rng(3)
    base = rng.standard_normal(count).astype(np.float32)
    return base.tobytes(), (base * (1 + rng.standard_normal(count).astype(np.float32) * 1e-5)).tobytes()


@given(st.binary(max_size=99), st.binary(max_size=99), st.sampled_from(WIDTHS))
def test_what_is_patched_is_the_target_bit_for_bit(base: bytes, target: bytes, width: int) -> None:
    assert _applied(base, _patch(base, target, width), len(target), width) == target


@pytest.mark.parametrize(("width", "size"), list(itertools.product(WIDTHS, [BLOCK - 1, BLOCK, BLOCK + 5])))
def test_block_borders_and_odd_ends_are_kept(width: int, size: int) -> None:
    target = random.Random(size).randbytes(size)
    base = target[: size - 3000] + b"shorter"
    assert _applied(base, _patch(base, target, width), size, width) == target


def test_a_small_fine_tune_is_much_smaller_than_its_weights() -> None:
    base, target = _tuned(400_000)
    assert len(_patch(base, target, 4)) < 0.6 * len(target)


def test_the_width_of_the_numbers_is_found() -> None:
    base, target = _tuned(400_000)
    assert best_width(io.BytesIO(base), io.BytesIO(target), len(target)) == 4


def test_making_ends_early_when_it_does_not_pay() -> None:
    noise = random.Random(1).randbytes(3 * BLOCK)
    out = io.BytesIO()
    assert make_patch(io.BytesIO(b""), io.BytesIO(noise), 1, out.write, most=BLOCK) > BLOCK
    assert len(out.getvalue()) < 3 * BLOCK


@pytest.mark.parametrize("spoil", [lambda p: p[:-9], lambda p: b"no zstd at all", lambda p: b"", lambda p: p[:3]])
def test_a_damaged_patch_is_refused(spoil) -> None:
    base, target = _tuned(20_000)
    with pytest.raises(PatchUnusable):
        _applied(base, spoil(_patch(base, target, 4)), len(target), 4)


def test_a_patch_that_makes_more_than_was_named_is_refused() -> None:
    base, target = _tuned(20_000)
    with pytest.raises(PatchUnusable):
        _applied(base, _patch(base, target, 4), len(target) - 4, 4)


def test_a_bomb_fills_no_memory() -> None:
    bomb = _patch(b"", bytes(64 << 20), 1)
    assert len(bomb) < 64 << 10
    with pytest.raises(PatchUnusable):
        _applied(b"", bomb, 100, 1)
