"""The command line and the SDK are one thing: each verb is a function, each flag an argument of the same name."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import installml
from installml.cli.app import command
from installml.cli.options import Common

PRESENTATION = {field.name for field in dataclasses.fields(Common)}
"""Flags of every verb: they choose a session, or how results look."""

SPELLED = {
    "hardware check": {"reference": "check"},  # hardware(check=REF)
    "login": {"password_stdin": "password"},  # secrets are never arguments of a process
    "predict": {"input": "inputs"},  # a file here, values there; `request` is the other kind of file
    "serve": {"token_file": "token", "detach": ""},  # serve(...) of the SDK is a handle: always detached
    "sign": {"keyless": "login", "identity_token": "login"},  # a token is a secret
    "attest": {"keyless": "login", "identity_token": "login"},
    "push": {"keyless": "login", "identity_token": "login"},
    "pull": {"detach": ""},  # a process of its own; in Python a thread does it
    "remove": {"yes": ""},  # a question at a terminal
    "trust policy": {"_what": ""},  # the word "show"
    "trust rotate": {"yes": ""},
}
"""Verb to its flags that have another name in the SDK, or none: every difference that there is."""

FUNCTIONS = {
    "cache df": "cache_df",
    "cache gc": "cache_gc",
    "cache path": "cache_path",
    "cache repair": "cache_repair",
    "cache verify": "cache_verify",
    "config show": "config_show",
    "hardware check": "hardware",
    "keys export": "keys_export",
    "keys generate": "keys_generate",
    "keys import": "keys_import",
    "keys list": "keys_list",
    "keys rotate": "keys_rotate",
    "registry serve": "registry_serve",
    "trust add": "trust_add",
    "trust list": "trust_list",
    "trust policy": "trust_policy",
    "trust remove": "trust_remove",
    "trust rotate": "trust_rotate",
    "trust test": "trust_test",
}


def verbs(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, found in group.commands.items():
        if hasattr(found, "commands"):
            if found.invoke_without_command:
                yield f"{prefix}{name}", found
            yield from verbs(found, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", found


ALL = dict(verbs(command()))


def function(verb: str) -> Any:
    return getattr(installml, FUNCTIONS.get(verb, verb))


@pytest.mark.parametrize("verb", ALL)
def test_each_verb_is_a_function_and_each_flag_an_argument(verb: str) -> None:
    arguments = set(inspect.signature(function(verb)).parameters)
    flags = {parameter.name for parameter in ALL[verb].params} - PRESENTATION
    spelled = SPELLED.get(verb, {})
    assert set(spelled) <= flags
    assert {spelled.get(flag, flag) for flag in flags} - {""} <= arguments


@pytest.mark.parametrize("verb", ALL)
def test_each_verb_takes_the_flags_of_every_verb(verb: str) -> None:
    assert {parameter.name for parameter in ALL[verb].params} >= PRESENTATION


@pytest.mark.parametrize("verb", ALL)
def test_defaults_are_the_same_here_and_there(verb: str) -> None:
    arguments = inspect.signature(function(verb)).parameters
    for parameter in ALL[verb].params:
        theirs = arguments[parameter.name].default if parameter.name in arguments else inspect.Parameter.empty
        if theirs is not inspect.Parameter.empty and not parameter.required:  # login asks for what it needs
            assert (parameter.default or None) == (theirs or None), parameter.name


def test_nothing_of_the_sdk_is_missing_from_the_command_line() -> None:
    functions = {name for name in installml.__all__ if inspect.isfunction(getattr(installml, name))}
    assert functions - {"default_session"} == {FUNCTIONS.get(verb, verb) for verb in ALL}


@pytest.mark.parametrize("verb", ["install", "pull", "serve", "predict", "test"])
def test_verbs_that_install_pull_or_serve_take_allow_unsigned(verb: str) -> None:
    assert any("--allow-unsigned" in parameter.opts for parameter in ALL[verb].params)


@pytest.mark.parametrize("verb", ALL)
def test_each_verb_says_what_it_does_in_one_sentence(verb: str) -> None:
    summary = ALL[verb].help.strip()
    assert summary.endswith(".")
    assert "\n" not in summary
