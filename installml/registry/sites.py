"""Hosts and who belongs to whom: loopback, origins, sites, proxies' exceptions. Pure text rules, no network.

The rule for sites is deliberately small: the last two labels of a name, one more under the suffixes listed below.
Where the full Public Suffix List would say "same site" and this table does not, ``token_hosts`` of a registry's
settings widens it by hand; the opposite mistake would send a password to a stranger.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from ..reference import DOCKER_HUB, canonical_host

__all__ = [
    "DOCKER_HUB",
    "api_host",
    "bypasses_proxy",
    "canonical_host",
    "hostname",
    "is_loopback",
    "origin",
    "same_site",
    "zone",
]

_HUB_API = "registry-1.docker.io"

_PORTS = {"http": 80, "https": 443}

# Suffixes under which strangers are neighbours (publicsuffix.org, its ICANN and private parts), as far as
# registries and their token servers are met under them.
_SUFFIXES = """
    ac.uk co.uk gov.uk org.uk com.au net.au org.au gov.au co.nz org.nz co.jp ne.jp or.jp ac.jp go.jp co.kr or.kr
    com.cn net.cn org.cn gov.cn com.tw com.hk com.sg com.my com.br net.br org.br com.ar com.mx co.in net.in org.in
    co.za com.tr com.ua co.il com.vn co.id co.th com.pl com.ru com.pk com.ph com.eg com.sa com.co com.pe
    amazonaws.com aliyuncs.com azurecr.io azurewebsites.net cloudapp.net azurecontainer.io cloudfront.net
    github.io gitlab.io herokuapp.com run.app appspot.com pkg.dev web.app firebaseapp.com pages.dev workers.dev
    vercel.app netlify.app fly.dev onrender.com ngrok.io ngrok.app ngrok-free.app trycloudflare.com duckdns.org
    digitaloceanspaces.com ondigitalocean.app jfrog.io nip.io sslip.io hf.space
"""
_SHARED_SUFFIXES = frozenset(_SUFFIXES.split())


def hostname(host: str) -> str:
    """Return ``host`` (with or without a port) as a lowercase name without port, brackets or final dot."""
    if _address(host):  # an IPv6 address without its brackets would be taken for a name and a port
        return host.lower()
    return (urlsplit(f"//{host}").hostname or "").rstrip(".")


def api_host(registry: str) -> str:
    """Return the host that answers the API of ``registry``: Docker Hub's differs from its name."""
    return _HUB_API if canonical_host(registry) == DOCKER_HUB else registry


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Return whether ``host`` (with or without a port) is this machine by its very name."""
    name = hostname(host)
    address = _address(name)
    return address.is_loopback if address else name == "localhost" or name.endswith(".localhost")  # RFC 6761, 6.3


def origin(url: str | SplitResult) -> tuple[str, str, int]:
    """Return scheme, host and port of ``url``: what must stay the same for a secret to travel on.

    Raises:
        ValueError: The port is no number between 0 and 65535.
    """
    parts = urlsplit(url) if isinstance(url, str) else url
    return parts.scheme, (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme, 0)


def _site(name: str) -> str:
    labels = name.split(".")
    taken = 3 if ".".join(labels[-2:]) in _SHARED_SUFFIXES else 2
    return ".".join(labels[-taken:]) if len(labels) >= taken else ""


def same_site(registry: str, other: str) -> bool:
    """Return whether two hosts (ports do not matter) are run by the same people, as far as names can say.

    Addresses and names of one label are only ever the same as themselves; all loopback names are one machine.
    """
    a, b = hostname(registry), hostname(other)
    if a == b or (is_loopback(a) and is_loopback(b)):
        return bool(a)
    if _address(a) or _address(b):
        return False
    return _site(a) == _site(b) != ""


def zone(address: str) -> str:
    """Return where an IP address lives: ``public``, ``private``, ``loopback``, ``link-local`` or ``nowhere``."""
    ip = _address(address)
    if ip is None or ip.is_unspecified or ip.is_multicast:
        return "nowhere"
    mapped = getattr(ip, "ipv4_mapped", None)
    ip = mapped or ip
    if ip.is_loopback:
        return "loopback"
    if ip.is_link_local:
        return "link-local"
    return "public" if ip.is_global else "private"


def bypasses_proxy(host: str, no_proxy: str, port: int = 0) -> bool:
    """Return whether ``host`` (``name`` or ``name:port``) is reached without a proxy.

    Args:
        host: The host asked for. Loopback names never go through a proxy.
        no_proxy: Names (with all below them), ``*``, addresses or CIDR ranges, each with an optional port, separated
            by commas or blanks: the habit that curl, Go and Python share.
        port: The port when ``host`` names none.
    """
    name = hostname(host)
    if is_loopback(name):
        return True
    port = _port(host) or port
    return any(_matches(name, port, entry) for entry in no_proxy.lower().replace(",", " ").split())


def _port(host: str) -> int:
    try:
        return 0 if _address(host) else urlsplit(f"//{host}").port or 0
    except ValueError:
        return 0


def _matches(name: str, port: int, entry: str) -> bool:
    if entry == "*":
        return True
    if "/" not in entry and (wanted := _port(entry)):
        if wanted != port:
            return False
        entry = entry.rpartition(":")[0]
    address = _address(name)
    if address is not None:
        return _in_network(address, entry)
    suffix = entry.removeprefix("*").lstrip(".").rstrip(".")
    return bool(suffix) and (name == suffix or name.endswith(f".{suffix}"))


def _in_network(address: ipaddress.IPv4Address | ipaddress.IPv6Address, entry: str) -> bool:
    try:
        return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return False
