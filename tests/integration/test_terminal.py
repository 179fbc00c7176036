"""Downloads as a person at a real terminal sees them: a pseudo-terminal, and tmux where there is one.

The transfers wait in the middle because the registry falls silent there; nothing depends on how fast it is.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

import installml
from installml.registry_server import RunningRegistry, start
from installml.registry_server.faults import Faults, Rule, Stall
from tests.unit.registry_server.kit import until
from tests.unsigned import UNSIGNED

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
RECIPE = "name: acme/llm\nversion: 1.0.0\nlicense: Apache-2.0\ndescription: x\nruntime:\n  engine: none\n"
PROGRAM = [sys.executable, "-m", "installml"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningRegistry, Path]]:
    """Return a registry that falls silent in the middle of every large blob, and a folder."""
    root = tmp_path_factory.mktemp("world")
    model = root / "model"
    model.mkdir()
    (model / "installml.yaml").write_text(RECIPE)
    for name in "ab":
        (model / f"{name}.bin").write_bytes(os.urandom(1 << 20) * 3)
    with start(root / "registry") as plain:
        done = subprocess.run(
            [*PROGRAM, "push", model, "-t", f"{plain.address}/acme/llm:1"],
            env=environment(root), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    with start(root / "registry", faults=Faults(Rule(Stall(after=1 << 20), method="GET", path="/blobs/"))) as stalling:
        yield stalling, root


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment in which nothing of the person who runs the tests is read."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "INSTALLML_POLICY": UNSIGNED,
        "INSTALLML_HOME": str(home / "store"),
        "PYTHONPATH": str(Path(installml.__file__).parent.parent),
        "TERM": "xterm-256color",
        "LC_ALL": "C.UTF-8",
        **more,
    }


@pytest.fixture
def pull(world: tuple[RunningRegistry, Path], tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return a function that begins to pull on a terminal of some width."""
    children = []

    def pull(*words: str, columns: int = 80, **more: str) -> Any:
        child = pexpect.spawn(
            PROGRAM[0], [*PROGRAM[1:], "pull", f"{world[0].address}/acme/llm:1", *words],
            env=environment(tmp_path, **more), dimensions=(24, columns),
            encoding="utf-8", codec_errors="replace", timeout=60,
        )  # fmt: skip
        child.logfile_read = io.StringIO()
        children.append(child)
        return child

    yield pull
    for child in children:
        child.close(force=True)


def halfway(child: Any) -> None:
    """Wait until some of the bytes have moved and been drawn."""
    child.expect(r"downloading \d/\d.* [1-9]\d?%")


def stopped(child: Any) -> str:
    """Interrupt and return all that was written."""
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    written = str(child.logfile_read.getvalue())
    assert child.exitstatus == 130, written
    return written


def test_an_interruption_says_what_is_kept_and_what_to_type(
    pull: Callable[..., Any], world: tuple[RunningRegistry, Path]
) -> None:
    child = pull()
    halfway(child)
    last = ESCAPE.sub("", stopped(child)).splitlines()[-1]
    assert last.startswith("Stopped. ")
    assert last.endswith(f"go on with: installml pull {world[0].address}/acme/llm:1")


def test_the_cursor_is_hidden_once_and_given_back(pull: Callable[..., Any]) -> None:
    child = pull()
    halfway(child)
    written = stopped(child)
    assert written.count(HIDE) == written.count(SHOW) == 1
    assert written.index(HIDE) < written.index(SHOW)


def test_the_screen_is_never_cleared_and_no_line_is_blanked_before_it_is_written(pull: Callable[..., Any]) -> None:
    child = pull()
    halfway(child)
    written = stopped(child)
    assert "\x1b[2J" not in written
    assert "\x1b[2K" not in written
    assert "\x1b[H" not in written


def test_a_second_interruption_ends_at_once_and_gives_the_cursor_back(pull: Callable[..., Any]) -> None:
    child = pull()
    halfway(child)
    child.kill(signal.SIGTERM)
    child.kill(signal.SIGTERM)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert child.logfile_read.getvalue().rindex(SHOW) > child.logfile_read.getvalue().rindex(HIDE)


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_no_line_is_as_wide_as_the_terminal(pull: Callable[..., Any], columns: int) -> None:
    child = pull(columns=columns)
    child.expect(r"[1-9]\d?%")
    drawn = re.split(r"[\r\n]+", ESCAPE.sub("", stopped(child)).replace("^C", ""))
    assert max(len(line) for line in drawn if "━" in line or "─" in line) == columns - 1


def test_the_bars_follow_a_window_that_gets_narrow(pull: Callable[..., Any]) -> None:
    child = pull(columns=100)
    halfway(child)
    child.setwinsize(24, 40)
    child.expect(r"\x1b\[\d+A")  # the next frame is drawn over the last one, whatever rows that takes now
    child.expect(r"\n[^\n]*%\x1b\[K\x1b\[J")
    lines = re.split(r"[\r\n]+", ESCAPE.sub("", child.before + child.match.group(0)))
    assert any("─" in line or "━" in line for line in lines)
    assert max(map(len, lines)) < 40
    stopped(child)


@pytest.mark.parametrize(
    ("more", "mark"), [({"NO_COLOR": "1"}, "─"), ({"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}, "#")]
)
def test_bars_do_without_colours_and_without_unicode(pull: Callable[..., Any], more: dict[str, str], mark: str) -> None:
    child = pull(**more)
    halfway(child)
    written = stopped(child)
    assert mark in written
    assert not re.search(r"\x1b\[[0-9;]*m", written.split("Stopped")[0])


def test_a_dumb_terminal_gets_lines(pull: Callable[..., Any]) -> None:
    child = pull(TERM="dumb")
    child.expect(r"downloading \d files, [\d.]+ MiB")
    assert "\x1b" not in stopped(child)


def test_progress_as_lines_can_be_asked_for(pull: Callable[..., Any]) -> None:
    child = pull("--progress", "plain")
    child.expect(r"downloading \d files, [\d.]+ MiB")
    assert "\x1b" not in stopped(child)


def test_a_piped_error_stream_has_no_control_codes_and_json_lines_end_with_a_document(
    world: tuple[RunningRegistry, Path], tmp_path: Path
) -> None:
    command = [*PROGRAM, "pull", f"{world[0].address}/acme/llm:1", "--progress", "json"]
    with subprocess.Popen(command, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        lines = [json.loads(child.stdout.readline())]
        while lines[-1]["kind"] != "BlobProgress":
            lines.append(json.loads(child.stdout.readline()))
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    lines += map(json.loads, out.splitlines())
    assert child.returncode == 130
    assert (lines[0]["kind"], lines[-1]["kind"], lines[-1]["reference"]) == ("Phase", "Error", "interrupted")
    assert err == b""


def run(home: Path, *words: str) -> dict[str, Any]:
    """Return the document of a command line."""
    done = subprocess.run(
        [*PROGRAM, *words, "--format", "json"], env=environment(home), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def test_a_pull_in_the_background_outlives_its_terminal_and_is_stopped_so_that_it_can_go_on(
    pull: Callable[..., Any], tmp_path: Path
) -> None:
    child = pull("--detach")
    child.expect(r"in the background as (llm-[0-9a-f]{8})")
    identity = child.match.group(1)
    child.expect(pexpect.EOF)
    child.close(force=True)
    try:
        (shown,) = run(tmp_path, "ps")["transfers"]
        assert (shown["id"], shown["state"], shown["verb"]) == (identity, "running", "pull")
    finally:
        assert run(tmp_path, "stop", identity)["stopped"] == [identity]
    assert "go on with: installml pull" in run(tmp_path, "logs", identity)["text"]
    assert run(tmp_path, "ps")["transfers"] == []
    assert [t["state"] for t in run(tmp_path, "ps", "--all")["transfers"]] == ["stopped"]


def test_a_pull_in_the_background_that_is_killed_is_told_as_dead(pull: Callable[..., Any], tmp_path: Path) -> None:
    child = pull("--detach")
    child.expect(pexpect.EOF)
    child.close()
    (shown,) = run(tmp_path, "ps")["transfers"]
    os.kill(shown["pid"], signal.SIGKILL)
    until(lambda: run(tmp_path, "ps", "--all")["transfers"][0]["state"] != "running")
    assert run(tmp_path, "ps", "--all")["transfers"][0]["state"] == "died"


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
def test_a_window_that_gets_narrower_has_no_remains_of_older_frames(
    world: tuple[RunningRegistry, Path], tmp_path: Path
) -> None:
    def tmux(*words: str) -> str:
        command = ["tmux", "-S", str(tmp_path / "s"), "-f", os.devnull, *words]
        return subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=True).stdout

    def seen(pattern: str) -> list[str]:
        text = ""

        def there() -> bool:
            nonlocal text
            text = tmux("capture-pane", "-p")
            return re.search(pattern, text, re.DOTALL) is not None

        until(there)
        return [line for line in text.splitlines() if line]

    command = [*PROGRAM, "pull", f"{world[0].address}/acme/llm:1"]
    tmux("new-session", "-d", "-x", "120", "-y", "24", *command)
    try:
        wide = seen(r"downloading 4/6 .* 33%")  # the small ones are there, and the two others are silent
        tmux("resize-window", "-x", "50", "-y", "24")
        narrow = seen(r"(?m)^downloading \d/\d[^\n]{30,45}%$(?!.*downloading)")
        assert len(narrow) == len(wide) == 3
        assert max(map(len, narrow)) < 50
    finally:
        tmux("kill-server")
