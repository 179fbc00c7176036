"""A model is tested, served and asked by command lines, each a process of its own, as a person would type them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import installml
from tests.unsigned import UNSIGNED

pytestmark = pytest.mark.integration

CODE = '''\
class Model:
    """Doubles."""

    def load(self, path):
        return self

    def predict(self, inputs):
        return {"y": inputs["x"] * 2}
'''

RECIPE = """\
name: acme/double
version: 1.0.0
runtime:
  engine: python
  entrypoint: model.py:Model
  example: example.json
  expected: expected.json
  tolerance: 0.1
  signature:
    inputs: [{name: x, datatype: FP32, shape: [-1]}]
    outputs: [{name: y, datatype: FP32, shape: [-1]}]
"""


def numbers(*data: float) -> str:
    return json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [len(data)], "data": data}]})


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    code = str(Path(installml.__file__).parent.parent)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    return kept | {"INSTALLML_POLICY": UNSIGNED, "INSTALLML_HOME": str(home), "PYTHONPATH": code}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.py").write_text(CODE)
    (folder / "installml.yaml").write_text(RECIPE)
    (folder / "example.json").write_text(numbers(1, 2, 3))
    output = {"name": "y", "datatype": "FP32", "shape": [3], "data": [2, 4, 6]}
    (folder / "expected.json").write_text(json.dumps({"outputs": [output]}))
    return folder


@pytest.fixture(scope="module")
def run(environ: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*words: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "installml", *map(str, words)]
        return subprocess.run(command, env=environ, input=stdin, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def served(run: Callable[..., Any], model: Path) -> Iterator[dict[str, Any]]:
    done = run("serve", model, "--detach", "--format", "json")
    assert done.returncode == 0, done.stderr
    yield json.loads(done.stdout)
    run("stop", "--all")


def test_a_model_that_answers_as_recorded_passes(run: Callable[..., Any], model: Path) -> None:
    done = run("test", model)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "acme/double 1.0.0 passed: the answer is the recorded one\n"


def test_a_model_that_answers_otherwise_is_exit_7(run: Callable[..., Any], model: Path, tmp_path: Path) -> None:
    for file in model.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.py").write_text(CODE.replace("* 2", "* 3"))
    done = run("test", tmp_path)
    assert done.returncode == 7
    assert "failed: the answer is not the recorded one" in done.stdout


def test_a_folder_answers_its_own_example(run: Callable[..., Any], model: Path) -> None:
    assert run("predict", model).stdout == "y FP32 [3]: 2, 4, 6\n"


def test_values_by_name_are_taken_from_standard_input(run: Callable[..., Any], model: Path) -> None:
    done = run("predict", model, "--input", "-", "--format", "json", stdin='{"x": [5, 6]}')
    assert json.loads(done.stdout)["outputs"][0]["data"] == [10.0, 12.0]


def test_a_whole_request_is_taken_from_a_file(run: Callable[..., Any], model: Path, tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text(numbers(7))
    assert run("predict", model, "-i", tmp_path / "request.json").stdout == "y FP32 [1]: 14\n"


def test_a_detached_server_is_listed_answers_has_a_log_and_stops(
    run: Callable[..., Any], served: dict[str, Any], tmp_path: Path
) -> None:
    with urllib.request.urlopen(f"{served['url']}/v2/models/double") as answer:
        assert json.load(answer)["name"] == "double"
    assert [server["id"] for server in json.loads(run("ps", "--format", "json").stdout)["servers"]] == [served["id"]]
    asked = json.loads(run("predict", "double", "-i", "-", "--format", "json", stdin='{"x": [4]}').stdout)
    assert (asked["outputs"][0]["data"], asked["served"]) == ([8.0], served["url"])
    assert "double is ready" in run("logs", "double").stdout
    assert run("stop", "double").stdout == f"stopped {served['id']}\n"
    assert json.loads(run("ps", "--format", "json").stdout)["servers"] == []


def test_a_wrong_input_is_named(run: Callable[..., Any], served: dict[str, Any]) -> None:
    done = run("predict", "double", "-i", "-", "--format", "json", stdin='{"z": [4]}')
    assert done.returncode == 2
    assert "z" in json.loads(done.stdout)["message"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_server_in_the_foreground_ends_quietly(
    environ: dict[str, str], model: Path, number: signal.Signals, code: int
) -> None:
    command = [sys.executable, "-m", "installml", "serve", str(model), "--format", "json"]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["kind"] == "RunningServer"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (code, "", "")
