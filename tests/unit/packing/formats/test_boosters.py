"""XGBoost JSON and UBJSON, LightGBM text: headers and the bounds of the walkers."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import pytest

from installml.errors import FormatError
from installml.packing.formats import Tensor, lightgbm, recognise, ubjson, xgboost
from installml.packing.formats.reader import Reader


def document(
    features: object = "5", objective: str = "reg:squarederror", version: object = (2, 1, 0)
) -> dict[str, object]:
    learner = {"learner_model_param": {"num_feature": features, "num_class": "0"}, "objective": {"name": objective}}
    return {"learner": learner, "version": version}


def test_a_regression_is_told_from_its_objective(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps(document()))
    [found] = recognise(tmp_path)
    assert found.task == "tabular-regression"
    assert found.inputs == (Tensor("x", "FP32", (-1, 5)),)
    assert found.requirements == ("xgboost==2.1.0",)


def test_a_large_json_model_is_read_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    learner = json.dumps(document())[len('{"learner": {') :]
    path.write_text('{"learner":{"gradient_booster":{"trees":[' + "0," * xgboost.MAX_JSON + "0]}," + learner)
    assert xgboost.read_json_model(path, "m.json").requirements == ("xgboost==2.1.0",)


@pytest.mark.parametrize("features", [None, "x", "1" * 30, [], 2**70])
def test_a_model_without_a_number_of_features_is_refused(features: object, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps(document(features)))
    with pytest.raises(FormatError, match="not an XGBoost model"):
        recognise(tmp_path)


def test_json_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"name": "x", "learner": 1')
    assert recognise(tmp_path) == []


def walk(data: bytes) -> list[tuple[tuple[str, ...], str]]:
    return list(ubjson.walk(Reader(io.BytesIO(data), "m.ubj", len(data))))


def text(word: str) -> bytes:
    return b"U" + bytes([len(word)]) + word.encode()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"i\xff", [((), "-1")]),
        (b"{" + text("a") + b"S" + text("b") + text("c") + b"[TFZ]" + b"}", [
            (("a",), "b"), (("c", "0"), "true"), (("c", "1"), "false"), (("c", "2"), "null"),
        ]),
        (b"[$d#U\x02" + bytes(8), []),
        (b"[#U\x02i\x01i\x02", [(("0",), "1"), (("1",), "2")]),
        (b"{$i#U\x01" + text("k") + b"\x07", [(("k",), "7")]),
        (b"{#U\x01" + text("k") + b"L" + struct.pack(">q", -(2**40)), [(("k",), str(-(2**40)))]),
        (b"[NNC\x41N]", [(("0",), "A")]),
        (b"[]", []),
    ],
)  # fmt: skip
def test_ubjson_values_come_with_their_keys(data: bytes, found: list[tuple[tuple[str, ...], str]]) -> None:
    assert walk(data) == found


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "ends in the middle"),
        (b"?", "does not exist"),
        (b"Si\xff", "negative length"),
        (b"SL" + struct.pack(">q", 2**62), "ends in the middle"),
        (b"[$d#L" + struct.pack(">q", 2**59), "ends in the middle"),
        (b"[$T#L" + struct.pack(">q", 2**59), "more values"),
        (b"[$i", "ends in the middle"),
        (b"[$ii\x05", "lacks its count"),
        (b"[" * 100, "nested too deeply"),
        (b"{i\x01", "ends in the middle"),
        (b"{S", "where a length must"),
    ],
)
def test_broken_ubjson_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        walk(data)


HEADER = "tree\nversion=v4\nnum_class=3\nmax_feature_idx=9\nobjective=multiclass num_class:3\n\nTree=0\n"


def test_lightgbm_classes_shape_the_output(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text(HEADER)
    [found] = recognise(tmp_path)
    assert found.inputs == (Tensor("x", "FP64", (-1, 10)),)
    assert found.outputs == (Tensor("y", "FP64", (-1, 3)),)
    assert found.task == "tabular-classification"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("tree\nversion=v4\n\n", "no max_feature_idx"),
        ("tree\nversion=v4\nmax_feature_idx=-1\n\n", "no max_feature_idx"),
        ("tree\nversion=v4\nmax_feature_idx=3", "does not end"),
        ("tree", "does not begin"),
        ("", "does not begin"),
    ],
)
def test_a_broken_lightgbm_header_is_refused(data: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text(data)
    with pytest.raises(FormatError, match=reason):
        lightgbm.read(tmp_path / "m.txt", "m.txt")


def test_texts_that_only_begin_with_the_word_tree_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("tree\nhouse\n")
    assert recognise(tmp_path) == []
