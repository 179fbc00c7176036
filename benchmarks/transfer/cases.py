"""What is measured. Each case runs its peers in turn, again and again, and looks at what each has left."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from . import folders, networks, registries
from .folders import MIB, Folder
from .measuring import Cost, measure
from .pages import Pages
from .peers import HASH, LIMITS, OURS, REFERENCE, Job, Ours, Peer
from .registries import Running
from .relay import Relay, Shape
from .results import FINE, Results, Sample

GIGABIT = 125_000_000.0
CAP = 50_000_000.0
ROUND_TRIP = 0.1
WINDOW = 4 * MIB
SETTLED = 128 * MIB
"""Size from which on disk and memory are settled before each run: smaller ones only try whether all works."""
SLIDE = 20
"""Tenths of a second over which what a throttling server lets through is averaged."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for.

    Attributes:
        work: Folder for everything; on the disk that is measured.
        size: Bytes of the large file.
        runs: Runs of each.
        files: Files of the case with small ones.
        peers: Who takes part.
        say: Told what is being done.
        locks: Files that are locked, in this order, while something is measured.
    """

    work: Path
    size: int
    runs: int
    files: int
    peers: Sequence[Peer]
    say: Callable[[str], None]
    locks: Sequence[Path] = ()

    @property
    def part(self) -> int:
        """Bytes of the file for slow links."""
        return max(self.size // 4, 2 * MIB)


class Bench:
    """Runs cases; keeps the folders that several of them share."""

    def __init__(self, plan: Plan, results: Results) -> None:
        self.plan = plan
        self.results = results
        self._folders: dict[str, Folder] = {}
        self._pages = Pages(plan.work)

    def folder(self, kind: str) -> Folder:
        """Return a model folder, written when it is first wanted."""
        if kind not in self._folders:
            self.plan.say(f"writing the {kind} folder")
            path = self.plan.work / "folders" / kind
            shutil.rmtree(path, ignore_errors=True)
            self._folders[kind] = {
                "one": lambda: folders.one_file(path, self.plan.size),
                "part": lambda: folders.one_file(path, self.plan.part, seed=4),
                "shards": lambda: folders.shards(path, self.plan.size),
                "small": lambda: folders.many(path, self.plan.files, 64 * 1024),
            }[kind]()
        return self._folders[kind]

    def job(self, peer: Peer, folder: Folder, address: str, case: str) -> Job:
        """Return a transfer with an empty destination and what the peer needs."""
        base = self.plan.work / "peers" / peer.name.replace(" ", "-").replace(",", "")
        home = base / f"home-{case}"
        home.mkdir(parents=True, exist_ok=True)
        return Job(folder, address, home, _empty(base / "into"), case)

    def once(
        self, commands: Sequence[Sequence[str]], job: Job, prefix: Sequence[str] = (), cwd: Path | None = None
    ) -> Cost:
        """Run a peer's commands with nothing else waiting for the disk, and with memory that is really there."""
        with ExitStack() as held:
            for lock in self.plan.locks:
                fcntl.flock(held.enter_context(lock.open("ab")), fcntl.LOCK_EX)
            if self.plan.size >= SETTLED:
                os.sync()
                self._pages.settle()
            prefixed = [[*prefix, *command] for command in commands]
            return measure(prefixed, cwd=cwd or job.folder.path, env=job.environment)

    def registry(self, name: str) -> AbstractContextManager[Running]:
        """Run a registry on an empty folder."""
        return registries.REGISTRIES[name](self.plan.work)

    def take(self, case: str, registry: str, peer: Peer, cost: Cost, left: str, **more: float) -> None:
        """Note what one run gave."""
        self.results.add(Sample(case, registry, peer.name, cost, left, more))
        wrong = "" if left == FINE and cost.code == 0 else f"  exit {cost.code}, {left}: {cost.said[-300:]}"
        self.plan.say(f"  {peer.name}: {cost.wall:.2f} s, {cost.cpu:.2f} s CPU, {cost.peak / 1e6:.0f} MB{wrong}")

    def fill(self, registry: Running, folder: Folder, case: str, peers: Sequence[Peer]) -> list[Peer]:
        """Push what the peers will pull; return those whose artifact is there."""
        pushers = {peer.name: peer for peer in peers} | {REFERENCE: Ours()}
        there = set()
        for owner in dict.fromkeys([REFERENCE, *(peer.owner for peer in peers)]):
            pusher = pushers[owner]
            job = self.job(pusher, folder, registry.address, case)
            pusher.prepare(job)
            cost = self.once(pusher.push(job), job)
            if cost.code == 0:
                there.add(owner)
            else:
                self.results.skip(f"{owner}, {case}", f"its push failed with {cost.code}: {cost.said[-200:]}")
        ready = [peer for peer in peers if peer.owner in there]
        for peer in ready:
            peer.prepare(self.job(peer, folder, registry.address, case))
        return ready


def _empty(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


# what is left


def look(into: Path, folder: Folder, *, stored: bool = True) -> str:
    """Return ``yes`` when every file of ``folder`` lies below ``into``, byte for byte, else what is wrong.

    Args:
        into: Where the peer put what it got.
        folder: What it should have got.
        stored: A file may lie there under its digest too, in the peer's store; else only under its own name.
    """
    by_name = {path.name: path for path in into.rglob("*") if path.is_file() and not _staged(path)}
    for name, digest in folder.files.items():
        path = into / name
        if not path.is_file():
            path = by_name.get(digest if stored else path.name, path)
        if not path.is_file():
            return f"{name} is missing"
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                return f"{name} is wrong"
    return FINE


def pushed(registry: Running, job: Job, peer: Peer) -> str:
    """Return ``yes`` when the registry gives every file of a push back, else what is wrong."""
    repository = job.repository(REFERENCE if isinstance(peer, Ours) else peer.name)
    wanted = set(job.folder.files.values())
    if peer.name == HASH:
        return FINE  # it moves nothing, and is there to compare with
    if peer.name not in LIMITS:  # curl sends blobs and no manifest
        manifest = registries.manifest(registry.address, repository, "v1")
        layers = [str(layer["digest"]).removeprefix("sha256:") for layer in manifest.get("layers", [])]
        if not layers:
            return "there is no manifest"
        if packed := len(wanted - set(layers)):
            if wanted & set(layers) or sum(layer["size"] for layer in manifest["layers"]) < job.folder.size:
                return f"{packed} files are missing"
            wanted = set(layers)  # the peer packs files into archives: its own digests must hold
    for digest in wanted:
        if registries.blob_digest(registry.address, repository, digest) != digest:
            return f"{digest[:12]} is wrong or missing"
    return FINE


def exposed(into: Path, folder: Folder) -> str:
    """Return what a failed or deceived pull leaves of the largest file: ``nothing``, or a corrupt file for use."""
    wanted, size = folder.files[folder.largest], folder.sizes[folder.largest]
    for path in into.rglob("*"):
        if path.is_file() and path.stat().st_size >= size and not _staged(path):
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != wanted:
                    return "the corrupt file"
                return "the file, intact"
    return "nothing"


def _staged(path: Path) -> bool:
    return "ingest" in path.parts  # our store's place for what is not finished; nothing reads it


# cases


def push(bench: Bench, kind: str, name: str) -> None:
    """Push a folder to an empty registry, and again with nothing changed."""
    folder = bench.folder(kind)
    _layouts(bench, folder, kind, name)
    for _, peer in _turns(bench, f"push {kind}, {name}", lambda peer: peer.pushes):
        with bench.registry(name) as registry:
            job = bench.job(peer, folder, registry.address, kind)
            if peer.owner == peer.name:
                peer.prepare(job)
            cost = bench.once(peer.push(job), job)
            bench.take(f"push {kind}", name, peer, cost, pushed(registry, job, peer))
            if cost.code == 0 and peer.name not in LIMITS:
                _push_again(bench, registry, peer, job, name)


def _layouts(bench: Bench, folder: Folder, kind: str, name: str) -> None:
    """Give those peers that push what they have pulled something to push."""
    movers = [peer for peer in bench.plan.peers if peer.pushes and peer.owner != peer.name]
    if movers:
        with bench.registry(name) as registry:
            bench.fill(registry, folder, kind, movers)


def _push_again(bench: Bench, registry: Running, peer: Peer, job: Job, name: str) -> None:
    again = bench.once(peer.push(job), job)
    left, counts = pushed(registry, job, peer), {}
    if isinstance(peer, Ours):  # counted apart: what is timed does not go through the relay
        with Relay(registry.target) as relay:
            through = replace(job, address=relay.address)
            bench.once(peer.push(through), through)
            relay.reset()
            bench.once(peer.push(through), through)
            counts = {"requests": relay.requests}
    bench.take(f"push {job.case} again", name, peer, again, left, **counts)


def pull(bench: Bench, kind: str, name: str) -> None:
    """Pull what each peer has pushed, and again with everything there."""
    folder = bench.folder(kind)
    with bench.registry(name) as registry:
        peers = bench.fill(registry, folder, kind, bench.plan.peers)
        for _, peer in _turns(bench, f"pull {kind}, {name}", lambda peer: True, peers):
            job = bench.job(peer, folder, registry.address, kind)
            cost = bench.once(peer.pull(job), job)
            left = FINE if peer.name == HASH else look(job.into, folder)
            bench.take(f"pull {kind}", name, peer, cost, left)
            if peer.name not in LIMITS and cost.code == 0:
                again = bench.once(peer.pull(job), job)
                bench.take(f"pull {kind} again", name, peer, again, look(job.into, folder))
        _count_requests(bench, registry, folder, kind, name)


def _count_requests(bench: Bench, registry: Running, folder: Folder, kind: str, name: str) -> None:
    """Count what our second pull asks, on the wire."""
    ours = Ours()
    if ours not in bench.plan.peers:
        return
    with Relay(registry.target) as relay:
        job = bench.job(ours, folder, relay.address, kind)
        bench.once(ours.pull(job), job)
        relay.reset()
        cost = bench.once(ours.pull(job), job)
        left = look(job.into, folder)
        bench.take(f"pull {kind} again, counted", name, ours, cost, left, requests=relay.requests, bytes=relay.down)


def flip(bench: Bench, name: str) -> None:
    """Pull after one bit of the stored file has been flipped. Once: nothing here is timed."""
    folder = bench.folder("part")
    bench.plan.say(f"flip, {name}")
    with bench.registry(name) as registry:
        pullers = [peer for peer in bench.plan.peers if peer.name != HASH]
        peers = bench.fill(registry, folder, "flip", pullers)
        for digest, size in _large_blobs(registry, folder, peers).items():
            if registry.flip(digest, size) == 0:
                raise RuntimeError(f"{registry.name} keeps {digest} in no file that was found")
        for peer in peers:
            job = bench.job(peer, folder, registry.address, "flip")
            cost = bench.once(peer.pull(job), job)
            bench.take("flip", name, peer, cost, exposed(job.into, folder))


def _large_blobs(registry: Running, folder: Folder, peers: Sequence[Peer]) -> Mapping[str, int]:
    """Return the blobs that hold the large file, whoever pushed it: digests and sizes."""
    found = {}
    for owner in {peer.owner for peer in peers}:
        manifest = registries.manifest(registry.address, f"bench/flip/{owner}", "v1")
        layer = max(manifest["layers"], key=lambda each: int(each["size"]))
        found[str(layer["digest"]).removeprefix("sha256:")] = int(layer["size"])
    return found


def _turns(
    bench: Bench, title: str, wanted: Callable[[Peer], bool], peers: Sequence[Peer] | None = None
) -> Iterator[tuple[int, Peer]]:
    """Yield every run of every peer, the peers in turn; each run begins with another of them."""
    chosen = [peer for peer in (bench.plan.peers if peers is None else peers) if wanted(peer)]
    for run in range(bench.plan.runs):
        bench.plan.say(f"{title}: run {run + 1} of {bench.plan.runs}")
        shift = run % max(1, len(chosen))
        for peer in chosen[shift:] + chosen[:shift]:
            yield run, peer


def _shaped(
    bench: Bench, case: str, name: str, shape: Shape, link: str = "", *, kind: str = "part", only: Sequence[str] = ()
) -> None:
    """Pull through a relay, and through a limited link where ``link`` is given; by all peers, or ``only`` some."""
    folder = bench.folder(kind)
    with bench.registry(name) as registry, ExitStack() as stack:
        peers = [peer for peer in bench.plan.peers if peer.name != HASH and (not only or peer.name in only)]
        peers = bench.fill(registry, folder, kind, peers)
        net = stack.enter_context(networks.link(link)) if link else None
        relay = stack.enter_context(Relay(registry.target, shape, net.host if net else "127.0.0.1"))
        for _, peer in _turns(bench, f"{case}, {name}", lambda peer: True, peers):
            job = bench.job(peer, folder, relay.address, kind)
            relay.reset()
            cost = bench.once(peer.pull(job), job, net.prefix if net else ())
            counted = {"bytes": relay.down, "requests": relay.requests, "refused": relay.refused}
            worst = {"worst": lowest_share(relay.flow, shape)} if shape.total else {}
            bench.take(case, name, peer, cost, look(job.into, folder), **counted, **worst)


def lowest_share(flow: Mapping[int, int], shape: Shape) -> float:
    """Return the least share of what was allowed that passed in any ``SLIDE`` tenths of a second.

    The last window is left out: at the end there is nothing left to send.
    """
    assert shape.total is not None
    tenths = [flow.get(number, 0) for number in range(max(flow, default=0) + 1)]
    allowed = [shape.total(number / 10) / 10 for number in range(len(tenths))]
    windows = range(max(0, len(tenths) - SLIDE))
    return min((sum(tenths[at : at + SLIDE]) / sum(allowed[at : at + SLIDE]) for at in windows), default=1.0)


def gigabit(bench: Bench, name: str) -> None:
    """1 Gbit/s and 50 ms: a namespace with ``tc tbf``, and the relay for the delay."""
    if why := networks.missing():
        bench.results.skip("1 Gbit/s, 50 ms", why)
        return
    _shaped(bench, "gigabit", name, Shape(delay=0.05), "1gbit")


def capped(bench: Bench, name: str) -> None:
    """50 MB/s a connection; and the relay with no cap, which is the link.

    The large file is for what the cap leaves: a quarter of it is over in less time than the program takes to start and
    to find the number of connections. One stream would take most of a minute for it, so only we do.
    """
    _shaped(bench, "relay", name, Shape())
    _shaped(bench, "capped", name, Shape(each=CAP))
    _shaped(bench, "relay, large", name, Shape(), kind="one", only=(*OURS, "curl"))
    _shaped(bench, "capped, large", name, Shape(each=CAP), kind="one", only=OURS)


def delayed(bench: Bench, name: str) -> None:
    """A round trip of 100 ms and a window of 4 MiB a connection."""
    _shaped(bench, "delayed", name, Shape(delay=ROUND_TRIP, window=WINDOW))


def throttled(bench: Bench, name: str) -> None:
    """A server that lets a quarter through after two seconds, and answers more than four requests at once with 429."""
    full = bench.plan.part / 6
    _shaped(bench, "throttled", name, Shape(total=lambda age: full if age < 2 else full / 4, busy=4))


def delta(bench: Bench, name: str) -> None:
    """Pull a version when another is there: bytes on the wire. Ours, and what a whole download takes."""
    size, one, many = bench.plan.size, bench.folder("one"), bench.folder("small")
    tensors = len(folders.bounds_of(size))
    last = {number: 900_000 + number for number in range(tensors - max(1, tensors // 6), tensors)}
    merged = {number: 700_000 + number for number in range(0, tensors, 9)}
    part = next(iter(many.files))

    def changed(case: str, tensors: Mapping[int, int], longer: int = 0) -> Folder:
        path = _empty(bench.plan.work / "folders" / case)
        blocks = folders.tensors(size, 1, tensors, longer=longer)
        return folders.variant(one, path, one.largest, blocks)

    made: dict[str, Callable[[], tuple[Folder, Folder, int]]] = {
        "header edit": lambda: (one, changed("header", {}, 8), folders.HEADER + 8),
        "merged LoRA": lambda: (one, changed("lora", merged), _bytes_of(merged, size)),
        "last layers": lambda: (one, changed("last", last), _bytes_of(last, size)),
        "one file of many": lambda: (many, _one_changed(bench, many, part), many.sizes[part]),
    }
    for case, make in made.items():
        bench.plan.say(f"delta: {case}, {name}")
        base, new, count = make()
        _update(bench, case, name, base, new, count)
        shutil.rmtree(new.path, ignore_errors=True)


def _one_changed(bench: Bench, base: Folder, name: str) -> Folder:
    path = _empty(bench.plan.work / "folders" / "changed")
    return folders.variant(base, path, name, folders.random_blocks(base.sizes[name], 77))


def _bytes_of(changed: Mapping[int, int], size: int) -> int:
    extents = folders.bounds_of(size)
    return sum(extents[number][1] - extents[number][0] for number in changed)


def _update(bench: Bench, case: str, name: str, base: Folder, new: Folder, changed: int) -> None:
    """Push two versions, pull the first, and count what the second brings over the wire."""
    ours = Ours()
    if ours not in bench.plan.peers:
        return
    with bench.registry(name) as registry, Relay(registry.target) as relay:
        job = bench.job(ours, base, relay.address, "delta")
        reference = job.reference(REFERENCE)
        for folder, tag in ((base, "v1"), (new, "v2")):
            into = replace(job, folder=folder, into=job.into / "pusher")
            said = bench.once([ours.command(into, "push", str(folder.path), "-t", f"{reference[:-2]}{tag}")], into)
            if said.code:
                bench.take(f"delta, {case}", name, ours, said, "the push failed")
                return
        first = bench.once([ours.command(job, "pull", reference)], job)
        relay.reset()
        cost = bench.once([ours.command(job, "pull", f"{reference[:-2]}v2")], job)
        left = look(job.into / "home", new) if first.code == 0 else "the first version did not come"
        if base.sizes[base.largest] < MIB:  # the manifest lists every file: with a thousand of them it counts
            changed += registries.manifest_size(registry.address, job.repository(REFERENCE), "v2")
        counts = {"bytes": relay.down, "requests": relay.requests, "changed": changed, "size": new.size}
        bench.take(f"delta, {case}", name, ours, cost, left, **counts)


def install(bench: Bench, name: str) -> None:
    """Install a package whose bytes are all here, beside the program's start."""
    ours, folder = Ours(), bench.folder("one")
    if ours not in bench.plan.peers:
        return
    with bench.registry(name) as registry:
        bench.fill(registry, folder, "one", [ours])
        for run in range(bench.plan.runs):
            bench.plan.say(f"install, {name}: run {run + 1} of {bench.plan.runs}")
            job = bench.job(ours, folder, registry.address, "one")
            bench.once(ours.pull(job), job)
            _starts(bench, name, job)
            command = ours.command(job, "install", "--no-runtime", job.reference(REFERENCE))
            for case in ("install", "install again"):
                cost = bench.once([command], job)
                bench.take(case, name, ours, cost, look(job.into, folder, stored=False))
        _count_installs(bench, registry, folder, name)


def _starts(bench: Bench, name: str, job: Job) -> None:
    """Start the program, and bare Python beside it."""
    program = Ours().command(job, "")[0]
    for case, command in (
        ("python", [sys.executable, "-c", "pass"]),
        ("start", [program, "--version"]),
        ("help", [program, "--help"]),
    ):
        bench.take(case, name, Ours(), bench.once([command], job), FINE)


def _count_installs(bench: Bench, registry: Running, folder: Folder, name: str) -> None:
    """Count what an install asks when everything is there, on the wire."""
    ours = Ours()
    with Relay(registry.target) as relay:
        job = bench.job(ours, folder, relay.address, "one")
        command = ours.command(job, "install", "--no-runtime", job.reference(REFERENCE))
        bench.once([command], job)
        for case, flags in (("install again, counted", []), ("install again, offline", ["--offline"])):
            relay.reset()
            cost = bench.once([[*command, *flags]], job)
            left = look(job.into, folder, stored=False)
            bench.take(case, name, ours, cost, left, requests=relay.requests, bytes=relay.down)


def memory(bench: Bench, name: str) -> None:
    """Pull an eighth of the size too, to see whether memory grows with it."""
    folder = folders.one_file(_empty(bench.plan.work / "folders" / "eighth"), max(bench.plan.size // 8, MIB), seed=6)
    with bench.registry(name) as registry:
        peers = [peer for peer in bench.plan.peers if peer.name in OURS]
        peers = bench.fill(registry, folder, "eighth", peers)
        for _, peer in _turns(bench, f"memory, {name}", lambda peer: True, peers):
            job = bench.job(peer, folder, registry.address, "eighth")
            bench.take("pull eighth", name, peer, bench.once(peer.pull(job), job), look(job.into, folder))


def _both(kind: str) -> Callable[[Bench, str], None]:
    def case(bench: Bench, name: str) -> None:
        push(bench, kind, name)
        pull(bench, kind, name)

    return case


CASES: Mapping[str, Callable[[Bench, str], None]] = {
    **{kind: _both(kind) for kind in ("one", "shards", "small")},
    "flip": flip,
    "gigabit": gigabit,
    "capped": capped,
    "delayed": delayed,
    "throttled": throttled,
    "delta": delta,
    "install": install,
    "memory": memory,
}


def run(bench: Bench, registry: str, names: Sequence[str]) -> None:
    """Run cases against one registry; one that breaks is noted, and the others go on."""
    for name in names:
        began = time.monotonic()
        try:
            CASES[name](bench, registry)
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            bench.results.skip(f"{name}, {registry}", f"{type(error).__name__}: {error}")
            bench.plan.say(f"{name}, {registry}: {type(error).__name__}: {error}")
        bench.plan.say(f"{name}, {registry}: {time.monotonic() - began:.0f} s in all")


@contextmanager
def workplace(parent: Path | None) -> Iterator[Path]:
    """Give a folder for everything, and remove it with all that is in it."""
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="installml-bench-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
