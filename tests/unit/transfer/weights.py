"""Packages with large tensors, made quickly and the same every time."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Mapping
from pathlib import Path

MIB = 1 << 20


def tensor(name: str, size: int, seed: int = 0) -> bytes:
    """Return the bytes of one tensor; they depend on its name and ``seed``."""
    return random.Random(f"{name}{seed}").randbytes(size)


def safetensors(tensors: Mapping[str, bytes], **metadata: str) -> bytes:
    """Return a safetensors file, its header padded as the format's own writer does it."""
    entries: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for name, data in tensors.items():
        entries[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [at, at + len(data)]}
        at += len(data)
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + b"".join(tensors.values())


def layers(count: int, changed: Mapping[str, int] | None = None) -> dict[str, bytes]:
    """Return the tensors of a small language model, ``count`` layers of about 4 MiB; ``changed`` names other seeds."""
    sizes = {"embed": 3 * MIB}
    for n in range(count):
        sizes |= {f"{n}.norm": 8192, f"{n}.q": MIB, f"{n}.v": MIB, f"{n}.mlp": 2 * MIB + 4096}
    return {name: tensor(name, size, (changed or {}).get(name, 0)) for name, size in sizes.items()}


def write(folder: Path, files: Mapping[str, bytes], version: str) -> Path:
    """Write a model folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "installml.yaml").write_text(f"name: acme/large\nversion: {version}\nlicense: Apache-2.0\n")
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder
