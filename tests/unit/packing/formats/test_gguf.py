"""GGUF: metadata of every type, both byte orders, tensors against the file's size."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from installml.errors import FormatError
from installml.packing.formats import gguf, recognise


def text(word: str | bytes, order: str = "<") -> bytes:
    data = word.encode() if isinstance(word, str) else word
    return struct.pack(order + "Q", len(data)) + data


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def model(pairs: list[bytes], tensors: tuple[bytes, ...] = (), data: int = 0, version: int = 3) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + bytes(data)


def write(folder: Path, data: bytes) -> Path:
    path = folder / "m.gguf"
    path.write_bytes(data)
    return path


ARCHITECTURE = pair("general.architecture", 8, text("qwen2"))
Q4_K_M = pair("general.file_type", 4, struct.pack("<I", 15))


def test_the_quantisation_is_named_as_people_name_it(tmp_path: Path) -> None:
    data = model([ARCHITECTURE, Q4_K_M], (tensor("w", (256, 2), 12, 0),), 288)
    found = gguf.read(write(tmp_path, data), "m.gguf")
    assert (found.architecture, found.quantization, found.precision) == ("qwen2", "Q4_K_M", "")
    assert found.parameters == 512


def test_without_a_file_type_most_tensors_name_it(tmp_path: Path) -> None:
    data = model([ARCHITECTURE], (tensor("w", (32, 4), 8, 0), tensor("b", (4,), 0, 160)), 192)
    assert gguf.read(write(tmp_path, data), "m.gguf").quantization == "Q8_0"


def test_every_type_of_value_is_passed_over(tmp_path: Path) -> None:
    widths = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    pairs = [pair(f"k{kind}", kind, bytes(width)) for kind, width in widths.items()]
    pairs += [pair(f"a{kind}", 9, struct.pack("<IQ", kind, 3) + bytes(3 * width)) for kind, width in widths.items()]
    pairs += [pair("words", 9, struct.pack("<IQ", 8, 2) + text("a") + text(b"\xff"))]
    pairs += [pair("nested", 9, struct.pack("<IQ", 9, 1) + struct.pack("<IQ", 0, 2) + b"ab")]
    pairs += [pair("long", 8, text("x" * 100_000)), ARCHITECTURE]
    assert gguf.read(write(tmp_path, model(pairs)), "m.gguf").architecture == "qwen2"


def test_version_2_is_read(tmp_path: Path) -> None:
    assert gguf.read(write(tmp_path, model([ARCHITECTURE], version=2)), "m.gguf").details["gguf"] == "2"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (model([], version=1), "version 1"),
        (model([], version=4), "version 4"),
        (model([ARCHITECTURE, ARCHITECTURE]), "twice"),
        (model([pair("k", 13, b"")]), "type 13 does not exist"),
        (model([pair("k", 8, struct.pack("<Q", 2**63))]), "ends in the middle|larger than"),
        (model([pair("k", 9, struct.pack("<IQ", 4, 2**62))]), "ends in the middle"),
        (model([pair("k", 9, struct.pack("<IQ", 9, 1) * 9)]), "nests"),
        (model([pair("general.alignment", 4, bytes(4))]), "alignment"),
        (model([], (tensor("w", (4,), 0, 0),), 15), "its tensors end at byte"),
        (model([], (tensor("w", (4,), 0, 7),), 64), "crooked"),
        (model([], (tensor("w", (4,), 4, 0),), 64), "unknown type"),
        (model([], (tensor("w", (1,) * 9, 0, 0),), 64), "9 dimensions"),
        (b"GGML" + bytes(20), "does not begin with GGUF"),
        (b"GG", "the magic number"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**40, 0), "more than are accepted"),
    ],
)
def test_a_file_that_breaks_the_format_is_refused(data: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=reason):
        gguf.read(write(tmp_path, data), "m.gguf")


def test_shards_are_added_up(tmp_path: Path) -> None:
    for number in (1, 2):
        data = model([ARCHITECTURE, Q4_K_M], (tensor("w", (256,), 12, 0),), 144)
        (tmp_path / f"big-0000{number}-of-00002.gguf").write_bytes(data)
    [found] = recognise(tmp_path)
    assert found.parameters == 512
    assert len(found.files) == 2


def test_texts_of_strangers_cannot_steer_a_terminal(tmp_path: Path) -> None:
    write(tmp_path, model([pair("general.name", 8, text("a\x1b[31mb\x07"))]))
    assert recognise(tmp_path)[0].name == "a[31mb"


def test_a_gguf_file_without_its_ending_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(model([ARCHITECTURE]))
    assert recognise(tmp_path)[0].format == "gguf"
