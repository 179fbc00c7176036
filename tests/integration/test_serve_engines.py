"""Every engine answers what its own library answers, from an environment that has the library and not InstallML."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from installml.serving import check, local
from installml.serving.errors import RequestInvalid, WorkerFailed
from installml.serving.once import infer_once
from installml.serving.plan import ServePlan, plan
from installml.spec.runtime import parse_runtime
from tests.services.programs import cache

SCRIPT = Path(__file__).with_name("serve_models.py")
TABULAR = (
    "numpy", "pandas", "scikit-learn", "skops", "onnxruntime", "onnx", "skl2onnx", "lightgbm",
    "xgboost-cpu; sys_platform == 'linux'", "xgboost; sys_platform != 'linux'",
)  # fmt: skip
SERVED = (
    "sklearn-joblib", "sklearn-named", "sklearn-skops", "sklearn-columns", "sklearn-transformer", "onnx-classifier",
    "onnx-datatypes", "xgboost-json", "xgboost-ubj", "lightgbm-text",
)  # fmt: skip

pytestmark = pytest.mark.integration


def _uv(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "uv", "--quiet", *arguments], check=True, capture_output=True, text=True)


def environment(*requirements: str) -> Path:
    """Return the interpreter of a cached environment with `requirements`."""
    wishes = "\n".join((*requirements, sys.version))
    folder = cache() / "engines" / hashlib.sha256(wishes.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    python, finished = folder / "bin" / "python", folder / ".finished"
    # Beside the folder: uv waits for a lock of its own on FOLDER/.lock.
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            try:
                _uv("venv", "--allow-existing", "--python", sys.executable, str(folder))
                # The worker writes no bytecode: without it, every start would compile the libraries again.
                _uv("pip", "install", "--compile-bytecode", "--python", str(python), *requirements)
            except subprocess.CalledProcessError as error:
                _cannot(f"the engines' environment cannot be made: {error.stderr[-300:]}")
            finished.touch()
    return python


def _cannot(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def tabular() -> Path:
    return environment(*TABULAR)


@pytest.fixture(scope="session")
def torch() -> Path:
    # The package index has only the CUDA build: 2.5 GB of wheels, 6 GB installed. Made by hand where it is wanted.
    python = cache() / "engines" / "torch" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no environment with torch: uv venv {python.parents[1]} && uv pip install --python {python} torch")
    return python


def made(kind: str, python: Path, folder: Path) -> ServePlan:
    """Train the model of that kind with `python` and return the plan to serve it."""
    subprocess.run([str(python), str(SCRIPT), kind, str(folder)], check=True, cwd=folder)
    runtime = parse_runtime((folder / "about.json").read_bytes(), "about.json")
    return plan(
        name=f"acme/{kind}", version="1.0.0", path=str(folder), runtime=runtime, python=str(python),
        environment={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def answers_as_its_library(kind: str, python: Path, tmp_path: Path) -> None:
    wishes = made(kind, python, tmp_path)
    request, expected = (json.loads((tmp_path / name).read_bytes()) for name in ("request.json", "expected.json"))
    with local.start(wishes, state=tmp_path / "state") as server:
        answer = server.infer(request)
        first = expected["outputs"][-1]["name"]
        subset = server.infer(request | {"outputs": [{"name": first}]})
    assert check.compare(answer, expected, 1e-6) == []
    assert [item["name"] for item in answer["outputs"]] == [item["name"] for item in expected["outputs"]]
    assert [item["name"] for item in subset["outputs"]] == [first]


@pytest.mark.parametrize("kind", SERVED)
def test_a_served_model_answers_as_its_own_library(kind: str, tabular: Path, tmp_path: Path) -> None:
    answers_as_its_library(kind, tabular, tmp_path)


@pytest.mark.parametrize("kind", ["torch-script", "torch-export"])
def test_a_served_torch_program_answers_as_torch(kind: str, torch: Path, tmp_path: Path) -> None:
    answers_as_its_library(kind, torch, tmp_path)


def test_asking_once_gives_the_server_s_answer_without_a_server(tabular: Path, tmp_path: Path) -> None:
    wishes = made("onnx-classifier", tabular, tmp_path)
    request, expected = (json.loads((tmp_path / name).read_bytes()) for name in ("request.json", "expected.json"))
    answer = infer_once(wishes, lambda _: request, log=tmp_path / "log")
    assert check.compare(answer, expected, 1e-6) == []


def test_onnx_tells_its_inputs_and_outputs_where_the_package_says_nothing(tabular: Path, tmp_path: Path) -> None:
    with local.start(made("onnx-classifier", tabular, tmp_path), state=tmp_path / "state") as server:
        said = server.record.client.metadata(server.name)
    assert said["inputs"] == [{"name": "X", "datatype": "FP32", "shape": [-1, 4]}]
    assert [item["name"] for item in said["outputs"]] == ["output_label", "output_probability"]


@pytest.mark.parametrize("kind", ["onnx-classifier", "xgboost-json", "lightgbm-text"])
def test_a_row_with_too_few_features_is_the_caller_s_mistake(kind: str, tabular: Path, tmp_path: Path) -> None:
    wishes = made(kind, tabular, tmp_path)
    request = json.loads((tmp_path / "request.json").read_bytes())
    request["inputs"][0] |= {"shape": [1, 3], "data": [1.0, 2.0, 3.0]}
    with pytest.raises(RequestInvalid, match=r"must have shape \[-1, 4\], not \[1, 3\]"):
        infer_once(wishes, lambda _: request, log=tmp_path / "log")


def test_a_missing_column_is_named(tabular: Path, tmp_path: Path) -> None:
    wishes = made("sklearn-columns", tabular, tmp_path)
    request = json.loads((tmp_path / "request.json").read_bytes())
    request["inputs"][1]["name"] = "color"
    with pytest.raises(RequestInvalid, match="input 'colour' is missing"):
        infer_once(wishes, lambda _: request, log=tmp_path / "log")


def test_a_skops_file_with_types_nobody_trusts_is_refused_and_the_types_are_listed(
    tabular: Path, tmp_path: Path
) -> None:
    wishes = made("sklearn-untrusted", tabular, tmp_path)
    with pytest.raises(WorkerFailed, match=r"types that are not trusted: numpy\.linalg\.\S*norm"):
        infer_once(wishes, lambda _: {"inputs": []}, log=tmp_path / "log")


def test_weights_without_a_program_are_refused_with_what_to_do(torch: Path, tmp_path: Path) -> None:
    wishes = made("torch-weights", torch, tmp_path)
    with pytest.raises(WorkerFailed, match="holds weights and no program: export the model"):
        infer_once(wishes, lambda _: {"inputs": []}, log=tmp_path / "log")


def test_an_environment_without_the_engine_s_library_is_named_with_the_cure(tabular: Path, tmp_path: Path) -> None:
    made("onnx-classifier", tabular, tmp_path)
    bare = environment("numpy")
    runtime = parse_runtime((tmp_path / "about.json").read_bytes(), "about.json")
    wishes = plan(name="bare", version="1", path=str(tmp_path), runtime=runtime, python=str(bare))
    with pytest.raises(WorkerFailed, match="lacks the module onnxruntime") as caught:
        infer_once(wishes, lambda _: {"inputs": []}, log=tmp_path / "log")
    assert "runtime.requirements" in caught.value.hint


def test_a_file_that_is_no_model_fails_with_the_library_s_words(tabular: Path, tmp_path: Path) -> None:
    wishes = made("onnx-classifier", tabular, tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(WorkerFailed, match="does not load: InvalidProtobuf"):
        infer_once(wishes, lambda _: {"inputs": []}, log=tmp_path / "log")
