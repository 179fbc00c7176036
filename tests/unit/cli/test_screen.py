from __future__ import annotations

import io
import json

import pytest

from installml.cli.screen import Color, Screen, plain


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def screen(err: io.StringIO, color: Color = Color.AUTO, **environ: str) -> Screen:
    return Screen(io.StringIO(), err, environ, color)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two lines\nand a\ttab", "two lines\nand a\ttab"),
        ("é ✓ 模型", "é ✓ 模型"),
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("over\rwritten\x08", "over\\rwritten\\x08"),
        ("csi \x9b2J", "csi \\x9b2J"),
        ("reorder\u202eevil\u200bhidden", "reorder\\u202eevil\\u200bhidden"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize(
    ("err", "color", "environ", "colored"),
    [
        (Terminal, Color.AUTO, {"TERM": "xterm"}, True),
        (Terminal, Color.AUTO, {"TERM": "dumb"}, False),
        (Terminal, Color.AUTO, {}, False),
        (Terminal, Color.AUTO, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal, Color.AUTO, {"TERM": "xterm", "NO_COLOR": ""}, True),
        (Terminal, Color.NEVER, {"TERM": "xterm"}, False),
        (Terminal, Color.ALWAYS, {"TERM": "xterm", "NO_COLOR": "1"}, True),
        (io.StringIO, Color.AUTO, {"TERM": "xterm"}, False),
        (io.StringIO, Color.ALWAYS, {}, True),
    ],
)
def test_colors_are_for_terminals_unless_somebody_said_otherwise(
    err: type[io.StringIO], color: Color, environ: dict[str, str], colored: bool
) -> None:
    assert screen(err(), color, **environ).colored is colored


def test_a_json_document_is_one_line_in_an_encoding_that_the_stream_has() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Screen(out, io.StringIO(), {}).json({"name": "né\n\x1b"})
    written = out.buffer.getvalue()  # type: ignore[attr-defined]
    assert written.count(b"\n") == 1
    assert json.loads(written) == {"name": "né\n\x1b"}


def test_a_character_that_the_stream_lacks_does_not_stop_the_answer() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Screen(out, io.StringIO(), {}).print("naïve")
    assert out.buffer.getvalue() == b"na\\xefve\n"  # type: ignore[attr-defined]
