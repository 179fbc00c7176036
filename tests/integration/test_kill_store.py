"""kill -9 at a hundred random points of install, upgrade and uninstall: nothing half done is ever visible.

A child process works on a store and reports each line that it executes in the store's code; the parent kills it after
a random number of reports, looks at what is left with fresh eyes, and lets a second process finish the work.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import installml.store
import installml.transfer
from installml.digest import Digest
from installml.errors import NotFound
from installml.reference import Reference
from installml.spec.package import read_package
from installml.store.disk import DiskStore
from installml.store.gc import collect
from installml.store.installed import InstalledStore, Record
from installml.store.materialise import How, materialise
from installml.testing import MemoryStore, Packed, package_bytes
from installml.transfer.copy import copy

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

RUNS = 100
WATCHED = (*(str(Path(str(room.__file__)).parent) for room in (installml.store, installml.transfer)), shutil.__file__)
REFERENCE = Reference("registry.example", "acme/sentiment", "1.0.0")
FILES = {
    "README.md": b"# one\n",
    "model.bin": random.Random(1).randbytes(300_000),
    "code/run.sh": b"#!/bin/sh\n",
    "same.bin": b"same",
}
OLD = package_bytes(FILES, executable={"code/run.sh"})
NEW = package_bytes(
    {**FILES, "model.bin": random.Random(2).randbytes(300_000), "new.txt": b"new"}, executable={"code/run.sh"}
)


@dataclass(frozen=True)
class Job:
    """One thing that a user does."""

    before: Callable[[Path], None]
    work: Callable[[Path], None]
    contents: tuple[dict[str, bytes], ...]  # what may be installed at any moment
    ends_with: dict[str, bytes] | None


def files_of(packed: Packed) -> dict[str, bytes]:
    content = {descriptor.digest: data for descriptor, data in packed.content}
    return {file.path: content[file.descriptor.digest] for file in read_package(packed.manifest, "test").files}


def install(root: Path, packed: Packed, ways: tuple[How, ...]) -> None:
    source = MemoryStore()
    packed.push(source)
    store, installed = DiskStore(root), InstalledStore(root)
    repository = store.repository(REFERENCE.registry, REFERENCE.repository)
    with store.lease():
        copy(source, repository, packed.descriptor, tags=["1.0.0"], jobs=2)
        package = read_package(repository.manifest(packed.descriptor), str(REFERENCE))
        place = installed.place(REFERENCE, package.version)
        with installed.staging(packed.descriptor) as staging:
            materialise(((f, store.blobs.path(f.descriptor.digest)) for f in package.files), staging, ways)
            tree = installed.adopt(staging, place, packed.descriptor)
        record = Record(REFERENCE, package.name, package.version, packed.descriptor, tree, package.size, "test")
        installed.record(record)


def uninstall(root: Path) -> None:
    installed = InstalledStore(root)
    for record in installed.find(REFERENCE):
        installed.remove(record)
    with contextlib.suppress(NotFound):
        DiskStore(root).repository(REFERENCE.registry, REFERENCE.repository).untag("1.0.0")
    collect_all(root)


def collect_all(root: Path) -> None:
    installed = InstalledStore(root)
    later = DiskStore(root, clock=lambda: time.time() + 10)
    collect(later, [record.descriptor for record in installed.records()])


def jobs() -> list[Job]:
    made = []
    for ways in ((How.HARDLINK, How.COPY), (How.COPY,), (How.SYMLINK, How.COPY)):
        old, new = (lambda root, w=ways: install(root, OLD, w)), (lambda root, w=ways: install(root, NEW, w))
        made += [
            Job(lambda root: None, old, (files_of(OLD),), files_of(OLD)),
            Job(old, new, (files_of(OLD), files_of(NEW)), files_of(NEW)),
            Job(old, uninstall, (files_of(OLD),), None),
        ]
    return made


def run_child(work: Callable[[Path], None], root: Path, kill_after: float) -> tuple[int, int]:
    """Run ``work`` in a child; kill it after so many reports. Return how it ended and how many reports came."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be_the_child(work, root, writing)
    os.close(writing)
    count = 0
    with os.fdopen(reading, "rb", buffering=0) as reports:
        while count < kill_after and (block := reports.read(min(4096, int(min(kill_after - count, 4096))))):
            count += len(block)
        if count >= kill_after:
            os.kill(child, signal.SIGKILL)
        while block := reports.read(4096):
            count += len(block)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), count


def _be_the_child(work: Callable[[Path], None], root: Path, writing: int) -> None:
    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(WATCHED):
            return None
        if event == "line":
            os.write(writing, b".")
        return trace

    status = 1
    try:
        threading.settrace(trace)
        sys.settrace(trace)
        work(root)
        status = 0
    finally:
        sys.settrace(None)
        os._exit(status)


def look(root: Path, contents: tuple[dict[str, bytes], ...]) -> None:
    """Assert what any reader may rely on at any moment."""
    store, installed = DiskStore(root), InstalledStore(root)
    for digest, path in store.blobs.digests():
        assert Digest.of(path.read_bytes(), digest.algorithm) == digest
    for ref in store.refs():
        repository = store.repository(ref.reference.registry, ref.reference.repository)
        assert all(store.blobs.exists(blob) for blob in repository.manifest(ref.descriptor).blobs)
    for record in installed.records():
        assert tree_of(record.path) in contents
    for path in root.glob("installed/**/record.json"):
        installed.read(path.parent)


def tree_of(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o222 == 0 for path in [folder, *files])
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def nothing_is_left_over(root: Path) -> None:
    assert list((root / "ingest").iterdir()) == []
    assert [path for path in root.rglob(".*") if path.name.startswith(".")] == []
    recorded = {record.path for record in InstalledStore(root).records()}
    assert set(root.glob("installed/**/sha256-*")) == recorded


def test_killed_at_a_hundred_random_points_nothing_wrong_is_ever_visible(tmp_path: Path) -> None:
    chance = random.Random(20240229)
    work = jobs()
    lengths: dict[int, int] = {}
    killed = 0
    for run in range(RUNS):
        root, number = tmp_path / str(run), run % len(work)
        job = work[number]
        job.before(root)
        if number not in lengths:
            measured = tmp_path / f"measured-{number}"
            job.before(measured)
            status, lengths[number] = run_child(job.work, measured, float("inf"))
            assert status == 0
        status, _ = run_child(job.work, root, chance.randint(1, lengths[number]))
        assert status in (0, -signal.SIGKILL)
        killed += status != 0
        look(root, job.contents)
        status, _ = run_child(job.work, root, float("inf"))
        assert status == 0
        collect_all(root)
        look(root, job.contents)
        nothing_is_left_over(root)
        installed = [tree_of(record.path) for record in InstalledStore(root).records()]
        assert installed == ([job.ends_with] if job.ends_with is not None else [])
        if job.ends_with is None:
            assert list(DiskStore(root).blobs.digests()) == []
    assert killed > RUNS * 0.8  # the points were inside the work
