"""Key files come from anywhere: whatever is in them, reading ends soon, with a key or an error of ours."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_secretbox

from installml.errors import InstallMLError
from installml.signing import der
from installml.signing.keyfile import PrivateKey, read_private, write_pkcs8
from installml.signing.secret import Secret
from installml.trust.rotation import Rotation, parse_rotation, rotation_bytes

KEY, OTHER = PrivateKey.generate(), PrivateKey.generate()


def _cosign(params: Any) -> bytes:
    """Return a key in cosign's form that costs nothing to open."""
    import hashlib

    salt, nonce = b"s" * 32, b"n" * 24
    derived = hashlib.scrypt(b"x", salt=salt, n=2, r=1, p=1, dklen=32)
    document = {
        "kdf": {"name": "scrypt", "params": params, "salt": base64.b64encode(salt).decode()},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
        "ciphertext": base64.b64encode(crypto_secretbox(KEY.der(), nonce, derived)).decode(),
    }
    body = base64.b64encode(json.dumps(document).encode())
    label = b"ENCRYPTED SIGSTORE PRIVATE KEY"
    return b"-----BEGIN " + label + b"-----\n" + body + b"\n-----END " + label + b"-----\n"


CHEAP = _cosign({"N": 2, "r": 1, "p": 1})
OPEN = write_pkcs8(KEY, None)


def _read(data: bytes) -> PrivateKey | None:
    with contextlib.suppress(InstallMLError):
        return read_private(data, lambda _: Secret("x"), "here")
    return None


def test_the_seeds_are_read() -> None:
    assert [_read(each).public_key for each in (CHEAP, OPEN)] == [KEY.public_key] * 2  # type: ignore[union-attr]


@given(st.binary(max_size=300))
def test_any_bytes_are_a_key_or_refused_by_an_error_of_ours(data: bytes) -> None:
    _read(data)
    _read(b"-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(data) + b"\n-----END PRIVATE KEY-----\n")


@given(st.sampled_from([CHEAP, OPEN]), st.data())
def test_a_key_with_bytes_changed_is_read_or_refused_by_an_error_of_ours(seed: bytes, data: st.DataObject) -> None:
    raw = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    _read(bytes(raw[: data.draw(st.integers(1, len(raw)))]))


NUMBERS = st.integers(-(2**70), 2**70) | st.sampled_from([1 << bits for bits in range(0, 64, 7)])


@given(NUMBERS, NUMBERS, NUMBERS)
def test_whatever_a_key_asks_of_its_reader_the_answer_comes_soon(n: int, r: int, p: int) -> None:
    if n * r * p <= 1 << 12:  # what is allowed is only slow
        _read(_cosign({"N": n, "r": r, "p": p}))
    elif n * r * p > 1 << 23 or 128 * n * r > 512 << 20:
        assert _read(_cosign({"N": n, "r": r, "p": p})) is None


def _elements() -> st.SearchStrategy[bytes]:
    leaves = st.builds(der.integer, st.integers(0, 2**62)) | st.builds(der.octets, st.binary(max_size=300))
    return st.recursive(
        leaves, lambda children: st.lists(children, max_size=3).map(lambda x: der.sequence(*x)), max_leaves=8
    )


@given(_elements())
def test_der_is_read_as_it_was_written(data: bytes) -> None:
    def written(element: der.Element) -> bytes:
        if element.tag == 0x30:
            return der.sequence(*map(written, element.children))
        return der.integer(element.integer) if element.tag == 0x02 else der.octets(element.content)

    with contextlib.suppress(ValueError):  # nested deeper than keys are
        assert written(der.read_der(data)) == data


@given(st.binary(max_size=100))
def test_any_bytes_are_der_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        der.read_der(data)


@given(st.lists(st.integers(0, 2**40), max_size=6), st.integers(0, 2), st.integers(0, 39))
def test_object_identifiers_are_read_as_they_were_written(rest: list[int], first: int, second: int) -> None:
    dotted = ".".join(map(str, (first, second, *rest)))
    with contextlib.suppress(ValueError):  # longer than any that is in use
        assert der.read_der(der.oid(dotted)).oid == dotted


ROTATION = rotation_bytes(Rotation(KEY.public_key, OTHER.public_key, 1), KEY.sign, OTHER.sign)


@given(st.data())
def test_a_rotation_with_bytes_changed_is_the_same_or_refused(data: st.DataObject) -> None:
    raw = bytearray(ROTATION)
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InstallMLError):
        assert parse_rotation(bytes(raw), "here") == Rotation(KEY.public_key, OTHER.public_key, 1)
