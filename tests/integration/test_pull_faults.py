"""Pulls through everything that goes wrong on the way: either the same bytes arrive, or nothing is there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest

import installml
from installml.api.session import Session
from installml.config import load
from installml.errors import InstallMLError, NotFound
from installml.registry_server import RunningRegistry, start
from installml.spec.descriptor import Descriptor
from installml.testing import faults as f

WEIGHTS = random.Random(9).randbytes(20 * 2**20 + 4321)
BLOB = Descriptor.of(WEIGHTS, "application/octet-stream")
PATH = f"/blobs/{BLOB.digest}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry's folder that holds the package; no test changes it."""
    base = tmp_path_factory.mktemp("pushed")
    model = base / "model"
    model.mkdir()
    (model / "installml.yaml").write_text("name: acme/weights\nversion: 1.0.0\n")
    (model / "weights.bin").write_bytes(WEIGHTS)
    with start(base / "registry") as registry:
        installml.push(model, tag=f"{registry.address}/acme/weights:1.0.0", session=session_at(base / "home"))
    return base / "registry"


def session_at(home: Path) -> Session:
    """A session whose downloads come in parts of 4 MiB."""
    return replace(load({"home": str(home)}, {"HOME": str(home)}, folder=home.parent).session(), part_size=4 << 20)


class Pulled:
    """A registry with faults, and a store that pulls from it."""

    def __init__(self, registry: RunningRegistry, home: Path) -> None:
        self.registry = registry
        self.reference = f"{registry.address}/acme/weights:1.0.0"
        self.session = session_at(home)

    def pull(self) -> None:
        installml.pull(self.reference, session=self.session)

    def weights(self) -> bytes:
        """The large blob as the store has it."""
        local = self.session.local(self.session.qualify(self.reference))
        with local.fetch(BLOB) as stream:
            return stream.read()

    def visible(self) -> bool:
        """Whether the store shows the package, or its large blob."""
        local = self.session.local(self.session.qualify(self.reference))
        with suppress(NotFound):
            local.resolve("1.0.0")
            return True
        return local.exists(BLOB)

    def served(self) -> int:
        return sum(record.bytes_out for record in self.registry.requests if PATH in record.path)


@pytest.fixture
def meet(folder: Path, tmp_path: Path) -> Iterator[object]:
    with ExitStack() as stack:

        def begin(*faults: f.Rule) -> Pulled:
            return Pulled(stack.enter_context(start(folder, faults=f.Faults(*faults))), tmp_path / "home")

        yield begin


def rule(fault: f.Fault, times: int | None = 2, skip: int = 0) -> f.Rule:
    return f.Rule(fault, "GET", PATH, skip, times)


PASSING = {
    "a short range": rule(f.ShortRange(2**20)),
    "every range short": rule(f.ShortRange(3 * 2**20), None),
    "all for every part": rule(f.IgnoreRange(), None),
    "all for the second part": rule(f.IgnoreRange(), 1, 1),
    "another start once": rule(f.WrongRange(shift=1000), 1, 1),
    "another start always": rule(f.WrongRange(shift=1000), None),
    "short bodies": rule(f.Truncate(700_000)),
    "resets": rule(f.Reset(700_000)),
    "resets before the body": rule(f.Reset(0)),
    "429 with Retry-After": rule(f.Status(429, {"Retry-After": "0"})),
    "429 without": rule(f.Status(429), 1),
    "503 burst": rule(f.Status(503)),
    "408": rule(f.Status(408), 1),
    "room for two": rule(f.Busy(2, retry_after="0"), None),
    "416": rule(f.Unsatisfied(len(WEIGHTS)), 1),
    "several parts in one": rule(f.Multipart(), None),
    "chunked": rule(f.Chunked(), None),
    "no length": rule(f.NoLength(), None),
    "HTTP/1.0": rule(f.Old(), None),
    "HEAD refused": f.Rule(f.Status(405), "HEAD"),
    "HEAD denied for blobs": f.Rule(f.Status(403), "HEAD", "/blobs/"),
    "slow": rule(f.Slow(30e6), None),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_what_passes_ends_with_the_same_bytes(meet, fault: f.Rule) -> None:  # type: ignore[no-untyped-def]
    pulled = meet(fault)
    pulled.pull()
    assert pulled.weights() == WEIGHTS


def test_blobs_elsewhere_whose_urls_end_are_found_again(meet) -> None:  # type: ignore[no-untyped-def]
    with f.Elsewhere(uses=1) as elsewhere:
        pulled = meet(rule(elsewhere, None))
        pulled.pull()
        assert pulled.weights() == WEIGHTS
        assert all(record.method == "GET" for record in elsewhere.place.requests)


FAILING = {
    "a flipped bit": (rule(f.Flip(15 * 2**20 + 77), None), "digest-mismatch", 3),
    "another total": (rule(f.WrongRange(total=5), None), "size-mismatch", 3),
    "gzip": (rule(f.Gzip(), None), "unexpected-answer", 1),
    "denied": (rule(f.Status(403), None), "denied", 1),
    "gone": (rule(f.Status(404), None), "not-found-in-registry", 1),
    "an endless circle": (rule(f.Redirect("{path}"), None), "redirect-refused", 1),
    "a redirect to nowhere sensible": (rule(f.Redirect("ftp://127.0.0.1/"), None), "redirect-refused", 1),
}


@pytest.mark.parametrize(("fault", "reference", "code"), FAILING.values(), ids=FAILING.keys())
def test_what_does_not_pass_is_told_and_leaves_nothing_to_see(  # type: ignore[no-untyped-def]
    meet, fault: f.Rule, reference: str, code: int
) -> None:
    pulled = meet(fault)
    with pytest.raises(InstallMLError) as caught:
        pulled.pull()
    assert (caught.value.reference, caught.value.exit_code) == (reference, code)
    assert not pulled.visible()


def test_what_came_before_a_failure_is_not_fetched_again(meet, folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    broken = meet(rule(f.Status(403), None, skip=2))
    broken.session = replace(broken.session, jobs=1)  # one part after the other: two are whole when the third fails
    with pytest.raises(InstallMLError):
        broken.pull()
    broken.registry.stop()
    assert not broken.visible()
    with start(folder, port=broken.registry.port) as registry:
        again = Pulled(registry, tmp_path / "home")
        again.pull()
        assert again.weights() == WEIGHTS
        assert again.served() == len(WEIGHTS) - (8 << 20)
