from __future__ import annotations

import io
import json

import pytest

from installml.cli.options import Progress
from installml.cli.screen import Screen
from installml.cli.status import Bars, JsonLines, Lines, Silence, following
from installml.events import BlobChecked, BlobDone, BlobProgress, BlobStarted, Event, Notice, Phase, Waiting


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def lines(*events: Event, verbose: bool = False) -> list[str]:
    err = io.StringIO()
    listen = Lines(Screen(io.StringIO(), err, {}), verbose=verbose)
    for event in events:
        listen(event)
    return err.getvalue().splitlines()


def test_a_phase_is_one_line() -> None:
    assert lines(Phase("downloading", "acme/x", count=7, size=3 << 20), BlobStarted("d", "t", 1)) == [
        "downloading 7 files, 3 MiB"
    ]


def test_a_phase_without_bytes_names_what_it_is_about() -> None:
    assert lines(Phase("resolving", "acme/x:1")) == ["resolving acme/x:1"]


def test_one_file_is_one_file() -> None:
    assert lines(Phase("downloading", count=1, size=1)) == ["downloading 1 file, 1 B"]


def test_a_phase_that_is_told_twice_is_written_once() -> None:
    assert lines(Phase("linking", "x"), Phase("linking", "x")) == ["linking x"]


def test_notices_are_written() -> None:
    assert lines(Notice("the lock is old")) == ["note: the lock is old"]


def test_blobs_are_named_only_when_asked_for() -> None:
    done = BlobDone("d", "weights.bin", 2048, "mounted")
    assert lines(done) == []
    assert lines(done, verbose=True) == ["  mounted weights.bin (2 KiB)"]


def test_what_comes_from_elsewhere_cannot_move_the_cursor() -> None:
    assert lines(Notice("\x1b[2J")) == ["note: \\x1b[2J"]


@pytest.mark.parametrize(
    ("err", "environ", "silent", "kind"),
    [
        (io.StringIO, {}, False, Lines),
        (io.StringIO, {}, True, Silence),
        (Terminal, {"TERM": "xterm"}, False, Bars),
        (Terminal, {"TERM": "xterm"}, True, Silence),
        (Terminal, {"TERM": "dumb"}, False, Lines),
    ],
)
def test_the_screen_decides_how_waiting_looks(
    err: type[io.StringIO], environ: dict[str, str], silent: bool, kind: type
) -> None:
    with following(Screen(io.StringIO(), err(), environ), silent=silent) as status:
        assert isinstance(status, kind)


def test_bars_draw_the_tally_and_leave_the_screen_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    err = Terminal()
    bars = Bars(Screen(io.StringIO(), err, {"TERM": "xterm"}), clock=lambda: 1.0)
    bars(Phase("uploading", count=1, size=10))
    bars(BlobDone("d", "w", 10, "copied"))
    bars.frame()
    bars(Notice("the lock is old"))
    bars.close()
    written = err.getvalue()
    assert "uploading 1/1" in written
    assert "100%" in written
    assert "note: the lock is old" in written
    assert written.endswith("\x1b[J\x1b[?25h")  # the last thing done is to wipe what was drawn and show the cursor
    bars.close()


def test_a_long_phase_has_a_line_each_half_minute() -> None:
    err, clock = io.StringIO(), Clock()
    listen = Lines(Screen(io.StringIO(), err, {}), clock=clock)
    listen(Phase("downloading", count=1, size=400 << 20))
    listen(BlobStarted("a", "a", 400 << 20))
    for clock.now in range(1, 92):
        listen(BlobProgress("a", 1 << 20))
    assert err.getvalue().splitlines() == [
        "downloading 1 file, 400 MiB",
        "downloading 7 %, 30 MiB of 400 MiB, 1 MiB/s, 6:10 left",
        "downloading 15 %, 60 MiB of 400 MiB, 1 MiB/s, 5:40 left",
        "downloading 22 %, 90 MiB of 400 MiB, 1 MiB/s, 5:10 left",
    ]


def test_a_short_phase_has_no_line_but_its_own() -> None:
    assert lines(Phase("downloading", count=1, size=9), BlobProgress("a", 9)) == ["downloading 1 file, 9 B"]


def test_a_registry_that_sends_away_every_connection_is_told_once() -> None:
    wait = Waiting("the registry limits the rate", 12)
    assert lines(Phase("downloading", count=1, size=9), wait, wait, wait)[1:] == [
        "waiting 12 s: the registry limits the rate"
    ]


def test_json_lines_have_every_event_and_add_up_advances() -> None:
    out, clock = io.StringIO(), Clock()
    listen = JsonLines(Screen(out, io.StringIO(), {}), clock=clock)
    listen(Phase("downloading", count=1, size=9))
    for _ in range(3):
        listen(BlobProgress("a", 3))
        listen(BlobChecked("a", 2))
    listen(BlobDone("a", "a", 9, "copied"))
    listen(BlobProgress("b", 1))
    listen.close()
    head = {"schemaVersion": 1}
    assert [json.loads(line) for line in out.getvalue().splitlines()] == [
        {**head, "kind": "Phase", "name": "downloading", "detail": "", "count": 1, "size": 9},
        {**head, "kind": "BlobProgress", "digest": "a", "advance": 9},
        {**head, "kind": "BlobChecked", "digest": "a", "advance": 6},
        {**head, "kind": "BlobDone", "digest": "a", "title": "a", "size": 9, "outcome": "copied"},
        {**head, "kind": "BlobProgress", "digest": "b", "advance": 1},
    ]


@pytest.mark.parametrize(
    ("progress", "silent", "kind"),
    [(Progress.JSON, True, JsonLines), (Progress.PLAIN, False, Lines), (Progress.AUTO, False, Bars)],
)
def test_progress_may_be_asked_for_in_another_form(progress: Progress, silent: bool, kind: type) -> None:
    screen = Screen(io.StringIO(), Terminal(), {"TERM": "xterm"})
    with following(screen, silent=silent, progress=progress) as status:
        assert isinstance(status, kind)
