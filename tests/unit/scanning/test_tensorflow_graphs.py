"""TensorFlow graphs that call Python or touch files, at every place where a graph may hide a node."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scanning.looking import blocking, findings, message, rules


def node(operator: str, name: str = "n", *attributes: bytes) -> bytes:
    return message((1, name), (2, operator), *((5, one) for one in attributes))


def graph(*nodes: bytes, functions: tuple[bytes, ...] = ()) -> bytes:
    library = message(*((1, message((1, message((1, "f"))), *((3, one) for one in functions))) for _ in (0,)))
    return message(*((1, one) for one in nodes), (2, library))


def saved(*nodes: bytes, functions: tuple[bytes, ...] = (), objects: bytes = b"") -> bytes:
    meta = message((1, message((5, "2.17.0"))), (2, graph(*nodes, functions=functions)), (7, objects))
    return message((1, 1), (2, meta))


ORDINARY = ("Placeholder", "MatMul", "AddV2", "Identity", "SaveV2", "RestoreV2", "MergeV2Checkpoints",
            "ShardedFilename", "StatefulPartitionedCall", "NoOp", "StringJoin", "InitializeTableFromTextFileV2",
            "HashTableV2")  # fmt: skip
GOOD = saved(*(node(one, one) for one in ORDINARY), functions=(node("Relu"), node("ReadVariableOp")))


@pytest.mark.parametrize(
    ("operator", "rule"),
    [
        ("PyFunc", "tensorflow-python"),
        ("EagerPyFunc", "tensorflow-python"),
        ("PyFuncStateless", "tensorflow-python"),
        ("ReadFile", "tensorflow-files"),
        ("WriteFile", "tensorflow-files"),
        ("MatchingFiles", "tensorflow-files"),
        ("ImmutableConst", "tensorflow-files"),
        ("DebugIdentityV2", "tensorflow-files"),
        ("RpcClient", "tensorflow-network"),
        ("DataServiceDatasetV4", "tensorflow-network"),
    ],
)
def test_an_operator_that_reaches_out_blocks_in_the_graph_and_in_functions(operator: str, rule: str) -> None:
    assert rule in blocking("saved_model.pb", saved(node("Placeholder"), node(operator)))
    assert rule in blocking("saved_model.pb", saved(node("Placeholder"), functions=(node(operator),)))


def test_frozen_graphs_and_meta_graphs_are_read_too() -> None:
    assert "tensorflow-files" in blocking("frozen.pb", graph(node("WriteFile")))
    meta = message((1, message((5, "2.17.0"))), (2, graph(node("WriteFile"))))
    assert "tensorflow-files" in blocking("model.ckpt.meta", meta)


def test_printing_to_a_file_is_writing_one() -> None:
    attribute = message((1, "output_stream"), (2, message((2, "file:///etc/cron.d/x"))))
    assert "tensorflow-files" in blocking("saved_model.pb", saved(node("PrintV2", "p", attribute)))
    plain = message((1, "output_stream"), (2, message((2, "stderr"))))
    assert not blocking("saved_model.pb", saved(node("PrintV2", "p", plain)))


def test_a_lambda_layer_in_the_object_graph_blocks() -> None:
    layer = b'{"class_name": "Lambda", "config": {"function": {"code": "4wEAAAA"}}}'
    assert "tensorflow-keras-lambda" in blocking("saved_model.pb", saved(node("NoOp"), objects=message((1, layer))))
    assert "tensorflow-keras-lambda" in blocking("keras_metadata.pb", message((1, layer)))


def test_reading_data_files_is_told_and_does_not_block() -> None:
    data = saved(node("TFRecordDataset"))
    assert rules("saved_model.pb", data) == {"tensorflow-reads-data"}
    assert not blocking("saved_model.pb", data)


def test_a_model_for_inference_has_no_finding() -> None:
    assert findings("saved_model.pb", GOOD) == []


@pytest.mark.parametrize("data", [b"", b"\xff\xff", b"hello", message((1, 1)), message((1, 1), (2, b"\xff"))])
def test_what_is_no_graph_under_its_name_is_unreadable(data: bytes) -> None:
    assert "unreadable" in blocking("saved_model.pb", data)


def test_a_graph_in_any_order_of_fields_is_read() -> None:
    library = message((1, message((1, message((1, "f"))), (3, node("PyFunc")))))
    assert "tensorflow-python" in blocking(
        "frozen.pb", message((4, message((1, 1987))), (2, library), (1, node("NoOp")))
    )
    assert "tensorflow-python" in blocking("any.pb", saved(node("PyFunc")))


def test_other_protobufs_of_that_name_are_no_graphs() -> None:
    tensor = message((1, 2), (1, 3), (2, 1), (8, "input"), (9, bytes(24)))  # onnx.TensorProto, as in the model zoo
    assert findings("test_data_set_0/input_0.pb", tensor) == []
    assert "unreadable" in blocking("x.pb", b"\xff\xff\xff")


def test_an_asset_outside_its_folder_blocks() -> None:
    def with_asset(name: str) -> bytes:
        return message((1, 1), (2, message((2, graph(node("NoOp"))), (6, message((1, b""), (2, name))))))

    assert "tensorflow-files" in blocking("saved_model.pb", with_asset("../../etc/passwd"))
    assert findings("saved_model.pb", with_asset("vocabulary.txt")) == []


def test_the_text_form_is_read_as_well() -> None:
    text = 'meta_graphs { graph_def { node { name: "n" op: "WriteFile" } node { op: "NoOp" } } }'
    assert "tensorflow-files" in blocking("saved_model.pbtxt", text.encode())
    assert findings("saved_model.pbtxt", text.replace("WriteFile", "MatMul").encode()) == []
    assert "unreadable" in blocking("saved_model.pbtxt", text.replace("WriteFile", "Write\\106ile").encode())


def test_an_operator_of_tensorflow_in_tensorflow_lite_is_found() -> None:
    data = b"\x1c\0\0\0TFL3" + bytes(40) + b"FlexWriteFile\0" + bytes(40)
    assert "tensorflow-files" in blocking("model.tflite", data)
    assert findings("model.tflite", data.replace(b"WriteFile", b"AddV2\0\0\0\0")) == []
    assert "unreadable" in blocking("model.tflite", b"nothing")


@settings(deadline=None)
@given(st.data())
def test_a_changed_file_gives_findings_and_nothing_else(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(GOOD) - 1))
    changed = bytearray(GOOD)
    changed[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=8))
    findings("saved_model.pb", bytes(changed))
