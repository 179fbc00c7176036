"""What goes into a package, what it is taken for, and what is refused."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from installml.errors import RecipeInvalid
from installml.packing.select import role_by_name, select
from installml.spec.media import Role
from installml.spec.recipe import FileRules


def paths(folder: Path, **rules: object) -> list[str]:
    return [file.path for file in select(folder, FileRules(**rules)).files]  # type: ignore[arg-type]


def refusals(folder: Path) -> tuple[str, ...]:
    with pytest.raises(RecipeInvalid) as caught:
        select(folder, FileRules())
    return caught.value.violations


def test_everything_goes_in_but_what_is_never_meant(tmp_path: Path) -> None:
    for name in (
        "a.bin",
        ".hidden",
        "sub/b.json",
        ".git/HEAD",
        "sub/__pycache__/x.pyc",
        ".installml/old.json",
        ".DS_Store",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert sorted(paths(tmp_path)) == [".hidden", "a.bin", "sub/b.json"]


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (("**",), ("*.bin",), ["sub/a.bin", "sub/b.txt", "top.txt"]),
        (("**",), ("**/*.bin",), ["sub/b.txt", "top.txt"]),
        (("**",), ("sub/**",), ["top.bin", "top.txt"]),
        (("*.txt",), (), ["top.txt"]),
        (("sub/?.txt",), (), ["sub/b.txt"]),
        (("**/[ab].*",), (), ["sub/a.bin", "sub/b.txt"]),
    ],
)
def test_globs_mean_what_gitignore_taught(
    tmp_path: Path, include: tuple[str, ...], exclude: tuple[str, ...], expected: list[str]
) -> None:
    for name in ("top.bin", "top.txt", "sub/a.bin", "sub/b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert sorted(paths(tmp_path, include=include, exclude=exclude)) == expected


def test_roles_follow_names_and_the_recipe_has_the_last_word(tmp_path: Path) -> None:
    for name in ("m.safetensors", "run.py", "README.md", "LICENSE", "vocab.txt", "train.csv"):
        (tmp_path / name).write_bytes(b"x")
    roles = {
        f.path: f.role for f in select(tmp_path, FileRules(roles={"*.txt": Role.CODE}), frozenset({"train.csv"})).files
    }
    assert roles == {
        "m.safetensors": Role.WEIGHT, "run.py": Role.CODE, "README.md": Role.DOC, "LICENSE": Role.DOC,
        "vocab.txt": Role.CODE, "train.csv": Role.WEIGHT,
    }  # fmt: skip


def test_an_unknown_file_is_judged_by_its_size() -> None:
    assert role_by_name("thing.xyz", 10) is Role.CONFIG
    assert role_by_name("thing.xyz", 1 << 30) is Role.WEIGHT


def test_a_link_inside_the_folder_is_packaged_as_the_file_it_means(tmp_path: Path) -> None:
    (tmp_path / "real.bin").write_bytes(b"abc")
    (tmp_path / "alias.bin").symlink_to("real.bin")
    assert [(f.path, f.size) for f in select(tmp_path, FileRules()).files] == [("alias.bin", 3), ("real.bin", 3)]


def test_everything_that_cannot_be_packaged_is_named_at_once(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    model = tmp_path / "model"
    (model / "folder").mkdir(parents=True)
    (model / "escape").symlink_to(outside)
    (model / "linked").symlink_to("folder")
    (model / "dangling").symlink_to("nowhere")
    os.mkfifo(model / "pipe")
    (model / "CON.txt").write_bytes(b"x")
    (model / "back\\slash").write_bytes(b"x")
    (model / "line\nbreak").write_bytes(b"x")
    (model / "Model.bin").write_bytes(b"x")
    (model / "model.bin").write_bytes(b"x")
    (model / b"latin-\xe9".decode(errors="surrogateescape")).write_bytes(b"x")
    text = "\n".join(refusals(model))
    for part in (
        "'escape' is a symbolic link that leaves the folder",
        "'linked' is a symbolic link to a folder",
        "'dangling' is a symbolic link to nothing",
        "'pipe' is a pipe, not a file",
        "Windows reserves: CON.txt",
        "Windows forbids: \\",
        "control characters",
        "'Model.bin' and 'model.bin' would be one file",
        "is not UTF-8",
    ):
        assert part in text


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # socket paths are short
    server = socket.socket(socket.AF_UNIX)
    try:
        server.bind("s")
        assert refusals(tmp_path) == ("'s' is a socket, not a file",)
    finally:
        server.close()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").write_bytes(b"x")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything
    assert refusals(tmp_path) == ("'locked' cannot be read by this user",)


def test_an_empty_folder_is_mentioned_and_an_empty_model_refused(tmp_path: Path) -> None:
    assert refusals(tmp_path) == ("no file is selected; look at files.include and files.exclude in the recipe",)
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "hollow").mkdir()
    assert select(tmp_path, FileRules()).notices == ("the empty folder hollow is not packaged",)


def test_more_files_than_registries_take_are_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("installml.packing.select.MAX_FILES", 5)
    for i in range(4):
        (tmp_path / str(i)).write_bytes(b"")
    assert "pack small ones together" in refusals(tmp_path)[0]
