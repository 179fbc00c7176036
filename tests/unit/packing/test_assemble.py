"""Building is a function of the files' bytes, and names, and of nothing else."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from installml.api.build import made
from installml.api.session import Session
from installml.config import load
from installml.digest import Digest
from installml.errors import RecipeInvalid, SourceChanged
from installml.packing.hashing import Hash, Keep, Opened
from installml.spec.media import MODEL_CONFIG, MODEL_MANIFEST
from installml.store.memory import MemoryStore
from installml.store.verified import read_verified
from installml.transfer import copy

RECIPE = """
name: acme/sentiment
version: 1.4.0+build.7
license: Apache-2.0
authors: [Ada]
files:
  exclude: ["*.log"]
hardware:
  - {name: cpu, cpu: {cores: 2, arch: [amd64]}, memory: 1GiB}
"""


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return load({"home": str(tmp_path / "home")}, {"HOME": str(tmp_path)}, folder=tmp_path).session()


def write_model(folder: Path, order: list[str] | None = None) -> Path:
    """Write the same model, its files in a given order."""
    content = {
        "installml.yaml": RECIPE.encode(),
        "model.safetensors": bytes(range(256)) * 64,
        "config.json": b"{}",
        "README.md": b"# Sentiment\n",
        "code/run.py": b"print()\n",
        "name with a space.txt": b"x",
        "empty": b"",
        "noise.log": b"not packaged",
    }
    for name in order or list(content):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content[name])
    (folder / "code/run.py").chmod(0o755)
    return folder


def test_the_same_files_give_the_same_digest_whatever_their_order_times_and_rights(
    tmp_path: Path, session: Session
) -> None:
    names = ["empty", "README.md", "code/run.py", "config.json", "model.safetensors", "installml.yaml"]
    names += ["noise.log", "name with a space.txt"]
    digests = set()
    for seed in range(4):
        random.Random(seed).shuffle(names)
        folder = write_model(tmp_path / f"copy-{seed}", names)
        for path in folder.rglob("*"):
            os.utime(path, (seed * 10**6, seed * 10**6))
            if path.is_file():
                path.chmod([0o600, 0o644, 0o755, 0o777][seed])
        digests.add(made(folder, session).root.digest)
    assert len(digests) == 1


def test_the_order_in_which_a_folder_is_listed_does_not_matter(
    tmp_path: Path, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_model(tmp_path / "model")
    before = made(folder, session).root.digest
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: reversed(list(real(path))))
    assert made(folder, session).root.digest == before


@pytest.mark.parametrize("change", ["content", "name"])
def test_a_change_that_matters_changes_the_digest(tmp_path: Path, session: Session, change: str) -> None:
    folder = write_model(tmp_path / "model")
    before = made(folder, session).root.digest
    match change:
        case "content":
            (folder / "config.json").write_bytes(b"{ }")
        case _:
            (folder / "config.json").rename(folder / "config2.json")
    assert made(folder, session).root.digest != before


def test_the_manifest_is_a_modelpack_artifact_with_raw_layers_in_the_order_of_roles(
    tmp_path: Path, session: Session
) -> None:
    package = made(write_model(tmp_path / "model"), session)
    manifest = package.manifest
    assert (manifest.artifact_type, manifest.config.media_type) == (MODEL_MANIFEST, MODEL_CONFIG)
    assert [layer.annotations["org.cncf.model.filepath"] for layer in manifest.layers] == [
        "code/run.py",
        "README.md",
        ".installml/hardware.json",
        ".installml/runtime.json",
        "config.json",
        "empty",
        "installml.yaml",
        "name with a space.txt",
        "model.safetensors",
    ]
    assert all(layer.media_type.endswith(".v1.raw") for layer in manifest.layers)
    weight = manifest.layers[-1]
    assert weight.digest == Digest.of(bytes(range(256)) * 64)
    metadata = json.loads(weight.annotations["org.cncf.model.file.metadata+json"])
    assert metadata == {
        "name": "model.safetensors", "mode": 0o644, "uid": 0, "gid": 0, "size": 16384,
        "mtime": "1970-01-01T00:00:00Z", "typeflag": 48,
    }  # fmt: skip


def test_the_config_names_each_layer_and_no_key_that_modelpack_does_not_know(tmp_path: Path, session: Session) -> None:
    package = made(write_model(tmp_path / "model"), session)
    config = json.loads(read_verified(package, package.manifest.config))
    assert set(config) == {"descriptor", "config", "modelfs"}
    assert config["modelfs"] == {"type": "layers", "diffIds": [str(layer.digest) for layer in package.manifest.layers]}
    assert config["descriptor"] == {
        "authors": ["Ada"], "licenses": ["Apache-2.0"], "name": "acme/sentiment", "title": "acme/sentiment",
        "version": "1.4.0+build.7",
    }  # fmt: skip


def test_the_version_becomes_a_tag_that_registries_take(tmp_path: Path, session: Session) -> None:
    assert made(write_model(tmp_path / "model"), session).tag == "1.4.0_build.7"


def test_a_package_is_copied_out_of_its_folder_byte_for_byte(tmp_path: Path, session: Session) -> None:
    package = made(write_model(tmp_path / "model"), session)
    memory = MemoryStore()
    copy(package, memory, package.root, tags=["1"])
    assert memory.resolve("1").digest == package.root.digest
    assert read_verified(memory, package.manifest.layers[-1]) == bytes(range(256)) * 64


def test_a_file_that_changes_between_hashing_and_sending_is_refused(tmp_path: Path, session: Session) -> None:
    folder = write_model(tmp_path / "model")
    package = made(folder, session)
    (folder / "model.safetensors").write_bytes(b"y" * 16384)
    memory = MemoryStore()
    with pytest.raises(SourceChanged, match=r"model\.safetensors changed while it was read"):
        copy(package, memory, package.root, tags=["1"])
    assert memory.tags() == []


def test_a_file_that_changes_while_it_is_hashed_is_refused(tmp_path: Path, session: Session) -> None:
    folder = write_model(tmp_path / "model")
    path = folder / "model.safetensors"

    class Meddling(Hash):
        def take(self, opened: Opened) -> Digest:
            if opened.path == "model.safetensors":
                opened.read(100)
                with path.open("ab") as file:
                    file.write(b"more")
            return super().take(opened)

    with pytest.raises(SourceChanged, match=r"model\.safetensors"):
        made(folder, session, Meddling())


def test_each_file_is_read_once_while_building_into_the_store(tmp_path: Path, session: Session) -> None:
    folder = write_model(tmp_path / "model")
    read: list[int] = []

    class Counting(Keep):
        def take(self, opened: Opened) -> Digest:
            read.append(opened.identity.size)
            return super().take(opened)

    package = made(folder, session, Counting(session.store.blobs))
    (folder / "model.safetensors").unlink()  # whatever is needed from now on is in the store
    local = session.store.repository("local", "acme/sentiment")
    copy(package, local, package.root, tags=["1"])
    assert sum(size for size in read if size == 16384) == 16384
    assert local.resolve("1").digest == package.root.digest


def test_the_creation_date_is_asked_for_or_comes_from_git_or_is_absent(tmp_path: Path, session: Session) -> None:
    from dataclasses import replace

    folder = write_model(tmp_path / "model")
    key = "org.opencontainers.image.created"
    assert key not in made(folder, session).manifest.annotations
    dated = made(folder, replace(session, source_date_epoch=86400))
    assert dated.manifest.annotations[key] == "1970-01-02T00:00:00Z"
    environment = {"GIT_COMMITTER_DATE": "2001-02-03T04:05:06Z", "GIT_AUTHOR_DATE": "2001-02-03T04:05:06Z"}
    git = ["git", "-C", str(folder), "-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    for args in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *args], check=True, env={**os.environ, **environment})
    assert made(folder, session).manifest.annotations[key] == "2001-02-03T04:05:06Z"
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(folder), str(clone)], check=True)
    assert made(clone, session).root.digest == made(folder, session).root.digest


def test_a_recipe_that_names_absent_files_lists_all_of_them(tmp_path: Path, session: Session) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "installml.yaml").write_text(
        "name: a\nversion: 1.0.0\n"
        "runtime: {engine: python, entrypoint: 'gone.py:Model', model: no.bin, example: e.json}\n"
    )
    with pytest.raises(RecipeInvalid) as caught:
        made(folder, session)
    assert len(caught.value.violations) == 3


def test_two_file_systems_give_the_same_digest(tmp_path: Path, session: Session) -> None:
    shared_memory = Path("/dev/shm")
    if not os.access(shared_memory, os.W_OK) or shared_memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to write to")
    here = made(write_model(tmp_path / "model"), session).root.digest
    other = shared_memory / f"installml-{os.getpid()}"
    try:
        assert made(write_model(other), session).root.digest == here
    finally:
        shutil.rmtree(other)
