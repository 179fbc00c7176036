"""Packages of 685 GB, and 10,000 installs at once: what is too large to transfer here, measured in parts or simulated.

    python benchmarks/scale.py [--slice 16G] [--update docs/performance.md]

prints Markdown. Every line says what it is: *measured* ran for real with the product's own code on bytes that exist
nowhere (a source of zeros, a store that keeps nothing), *computed* is arithmetic on measured numbers, *simulated* is a
model in virtual time whose assumptions stand beside it. Wall time is taken only where it is the point.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

ROOT = Path(__file__).resolve().parent.parent
if not __package__:  # run as a script
    sys.path[0] = str(ROOT)

import numpy as np  # noqa: E402  # the path above is what makes the packages importable from any folder

from benchmarks.transfer.main import size_of  # noqa: E402
from benchmarks.transfer.table import update  # noqa: E402
from installml.digest import Digest  # noqa: E402
from installml.packing.chunking import boundaries  # noqa: E402
from installml.spec.canonical import MAX_MANIFEST  # noqa: E402
from installml.spec.chunks import ChunkIndex, parse_chunk_index  # noqa: E402
from installml.spec.descriptor import Descriptor  # noqa: E402
from installml.spec.extents import Extent, Extents  # noqa: E402
from installml.spec.manifest import MAX_LAYERS, Manifest, parse_manifest  # noqa: E402
from installml.spec.media import IMAGE_MANIFEST, MODEL_CONFIG, MODEL_MANIFEST, Role, layer_media_type  # noqa: E402
from installml.spec.package import file_annotations  # noqa: E402
from installml.store.protocol import Assembly  # noqa: E402
from installml.transfer import copy  # noqa: E402

TOTAL = 685_000_000_000
SHARDS = 163
"""The bytes and files of the largest open model packages of today: 163 safetensors files."""
TENSORS = 550
"""Tensors in one of those files."""
MIB = 1 << 20
Line = tuple[str, str, str]


# a package of 685 GB that exists nowhere


def header(size: int) -> bytes:
    """Return the front of a safetensors file of ``size`` bytes with ``TENSORS`` equal tensors."""
    room = 128 * 1024
    step = (size - room) // TENSORS
    offsets = [*range(0, step * TENSORS, step), size - room]
    entries = {
        f"model.layers.{number // 9}.mlp.experts.{number}.weight": {
            "dtype": "U8",
            "shape": [offsets[number + 1] - offsets[number]],
            "data_offsets": offsets[number : number + 2],
        }
        for number in range(TENSORS)
    }
    text = json.dumps(entries).encode()
    return (room - 8).to_bytes(8, "little") + text.ljust(room - 8)


@dataclass(frozen=True)
class Package:
    """The manifest of the package, and the chunk index of every file. The files are their header and zeros.

    Attributes:
        manifest: The manifest.
        data: Its bytes.
        config: Bytes of the configuration.
        indexes: Chunk index of every layer, as kept.
        head: The front of every file.
    """

    manifest: Manifest
    data: bytes
    config: bytes
    indexes: dict[Digest, bytes]
    head: bytes

    @property
    def root(self) -> Descriptor:
        """Descriptor of the manifest."""
        return Descriptor.of(self.data, IMAGE_MANIFEST)


def package(total: int = TOTAL, files: int = SHARDS) -> Package:
    """Make the package. Its layers' sha256 digests are made up: nothing here can have read 685 GB; chunks are true."""
    from blake3 import blake3

    size = total // files
    head = header(size)
    bounds = boundaries(size, head)
    known: dict[tuple[int, bytes], bytes] = {}

    def chunk(start: int, stop: int) -> bytes:
        front = head[start:stop]
        key = (stop - start, front)
        if key not in known:
            known[key] = blake3(front.ljust(stop - start, b"\0")).digest()
        return known[key]

    digests = b"".join(chunk(start, stop) for start, stop in pairwise(bounds))
    layers, indexes = [], {}
    for number in range(files):
        path = f"model-{number + 1:05}-of-{files:06}.safetensors"
        digest = Digest.of(path.encode())
        annotations = file_annotations(path, size, executable=False)
        layers.append(Descriptor(layer_media_type(Role.WEIGHT), digest, size, annotations))
        indexes[digest] = ChunkIndex(digest, bounds, digests).to_bytes()
    config = json.dumps({"modelfs": {"type": "layers", "diffIds": [str(each.digest) for each in layers]}}).encode()
    manifest = Manifest(Descriptor.of(config, MODEL_CONFIG), tuple(layers), MODEL_MANIFEST, {}, None)
    return Package(manifest, manifest.to_bytes(), config, indexes, head)


class Nowhere:
    """A source that makes its bytes up and a destination that keeps none: ``copy`` runs between the two."""

    def __init__(self, made: Package, transferred: int) -> None:
        self._made = made
        self._wanted = {layer.digest for layer in made.manifest.layers[:transferred]}
        self.published = 0
        self.indexes: dict[Digest, ChunkIndex] = {}

    def __str__(self) -> str:
        return "nowhere"

    # as a source

    def resolve(self, pointer: str) -> Descriptor:
        """Return the manifest."""
        return self._made.root

    @contextmanager
    def fetch(self, descriptor: Descriptor) -> Iterator[BinaryIO]:
        """Open the manifest or the configuration."""
        import io

        yield io.BytesIO(self._made.data if descriptor.digest == self._made.root.digest else self._made.config)

    @contextmanager
    def fetch_range(self, descriptor: Descriptor, extent: Extent) -> Iterator[_Made]:
        """Open a part of a layer or of the configuration."""
        yield _Made(extent, self._made.head if descriptor.digest in self._made.indexes else self._made.config)

    # as a destination

    def exists(self, descriptor: Descriptor) -> bool:
        """Say that the layers outside the slice are there."""
        return descriptor.digest in self._made.indexes and descriptor.digest not in self._wanted

    def push(self, descriptor: Descriptor, content: BinaryIO) -> None:
        """Read the content to its end."""
        while content.read(MIB):
            pass

    def tag(self, descriptor: Descriptor, tag: str) -> None:
        """Keep nothing."""

    @contextmanager
    def assemble(
        self, descriptor: Descriptor, *, stopped: Callable[[], bool], on_wait: Callable[[str], None]
    ) -> Iterator[_Void | None]:
        """Open a layer for putting together; None outside the slice: it is there."""
        yield _Void(descriptor, self) if descriptor.digest in self._wanted else None

    # as a delta

    def index(self, blob: Digest) -> ChunkIndex | None:
        """Return the chunk index of a layer."""
        if blob not in self._made.indexes:
            return None
        if blob not in self.indexes:
            size = next(layer.size for layer in self._made.manifest.layers if layer.digest == blob)
            self.indexes[blob] = parse_chunk_index(self._made.indexes[blob], blob, size, "nowhere")
        return self.indexes[blob]

    def vouched(self, blob: Digest) -> bool:
        """Say yes: the way of a signed index."""
        return blob in self._made.indexes

    def fill(self, descriptor: Descriptor, assembly: Assembly) -> int:
        """Give nothing."""
        return 0


class _Made:
    """Bytes of a layer that are made up as they are read."""

    def __init__(self, extent: Extent, head: bytes) -> None:
        self.start, self.stop = extent
        self._at = extent.start
        self._head = head
        self._zeros = bytes(MIB)

    def readinto(self, buffer: memoryview, /) -> int:
        count = min(len(buffer), self.stop - self._at, MIB)
        front = self._head[self._at : self._at + count]
        buffer[: len(front)] = front
        buffer[len(front) : count] = self._zeros[: count - len(front)]
        self._at += count
        return count

    def abort(self) -> None:
        """Nothing waits here."""


class _Void:
    """An assembly that knows what was written and keeps nothing."""

    def __init__(self, descriptor: Descriptor, owner: Nowhere) -> None:
        self.descriptor = descriptor
        self._owner = owner
        self._there = Extents()

    def missing(self) -> list[Extent]:
        return self._there.missing(self.descriptor.size)

    def write(self, offset: int, block: memoryview | bytes) -> int:
        return self._there.add(Extent(offset, offset + len(block)))

    def keep(self, extent: Extent) -> None: ...

    def front(self) -> int:
        return self._there.front()

    def forget(self, extent: Extent) -> None:
        self._there.remove(extent)

    def discard(self) -> None:
        self._there = Extents()

    def publish(self, *, hashed: bool = True) -> None:
        if self.missing():
            raise AssertionError("published with gaps")
        self._owner.published += self.descriptor.size


# what is measured; each in a process of its own, whose peak memory is the answer


def measure_index() -> dict[str, float]:
    """Make and read back the chunk indexes of the whole package."""
    made = package()
    began = time.perf_counter()
    place = Nowhere(made, 0)
    chunks = sum(len(index) for layer in made.manifest.layers if (index := place.index(layer.digest)))
    took = time.perf_counter() - began
    kept = sum(map(len, made.indexes.values()))
    return {"bytes": kept, "chunks": chunks, "parse": took, "manifest": len(made.data)}


def measure_pull(slice_bytes: int) -> dict[str, float]:
    """Copy a slice of the package with the product's engine, every chunk compared; the rest counts as there."""
    made = package()
    count = max(1, min(SHARDS, slice_bytes // (TOTAL // SHARDS)))
    place = Nowhere(made, count)
    before = _peak()
    began = time.perf_counter()
    copy(place, place, made.root, tags=["v1"], jobs=16, delta=place)  # type: ignore[arg-type]
    took = time.perf_counter() - began
    if place.published != count * (TOTAL // SHARDS):
        raise AssertionError(f"{place.published} bytes arrived")
    return {"moved": place.published, "seconds": took, "before": before}


def measure_select(folder: str) -> dict[str, float]:
    """Select the files of a model folder of 685 GB of holes, as ``build`` and ``push`` do before they hash."""
    from installml.packing.recipe import load_recipe
    from installml.packing.select import select

    path = Path(folder)
    size = TOTAL // SHARDS
    for number in range(SHARDS):
        with (path / f"model-{number:05}.safetensors").open("wb") as file:
            file.write(header(size))
            file.truncate(size)
    (path / "installml.yaml").write_text("name: big\nversion: 1.0.0\nlicense: MIT\nruntime: {engine: none}\n")
    began = time.perf_counter()
    chosen = select(path, load_recipe(path).files)
    return {"files": len(chosen.files), "seconds": time.perf_counter() - began}


def largest_manifest() -> int:
    """Return how many files of a usual name fit into a manifest of 4 MiB; our readers take it."""
    per_file = (len(package(TOTAL, 2000).data) - len(package(TOTAL, 1000).data)) // 1000
    count = min(MAX_LAYERS, MAX_MANIFEST // per_file)
    while len(data := package(TOTAL, count).data) > MAX_MANIFEST:
        count -= 50
    parse_manifest(data, IMAGE_MANIFEST, "here")
    return count


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _apart(name: str, *arguments: str) -> dict[str, float]:
    """Run one measurement in a process of its own; its peak memory comes back as ``peak``."""
    command = [sys.executable, str(Path(__file__).resolve()), "--only", name, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-800:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def large(slice_bytes: int, folder: str) -> list[Line]:
    """Return the lines about a package of 685 GB."""
    index, select = _apart("index"), _apart("select", folder)
    pull = _apart("pull", str(slice_bytes))
    rate = pull["moved"] / pull["seconds"]
    files = largest_manifest()
    return [
        ("chunk indexes of all files", f"{index['bytes'] / 1e6:.1f} MB, {index['chunks']:.0f} chunks", "measured"),
        ("the same a MiB", f"{index['bytes'] / (TOTAL / MIB):.1f} bytes", "measured"),
        ("reading all indexes", f"{index['parse']:.2f} s, {index['peak'] / 1e6:.0f} MB at most", "measured"),
        ("manifest", f"{index['manifest'] / 1e3:.0f} kB of {MAX_MANIFEST / 1e3:.0f} kB for {SHARDS} files", "measured"),
        ("files that a manifest holds", f"{files} (most layers: {MAX_LAYERS})", "measured"),
        ("selecting the files of a push", f"{select['seconds']:.2f} s, {select['peak'] / 1e6:.0f} MB at most",
         "measured on files of holes"),
        ("pull of a slice, every chunk compared", f"{pull['moved'] / 1e9:.0f} GB at {rate / 1e9:.2f} GB/s, "
         f"{pull['peak'] / 1e6:.0f} MB at most, of which {pull['before'] / 1e6:.0f} MB before it began",
         "measured, no network and no disk"),
        ("the whole at that rate", f"{TOTAL / rate / 60:.0f} min", "computed"),
        ("the whole at 10 Gbit/s", f"{TOTAL / 1.25e9 / 60:.0f} min", "computed"),
    ]  # fmt: skip


# ten thousand installs at once, in virtual time


@dataclass(frozen=True)
class Fleet:
    """The assumptions.

    Attributes:
        clients: Machines that install at the same moment.
        size: Bytes that each needs.
        registry: Bytes a second that the registry's link gives.
        mirror: The same of one mirror.
        client: Bytes a second that one machine receives at most.
        gives: Bytes a second that one machine gives to others under P2P.
        pieces: Equal pieces that P2P cuts the package into.
        seed: Of the chance by which machines find each other.
    """

    clients: int = 10_000
    size: float = 16e9
    registry: float = 1.25e9
    mirror: float = 1.25e9
    client: float = 1.25e9
    gives: float = 0.25e9
    pieces: int = 128
    seed: int = 1


def direct(fleet: Fleet, mirrors: int = 0) -> float:
    """Return the seconds until the last of the machines has everything, from the registry or from its mirrors.

    Each mirror fetches the package once and passes on what it has: it is behind the registry by its first byte only,
    but cannot be faster than its share of the registry's link. Links are shared fairly, so that all end together.
    """
    if not mirrors:
        return max(fleet.size / fleet.client, fleet.clients * fleet.size / fleet.registry)
    fill = fleet.size / min(fleet.mirror, fleet.registry / mirrors)
    serve = -(-fleet.clients // mirrors) * fleet.size / fleet.mirror
    return max(fill, serve, fleet.size / fleet.client)


def swarm(fleet: Fleet) -> tuple[float, float]:
    """Simulate P2P in rounds of one piece given by one machine.

    In a round the registry gives as many pieces as its link carries, each to a machine that lacks it; every machine
    with a piece offers one, chosen at random among those that the other lacks, to a machine met at random; a machine
    takes no more than its link carries.

    Returns:
        Seconds until the last machine has everything; and how many times the package left the registry.
    """
    chance = np.random.default_rng(fleet.seed)
    have = np.zeros((fleet.clients, fleet.pieces), dtype=bool)
    piece = fleet.size / fleet.pieces
    seconds = piece / fleet.gives
    takes = max(1, int(fleet.client / fleet.gives))
    from_registry = max(1, int(fleet.registry * seconds / piece))
    rounds, left_registry = 0, 0
    while not have.all():
        rounds += 1
        if rounds > 1000 * fleet.pieces:
            raise RuntimeError("the swarm does not end")
        before = have.copy()
        room = np.full(fleet.clients, takes)
        left_registry += _give_rarest(have, room, from_registry, chance)
        givers = np.flatnonzero(before.any(axis=1))
        _meet(before, have, room, givers, chance)
    return rounds * seconds, left_registry / fleet.pieces


def _give_rarest(have: np.ndarray, room: np.ndarray, count: int, chance: np.random.Generator) -> int:
    """Let the registry give ``count`` pieces, the rarest first, as machines that ask for different ones would."""
    given = 0
    lacking = np.flatnonzero(~have.all(axis=1))
    for machine in chance.permutation(lacking)[:count]:
        rare = np.where(have[machine], np.inf, have.sum(axis=0))
        have[machine, int(rare.argmin())] = True
        room[machine] -= 1
        given += 1
    return given


def _meet(
    before: np.ndarray, have: np.ndarray, room: np.ndarray, givers: np.ndarray, chance: np.random.Generator
) -> None:
    """Let every giver meet up to four machines and give one piece to the first that lacks one of its pieces."""
    waiting = givers
    for _ in range(4):
        lacking = np.flatnonzero(~have.all(axis=1) & (room > 0))
        if not len(waiting) or not len(lacking):
            return
        met = lacking[chance.integers(len(lacking), size=len(waiting))]
        useful = before[waiting] & ~have[met]
        keys = np.where(useful, chance.random(useful.shape), -1.0)
        chosen = keys.argmax(axis=1)
        possible = useful.any(axis=1)
        order = chance.permutation(np.flatnonzero(possible))
        done = np.zeros(len(waiting), dtype=bool)
        for each in order:
            machine, piece = met[each], chosen[each]
            if room[machine] > 0 and not have[machine, piece]:
                have[machine, piece] = True
                room[machine] -= 1
                done[each] = True
        waiting = waiting[~done]


def many(fleet: Fleet) -> list[Line]:
    """Return the lines about 10,000 installs at once."""
    seconds, copies = swarm(fleet)
    paper = f"{fleet.clients} x {fleet.size / 1e9:.0f} GB over {fleet.registry * 8 / 1e9:.0f} Gbit/s"
    lines = [("from one registry", _hours(direct(fleet)), f"computed: {paper}")]
    for count in (4, 16, 64):
        lines.append((f"through {count} mirrors", _hours(direct(fleet, count)), "computed: as many links more"))
    lines.append(("peer to peer", f"{_hours(seconds)}; the registry sends the package {copies:.1f} times", (
        f"simulated: each gives {fleet.gives * 8 / 1e9:.0f} Gbit/s, takes {fleet.client * 8 / 1e9:.0f}, "
        f"{fleet.pieces} pieces"
    )))  # fmt: skip
    lines.append(("an update that changes 16 %, from one registry", _hours(direct(fleet) * 0.16), "computed"))
    lines.append(
        ("requests of all, parts of 64 MiB", f"{fleet.clients * (2 + -(-fleet.size // (64 * MIB))):.0f}", "computed")
    )
    return lines


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def markdown(title: str, lines: Sequence[Line]) -> str:
    """Return lines as a table."""
    rows = "".join(f"| {what} | {number} | {how} |\n" for what, number, how in lines)
    return f"**{title}**\n\n| what | number | how |\n|---|---|---|\n{rows}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return the exit code."""
    import tempfile

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--slice", type=size_of, default=size_of("16G"), help="bytes of the 685 GB that are moved (16G)"
    )
    parser.add_argument("--clients", type=int, default=Fleet.clients, help="machines that install at once (10000)")
    parser.add_argument("--update", type=Path, metavar="PAGE", help="replace the tables in this page")
    parser.add_argument("--only", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.only:
        print(json.dumps(_one(*options.only)))
        return 0
    with tempfile.TemporaryDirectory(prefix="installml-scale-") as folder:
        tables = [
            markdown(f"A package of {TOTAL / 1e9:.0f} GB in {SHARDS} files", large(options.slice, folder)),
            markdown(f"{options.clients} installs at once", many(Fleet(clients=options.clients))),
        ]
    text = "\n".join(tables)
    print(text)
    if options.update:
        update(options.update, "benchmarks/scale", text)
    return 0


def _one(name: str, *arguments: str) -> dict[str, float]:
    measurements: dict[str, Callable[[], dict[str, float]]] = {
        "index": measure_index,
        "pull": lambda: measure_pull(int(arguments[0])),
        "select": lambda: measure_select(arguments[0]),
    }
    found = measurements[name]()
    return {**found, "peak": _peak()}


if __name__ == "__main__":
    sys.exit(main())
