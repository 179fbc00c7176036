from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import installml
from installml.registry_server import start
from installml.registry_server.faults import Faults, Rule

HEAVY = (
    "numpy",
    "requests",
    "starlette",
    "uvicorn",
    "docker",
    "cryptography",
    "sigstore",
    "orjson",
    "prometheus_client",
)


def modules_after(*words: str) -> set[str]:
    code = (
        f"import sys; from installml.cli.main import main; main({list(words)!r}); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stderr.split()}


def test_the_version_is_told_without_loading_the_command_line(run: Callable[..., Any]) -> None:
    assert run("--version").out == f"installml {installml.__version__}\n"
    assert modules_after("--version").isdisjoint({"typer", "rich", *HEAVY})


def test_help_loads_nothing_heavy(home: Path) -> None:
    assert modules_after("--help").isdisjoint(HEAVY)


def test_the_version_is_told_behind_other_flags_too(run: Callable[..., Any]) -> None:
    assert run("--offline", "--version").out == f"installml {installml.__version__}\n"


def test_a_bare_command_shows_help_and_counts_as_wrong_usage(run: Callable[..., Any]) -> None:
    done = run()
    assert done.code == 2
    assert "Usage: installml" in done.out


def test_flags_without_a_verb_are_wrong_usage(run: Callable[..., Any]) -> None:
    done = run("--format", "json")
    assert (done.code, done.json["kind"]) == (2, "Error")


def test_a_mistyped_verb_is_answered_with_the_verb_that_was_meant(run: Callable[..., Any]) -> None:
    done = run("intsall", "acme/x")
    assert done.code == 2
    assert done.out == ""
    assert "no such command 'intsall'" in done.err
    assert "Did you mean 'install'" in done.err


def test_a_mistyped_flag_is_answered_with_the_flag_that_was_meant(run: Callable[..., Any]) -> None:
    done = run("install", "--alow-unsigned", "acme/x")
    assert done.code == 2
    assert "no such option: --alow-unsigned" in done.err
    assert "Did you mean --allow-unsigned?" in done.err


def test_a_missing_argument_shows_the_usage_line(run: Callable[..., Any]) -> None:
    done = run("push")
    assert done.code == 2
    assert "missing argument 'SOURCE'" in done.err
    assert "Usage: installml push" in done.err


@pytest.mark.parametrize(
    "words", [("intsall", "--format", "json"), ("--format=json", "push"), ("cache", "--format", "json")]
)
def test_wrong_usage_is_json_where_json_was_asked_for(run: Callable[..., Any], words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.code == 2
    assert done.err == ""
    assert (done.json["kind"], done.json["schemaVersion"]) == ("Error", 1)
    assert done.json["reference"] == "command-line-invalid"


@pytest.mark.parametrize(
    "words", [("list", "--format", "json"), ("--format", "json", "list"), ("--format=json", "list")]
)
def test_flags_of_every_verb_are_taken_before_and_after_it(run: Callable[..., Any], words: tuple[str, ...]) -> None:
    assert run(*words).json == {"schemaVersion": 1, "kind": "ListResult", "packages": []}


def test_the_flag_behind_the_verb_wins(run: Callable[..., Any], tmp_path: Path) -> None:
    done = run("--home", tmp_path / "one", "cache", "path", "--home", tmp_path / "two")
    assert done.out == f"{tmp_path / 'two'}\n"


def test_a_flag_before_the_verb_holds_when_nothing_behind_it_contradicts(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    assert run("--home", tmp_path / "one", "cache", "path").out == f"{tmp_path / 'one'}\n"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("info", "UPPER/case"), 2),
        (("info", "acme/nothing"), 1),
        (("install", "localhost:1/acme/x:1"), 1),
        (("install", "acme/x:^1.0"), 2),
        (("--jobs", "0", "list"), 2),
        (("config", "show"), 0),
    ],
)
def test_exit_codes_say_whose_fault_it_is(run: Callable[..., Any], words: tuple[str, ...], code: int) -> None:
    assert run(*words).code == code


def broken(**_: object) -> None:
    raise ZeroDivisionError("https://storage.example/blob?signature=secret")


@pytest.fixture
def defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("installml.api.info.list_", broken)


def test_a_defect_is_one_line_that_says_how_to_report_it(run: Callable[..., Any], defect: None) -> None:
    done = run("list")
    assert done.code == 1
    assert done.err.splitlines()[0] == "error: internal error: ZeroDivisionError"
    assert "--debug" in done.err
    assert "Traceback" not in done.err
    assert "secret" not in done.err


def test_a_defect_is_json_where_json_was_asked_for(run: Callable[..., Any], defect: None) -> None:
    assert run("list", "--format", "json").json["reference"] == "internal-error"


def test_debug_shows_the_traceback(run: Callable[..., Any], defect: None) -> None:
    done = run("list", "--debug")
    assert "Traceback" in done.err
    assert done.err.rstrip().splitlines()[-2] == "error: internal error: ZeroDivisionError"


def test_the_answer_is_not_colored_where_nobody_looks(run: Callable[..., Any]) -> None:
    assert "\x1b" not in run("info", "acme/nothing").err


def test_color_can_be_forced_and_refused(run: Callable[..., Any]) -> None:
    assert "\x1b[" in run("--color", "always", "info", "acme/nothing").err
    assert "\x1b[" not in run("--color", "never", "info", "acme/nothing").err


def test_standard_output_holds_json_and_nothing_else(program: list[str], model: Path) -> None:
    done = subprocess.run(
        [*program, "build", str(model), "--format", "json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert json.loads(done.stdout)["kind"] == "BuildResult"


def test_without_a_terminal_no_control_code_is_written(program: list[str], model: Path) -> None:
    done = subprocess.run([*program, "build", str(model)], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr.startswith("hashing 3 files, ")
    assert not any(ord(c) < 32 and c != "\n" for c in done.stdout + done.stderr)


def test_a_reader_that_goes_away_causes_no_noise(program: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as stdout:
        done = subprocess.run([*program, "config", "show"], stdout=stdout, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr == b""


def test_an_encoding_without_the_characters_gets_ascii_instead(program: list[str]) -> None:
    environ = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*program, "doctor"], capture_output=True, env=environ, check=False)
    assert done.stdout.startswith(b"ok python: ")


class Silent:
    """Takes a request and never answers it."""

    def __init__(self) -> None:
        self.reached = threading.Event()

    async def misbehave(self, _inner: Any, _scope: Any, receive: Any, _send: Any) -> None:
        self.reached.set()
        while (await receive())["type"] != "http.disconnect":
            pass


def interrupted(command: list[str], number: signal.Signals, silent: Silent) -> tuple[int, str, str]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not silent.reached.wait(timeout=0.2):
            assert process.poll() is None, process.communicate()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_upload_ends_with_130_and_says_how_to_go_on(
    program: list[str], model: Path, tmp_path: Path, number: signal.Signals
) -> None:
    silent = Silent()
    with start(tmp_path / "registry", faults=Faults(Rule(silent, method="POST", path="/blobs/uploads/"))) as registry:
        command = [*program, "push", str(model), "-t", f"{registry.address}/acme/x:1"]
        code, out, err = interrupted(command, number, silent)
    assert code == 130
    assert out == ""
    error = err.index("Stopped. ")
    assert "uploading" in err[:error]
    assert f"go on with: installml push {model} -t {registry.address}/acme/x:1" in err[error:]
    assert "Traceback" not in err


def test_an_interruption_is_json_where_json_was_asked_for(program: list[str], model: Path, tmp_path: Path) -> None:
    silent = Silent()
    with start(tmp_path / "registry", faults=Faults(Rule(silent))) as registry:
        command = [*program, "push", str(model), "-t", f"{registry.address}/acme/x:1", "--format", "json"]
        code, out, err = interrupted(command, signal.SIGINT, silent)
    assert code == 130
    assert json.loads(out)["reference"] == "interrupted"
    assert err == ""


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_stream_that_the_parent_closed_is_no_failure(home: Path, closed: str) -> None:
    line = f'exec "$0" -m installml list {closed}'
    assert subprocess.run(["/bin/sh", "-c", line, sys.executable], check=False).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_result_that_finds_no_room_is_told_on_the_other_stream(home: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "installml", "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: the result could not be written to standard output: No space left")
