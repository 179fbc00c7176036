"""Comparing an answer with the recorded one."""

from __future__ import annotations

from typing import Any

import pytest

from installml.serving.check import compare


def answer(data: Any, shape: list[int] | None = None, datatype: str = "FP32", name: str = "y") -> dict[str, Any]:
    shape = shape or [len(data)]
    return {"outputs": [{"name": name, "datatype": datatype, "shape": shape, "data": data}]}


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (answer([1.0, 2.0]), answer([1.0, 2.0])),
        (answer([1.00005]), answer([1.0])),
        (answer([0.00005]), answer([0.0])),
        (answer([1_000_050.0]), answer([1_000_000.0])),
        (answer([1, 2, 3, 4], [2, 2]), answer([[1, 2], [3, 4]], [2, 2])),
        (answer(["a"], datatype="BYTES"), answer(["a"], datatype="BYTES")),
        (answer([True], datatype="BOOL"), answer([True], datatype="BOOL")),
        ({"outputs": answer([1])["outputs"] + answer([2], name="more")["outputs"]}, answer([1])),
    ],
)
def test_answers_within_the_tolerance_agree(mine: Any, theirs: Any) -> None:
    assert compare(mine, theirs, 1e-4) == []


@pytest.mark.parametrize(
    ("mine", "theirs", "sentence"),
    [
        (answer([1.0, 2.001]), answer([1.0, 2.0]), "output 'y'[1] is 2.001, recorded is 2.0"),
        (answer([1.0], name="z"), answer([1.0]), "output 'y' is missing"),
        ({}, answer([1.0]), "output 'y' is missing"),
        (answer([1.0]), answer([1.0], datatype="FP64"), "output 'y' has datatype FP32, recorded is FP64"),
        (answer([1, 2], [2, 1]), answer([1, 2], [1, 2]), "output 'y' has shape [2, 1], recorded is [1, 2]"),
        (answer([1], [2]), answer([1, 2]), "output 'y' has 1 elements, recorded are 2"),
        (answer(["a"], datatype="BYTES"), answer(["b"], datatype="BYTES"), "output 'y'[0] is 'a', recorded is 'b'"),
        (answer([True], datatype="BOOL"), answer([False], datatype="BOOL"), "output 'y'[0] is True, recorded is False"),
    ],
)
def test_what_differs_is_said(mine: Any, theirs: Any, sentence: str) -> None:
    assert compare(mine, theirs, 1e-4) == [sentence]


def test_many_differing_elements_are_counted() -> None:
    differences = compare(answer([1.0] * 100), answer([0.0] * 100), 1e-4)
    assert len(differences) == 6
    assert differences[-1] == "output 'y': 95 more elements differ"
