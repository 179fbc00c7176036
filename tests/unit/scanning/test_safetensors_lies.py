"""safetensors: every way in which a header may lie is a finding that blocks; what the real writer writes is none."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from installml.scanning.content import FileContent
from installml.scanning.scanners import SCANNERS
from installml.scanning.walk import scan_files
from tests.unit.scanning.looking import blocking, findings, rules, safetensors, tensor

GOOD = safetensors({"__metadata__": {"format": "pt"}, "a": tensor(0, 16), "b": tensor(16, 24)}, 24)

MALICIOUS = {
    "header longer than the file": (struct.pack("<Q", 1 << 40) + b"{}", "safetensors-header"),
    "header of all the memory": (struct.pack("<Q", 2**64 - 1) + b'{"a":1}', "safetensors-header"),
    "no JSON": (safetensors("{]"), "safetensors-header"),
    "no object": (safetensors("[1, 2]"), "safetensors-header"),
    "an object behind spaces": (safetensors('  {"a": 1}'), "safetensors-header"),
    "nested without end": (safetensors("{" + '"a":[' * 5000), "safetensors-header"),
    "NaN": (safetensors('{"a": NaN}'), "safetensors-header"),
    "a name twice": (
        safetensors(f'{{"a": {json.dumps(tensor(0, 4))}, "a": {json.dumps(tensor(0, 4))}}}', 4),
        "safetensors-duplicate",
    ),
    "overlapping tensors": (safetensors({"a": tensor(0, 8), "b": tensor(4, 12)}, 12), "safetensors-overlap"),
    "a tensor inside another": (safetensors({"a": tensor(0, 16), "b": tensor(4, 8)}, 16), "safetensors-overlap"),
    "a gap between": (safetensors({"a": tensor(0, 4), "b": tensor(12, 16)}, 16), "safetensors-gap"),
    "a program behind the tensors": (safetensors({"a": tensor(0, 4)}, 4) + b"\x7fELF" * 20, "safetensors-gap"),
    "offsets behind the end": (safetensors({"a": tensor(0, 4096)}, 4), "safetensors-range"),
    "offsets that go back": (safetensors({"a": tensor(8, 4, (1,))}, 8), "safetensors-range"),
    "negative offsets": (safetensors({"a": tensor(-4, 4, (2,))}, 8), "safetensors-header"),
    "offsets as text": (
        safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": ["0", "4"]}}, 4), "safetensors-header"),
    "a shape that asks for more": (safetensors({"a": tensor(0, 4, (1 << 30,))}, 4), "safetensors-size"),
    "a shape that overflows": (safetensors({"a": tensor(0, 4, (2**62, 2**62))}, 4), "safetensors-size"),
    "metadata that is no text": (
        safetensors({"__metadata__": {"a": {"b": 1}}, "a": tensor(0, 4)}, 4), "safetensors-header"),
    "cut short": (GOOD[:6], "unreadable"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALICIOUS)
def test_a_header_that_lies_is_told(case: str) -> None:
    data, rule = MALICIOUS[case]
    assert rule in blocking("model.safetensors", data)


def test_what_the_real_writer_writes_has_no_finding() -> None:
    assert findings("model.safetensors", GOOD) == []


def test_an_empty_file_of_tensors_and_tensors_without_elements_are_allowed() -> None:
    assert findings("model.safetensors", safetensors({})) == []
    assert findings("m.safetensors", safetensors({"a": tensor(0, 0, (0, 4)), "b": tensor(0, 4)}, 4)) == []


def test_half_bytes_are_counted() -> None:
    assert findings("m.safetensors", safetensors({"a": tensor(0, 2, (4,), "F4")}, 2)) == []


def test_a_number_format_of_tomorrow_is_told_and_does_not_block() -> None:
    found = findings("m.safetensors", safetensors({"a": tensor(0, 4, (4,), "F1_E0M0")}, 4))
    assert [one.rule.id for one in found] == ["safetensors-dtype"]
    assert blocking("m.safetensors", safetensors({"a": tensor(0, 4, (4,), "F1_E0M0")}, 4)) == set()


def test_the_file_is_known_by_its_content_at_any_name() -> None:
    assert "safetensors-overlap" in rules("weights.bin", MALICIOUS["overlapping tensors"][0])


def test_a_sparse_gigabyte_is_read_by_its_header_alone(tmp_path: Path) -> None:
    size = 1 << 30
    path = tmp_path / "m.safetensors"
    with path.open("wb") as file:
        file.write(safetensors({"a": tensor(0, size)}))
        file.truncate(file.tell() + size)

    class Counting(FileContent):
        read = 0

        def read_at(self, offset: int, size: int) -> bytes:
            data = super().read_at(offset, size)
            Counting.read += len(data)
            return data

    assert scan_files([("m.safetensors", Counting(path))], SCANNERS).findings == []
    assert Counting.read < 4 << 20


@settings(deadline=None)
@given(st.data())
def test_a_changed_file_gives_findings_and_nothing_else(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(GOOD) - 1))
    changed = bytearray(GOOD)
    changed[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=12))
    findings("model.safetensors", bytes(changed))
