"""What tests of scanners share: scan bytes under a name and say what came out; small files as real tools lay them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

from installml.scanning.content import BytesContent
from installml.scanning.finding import Finding, Severity
from installml.scanning.scanners import SCANNERS
from installml.scanning.walk import scan_files


def findings(name: str, data: bytes | str) -> list[Finding]:
    raw = data.encode() if isinstance(data, str) else data
    return scan_files([(name, BytesContent(raw))], SCANNERS).findings


def rules(name: str, data: bytes | str) -> set[str]:
    return {finding.rule.id for finding in findings(name, data)}


def blocking(name: str, data: bytes | str) -> set[str]:
    return {finding.rule.id for finding in findings(name, data) if finding.severity >= Severity.high}


def safetensors(header: Mapping[str, Any] | str, data: int | bytes = 0) -> bytes:
    text = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + (bytes(data) if isinstance(data, int) else data)


def tensor(begin: int, end: int, shape: tuple[int, ...] | None = None, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape or ((end - begin) // 4,)), "data_offsets": [begin, end]}


def gguf_text(word: str | bytes) -> bytes:
    data = word.encode() if isinstance(word, str) else word
    return struct.pack("<Q", len(data)) + data


def gguf_pair(key: str, kind: int, value: bytes) -> bytes:
    return gguf_text(key) + struct.pack("<I", kind) + value


def gguf_tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    return gguf_text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def gguf(
    pairs: tuple[bytes, ...] = (),
    tensors: tuple[bytes, ...] = (),
    data: int = 0,
    *,
    counts: tuple[int, int] | None = None,
) -> bytes:
    promised = counts or (len(tensors), len(pairs))
    head = b"GGUF" + struct.pack("<IQQ", 3, *promised) + b"".join(pairs) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + bytes(data)


def chat(template: str) -> bytes:
    return gguf((gguf_pair("tokenizer.chat_template", 8, gguf_text(template)),))


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def message(*parts: tuple[int, int | bytes | str]) -> bytes:
    """Write a protobuf message: numbers as varints, the rest length-delimited."""
    out = b""
    for number, value in parts:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            raw = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(raw)) + raw
    return out
