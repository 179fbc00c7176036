"""Model folders of random bytes: written once a run, the same for everybody."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MIB = 1 << 20
BLOCK = 4 * MIB
TENSOR = 16 * MIB
"""Bytes of one tensor of the generated safetensors files, at most."""
HEADER = 64 * 1024
"""Bytes of their headers, as a model of a few hundred tensors has it."""
RECIPE = "name: bench\nversion: 1.0.0\nlicense: Apache-2.0\nruntime: {engine: none}\n"
SMALL = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "README.md")


@dataclass(frozen=True, slots=True)
class Folder:
    """A model folder.

    Attributes:
        path: Where it is; it has ``installml.yaml`` besides its files.
        files: Its files' sha256 digests by path, ``installml.yaml`` left out.
        sizes: Their sizes.
    """

    path: Path
    files: Mapping[str, str]
    sizes: Mapping[str, int]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.sizes.values())

    @property
    def largest(self) -> str:
        """Path of the largest file."""
        return max(self.sizes, key=self.sizes.__getitem__)


def one_file(path: Path, size: int, seed: int = 1) -> Folder:
    """Write a folder with one safetensors file of ``size`` bytes."""
    return _written(path, {"model.safetensors": tensors(size, seed)})


def shards(path: Path, size: int, seed: int = 2) -> Folder:
    """Write a folder with four safetensors files of ``size / 4`` bytes and six small files."""
    files = {f"model-{n}-of-4.safetensors": tensors(size // 4, seed * 10 + n) for n in range(1, 5)}
    small = {name: random_blocks(5_000 + 997 * n, seed * 100 + n) for n, name in enumerate(SMALL)}
    return _written(path, {**files, **small})


def many(path: Path, count: int, each: int, seed: int = 3) -> Folder:
    """Write a folder with ``count`` files of ``each`` bytes."""
    return _written(path, {f"data/part-{n:05}.bin": random_blocks(each, seed * 10_000 + n) for n in range(count)})


def tensors(size: int, seed: int, changed: Mapping[int, int] | None = None, *, longer: int = 0) -> Iterator[bytes]:
    """Yield a safetensors file of ``size`` bytes: a header and equal tensors of random bytes.

    Args:
        size: Bytes.
        seed: Of the random bytes.
        changed: Other seeds for some tensors, by number.
        longer: Bytes by which the header is longer, so that all tensors lie elsewhere and the file grows.
    """
    bounds = bounds_of(size)
    entries: dict[str, object] = {"__metadata__": {"note": "edited" if longer else ""}}
    for number, (start, stop) in enumerate(bounds):
        entries[name_of(number)] = {"dtype": "U8", "shape": [stop - start], "data_offsets": [start, stop]}
    header = json.dumps(entries).encode().ljust(HEADER - 8 + longer)
    yield len(header).to_bytes(8, "little") + header
    for number, (start, stop) in enumerate(bounds):
        yield from random_blocks(stop - start, (changed or {}).get(number, seed * 100_000 + number))


def bounds_of(size: int) -> list[tuple[int, int]]:
    """Return where the tensors of a file of ``size`` bytes begin and end, behind its header."""
    room = size - HEADER
    if room < 1:
        raise ValueError(f"a file of {size} bytes has no room for a header")
    starts = range(0, room, min(TENSOR, max(1, room // 16)))
    return list(zip(starts, [*starts[1:], room], strict=True))


def name_of(number: int) -> str:
    """Return the name of a tensor; eight make a layer."""
    return f"model.layers.{number // 8}.weight_{number % 8}"


def variant(base: Folder, path: Path, name: str, blocks: Iterator[bytes]) -> Folder:
    """Write a copy of ``base`` in which one file has other bytes."""
    for each in (*base.files, "installml.yaml"):
        if each != name:
            target = path / each
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(base.path / each, target)
    digest, size = _write(path / name, blocks)
    return Folder(path, {**base.files, name: digest}, {**base.sizes, name: size})


def random_blocks(size: int, seed: int) -> Iterator[bytes]:
    """Yield ``size`` bytes that do not compress, the same for the same seed."""
    generator = np.random.default_rng(seed)
    for start in range(0, size, BLOCK):
        yield generator.bytes(min(BLOCK, size - start))


def _written(path: Path, files: Mapping[str, Iterator[bytes]]) -> Folder:
    digests, sizes = {}, {}
    for name, blocks in files.items():
        digests[name], sizes[name] = _write(path / name, blocks)
    (path / "installml.yaml").write_text(RECIPE)
    return Folder(path, digests, sizes)


def _write(path: Path, blocks: Iterator[bytes]) -> tuple[str, int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as out:
        for block in blocks:
            digest.update(block)
            size += out.write(block)
    return digest.hexdigest(), size
