from __future__ import annotations

import io

import pytest

from installml.cli.screen import Screen
from installml.cli.status import Bars, Lines, Silence, following
from installml.events import BlobDone, BlobStarted, Event, Notice, Phase


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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
    bars(Notice("the lock is old"))
    bars.close()
    written = err.getvalue()
    assert "uploading 1/1" in written
    assert "100%" in written
    assert "note: the lock is old" in written
    assert written.rstrip().endswith("\x1b[2K")  # the last thing done is to wipe the line
    bars.close()
