"""doctor REGISTRY: what a registry shows of itself, against the embedded one and the simulated families."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from installml.registry.auth import Credentials, Fixed
from installml.registry.examine import Finding, examine
from installml.registry.http import HostSettings, HttpClient, Network
from installml.registry.quirks import Family
from installml.registry.repository import Registry
from installml.spec.media import MODEL_CONFIG
from installml.testing import RunningRegistry, package_bytes, start
from installml.testing.quirky import quirky
from tests.unit.registry.serving import Answer, Site, Time, site

NOW = 1_800_000_000.0
NAME = "acme/sentiment"
PACKAGE = package_bytes({"model.bin": bytes(range(256)) * 64})


def client(network: Network | None = None) -> HttpClient:
    time = Time()
    network = network or Network(timeout=(5.0, 20.0))
    return HttpClient(network, lambda _: HostSettings(), clock=time, sleep=time.sleep)


def look(
    address: str, repository: str = "", *, write: bool = False, now: float = NOW, known: Credentials | None = None
) -> dict[str, Finding]:
    registry = Registry(address, client(), Fixed(known))
    return {found.check: found for found in examine(registry, repository, write=write, now=now)}


ANN = Credentials("ann", "pencil")


def test_a_sound_registry_has_no_problem_and_is_known() -> None:
    with start() as server:
        found = look(server.address)
        assert "problem" not in {f.state for f in found.values()}
        assert "installml registry serve" in found["family"].message


def test_nothing_is_written_without_being_told_to() -> None:
    with start() as server:
        look(server.address, NAME)
        assert {r.method for r in server.requests} <= {"GET", "HEAD"}


def everything(server: RunningRegistry) -> list[str]:
    return sorted(
        path.name for path in server.root.rglob("*") if path.is_file() and len(path.name) == 64 and "-" not in path.name
    )


def test_what_is_written_to_look_is_removed() -> None:
    with start() as server:
        PACKAGE.push(Registry(server.address, client()).repository(NAME), "1.0.0")
        before = everything(server)
        found = look(server.address, NAME, write=True)
        assert found["deletion"].state == "ok"
        assert [d for d in everything(server) if d not in before] == []
        assert Registry(server.address, client()).repository(NAME).tags() == ["1.0.0"]


def test_a_repository_is_read_without_changing_it() -> None:
    with start() as server:
        PACKAGE.push(Registry(server.address, client()).repository(NAME), "1.0.0")
        found = look(server.address, NAME)
        assert "has 1 tags" in found["repository"].message
        assert "parts of a blob are sent" in found["ranges"].message
        assert "referrers API is used" in found["referrers"].message


WRITTEN = {
    Family.GHCR: ("chunks", "are taken"),
    Family.GAR: ("chunks", "are not taken"),
    Family.ECR: ("chunks", "our own count is right"),
    Family.DISTRIBUTION3: ("chunks", "Range is right"),
    Family.DOCKER_HUB: ("referrers", "by the tag schema"),
    Family.ZOT: ("referrers", "by the referrers API"),
    Family.GGCR: ("mount", "answered with 202"),
    Family.QUAY: ("referrers", "answered 415"),
    Family.HARBOR: ("catalog", "not listed"),
}


@pytest.mark.parametrize("family", WRITTEN)
def test_the_habits_of_a_family_are_seen(family: Family) -> None:
    check, said = WRITTEN[family]
    with quirky(family, repositories=(NAME,)) as server:
        found = look(server.address, NAME, write=True, known=ANN)
        assert said in found[check].message
        assert found["family"].message.startswith(FAMILY_TITLES[family])


FAMILY_TITLES = {
    Family.GHCR: "GitHub Container Registry",
    Family.GAR: "Google Artifact Registry",
    Family.ECR: "Amazon ECR",
    Family.DISTRIBUTION3: "distribution 3",
    Family.DOCKER_HUB: "Docker Hub",
    Family.ZOT: "zot",
    Family.GGCR: "go-containerregistry",
    Family.QUAY: "Quay",
    Family.HARBOR: "Harbor",
}


def test_where_types_are_refused_the_setting_is_the_hint() -> None:
    with quirky(Family.QUAY) as server:
        assert "IGNORE_UNKNOWN_MEDIATYPES" in look(server.address, NAME, write=True, known=ANN)["referrers"].hint
    with quirky(Family.QUAY, types=(MODEL_CONFIG,)) as server:
        assert look(server.address, NAME, write=True, known=ANN)["types"].state == "ok"


def test_the_life_of_a_token_is_told_and_who_we_are() -> None:
    with quirky(Family.HARBOR) as server:
        said = look(server.address, known=ANN)["login"].message
        assert "we are ann" in said
        assert "1800 seconds" in said


def test_a_rate_limit_is_shown() -> None:
    with quirky(Family.DOCKER_HUB) as server:
        PACKAGE.push(Registry(server.address, client(), Fixed(ANN)).repository(NAME), "1.0.0")
        assert "ratelimit-remaining" in look(server.address, NAME, known=ANN)["rate limit"].message


def test_storage_elsewhere_is_named() -> None:
    with quirky(Family.GHCR) as server:
        PACKAGE.push(Registry(server.address, client(), Fixed(ANN)).repository(NAME), "1.0.0")
        assert "where credentials are not sent" in look(server.address, NAME, known=ANN)["storage"].message


@pytest.mark.parametrize(("off", "said"), [(1000, "seconds ahead of"), (-1000, "seconds behind"), (0, "agree")])
def test_a_clock_that_is_wrong_is_told(off: float, said: str) -> None:
    with start() as server:
        assert said in look(server.address, now=time.time() + off)["clock"].message


def test_a_registry_that_is_not_there_is_a_problem_and_the_look_ends() -> None:
    with start() as server:
        pass
    found = look(server.address)
    assert found["connection"].state == "problem"
    assert "family" not in found


def test_a_name_without_an_address_is_a_problem() -> None:
    found = look("registry.invalid")
    assert found["name"].state == "problem"
    assert list(found) == ["name"]


def test_wrong_credentials_are_a_problem_with_the_command_to_type() -> None:
    with quirky(Family.HARBOR) as server:
        found = look(server.address, known=Credentials("ann", "wrong"))
        assert found["api"].state == "problem"
        assert "installml login" in found["api"].hint


def test_tls_is_told_with_the_days_that_are_left(
    tls_site: Callable[[], AbstractContextManager[tuple[Site, HttpClient]]],
) -> None:
    with tls_site() as (there, trusting):
        settings = HostSettings(ca=trusting.network.ca_file)
        registry = Registry(there.address, HttpClient(trusting.network, lambda _: settings))
        found = {f.check: f for f in examine(registry, now=time.time())}
    assert found["connection"].message.startswith("TLSv1.")
    assert "is good for" in found["connection"].message


def test_an_untrusted_certificate_is_a_problem_that_names_the_setting(
    tls_site: Callable[[], AbstractContextManager[tuple[Site, HttpClient]]],
) -> None:
    with tls_site() as (there, _):
        settings = HostSettings(ca="/etc/ssl/certs")
        registry = Registry(there.address, HttpClient(Network(timeout=(5.0, 5.0)), lambda _: settings))
        found = {f.check: f for f in examine(registry, now=NOW)}
    assert found["connection"].state == "problem"
    assert "ca" in found["connection"].hint


def test_the_proxy_is_named_without_its_password() -> None:
    with site(lambda _: Answer(200, {}, b"{}")) as proxy:
        network = Network(proxies={"all": f"http://me:secret@{proxy.address}"}, timeout=(5.0, 5.0))
        settings = HostSettings(insecure=True)
        registry = Registry("registry.invalid", HttpClient(network, lambda _: settings))
        found = [f.message for f in examine(registry, now=NOW)]
    assert proxy.address in found[0]
    assert "secret" not in "".join(found)
