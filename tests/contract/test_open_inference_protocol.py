"""The Open Inference Protocol v2 over REST, clause by clause, against a running server.

Clauses are those of kserve/open-inference-protocol, `specification/protocol/inference_rest.md`.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from installml import __version__
from installml.serving import local
from installml.serving.plan import Limits
from tests.unit.serving.doubles import DOUBLE, DOUBLER, ECHO, Reply, ask, package, rows

INFER = "/v2/models/double/infer"
MAX_BODY = 20_000


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local.Server]:
    folder = tmp_path_factory.mktemp("double")
    wishes = package(folder / "package", DOUBLER, DOUBLE, limits=Limits(max_body=MAX_BODY))
    with local.start(wishes, state=folder / "state") as server:
        yield server


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local.Server]:
    folder = tmp_path_factory.mktemp("echo")
    with local.start(package(folder / "package", ECHO, name="echo", version=""), state=folder / "state") as server:
        yield server


def infer(server: local.Server, request: Any, path: str = "") -> Reply:
    return ask(server.url, "POST", path or f"/v2/models/{server.name}/infer", request)


# "Server Metadata", "Server Live", "Server Ready", "Model Ready", "Model Metadata"


def test_server_metadata_names_the_server_its_version_and_no_extension_it_lacks(double: local.Server) -> None:
    reply = ask(double.url, "GET", "/v2")
    assert (reply.status, reply.json) == (200, {"name": "installml", "version": __version__, "extensions": []})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/double/ready", {"name": "double", "ready": True}),
        ("/v2/models/double/versions/1.2.0/ready", {"name": "double", "ready": True}),
    ],
)
def test_a_server_whose_model_is_loaded_is_live_and_ready(double: local.Server, path: str, body: Any) -> None:
    reply = ask(double.url, "GET", path)
    assert (reply.status, reply.json) == (200, body)
    assert reply.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", ["/v2/models/double", "/v2/models/double/versions/1.2.0"])
def test_model_metadata_comes_from_the_packaged_signature(double: local.Server, path: str) -> None:
    reply = ask(double.url, "GET", path)
    assert reply.json == {
        "name": "double",
        "versions": ["1.2.0"],
        "platform": "python",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
    }


@pytest.mark.parametrize(("method", "tail"), [("GET", ""), ("GET", "/ready"), ("POST", "/infer")])
@pytest.mark.parametrize("model", ["other", "double/versions/9", "other/versions/1.2.0"])
def test_an_unknown_model_or_version_is_404_and_says_what_is_served(
    double: local.Server, method: str, tail: str, model: str
) -> None:
    reply = ask(double.url, method, f"/v2/models/{model}{tail}", rows([1, 2]) if method == "POST" else None)
    assert reply.status == 404
    assert "served is" in reply.error


@pytest.mark.parametrize(
    ("method", "path"), [("GET", INFER), ("POST", "/v2"), ("DELETE", "/v2/models/double"), ("PUT", "/v2/health/live")]
)
def test_a_wrong_method_is_405_and_names_the_right_one(double: local.Server, method: str, path: str) -> None:
    reply = ask(double.url, method, path)
    assert reply.status == 405
    assert reply.headers["Allow"]
    assert "method not allowed" in reply.error


@pytest.mark.parametrize("path", ["/", "/v1/models/double", "/v2/models/double/versions", "/v2/models/%2e%2e/infer"])
def test_an_unknown_path_is_404_with_the_protocol_s_error_object(double: local.Server, path: str) -> None:
    reply = ask(double.url, "GET", path)
    assert reply.status in (404, 405)
    assert reply.error


# "Inference": the answer


def test_an_answer_names_model_version_and_outputs_with_row_major_data(double: local.Server) -> None:
    reply = infer(double, rows([1, 2], [3, 4.5]))
    assert reply.status == 200
    assert reply.json == {
        "model_name": "double",
        "model_version": "1.2.0",
        "outputs": [{"name": "y", "shape": [2, 2], "datatype": "FP32", "data": [2.0, 4.0, 6.0, 9.0]}],
    }


def test_the_version_may_be_named_in_the_path(double: local.Server) -> None:
    reply = infer(double, rows([1, 2]), "/v2/models/double/versions/1.2.0/infer")
    assert reply.json["model_version"] == "1.2.0"


@pytest.mark.parametrize("number", ["42", "", "a" * 500, "grüße\n"])
def test_the_request_s_id_comes_back(double: local.Server, number: str) -> None:
    assert infer(double, rows([1, 2], id=number)).json["id"] == number


def test_no_id_is_invented(double: local.Server) -> None:
    assert "id" not in infer(double, rows([1, 2])).json


def test_data_may_be_nested_as_the_shape_says(double: local.Server) -> None:
    nested = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2], [3, 4]]}]}
    assert infer(double, nested).json["outputs"][0]["data"] == [2.0, 4.0, 6.0, 8.0]


@pytest.mark.parametrize("data", [[], [[], []]])
def test_a_batch_without_elements_is_a_batch(echo: local.Server, data: list[Any]) -> None:
    shape = [len(data), 0]
    reply = infer(echo, {"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": data}]})
    assert (reply.json["outputs"][0]["shape"], reply.json["outputs"][0]["data"]) == (shape, [])


def test_only_the_outputs_asked_for_come_back_in_the_order_asked(echo: local.Server) -> None:
    inputs = [{"name": name, "datatype": "INT8", "shape": [1], "data": [1]} for name in "abc"]
    reply = infer(echo, {"inputs": inputs, "outputs": [{"name": "c_out"}, {"name": "a_out"}]})
    assert [item["name"] for item in reply.json["outputs"]] == ["c_out", "a_out"]


def test_parameters_are_accepted_wherever_the_protocol_has_them(double: local.Server) -> None:
    request = rows([1, 2], parameters={"priority": 1}, outputs=[{"name": "y", "parameters": {"binary_data": False}}])
    request["inputs"][0]["parameters"] = {"content_type": "np"}
    assert infer(double, request).status == 200


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("BOOL", [True, False]),
        ("UINT8", [0, 255]),
        ("UINT16", [0, 65535]),
        ("UINT32", [0, 2**32 - 1]),
        ("UINT64", [0, 2**64 - 1]),
        ("INT8", [-128, 127]),
        ("INT16", [-(2**15), 2**15 - 1]),
        ("INT32", [-(2**31), 2**31 - 1]),
        ("INT64", [-(2**63), 2**63 - 1]),
        ("FP32", [0.10000000149011612, -3.4028234663852886e38]),
        ("FP64", [0.1, 1.7976931348623157e308]),
        ("BYTES", ["", "grüße \u0000 日本"]),
    ],
)
def test_the_extremes_of_every_datatype_survive_the_way_through_the_worker(
    echo: local.Server, datatype: str, data: list[Any]
) -> None:
    import numpy as np

    reply = infer(echo, {"inputs": [{"name": "v", "datatype": datatype, "shape": [2], "data": data}]})
    output = reply.json["outputs"][0]
    assert (output["name"], output["datatype"], output["shape"]) == ("v_out", datatype, [2])
    given = np.float32(output["data"]).tolist() if datatype == "FP32" else output["data"]
    assert given == data


def test_a_scalar_is_a_tensor_of_no_dimensions(echo: local.Server) -> None:
    reply = infer(echo, {"inputs": [{"name": "v", "datatype": "INT64", "shape": [], "data": [7]}]})
    assert (reply.json["outputs"][0]["shape"], reply.json["outputs"][0]["data"]) == ([], [7])


# Every mistake of the caller is 4xx, and its message names what is wrong


def changed(**changes: Any) -> dict[str, Any]:
    request = rows([1, 2])
    for key, value in changes.items():
        if value is KeyError:
            del request["inputs"][0][key]
        else:
            request["inputs"][0][key] = value
    return request


MISTAKES: dict[str, tuple[Any, str]] = {
    "not an object": ([], "the request must be an object, not an array"),
    "no inputs": ({}, "'inputs' is missing"),
    "empty inputs": ({"inputs": []}, "'inputs' is missing or empty"),
    "inputs of another type": ({"inputs": {"x": 1}}, "'inputs' must be an array, not an object"),
    "an input that is no object": ({"inputs": [1]}, "input 0 must be an object with a 'name'"),
    "an input without a name": (changed(name=KeyError), "input 0 must be an object with a 'name'"),
    "an input with a number for a name": (changed(name=1), "input 0 must be an object with a 'name'"),
    "an unknown input": (changed(name="z"), "input 'z' is unknown; the model takes 'x'"),
    "an input twice": ({"inputs": rows([1, 2])["inputs"] * 2}, "input 'x' is given twice"),
    "too many inputs": ({"inputs": [{"name": str(n)} for n in range(300)]}, "300 inputs, at most 256"),
    "no datatype": (changed(datatype=KeyError), "input 'x': 'datatype' must be one of BOOL"),
    "an unknown datatype": (changed(datatype="FLOAT"), "input 'x': 'datatype' must be one of BOOL"),
    "a list for a datatype": (changed(datatype=["FP32"]), "input 'x': 'datatype' must be one of BOOL"),
    "another datatype": (changed(datatype="FP64"), "input 'x' must have datatype FP32, not FP64"),
    "half precision": (changed(datatype="FP16"), "input 'x': FP16 has no JSON form"),
    "brain floats": (changed(datatype="BF16"), "input 'x': BF16 has no JSON form"),
    "no shape": (changed(shape=KeyError), "input 'x': 'shape' must be an array"),
    "a shape that is a number": (changed(shape=2), "input 'x': 'shape' must be an array"),
    "a negative dimension": (changed(shape=[-1, 2]), "input 'x': the dimensions of 'shape' must be counts"),
    "a fraction for a dimension": (changed(shape=[1.0, 2]), "input 'x': the dimensions of 'shape' must be counts"),
    "true for a dimension": (changed(shape=[True, 2]), "input 'x': the dimensions of 'shape' must be counts"),
    "a dimension beyond 64 bits": (changed(shape=[2**64, 2]), "input 'x': the dimensions of 'shape' must be counts"),
    "too many dimensions": (changed(shape=[1] * 40), "input 'x': 'shape' must be an array of at most 32"),
    "another rank": (changed(shape=[2]), "input 'x' must have shape [-1, 2], not [2]"),
    "another width": (changed(shape=[1, 3]), "input 'x' must have shape [-1, 2], not [1, 3]"),
    "no data": (changed(data=KeyError), "input 'x' has no 'data'"),
    "null for data": (changed(data=None), "input 'x': 'data' must be an array, not null"),
    "a string for data": (changed(data="1,2"), "input 'x': 'data' must be an array, not a string"),
    "too little data": (changed(data=[1]), "input 'x': 'data' has 1 element, shape [1, 2] needs 2"),
    "a huge shape and little data": (changed(shape=[2**40, 2]), "input 'x': 'data' has 2 elements, shape"),
    "too much data": (changed(data=[1, 2, 3]), "input 'x': 'data' has 3 elements, shape [1, 2] needs 2"),
    "ragged rows": (changed(shape=[2, 2], data=[[1, 2], [3]]), "input 'x': the rows of 'data' differ"),
    "rows and numbers mixed": (changed(shape=[2, 2], data=[[1, 2], 3]), "input 'x': the rows of 'data' differ"),
    "numbers and rows mixed": (changed(data=[1, [2]]), "input 'x': an array among the data of datatype FP32"),
    "another nesting": (changed(shape=[1, 2], data=[[1], [2]]), "input 'x': 'data' is nested as [2, 1]"),
    "strings for numbers": (changed(data=["1", "2"]), "input 'x': a string among the data of datatype FP32"),
    "null among numbers": (changed(data=[1, None]), "input 'x': null among the data of datatype FP32"),
    "true among numbers": (changed(data=[1, True]), "input 'x': a boolean among the data of datatype FP32"),
    "an object among numbers": (changed(data=[1, {}]), "input 'x': an object among the data of datatype FP32"),
    "a number beyond single precision": (changed(data=[1, 1e39]), "input 'x': a number is out of the range of FP32"),
    "parameters of another type": (changed(parameters=[]), "input 'x': 'parameters' must be an object, not an array"),
    "announced binary data": (changed(parameters={"binary_data_size": 8}), "input 'x' announces binary data"),
    "a number for an id": (rows([1, 2], id=42), "'id' must be a string, not a number"),
    "a list for parameters": (rows([1, 2], parameters=[]), "the request: 'parameters' must be an object"),
    "an unknown output": (rows([1, 2], outputs=[{"name": "q"}]), "output 'q' is unknown; the model gives 'y'"),
    "an output twice": (rows([1, 2], outputs=[{"name": "y"}] * 2), "output 'y' is given twice"),
    "outputs of another type": (rows([1, 2], outputs="y"), "'outputs' must be an array, not a string"),
    "an output without a name": (rows([1, 2], outputs=[{}]), "output 0 must be an object with a 'name'"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_caller_s_mistake_is_400_and_is_named(double: local.Server, mistake: str) -> None:
    request, message = MISTAKES[mistake]
    reply = infer(double, request)
    assert reply.status == 400
    assert message in reply.error


INTEGERS = {
    "a fraction": ("INT64", 1.5, "a number among the data of datatype INT64"),
    "too large": ("UINT8", 256, "a number is out of the range of UINT8"),
    "negative": ("UINT32", -1, "a number is out of the range of UINT32"),
    "beyond 64 bits": ("INT64", 2**63, "a number is out of the range of INT64"),
    "a boolean": ("INT8", True, "a boolean among the data of datatype INT8"),
    "a number for a truth": ("BOOL", 1, "a number among the data of datatype BOOL"),
    "a number for text": ("BYTES", 1, "a number among the data of datatype BYTES"),
}


@pytest.mark.parametrize("mistake", INTEGERS)
def test_a_number_is_never_rounded_or_wrapped_to_fit_its_datatype(echo: local.Server, mistake: str) -> None:
    datatype, value, message = INTEGERS[mistake]
    reply = infer(echo, {"inputs": [{"name": "v", "datatype": datatype, "shape": [1], "data": [value]}]})
    assert (reply.status, reply.error) == (400, f"input 'v': {message}")


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    from installml.spec.runtime import Signature, TensorSpec

    two = Signature((TensorSpec("a", "INT64", (1,)), TensorSpec("b", "INT64", (1,))))
    with local.start(package(tmp_path / "package", ECHO, two), state=tmp_path / "state") as server:
        reply = infer(server, {"inputs": [{"name": "a", "datatype": "INT64", "shape": [1], "data": [1]}]})
    assert (reply.status, reply.error) == (400, "input 'b' is missing")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"nonsense", b'{"inputs": [}', b"\xff\xfe", b'{"a": NaN}', b'{"a": Infinity}', b"[" * 5000,
        b'{"inputs":' + b"[" * 3000 + b"]" * 3000 + b"}", b'{"a": "\xed\xa0\x80"}', b"\xef\xbb\xbf{}",
    ],
)  # fmt: skip
def test_what_is_not_json_is_400(double: local.Server, body: bytes) -> None:
    reply = infer(double, body)
    assert reply.status == 400
    assert reply.error.startswith("the request is not valid JSON") or "'inputs'" in reply.error


def test_deeply_nested_data_is_refused_without_hurting_the_server(echo: local.Server) -> None:
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    reply = infer(echo, {"inputs": [{"name": "v", "datatype": "FP32", "shape": [1], "data": deep}]})
    assert reply.status == 400
    assert "input 'v'" in reply.error


def test_the_binary_extension_is_refused_in_words(double: local.Server) -> None:
    reply = ask(double.url, "POST", INFER, b"{}\0\0", {"Inference-Header-Content-Length": "2"})
    assert (reply.status, "binary tensor extension" in reply.error) == (400, True)


# Sizes


def test_a_body_announced_as_too_large_is_413_before_it_is_sent(double: local.Server) -> None:
    with socket.create_connection((urlsplit(double.url).hostname, urlsplit(double.url).port)) as connection:
        head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {10**12}\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b""))  # ends: the server closes
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"error": f"the request is larger than {MAX_BODY} bytes"}


def test_a_chunked_body_is_counted_as_it_arrives(double: local.Server) -> None:
    reply = ask(double.url, "POST", INFER, iter([b" " * 4096] * 5))
    assert reply.status == 413


def test_a_chunked_body_within_the_limit_is_read(double: local.Server) -> None:
    text = json.dumps(rows([1, 2])).encode()
    reply = ask(double.url, "POST", INFER, iter([text[:20], text[20:]]))
    assert reply.status == 200


def test_after_every_mistake_the_same_connection_serves_on(double: local.Server) -> None:
    import http.client

    connection = http.client.HTTPConnection(urlsplit(double.url).netloc)
    statuses = []
    for body in (b"{", json.dumps(rows([99, 0])).encode(), json.dumps(rows([1, 2])).encode()):
        connection.request("POST", INFER, body)
        response = connection.getresponse()
        response.read()
        statuses.append(response.status)
    connection.close()
    assert statuses == [400, 500, 200]


# The model's own failures


def test_an_exception_of_the_model_is_500_with_its_type_and_message_and_no_traceback(double: local.Server) -> None:
    reply = infer(double, rows([99, 0]))
    assert (reply.status, reply.error) == (500, "the model raised ValueError: no such row: 0.0")


def test_an_answer_that_json_cannot_carry_is_500_and_names_the_output(double: local.Server) -> None:
    reply = infer(double, rows([100, 0]))
    assert reply.status == 500
    assert "output 'y' holds NaN or infinity" in reply.error


def test_an_answer_of_a_type_that_the_protocol_lacks_is_500(double: local.Server) -> None:
    reply = infer(double, rows([101, 0]))
    assert reply.status == 500
    assert "complex" in reply.error


# /metrics


def test_metrics_carry_the_field_s_names(double: local.Server) -> None:
    infer(double, rows([1, 2]))
    reply = ask(double.url, "GET", "/metrics")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/plain; version=")
    text = reply.body.decode()
    assert 'request_predict_seconds_count{model_name="double"}' in text
    assert 'installml_requests_in_flight{model_name="double"} 0.0' in text
    assert 'installml_model_info{digest="sha256:' in text
