"""Where wheels come from, and how uv is told: pip's settings, uv's own variables, a folder, a cache. Pure.

The environment and the files' texts are arguments; only ``installml.config`` reads them. Credentials travel in the
child's environment, never in its arguments, and are not shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SettingInvalid

if TYPE_CHECKING:
    import configparser

__all__ = ["Index", "configured", "pip_files", "without_secrets"]

_PASSED = {
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
    "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_DATA_HOME",
    "NETRC", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "UV_CACHE_DIR", "UV_DEFAULT_INDEX", "UV_EXCLUDE_NEWER", "UV_EXTRA_INDEX_URL", "UV_HTTP_CONNECT_TIMEOUT",
    "UV_HTTP_RETRIES", "UV_HTTP_TIMEOUT", "UV_INSECURE_HOST", "UV_KEYRING_PROVIDER", "UV_LINK_MODE", "UV_NATIVE_TLS",
    "UV_PYTHON_INSTALL_DIR", "UV_SYSTEM_CERTS", "UV_TORCH_BACKEND",
}  # fmt: skip
"""Variables that reach uv. What would change what is installed or where (UV_PYTHON, VIRTUAL_ENV, PYTHONPATH,
UV_CONSTRAINT ...) does not."""

_PASSED_PREFIXES = ("UV_INDEX", "UV_CONCURRENT_")
_OWN_INDEX = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")
_URL = re.compile(r"(\w+://)(?:[^/@\s`'\"]*@)?([^\s`'\")?]*)(?:\?[^\s`'\")]*)?")


def without_secrets(text: str) -> str:
    """Return ``text`` with the credentials and query strings of its URLs cut out."""
    return _URL.sub(r"\1\2", text)


@dataclass(frozen=True, slots=True, repr=False)
class Index:
    """Where wheels come from.

    Attributes:
        url: The index (PEP 503 or 691), credentials included; empty for uv's own settings and default.
        extra: More indexes; a name is taken from the first that has it, never from the best bidder.
        wheels: Folder of wheels that replaces every index.
        offline: Use only what is cached.
        cache: uv's cache; None for uv's own choice (UV_CACHE_DIR, else the user's cache folder). On the file
            system of the environments it is linked and not copied.
        environ: Variables for the child; those that matter are passed on.
    """

    url: str = ""
    extra: tuple[str, ...] = ()
    wheels: Path | None = None
    offline: bool = False
    cache: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        urls = ", ".join(without_secrets(url) for url in (self.url, *self.extra) if url)
        return f"Index({urls or 'default'!r}, wheels={self.wheels}, offline={self.offline}, cache={self.cache})"

    def variables(self) -> dict[str, str]:
        """Return the child's whole environment."""
        passed = {
            name: value for name, value in self.environ.items() if name in _PASSED or name.startswith(_PASSED_PREFIXES)
        }
        if self.url:
            passed = {name: value for name, value in passed.items() if name not in _OWN_INDEX}
            passed["UV_DEFAULT_INDEX"] = self.url
        if self.extra:
            passed["UV_INDEX"] = " ".join(self.extra)
        if self.cache:
            passed["UV_CACHE_DIR"] = str(self.cache.absolute())
        return passed

    def options(self) -> list[str]:
        """Return the arguments that say how much of the network may be used."""
        if self.wheels:
            return ["--offline", "--no-index", "--find-links", str(self.wheels.absolute())]
        return ["--offline"] if self.offline else []


def pip_files(environ: Mapping[str, str], home: Path, prefix: Path) -> tuple[Path, ...]:
    """Return the configuration files of pip, weakest first (pip documentation, "Configuration Files").

    Args:
        environ: For PIP_CONFIG_FILE and the XDG variables.
        home: The user's home folder.
        prefix: sys.prefix, which holds the site's file of a virtual environment.
    """
    own = environ.get("PIP_CONFIG_FILE", "")
    if own == "/dev/null":
        return ()
    everyone = [Path(folder) / "pip" for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if folder]
    everyone += [Path("/Library/Application Support/pip"), Path("/etc")]
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    user = [] if own else [home / ".pip", home / "Library/Application Support/pip", config / "pip"]
    files = [folder / "pip.conf" for folder in (*everyone, *user, prefix)]
    return (*files, Path(own)) if own else tuple(files)


def configured(
    environ: Mapping[str, str],
    files: Mapping[str, str],
    *,
    url: str = "",
    wheels: Path | None = None,
    offline: bool = False,
    cache: Path | None = None,
) -> Index:
    """Return the index that this user means.

    Order: ``url`` (our own setting), uv's variables, pip's variables, pip's files, and last what uv itself is
    configured to use. So a machine on which ``pip install`` works needs nothing more.

    Args:
        environ: The environment.
        files: Name and text of pip's configuration files that exist, weakest first (``pip_files``).
        url: The setting ``runtime.index``.
        wheels: The setting ``runtime.wheels``.
        offline: The setting ``offline``.
        cache: uv's cache, or None.

    Raises:
        SettingInvalid: A file of pip's cannot be read; going on could ask the wrong index.
    """
    pip = _pip_settings(environ, files)
    environ = dict(environ)
    for variable, setting in (("SSL_CERT_FILE", "cert"), ("UV_INSECURE_HOST", "trusted-host")):
        if pip.get(setting) and variable not in environ:
            environ[variable] = " ".join(pip[setting].split())
    extra: tuple[str, ...] = ()
    if not url and not any(environ.get(name) for name in _OWN_INDEX):
        url, extra = pip.get("index-url", ""), tuple(pip.get("extra-index-url", "").split())
    return Index(url, extra, wheels, offline, cache, environ)


def _pip_settings(environ: Mapping[str, str], files: Mapping[str, str]) -> dict[str, str]:
    """Return pip's settings: later files win, [install] over [global], variables over all."""
    settings: dict[str, str] = {}
    parsed = [_parse(name, text) for name, text in files.items()]
    for section in ("global", "install"):
        for parser in parsed:
            if parser.has_section(section):
                settings |= {_normal(key): value.strip() for key, value in parser.items(section)}
    return settings | {_normal(k[4:]): v for k, v in environ.items() if k.startswith("PIP_") and v}


def _parse(name: str, text: str) -> configparser.RawConfigParser:
    import configparser  # most machines have no such file

    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text, name)
    except configparser.Error as error:
        reason = type(error).__name__  # its message would quote lines that may hold a password
        raise SettingInvalid(f"{name} is not a pip configuration file ({reason})", subject=name) from None
    return parser


def _normal(key: str) -> str:
    return key.lower().replace("_", "-").removeprefix("--")
