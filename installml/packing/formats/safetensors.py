"""safetensors: a length, a JSON header, the tensors' bytes (github.com/huggingface/safetensors, "Format").

Only the header is read. The rules are those of the format's own description: at most 100 MB of header, it
begins with ``{``, no key twice, tensors fill the buffer without a gap and without an overlap.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from installml.packing.formats.documents import integer, mapping, parse_json, read_json, text
from installml.packing.formats.model import PRECISIONS, Finding, dominant
from installml.packing.formats.reader import Reader, names_file, open_reader

__all__ = ["BITS", "INDEX_SUFFIX", "merge", "read", "read_index", "tensor_starts", "weights"]

INDEX_SUFFIX = ".safetensors.index.json"
MAX_HEADER = 100_000_000
_MAX_RANK = 64
_METADATA = "__metadata__"
#: Bits an element; safetensors 0.6 added the formats below one byte.
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F8_E8M0": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip


def read(path: Path, name: str) -> Finding:
    """Read a safetensors header: number formats, parameter count, tensor count.

    Args:
        path: The file.
        name: Its path in the model folder.

    Raises:
        FormatError: The header breaks the format, or the file is shorter or longer than it says.
    """
    counts, tensors, metadata = weights(path, name)
    details = {"tensors": str(tensors)} | {f"metadata.{key}": value for key, value in metadata.items()}
    precision = dominant(counts)
    return Finding(
        format="safetensors",
        engine="none",
        files=(name,),
        precision=PRECISIONS.get(precision, precision.lower()),
        parameters=sum(counts.values()),
        details=details,
    )


def weights(path: Path, name: str) -> tuple[Counter[str], int, dict[str, str]]:
    """Check a header and count its parameters by number format.

    Returns:
        Parameters by number format, the number of tensors, and the first 32 texts of the free metadata.
    """
    with open_reader(path, name) as reader:
        header, data_size = _header(reader)
        spans = []
        counts: Counter[str] = Counter()
        for key, entry in header.items():
            if key != _METADATA:
                dtype, elements, span = _tensor(reader, key, entry)
                counts[dtype] += elements
                spans.append(span)
        _check_spans(reader, spans, data_size)
    metadata = mapping(header.get(_METADATA))
    return counts, len(spans), {key[:64]: text(value) for key, value in list(metadata.items())[:32]}


def tensor_starts(reader: Reader, size: int) -> list[int]:
    """Return the offsets at which tensors begin; number formats and shapes do not matter here.

    Args:
        reader: At the front of the file; it need not reach beyond the header.
        size: Bytes of the whole file.

    Raises:
        FormatError: It is no safetensors file, or its header does not fit into what can be read.
    """
    header, _ = _header(reader)
    room = size - reader.position
    starts = []
    for key, entry in header.items():
        offsets = mapping(entry).get("data_offsets") if key != _METADATA else [0, 0]
        ends = [integer(end) for end in offsets] if isinstance(offsets, list) else []
        if len(ends) != 2 or not 0 <= (begin := ends[0] or 0) <= (ends[1] or 0) <= room:
            raise reader.fail(f"tensor {key[:80]!r} lies outside the file", offset=8)
        starts.append(reader.position + begin)
    return starts


def _header(reader: Reader) -> tuple[dict[str, Any], int]:
    size = reader.u64("the header's length")
    start = reader.position
    data = reader.bytes(size, cap=MAX_HEADER, what="the header")
    if not data.startswith(b"{"):
        raise reader.fail("its header is not a JSON object", offset=start)
    header = parse_json(data, reader.name, offset=start)
    return header, reader.remaining


def _tensor(reader: Reader, key: str, entry: object) -> tuple[str, int, tuple[int, int]]:
    fields = mapping(entry)
    dtype, shape, offsets = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
    if not isinstance(dtype, str) or not isinstance(shape, list) or not isinstance(offsets, list):
        raise reader.fail(f"tensor {key[:80]!r} lacks dtype, shape or data_offsets", offset=8)
    sizes = [integer(size) for size in shape]
    ends = [integer(end) for end in offsets]
    if len(ends) != 2 or len(sizes) > _MAX_RANK or any(number is None or number < 0 for number in (*sizes, *ends)):
        raise reader.fail(f"tensor {key[:80]!r} has a shape or offsets that are not natural numbers", offset=8)
    if dtype not in BITS:
        raise reader.fail(f"tensor {key[:80]!r} has the unknown number format {dtype[:20]!r}", offset=8)
    begin, end = int(ends[0] or 0), int(ends[1] or 0)
    elements = prod(int(size or 0) for size in sizes)
    if elements * BITS[dtype] != (end - begin) * 8:
        raise reader.fail(f"tensor {key[:80]!r} does not have the size that its shape promises", offset=8)
    return dtype, elements, (begin, end)


def _check_spans(reader: Reader, spans: list[tuple[int, int]], size: int) -> None:
    at = 0
    for begin, end in sorted(spans):
        if begin != at:
            what = "overlap" if begin < at else "leave a gap"
            raise reader.fail(f"its tensors {what}", offset=reader.position + min(begin, size))
        at = end
    if at != size:
        raise reader.fail(f"holds {size} bytes of tensors where its header promises {at}")


def read_index(path: Path, name: str) -> Finding:
    """Read a sharded model's index and every shard that it names.

    Raises:
        FormatError: The index or a shard is broken, or a shard is missing.
    """
    with open_reader(path, name) as reader:
        index = mapping(read_json(reader))
        shards = sorted({value for value in mapping(index.get("weight_map")).values() if isinstance(value, str)})
        if not shards:
            raise reader.fail("its weight_map names no file", offset=0)
        for shard in shards:
            if not names_file(path.parent, shard):
                raise reader.fail(f"names the file {shard[:80]!r}, which is not in its folder", offset=0)
    prefix = name.rpartition("/")[0]
    found = [read(path.parent / shard, f"{prefix}/{shard}" if prefix else shard) for shard in shards]
    return replace(merge(found), files=(name, *(file for one in found for file in one.files)))


def merge(found: list[Finding]) -> Finding:
    """Add several files of one model up to one finding; the first's details stay."""
    sizes: Counter[str] = Counter()
    for one in found:
        sizes[one.precision] += one.parameters or 0
    shards = {"shards": str(len(found))} if len(found) > 1 else {}
    return replace(
        found[0],
        files=tuple(file for one in found for file in one.files),
        precision=dominant(sizes),
        parameters=sum(sizes.values()),
        details={**found[0].details, **shards},
    )
