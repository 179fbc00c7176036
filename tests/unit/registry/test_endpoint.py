"""http or https: what the first question tells, and what is asked where it tells nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from installml.registry.auth import Credentials, Fixed
from installml.registry.endpoint import Endpoint
from installml.registry.http import HttpClient
from tests.unit.registry.serving import Answer, Asked, Site, client, site

PATH = "/v2/acme/x/manifests/1"
NOBODY = Fixed()


def lines(here: Site) -> list[str]:
    return [f"{asked.method} {asked.path}" for asked in here.asked]


def ask(endpoint: Endpoint, method: str = "HEAD", *, once: bool = False) -> int:
    with endpoint.send(method, PATH, "acme/x", (), once=once) as response:
        return response.status


@pytest.mark.parametrize("status", [200, 404])
def test_the_first_question_is_the_only_one(status: int) -> None:
    with site(lambda _: Answer(status)) as here:
        assert ask(Endpoint(here.address, client(), NOBODY)) == status
        assert lines(here) == [f"HEAD {PATH}"]


def test_https_on_loopback_is_found_by_the_same_question(
    tls_site: Callable[[], AbstractContextManager[tuple[Site, HttpClient]]],
) -> None:
    with tls_site() as (here, trusting):
        endpoint = Endpoint(here.address, trusting, NOBODY)
        assert ask(endpoint) == 200
        assert endpoint.base == f"https://{here.address}"
        assert lines(here) == [f"HEAD {PATH}"]


def test_a_400_tells_nothing_so_the_api_is_asked_for_words() -> None:
    def answer(asked: Asked) -> Answer:
        return Answer(200) if asked.path == "/v2/" or len(here.asked) > 2 else Answer(400)

    with site(answer) as here:
        assert ask(Endpoint(here.address, client(), NOBODY)) == 200
        assert lines(here) == [f"HEAD {PATH}", "GET /v2/", f"HEAD {PATH}"]


def test_trouble_that_may_pass_tells_the_scheme_and_is_asked_again() -> None:
    with site(lambda _: Answer(503 if len(here.asked) == 1 else 200)) as here:
        assert ask(Endpoint(here.address, client(), NOBODY)) == 200
        assert lines(here) == [f"HEAD {PATH}"] * 2


def test_a_question_that_is_asked_once_is_not_asked_before() -> None:
    with site(lambda asked: Answer(200 if asked.path == "/v2/" else 503)) as here:
        assert ask(Endpoint(here.address, client(), NOBODY), "GET", once=True) == 503
        assert lines(here) == ["GET /v2/", f"GET {PATH}"]


def test_the_first_question_carries_no_credentials_and_a_challenge_is_answered() -> None:
    def answer(asked: Asked) -> Answer:
        known = "authorization" in asked.headers
        return Answer(200) if known else Answer(401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    with site(answer) as here:
        assert ask(Endpoint(here.address, client(), Fixed(Credentials("ann", "secret")))) == 200
        assert ["authorization" in asked.headers for asked in here.asked] == [False, True]
        assert lines(here) == [f"HEAD {PATH}"] * 2
