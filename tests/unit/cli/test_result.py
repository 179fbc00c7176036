from __future__ import annotations

import dataclasses
import io
import json
import math

import pytest

from installml.api import results as r
from installml.cli import result as words
from installml.cli.result import WORDS, Look, render, show, table
from installml.cli.screen import Screen
from installml.digest import Digest
from installml.reference import Reference

DIGEST = Digest.of(b"x")
HERE = Reference.parse("local/acme/x:1.0.0")
THERE = Reference.parse("ghcr.io/acme/x:1.0.0")


def kinds() -> set[type[r.Result]]:
    found = [*(getattr(r, name) for name in r.__all__), *vars(words).values()]
    return {kind for kind in found if isinstance(kind, type) and issubclass(kind, r.Result)} - {r.Result}


def text(result: r.Result, *, unicode: bool = True) -> str:
    return render(result, Look(unicode))


def installed(**changes: object) -> r.InstallResult:
    result = r.InstallResult(
        reference=HERE, name="acme/x", version="1.0.0", digest=DIGEST, size=2048, path="/home/m/x", variant="cpu",
        signers=(), source="ghcr.io", moved=2048, linked="reflink", runtime="", python="",
        notices=("not verified: signatures are not checked by this version",),
    )  # fmt: skip
    return dataclasses.replace(result, **changes)  # type: ignore[arg-type]


def test_every_result_has_words() -> None:
    assert {kind.__name__ for kind in kinds()} == set(WORDS)


def test_an_installation_says_where_how_it_was_proved_what_was_not_and_what_to_type() -> None:
    lines = text(installed()).splitlines()
    assert lines[0] == "acme/x 1.0.0 installed (2 KiB)"
    assert "path     /home/m/x" in lines
    assert f"digest   {DIGEST}, every byte checked" in lines
    assert lines[-2] == "not verified: signatures are not checked by this version"
    assert lines[-1] == "next: installml serve acme/x"


def test_a_planned_installation_does_not_claim_to_have_checked_bytes() -> None:
    planned = text(installed(path=""))
    assert "would be installed" in planned
    assert "checked" not in planned.replace("not checked", "").replace("signatures are", "")
    assert planned.splitlines()[-1] == "next: installml install acme/x:1.0.0"


def test_what_is_local_is_pushed_next_and_what_is_in_a_registry_is_installed_next() -> None:
    built = r.BuildResult(HERE, "acme/x", "1.0.0", DIGEST, 10, 2, "/home/m")
    assert text(built).splitlines()[-1] == "next: installml push acme/x:1.0.0 REGISTRY/acme/x"
    meant = dataclasses.replace(built, reference=THERE)
    assert text(meant).splitlines()[-1] == "next: installml push ghcr.io/acme/x:1.0.0"
    sent = dataclasses.replace(built, reference=THERE, destination="ghcr.io")
    assert text(sent).splitlines()[-1] == "next: installml install ghcr.io/acme/x:1.0.0"


def test_a_push_says_how_much_had_to_move() -> None:
    pushed = r.PushResult(THERE, "acme/x", "1.0.0", DIGEST, 4096, 1024, {"copied": 1, "exists": 2, "mounted": 1})
    assert text(pushed).splitlines()[0] == "pushed ghcr.io/acme/x:1.0.0 (1 KiB moved, 3 blobs already there)"


def test_tags_are_bare_lines_for_scripts() -> None:
    assert text(r.TagsResult("acme/x", ("1.0.0", "latest"))) == "1.0.0\nlatest"


def test_no_tags_are_no_lines() -> None:
    out = io.StringIO()
    show(r.TagsResult("acme/x", ()), Screen(out, io.StringIO(), {}), as_json=False)
    assert out.getvalue() == ""


def test_an_empty_machine_says_what_to_do_first() -> None:
    assert "installml demo" in text(r.ListResult(()))
    assert "installml serve" in text(r.ServerList(()))


def test_a_long_answer_is_cut_for_people_and_whole_in_json() -> None:
    result = r.PredictResult("x", "1", ({"name": "y", "datatype": "FP32", "shape": [1, 99], "data": [0.5] * 99},))
    assert text(result).endswith("… 83 more")
    out = io.StringIO()
    show(result, Screen(out, io.StringIO(), {}), as_json=True)
    assert len(json.loads(out.getvalue())["outputs"][0]["data"]) == 99


def test_numbers_that_json_lacks_are_text() -> None:
    out = io.StringIO()
    result = r.PredictResult("x", "1", ({"name": "y", "data": [math.nan, math.inf, -math.inf, 1.0]},))
    show(result, Screen(out, io.StringIO(), {}), as_json=True)
    assert json.loads(out.getvalue())["outputs"][0]["data"] == ["nan", "inf", "-inf", 1.0]


def test_a_failed_test_names_each_difference() -> None:
    failed = text(r.TestResult("acme/x", "1", False, ("y[3] is 4, recorded was 5",), True))
    assert failed.splitlines() == [
        "acme/x 1 failed: the answer is not the recorded one",
        "  - y[3] is 4, recorded was 5",
    ]


@pytest.mark.parametrize(("unicode", "mark"), [(True, "✗"), (False, "x")])
def test_marks_have_an_ascii_form(unicode: bool, mark: str) -> None:
    report = r.DoctorReport((r.DoctorFinding("store", "problem", "read-only", "installml --home DIR"),))
    assert text(report, unicode=unicode).splitlines() == [f"{mark} store: read-only", "    installml --home DIR"]


def test_a_package_that_does_not_fit_lists_what_is_missing() -> None:
    report = r.HardwareReport({}, "acme/x", False, "", ("memory: needs 80 GiB, has 8 GiB",))
    assert text(report).splitlines() == [
        "✗ acme/x does not fit this machine",
        "  - memory: needs 80 GiB, has 8 GiB",
    ]


def demo() -> r.DemoResult:
    pixels = tuple(tuple((row + column) % 17 for column in range(8)) for row in range(8))
    right, wrong = r.DemoDigit(pixels, 3, 3, 0.99), r.DemoDigit(pixels, 8, 3, 0.51)
    steps = (r.DemoStep("installml build digits", "3 files", 0.31), r.DemoStep("installml push", "sent", 1.5))
    return r.DemoResult(steps, (right, wrong) * 5, ("numpy-2.4.6-py3-none-any.whl",), 2.0)


def test_ten_digits_stand_in_two_rows_with_answers_underneath_within_80_columns() -> None:
    lines = text(demo()).splitlines()
    assert max(map(len, lines)) <= 80
    answers = [line for line in lines if "99%" in line]
    assert len(answers) == 2
    assert answers[0].count("✓") + answers[1].count("✓") == 5
    assert "3 ✗ 51% is 8" in answers[0]
    first = lines.index(answers[0])
    assert all(set(line) <= set(" ░▒▓█") for line in lines[first - 8 : first])


def test_digits_are_drawn_in_ascii_where_blocks_cannot_be_shown() -> None:
    assert text(demo(), unicode=False).isascii()


def test_the_demonstration_says_how_long_each_step_took_and_what_to_type_next() -> None:
    lines = text(demo()).splitlines()
    assert lines[0] == "   0.3 s  installml build digits  3 files"
    assert "5 of 10 held-out digits read correctly" in text(demo())
    assert "numpy-2.4.6-py3-none-any.whl" in text(demo())
    assert lines[-3].strip() == "installml init DIR"


def test_columns_are_as_wide_as_their_longest_cell() -> None:
    assert list(table([("a", "bb"), ("ccc", "d")], ("X", "Y"))) == ["X    Y ", "a    bb", "ccc  d "]


def test_a_token_is_never_part_of_a_running_server_in_json() -> None:
    out = io.StringIO()
    server = r.RunningServer("id", "x", "1", "d", "http://h:1", 1, "2026-01-01T00:00:00Z", "/log", token="secret")
    show(server, Screen(out, io.StringIO(), {}), as_json=True)
    show(server, Screen(out, io.StringIO(), {}), as_json=False)
    assert "secret" not in out.getvalue()
    assert 'curl -H "Authorization: Bearer $TOKEN" http://h:1/v2/models/x' in out.getvalue()
