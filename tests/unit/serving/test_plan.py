"""Decisions before anything runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from installml.errors import UsageError
from installml.serving.errors import EngineUnsupported, TokenMissing, WorkerFailed
from installml.serving.plan import SILENCED, Limits, ServePlan, from_json, plan
from installml.spec.runtime import RuntimeManifest, Signature, TensorSpec


def planned(**wishes: Any) -> ServePlan:
    runtime = wishes.pop("runtime", RuntimeManifest(engine="onnxruntime", model="model.onnx"))
    given = {"name": "acme/team/digits", "version": "1.0.0", "path": "/package", "python": "/python"}
    return plan(runtime=runtime, **{**given, **wishes})


def test_the_served_name_is_the_last_component_of_the_package_s() -> None:
    assert planned().name == "digits"


@pytest.mark.parametrize("name", ["", "acme/", "acme/..", "acme/-x", "acme/a b", "acme/" + "a" * 200])
def test_a_name_that_is_no_part_of_a_path_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        planned(name=name)


def test_a_package_without_a_version_is_version_0() -> None:
    assert planned(version="").version == "0"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_token(host: str) -> None:
    assert planned(host=host, spare_token="spare").token == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.com", "127.0.0.1.example.com", ""])
def test_where_others_reach_it_the_spare_token_is_taken(host: str) -> None:
    assert planned(host=host, spare_token="spare").token == "spare"
    assert planned(host=host, token="mine", spare_token="spare").token == "mine"
    with pytest.raises(TokenMissing):
        planned(host=host)


@pytest.mark.parametrize("engine", ["tensorflow", "mlflow", "vllm", "llama.cpp", "none"])
def test_an_engine_that_is_not_served_is_refused_with_those_that_are(engine: str) -> None:
    with pytest.raises(EngineUnsupported, match="served here are onnxruntime, sklearn") as caught:
        planned(runtime=RuntimeManifest(engine=engine))
    assert caught.value.exit_code == 7


def test_a_python_package_without_an_entry_point_is_refused() -> None:
    with pytest.raises(WorkerFailed, match="names no entry point"):
        planned(runtime=RuntimeManifest(engine="python"))


def test_half_a_tls_pair_is_refused() -> None:
    with pytest.raises(UsageError, match="both a certificate and a key"):
        planned(tls_cert="cert.pem")


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(UsageError, match="is no port"):
        planned(port=port)


def test_the_worker_sees_no_variable_that_is_not_named() -> None:
    given = {
        "PATH": "/bin",
        "OMP_NUM_THREADS": "2",
        "AWS_SECRET_ACCESS_KEY": "s",
        "PYTHONPATH": "/x",
        "LD_PRELOAD": "y",
    }
    assert planned(environment=given).environment == {"PATH": "/bin", "OMP_NUM_THREADS": "2"} | SILENCED


def test_neither_token_nor_environment_is_shown() -> None:
    shown = repr(planned(token="s3cret", environment={"PATH": "/private"}))
    assert "s3cret" not in shown
    assert "/private" not in shown


def test_a_plan_survives_its_way_to_the_server_s_process() -> None:
    signature = Signature((TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "BYTES", ()),))
    runtime = RuntimeManifest(engine="torch", model="m.pt2", signature=signature, requirements=("torch",))
    whole = planned(runtime=runtime, token="t", limits=Limits(max_body=7), environment={"PATH": "/bin"}, host="::1")
    assert from_json(json.loads(json.dumps(whole.to_json()))) == whole


def test_pauses_between_restarts_double_up_to_half_a_minute() -> None:
    limits = Limits(restart_delay_s=0.5)
    assert [limits.delay(n) for n in (1, 2, 3, 7, 50)] == [0.5, 1.0, 2.0, 30.0, 30.0]
