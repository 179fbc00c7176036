"""The table of what registries can do: every difference has a reason, and each is told by what answers carry."""

from __future__ import annotations

from dataclasses import fields

import pytest

from installml.registry.auth import Fixed
from installml.registry.endpoint import Endpoint
from installml.registry.http import HostSettings
from installml.registry.quirks import FAMILIES, UNKNOWN, Family, Overrides, Quirks, by_host, recognise
from tests.unit.registry.serving import client

ABOUT = {"family", "title", "facts"}


def test_every_family_has_a_row() -> None:
    assert set(FAMILIES) == set(Family)


@pytest.mark.parametrize("row", FAMILIES.values(), ids=lambda row: row.family)
def test_every_difference_has_a_reason_and_every_reason_a_source(row: Quirks) -> None:
    different = {f.name for f in fields(Quirks) if getattr(row, f.name) != getattr(UNKNOWN, f.name)} - ABOUT
    explained = {name for fact in row.facts for name in fact.fields}
    if row.family is Family.DISTRIBUTION2 or row.family is Family.DISTRIBUTION3:
        different.discard("hints")
    assert explained == different
    assert all(fact.habit and fact.answer and fact.source for fact in row.facts)


CHALLENGES = {
    Family.HARBOR: 'Bearer realm="https://harbor.example.com/service/token",service="harbor-registry"',
    Family.ECR: 'Basic realm="https://1234.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.amazonaws.com"',
    Family.GAR: 'Bearer realm="https://us-docker.pkg.dev/v2/token",service="us-docker.pkg.dev"',
    Family.GHCR: 'Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:user/image:pull"',
    Family.DOCKER_HUB: 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"',
    Family.ACR: 'Bearer realm="https://acme.azurecr.io/oauth2/token",service="acme.azurecr.io"',
    Family.GITLAB: 'Bearer realm="https://gitlab.com/jwt/auth",service="container_registry"',
    Family.QUAY: 'Bearer realm="https://quay.io/v2/auth",service="quay.io"',
    Family.OURS: 'Basic realm="installml registry", charset="UTF-8"',
}


@pytest.mark.parametrize("family", CHALLENGES)
def test_a_family_is_told_by_its_challenge_whatever_the_host(family: Family) -> None:
    told = recognise({"www-authenticate": CHALLENGES[family]}, 401)
    assert told is FAMILIES[family]


UPLOADS = {
    Family.DISTRIBUTION2: "https://registry.example.com/v2/a/blobs/uploads/540ace07-71fd-42d9-b22b-b65029389dc5?_state=bVYe",
    Family.DISTRIBUTION3: "/v2/a/b/blobs/uploads/01a1fe93-07cd-7910-9ada-6db129f2111f?_state=RuR2",
    Family.GGCR: "/v2/a/b/blobs/uploads/6388648849414486024",
}


@pytest.mark.parametrize("family", UPLOADS)
def test_a_family_is_told_by_the_address_of_an_upload(family: Family) -> None:
    assert recognise({"Location": UPLOADS[family]}, 202) is FAMILIES[family]


def test_the_address_in_a_redirect_tells_nothing() -> None:
    assert recognise({"Location": UPLOADS[Family.GGCR]}, 307) is None


def test_an_answer_that_says_nothing_tells_nothing() -> None:
    assert recognise({"Docker-Distribution-Api-Version": "registry/2.0", "Content-Type": "application/json"}) is None


HOSTS = {
    "docker.io": Family.DOCKER_HUB,
    "index.docker.io": Family.DOCKER_HUB,
    "ghcr.io": Family.GHCR,
    "eu.gcr.io": Family.GAR,
    "europe-west1-docker.pkg.dev": Family.GAR,
    "123456789012.dkr.ecr.eu-central-1.amazonaws.com": Family.ECR,
    "public.ecr.aws": Family.ECR,
    "acme.azurecr.io": Family.ACR,
    "registry.gitlab.com": Family.GITLAB,
    "quay.io": Family.QUAY,
    "registry.example.com": Family.UNKNOWN,
    "ghcr.io.example.com": Family.UNKNOWN,
    "notghcr.io": Family.UNKNOWN,
    "localhost:5000": Family.UNKNOWN,
}


@pytest.mark.parametrize("host", HOSTS)
def test_a_name_tells_a_family_only_where_it_is_that_family_s_own(host: str) -> None:
    assert by_host(host).family is HOSTS[host]


def test_settings_have_the_last_word() -> None:
    settings = HostSettings(overrides=Overrides(Family.GHCR, chunk_max=1 << 20))
    endpoint = Endpoint("registry.example.com", client(settings={"registry.example.com": settings}), Fixed())
    assert (endpoint.quirks.family, endpoint.quirks.chunk_max) == (Family.GHCR, 1 << 20)
