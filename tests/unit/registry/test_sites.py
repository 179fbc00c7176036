from __future__ import annotations

import pytest

from installml.registry.sites import api_host, bypasses_proxy, canonical_host, is_loopback, origin, same_site, zone


@pytest.mark.parametrize(
    ("registry", "other"),
    [
        ("registry.gitlab.com", "gitlab.com"),
        ("registry-1.docker.io", "auth.docker.io"),
        ("registry.example.com:5000", "registry.example.com:5001"),
        ("Registry.Example.com", "registry.example.com."),
        ("registry.acme.co.uk", "auth.acme.co.uk"),
        ("localhost:5000", "127.0.0.1:5001"),
        ("[::1]:5000", "localhost"),
        ("10.0.0.7:5000", "10.0.0.7:443"),
        ("registry", "registry:5001"),
    ],
)
def test_hosts_of_the_same_people_are_one_site(registry: str, other: str) -> None:
    assert same_site(registry, other)
    assert same_site(other, registry)


@pytest.mark.parametrize(
    ("registry", "other"),
    [
        ("registry.example.com", "registry.example.com.evil.net"),
        ("registry.example.com", "evilexample.com"),
        ("registry.example.com", "example.org"),
        ("acme.co.uk", "evil.co.uk"),
        ("acme.azurecr.io", "evil.azurecr.io"),
        ("acme.github.io", "evil.github.io"),
        ("1.dkr.ecr.eu-west-1.amazonaws.com", "bucket.s3.amazonaws.com.evil.com"),
        ("10.0.0.7", "10.0.0.8"),
        ("1.10.0.7", "2.10.0.7"),
        ("registry", "auth"),
        ("com", "example.com"),
        ("co.uk", "acme.co.uk"),
        ("", ""),
    ],
)
def test_hosts_of_strangers_are_not(registry: str, other: str) -> None:
    assert not same_site(registry, other)
    assert not same_site(other, registry)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:5000", "a.localhost", "127.0.0.1", "127.8.8.8:1", "[::1]:5000"]
)
def test_this_machine_is_known_by_its_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["localhost.example.com", "example.com", "10.0.0.1", "[fe80::1]", "127.0.0.1.nip.io"])
def test_other_machines_are_not_this_one(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", "public"),
        ("2606:4700::1", "public"),
        ("10.1.2.3", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "private"),
        ("fd00::1", "private"),
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:10.0.0.1", "private"),
        ("169.254.169.254", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("0.0.0.0", "nowhere"),
        ("::", "nowhere"),
        ("224.0.0.1", "nowhere"),
        ("no address", "nowhere"),
    ],
)
def test_addresses_fall_into_zones(address: str, expected: str) -> None:
    assert zone(address) == expected


@pytest.mark.parametrize(
    ("host", "no_proxy"),
    [
        ("localhost:5000", ""),
        ("registry.acme.com", "*"),
        ("registry.acme.com", "acme.com"),
        ("registry.acme.com", "other.org, .acme.com"),
        ("registry.acme.com:5000", "*.acme.com"),
        ("registry.acme.com:5000", "registry.acme.com:5000"),
        ("10.1.2.3:5000", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3"),
        ("[fd00::7]:5000", "fd00::/8"),
        ("registry.acme.com:5000", ".acme.com:5000"),
        ("[fd00::7]:5000", "[fd00::7]:5000"),
        ("registry.acme.com", "other.org acme.com"),
        ("Registry.ACME.com.", "acme.com"),
    ],
)
def test_no_proxy_is_honoured_as_curl_and_go_do(host: str, no_proxy: str) -> None:
    assert bypasses_proxy(host, no_proxy)


@pytest.mark.parametrize(
    ("host", "no_proxy"),
    [
        ("registry.acme.com", ""),
        ("registry.acme.com", "cme.com"),
        ("registry.acme.com:5000", "registry.acme.com:6000"),
        ("11.1.2.3", "10.0.0.0/8"),
        ("registry.acme.com", ", ,"),
        ("registry.acme.com:5000", "acme.com:443"),
        ("registry.acme.com", "."),
    ],
)
def test_what_no_proxy_does_not_name_goes_through_the_proxy(host: str, no_proxy: str) -> None:
    assert not bypasses_proxy(host, no_proxy)


def test_docker_hub_has_one_name_and_one_api() -> None:
    assert {canonical_host(h) for h in ("docker.io", "index.docker.io", "registry-1.docker.io")} == {"docker.io"}
    assert api_host("docker.io") == "registry-1.docker.io"
    assert api_host("ghcr.io") == canonical_host("ghcr.io") == "ghcr.io"


def test_an_origin_has_its_default_port() -> None:
    assert origin("https://a.example/x") == origin("https://A.example:443/y?z") != origin("http://a.example")
