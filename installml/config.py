"""Settings: read once, frozen, each value with its origin; and the composition of a ``Session`` from them.

Order: flags, ``INSTALLML_*``, the project's ``installml.toml``, the user's ``config.toml``, defaults. Nothing below
this module reads a variable by itself. What decides whom we trust (``insecure``, certificate authorities, ``home``) is
not taken from a project file: those arrive with somebody else's repository.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .env import VARIABLES
from .errors import SettingInvalid
from .events import Listener, ignore

if TYPE_CHECKING:
    from .api.results import SettingsResult
    from .api.session import Session
    from .registry.credentials import CredentialFiles
    from .registry.http import HostSettings, Network
    from .registry.mirrors import MirrorSettings
    from .registry.quirks import Overrides
    from .runtime.index import Index
    from .signing.secret import Ask
    from .transfer.rate import Rate
    from .trust.verdict import Verdict

__all__ = ["Settings", "config_show", "default_session", "load"]

MAX_FILE = 1 << 20
MAX_EPOCH = 253_402_300_799  # the last second of the year 9999, the last that RFC 3339 can spell
PROJECT_FILE = "installml.toml"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("text")
    return value


def _flag(value: Any) -> bool:
    table = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in (*table, ""):
        return table.get(value.lower(), False)
    raise TypeError("true or false")


def _count(value: Any) -> int:
    try:
        number = int(value) if isinstance(value, (int, str)) else 0
    except ValueError:
        number = 0
    if isinstance(value, bool) or not 1 <= number <= 64:
        raise TypeError("a whole number from 1 to 64")
    return number


def _rate(value: Any) -> str:
    from .spec.units import QuantityInvalid, parse_rate

    text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else "nothing"
    try:
        return text if text == "" or parse_rate(text) >= 0 else ""
    except QuantityInvalid:
        raise TypeError("a rate such as 10MiB/s, 10M or 80Mbit/s; 0 is no limit") from None


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise TypeError("a list of texts")


def _mirrors(value: Any) -> tuple[str, ...]:
    from .registry.mirrors import MirrorAddress

    names = _names(value)
    for name in names:
        try:
            MirrorAddress.parse(name)
        except ValueError as error:
            raise TypeError(str(error)) from None
    return names


def _family(value: Any) -> str:
    from .registry.quirks import Family

    if value not in set(Family):
        raise TypeError(f"one of {', '.join(Family)}")
    return str(value)


def _size(value: Any) -> int:
    from .spec.units import QuantityInvalid, parse_size

    try:
        size = parse_size(value) if isinstance(value, str) else value
    except QuantityInvalid:
        size = None
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size < 1 << 50:
        raise TypeError("a number of bytes such as 4MiB; 0 is no limit")
    return size


def _part(value: Any) -> int:
    try:
        size = _size(int(value) if isinstance(value, str) and value.isdigit() else value)
    except TypeError:
        size = -1
    if size and not 1 << 20 <= size <= 1 << 30:
        raise TypeError("a number of bytes from 1MiB to 1GiB, or 0 to choose by size and speed")
    return size


@dataclass(frozen=True, slots=True)
class _Setting:
    """One setting: how its value is read, its default, and whether a project file may give it."""

    read: Callable[[Any], Any]
    default: Any
    project: bool = False


SETTINGS: Mapping[str, _Setting] = {
    "home": _Setting(_text, ""),
    "registry.default": _Setting(_text, "", project=True),
    "jobs": _Setting(_count, 16, project=True),
    "limit_rate": _Setting(_rate, "", project=True),
    "part_size": _Setting(_part, 0, project=True),
    "offline": _Setting(_flag, False, project=True),
    "insecure": _Setting(_names, ()),
    "policy": _Setting(_text, ""),
    "trust_config": _Setting(_text, ""),
    "runtime.index": _Setting(_text, ""),
    "runtime.wheels": _Setting(_text, ""),
}
_HOST_KEYS: Mapping[str, Callable[[Any], Any]] = {
    "insecure": _flag, "ca": _text, "client_cert": _text, "client_key": _text, "token_hosts": _names,
    "mirrors": _mirrors, "mirrors_resolve_tags": _flag,
    "family": _family, "monolithic": _flag, "streaming": _flag, "resume": _flag, "chunk_min": _size, "chunk_max": _size,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its origin.

    Attributes:
        values: Setting name to value.
        origins: Setting name to where the value came from.
        hosts: Host to its ``[registries."host"]`` table.
        environ: The environment as it was given; never shown.
        user_home: The user's home folder, for credentials.
        user_file: The user's configuration file, or empty when there is none.
    """

    values: Mapping[str, Any] = field(repr=False)
    origins: Mapping[str, str]
    hosts: Mapping[str, Mapping[str, Any]]
    environ: Mapping[str, str] = field(repr=False)
    user_home: Path
    user_file: str = ""

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def home(self) -> Path:
        """Folder of the store."""
        return Path(self["home"])

    def host_settings(self, host: str) -> HostSettings:
        """Return how ``host`` is spoken to."""
        from .registry.http import HostSettings

        table = self.hosts.get(host, {})
        cert = table.get("client_cert", "")
        allowed = host in self["insecure"] or "*" in self["insecure"] or table.get("insecure", False)
        return HostSettings(
            insecure=allowed or self._is_plain_mirror(host),
            ca=table.get("ca"),
            client_cert=(cert, table.get("client_key", cert)) if cert else None,
            token_hosts=table.get("token_hosts", ()),
            overrides=_overrides(table),
        )

    def _is_plain_mirror(self, host: str) -> bool:
        """Return whether ``host`` is named as a mirror with http://."""
        tables = [table for table in self.hosts.values() if table.get("mirrors")]
        if not tables:
            return False
        from .registry.mirrors import MirrorAddress

        named = [MirrorAddress.parse(text) for table in tables for text in table["mirrors"]]
        return any(mirror.plain and mirror.host == host for mirror in named)

    def mirrors_of(self, host: str) -> MirrorSettings | None:
        """Return what is set about the mirrors of a registry, None for nothing."""
        from .registry.sites import canonical_host

        table = self.hosts.get(host) or self.hosts.get(canonical_host(host)) or {}
        if not table.get("mirrors"):
            return None
        from .registry.mirrors import MirrorAddress, MirrorSettings

        addresses = tuple(MirrorAddress.parse(text) for text in table["mirrors"])
        return MirrorSettings(addresses, table.get("mirrors_resolve_tags", False)) if addresses else None

    def network(self) -> Network:
        """Return what the process knows about its network."""
        from .registry.http import Network
        from .version import __version__

        def variable(name: str) -> str:
            return self.environ.get(name.lower()) or self.environ.get(name, "")

        proxies = {
            scheme: value
            for scheme, name in (("http", "HTTP_PROXY"), ("https", "HTTPS_PROXY"), ("all", "ALL_PROXY"))
            if (value := variable(name))
        }
        return Network(
            proxies=proxies,
            no_proxy=variable("NO_PROXY"),
            user_agent=f"installml/{__version__}",
            offline=self["offline"],
            ca_file=self.environ.get("SSL_CERT_FILE") or None,
        )

    def session(
        self,
        on_event: Listener = ignore,
        ask: Ask | None = None,
        accept: Callable[[Verdict], bool] | None = None,
    ) -> Session:
        """Return the collaborators that these settings describe.

        Args:
            on_event: Told what happens.
            ask: Asks somebody for a passphrase; where nobody can be asked, None.
            accept: Asks somebody about signers who are not known; where nobody can be asked, None.
        """
        from .api.session import Session
        from .registry.credentials import CredentialStore
        from .registry.http import HttpClient
        from .registry.repository import Registry

        client = HttpClient(self.network(), self.host_settings)
        credentials = CredentialStore(self.credential_files())
        return Session(
            home=self.home,
            open_registry_as=lambda host, source: Registry(host, client, source),
            credentials=credentials,
            default_registry=self["registry.default"].rstrip("/"),
            index=self.index(),
            jobs=self["jobs"],
            limit=self.limit(),
            part_size=self["part_size"],
            offline=self["offline"],
            on_event=on_event,
            source_date_epoch=self._epoch(),
            hub_caches=self._hub_caches(),
            ollama_caches=self._ollama_caches(),
            environ=self.environ,
            mirrors_of=self.mirrors_of,
            ask=self._answering(ask),
            accept=accept,
            policy_file=_absolute(self["policy"], self.user_home) if self["policy"] else None,
            trust_config=_absolute(self["trust_config"], self.user_home) if self["trust_config"] else None,
        )

    def _answering(self, ask: Ask | None) -> Ask:
        from .signing.secret import Secret, ask_nobody

        given = self.environ.get("INSTALLML_KEY_PASSWORD")
        if given is None:
            return ask or ask_nobody
        return lambda _: Secret(given)

    def limit(self) -> Rate | None:
        """Return the ceiling on bytes a second that all transfers of one session share, or None."""
        from .spec.units import parse_rate
        from .transfer.rate import Rate

        bytes_per_second = parse_rate(self["limit_rate"] or "0")
        return Rate(bytes_per_second) if bytes_per_second else None

    def _hub_caches(self) -> tuple[Path, ...]:
        """Return where huggingface_hub keeps what it fetched ("Environment variables" of its documentation)."""
        if named := self.environ.get("HF_HUB_CACHE"):
            return (_absolute(named, self.user_home),)
        if home := self.environ.get("HF_HOME"):
            return (_absolute(home, self.user_home) / "hub",)
        cache = Path(self.environ.get("XDG_CACHE_HOME") or self.user_home / ".cache")
        return (cache / "huggingface" / "hub",)

    def _ollama_caches(self) -> tuple[Path, ...]:
        """Return where Ollama keeps its models (its FAQ, "Where are models stored?")."""
        if named := self.environ.get("OLLAMA_MODELS"):
            return (_absolute(named, self.user_home),)
        return (self.user_home / ".ollama" / "models", Path("/usr/share/ollama/.ollama/models"))

    def credential_files(self) -> CredentialFiles:
        """Return the files of docker and podman that may hold credentials (containers-auth.json(5), docker login)."""
        from .registry.credentials import CredentialFiles

        def folder(variable: str, *otherwise: str) -> Path:
            return Path(self.environ[variable]) if self.environ.get(variable) else self.user_home.joinpath(*otherwise)

        named = self.environ.get("REGISTRY_AUTH_FILE")
        runtime = self.environ.get("XDG_RUNTIME_DIR")
        podman = [Path(named)] if named else []
        podman += [Path(runtime) / "containers" / "auth.json"] if runtime else []
        podman.append(folder("XDG_CONFIG_HOME", ".config") / "containers" / "auth.json")
        return CredentialFiles(folder("DOCKER_CONFIG", ".docker") / "config.json", tuple(podman))

    def index(self) -> Index:
        """Return where wheels come from: our settings, else what pip and uv are configured to use."""
        from .runtime.index import configured, pip_files

        texts = {}
        for path in pip_files(self.environ, self.user_home, Path(sys.prefix)):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                texts[str(path)] = path.read_text("utf-8")[:MAX_FILE]
        return configured(
            self.environ,
            texts,
            url=self["runtime.index"],
            wheels=_absolute(self["runtime.wheels"], self.user_home) if self["runtime.wheels"] else None,
            offline=self["offline"],
        )

    def _epoch(self) -> int | None:
        text = self.environ.get("SOURCE_DATE_EPOCH", "")
        if not text:
            return None
        if not (text.isascii() and text.isdigit()) or len(text) > 12 or int(text) > MAX_EPOCH:
            raise SettingInvalid(
                f"SOURCE_DATE_EPOCH is {text[:40]!r}, not seconds since 1970",
                hint="SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)",
                subject="SOURCE_DATE_EPOCH",
            )
        return int(text)


def _overrides(table: Mapping[str, Any]) -> Overrides:
    from .registry.quirks import Family, Overrides

    own = {
        name: table[name] for name in ("monolithic", "streaming", "resume", "chunk_min", "chunk_max") if name in table
    }
    return Overrides(family=Family(table["family"]) if "family" in table else None, **own)


def load(
    flags: Mapping[str, Any] = MappingProxyType({}),
    environ: Mapping[str, str] | None = None,
    *,
    folder: Path | None = None,
) -> Settings:
    """Return the settings of this process.

    Args:
        flags: Setting name to value, for those given on the command line.
        environ: The environment; the process's own when left out.
        folder: Where the project file is looked for, upwards; the working folder when left out.

    Raises:
        SettingInvalid: A value or file cannot be used; names it and where it stands.
    """
    environ = dict(os.environ if environ is None else environ)
    user_home = _user_home(environ)
    user_file = _user_file(environ, user_home)
    found = [(_project_file(folder), True), (user_file, False)]
    files = [_File(path, _table(path, project=project)) for path, project in found if path is not None]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, setting in SETTINGS.items():
        value, origin = _first(name, setting, flags, environ, files)
        values[name], origins[name] = _checked(setting, name, value, origin), origin
    values["home"] = str(_absolute(values["home"] or str(_platform_folder(environ, user_home, _DATA)), user_home))
    return Settings(values, origins, _hosts(files), environ, user_home, str(user_file or ""))


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    table: Mapping[str, Any]


def _first(
    name: str, setting: _Setting, flags: Mapping[str, Any], environ: Mapping[str, str], files: list[_File]
) -> tuple[Any, str]:
    if flags.get(name) not in (None, (), ""):
        return flags[name], f"flag --{name.rpartition('.')[2].replace('_', '-')}"
    variable = next((v.name for v in VARIABLES if v.setting == name), "")
    if environ.get(variable):
        return environ[variable], f"environment {variable}"
    for file in files:
        value = _lookup(file.table, name)
        if value is not None:
            return value, str(file.path)
    return setting.default, "default"


def _checked(setting: _Setting, name: str, value: Any, origin: str) -> Any:
    try:
        return setting.read(value)
    except TypeError as error:
        raise SettingInvalid(f"{name} from {origin} is {_shown(value)!r}, not {error}", subject=name) from error


def _lookup(table: Mapping[str, Any], name: str) -> Any:
    value: Any = table
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _table(path: Path, *, project: bool) -> Mapping[str, Any]:
    import tomllib  # most machines have no such file

    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise ValueError(f"it has more than {MAX_FILE} bytes")
        table = tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise SettingInvalid(f"{path} cannot be read: {error.strerror}", subject=str(path)) from error
    except (ValueError, RecursionError) as error:
        reason = str(error) or "it is nested too deep"
        raise SettingInvalid(f"{path} cannot be read: {reason}", subject=str(path)) from error
    names = list(_names_in(table))
    unknown = [name for name in names if name not in SETTINGS and name != "registries"]
    if unknown:
        raise SettingInvalid(f"{path} has unknown settings: {', '.join(unknown)}", subject=str(path))
    foreign = [name for name in names if name == "registries" or not SETTINGS[name].project] if project else []
    if foreign:  # refused even where a flag or variable prevails: the same project means the same to everybody
        raise SettingInvalid(
            f"{path} sets {', '.join(foreign)}, which a project may not decide",
            hint="Set it in your own configuration file, by environment or by flag.",
            subject=str(path),
        )
    return table


def _names_in(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield the dotted name of everything that a file sets; ``registries`` stands for all below it."""
    groups = {name.partition(".")[0] for name in SETTINGS if "." in name}
    for key, value in table.items():
        if key in groups and isinstance(value, Mapping):
            yield from (f"{key}.{inner}" for inner in value)
        else:
            yield key


def _hosts(files: list[_File]) -> dict[str, dict[str, Any]]:
    hosts: dict[str, dict[str, Any]] = {}
    for file in files:
        tables = file.table.get("registries", {})
        if not isinstance(tables, Mapping):
            raise SettingInvalid(
                f"{file.path}: registries is not a table of hosts",
                hint='Write: [registries."registry.example.com"]',
                subject=str(file.path),
            )
        for host, table in tables.items():
            hosts[host] = _host(host, table, file.path)
    return hosts


def _host(host: str, table: Any, path: Path) -> dict[str, Any]:
    if not isinstance(table, Mapping) or set(table) - set(_HOST_KEYS):
        raise SettingInvalid(f'{path}: [registries."{host}"] knows only {", ".join(_HOST_KEYS)}', subject=host)
    try:
        return {key: _HOST_KEYS[key](value) for key, value in table.items()}
    except TypeError as error:
        raise SettingInvalid(f'{path}: a value of [registries."{host}"] is not {error}', subject=host) from error


def _is_file(path: Path) -> bool:
    """Return whether there is such a file, as far as this user may see: others' folders are none of ours."""
    try:
        return path.is_file()
    except PermissionError:
        return False


def _project_file(folder: Path | None) -> Path | None:
    try:
        folder = (folder or Path.cwd()).absolute()
    except FileNotFoundError:  # the working folder has been removed
        return None
    return next((path for up in (folder, *folder.parents) if _is_file(path := up / PROJECT_FILE)), None)


def _user_home(environ: Mapping[str, str]) -> Path:
    """Return the user's home folder; a user number without a name and without HOME has the root's, as in containers."""
    if environ.get("HOME"):
        return Path(environ["HOME"])
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


def _user_file(environ: Mapping[str, str], user_home: Path) -> Path | None:
    if environ.get("INSTALLML_CONFIG"):
        return _absolute(environ["INSTALLML_CONFIG"], user_home)
    path = _platform_folder(environ, user_home, _CONFIG) / "config.toml"
    return path if _is_file(path) else None


def _absolute(text: str, user_home: Path) -> Path:
    """Return ``text`` as an absolute path; ``~`` is the user's home folder."""
    path = Path(text)
    return user_home.joinpath(*path.parts[1:]) if path.parts[:1] == ("~",) else path.absolute()


_DATA = ("XDG_DATA_HOME", ".local/share")
_CONFIG = ("XDG_CONFIG_HOME", ".config")


def _platform_folder(environ: Mapping[str, str], user_home: Path, kind: tuple[str, str]) -> Path:
    """Return our folder (XDG Base Directory Specification: a relative path in a variable is ignored).

    Not asked of a library: those read the process's environment, and ours is an argument.
    """
    variable, otherwise = kind
    named = Path(environ.get(variable, ""))
    if named.is_absolute():
        return named / "installml"
    return user_home / ("Library/Application Support" if sys.platform == "darwin" else otherwise) / "installml"


def default_session(on_event: Listener = ignore) -> Session:
    """Return a session made from this process's environment and files: what the SDK uses when it is given none."""
    return load().session(on_event)


def config_show(*, settings: Settings | None = None) -> SettingsResult:
    """Return every setting and where its value came from; credentials inside URLs are cut out."""
    from .api.results import SettingsResult, SettingValue

    settings = settings or load()
    rows = [SettingValue(name, _shown(settings[name]), settings.origins[name]) for name in SETTINGS]
    rows += [
        SettingValue(f'registries."{host}".{key}', _shown(value), settings.user_file)
        for host, table in sorted(settings.hosts.items())
        for key, value in sorted(table.items())
    ]
    return SettingsResult(tuple(rows))


def _shown(value: Any) -> Any:
    from .runtime.index import without_secrets

    if isinstance(value, tuple):
        return tuple(map(_shown, value))
    return without_secrets(value) if isinstance(value, str) else value
