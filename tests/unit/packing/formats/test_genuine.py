"""Files that the real libraries wrote are recognised as what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from installml.errors import FormatError
from installml.packing.formats import Finding, Tensor, recognise

FIXTURES = Path(__file__).parent / "fixtures"
#: fixture -> fields of the finding that must be exactly so
EXPECTED: dict[str, dict[str, Any]] = {
    "linear.onnx": {
        "format": "onnx",
        "engine": "onnxruntime",
        "precision": "float32",
        "parameters": 12,
        "inputs": (Tensor("x", "FP32", (-1, 4)),),  # "w" is an initializer, not an input
        "outputs": (Tensor("y", "FP32", (-1, 3)),),
    },
    "external.onnx": {"files": ("external.onnx", "external.bin"), "parameters": 12},
    "small.safetensors": {"format": "safetensors", "engine": "none", "precision": "float16", "parameters": 10},
    "tiny.gguf": {
        "format": "gguf",
        "engine": "llama.cpp",
        "architecture": "llama",
        "precision": "float16",
        "parameters": 32,
        "license": "Apache-2.0",
        "name": "Tiny",
        "authors": ("Somebody",),
        "description": "A model of nothing",
        "task": "text-generation",
    },
    "classifier.skops": {},
    "regression.skops": {
        "format": "skops",
        "engine": "sklearn",
        "architecture": "LogisticRegression",
        "task": "tabular-classification",
        "inputs": (Tensor("x", "FP64", (-1, 4)),),
        "requirements": ("scikit-learn==1.9.1", "skops==0.16.0"),
    },
    "boosted.json": {
        "format": "xgboost",
        "engine": "xgboost",
        "task": "tabular-classification",
        "inputs": (Tensor("x", "FP32", (-1, 4)),),
        "requirements": ("xgboost==3.2.0",),
    },
    "boosted.pkl": {"format": "xgboost", "engine": "sklearn", "architecture": "XGBClassifier"},
    "light.txt": {
        "format": "lightgbm",
        "engine": "lightgbm",
        "task": "tabular-classification",
        "inputs": (Tensor("x", "FP64", (-1, 4)),),
        "outputs": (Tensor("y", "FP64", (-1,)),),
    },
    "light.pkl": {
        "engine": "sklearn",
        "architecture": "LGBMClassifier",
        "requirements": ("lightgbm", "scikit-learn==1.9.1"),
        "inputs": (Tensor("x", "FP64", (-1, 4)),),
    },
    "state.pt": {"format": "torch-state-dict", "engine": "none", "precision": "float32", "parameters": 15},
    "state-half.pth": {"format": "torch-state-dict", "precision": "float16", "parameters": 15},
    "state-legacy.bin": {"format": "torch-state-dict", "precision": "float32", "parameters": 15},
    "module.pt": {"format": "torch-module", "engine": "none", "architecture": "Sequential", "parameters": 15},
    "scripted.pt": {"format": "torchscript", "engine": "torch", "architecture": "Sequential", "parameters": 15},
    "exported.pt2": {
        "format": "torch-export",
        "engine": "torch",
        "parameters": 15,
        "inputs": (Tensor("input", "FP32", (-1, 4)),),
        "outputs": (Tensor("relu", "FP32", (-1, 3)),),
        "requirements": ("torch>=2.15.0",),
    },
    "dense.keras": {
        "format": "keras",
        "engine": "tensorflow",
        "architecture": "Sequential",
        "precision": "float32",
        "inputs": (Tensor("x", "FP32", (-1, 4)),),
        "requirements": ("keras==3.15.1",),
    },
    "doubler/saved_model.pb": {
        "format": "tensorflow-savedmodel",
        "engine": "tensorflow",
        "inputs": (Tensor("x", "FP32", (-1, 4)),),
        "outputs": (Tensor("y", "FP32", (-1, 4)),),
        "requirements": ("tensorflow==2.21.0",),
        "files": (
            "doubler/saved_model.pb",
            "doubler/fingerprint.pb",
            "doubler/variables/variables.data-00000-of-00001",
            "doubler/variables/variables.index",
        ),
    },
    "mlflow/MLmodel": {
        "format": "mlflow",
        "engine": "sklearn",
        "inputs": (Tensor("x", "FP32", (-1, 4)),),
        "outputs": (Tensor("y", "INT64", (-1,)),),
    },
}
EXPECTED["tiny-big-endian.gguf"] = EXPECTED["tiny.gguf"]
EXPECTED["boosted.ubj"] = EXPECTED["boosted.json"]
del EXPECTED["classifier.skops"]
PICKLES = ["classifier.pkl", "classifier-protocol-2.pkl", "classifier.joblib"]
PICKLES += [f"classifier.joblib.{packed}" for packed in ("z", "gz", "bz2", "xz", "lzma")]


@pytest.fixture(scope="module")
def found() -> dict[str, Finding]:
    return {one.files[0]: one for one in recognise(FIXTURES)}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_genuine_file_is_recognised_as_what_it_is(name: str, found: dict[str, Finding]) -> None:
    assert {field: getattr(found[name], field) for field in EXPECTED[name]} == EXPECTED[name]


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickled_pipeline_is_recognised_in_every_protocol_and_compression(
    name: str, found: dict[str, Finding]
) -> None:
    one = found[name]
    assert (one.format, one.engine, one.architecture) == ("sklearn", "sklearn", "Pipeline")
    assert one.task == "tabular-classification"
    assert one.requirements == ("scikit-learn==1.9.1",)
    assert one.inputs == (Tensor("x", "FP64", (-1, 4)),)
    assert "sklearn.preprocessing._data.StandardScaler" in one.details["classes"]


@pytest.mark.parametrize("name", ["forest.joblib", "forest-plain.joblib"])
def test_arrays_of_objects_that_joblib_nests_are_followed_to_the_end(name: str, found: dict[str, Finding]) -> None:
    assert found[name].architecture == "RandomForestClassifier"
    assert "sklearn.tree._tree.Tree" in found[name].details["classes"]
    assert "truncated-at" not in found[name].details


def test_the_best_format_comes_first_and_bare_weights_last(found: dict[str, Finding]) -> None:
    formats = [one.format for one in found.values()]
    assert formats[0] == "mlflow"
    assert formats[-1] == "torch-state-dict"
    assert formats.index("gguf") < formats.index("onnx") < formats.index("sklearn") < formats.index("safetensors")


def test_an_mlflow_folder_owns_the_model_file_in_it(found: dict[str, Finding]) -> None:
    assert "mlflow/model.skops" in found["mlflow/MLmodel"].files
    assert "mlflow/model.skops" not in found
    assert "scikit-learn==1.9.1" in found["mlflow/MLmodel"].requirements
    assert found["mlflow/MLmodel"].details["python"] == "3.11.7"


def test_onnx_details_name_opset_and_producer(found: dict[str, Finding]) -> None:
    assert found["linear.onnx"].details["opset"] == "17"
    assert found["linear.onnx"].details["producer"] == "fixtures"


@pytest.mark.parametrize(
    "name", ["state.pt", "dense.keras", "regression.skops", "exported.pt2", "tiny.gguf", "linear.onnx"]
)
def test_a_file_without_its_last_byte_is_refused_by_name(name: str, tmp_path: Path) -> None:
    data = (FIXTURES / name).read_bytes()
    (tmp_path / name).write_bytes(data[:-1])
    with pytest.raises(FormatError) as caught:
        recognise(tmp_path)
    assert caught.value.path == name
    assert 0 < caught.value.offset < len(data)
