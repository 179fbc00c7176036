"""No malicious file passes the gate, no benign file is blocked."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import gzip
import pickle
import random
import uuid
import zipfile
from pathlib import PurePosixPath

import numpy as np
import pytest

from installml.scanning.content import BytesContent
from installml.scanning.finding import Finding, Severity
from installml.scanning.scanners import SCANNERS
from installml.scanning.walk import scan_files
from tests.unit.scanning.malicious import MALICIOUS, archive, npy, npz, taped

ARRAY = np.arange(12, dtype=np.float32).reshape(3, 4)
PLAIN = {
    "numbers": [1, 2.5, 2**100, True, None, 1 + 2j, -(2**31)],
    "texts": ["a" * 10_000, "ä", "", b"bytes", bytearray(b"more")],
    "sets": [{1, 2}, frozenset((3,)), range(3), slice(1, 2)],
    "times": [datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), datetime.timedelta(1), datetime.date(2026, 1, 1)],
    "more": [decimal.Decimal("1.5"), uuid.UUID(int=1), PurePosixPath("a/b"), array.array("d", [1.0])],
    "tables": [collections.OrderedDict(a=1), collections.defaultdict(list), collections.Counter("aab"),
               collections.deque([1])],
    "arrays": [ARRAY, ARRAY[0, 0], np.float64(1), np.dtype("f4,i4"), np.ma.array([1, 2], mask=[0, 1]), np.log1p,
               np.array(["x"], dtype=object), np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])],
    "random": [np.random.default_rng(1), np.random.RandomState(1), random.Random(1)],
}  # fmt: skip


def keras(config: bytes) -> bytes:
    return archive(("config.json", config), ("metadata.json", b'{"keras_version": "3.5.0"}'))


DENSE = b"""{"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": [
 {"module": "keras.layers", "class_name": "Dense", "registered_name": null, "config": {"units": 4,
  "activation": "relu", "dtype": {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}},
  "kernel_initializer": {"module": "keras.initializers", "class_name": "GlorotUniform", "config": {"seed": null}}}},
 {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": ["a", "b"]}}]},
 "compile_config": {"loss": {"module": "builtins", "class_name": "function", "config": "mse",
                             "registered_name": "function"}}}"""

BENIGN = {
    **{f"protocol {n}": ("plain.pkl", pickle.dumps(PLAIN, n)) for n in range(6)},
    "several pickles": ("many.pkl", pickle.dumps(1) + pickle.dumps(PLAIN) + pickle.dumps("x")),
    "npy": ("a.npy", npy(ARRAY)),
    "npy of records": ("r.npy", npy(PLAIN["arrays"][-1])),
    "npy of texts": ("t.npy", npy(np.array(["ä", "b"]))),
    "npy of times": ("d.npy", npy(np.array(["2026-01-01"], dtype="M8[D]"))),
    "npy of harmless objects": ("o.npy", npy(np.array(["a", None, 1.5], dtype=object))),
    "npz": ("a.npz", npz(a=ARRAY, b=np.arange(3))),
    "zip": ("a.zip", archive(("readme.txt", b"hello"), ("folder/", b""), ("w.npy", npy(ARRAY)))),
    "zip, deflated": ("b.zip", archive(("w.npy", npy(ARRAY)), method=zipfile.ZIP_DEFLATED)),
    "tar": ("a.tar", taped(("a/readme.txt", b"hello"), ("long/" * 40 + "w.npy", npy(ARRAY)))),
    "tar of a zip": ("z.tar", taped(("a.npz", npz(a=ARRAY)))),
    "gzip of a zip": ("a.npz.gz", gzip.compress(archive(("w.bin", bytes(np.random.default_rng(5).bytes(4096)))))),
    "keras": ("model.keras", keras(DENSE)),
    "keras 2": ("model.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 88 + b"model_config\0\0\0\0"
                + b'{"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense", "config": {}}]}}\0\0\0'),
    "hdf5 without a model": ("data.h5", b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 16),
    "words": ("vocab.txt", b"cat\ndog\n(the)\nRuth\nIn\n.\n"),
    "text like zlib": ("notes.txt", b"x^2 + y^2 = z^2\n"),
    "text like a pickle": ("README.md", b"(hello) I am a list: l0p1\ncos sin tan\n."),
    "raw weights": ("weights.bin", np.random.default_rng(5).normal(size=4096).astype(np.float32).tobytes()),
    "empty": ("nothing.txt", b""),
}  # fmt: skip


def findings(name: str, data: bytes) -> list[Finding]:
    return scan_files([(name, BytesContent(data))], SCANNERS).findings


@pytest.mark.parametrize("case", MALICIOUS)
def test_a_malicious_file_is_blocked(case: str) -> None:
    name, make = MALICIOUS[case]
    found = findings(name, make())
    assert max((finding.severity for finding in found), default=Severity.info) >= Severity.high


@pytest.mark.parametrize("case", BENIGN)
def test_a_benign_file_is_not_blocked(case: str) -> None:
    assert [finding for finding in findings(*BENIGN[case]) if finding.severity >= Severity.high] == []


def test_there_are_enough_malicious_files() -> None:
    assert len({make() for _, make in MALICIOUS.values()}) >= 40
