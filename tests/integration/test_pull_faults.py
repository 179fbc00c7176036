"""Pulls through everything that goes wrong on the way: either the same bytes arrive, or nothing is there."""

from __future__ import annotations

import random
import re
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
from installml.registry_server.passwords import hash_password
from installml.spec.descriptor import Descriptor
from installml.testing import faults as f
from installml.transfer.download import Tuning
from tests.unsigned import UNSIGNED

WEIGHTS = random.Random(9).randbytes(20 * 2**20 + 4321)
BLOB = Descriptor.of(WEIGHTS, "application/octet-stream")
PATH = f"/blobs/{BLOB.digest}"
DOCUMENTED = Path(__file__).resolve().parents[2] / "docs" / "reference" / "faults.md"


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
    session = load({"home": str(home), "policy": UNSIGNED}, {"HOME": str(home)}, folder=home.parent).session()
    return replace(session, part_size=4 << 20, tuning=Tuning(stall=0.5))


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
    "a few requests a second": rule(f.Throttle(20, burst=2), None),
    "silent before the body": rule(f.Stall(0), 1),
    "silent in the body": rule(f.Stall(700_000), 1, 1),
    "always short": rule(f.Truncate(700_000), None),
    "always reset": rule(f.Reset(700_000), None),
    "other bytes under the right range": rule(f.WrongRange(shift=1000, lie=True), 1, 1),
    "a long length of the whole": rule(f.LongBody(9, announced=True), 1, 1),
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
    "a long body": (rule(f.LongBody(9), None), "size-mismatch", 3),
    "a long body, announced": (rule(f.LongBody(9, announced=True), None), "size-mismatch", 3),
    "no part satisfies": (rule(f.Unsatisfied(len(WEIGHTS)), None), "ranges-unsupported", 1),
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


ENDLESS = {
    "429": (f.Status(429), "rate-limited"),
    "429 for a day": (f.Status(429, {"Retry-After": "86400"}), "rate-limited"),
    "503": (f.Status(503), "server-failed"),
    "408": (f.Status(408), "server-failed"),
    "no room": (f.Busy(0), "rate-limited"),
    "nothing of the body": (f.Truncate(0), "connection-lost"),
    "reset before the body": (f.Reset(0), "connection-lost"),
    "silent before the body": (f.Stall(0), "connection-lost"),
}


@pytest.mark.parametrize(("fault", "reference"), ENDLESS.values(), ids=ENDLESS.keys())
def test_what_never_gets_better_is_given_up_and_leaves_nothing_to_see(  # type: ignore[no-untyped-def]
    meet, fault: f.Fault, reference: str
) -> None:
    pulled = meet(rule(fault, None))
    pulled.session = replace(pulled.session, tuning=Tuning(patience=0.5, stall=0.1))
    with pytest.raises(InstallMLError) as caught:
        pulled.pull()
    assert (caught.value.reference, caught.value.exit_code) == (reference, 1)
    assert caught.value.hint
    assert not pulled.visible()


def test_what_never_gets_better_is_gone_on_with_when_it_does(  # type: ignore[no-untyped-def]
    meet, folder: Path, tmp_path: Path
) -> None:
    broken = meet(rule(f.Stall(700_000), 2), rule(f.Status(503), None))
    broken.session = replace(broken.session, jobs=2, tuning=Tuning(patience=0.5, stall=0.1))
    with pytest.raises(InstallMLError):
        broken.pull()
    broken.registry.stop()
    with start(folder, port=broken.registry.port) as registry:
        again = Pulled(registry, tmp_path / "home")
        again.pull()
        assert again.weights() == WEIGHTS


def test_a_login_that_is_forgotten_on_the_way_is_renewed(folder: Path, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"ann:{hash_password('right')}\n")
    with start(folder, htpasswd=users, token=True, faults=f.Faults(rule(f.ForgetLogin(), 1, 1))) as registry:
        pulled = Pulled(registry, tmp_path / "home")
        installml.login(registry.address, username="ann", password="right", session=pulled.session)
        pulled.pull()
        assert pulled.weights() == WEIGHTS
        assert [record.status for record in registry.requests if PATH in record.path].count(401) > 0


def test_every_documented_fault_is_met_by_a_pull() -> None:
    documented = set(re.findall(r"^## (\w+)$", DOCUMENTED.read_text(encoding="utf-8"), re.MULTILINE))
    rows = [*PASSING.values(), *(row[0] for row in FAILING.values())]
    met = {type(row.fault) for row in rows} | {type(row[0]) for row in ENDLESS.values()}
    tested_alone = {f.Elsewhere, f.ForgetLogin}
    faults = {kind for name in f.__all__ if hasattr(kind := getattr(f, name), "misbehave")} - {f.Fault}
    assert {kind.__name__ for kind in faults} == documented
    assert faults - met - tested_alone == set()


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
