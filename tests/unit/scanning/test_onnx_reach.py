"""ONNX: external data outside the folder or behind its end, custom operators; what the onnx package writes passes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from installml.scanning.content import folder_files
from installml.scanning.finding import Finding, Severity
from installml.scanning.package import Context, scan_package
from installml.scanning.scanners import SCANNERS
from tests.unit.scanning.looking import blocking, findings, message, rules


def model(
    *nodes: onnx.NodeProto,
    tensors: tuple[onnx.TensorProto, ...] = (),
    functions: tuple[onnx.FunctionProto, ...] = (),
    domains: tuple[str, ...] = (),
) -> bytes:
    shape = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes or (helper.make_node("Relu", ["x"], ["y"]),),
        "g",
        [shape("x", TensorProto.FLOAT, [1, 4])],
        [shape("y", TensorProto.FLOAT, [1, 4])],
        tensors,
    )
    opsets = [helper.make_opsetid("", 21), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(
        graph, opset_imports=opsets, functions=functions, producer_name="test-onnx"
    ).SerializeToString()


def external(location: str, **more: int) -> onnx.TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


WEIGHTS = numpy_helper.from_array(np.zeros((2, 2), np.float32), "w")
GOOD = model(helper.make_node("MatMul", ["x", "w"], ["y"]), tensors=(WEIGHTS,))


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../../../etc/passwd", "a/../../b", "..", "C:\\Windows\\win.ini", "C:/Windows/win.ini",
     "a\\..\\..\\b",
     "~/.ssh/id_rsa", "file:///etc/passwd", "//server/share", "", "a\0b"],
)  # fmt: skip
def test_external_data_outside_the_folder_blocks(location: str) -> None:
    assert "onnx-external-outside" in blocking("model.onnx", model(tensors=(external(location),)))


def test_of_two_locations_each_is_looked_at() -> None:
    tensor = external("/etc/passwd")
    tensor.external_data.add(key="location", value="w.bin")
    assert "onnx-external-outside" in blocking("model.onnx", model(tensors=(tensor,)))


def test_a_location_longer_than_any_path_blocks() -> None:
    assert "onnx-external-outside" in blocking("model.onnx", model(tensors=(external("a/" * 5000 + "../../x"),)))


def test_external_data_in_an_attribute_of_a_subgraph_is_found() -> None:
    inner = helper.make_graph([], "inner", [], [], [external("../x")])
    node = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    assert "onnx-external-outside" in blocking("model.onnx", model(node))


def test_external_data_in_a_function_is_found() -> None:
    constant = helper.make_node("Constant", [], ["y"], value=external("/etc/shadow"))
    function = helper.make_function("own", "f", ["x"], ["y"], [constant], [helper.make_opsetid("", 21)])
    assert "onnx-external-outside" in blocking("model.onnx", model(functions=(function,)))


def test_a_context_in_a_file_outside_the_folder_is_found() -> None:
    node = helper.make_node(
        "EPContext", ["x"], ["y"], domain="com.microsoft", embed_mode=0, ep_cache_context=b"../../x"
    )
    assert "onnx-external-outside" in blocking("model.onnx", model(node, domains=("com.microsoft",)))


def test_a_shape_that_promises_more_than_there_is_blocks() -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 20], raw_data=bytes(16))
    assert "onnx-tensor-size" in blocking("model.onnx", model(tensors=(tensor,)))


def test_an_impossible_shape_blocks() -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[-4], raw_data=bytes(16))
    assert "onnx-tensor-size" in blocking("model.onnx", model(tensors=(tensor,)))


def test_an_operator_that_calls_python_blocks() -> None:
    node = helper.make_node("PyOp", ["x"], ["y"], domain="ai.onnx.contrib")
    assert "onnx-program" in blocking("model.onnx", model(node, domains=("ai.onnx.contrib",)))


def test_operators_of_somebodys_own_are_told_and_do_not_block() -> None:
    node = helper.make_node("Fancy", ["x"], ["y"], domain="com.example")
    assert rules("model.onnx", model(node, domains=("com.example",))) == {"onnx-custom-operator"}
    assert not blocking("model.onnx", model(node, domains=("com.example",)))


def test_operators_that_the_model_defines_itself_are_not_foreign() -> None:
    function = helper.make_function(
        "own", "f", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], [helper.make_opsetid("", 21)]
    )
    node = helper.make_node("f", ["x"], ["y"], domain="own")
    assert findings("model.onnx", model(node, functions=(function,), domains=("own",))) == []


def test_what_the_onnx_package_writes_has_no_finding() -> None:
    assert findings("model.onnx", GOOD) == []


@pytest.mark.parametrize("data", [b"", b"\x08", b"hello world", b"\x08\x07\x12\x04", message((1, 7), (2, "x"))])
def test_what_is_no_onnx_under_its_name_blocks(data: bytes) -> None:
    assert "unreadable" in blocking("model.onnx", data)


def test_onnx_is_known_by_its_content_at_any_name() -> None:
    assert "onnx-external-outside" in rules("model.dat", model(tensors=(external("/etc/passwd"),)))


def in_folder(folder: Path) -> list[Finding]:
    return scan_package(folder_files(folder), SCANNERS, Context(licence="MIT")).findings


def test_external_data_beside_the_model_passes(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "model.onnx").write_bytes(model(tensors=(external("w.bin", offset=16, length=16),)))
    (tmp_path / "sub" / "w.bin").write_bytes(bytes(32))
    assert in_folder(tmp_path) == []


def test_external_data_behind_the_files_end_blocks(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(model(tensors=(external("w.bin", offset=4096, length=16),)))
    (tmp_path / "w.bin").write_bytes(bytes(32))
    (found,) = in_folder(tmp_path)
    assert (found.rule.id, found.severity) == ("onnx-external-range", Severity.high)


def test_external_data_that_nobody_packaged_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(model(tensors=(external("w.bin"),)))
    assert [one.rule.id for one in in_folder(tmp_path)] == ["onnx-external-missing"]


def test_external_data_of_another_length_than_the_shape_blocks() -> None:
    assert "onnx-external-range" in blocking("model.onnx", model(tensors=(external("w.bin", length=400),)))


@settings(deadline=None)
@given(st.data())
def test_a_changed_file_gives_findings_and_nothing_else(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(GOOD) - 1))
    changed = bytearray(GOOD)
    changed[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=8))
    findings("model.onnx", bytes(changed))
