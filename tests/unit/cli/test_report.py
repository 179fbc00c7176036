from __future__ import annotations

import io
import itertools
import json

from installml.cli.report import error_json, hints, report
from installml.cli.screen import Color, Screen
from installml.errors import DiskFull, HardwareError, InstallMLError, StoreError


def chain(*errors: BaseException) -> InstallMLError:
    """Return the first error, caused by the second, and so on."""
    for error, cause in itertools.pairwise(errors):
        error.__cause__ = cause
    first = errors[0]
    assert isinstance(first, InstallMLError)
    return first


def told(error: InstallMLError, *, color: Color = Color.NEVER) -> str:
    err = io.StringIO()
    report(error, Screen(io.StringIO(), err, {}, color), as_json=False)
    return err.getvalue()


def test_message_and_hint_stand_on_lines_of_their_own() -> None:
    assert told(HardwareError("no GPU here", hint="installml info x")) == "error: no GPU here\nhint: installml info x\n"


def test_an_error_without_a_hint_does_not_invent_one() -> None:
    assert told(HardwareError("no GPU here")) == "error: no GPU here\n"


def test_hints_are_gathered_down_the_chain_of_causes_each_once() -> None:
    error = chain(StoreError("a", hint="one"), StoreError("b", hint="two"), OSError("c"), StoreError("d", hint="one"))
    assert hints(error) == ["one", "two"]


def test_a_cause_is_told_only_when_it_says_something_new() -> None:
    error = chain(
        StoreError("cannot pull x: the disk is full"), DiskFull("the disk is full"), StoreError("quota of 5 GB")
    )
    assert told(error).splitlines()[:2] == ["error: cannot pull x: the disk is full", "because: quota of 5 GB"]


def test_the_text_of_foreign_exceptions_is_not_shown() -> None:
    assert "secret" not in told(chain(StoreError("a"), OSError("https://host/?signature=secret")))


def test_a_message_from_elsewhere_cannot_move_the_cursor() -> None:
    assert "\x1b" not in told(StoreError("registry says \x1b[2J"))


def test_colored_errors_say_the_same_words() -> None:
    text = told(HardwareError("no \x1b[2J GPU", hint="[bold]x[/bold]"), color=Color.ALWAYS)
    assert "\x1b[2J" not in text
    assert "\\x1b[2J GPU" in text
    assert "[bold]x[/bold]" in text


def test_a_circle_of_causes_ends() -> None:
    one, two = StoreError("one", hint="1"), StoreError("two", hint="2")
    one.__cause__, two.__cause__ = two, one
    assert hints(one) == ["1", "2"]


def test_json_has_all_that_scripts_need() -> None:
    error = chain(HardwareError("no GPU here", hint="h", subject="acme/x"), StoreError("b", hint="i"))
    assert error_json(error) == {
        "schemaVersion": 1,
        "kind": "Error",
        "reference": HardwareError.reference,
        "message": "no GPU here: b",
        "hint": "h\ni",
        "subject": "acme/x",
    }


def test_json_goes_to_standard_output_and_nothing_to_standard_error() -> None:
    out, err = io.StringIO(), io.StringIO()
    report(HardwareError("x"), Screen(out, err, {}), as_json=True)
    assert json.loads(out.getvalue())["kind"] == "Error"
    assert err.getvalue() == ""
