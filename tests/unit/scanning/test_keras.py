"""Keras models: what their configuration would import or run, in JSON and inside HDF5."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from installml.scanning.content import BytesContent
from installml.scanning.keras import HDF5, KERAS_JSON
from installml.scanning.walk import scan_files
from tests.unit.scanning.looking import findings
from tests.unit.scanning.malicious import archive

UNHURRIED = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])

HEAD = b"\x89HDF\r\n\x1a\n" + bytes(88)


def rules(name: str, data: bytes) -> set[str]:
    report = scan_files([(name, BytesContent(data))], (KERAS_JSON, HDF5))
    return {finding.rule.id for finding in report.findings}


def model(layer: dict[str, Any]) -> bytes:
    return json.dumps({"module": "keras", "class_name": "Sequential", "config": {"layers": [layer]}}).encode()


def hdf5(text: bytes, behind: bytes = b"\0\0\0") -> bytes:
    return HEAD + b"model_config\0\0\0\0" + text + behind


def part(module: Any, name: str, config: Any = None) -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": config or {}, "registered_name": None}


HARMLESS = {
    "layer": part("keras.layers", "Dense", {"units": 1}),
    "layer of a private module": part("keras.src.layers.core.dense", "Dense"),
    "operation": part("keras.src.ops.numpy", "Add"),
    "optimiser": part("keras.src.backend.torch.optimizers.torch_adam", "Adam"),
    "initialiser": part("keras.initializers", "GlorotUniform"),
    "known function": part("builtins", "function", "mse"),
    "tensor": {"class_name": "__tensor__", "config": {"value": [1.0], "dtype": "float32"}},
    "layer of TensorFlow's Keras": part("tensorflow.keras.layers", "Dense"),
    "layer of Keras 2": {"class_name": "Dense", "config": {"units": 1}},
    "vocabulary inside": part("keras.layers", "StringLookup", {"vocabulary": ["a"]}),
}
HARMFUL = {
    "lambda": (part("keras.layers", "Lambda", {"function": {"class_name": "__lambda__"}}), "keras-lambda"),
    "lambda of Keras 2": ({"class_name": "Lambda", "config": {"function": ["4wAA", None, None]}}, "keras-lambda"),
    "lambda alone": ({"class_name": "__lambda__", "config": {"code": "4wAA"}}, "keras-lambda"),
    "os.system": (part("os", "system"), "keras-foreign-module"),
    "builtins.eval": (part("builtins", "eval"), "keras-foreign-module"),
    "function of os": (part("os", "function", "system"), "keras-foreign-module"),
    "function of keras.utils": (part("keras.utils", "function", "get_file"), "keras-foreign-module"),
    "function in the place of a class": (part("keras.layers", "deserialize"), "keras-foreign-module"),
    "keras.config": (part("keras.config", "enable_unsafe_deserialization"), "keras-foreign-module"),
    "module beside Keras": (part("keras_evil.layers", "Dense"), "keras-foreign-module"),
    "module that is no text": (part(["keras"], "Dense"), "keras-foreign-module"),
    "dotted class": (part("keras.layers", "Dense.call"), "keras-foreign-module"),
    "pickled torch module": (part("keras.layers", "TorchModuleWrapper"), "keras-pickled-module"),
    "SavedModel": (part("keras.layers", "TFSMLayer", {"filepath": "/x"}), "keras-external-model"),
    "vocabulary from a file": (part("keras.layers", "TextVectorization", {"vocabulary": "/x"}), "keras-reads-file"),
}  # fmt: skip


@pytest.mark.parametrize("case", HARMLESS)
def test_parts_of_keras_have_no_findings(case: str) -> None:
    assert rules("config.json", model(HARMLESS[case])) == set()
    assert rules("m.h5", hdf5(model(HARMLESS[case]))) == set()


@pytest.mark.parametrize("case", HARMFUL)
def test_what_is_no_part_of_keras_is_a_finding(case: str) -> None:
    layer, rule = HARMFUL[case]
    assert rule in rules("config.json", model(layer))
    assert rule in rules("m.h5", hdf5(model(layer)))
    nested = part("keras.layers", "TimeDistributed", {"layer": layer})
    assert rule in rules("config.json", model(part("keras", "Functional", {"layers": [nested]})))


def test_text_spelt_with_escapes_is_the_same_text() -> None:
    spelt = b'{"module": "keras", "class_name": "Model", "config": {"layers": [{"cl\\u0061ss_name": "L\\u0061mbda"}]}}'
    assert "keras-lambda" in rules("m.h5", hdf5(spelt))
    assert "keras-lambda" in rules("config.json", spelt)


@pytest.mark.parametrize(
    "text", [b"", b"{", b'{"class_name": "Sequential", "config": {', b"not JSON", b'{"class_name": "S", "class_na\0']
)
def test_a_configuration_that_cannot_be_read_is_a_finding(text: bytes) -> None:
    assert rules("m.h5", hdf5(text)) == {"unreadable"}


def test_weights_without_a_configuration_have_no_findings() -> None:
    assert rules("m.weights.h5", HEAD + bytes(range(256)) * 50) == set()


def test_a_configuration_across_the_borders_of_what_is_read_is_found() -> None:
    filling = b"\x01" * (4 << 20)
    for shift in (0, 1, 20, 200):
        data = HEAD + filling[: (4 << 20) - len(HEAD) - 100 + shift] + b"model_config\0" + model(HARMFUL["lambda"][0])
        assert "keras-lambda" in rules("m.h5", data)


@pytest.mark.parametrize("before", [b'"": 0, ', b'"\xc3\xa9": 0, ', b'"' + b"k" * 500 + b'": 0, ', b" " * 1000])
def test_a_configuration_behind_one_that_is_shown_is_found(before: bytes) -> None:
    shown = model(HARMLESS["layer"])
    data = HEAD + shown + bytes(8) + b"model_config\0\0\0\0{" + before + model(HARMFUL["lambda"][0])[1:]
    assert "keras-lambda" in rules("m.h5", data)


def test_a_large_configuration_is_read_whole() -> None:
    layers = [part("keras.layers", "Dense", {"units": n}) for n in range(20_000)]
    assert "keras-lambda" in rules("m.h5", hdf5(model(part("keras", "X", {"a": [*layers, HARMFUL["lambda"][0]]}))))


def test_compressed_attributes_are_a_finding() -> None:
    assert rules("m.h5", HEAD + b"FRHP\0\x08\0\x10\0") == {"unreadable"}


def test_a_file_that_is_only_called_hdf5_is_a_finding() -> None:
    assert rules("m.h5", b"hello") == {"unreadable"}


def test_hdf5_is_found_behind_a_block_of_the_users_own() -> None:
    assert "keras-lambda" in rules("model", bytes(512) + hdf5(model(HARMFUL["lambda"][0])))


def test_a_keras_archive_with_a_broken_configuration_is_a_finding() -> None:
    found = findings("m.keras", archive(("config.json", b'{"a": 1, "a": 2}')))
    assert "unreadable" in {finding.rule.id for finding in found}


def test_a_config_that_is_not_of_keras_has_no_findings() -> None:
    assert rules("config.json", b'{"model_type": "bert", "architectures": ["BertModel"]}') == set()


@UNHURRIED
@given(st.binary(max_size=200), st.integers(0, 100))
def test_any_bytes_in_hdf5_give_findings_and_nothing_else(data: bytes, cut: int) -> None:
    text = model(HARMFUL["lambda"][0])
    rules("m.h5", hdf5(text[:cut] + data + text[cut:]))
    rules("config.json", text[:cut] + data)
