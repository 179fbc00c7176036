"""Packages that we built and pushed, as other people's tools see them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from installml.spec.media import MODEL_CONFIG
from tests.interop.ground import HARD, LOCKED, TAG, Ground, Programs, installed, session_at, tree

pytestmark = pytest.mark.integration
Observed = Callable[[str, str, str], None]

ALL = "all files, byte-identical"
SAME_DIGEST = "same digest"


def found(folder: Path, here: Ground, name: str = HARD) -> str:
    """Return in words what a tool laid out, after checking its bytes."""
    assert tree(folder) == here.packages.trees[name]
    return ALL


def test_installml_installs_it_from_every_registry(here: Ground, tmp_path: Path, observed: Observed) -> None:
    for name in (HARD, LOCKED):
        result = installed(here.reference(name), session_at(tmp_path))
        assert result.digest == here.packages.digests[name]
        observed("installml", f"install {name}", found(Path(result.path), here, name))


@pytest.mark.parametrize("name", [HARD, LOCKED])
def test_oras_pulls_every_file(name: str, here: Ground, programs: Programs, tmp_path: Path, observed: Observed) -> None:
    programs.run("oras", "pull", "--plain-http", "--output", tmp_path / "out", here.reference(name))
    observed("oras", f"pull {name}", found(tmp_path / "out", here, name))


ORAS_PY = "import sys, oras.client; oras.client.OrasClient(insecure=True).pull(target=sys.argv[1], outdir=sys.argv[2])"


@pytest.mark.parametrize("name", [HARD, LOCKED])
def test_oras_py_pulls_every_file(
    name: str, here: Ground, programs: Programs, tmp_path: Path, observed: Observed
) -> None:
    programs.run("oras-py", "-c", ORAS_PY, here.reference(name), tmp_path / "out")
    observed("oras-py", f"pull {name}", found(tmp_path / "out", here, name))


@pytest.mark.parametrize("name", [HARD, LOCKED])
def test_modctl_extracts_every_file(
    name: str, here: Ground, programs: Programs, tmp_path: Path, observed: Observed
) -> None:
    reference = here.reference(name)
    programs.modctl("pull", "--plain-http", reference)
    programs.modctl("extract", reference, "--output", tmp_path / "stored")
    observed("modctl", f"pull, extract {name}", found(tmp_path / "stored", here, name))
    programs.modctl("pull", "--plain-http", "--extract-from-remote", "--extract-dir", tmp_path / "direct", reference)
    observed("modctl", f"pull --extract-from-remote {name}", found(tmp_path / "direct", here, name))


def test_modctl_inspects_it(here: Ground, programs: Programs, observed: Observed) -> None:
    told = json.loads(programs.modctl("inspect", "--remote", "--plain-http", here.reference()))
    assert {layer["Filepath"] for layer in told["Layers"]} == set(here.packages.trees[HARD])
    assert told["Name"] == HARD
    own = told["Digest"] == str(here.packages.digests[HARD])
    observed("modctl", "inspect", f"name and files; the digest it shows is {'ours' if own else 'of its own encoding'}")
    config = json.loads(programs.modctl("inspect", "--remote", "--plain-http", "--config", here.reference()))
    assert config["descriptor"]["version"] == TAG
    observed("modctl", "inspect --config", "the ModelPack configuration")


def test_modctl_pushes_on_what_it_pulled(here: Ground, programs: Programs, observed: Observed) -> None:
    copy = f"{here.address}/modctl/hard:{TAG}"
    programs.modctl("pull", "--plain-http", here.reference())
    programs.modctl("tag", here.reference(), copy)
    programs.modctl("push", "--plain-http", copy)
    assert digest_of(copy, programs) == str(here.packages.digests[HARD])
    observed("modctl", "pull, tag, push", SAME_DIGEST)


def digest_of(reference: str, programs: Programs) -> str:
    return programs.run("crane", "digest", reference).decode().strip()


def manifest_bytes(here: Ground) -> bytes:
    session = here.packages.session
    return session.store.blobs.path(here.packages.digests[HARD]).read_bytes()


def test_every_tool_shows_the_manifest_as_it_is(here: Ground, programs: Programs, observed: Observed) -> None:
    reference, ours = here.reference(), manifest_bytes(here)
    shown = {
        ("oras", "manifest fetch"): programs.run("oras", "manifest", "fetch", "--plain-http", reference),
        ("crane", "manifest"): programs.run("crane", "manifest", reference),
        ("skopeo", "inspect --raw"): programs.skopeo("inspect", "--raw", f"docker://{reference}"),
        ("regctl", "manifest get"): programs.regctl(here.address, "manifest", "get", "--format", "raw-body", reference),
    }
    for (tool, operation), data in shown.items():
        assert data == ours, (tool, data)
        observed(tool, operation, "the manifest's own bytes")


def test_crane_validates_it(here: Ground, programs: Programs, observed: Observed) -> None:
    assert b"PASS" in programs.run("crane", "validate", "--remote", here.reference())
    observed("crane", "validate", "valid")
    assert programs.run("crane", "ls", f"{here.address}/{HARD}").decode().split() == [TAG]
    observed("crane", "ls", "the tags")


def test_commands_for_container_images_say_that_it_is_none(
    here: Ground, programs: Programs, observed: Observed
) -> None:
    refused = programs.attempt("skopeo", "inspect", "--tls-verify=false", f"docker://{here.reference()}")
    assert refused.returncode
    assert MODEL_CONFIG.encode() in refused.stderr
    observed("skopeo", "inspect", "refused: not a container image (use --raw)")
    programs.regctl(here.address, "version")
    refused = programs.attempt("regctl", "image", "inspect", here.reference())
    assert refused.returncode
    assert MODEL_CONFIG.encode() in refused.stderr
    observed("regctl", "image inspect", "refused: not a container image (use artifact get --config)")


def test_regctl_gets_files_and_configuration(
    here: Ground, programs: Programs, tmp_path: Path, observed: Observed
) -> None:
    readme = programs.regctl(here.address, "artifact", "get", here.reference(), "--file", "README.md")
    assert readme == here.packages.trees[HARD]["README.md"]
    observed("regctl", "artifact get --file", "the file")
    config = json.loads(programs.run("regctl", "artifact", "get", "--config", here.reference()))
    assert config["descriptor"]["name"] == HARD
    observed("regctl", "artifact get --config", "the ModelPack configuration")
    (tmp_path / "out").mkdir()
    programs.run("regctl", "artifact", "get", here.reference(), "--output", tmp_path / "out")
    observed("regctl", "artifact get --output", found(tmp_path / "out", here))


def copiers(here: Ground, there: str, programs: Programs) -> dict[tuple[str, str], Callable[[str], bytes]]:
    """Return every tool's way to copy between registries, as a function of where to."""
    source = here.reference()
    return {
        ("oras", "cp"): lambda to: programs.run("oras", "cp", "--from-plain-http", "--to-plain-http", source, to),
        ("skopeo", "copy"): lambda to: programs.skopeo("copy", f"docker://{source}", f"docker://{to}"),
        ("crane", "copy"): lambda to: programs.run("crane", "copy", source, to),
        ("regctl", "image copy"): lambda to: (
            programs.regctl(here.address, "version"),
            programs.regctl(there, "image", "copy", source, to),
        )[1],
    }


def test_copies_by_other_tools_keep_the_digest_and_install(
    here: Ground, other: Ground, programs: Programs, tmp_path: Path, observed: Observed
) -> None:
    for (tool, operation), copy in copiers(here, other.address, programs).items():
        target = f"{other.address}/{tool}/from-{here.kind.split()[0]}:{TAG}"
        copy(target)
        result = installed(target, session_at(tmp_path))
        assert result.digest == here.packages.digests[HARD]
        assert tree(result.path) == here.packages.trees[HARD]
        observed(tool, f"{operation} to {other.kind}", SAME_DIGEST)
