"""The promises of every place, kept by our client on other people's registries, and the table of those that are not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from installml.registry.errors import BlobUnknown, Unsupported
from installml.registry.http import HttpClient, Network
from installml.registry.repository import Registry
from installml.store.protocol import Target
from installml.testing import StoreContract
from tests.services.servers import SERVERS

pytestmark = pytest.mark.integration

DIFFERENCES: dict[str, dict[str, tuple[type[Exception], str]]] = {
    "distribution2": {
        "test_a_removed_tag_is_gone_and_its_manifest_is_not": (Unsupported, "removes no tags, and says so"),
        "test_an_absent_tag_cannot_be_removed": (Unsupported, "removes no tags, and says so"),
    },
    "ggcr": {
        "test_a_sha512_blob_lies_under_its_own_name": (BlobUnknown, "answers 201 to a sha512 blob and has it not"),
        "test_a_deleted_manifest_takes_its_tags_with_it": (AssertionError, "keeps the tags of a deleted manifest"),
    },
}
"""By registry and promise: what happens instead, and why. One that is kept after all fails its test."""


@pytest.fixture(scope="module", params=list(SERVERS))
def registry(request: pytest.FixtureRequest) -> Iterator[tuple[str, Registry]]:
    with SERVERS[request.param]() as server:
        client = HttpClient(Network())
        yield server.kind, Registry(server.address, client)
        client.close()


class TestRegistries(StoreContract):
    names = (f"acme/contract-{i}" for i in itertools.count())

    @pytest.fixture(autouse=True)
    def _at(self, registry: tuple[str, Registry], request: pytest.FixtureRequest) -> None:
        kind, self.registry = registry
        difference = DIFFERENCES.get(kind, {}).get(request.node.originalname)
        if difference:
            raises, reason = difference
            request.applymarker(pytest.mark.xfail(raises=raises, reason=f"{kind} {reason}", strict=True))

    def target(self) -> Target:
        return self.registry.repository(next(self.names))
