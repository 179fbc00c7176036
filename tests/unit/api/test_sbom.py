"""``sbom`` as people use it: of a registry's package, of one on this machine, of a folder; into a file or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from installml.api.build import build
from installml.api.push import push
from installml.api.sbom import STANDARDS, sbom
from installml.api.session import Session
from installml.cli.options import SbomSpec
from installml.errors import NotFound, UsageError
from installml.registry_server import RunningRegistry
from tests.unit.api.kit import Asked, Heard
from tests.unit.attesting.kit import HASH_A, cyclonedx_errors, spdx_error

MORE = """\
authors: [Ada]
source: https://git.example.com/acme/sentiment
datasets: [imdb]
base: {ref: ghcr.io/acme/base:2.0, relation: adapter}
task: text-classification
architecture: transformer
runtime: {engine: onnxruntime, requirements: requirements.txt}
"""
LOCK = f"numpy==2.1.0 --hash=sha256:{HASH_A}\n".encode()
FILES = {"model.onnx": bytes(range(256)) * 64, "requirements.txt": LOCK}


@pytest.fixture
def described(write_model: Callable[..., Path]) -> Path:
    return write_model(more=MORE, files=FILES)


def test_a_folder_a_local_and_a_pushed_package_are_described_alike(
    described: Path, session: Session, registry: RunningRegistry, open_session: Callable[..., Session]
) -> None:
    reference = f"{registry.address}/acme/sentiment:1.0.0"
    build(described, session=session)
    push("acme/sentiment:1.0.0", reference, session=session)
    documents = [
        sbom(str(described), session=session).document,
        sbom("acme/sentiment:1.0.0", session=session).document,
        sbom(reference, session=open_session("elsewhere")).document,
    ]
    for document in documents:
        assert cyclonedx_errors(document) == []
        model = document["metadata"]["component"]
        assert model["modelCard"]["modelParameters"]["modelArchitecture"] == "transformer"
        assert model["pedigree"]["ancestors"][0]["version"] == "2.0"
        assert "pkg:pypi/numpy@2.1.0" in [component["bom-ref"] for component in document["components"]]
    assert len({document["serialNumber"] for document in documents}) == 1
    assert f"repository_url={registry.address}" in documents[2]["metadata"]["component"]["purl"]


def test_of_a_remote_package_no_weights_are_read(
    described: Path, session: Session, registry: RunningRegistry, open_session: Callable[..., Session]
) -> None:
    reference = f"{registry.address}/acme/sentiment:1.0.0"
    pushed = push(described, tag=reference, session=session)
    with Asked(registry) as asked:
        result = sbom(reference, session=open_session("elsewhere"))
    weights = next(c for c in result.document["components"] if c["name"] == "model.onnx")["hashes"][0]["content"]
    assert pushed.digest == result.digest
    assert asked.blobs
    assert f"sha256:{weights}" not in asked.blobs


@pytest.mark.parametrize("spec", STANDARDS)
def test_every_standard_is_valid_by_its_own_check(spec: str, described: Path, session: Session) -> None:
    result = sbom(str(described), spec=spec, session=session)
    if spec == "spdx":
        assert spdx_error(result.document) == ""
    else:
        assert cyclonedx_errors(result.document, result.document["specVersion"]) == []


def test_the_command_line_offers_what_there_is() -> None:
    assert [spec.value for spec in SbomSpec] == list(STANDARDS)


def test_the_time_is_the_one_that_was_asked_for(described: Path, open_session: Callable[..., Session]) -> None:
    session = open_session(source_date_epoch=1_700_000_000)
    assert sbom(str(described), session=session).document["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"


def test_of_a_package_without_a_date_the_time_is_now(described: Path, open_session: Callable[..., Session]) -> None:
    session = open_session(clock=lambda: 1_700_000_000.9)
    assert sbom(str(described), session=session).document["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"


def test_the_same_package_makes_the_same_file(
    described: Path, open_session: Callable[..., Session], tmp_path: Path
) -> None:
    written = []
    for home in ("one", "two"):
        path = tmp_path / f"{home}.json"
        result = sbom(str(described), output=str(path), session=open_session(home, source_date_epoch=0))
        assert (result.output, result.document) == (str(path), {})
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert cyclonedx_errors(json.loads(written[0])) == []


def test_a_file_that_is_there_is_replaced(described: Path, session: Session, tmp_path: Path) -> None:
    path = tmp_path / "bom.json"
    path.write_text("old")
    sbom(str(described), output=str(path), session=session)
    assert json.loads(path.read_text())["bomFormat"] == "CycloneDX"


def test_a_folder_is_no_file_to_write(described: Path, session: Session, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a file"):
        sbom(str(described), output=str(tmp_path), session=session)


def test_what_could_not_be_read_is_said(write_model: Callable[..., Path], session: Session, heard: Heard) -> None:
    folder = write_model(files={"weights.bin": b"w", "README.md": b"---\na: [\n---\n"})
    result = sbom(str(folder), session=session)
    assert len(result.notices) == 1
    assert "README.md" in result.notices[0]
    assert result.document["properties"][0]["name"] == "installml:gap"


def test_an_unknown_standard_is_refused_before_anything_is_asked(session: Session) -> None:
    with pytest.raises(UsageError, match="swid"):
        sbom("acme/nothing", spec="swid", session=session)


def test_a_package_that_nobody_has_is_not_found(session: Session) -> None:
    with pytest.raises(NotFound):
        sbom("acme/nothing", session=session)


def test_a_folder_that_is_not_there_is_not_made(model: Path, session: Session, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        sbom(str(model), output=str(tmp_path / "mistyped" / "bom.json"), session=session)
    assert not (tmp_path / "mistyped").exists()
