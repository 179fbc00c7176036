from __future__ import annotations

from pathlib import Path

import pytest

from installml.errors import SettingInvalid
from installml.runtime.index import Index, configured, pip_files, without_secrets

PIP = "/etc/pip.conf"
SECRET = "https://reader:s3cret@packages.example.com/simple"


def test_the_setting_wins_over_every_other_place() -> None:
    index = configured(
        {"UV_DEFAULT_INDEX": "https://uv.example.com", "PIP_INDEX_URL": "https://pip.example.com"},
        {PIP: "[global]\nindex-url = https://file.example.com\n"},
        url="https://ours.example.com",
    )

    assert index.variables()["UV_DEFAULT_INDEX"] == "https://ours.example.com"


@pytest.mark.parametrize("name", ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"])
def test_uv_configured_by_its_own_variables_is_left_as_it_is(name: str) -> None:
    index = configured({name: "https://uv.example.com", "PIP_INDEX_URL": "https://pip.example.com"}, {})

    assert index.variables() == {name: "https://uv.example.com"}


def test_an_index_of_ours_replaces_all_indexes_of_the_environment() -> None:
    environ = {"UV_INDEX_URL": "https://a.example.com", "UV_EXTRA_INDEX_URL": "https://b.example.com"}

    assert Index("https://ours.example.com", environ=environ).variables() == {
        "UV_DEFAULT_INDEX": "https://ours.example.com"
    }


def test_pips_variables_win_over_its_files_and_later_files_over_earlier() -> None:
    files = {"first": "[global]\nindex-url = https://1.example.com\n", "second": "[global]\nindex_url=https://2\n"}

    assert configured({}, files).url == "https://2"
    assert configured({"PIP_INDEX_URL": "https://3.example.com"}, files).url == "https://3.example.com"


def test_the_install_section_wins_over_the_global_one_in_any_file() -> None:
    files = {"first": "[install]\nindex-url = https://i\n", "second": "[global]\nindex-url = https://g\n"}

    assert configured({}, files).url == "https://i"


def test_extra_indexes_certificates_and_trusted_hosts_of_pip_reach_uv() -> None:
    text = "[global]\nextra-index-url =\n  https://x.example.com\n  https://y.example.com\ncert = /ca.pem\n"
    index = configured({}, {PIP: text + "trusted-host = h1\n  h2\n"})

    assert index.variables() == {
        "UV_INDEX": "https://x.example.com https://y.example.com",
        "SSL_CERT_FILE": "/ca.pem",
        "UV_INSECURE_HOST": "h1 h2",
    }


def test_the_environments_own_certificates_win_over_pips() -> None:
    assert configured({"SSL_CERT_FILE": "/mine", "PIP_CERT": "/pips"}, {}).variables()["SSL_CERT_FILE"] == "/mine"


def test_a_broken_pip_file_is_an_error_that_does_not_show_its_contents() -> None:
    with pytest.raises(SettingInvalid) as caught:
        configured({}, {PIP: f"index-url = {SECRET}\n"})

    assert PIP in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_only_variables_that_uv_needs_are_passed_on() -> None:
    environ = {
        "HTTPS_PROXY": "http://proxy.example.com",
        "PATH": "/bin",
        "UV_INDEX_INTERNAL_PASSWORD": "x",
        "AWS_SECRET_ACCESS_KEY": "no",
        "PYTHONPATH": "/no",
        "VIRTUAL_ENV": "/no",
        "UV_PYTHON": "no",
        "UV_CONSTRAINT": "no",
        "UV_FIND_LINKS": "no",
    }

    assert set(Index(environ=environ).variables()) == {"HTTPS_PROXY", "PATH", "UV_INDEX_INTERNAL_PASSWORD"}


def test_credentials_are_never_in_the_arguments_nor_in_the_repr(tmp_path: Path) -> None:
    index = Index(SECRET, (SECRET + "?token=abc",), tmp_path, environ={"UV_INDEX_A_PASSWORD": "hidden"})

    shown = repr(index) + " ".join(index.options())

    assert "s3cret" not in shown
    assert "abc" not in shown
    assert "hidden" not in shown
    assert "packages.example.com" in repr(index)


def test_a_folder_of_wheels_replaces_the_network(tmp_path: Path) -> None:
    assert Index(wheels=tmp_path).options() == ["--offline", "--no-index", "--find-links", str(tmp_path)]
    assert Index(offline=True).options() == ["--offline"]
    assert Index().options() == []


def test_the_cache_is_told_by_variable(tmp_path: Path) -> None:
    assert Index(cache=tmp_path, environ={"UV_CACHE_DIR": "/other"}).variables() == {"UV_CACHE_DIR": str(tmp_path)}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("see `https://u:p@h/simple/six/`", "see `https://h/simple/six/`"),
        ("https://h/f.whl?sig=abc&x=1 (403)", "https://h/f.whl (403)"),
        ("(https://u@h/a?b)", "(https://h/a)"),
        ("mail me@example.com", "mail me@example.com"),
        ("why? because", "why? because"),
    ],
)
def test_urls_lose_credentials_and_query_strings(text: str, clean: str) -> None:
    assert without_secrets(text) == clean


def test_pips_files_are_known_from_the_weakest_to_the_strongest() -> None:
    files = pip_files({"XDG_CONFIG_HOME": "/x"}, Path("/home/a"), Path("/venv"))

    assert [str(path) for path in files] == [
        "/etc/xdg/pip/pip.conf",
        "/Library/Application Support/pip/pip.conf",
        "/etc/pip.conf",
        "/home/a/.pip/pip.conf",
        "/home/a/Library/Application Support/pip/pip.conf",
        "/x/pip/pip.conf",
        "/venv/pip.conf",
    ]


def test_a_file_that_is_named_replaces_the_users_and_comes_last() -> None:
    files = pip_files({"PIP_CONFIG_FILE": "/own.conf"}, Path("/home/a"), Path("/venv"))

    assert str(files[-1]) == "/own.conf"
    assert not [path for path in files if "home" in path.parts]


def test_pip_can_be_told_to_read_no_file() -> None:
    assert pip_files({"PIP_CONFIG_FILE": "/dev/null"}, Path("/home/a"), Path("/venv")) == ()
