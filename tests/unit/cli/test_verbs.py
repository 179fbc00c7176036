"""Each verb once, as a person or a script would type it, against a real store and a real registry."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from installml.registry_server import RunningRegistry

Run = Callable[..., Any]


@pytest.fixture
def built(run: Run, model: Path) -> str:
    """Return the reference of a package in the local store."""
    assert run("build", model).code == 0
    return "acme/sentiment:1.0.0"


@pytest.fixture
def pushed(run: Run, built: str, registry: RunningRegistry) -> str:
    """Return the reference of a package in a registry; the local store does not have it."""
    reference = f"{registry.address}/{built}"
    assert run("push", built, reference).code == 0
    assert run("remove", built, "--local").code == 0
    assert run("cache", "gc").code == 0
    return reference


def test_init_writes_a_recipe_and_names_the_next_command(run: Run, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "weights.bin").write_bytes(b"x")
    done = run("init", tmp_path / "raw", "--name", "acme/raw", "--version", "2.0.0")
    assert done.code == 0
    assert "name: acme/raw" in (tmp_path / "raw" / "installml.yaml").read_text()
    assert done.out.splitlines()[-1] == f"next: installml build {tmp_path / 'raw'}"


def test_init_replaces_a_recipe_only_by_force(run: Run, model: Path) -> None:
    before = (model / "installml.yaml").read_text()
    assert run("init", model).code == 2
    assert (model / "installml.yaml").read_text() == before
    assert run("init", model, "--force").code == 0


def test_init_that_only_looks_prints_the_recipe_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "weights.bin").write_bytes(b"x")
    assert "name:" in run("init", tmp_path / "raw", "--dry-run").out
    assert not (tmp_path / "raw" / "installml.yaml").exists()


def test_what_scripts_rely_on_is_in_every_result(run: Run, model: Path, registry: RunningRegistry) -> None:
    reference = f"{registry.address}/acme/sentiment:1.0.0"
    answers = [
        run("build", model, "-t", reference, "--format", "json").json,
        run("push", reference, "--format", "json").json,
        run("pull", reference, "--format", "json").json,
        run("install", reference, "--format", "json").json,
        run("info", reference, "--format", "json").json,
    ]
    for answer in answers:
        assert {"reference", "name", "version", "digest", "size"} <= set(answer)
        assert (answer["name"], answer["version"]) == ("acme/sentiment", "1.0.0")
    assert len({answer["digest"] for answer in answers}) == 1
    assert {"path", "variant", "signers", "source"} <= set(answers[3])


def test_a_folder_is_built_and_pushed_in_one_go(run: Run, model: Path, registry: RunningRegistry) -> None:
    done = run("push", model, "-t", f"{registry.address}/acme/one:1")
    assert done.code == 0
    assert done.out.splitlines()[-1] == f"next: installml install {registry.address}/acme/one:1"
    assert run("list", "--format", "json").json["packages"] == []


def test_a_folder_is_built_straight_into_a_registry(run: Run, model: Path, registry: RunningRegistry) -> None:
    assert run("build", model, "--to", f"{registry.address}/acme/one:1").code == 0
    assert run("tags", f"{registry.address}/acme/one").out == "1\n"


def test_a_pulled_package_is_in_the_local_store(run: Run, pushed: str) -> None:
    assert run("pull", pushed).code == 0
    (entry,) = run("list", "--format", "json").json["packages"]
    assert (entry["name"], entry["installed"]) == ("acme/sentiment", False)


def test_an_installed_model_has_its_files_and_the_honest_line(run: Run, pushed: str) -> None:
    done = run("install", pushed)
    assert done.code == 0
    path = Path(next(line.split(maxsplit=1)[1] for line in done.out.splitlines() if line.startswith("path")))
    assert (path / "README.md").read_text() == "# sentiment\n"
    lines = done.out.splitlines()
    assert lines[-2] == "built on this machine"
    assert lines[-1] == "next: installml serve acme/sentiment"


def test_installing_without_a_terminal_tells_each_phase_on_standard_error(run: Run, pushed: str) -> None:
    told = [line.split()[0] for line in run("install", pushed).err.splitlines()]
    assert told == ["resolving", "downloading", "linking"]


@pytest.mark.parametrize("flag", ["--quiet", "-q"])
def test_quiet_leaves_only_the_result(run: Run, pushed: str, flag: str) -> None:
    done = run("install", pushed, flag)
    assert done.err == ""
    assert done.out


def test_verbose_names_every_blob(run: Run, pushed: str) -> None:
    assert "  copied weights.bin (16 KiB)" in run("pull", pushed, "-v").err.splitlines()


def test_a_planned_installation_changes_nothing(run: Run, pushed: str) -> None:
    assert "would be installed" in run("install", pushed, "--dry-run").out
    assert run("list", "--format", "json").json["packages"] == []


def test_an_uninstalled_model_is_no_longer_listed(run: Run, pushed: str) -> None:
    assert run("install", pushed).code == 0
    assert run("uninstall", pushed).code == 0
    assert run("uninstall", pushed).code == 1


def test_info_is_a_card_and_a_table_of_files(run: Run, pushed: str) -> None:
    out = run("info", pushed).out
    assert "about      Says whether a text is friendly." in out
    assert "licence    Apache-2.0" in out
    assert [line.split()[0] for line in out.splitlines() if "weights.bin" in line or "README" in line] == [
        "README.md",
        "weights.bin",
    ]


def test_tags_are_set_listed_and_removed(run: Run, pushed: str) -> None:
    repository = pushed.rpartition(":")[0]
    assert run("tag", pushed, "stable").code == 0
    assert run("tags", repository).out == "1.0.0\nstable\n"
    assert "would remove" in run("remove", f"{repository}:stable", "--dry-run").out
    assert run("remove", f"{repository}:stable").code == 0
    assert run("tags", repository).out == "1.0.0\n"


def test_a_package_is_copied_and_exported(run: Run, pushed: str, tmp_path: Path) -> None:
    other = pushed.replace("acme/sentiment", "mirror/sentiment")
    assert run("copy", pushed, other).code == 0
    assert run("export", other, tmp_path / "layout").code == 0
    assert json.loads((tmp_path / "layout" / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}


def test_the_store_is_measured_checked_and_cleaned(run: Run, built: str) -> None:
    assert run("cache", "df", "--format", "json").json["packages"] > 16_000
    assert run("cache", "verify").out.endswith("0 damaged\n")
    assert run("remove", built, "--local").code == 0
    assert run("cache", "gc", "--dry-run").out.startswith("would free ")
    assert run("cache", "gc").out.startswith("freed ")
    assert run("cache", "df", "--format", "json").json["packages"] == 0


def test_a_damaged_store_is_exit_3(run: Run, built: str, home: Path) -> None:
    blob = max(home.glob("blobs/**/*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    blob.chmod(0o600)
    blob.write_bytes(b"\0" * blob.stat().st_size)
    done = run("cache", "verify")
    assert done.code == 3
    assert "1 of 7 blobs are damaged" in done.err


def test_a_package_that_needs_more_than_this_machine_has_is_exit_5(
    run: Run, model: Path, registry: RunningRegistry
) -> None:
    recipe = model / "installml.yaml"
    recipe.write_text(recipe.read_text() + "hardware:\n  - name: huge\n    memory: 900TiB\n")
    reference = f"{registry.address}/acme/huge:1"
    assert run("push", model, "-t", reference).code == 0
    done = run("hardware", "check", reference)
    assert done.code == 5
    assert "memory" in done.out
    assert run("hardware", "check", reference, "--format", "json").json["fits"] is False
    assert run("install", reference).code == 5


def test_hardware_alone_shows_the_machine(run: Run) -> None:
    assert "cores" in run("hardware").out
    assert run("hardware", "--format", "json").json["machine"]["cores"] >= 1


def test_doctor_marks_each_finding_and_exits_1_for_a_problem(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTALLML_REGISTRY", "localhost:1/acme")
    done = run("doctor")
    assert done.code == 1
    assert any(line.startswith(("✗", "x ")) for line in done.out.splitlines())


def test_doctor_of_a_registry_is_text_or_json_and_exits_1_when_it_cannot_be_used(
    run: Run, registry: RunningRegistry
) -> None:
    assert "answers as a registry" in run("doctor", registry.address).out
    findings = run("doctor", registry.address, "--format", "json").json["findings"]
    assert {"name", "api", "family"} <= {finding["check"] for finding in findings}
    assert run("doctor", "registry.invalid").code == 1


def test_settings_name_their_origin(run: Run, tmp_path: Path) -> None:
    rows = {row["name"]: row for row in run("--jobs", "2", "config", "show", "--format", "json").json["settings"]}
    assert (rows["jobs"]["value"], rows["jobs"]["origin"]) == (2, "flag --jobs")
    assert rows["home"]["origin"] == "environment INSTALLML_HOME"
    assert rows["offline"]["origin"] == "default"


def test_nothing_runs_at_first(run: Run) -> None:
    assert run("ps", "--format", "json").json == {
        "schemaVersion": 1,
        "kind": "ServerList",
        "servers": [],
        "transfers": [],
    }
    assert run("logs", "nothing").code == 1
    assert run("stop", "nothing").code == 1
    assert run("stop", "--all").code == 0


def test_offline_leaves_this_machine_for_no_registry(run: Run) -> None:
    done = run("pull", "registry.invalid/acme/x:1", "--offline")
    assert done.code == 1
    assert "the network is not to be used" in done.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON"),
        (b"[1]", "is a JSON list, not an object"),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
    ],
)
def test_an_input_file_that_is_no_question_is_refused(run: Run, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "input.json").write_bytes(content)
    done = run("predict", "acme/x", "--input", tmp_path / "input.json")
    assert done.code == 2
    assert message in done.err


def test_an_input_file_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    done = run("predict", "acme/x", "--input", tmp_path / "nothing.json")
    assert done.code == 2
    assert "nothing.json cannot be read" in done.err


def test_a_password_comes_from_standard_input_and_never_from_an_argument(
    run: Run, registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"open sesame\n")))
    done = run("login", registry.address, "--username", "ali", "--password-stdin")
    assert done.code == 0
    assert "sesame" not in done.out + done.err
    assert registry.address in json.loads((tmp_path / "docker" / "config.json").read_text())["auths"]
    assert run("logout", registry.address).code == 0
    assert run("login", registry.address, "--password", "x").code == 2


def test_nobody_is_asked_for_a_password_without_a_terminal(run: Run, registry: RunningRegistry) -> None:
    done = run("login", registry.address, "--username", "ali")
    assert done.code == 2
    assert "--password-stdin" in done.err


@pytest.mark.parametrize("token", [b"", b"two words", b"\x00", "geheimnis-ü".encode()])
def test_a_token_file_must_hold_a_token(run: Run, tmp_path: Path, token: bytes) -> None:
    (tmp_path / "token").write_bytes(token)
    done = run("serve", "acme/x", "--token-file", tmp_path / "token")
    assert done.code == 2
    assert "has no bearer token" in done.err
