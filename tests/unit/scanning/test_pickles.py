"""Pickles are followed as an unpickler would, and whatever they are, nothing but findings comes out."""

from __future__ import annotations

import contextlib
import io
import pickle
import pickletools
import struct
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from installml.scanning.calls import Import
from installml.scanning.content import BytesContent
from installml.scanning.finding import Budget, Exhausted, Limits, Report
from installml.scanning.imports import Verdict, judge
from installml.scanning.machine import _DO, Broken, Machine
from installml.scanning.pickles import PICKLES
from installml.scanning.walk import TOO_MUCH, scan_files
from tests.unit.scanning.looking import blocking
from tests.unit.scanning.malicious import EVIL, MALICIOUS, Runs, archive, called, named, text

UNHURRIED = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def scan(data: bytes, name: str = "m.pkl", limits: Limits | None = None) -> Report:
    return scan_files([(name, BytesContent(data))], (PICKLES,), limits=limits)


def details(data: bytes, name: str = "m.pkl") -> list[str]:
    return [f"{finding.rule.id}: {finding.detail}" for finding in scan(data, name).findings]


def test_every_opcode_of_python_is_followed() -> None:
    assert {opcode.name for opcode in pickletools.opcodes} == _DO.keys()


def test_a_finding_says_where_the_import_stands() -> None:
    data = pickle.dumps(["x" * 300, Runs()], 2)
    (finding,) = scan(data).findings
    assert data[finding.offset or 0 :].startswith(b"cposix\nsystem\n")


def test_a_name_is_reported_once_however_often_it_is_imported() -> None:
    assert len(scan(b"\x80\x02]" + (named("os", "system") + b"a") * 1000 + b".").findings) == 1


def test_a_pop_takes_the_mark_when_nothing_lies_above_it() -> None:
    # After MARK, POP the two words lie together again, as _pickle.c has it.
    assert "pickle-dangerous-import: imports os.system" in details(
        b"\x80\x04" + text("os") + b"(0" + text("system") + b"\x93."
    )


def test_a_value_below_a_mark_is_out_of_reach() -> None:
    assert details(b"\x80\x04" + text("os") + text("system") + b"(\x93.") == [
        "pickle-broken: it takes a value that was never given"
    ]


def test_python_takes_the_last_byte_of_a_name_for_its_line_feed() -> None:
    assert details(b"cposix\nsystem?") == [
        "pickle-dangerous-import: imports posix.system",
        "pickle-broken: it ends in the middle",
    ]


def test_a_memo_of_an_earlier_pickle_is_forgotten() -> None:
    assert details(b"\x80\x02N\x94.h\x00.") == ["pickle-trailing-data: what follows the pickle is not one"]


def test_the_same_name_may_be_imported_from_where_libraries_moved_it() -> None:
    assert judge("sklearn.linear_model.logistic", "LogisticRegression") is Verdict.allowed
    assert judge("sklearn.linear_model._logistic", "LogisticRegression") is Verdict.allowed


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("sklearn.linear_model", "LogisticRegression.fit"),
        ("sklearn.linear_model.tests.test_x", "LogisticRegression"),
        ("sklearn.linear_model. x", "LogisticRegression"),
        ("sklearn.linear_modelx", "LogisticRegression"),
        ("Sklearn.linear_model", "LogisticRegression"),
        ("numpy", "ndarray.tofile"),
        ("numpy ", "ndarray"),
        ("numpy\n", "ndarray"),
        ("", ""),
    ],
)
def test_what_only_looks_like_an_allowed_name_is_not_allowed(module: str, name: str) -> None:
    assert judge(module, name) is not Verdict.allowed


@pytest.mark.parametrize(
    "module", sorted(set(sys.stdlib_module_names) & {"os", "subprocess", "ctypes", "importlib", "pty", "runpy"})
)
def test_nothing_of_a_module_that_runs_programs_is_allowed(module: str) -> None:
    assert judge(module, "anything") is Verdict.dangerous


def test_bytes_handed_to_torch_are_scanned_as_a_file_of_their_own() -> None:
    good = pickle.dumps({"a": 1})
    inner = called("torch.storage", "_load_from_bytes", b"B" + struct.pack("<I", len(good)) + good)
    assert details(inner) == []


def test_a_storage_of_torch_is_no_unknown_persistent_id() -> None:
    storage = b"(" + text("storage") + named("torch", "FloatStorage") + text("0") + text("cpu") + b"K\x04tQ"
    assert details(b"\x80\x02" + storage + b".") == []
    assert details(b"\x80\x02" + text("x") + b"Q.") == ["pickle-persistent-id: has a persistent id that is no storage"]


def test_a_class_of_torchscript_is_known_inside_an_archive_only() -> None:
    data = named("__torch__.net", "Net") + b")\x81."
    assert details(data) == ["pickle-unknown-import: imports __torch__.net.Net"]
    assert blocking("a.pt", archive(("a/data.pkl", data))) == set()
    assert blocking("a.pt", archive(("a/other.pkl", data))) == {"pickle-unknown-import"}


def test_a_pickle_with_too_many_steps_is_a_finding() -> None:
    data = b"\x80\x02" + b"N0" * 10_000 + named("os", "system") + b"."
    assert [finding.rule for finding in scan(data, limits=Limits(steps=5000)).findings] == [TOO_MUCH]


def test_what_was_found_before_the_steps_ran_out_is_reported_too() -> None:
    data = EVIL[:-1] + b"0" + b"N0" * 20_000 + b"N."
    found = {finding.rule.id for finding in scan(data, limits=Limits(steps=9000)).findings}
    assert found == {"pickle-dangerous-import", "too-much-work"}


def test_many_findings_are_cut_off_with_a_finding() -> None:
    data = b"\x80\x02]" + b"".join(named(f"evil{n}", "f") + b"a" for n in range(300)) + b"."
    findings = scan(data).findings
    assert len(findings) == 201
    assert findings[-1].rule.id == "more-findings"


def test_text_out_of_a_file_is_shown_without_control_characters() -> None:
    (finding,) = scan(b"\x80\x04" + text("evil\x1b[2J") + text("x") + b"\x93.").findings
    assert finding.detail == "imports evil\\x1b[2J.x"


class _Counted(BytesContent):
    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.largest = 0

    def read_at(self, offset: int, size: int) -> bytes:
        self.largest = max(self.largest, size)
        return super().read_at(offset, size)


def test_a_large_value_is_passed_over_and_not_read() -> None:
    content = _Counted(pickle.dumps([b"x" * 9_000_000, 1], 4))
    assert scan_files([("m.pkl", content)], (PICKLES,)).findings == []
    assert content.largest <= 1 << 20


PICKLED = st.sampled_from([make() for name, make in MALICIOUS.values() if name.endswith(("pkl", "joblib"))])


def changed(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    """Return the bytes with some of them replaced."""
    result = bytearray(data)
    for at, value in changes:
        if result:
            result[at % len(result)] = value
    return bytes(result)


CHANGES = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8)


@UNHURRIED
@given(PICKLED, CHANGES, st.integers(0, 100))
def test_a_changed_pickle_gives_findings_and_nothing_else(
    data: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    data = changed(data, changes)
    for name in ("m.pkl", "m.bin"):
        scan(data[: len(data) - cut], name, Limits(steps=100_000))


@UNHURRIED
@given(st.binary(max_size=300))
def test_any_bytes_give_findings_and_nothing_else(data: bytes) -> None:
    scan(data, "m.pkl", Limits(steps=100_000))
    scan(data, "m", Limits(steps=100_000))


OPCODES = st.sampled_from([opcode.code.encode("latin-1") for opcode in pickletools.opcodes])


@UNHURRIED
@given(
    st.lists(OPCODES | st.sampled_from([text("os"), text("system"), named("os", "system"), b"\n", b"\0"]), max_size=60)
)
def test_any_row_of_opcodes_gives_findings_and_nothing_else(codes: list[bytes]) -> None:
    scan(b"".join(codes), "m.pkl", Limits(steps=100_000))


def _values() -> st.SearchStrategy[object]:
    plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    return st.recursive(plain, lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner))


@UNHURRIED
@given(_values(), st.integers(0, 5))
def test_plain_values_have_no_findings_in_any_protocol(value: object, protocol: int) -> None:
    assert scan(pickle.dumps(value, protocol)).findings == []


@UNHURRIED
@given(_values(), st.integers(0, 5))
def test_a_call_anywhere_in_plain_values_is_found(value: object, protocol: int) -> None:
    found = {finding.rule.id for finding in scan(pickle.dumps([value, Runs(), value], protocol)).findings}
    assert "pickle-dangerous-import" in found


class Inert:
    """Stands for whatever a pickle imports; does nothing, whatever is done with it."""

    def __new__(cls, *_: object, **__: object) -> Inert:
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None: ...

    def __call__(self, *_: object, **__: object) -> Inert:
        return Inert()

    def __setitem__(self, key: object, value: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...

    def append(self, _: object) -> None: ...

    extend = add = append


def imported_by_python(data: bytes, kind: Any) -> set[tuple[str, str]]:
    """Return what an unpickler of Python asks for; every import is `Inert`, so that nothing of the pickle runs."""
    found = set()

    class Recording(kind):  # type: ignore[misc]
        def find_class(self, module: str, name: str) -> type:
            found.add((module, name))
            return Inert

        def persistent_load(self, _: object) -> Inert:
            return Inert()

    with contextlib.suppress(Exception):
        Recording(io.BytesIO(data)).load()
    return found


class Names:
    """A watcher that keeps the names of imports."""

    def __init__(self) -> None:
        self.found: set[tuple[str, str]] = set()

    def imported(self, thing: Import, _: int) -> None:
        self.found.add((thing.module, thing.name))

    def __getattr__(self, _: str) -> Any:
        return lambda *_: None


def imported_by_us(data: bytes) -> set[tuple[str, str]]:
    names = Names()
    with contextlib.suppress(Broken, Exhausted):
        Machine(BytesContent(data), 0, Budget(Limits()), names, plain=True).run()
    return names.found


def check_against_python(data: bytes) -> None:
    """Python's own unpicklers, in C and in Python, must import nothing that was not seen."""
    seen = imported_by_us(data)
    assert imported_by_python(data, pickle._Unpickler) <= seen
    if not set(data) & set(b"pr\x96"):  # the C unpickler allocates memory for any number of a memo, and for bytearrays
        assert imported_by_python(data, pickle.Unpickler) <= seen


@UNHURRIED
@given(PICKLED, CHANGES)
def test_python_imports_nothing_from_a_changed_pickle_that_was_not_seen(
    data: bytes, changes: list[tuple[int, int]]
) -> None:
    check_against_python(changed(data, changes))


PIECES = OPCODES | st.sampled_from(
    [text("os"), text("system"), named("os", "system"), b"(", b"N", b"K\x01", b"\x94", b"h\x00", b"h\x01", b"S'os'\n",
     b"Vsystem\n", b"p0\n", b"g0\n", b"q\x01", b"I1\n", b"ios\nsystem\n", b"C\x01a", b"\x80\x04", b"\x80\x02"]
)  # fmt: skip


@UNHURRIED
@given(st.lists(PIECES, max_size=40))
def test_python_imports_nothing_from_a_row_of_opcodes_that_was_not_seen(pieces: list[bytes]) -> None:
    check_against_python(b"".join(pieces) + b".")
