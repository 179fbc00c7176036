"""The embedded registry keeps every clause."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from installml.registry_server import start
from tests.contract.registry_protocol.clauses import TABLE
from tests.contract.registry_protocol.place import Clause, Place, Wire


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with start() as registry:
        yield Wire(registry.url)


@pytest.mark.parametrize("clause", TABLE, ids=lambda clause: clause.id)
def test_the_embedded_registry_keeps_the_clause(clause: Clause, wire: Wire) -> None:
    clause.check(Place.fresh(wire))


def test_every_clause_has_a_name_of_its_own() -> None:
    assert len({clause.id for clause in TABLE}) == len(TABLE)
