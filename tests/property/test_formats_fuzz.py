"""Damaged and hostile model files: a reader answers with what it found or says where the file is wrong, always."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from installml.errors import FormatError
from installml.packing.formats import (
    Finding,
    card,
    entrypoint,
    gguf,
    keras,
    lightgbm,
    mlflow,
    onnx,
    recognise,
    safetensors,
    savedmodel,
    sklearn,
    skops,
    torch,
    transformers,
    xgboost,
)
from installml.packing.formats.reader import Reader

GENUINE = Path(__file__).parents[1] / "unit" / "packing" / "formats" / "fixtures"
#: No genuine fixture needs a read of more than this; a hostile count must not get one either.
MOST = 16 << 20

CONFIG = (
    b'{"architectures": ["BertForMaskedLM"], "model_type": "bert", "torch_dtype": "float32", "id2label": {"0": "a"}}'
)
SOURCE = b"""import numpy

class Model:
    def load(self, path):
        pass

    def predict(self, inputs):
        return inputs
"""
CARD = b"""---
license: mit
tags: [a, b]
base_model:
  - x/y
---
# Title

Words of a [model](http://x) here.
"""

SEEDS: dict[str, tuple[Callable[[Path, str], object], bytes]] = {
    name: (read, (GENUINE / name).read_bytes())
    for name, read in {
        "small.safetensors": safetensors.read,
        "tiny.gguf": gguf.read,
        "tiny-big-endian.gguf": gguf.read,
        "linear.onnx": onnx.read,
        "classifier.pkl": sklearn.read,
        "classifier-protocol-2.pkl": sklearn.read,
        "classifier.joblib": sklearn.read,
        "classifier.joblib.z": sklearn.read,
        "classifier.joblib.gz": sklearn.read,
        "classifier.joblib.bz2": sklearn.read,
        "classifier.joblib.xz": sklearn.read,
        "classifier.joblib.lzma": sklearn.read,
        "forest-plain.joblib": sklearn.read,
        "regression.skops": skops.read,
        "boosted.json": xgboost.read_json_model,
        "boosted.ubj": xgboost.read_ubjson_model,
        "light.txt": lightgbm.read,
        "state.pt": torch.read,
        "module.pt": torch.read,
        "scripted.pt": torch.read,
        "exported.pt2": torch.read,
        "state-legacy.bin": torch.read_legacy,
        "dense.keras": keras.read,
        "doubler/saved_model.pb": savedmodel.read,
        "mlflow/MLmodel": mlflow.read,
    }.items()
} | {
    "config.json": (transformers.read, CONFIG),
    "model.py": (entrypoint.read, SOURCE),
    "README.md": (card.read, CARD),
}
MAGICS = sorted({data[:length] for _, data in SEEDS.values() for length in (1, 4, 8, 16)})
EXTREMES = [
    b"\xff" * 8,
    b"\xff" * 7 + b"\x7f",
    b"\x7f" + b"\xff" * 7,
    b"\x00" * 7 + b"\x80",
    b"\x80" + b"\x00" * 7,
    b"\x00" * 8,
    b"\xff\xff\xff\x7f",
    b"\x00\x00\x00\x80",
    b"\xff\xff",
    b"99999999999999999999",
    b"-1",
    b"[" * 2000,
    b'{"":' * 2000,
]

fuzz = settings(
    max_examples=int(os.environ.get("INSTALLML_FUZZ_EXAMPLES", "150")),
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
names = pytest.mark.parametrize("name", sorted(SEEDS))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every number of bytes that a reader asked its file for."""
    counts: list[int] = []
    some = Reader.some

    def recorded(reader: Reader, count: int) -> bytes:
        counts.append(count)
        return some(reader, count)

    monkeypatch.setattr(Reader, "some", recorded)
    return counts


def answer(read: Callable[[Path, str], object], data: bytes, folder: Path, name: str, asked: list[int]) -> object:
    """Read data as a file of that name, and check that the answer is one of the two that are allowed."""
    path = folder / name.rpartition("/")[2]
    path.write_bytes(data)
    asked.clear()
    found: object = None
    refused: FormatError | None = None
    try:
        found = read(path, path.name)
    except FormatError as error:
        refused = error
    assert max(asked, default=0) <= MOST
    assert refused is None or refused.path == path.name
    # Behind a compression the offset counts expanded bytes.
    assert refused is None or 0 <= refused.offset <= max(len(data), 1 << 28)
    return found


@names
def test_a_genuine_file_is_read(name: str, tmp_path: Path, asked: list[int]) -> None:
    read, data = SEEDS[name]
    assert answer(read, data, tmp_path, name, asked) is not None


@names
@fuzz
@given(data=st.data())
def test_a_file_cut_anywhere_is_read_or_refused(
    name: str, tmp_path: Path, asked: list[int], data: st.DataObject
) -> None:
    read, genuine = SEEDS[name]
    answer(read, genuine[: data.draw(st.integers(0, len(genuine) - 1))], tmp_path, name, asked)


@names
@fuzz
@given(data=st.data())
def test_flipped_bytes_are_read_or_refused(name: str, tmp_path: Path, asked: list[int], data: st.DataObject) -> None:
    read, genuine = SEEDS[name]
    damaged = bytearray(genuine)
    places = st.tuples(st.integers(0, len(genuine) - 1), st.integers(0, 255))
    for at, value in data.draw(st.lists(places, min_size=1, max_size=8)):
        damaged[at] = value
    answer(read, bytes(damaged), tmp_path, name, asked)


@names
@fuzz
@given(data=st.data())
def test_huge_and_negative_numbers_anywhere_are_read_or_refused(
    name: str, tmp_path: Path, asked: list[int], data: st.DataObject
) -> None:
    read, genuine = SEEDS[name]
    at = data.draw(st.integers(0, len(genuine)))
    extreme = data.draw(st.sampled_from(EXTREMES))
    after = at + (len(extreme) if data.draw(st.booleans()) else 0)
    answer(read, genuine[:at] + extreme + genuine[after:], tmp_path, name, asked)


@names
@fuzz
@given(magic=st.sampled_from(MAGICS), rest=st.binary(max_size=400))
def test_noise_behind_a_right_magic_is_read_or_refused(
    name: str, tmp_path: Path, asked: list[int], magic: bytes, rest: bytes
) -> None:
    read, genuine = SEEDS[name]
    answer(read, genuine[: len(magic)] + rest, tmp_path, name, asked)
    answer(read, magic + rest, tmp_path, name, asked)


HOSTILE = {
    "header.safetensors": struct.pack("<Q", 2**63) + b"{}",
    "counts.gguf": b"GGUF" + struct.pack("<IQQ", 3, 2**63, 2**63),
    "array.gguf": b"GGUF"
    + struct.pack("<IQQ", 3, 0, 1)
    + struct.pack("<Q", 1)
    + b"a"
    + struct.pack("<IIQ", 9, 8, 2**62),
    "length.onnx": b"\x3a" + b"\xff" * 9 + b"\x01",
    "endless.onnx": b"\xff" * 64,
    "bytes.pkl": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".",
    "negative.pkl": b"\x80\x02T" + struct.pack("<i", -1) + b".",
    "array.pkl": b"\x80\x04cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}(X\x05\x00\x00\x00shapeM\xff\xff\x85"
    b"X\x05\x00\x00\x00dtypecnumpy\ndtype\nX\x03\x00\x00\x00f8x\x85Rub.",
    "constants.ubj": b"[$Z#L" + struct.pack(">q", 2**62),
    "negative.ubj": b"{L" + struct.pack(">q", -1),
    "nested.ubj": b"[" * 100_000,
    "noops.ubj": b"N" * 3_000_000,
    "nested.json": b'{"learner":' + b"[" * 200_000,
    "twice.json": b'{"learner":{},"learner":{}}',
    "digits.json": b'{"learner":' + b"9" * 5000 + b"}",
    "members.pt": b"PK\x03\x04PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 0xFFF0, 0xFFF0, 2**31, 8, 0),
    "far.pt": b"PK\x03\x04PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0),
    "MLmodel": b"flavors: &a [x]\nb: *a\n",
    "nested/MLmodel": b"flavors: " + b"[" * 50_000,
    "model.py": b"def load\ndef predict\n" + b"(" * 10_000,
    "null.py": b"def load\ndef predict\n\x00",
    "cut.keras": b"PK\x03\x04",
    "text.pt": b"not torch at all",
    "endless.txt": b"tree\nversion=v4\n" + b"a=b\n" * 2_000_000,
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_file_in_a_folder_is_refused_with_its_name_and_offset(
    name: str, tmp_path: Path, asked: list[int]
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(HOSTILE[name])
    with pytest.raises(FormatError, match=r"\(at byte \d+\)") as caught:
        recognise(tmp_path)
    assert caught.value.path == name
    assert 0 <= caught.value.offset <= len(HOSTILE[name])
    assert max(asked) <= MOST


@fuzz
@given(name=st.text(min_size=1, max_size=20), data=st.binary(max_size=200))
def test_files_of_any_name_are_looked_at_without_surprises(name: str, tmp_path: Path, data: bytes) -> None:
    assume("/" not in name and "\0" not in name and name not in (".", ".."))
    assume(len(name.encode("utf-8", "surrogatepass")) < 200 and name.isprintable())
    path = tmp_path / name
    path.write_bytes(data)
    found: list[Finding] = []
    refused = name
    try:
        found = recognise(tmp_path)
    except FormatError as error:
        refused = error.path
    path.unlink()
    assert refused == name
    assert all(isinstance(one, Finding) for one in found)
