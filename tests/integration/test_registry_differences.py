"""Other people's registries are put to the clauses of the specification; what they do otherwise is known."""

from __future__ import annotations

import pytest

from tests.contract.registry_protocol.differences import KNOWN, observe
from tests.contract.registry_protocol.place import Wire
from tests.services.servers import SERVERS

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("kind", sorted(KNOWN))
def test_the_differences_of_other_registries_are_the_known_ones(kind: str) -> None:
    with SERVERS[kind]() as server:
        broken = observe(Wire(server.url))
    new = {name: how for name, how in broken.items() if name not in KNOWN[kind]}
    gone = sorted(set(KNOWN[kind]) - set(broken))
    assert (new, gone) == ({}, []), f"{server.name} has changed"
