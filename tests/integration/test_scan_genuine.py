"""Nothing that real libraries write is blocked, and a payload beside it always is."""

from __future__ import annotations

import pickle
import subprocess
import zipfile
from pathlib import Path

import pytest

from installml.scanning.content import BytesContent, folder_files
from installml.scanning.finding import Report, Severity
from installml.scanning.imports import Verdict, judge
from installml.scanning.scanners import SCANNERS
from installml.scanning.walk import scan_files
from tests.integration.test_serve_engines import TABULAR, environment
from tests.services.programs import cache
from tests.unit.scanning.malicious import EVIL, Runs

SCRIPT = Path(__file__).with_name("scan_models.py")
#: What a folder must have at least, so that an empty one does not count as a pass.
FILES = {"estimators": 300, "pipelines": 80, "boosters": 20, "tables": 14, "arrays": 20}

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "KERAS_BACKEND": "torch", "HF_HUB_OFFLINE": "1"}

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def tabular() -> Path:
    return environment(*TABULAR)


def written(kind: str, python: Path, folder: Path) -> Report:
    """Have the libraries write their files, and scan them."""
    subprocess.run([str(python), str(SCRIPT), kind, str(folder)], check=True, cwd=folder, env=ENVIRONMENT)
    return scan_files(folder_files(folder), SCANNERS)


def blocked(report: Report) -> list[tuple[str, str]]:
    return [(finding.path, finding.detail) for finding in report.at_least(Severity.high)]


@pytest.mark.parametrize("kind", FILES)
def test_no_file_of_a_real_library_is_blocked(kind: str, tabular: Path, tmp_path: Path) -> None:
    report = written(kind, tabular, tmp_path)
    assert len(report.files) >= FILES[kind]
    assert blocked(report) == []


@pytest.mark.parametrize("kind", ["torches", "trainers", "layers"])
def test_no_file_of_torch_transformers_and_keras_is_blocked(kind: str, tmp_path: Path) -> None:
    python = cache() / "engines" / "torch" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no environment with torch: uv venv {python.parents[1]} && uv pip install --python {python} torch")
    needs = {"trainers": "transformers, accelerate, torchvision", "layers": "keras, h5py"}.get(kind, "torch")
    if subprocess.run([str(python), "-c", f"import {needs}"], capture_output=True, env=ENVIRONMENT).returncode:
        pytest.skip(f"the environment with torch lacks one of {needs}")
    report = written(kind, python, tmp_path)
    assert len(report.files) >= 6
    assert blocked(report) == []


def test_every_estimator_of_scikit_learn_is_allowed(tabular: Path) -> None:
    code = "from sklearn.utils import all_estimators\nfor n, k in all_estimators(): print(k.__module__, n)"
    run = subprocess.run([str(tabular), "-W", "ignore", "-c", code], check=True, capture_output=True, text=True)
    names = [tuple(line.split()) for line in run.stdout.splitlines()]
    assert len(names) > 150
    assert [name for name in names if judge(*name) is not Verdict.allowed] == []


def test_a_payload_appended_to_a_genuine_model_is_found(tabular: Path, tmp_path: Path) -> None:
    written("arrays", tabular, tmp_path)
    for path in sorted(tmp_path.glob("*.pkl")):
        report = scan_files([(path.name, BytesContent(path.read_bytes() + EVIL))], SCANNERS)
        assert blocked(report), path.name


def test_a_payload_added_to_a_genuine_archive_is_found(tabular: Path, tmp_path: Path) -> None:
    written("arrays", tabular, tmp_path)
    with zipfile.ZipFile(tmp_path / "sparse.npz", "a") as archive:
        archive.writestr("extra", pickle.dumps(Runs()))
    assert ("sparse.npz", "imports posix.system") in blocked(scan_files(folder_files(tmp_path), SCANNERS))
