"""Where each setting comes from, which files may decide what, and that nothing secret is shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from installml.api.results import to_json
from installml.config import MAX_FILE, SETTINGS, Settings, config_show, load
from installml.env import VARIABLES
from installml.errors import SettingInvalid

EMPTY: Mapping[str, Any] = {}
VALUES = {
    # setting: (by flag, by environment, by project file, by user file), each as it is read
    "home": ("/flag", "/env", None, "/user"),
    "registry.default": ("flag.example", "env.example", "project.example", "user.example"),
    "jobs": (1, 2, 3, 5),
    "limit_rate": ("1M", "2MiB/s", "30Mbit/s", "400kB/s"),
    "part_size": (1 << 20, 2 << 20, 3 << 20, 4 << 20),
    "offline": (True, True, True, True),
    "insecure": (("flag.example",), ("env.example",), None, ("user.example",)),
    "policy": ("/flag", "/env", None, "/user"),
    "trust_config": ("/flag", "/env", None, "/user"),
    "runtime.index": ("https://flag.example", "https://env.example", None, "https://user.example"),
    "runtime.wheels": ("/flag", "/env", None, "/user"),
}


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """Return a home folder."""
    folder = tmp_path / "user"
    folder.mkdir()
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder without settings in it or above it."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def environ(user: Path, **variables: str) -> dict[str, str]:
    return {"HOME": str(user), **variables}


def user_file(user: Path, text: str) -> Path:
    path = user / (
        "Library/Application Support/installml/config.toml"
        if sys.platform == "darwin"
        else ".config/installml/config.toml"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def toml(name: str, value: Any) -> str:
    group, dot, key = name.rpartition(".")
    spelled = json.dumps(list(value) if isinstance(value, tuple) else value)
    return f"[{group}]\n{key} = {spelled}\n" if dot else f"{key} = {spelled}\n"


def text_of(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else "1" if value is True else str(value)


def refused(project: Path, user: Path, **variables: str) -> SettingInvalid:
    with pytest.raises(SettingInvalid) as caught:
        load(EMPTY, environ(user, **variables), folder=project)
    assert caught.value.exit_code == 2
    return caught.value


# -- precedence and origins -----------------------------------------------------------------------------------------


def test_every_setting_is_tried_here() -> None:
    assert set(VALUES) == set(SETTINGS)


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_flags_prevail_over_environment_over_project_over_user_over_default(
    name: str, user: Path, project: Path
) -> None:
    flag, variable, in_project, in_user = VALUES[name]
    spelled = next(v.name for v in VARIABLES if v.setting == name)
    flags, surroundings = {name: flag}, environ(user, **{spelled: text_of(variable)})
    mine = user_file(user, toml(name, in_user))
    theirs = project / "installml.toml"
    if in_project is not None:
        theirs.write_text(toml(name, in_project))
    steps: list[tuple[Mapping[str, Any], Mapping[str, str], Any, str]] = [
        (flags, surroundings, flag, "flag"),
        (EMPTY, surroundings, variable, f"environment {spelled}"),
        (EMPTY, environ(user), in_project if in_project is not None else in_user, str(theirs if in_project else mine)),
    ]
    for given, around, value, origin in steps:
        settings = load(given, around, folder=project)
        assert settings[name] == value
        assert settings.origins[name].startswith(origin)
    theirs.unlink(missing_ok=True)
    assert load(EMPTY, environ(user), folder=project).origins[name] == str(mine)
    mine.unlink()
    assert load(EMPTY, environ(user), folder=project).origins[name] == "default"


def test_a_flag_that_was_not_given_decides_nothing(user: Path, project: Path) -> None:
    given = {"home": "", "jobs": None, "insecure": ()}
    settings = load(given, environ(user, INSTALLML_JOBS="7", INSTALLML_INSECURE="a.example, b.example"), folder=project)
    assert settings["jobs"] == 7
    assert settings["insecure"] == ("a.example", "b.example")


def test_a_flag_can_say_no_against_a_variable_that_says_yes(user: Path, project: Path) -> None:
    assert load({"offline": False}, environ(user, INSTALLML_OFFLINE="1"), folder=project)["offline"] is False


@pytest.mark.parametrize(("text", "means"), [("1", True), ("TRUE", True), ("yes", True), ("0", False), ("off", False)])
def test_yes_and_no_have_several_spellings(text: str, means: bool, user: Path, project: Path) -> None:
    assert load(EMPTY, environ(user, INSTALLML_OFFLINE=text), folder=project)["offline"] is means


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("INSTALLML_OFFLINE", "perhaps"),
        ("INSTALLML_JOBS", "0"),
        ("INSTALLML_JOBS", "65"),
        ("INSTALLML_JOBS", "many"),
        ("INSTALLML_LIMIT_RATE", "fast"),
        ("INSTALLML_LIMIT_RATE", "-1M"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_origin(
    variable: str, text: str, user: Path, project: Path
) -> None:
    error = refused(project, user, **{variable: text})
    assert variable in error.message
    assert repr(text) in error.message
    assert error.hint


@pytest.mark.parametrize(("text", "means"), [("", None), ("0", None), ("none", None), ("1MiB/s", 1 << 20)])
def test_a_session_has_the_limit_that_is_set(text: str, means: int | None, user: Path, project: Path) -> None:
    limit = load(EMPTY, environ(user, INSTALLML_LIMIT_RATE=text), folder=project).session().limit
    assert (limit and limit.bytes_per_second) == means


def test_no_limit_on_the_command_line_lifts_that_of_the_environment(user: Path, project: Path) -> None:
    settings = load({"limit_rate": "0"}, environ(user, INSTALLML_LIMIT_RATE="1M"), folder=project)
    assert (settings.limit(), settings.origins["limit_rate"]) == (None, "flag --limit-rate")


@pytest.mark.parametrize("value", ["true", "3.5", "inf", "nan", "[1]", '"x"'])
def test_a_number_of_jobs_is_a_whole_number(value: str, user: Path, project: Path) -> None:
    user_file(user, f"jobs = {value}\n")
    assert "a whole number from 1 to 64" in refused(project, user).message


# -- files ----------------------------------------------------------------------------------------------------------


def test_the_project_file_is_looked_for_upwards_and_the_nearest_counts(user: Path, project: Path) -> None:
    deep = project / "a" / "b"
    deep.mkdir(parents=True)
    (project / "installml.toml").write_text("jobs = 2\n")
    assert load(EMPTY, environ(user), folder=deep)["jobs"] == 2
    (project / "a" / "installml.toml").write_text("jobs = 3\n")
    assert load(EMPTY, environ(user), folder=deep)["jobs"] == 3


FOREIGN = ['home = "/tmp/x"', 'insecure = ["*"]', '[runtime]\nindex = "https://x.example"', '[runtime]\nwheels = "/x"',
           '[registries."ghcr.io"]\ninsecure = true']  # fmt: skip


@pytest.mark.parametrize("text", FOREIGN)
def test_a_project_may_not_decide_whom_we_trust(text: str, user: Path, project: Path) -> None:
    (project / "installml.toml").write_text(text)
    error = refused(project, user)
    assert "which a project may not decide" in error.message
    assert str(project) in error.message


def test_what_a_project_may_not_decide_is_refused_even_where_a_variable_prevails(user: Path, project: Path) -> None:
    (project / "installml.toml").write_text('home = "/tmp/x"')
    assert "sets home" in refused(project, user, INSTALLML_HOME="/elsewhere").message


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("color = 1", "color"),
        ("[registry]\ndefualt = 'x'", "registry.defualt"),
        ("[runtime]\nindx = 'x'", "runtime.indx"),
        ("registry = 'ghcr.io'", "registry"),
        ("[jobs]\nmost = 3", "jobs"),
    ],
)
def test_a_name_that_is_no_setting_is_refused(text: str, named: str, user: Path, project: Path) -> None:
    path = user_file(user, text)
    error = refused(project, user)
    assert named in error.message
    assert str(path) in error.message


@pytest.mark.parametrize("text", ["registries = 5", "registries = 'x'", "registries = [1]"])
def test_registries_that_are_no_table_are_refused(text: str, user: Path, project: Path) -> None:
    user_file(user, text)
    assert "registries is not a table" in refused(project, user).message


@pytest.mark.parametrize("text", ["insecure = 'perhaps'", "ca = 5", "trust = true"])
def test_what_a_host_cannot_have_is_refused_by_its_name(text: str, user: Path, project: Path) -> None:
    user_file(user, f'[registries."harbor.example"]\n{text}\n')
    assert "harbor.example" in refused(project, user).message


@pytest.mark.parametrize(
    "data", [b"jobs = ", b"\xff\xfe", b"[a" + b"." * 3, b"x = " + b"[" * 100_000, b"jobs = 1\njobs = 2"]
)
def test_a_file_that_is_not_toml_is_named(data: bytes, user: Path, project: Path) -> None:
    path = user_file(user, "")
    path.write_bytes(data)
    assert f"{path} cannot be read" in refused(project, user).message


def test_an_endless_file_is_not_read_to_its_end(user: Path, project: Path) -> None:
    error = refused(project, user, INSTALLML_CONFIG="/dev/zero")
    assert str(MAX_FILE) in error.message


def test_a_file_that_was_asked_for_and_is_not_there_is_an_error(user: Path, project: Path) -> None:
    assert "No such file" in refused(project, user, INSTALLML_CONFIG=str(user / "none.toml")).message


def test_a_host_has_its_own_settings(user: Path, project: Path) -> None:
    user_file(
        user,
        '[registries."harbor.example:8443"]\ninsecure = true\nca = "/ca.pem"\nclient_cert = "/me.pem"\n'
        'token_hosts = ["auth.example"]\n',
    )
    settings = load(EMPTY, environ(user), folder=project)
    mine = settings.host_settings("harbor.example:8443")
    assert (mine.insecure, mine.ca, mine.token_hosts) == (True, "/ca.pem", ("auth.example",))
    assert mine.client_cert == ("/me.pem", "/me.pem")
    assert not settings.host_settings("harbor.example").insecure


# -- surroundings ---------------------------------------------------------------------------------------------------


def test_an_empty_home_folder_is_enough_and_nothing_is_written_there(user: Path, project: Path) -> None:
    settings = load(EMPTY, environ(user), folder=project)
    assert settings.home.is_relative_to(user)
    settings.session()
    config_show(settings=settings)
    assert list(user.iterdir()) == []


def test_the_environment_that_was_given_counts_and_not_the_process_s_own(
    user: Path, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    user_file(other, "jobs = 9\n")
    monkeypatch.setenv("HOME", str(other))
    monkeypatch.setenv("XDG_DATA_HOME", str(other))
    monkeypatch.setenv("INSTALLML_JOBS", "8")
    settings = load(EMPTY, environ(user), folder=project)
    assert settings["jobs"] == 16
    assert settings.home.is_relative_to(user)


def test_xdg_folders_are_used(user: Path, project: Path, tmp_path: Path) -> None:
    (tmp_path / "config" / "installml").mkdir(parents=True)
    (tmp_path / "config" / "installml" / "config.toml").write_text("jobs = 9\n")
    around = environ(user, XDG_CONFIG_HOME=str(tmp_path / "config"), XDG_DATA_HOME=str(tmp_path / "data"))
    settings = load(EMPTY, around, folder=project)
    assert settings["jobs"] == 9
    assert settings.home == tmp_path / "data" / "installml"


def test_a_relative_xdg_folder_is_ignored_as_its_specification_says(user: Path, project: Path) -> None:
    assert load(EMPTY, environ(user, XDG_DATA_HOME="data"), folder=project).home.is_relative_to(user)


@pytest.mark.parametrize(("text", "below"), [("~/models", "models"), ("~", ".")])
def test_a_tilde_is_the_home_folder_that_was_given(text: str, below: str, user: Path, project: Path) -> None:
    assert load(EMPTY, environ(user, INSTALLML_HOME=text), folder=project).home == user / below


def test_a_relative_home_is_below_the_working_folder(
    user: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    assert load({"home": "store"}, environ(user)).home == project / "store"


def test_a_working_folder_that_was_removed_has_no_project(
    user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert load(EMPTY, environ(user)).origins["jobs"] == "default"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody else")
def test_folders_of_others_above_us_and_a_home_that_is_not_ours_are_no_obstacle() -> None:
    # /root and the like: a service is often started with the working folder and HOME of whoever started it.
    script = (
        f"import os, sys, tempfile; sys.path[:] = {sys.path!r}\n"
        "import installml.config, installml.store.disk, encodings.idna\n"
        "folder = tempfile.mkdtemp(); inner = os.path.join(folder, 'inner'); os.mkdir(inner); os.chdir(inner)\n"
        "os.chmod(folder, 0o700); os.setuid(65534)\n"
        "try:\n"
        "    print(installml.config.load({}, {'HOME': folder, 'INSTALLML_HOME': '/nowhere'}).origins['jobs'])\n"
        "finally:\n"
        "    print(folder, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    for line in done.stderr.splitlines()[-1:]:
        (Path(line) / "inner").rmdir()
        Path(line).rmdir()
    assert done.stdout.strip() == "default", done.stderr


def test_proxies_and_authorities_come_from_the_environment_in_either_case(user: Path, project: Path) -> None:
    around = environ(user, http_proxy="http://small:1", HTTP_PROXY="http://large:1", HTTPS_PROXY="http://secure:1",
                     NO_PROXY="internal.example", SSL_CERT_FILE="/ca.pem")  # fmt: skip
    network = load(EMPTY, around, folder=project).network()
    assert network.proxies == {"http": "http://small:1", "https": "http://secure:1"}
    assert network.no_proxy == "internal.example"
    assert network.ca_file == "/ca.pem"


@pytest.mark.parametrize("text", ["yesterday", "-1", "1.5", "²", "99999999999999", "253402300800"])
def test_a_build_time_that_is_none_is_refused(text: str, user: Path, project: Path) -> None:
    settings = load(EMPTY, environ(user, SOURCE_DATE_EPOCH=text), folder=project)
    with pytest.raises(SettingInvalid, match="SOURCE_DATE_EPOCH"):
        settings.session()


@pytest.mark.parametrize(("text", "means"), [("", None), ("0", 0), ("1700000000", 1700000000)])
def test_a_build_time_is_taken_as_it_is_given(text: str, means: int | None, user: Path, project: Path) -> None:
    assert load(EMPTY, environ(user, SOURCE_DATE_EPOCH=text), folder=project).session().source_date_epoch == means


def test_podman_and_docker_files_are_looked_for_where_they_keep_them(user: Path, project: Path) -> None:
    around = environ(user, REGISTRY_AUTH_FILE="/a.json", XDG_RUNTIME_DIR="/run/me", DOCKER_CONFIG="/docker")
    files = load(EMPTY, around, folder=project).credential_files()
    assert files.docker == Path("/docker/config.json")
    assert files.podman == (
        Path("/a.json"), Path("/run/me/containers/auth.json"), user / ".config" / "containers" / "auth.json"
    )  # fmt: skip


# -- config show ----------------------------------------------------------------------------------------------------


def shown(settings: Settings) -> dict[str, tuple[Any, str]]:
    return {row.name: (row.value, row.origin) for row in config_show(settings=settings).settings}


def test_every_setting_is_shown_with_its_origin(user: Path, project: Path) -> None:
    path = user_file(user, '[registries."harbor.example"]\nca = "/ca.pem"\n')
    rows = shown(load({"jobs": 2}, environ(user, INSTALLML_REGISTRY="ghcr.io/acme"), folder=project))
    assert set(rows) == {*SETTINGS, 'registries."harbor.example".ca'}
    assert rows["jobs"] == (2, "flag --jobs")
    assert rows["registry.default"] == ("ghcr.io/acme", "environment INSTALLML_REGISTRY")
    assert rows["offline"] == (False, "default")
    assert rows['registries."harbor.example".ca'] == ("/ca.pem", str(path))


def test_no_secret_is_shown(user: Path, project: Path) -> None:
    around = environ(user, INSTALLML_INDEX="https://me:hunter2@pypi.example/simple?token=hunter2",
                     INSTALLML_REGISTRY="https://me:hunter2@ghcr.example", HTTPS_PROXY="http://me:hunter2@proxy:1",
                     INSTALLML_INSECURE="https://me:hunter2@a.example")  # fmt: skip
    settings = load(EMPTY, around, folder=project)
    result = config_show(settings=settings)
    assert "hunter2" not in json.dumps(to_json(result))
    assert shown(settings)["runtime.index"][0] == "https://pypi.example/simple"
    assert "hunter2" not in repr(settings.session())
    assert settings.session().index.url.startswith("https://me:hunter2@")  # used, not shown


def test_no_secret_is_in_the_error_about_a_value(user: Path, project: Path) -> None:
    settings = load(EMPTY, environ(user, INSTALLML_REGISTRY="https://me:hunter2@ghcr.example"), folder=project)
    with pytest.raises(Exception, match="default registry") as caught:
        settings.session().qualify("x")
    assert "hunter2" not in str(caught.value)
