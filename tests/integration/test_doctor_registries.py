"""doctor REGISTRY --write against other people's registries: they are known by their answers, and left as they were."""

from __future__ import annotations

import time

import pytest

from installml.registry.examine import Finding, examine
from installml.registry.http import HttpClient, Network
from installml.registry.quirks import FAMILIES, Family
from installml.registry.repository import Registry
from tests.services.servers import SERVERS

pytestmark = pytest.mark.integration

KNOWN = {
    "distribution2": Family.DISTRIBUTION2,
    "distribution3": Family.DISTRIBUTION3,
    "ggcr": Family.GGCR,
    "zot": Family.ZOT,
}


@pytest.mark.parametrize("kind", KNOWN)
def test_a_registry_is_known_by_its_answers_and_nothing_is_a_problem(kind: str) -> None:
    with SERVERS[kind]() as server:
        looked = examine(Registry(server.address, HttpClient(Network())), "acme/probe", write=True, now=time.time())
        found: dict[str, Finding] = {finding.check: finding for finding in looked}
    assert found["family"].message.startswith(FAMILIES[KNOWN[kind]].title)
    assert "problem" not in {finding.state for finding in found.values()}
    assert {"push", "chunks", "streaming", "mount", "types", "referrers", "deletion"} <= set(found)


@pytest.mark.parametrize("kind", ["distribution3", "ggcr", "zot"])
def test_what_was_pushed_to_look_is_gone(kind: str) -> None:
    with SERVERS[kind]() as server:
        client = HttpClient(Network())
        looked = list(examine(Registry(server.address, client), "acme/probe", write=True, now=time.time()))
        (deletion,) = [finding for finding in looked if finding.check == "deletion"]
        assert deletion.state == "ok"
        again = list(examine(Registry(server.address, client), "acme/probe", now=time.time()))
        assert [finding.message for finding in again if finding.check == "repository" and "has" in finding.message] in (
            [],
            [f"{server.address}/acme/probe has 0 tags"],
        )
