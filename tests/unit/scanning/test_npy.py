"""Headers of .npy files are read as literals and never evaluated; arrays of objects are the pickles they are."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.scanning.looking import blocking, findings, rules
from tests.unit.scanning.malicious import EVIL, OBJECTS, npy, npz

UNHURRIED = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def headed(header: bytes, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    form = "<H" if version == (1, 0) else "<L"
    return b"\x93NUMPY" + bytes(version) + struct.pack(form, len(header)) + header + data


TYPES = ["?", "i1", "<i4", ">f8", "c16", "f2", "S5", "U3", "V7", "M8[ns]", "m8[25us]", "M8"]


@pytest.mark.parametrize("kind", TYPES)
def test_an_array_of_any_plain_type_has_no_findings(kind: str) -> None:
    assert rules("a.npy", npy(np.zeros((2, 3), dtype=kind))) == set()


@pytest.mark.parametrize(
    "dtype",
    [
        [("a", "i4"), ("b", "f8", (2, 3))],
        [(("title", "a"), "i4")],
        [("a", [("b", "U3"), ("c", "M8[D]")])],
        {"names": ["a", "b"], "formats": ["i1", "i8"], "offsets": [0, 8], "itemsize": 16},
    ],
)
def test_an_array_of_records_has_no_findings(dtype: Any) -> None:
    assert rules("a.npy", npy(np.zeros(3, dtype=np.dtype(dtype)))) == set()


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1, 1, 1, 1)])
def test_an_array_of_any_shape_has_no_findings(shape: tuple[int, ...]) -> None:
    assert rules("a.npy", npy(np.zeros(shape))) == set()


def test_several_arrays_in_one_file_are_all_read() -> None:
    file = io.BytesIO()
    for array in (np.arange(3), np.arange(5.0), OBJECTS):
        np.save(file, array, allow_pickle=True)
    assert blocking("a.npy", file.getvalue()) == {"pickle-dangerous-import"}


@pytest.mark.parametrize(
    "descr", [b"'O'", b"'|O'", b"'object'", b"'f4,O'", b"[('a', '<i4'), ('b', '|O')]", b"('O', (2,))"]
)
def test_objects_in_any_spelling_are_a_pickle(descr: bytes) -> None:
    data = headed(b"{'descr': " + descr + b", 'fortran_order': False, 'shape': (1,), }\n", EVIL)
    assert rules("a.npy", data) == {"npy-object-array", "pickle-dangerous-import"}


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{}",
        b"{'descr': '<f8', 'fortran_order': False}",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'more': 1}",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}",
        b"{'descr': '<f8', 'fortran_order': 0, 'shape': (1,)}",
        b"{'descr': '<f8', 'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,)} or exit()",
        b"{'descr': '<' 'f8', 'fortran_order': False, 'shape': (1,)}",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (9**9,)}",
        b"__import__('os')",
        b"(" * 500,
        b"\xff\xfe",
    ],
)
def test_a_header_that_numpy_does_not_write_is_a_finding(header: bytes) -> None:
    assert blocking("a.npy", headed(header, bytes(8))) == {"unreadable"}


@pytest.mark.parametrize("version", [(0, 0), (1, 1), (4, 0)])
def test_an_unknown_version_is_a_finding(version: tuple[int, int]) -> None:
    data = bytearray(npy(np.arange(3)))
    data[6:8] = bytes(version)
    assert blocking("a.npy", bytes(data)) == {"unreadable"}


def test_numbers_that_are_not_there_are_a_finding() -> None:
    assert blocking("a.npy", npy(np.arange(100))[:-1]) == {"unreadable"}
    huge = b"{'descr': '<f8', 'fortran_order': False, 'shape': (281474976710655, 281474976710655)}"
    assert blocking("a.npy", headed(huge)) == {"unreadable"}


def test_objects_in_a_compressed_archive_are_found_with_their_member() -> None:
    found = [finding for finding in findings("a.npz", npz(a=np.arange(3), b=OBJECTS)) if finding.severity >= 3]
    assert [(finding.rule.id, finding.inner) for finding in found] == [("pickle-dangerous-import", "b.npy!objects.pkl")]


@UNHURRIED
@given(st.binary(max_size=200), st.sampled_from([(1, 0), (2, 0), (3, 0)]))
def test_any_header_gives_findings_and_nothing_else(header: bytes, version: tuple[int, int]) -> None:
    findings("a.npy", headed(header, b"", version))


@UNHURRIED
@given(st.text(st.sampled_from("{}()[]',:0123 descrfortan_oshpTueFalN\"\\<|O"), max_size=120))
def test_any_text_as_a_header_gives_findings_and_nothing_else(header: str) -> None:
    findings("a.npy", headed(header.encode(), bytes(8)))
