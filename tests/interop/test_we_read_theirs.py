"""What other people's tools build and push, as we see it."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from installml.api.info import info
from installml.api.install import LayersUnsupported
from installml.api.pull import pull
from installml.spec.package import NotAPackage
from tests.interop.ground import FILES, SCRIPT, TAG, Ground, Programs, installed, runnable, session_at, tree, write

pytestmark = pytest.mark.integration
Observed = Callable[[str, str, str], None]

MODELFILE = """NAME theirs
ARCH transformer
FORMAT safetensors
CONFIG *.json
CONFIG *.txt
CONFIG .hidden/notes.txt
MODEL weights/*.safetensors
CODE src/deep/er/*.py
CODE run.sh
DOC README.md
DOC LICENSE
"""


def modctl_built(here: Ground, programs: Programs, folder: Path, *flags: str) -> str:
    """Build the difficult files with modctl, push them, and return the reference."""
    reference = f"{here.address}/theirs/model:{TAG}"
    write(folder, FILES)
    modelfile = folder.parent / "Modelfile"
    modelfile.write_text(MODELFILE)
    programs.modctl("build", *flags, "--modelfile", modelfile, "--target", reference, folder)
    programs.modctl("push", "--plain-http", reference)
    return reference


def test_what_modctl_builds_raw_is_installed(
    here: Ground, programs: Programs, tmp_path: Path, observed: Observed
) -> None:
    reference = modctl_built(here, programs, tmp_path / "model", "--raw")
    result = installed(reference, session_at(tmp_path))
    assert (result.name, result.version) == ("theirs/model", TAG)
    assert tree(result.path) == FILES
    assert runnable(result.path) == {SCRIPT}
    observed("modctl, installml", "build --raw, push; install", "all files, byte-identical; the executable bit is kept")


def test_what_modctl_builds_as_tar_is_refused_with_what_to_type(
    here: Ground, programs: Programs, tmp_path: Path, observed: Observed
) -> None:
    reference = modctl_built(here, programs, tmp_path / "model", "--raw=false")
    session = session_at(tmp_path)
    with pytest.raises(LayersUnsupported, match="packed as tar") as refused:
        installed(reference, session)
    assert refused.value.exit_code == 2
    assert "modctl build --raw" in refused.value.hint
    assert not (session.home / "blobs").exists()
    observed("modctl, installml", "build --raw=false, push; install", "refused: layers-unsupported, exit code 2")


def test_an_artifact_of_oras_is_refused_as_no_package(
    here: Ground, programs: Programs, tmp_path: Path, observed: Observed
) -> None:
    reference = f"{here.address}/generic/artifact:{TAG}"
    programs.run("oras", "push", "--plain-http", reference, "README.md", cwd=write(tmp_path / "model", FILES))
    session = session_at(tmp_path)
    for verb in (
        installed,
        lambda name, session: pull(name, session=session),
        lambda n, session: info(n, session=session),
    ):
        with pytest.raises(NotAPackage, match="is not a model package but application/") as refused:
            verb(reference, session)
        assert refused.value.exit_code == 2
    assert not (session.home / "blobs").exists()
    observed("oras, installml", "push; install", "refused: not-a-model-package, exit code 2")


def test_a_container_image_is_refused_and_called_by_its_name(
    here: Ground, programs: Programs, tmp_path: Path, observed: Observed
) -> None:
    reference = f"{here.address}/an/image:{TAG}"
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as archive:
        archive.add(write(tmp_path / "model", FILES) / "README.md", "README.md")
    programs.run("crane", "append", "--oci-empty-base", "--new_layer", layer, "--new_tag", reference)
    with pytest.raises(NotAPackage) as refused:
        installed(reference, session_at(tmp_path))
    assert refused.value.exit_code == 2
    assert "container image" in refused.value.hint
    observed("crane, installml", "append; install", "refused: not-a-model-package, exit code 2")
