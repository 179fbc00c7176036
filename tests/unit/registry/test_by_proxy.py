"""Requests that go by a proxy take the way through ``requests``; answers of https hosts stand in through ``responses``.

What a real proxy does with them is tested with one in ``tests/integration/test_proxies.py``.
"""

from __future__ import annotations

import pytest
import responses

from installml.registry.errors import RedirectRefused, TransportError
from installml.registry.http import HttpClient, Network, Request

URL = "https://registry.example.com/v2/acme/x/blobs/sha256:0"
BY_PROXY = Network(proxies={"https": "http://proxy.example.com:3128"}, user_agent="installml/test")


def client() -> HttpClient:
    return HttpClient(BY_PROXY, sleep=lambda _: None, random=lambda: 0.0)


@responses.activate
def test_a_request_by_a_proxy_carries_our_headers_and_nobody_elses() -> None:
    responses.get(URL, body=b"weights")
    answer = client().send(Request("GET", URL, {"Authorization": "Bearer token"}))
    assert (answer.status, answer.body(100)) == (200, b"weights")
    (call,) = responses.calls
    assert dict(call.request.headers) == {
        "User-Agent": "installml/test",
        "Accept-Encoding": "identity",
        "Authorization": "Bearer token",
    }


@responses.activate
def test_credentials_do_not_follow_a_redirect_to_another_host_by_a_proxy() -> None:
    elsewhere = "https://storage.example.net/blob"
    responses.get(URL, status=307, headers={"Location": elsewhere})
    responses.get(elsewhere, body=b"weights")
    answer = client().send(Request("GET", URL, {"Authorization": "Bearer token"}))
    assert (answer.redirected, answer.body(100)) == (True, b"weights")
    assert "Authorization" not in responses.calls[1].request.headers


@responses.activate
def test_a_redirect_from_https_to_http_is_refused_by_a_proxy_too() -> None:
    responses.get(URL, status=307, headers={"Location": "http://storage.example.net/blob"})
    with pytest.raises(RedirectRefused):
        client().send(Request("GET", URL))
    assert len(responses.calls) == 1


@responses.activate
def test_a_passing_trouble_is_asked_again_by_a_proxy() -> None:
    responses.get(URL, status=503)
    responses.get(URL, body=b"weights")
    answer = client().send(Request("GET", URL, again=True))
    assert (answer.status, len(responses.calls)) == (200, 2)


@responses.activate
def test_a_host_that_the_proxy_does_not_reach_is_an_error_of_ours() -> None:
    with pytest.raises(TransportError) as failure:
        client().send(Request("GET", f"{URL}?X-Signature=secret"))
    assert "secret" not in failure.value.message
