"""``--only`` and ``--checkpoint`` as they are typed, and what is said of packages that are here in part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from installml.cli.main import main
from installml.registry_server import RunningRegistry

Run = Callable[..., Any]

MORE = """checkpoints:
  q4: ["q4.bin"]
  q8: ["q8.bin"]
"""


@pytest.fixture
def there(run: Run, model: Path, registry: RunningRegistry) -> str:
    """Return the reference of a package that only the registry has: weights in two forms, a recipe and a page."""
    (model / "weights.bin").unlink()
    (model / "q4.bin").write_bytes(b"4" * 4096)
    (model / "q8.bin").write_bytes(b"8" * 8192)
    recipe = model / "installml.yaml"
    recipe.write_text(recipe.read_text() + MORE)
    reference = f"{registry.address}/acme/sentiment:1.0.0"
    assert run("push", model, "-t", reference).code == 0
    return reference


def gotten(registry: RunningRegistry) -> int:
    return len([r for r in registry.requests if r.method == "GET" and "/blobs/" in r.path])


def count(run: Run, there: str) -> int:
    return len(run("info", there, "--format", "json").json["files"])


def test_a_part_says_that_it_is_one_and_how_to_get_the_rest(run: Run, there: str) -> None:
    files = count(run, there)
    done = run("pull", there, "--only", "q4.bin", "--only", "README.md")
    assert done.code == 0
    own = files - 4  # q4.bin, q8.bin, README.md and the recipe are the folder's; the others are our documents
    assert f"partial: {own + 2} of {files} files, " in done.out
    assert done.out.splitlines()[-1] == f"the rest: installml pull {there}"


def test_json_has_the_files_their_size_and_how_many_there_are(run: Run, there: str) -> None:
    part = run("pull", there, "--only", "q4.bin", "--format", "json").json["partial"]
    assert "q4.bin" in part["files"]
    assert "q8.bin" not in part["files"]
    assert part["of"] == count(run, there)
    assert part["size"] >= 4096
    assert run("pull", there, "--format", "json").json["partial"] is None


def test_the_rest_is_said_to_be_the_whole(run: Run, there: str) -> None:
    run("pull", there, "--checkpoint", "q4")
    done = run("pull", there)
    assert "partial" not in done.out
    assert done.out.splitlines()[-1] == f"next: installml install {there}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--only", "*.gguf"), "q4.bin"),
        (("--checkpoint", "q16"), "hint: It has q4, q8"),
        (("--only", "q4.bin", "--checkpoint", "q4"), "not both"),
    ],
    ids=["no file", "no checkpoint", "both"],
)
@pytest.mark.parametrize("verb", ["pull", "install"])
def test_a_wish_that_means_nothing_ends_with_2_and_what_there_is(
    verb: str, words: tuple[str, ...], said: str, run: Run, there: str, home: Path, registry: RunningRegistry
) -> None:
    before = gotten(registry)
    done = run(verb, there, *words)
    assert done.code == 2
    assert said in done.err
    assert gotten(registry) == before
    assert not (home / "blobs").exists()


def test_a_wish_that_means_nothing_has_a_name_for_scripts(run: Run, there: str) -> None:
    answer = run("pull", there, "--checkpoint", "q16", "--format", "json")
    assert answer.code == 2
    assert answer.json["reference"] == "nothing-selected"


@pytest.mark.parametrize(
    "words",
    [
        ("push", "THERE", "REGISTRY/acme/other:1.0.0"),
        ("--offline", "export", "THERE", "layout"),
        ("--offline", "install", "THERE"),
        ("--offline", "serve", "THERE"),
    ],
    ids=["push", "export", "install", "serve"],
)
def test_what_needs_the_rest_names_the_command_that_brings_it(
    words: tuple[str, ...], run: Run, there: str, registry: RunningRegistry
) -> None:
    run("pull", there, "--only", "q4.bin")
    typed = [word.replace("THERE", there).replace("REGISTRY", registry.address) for word in words]
    done = run(*typed)
    assert done.code == 1
    assert f"installml pull {there}" in done.err
    answer = run(*typed, "--format", "json").json
    assert answer["reference"] == "package-partial"


def test_list_info_and_verify_tell_of_a_part(run: Run, there: str) -> None:
    run("pull", there, "--only", "q4.bin")
    assert f"partial: {there}: " in run("list").out
    info = run("info", there).out
    assert "checkpoints  q4, q8" in info
    assert any(line.split()[:1] == ["partial"] for line in info.splitlines())
    verified = run("cache", "verify")
    assert verified.code == 0
    assert verified.out.splitlines() == [verified.out.splitlines()[0], f"partial: {there}"]
    assert verified.out.splitlines()[0].endswith("0 damaged")


def test_an_installed_part_is_told_and_becomes_whole(run: Run, there: str) -> None:
    part = run("install", there, "--only", "q4.bin", "--format", "json").json
    assert sorted(path.name for path in Path(part["path"]).glob("*.bin")) == ["q4.bin"]
    assert "partial: " in run("install", there, "--only", "q4.bin").out
    whole = run("install", there)
    assert "partial" not in whole.out
    path = run("info", there, "--format", "json").json["installed"]
    assert sorted(file.name for file in Path(path).glob("*.bin")) == ["q4.bin", "q8.bin"]


def test_the_next_step_of_an_installed_part_can_be_taken(run: Run, there: str) -> None:
    files = run("install", there, "--only", "q4.bin").out.splitlines()[-1]
    assert files == f"the rest: installml install {there}"


def test_a_transfer_in_the_background_knows_its_part(run: Run, there: str, capsys: pytest.CaptureFixture[str]) -> None:
    started = run("pull", there, "--only", "q4.bin", "--detach", "--format", "json").json
    main(["logs", started["id"], "--follow"])
    capsys.readouterr()
    (package,) = run("list", "--format", "json").json["packages"]
    assert "q8.bin" not in package["partial"]["files"]
