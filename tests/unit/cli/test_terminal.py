"""What a person at a terminal sees; the terminal is a pseudo-terminal."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from installml.registry_server import RunningRegistry, start
from installml.registry_server.faults import Faults, Rule

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOR = re.compile(r"\x1b\[[0-9;]+m")


class Silent:
    """Takes a request and never answers it."""

    async def misbehave(self, _inner: Any, _scope: Any, receive: Any, _send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[RunningRegistry]:
    """Return a registry that never takes an upload."""
    with start(tmp_path / "registry", faults=Faults(Rule(Silent(), method="POST", path="/blobs/uploads/"))) as running:
        yield running


@pytest.fixture
def terminal(program: list[str]) -> Iterator[Callable[..., Any]]:
    """Return a function that starts a command line on a terminal."""
    children = []
    # whoever runs the tests may have said how wide its own terminal is
    surroundings = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}

    def terminal(*words: object, columns: int = 80, **environ: str) -> Any:
        child = pexpect.spawn(
            program[0],
            [*program[1:], *map(str, words)],
            env=surroundings | {"TERM": "xterm-256color"} | environ,
            dimensions=(24, columns),
            encoding="utf-8",
            codec_errors="replace",  # an interruption may cut a character in two
            timeout=60,
        )
        children.append(child)
        return child

    yield terminal
    for child in children:
        child.close(force=True)


def rest(child: Any) -> str:
    """Return what else is written until the end."""
    child.expect(pexpect.EOF)
    child.close()
    return str(child.before)


def test_bars_appear_and_an_interruption_takes_them_away(
    terminal: Callable[..., Any], model: Path, silent: RunningRegistry
) -> None:
    child = terminal("push", model, "-t", f"{silent.address}/acme/x:1")
    child.expect(r"uploading 0/\d+ .*%.*weights\.bin")  # one look: what does not change is not drawn again
    child.sendintr()
    after = ESCAPE.sub("", rest(child))
    assert child.exitstatus == 130
    assert "go on with: installml push" in after
    assert "Traceback" not in after


@pytest.mark.parametrize("columns", [40, 20, 200])
def test_bars_fit_the_terminal(
    terminal: Callable[..., Any], model: Path, silent: RunningRegistry, columns: int
) -> None:
    child = terminal("push", model, "-t", f"{silent.address}/acme/x:1", columns=columns)
    child.logfile_read = io.StringIO()
    child.expect("wei[^%]*%")
    child.sendintr()
    rest(child)
    drawn = re.split(r"[\r\n]+", ESCAPE.sub("", child.logfile_read.getvalue()).replace("^C", ""))
    bars = [line for line in drawn if "─" in line or "━" in line]
    assert len(bars) >= 2
    assert max(map(len, bars)) < columns


def test_the_answer_stays_when_the_bars_are_gone(
    terminal: Callable[..., Any], model: Path, registry: RunningRegistry
) -> None:
    child = terminal("push", model, "-t", f"{registry.address}/acme/x:1")
    lines = ESCAPE.sub("", rest(child)).replace("\r", "").splitlines()
    assert child.exitstatus == 0
    assert lines[-1] == f"next: installml install {registry.address}/acme/x:1"


def test_errors_are_colored_on_a_terminal(terminal: Callable[..., Any]) -> None:
    assert COLOR.search(rest(terminal("info", "UPPER")))


def test_no_color_is_honoured(terminal: Callable[..., Any]) -> None:
    text = rest(terminal("info", "UPPER", NO_COLOR="1"))
    assert "error: " in text
    assert not COLOR.search(text)


def test_no_color_leaves_the_bars(terminal: Callable[..., Any], model: Path, silent: RunningRegistry) -> None:
    child = terminal("push", model, "-t", f"{silent.address}/acme/x:1", NO_COLOR="1")
    child.expect("uploading 0/")
    seen = child.before
    child.sendintr()
    assert not COLOR.search(seen + rest(child))


def test_json_on_a_terminal_is_one_document_and_no_bars(terminal: Callable[..., Any], model: Path) -> None:
    text = rest(terminal("build", model, "--format", "json"))
    assert text.startswith('{"schemaVersion": 1, "kind": "BuildResult"')
    assert "\x1b" not in text


def test_removal_is_asked_for_and_a_no_keeps_everything(
    terminal: Callable[..., Any], run: Callable[..., Any], model: Path
) -> None:
    assert run("build", model).code == 0
    child = terminal("remove", "acme/sentiment:1.0.0", "--local")
    child.expect(r"Remove acme/sentiment:1\.0\.0 from the local store\? \[y/N\]")
    child.sendline("n")
    assert "nothing was done" in rest(child)
    assert child.exitstatus == 2
    assert len(run("list", "--format", "json").json["packages"]) == 1


def test_a_yes_removes(terminal: Callable[..., Any], run: Callable[..., Any], model: Path) -> None:
    assert run("build", model).code == 0
    child = terminal("remove", "acme/sentiment:1.0.0", "--local")
    child.expect(r"\[y/N\]")
    child.sendline("y")
    assert "removed" in rest(child)
    assert child.exitstatus == 0
    assert run("list", "--format", "json").json["packages"] == []


def test_yes_is_not_asked_again(terminal: Callable[..., Any], run: Callable[..., Any], model: Path) -> None:
    assert run("build", model).code == 0
    assert "[y/N]" not in rest(terminal("remove", "acme/sentiment:1.0.0", "--local", "--yes"))


def test_a_password_is_asked_for_and_not_shown(
    terminal: Callable[..., Any], registry: RunningRegistry, tmp_path: Path
) -> None:
    child = terminal("login", registry.address, DOCKER_CONFIG=str(tmp_path / "docker"))
    child.expect("User name:")
    child.sendline("ali")
    child.expect("Password:")
    child.sendline("sesame")
    text = rest(child)
    assert child.exitstatus == 0
    assert "sesame" not in text
    assert "as ali" in text


def test_ctrl_c_at_a_question_is_an_interruption(
    terminal: Callable[..., Any], registry: RunningRegistry, tmp_path: Path
) -> None:
    child = terminal("login", registry.address)
    child.expect("User name:")
    child.sendintr()
    assert "Stopped." in rest(child)
    assert child.exitstatus == 130
