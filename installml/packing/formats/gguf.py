"""GGUF versions 2 and 3, either byte order (github.com/ggml-org/ggml, docs/gguf.md).

Metadata, tensor shapes and number formats are read and checked against the file's size; weights are not read.
"""

from __future__ import annotations

from collections import Counter
from math import prod
from pathlib import Path

from installml.packing.formats.licenses import spdx
from installml.packing.formats.model import Finding, dominant
from installml.packing.formats.reader import Reader, open_reader

__all__ = ["MAGIC", "TYPES", "read", "tensor_starts"]

MAGIC = b"GGUF"
MAX_PAIRS = 10_000
MAX_TENSORS = 200_000
MAX_ITEMS = 2_000_000
_MAX_KEY, _MAX_RANK, _MAX_NESTING = 4096, 8, 4
_MAX_STRING = 16 << 20
_KEPT_STRING = 4096
_STRING, _ARRAY = 8, 9
#: Metadata value types of fixed size -> `struct` letter
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

#: general.file_type (llama_ftype in llama.h) -> the name people know
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0",
    37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0",
}  # fmt: skip
#: ggml_type -> (name, elements a block, bytes a block)
TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
}  # fmt: skip
_PLAIN = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}


def read(path: Path, name: str) -> Finding:
    """Read a GGUF file's metadata and tensor table.

    Args:
        path: The file.
        name: Its path in the model folder.

    Raises:
        FormatError: The header breaks the format, or a tensor reaches over the file's end.
    """
    with open_reader(path, name) as reader:
        version = _version(reader)
        tensors, pairs = reader.u64("the tensor count"), reader.u64("the metadata count")
        if pairs > MAX_PAIRS or tensors > MAX_TENSORS:
            raise reader.fail(f"promises {tensors} tensors and {pairs} metadata entries, more than are accepted")
        facts = _Metadata(reader).pairs(pairs)
        counts = _tensors(reader, tensors, _alignment(reader, facts))
    facts["gguf"] = str(version)
    return _finding(name, facts, counts)


def tensor_starts(reader: Reader, size: int) -> list[int]:
    """Return the offsets at which tensors begin; number formats do not matter here.

    Args:
        reader: At the front of the file; it need not reach beyond the table of tensors.
        size: Bytes of the whole file.

    Raises:
        FormatError: It is no GGUF file, or its tables do not fit into what can be read.
    """
    _version(reader)
    count, pairs = reader.u64("the tensor count"), reader.u64("the metadata count")
    if pairs > MAX_PAIRS or count > MAX_TENSORS:
        raise reader.fail(f"promises {count} tensors and {pairs} metadata entries, more than are accepted")
    alignment = _alignment(reader, _Metadata(reader).pairs(pairs))
    offsets = []
    for _ in range(count):
        reader.text(reader.u64("a tensor name's length"), what="a tensor's name")
        reader.skip(8 * reader.u32("a tensor's rank") + 4, "a tensor's shape and type")
        offsets.append(reader.u64("a tensor's offset"))
    data = -(-reader.position // alignment) * alignment
    if any(data + offset > size for offset in offsets):
        raise reader.fail("a tensor lies outside the file")
    return [data + offset for offset in offsets]


def _version(reader: Reader) -> int:
    if reader.bytes(4, cap=4, what="the magic number") != MAGIC:
        raise reader.fail("does not begin with GGUF", offset=0)
    version = reader.u32("the version")
    if not version & 0xFFFF:  # a small number that looks huge was written in the other byte order
        reader.order = "big"
        version = int.from_bytes(version.to_bytes(4, "little"), "big")
    if version not in (2, 3):
        raise reader.fail(f"is GGUF version {version}; versions 2 and 3 are known", offset=4)
    return version


class _Metadata:
    """Read key-value pairs: short texts and numbers are kept, arrays are only counted."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._items = MAX_ITEMS

    def pairs(self, count: int) -> dict[str, str]:
        facts: dict[str, str] = {}
        for _ in range(count):
            start = self._reader.position
            key = self._reader.text(self._reader.u64("a key's length"), cap=_MAX_KEY, what="a metadata key")
            if key in facts:
                raise self._reader.fail(f"metadata key {key[:80]!r} stands twice", offset=start)
            facts[key] = self._value(self._reader.u32("a value's type"), 0)
        return facts

    def _value(self, kind: int, depth: int) -> str:
        reader = self._reader
        if kind in _NUMBERS:
            return str(reader.number(_NUMBERS[kind], "a metadata value"))
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array(depth)
        raise reader.fail(f"metadata type {kind} does not exist", offset=reader.position - 4)

    def _string(self) -> str:
        size = self._reader.u64("a text's length")
        if size > _KEPT_STRING:
            self._skip(size, _MAX_STRING)
            return ""
        return self._reader.bytes(size, cap=_KEPT_STRING, what="a metadata text").decode("utf-8", "replace")

    def _skip(self, size: int, cap: int) -> None:
        if size > cap:
            raise self._reader.fail(f"a metadata value of {size} bytes is larger than the {cap} that are accepted")
        self._reader.skip(size, "a metadata value")

    def _array(self, depth: int) -> str:
        reader = self._reader
        kind, count = reader.u32("an array's type"), reader.u64("an array's length")
        if depth >= _MAX_NESTING:
            raise reader.fail("nests metadata arrays too deeply")
        if kind in _WIDTHS:
            reader.skip(count * _WIDTHS[kind], "a metadata array")
            return f"[{count}]"
        self._items -= count
        if self._items < 0:
            raise reader.fail(f"a metadata array of {count} items is larger than accepted")
        for _ in range(count):
            if kind == _STRING:
                self._skip(reader.u64("a text's length"), _MAX_STRING)
            else:
                self._value(kind, depth + 1)
        return f"[{count}]"


def _alignment(reader: Reader, facts: dict[str, str]) -> int:
    value = facts.get("general.alignment", "32")
    if not value.isdecimal() or not 0 < int(value) <= 1 << 20:
        raise reader.fail(f"has the impossible alignment {value[:20]}")
    return int(value)


def _tensors(reader: Reader, count: int, alignment: int) -> Counter[str]:
    """Count parameters by number format, and check that every tensor lies in the file."""
    counts: Counter[str] = Counter()
    needed = 0
    for _ in range(count):
        start = reader.position
        name = reader.text(reader.u64("a tensor name's length"), what="a tensor's name")
        rank = reader.u32("a tensor's rank")
        if rank > _MAX_RANK:
            raise reader.fail(f"tensor {name[:80]!r} has {rank} dimensions", offset=start)
        elements = prod(reader.u64("a tensor's size") for _ in range(rank))
        kind, offset = reader.u32("a tensor's type"), reader.u64("a tensor's offset")
        if kind not in TYPES or offset % alignment:
            raise reader.fail(f"tensor {name[:80]!r} has an unknown type or a crooked offset", offset=start)
        label, block, size = TYPES[kind]
        counts[label] += elements
        needed = max(needed, offset + -(-elements // block) * size)
    data = -(-reader.position // alignment) * alignment
    if count and data + needed > reader.size:
        raise reader.fail(f"its tensors end at byte {data + needed}, the file at {reader.size}", offset=reader.size)
    return counts


def _finding(name: str, facts: dict[str, str], counts: Counter[str]) -> Finding:
    def general(key: str) -> str:
        return facts.get(f"general.{key}", "").strip()[:1024]

    file_type = general("file_type")
    label = FILE_TYPES.get(int(file_type), "") if file_type.isdecimal() else ""
    label = label or dominant(counts)
    architecture = general("architecture")
    details = {
        "gguf": facts["gguf"],
        "context_length": facts.get(f"{architecture}.context_length", ""),
        "chat_template": "present" if "tokenizer.chat_template" in facts else "",
        "shards": facts.get("split.count", ""),
        "base_model": general("base_model.0.repo_url"),
        "source": general("source.url") or general("url"),
    }
    return Finding(
        format="gguf",
        engine="llama.cpp",
        files=(name,),
        architecture=architecture,
        precision=_PLAIN.get(label, ""),
        quantization="" if label in _PLAIN else label,
        parameters=sum(counts.values()),
        task="text-generation" if "tokenizer.chat_template" in facts else "",
        license=spdx(general("license")),
        description=general("description"),
        authors=(general("author"),) if general("author") else (),
        name=general("name") or general("basename"),
        version=general("version"),
        details={key: value for key, value in details.items() if value},
    )
