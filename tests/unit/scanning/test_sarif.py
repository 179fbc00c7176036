"""SARIF 2.1.0: what its schema requires is there, and what code hosts show is right."""

from __future__ import annotations

import json
from datetime import date

import jsonschema

from installml.scanning.finding import Finding
from installml.scanning.gate import Gate, Suppression, decide
from installml.scanning.sarif import sarif
from installml.scanning.scanners import RULES

TODAY = date(2027, 1, 31)
FINDINGS = [
    Finding(RULES["template-escape"], "sub dir/chat_template.jinja", "the name '__class__'", 12),
    Finding(RULES["config-auto-map"], "config.json", "auto_map", 4),
    Finding(RULES["code-python"], "a.zip", "12 bytes", 0, "model.py"),
    Finding(RULES["licence-missing"], ".", "no licence is named"),
]
EXCUSE = Suppression("config-auto-map", "config.json", "read", "ana", TODAY)

#: The parts of the schema of SARIF 2.1.0 that are about what a run of ours has: what is required, types, closed lists.
MESSAGE = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
RULE = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "shortDescription": MESSAGE,
        "fullDescription": MESSAGE,
        "help": MESSAGE,
        "helpUri": {"type": "string", "format": "uri"},
        "defaultConfiguration": {"type": "object", "properties": {"level": LEVEL}, "additionalProperties": False},
        "properties": {"type": "object"},
    },
    "additionalProperties": False,
}
LOCATION = {
    "type": "object",
    "properties": {
        "physicalLocation": {
            "type": "object",
            "required": ["artifactLocation"],
            "properties": {
                "artifactLocation": {
                    "type": "object",
                    "required": ["uri"],
                    "properties": {"uri": {"type": "string", "pattern": "^[^ ]+$"}, "uriBaseId": {"type": "string"}},
                    "additionalProperties": False,
                },
                "region": {
                    "type": "object",
                    "properties": {"byteOffset": {"type": "integer", "minimum": -1}, "byteLength": {"type": "integer"}},
                    "additionalProperties": False,
                },
            },
            "additionalProperties": False,
        }
    },
    "additionalProperties": False,
}
RESULT = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "ruleId": {"type": "string"},
        "ruleIndex": {"type": "integer", "minimum": -1},
        "level": LEVEL,
        "message": MESSAGE,
        "locations": {"type": "array", "items": LOCATION},
        "partialFingerprints": {"type": "object", "additionalProperties": {"type": "string"}},
        "suppressions": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["kind"],
                "properties": {
                    "kind": {"enum": ["inSource", "external"]},
                    "status": {"enum": ["accepted", "underReview", "rejected"]},
                    "justification": {"type": "string"},
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}
RUN = {
    "type": "object",
    "required": ["tool"],
    "properties": {
        "tool": {
            "type": "object",
            "required": ["driver"],
            "properties": {
                "driver": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string"},
                        "version": {"type": "string"},
                        "informationUri": {"type": "string", "format": "uri"},
                        "rules": {"type": "array", "items": RULE, "uniqueItems": True},
                    },
                    "additionalProperties": False,
                }
            },
            "additionalProperties": False,
        },
        "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
        "invocations": {"type": "array", "items": {"type": "object", "required": ["executionSuccessful"]}},
        "results": {"type": "array", "items": RESULT},
    },
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {"type": "array", "items": RUN, "minItems": 1},
    },
    "additionalProperties": False,
}


def test_it_has_the_structure_that_the_schema_requires() -> None:
    log = sarif(decide(FINDINGS, Gate(), [EXCUSE], today=TODAY), version="1.2.3")
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(json.dumps(log)))


def test_a_scan_without_findings_is_a_run_without_results() -> None:
    log = sarif(decide([], Gate(), today=TODAY), version="1.2.3")
    jsonschema.Draft202012Validator(SCHEMA).validate(log)
    assert log["runs"][0]["results"] == []


def test_each_result_points_at_its_rule() -> None:
    (run,) = sarif(decide(FINDINGS, Gate(), today=TODAY), version="1")["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == [one["ruleId"] for one in run["results"]]
    assert len({rule["id"] for rule in rules}) == len(rules)


def test_levels_and_places_are_those_of_the_findings() -> None:
    (run,) = sarif(decide(FINDINGS, Gate(), today=TODAY), version="1")["runs"]
    assert [result["level"] for result in run["results"]] == ["error", "error", "warning", "note"]
    first = run["results"][0]["locations"][0]["physicalLocation"]
    assert first["artifactLocation"]["uri"] == "sub%20dir/chat_template.jinja"
    assert first["region"]["byteOffset"] == 12
    assert "model.py" in run["results"][2]["message"]["text"]


def test_what_is_suppressed_is_there_with_its_reason() -> None:
    (run,) = sarif(decide(FINDINGS, Gate(), [EXCUSE], today=TODAY), version="1")["runs"]
    (hidden,) = [result for result in run["results"] if "suppressions" in result]
    assert hidden["ruleId"] == "config-auto-map"
    assert hidden["suppressions"][0]["justification"] == "read (ana, until 2027-01-31)"


def test_a_findings_fingerprint_does_not_depend_on_the_others() -> None:
    def prints(found: list[Finding]) -> set[str]:
        (run,) = sarif(decide(found, Gate(), today=TODAY), version="1")["runs"]
        return {result["partialFingerprints"]["installml/v1"] for result in run["results"]}

    assert prints(FINDINGS[:1]) < prints(FINDINGS)
    assert len(prints(FINDINGS)) == len(FINDINGS)
