"""safetensors headers: the format's rules, one by one."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from installml.errors import FormatError
from installml.packing.formats import recognise, safetensors


def tensor(dtype: str, shape: list[Any], begin: Any, end: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def write(path: Path, header: object, size: int) -> Path:
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(data)) + data + bytes(size))
    return path


def test_the_dominant_precision_is_that_of_most_parameters(tmp_path: Path) -> None:
    header = {"a": tensor("F32", [2], 0, 8), "b": tensor("BF16", [3, 2], 8, 20)}
    found = safetensors.read(write(tmp_path / "m.safetensors", header, 20), "m.safetensors")
    assert (found.precision, found.parameters) == ("bfloat16", 8)


def test_a_scalar_and_an_empty_tensor_are_valid(tmp_path: Path) -> None:
    header = {"a": tensor("F64", [], 0, 8), "b": tensor("F64", [0, 7], 8, 8)}
    assert safetensors.read(write(tmp_path / "m", header, 8), "m").parameters == 1


@pytest.mark.parametrize(
    ("header", "size", "reason"),
    [
        ({"a": tensor("F32", [2], 0, 8), "b": tensor("F32", [2], 4, 12)}, 12, "overlap"),
        ({"a": tensor("F32", [2], 4, 12)}, 12, "gap"),
        ({"a": tensor("F32", [2], 0, 8)}, 7, "holds 7 bytes"),
        ({"a": tensor("F32", [2], 0, 8)}, 9, "holds 9 bytes"),
        ({"a": tensor("F32", [3], 0, 8)}, 8, "size that its shape promises"),
        ({"a": tensor("F32", [-2], 0, 8)}, 8, "not natural numbers"),
        ({"a": tensor("F32", [2], -8, 0)}, 8, "not natural numbers"),
        ({"a": tensor("F32", [1.5], 0, 8)}, 8, "not natural numbers"),
        ({"a": tensor("F32", [True, 2], 0, 8)}, 8, "not natural numbers"),
        ({"a": tensor("F33", [2], 0, 8)}, 8, "unknown number format"),
        ({"a": [1]}, 8, "lacks dtype"),
        (b'{"a":{},"a":{}}', 0, "twice"),
        (b' {"a":1}', 0, "not a JSON object"),
        (b"{", 0, "is not JSON"),
        (b'{"\xff":1}', 0, "UTF-8"),
    ],
)
def test_a_header_that_breaks_a_rule_is_refused(header: object, size: int, reason: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=reason):
        safetensors.read(write(tmp_path / "m.safetensors", header, size), "m.safetensors")


def test_a_truncated_header_names_the_file_and_offset(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", 100) + b"{}")
    with pytest.raises(FormatError, match=r"m\.safetensors: ends in the middle of the header .* \(at byte 8\)"):
        recognise(tmp_path)


def test_a_header_above_100_mb_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 100_000_001) + b"{")
        file.truncate(200_000_000)  # sparse: no disk is used
    with pytest.raises(FormatError, match="larger than the 100000000"):
        safetensors.read(path, path.name)


def shard(folder: Path, name: str) -> str:
    write(folder / name, {name: tensor("F16", [4], 0, 8)}, 8)
    return name


def test_an_index_adds_its_shards_up(tmp_path: Path) -> None:
    shards = [shard(tmp_path, f"model-0000{number}-of-00002.safetensors") for number in (1, 2)]
    index = {"metadata": {}, "weight_map": {"x": shards[0], "y": shards[1]}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    [found] = recognise(tmp_path)
    assert found.files == ("model.safetensors.index.json", *shards)
    assert (found.parameters, found.precision) == (8, "float16")


def test_shards_without_an_index_make_one_finding(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        shard(tmp_path, f"model-0000{number}-of-00003.safetensors")
    shard(tmp_path, "other.safetensors")
    assert sorted(one.parameters or 0 for one in recognise(tmp_path)) == [4, 12]


@pytest.mark.parametrize(
    "name", ["missing.safetensors", "../secret.safetensors", "/etc/passwd", "a\\b", "a\0b", "\ud800"]
)
def test_an_index_that_names_a_file_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": name}}))
    with pytest.raises(FormatError, match="not in its folder"):
        recognise(tmp_path)
