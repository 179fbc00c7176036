"""ONNX: signature, initializers, external weights, and protobuf that is not ONNX."""

from __future__ import annotations

from pathlib import Path

import pytest

from installml.errors import FormatError
from installml.packing.formats import Tensor, onnx, recognise


def varint(value: int) -> bytes:
    data = b""
    while value > 0x7F:
        data += bytes([value & 0x7F | 0x80])
        value >>= 7
    return data + bytes([value])


def field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def value(name: str, kind: int, *shape: int | str | None) -> bytes:
    sizes = b"".join(
        field(1, b"" if size is None else field(2, size) if isinstance(size, str) else field(1, size)) for size in shape
    )
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, sizes)))


def weights(name: str, *sizes: int, packed: bool = False, location: str = "") -> bytes:
    dims = field(1, b"".join(map(varint, sizes))) if packed else b"".join(field(1, size) for size in sizes)
    data = dims + field(2, 1) + field(8, name)
    if location:
        return data + field(13, field(1, "location") + field(2, location)) + field(14, 1)
    return data + field(9, bytes(8))


def model(*graph: bytes, opset: int = 17) -> bytes:
    return field(1, 9) + field(8, field(2, opset)) + field(7, b"".join(graph))


def write(folder: Path, data: bytes, name: str = "m.onnx") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def test_free_unknown_and_fixed_sizes_are_told_apart(tmp_path: Path) -> None:
    data = model(field(11, value("x", 10, "batch", 3, None)), field(12, value("y", 7)), field(12, value("t", 8, 1)))
    found = onnx.read(write(tmp_path, data), "m.onnx")
    assert found.inputs == (Tensor("x", "FP16", (-1, 3, -1)),)
    assert found.outputs == (Tensor("y", "INT64", ()), Tensor("t", "BYTES", (1,)))


def test_outputs_that_are_no_tensors_are_left_out(tmp_path: Path) -> None:
    sequence = field(1, "probabilities") + field(2, field(4, b""))
    write(tmp_path, model(field(12, sequence), field(12, value("label", 7, 1))))
    assert recognise(tmp_path)[0].outputs == (Tensor("label", "INT64", (1,)),)


@pytest.mark.parametrize("packed", [False, True])
def test_parameters_are_counted_from_shapes_packed_or_not(packed: bool, tmp_path: Path) -> None:
    data = model(field(5, weights("w", 300, 2, packed=packed)), field(5, weights("scalar")))
    assert onnx.read(write(tmp_path, data), "m.onnx").parameters == 601


def test_opsets_of_other_domains_are_named(tmp_path: Path) -> None:
    data = model() + field(8, field(1, "ai.onnx.ml") + field(2, 3))
    details = onnx.read(write(tmp_path, data), "m.onnx").details
    assert (details["opset"], details["opset.ai.onnx.ml"]) == ("17", "3")


def test_external_weights_below_the_models_folder_belong_to_it(tmp_path: Path) -> None:
    write(tmp_path, model(field(5, weights("w", 4, location="data/w.bin"))), "deep/m.onnx")
    write(tmp_path / "deep", bytes(16), "data/w.bin")
    assert recognise(tmp_path)[0].files == ("deep/m.onnx", "deep/data/w.bin")


@pytest.mark.parametrize(
    "location", ["../w.bin", "/etc/passwd", "a/../../w.bin", "..\\w.bin", "C:w.bin", "gone.bin", "a\0b", "x" * 3000]
)
def test_external_weights_elsewhere_are_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"")
    path = write(tmp_path, model(field(5, weights("w", 4, location=location))), "deep/m.onnx")
    with pytest.raises(FormatError, match="not in its folder"):
        onnx.read(path, "deep/m.onnx")


def test_external_weights_in_a_node_of_a_subgraph_are_seen_too(tmp_path: Path) -> None:
    constant = field(1, field(5, field(5, weights("w", 4, location="../w.bin"))))
    path = write(tmp_path, model(field(1, field(5, field(6, constant)))))
    with pytest.raises(FormatError, match="not in its folder"):
        onnx.read(path, "m.onnx")


def test_graphs_nested_without_end_are_refused(tmp_path: Path) -> None:
    graph = b""
    for _ in range(30):
        graph = field(1, field(5, field(6, graph)))
    with pytest.raises(FormatError, match="too deeply"):
        onnx.read(write(tmp_path, model(graph)), "m.onnx")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "holds no graph"),
        (field(1, 9), "holds no graph"),
        (b"\x0b", "wire type 3"),
        (b"\x02\x00", "field number 0"),
        (b"\xff" * 11, "without an end"),
        (varint(7 << 3 | 2) + varint(2**63), "ends in the middle of a field"),
        (model(field(5, weights("w", 2**62))), "impossible shape"),
        (model(field(5, field(1, 2**64 - 1) + field(8, "w"))), "impossible shape"),
    ],
)
def test_a_file_that_is_no_onnx_is_refused_by_name(data: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=rf"m\.onnx: .*{reason}"):
        onnx.read(write(tmp_path, data), "m.onnx")
