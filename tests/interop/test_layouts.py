"""OCI layout folders, ours and theirs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from installml.api.copy import copy, export
from tests.interop.ground import HARD, TAG, Ground, Packages, Programs, installed, session_at, tree

pytestmark = pytest.mark.integration
Observed = Callable[[str, str, str], None]


@pytest.fixture
def layout(built: Packages, tmp_path: Path) -> Path:
    """What `installml export` writes."""
    folder = tmp_path / "layout"
    result = export(f"{HARD}:{TAG}", f"oci-layout:{folder}:{TAG}", session=built.session)
    assert result.digest == built.digests[HARD]
    return folder


def test_our_export_is_read_by_every_tool(
    layout: Path, built: Packages, programs: Programs, tmp_path: Path, observed: Observed
) -> None:
    ours = built.session.store.blobs.path(built.digests[HARD]).read_bytes()
    shown = {
        ("oras", "manifest fetch --oci-layout"): ("manifest", "fetch", "--oci-layout", f"{layout}:{TAG}"),
        ("skopeo", "inspect --raw oci:"): ("inspect", "--raw", f"oci:{layout}:{TAG}"),
        ("regctl", "manifest get ocidir:"): ("manifest", "get", "--format", "raw-body", f"ocidir://{layout}:{TAG}"),
    }
    for (tool, operation), arguments in shown.items():
        assert programs.run(tool, *arguments) == ours
        observed(tool, operation, "the manifest's own bytes")
    programs.run("oras", "pull", "--oci-layout", "--output", tmp_path / "out", f"{layout}:{TAG}")
    assert tree(tmp_path / "out") == built.trees[HARD]
    observed("oras", "pull --oci-layout", "all files, byte-identical")


def test_our_export_is_pushed_by_crane(here: Ground, layout: Path, programs: Programs, observed: Observed) -> None:
    target = f"{here.address}/crane/pushed:{TAG}"
    programs.run("crane", "push", layout, target)
    assert programs.run("crane", "digest", target).decode().strip() == str(here.packages.digests[HARD])
    observed("crane", "push of an exported layout", "same digest")


def test_our_export_comes_back(layout: Path, built: Packages, tmp_path: Path, observed: Observed) -> None:
    session = session_at(tmp_path)
    result = copy(f"oci-layout:{layout}", "acme/again", session=session)
    assert result.digest == built.digests[HARD]
    assert tree(installed(f"acme/again:{TAG}", session).path) == built.trees[HARD]
    observed("installml", "export, copy oci-layout:", "same digest")


def test_an_export_by_digest_comes_back_without_a_tag(built: Packages, tmp_path: Path) -> None:
    session, digest = session_at(tmp_path), built.digests[HARD]
    export(f"{HARD}@{digest}", str(tmp_path / "layout"), session=built.session)
    copy(f"oci-layout:{tmp_path / 'layout'}", "acme/again", session=session)
    assert tree(installed(f"acme/again@{digest}", session).path) == built.trees[HARD]


Writer = Callable[[Ground, Programs, Path], bytes]
WRITERS: dict[tuple[str, str], Writer] = {
    ("oras", "cp --to-oci-layout"): lambda here, programs, folder: programs.run(
        "oras", "cp", "--from-plain-http", "--to-oci-layout", here.reference(), f"{folder}:{TAG}"
    ),
    ("skopeo", "copy to oci:"): lambda here, programs, folder: programs.skopeo(
        "copy", f"docker://{here.reference()}", f"oci:{folder}:{TAG}"
    ),
    ("skopeo", "copy to oci: without a tag"): lambda here, programs, folder: programs.skopeo(
        "copy", f"docker://{here.reference()}", f"oci:{folder}"
    ),
    ("crane", "pull --format oci"): lambda here, programs, folder: programs.run(
        "crane", "pull", "--format", "oci", here.reference(), folder
    ),
    ("regctl", "image copy to ocidir:"): lambda here, programs, folder: programs.regctl(
        here.address, "image", "copy", here.reference(), f"ocidir://{folder}:{TAG}"
    ),
}


@pytest.mark.parametrize(("tool", "operation"), list(WRITERS))
def test_layouts_of_every_tool_are_copied_in(
    tool: str, operation: str, here: Ground, programs: Programs, tmp_path: Path, observed: Observed
) -> None:
    folder = tmp_path / "theirs"
    WRITERS[tool, operation](here, programs, folder)
    target = f"{here.address}/from/{tool}:{TAG}"
    result = copy(f"oci-layout:{folder}", target, session=session_at(tmp_path))
    assert result.digest == here.packages.digests[HARD]
    assert tree(installed(target, session_at(tmp_path)).path) == here.packages.trees[HARD]
    observed(f"{tool}, installml", f"{operation}; copy oci-layout:", "same digest")
