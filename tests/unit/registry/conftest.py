from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from installml.registry.http import HttpClient, Network
from tests.services.certificates import issue, make_ca
from tests.unit.registry.serving import Answer, Site, client, site


@pytest.fixture
def tls_site(tmp_path: Path) -> Callable[[], AbstractContextManager[tuple[Site, HttpClient]]]:
    """An https server on loopback, and a client that trusts its authority."""
    made = issue(make_ca(tmp_path), "127.0.0.1", tmp_path)

    @contextmanager
    def start() -> Iterator[tuple[Site, HttpClient]]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made.cert, made.key)
        with site(lambda _: Answer(body=b"{}"), context) as here:
            yield here, client(Network(ca_file=str(made.ca)))

    return start
