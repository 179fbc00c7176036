"""TensorFlow graphs: do they call Python, read or write files, or talk to the network?

A SavedModel is a program (tensorflow.org, SECURITY.md, "TensorFlow models are programs"). Field numbers are those of
tensorflow/core/protobuf/{saved_model,meta_graph}.proto and core/framework/{graph,function,node_def,attr_value}.proto.
Read are saved_model.pb, frozen graphs (.pb), meta graphs (.meta), and TensorFlow Lite for operators of the same names.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field, replace

from installml.scanning.cursor import Blocks, Cursor
from installml.scanning.finding import Content, Rule, Severity, Unreadable, Visit
from installml.scanning.onnx import is_inside
from installml.scanning.protobuf import Field, fields

__all__ = ["GRAPH_TEXT", "KERAS_METADATA", "RULES", "SAVED_MODEL", "TFLITE"]

PYTHON = Rule(
    "tensorflow-python",
    Severity.critical,
    "A TensorFlow graph calls Python",
    "py_function and its kin run a Python function of the process that loads the graph, by its number or name.",
    "Do not load this model. Have it exported without py_function.",
)
FILES = Rule(
    "tensorflow-files",
    Severity.critical,
    "A TensorFlow graph reads or writes files",
    "The operator takes a file's name from the graph: it can read secrets of the machine, or write a program to it.",
    "Do not load this model. Have it exported without file operators.",
)
NETWORK = Rule(
    "tensorflow-network",
    Severity.high,
    "A TensorFlow graph reaches over the network or loads a library",
    "Loading or running the graph connects somewhere else, or brings in code that is not in the package.",
    "Do not load this model unless you know why it needs this.",
)
DATA = Rule(
    "tensorflow-reads-data",
    Severity.medium,
    "A TensorFlow graph reads data files",
    "A graph for inference is given its inputs; one that opens data files itself can open any file that it names.",
    "Look which files it names, or have it exported for inference only.",
)
KERAS_LAMBDA = Rule(
    "tensorflow-keras-lambda",
    Severity.high,
    "A SavedModel of Keras carries a Lambda layer",
    "Its Python code is in the file and is run when Keras loads the model.",
    "Load it with tf.saved_model.load, which does not run it, or have the layer replaced.",
)
RULES = (PYTHON, FILES, NETWORK, DATA, KERAS_LAMBDA)


def _named(rule: Rule, operators: str) -> dict[str, Rule]:
    return dict.fromkeys(operators.split(), rule)


#: Operators by what they do, from tensorflow/core/ops/*.cc.
_OPERATORS: dict[str, Rule] = {
    **_named(
        PYTHON,
        """
        PyFunc PyFuncStateless EagerPyFunc _EagerPyFunc NumpyFunction
        """,
    ),
    **_named(
        FILES,
        """
        ReadFile WriteFile MatchingFiles ImmutableConst SaveSlices WriteSummary WriteImageSummary
        WriteAudioSummary WriteGraphSummary WriteHistogramSummary WriteScalarSummary WriteRawProtoSummary
        CreateSummaryFileWriter CreateSummaryDbWriter ImportEvent SaveDataset SaveDatasetV2 LoadDataset
        DatasetToTFRecord ExperimentalDatasetToTFRecord SnapshotDataset SnapshotDatasetV2 DumpNodes
        DebugIdentity DebugIdentityV2 DebugIdentityV3 DebugNanCount DebugNumericSummary
        """,
    ),
    **_named(
        NETWORK,
        """
        Rpc TryRpc RpcServer RpcServerStart RpcServerRegister RpcClient RpcCall DataServiceDataset
        DataServiceDatasetV2 DataServiceDatasetV3 DataServiceDatasetV4 RegisterDataset RegisterDatasetV2
        BigQueryReader BigtableClient GcsConfigureBlockCache GcsConfigureCredentials KafkaDataset
        FileSystemSetConfiguration LoadLibrary PubSubDataset AzureFileSystem S3Configure LibraryCall
        IO>BigQueryClient CompileAndExecute
        """,
    ),
    **_named(
        DATA,
        """
        TFRecordDataset TFRecordDatasetV2 TextLineDataset FixedLengthRecordDataset FixedLengthRecordDatasetV2
        CSVDataset CSVDatasetV2 SqlDataset LMDBDataset CacheDataset CacheDatasetV2 WholeFileReader
        WholeFileReaderV2 TextLineReader TextLineReaderV2 TFRecordReader TFRecordReaderV2
        FixedLengthRecordReader FixedLengthRecordReaderV2 LMDBReader ExperimentalLMDBDataset
        ExperimentalSqlDataset ExperimentalCSVDataset ListDataset LoadCheckpoint
        """,
    ),
}
_LAMBDA = re.compile(
    rb'"(?:class_name|registered_name)"\s*:\s*"(?:Lambda|TFOpLambda_unsafe|keras>Lambda|builtins>Lambda)"'
)
_PRINTS = "PrintV2"
_WINDOW, _OVERLAP = 4 << 20, 256


@dataclass(slots=True)
class _Graph:
    visit: Visit
    nodes: int = 0
    met: set[tuple[str, str]] = field(default_factory=set)


class _SavedModel:
    name = "savedmodel"

    def claims(self, head: bytes, name: str) -> bool:
        if name.endswith(".meta"):  # a meta graph begins with its MetaInfoDef; other tools' files of that name do not
            return head.startswith(b"\x0a")
        return name.endswith(".pb") and not name.endswith(("fingerprint.pb", "keras_metadata.pb"))

    def scan(self, content: Content, visit: Visit) -> None:
        graph, name = _Graph(visit), visit.name.lower()
        for part in fields(Cursor.over(content, visit.budget)):
            if name.endswith("saved_model.pb"):
                _saved_part(graph, part)
            elif name.endswith(".meta"):
                _meta_part(graph, part)
            else:
                _any_part(graph, part)
        if name.endswith("saved_model.pb"):
            if not graph.nodes:
                raise Unreadable("holds no TensorFlow graph", 0)
            _search_lambda(content, visit)


def _any_part(graph: _Graph, part: Field) -> None:
    """Look at a field of a message that may be a graph, a meta graph or a SavedModel: nothing in it says which.

    It may also be none, such as a tensor of ONNX's test data, and then it need not read like one.
    """
    for look in (_graph_part, _meta_part, _saved_part):
        with suppress(Unreadable):
            look(graph, _again(part))


def _again(part: Field) -> Field:
    """Return the field with its payload unread."""
    window = part.payload
    return part if window is None else replace(part, payload=window.window(window.position, window.end))


def _saved_part(graph: _Graph, part: Field) -> None:
    if part.number == 2:
        _meta_graph(graph, part.payload)


def _meta_part(graph: _Graph, part: Field) -> None:
    if part.number == 2:
        _graph_def(graph, part.payload)


def _meta_graph(graph: _Graph, payload: Cursor | None) -> None:
    for part in fields(payload):
        if part.number == 2:
            _graph_def(graph, part.payload)
        elif part.number == 6:
            _asset(graph, part)


def _asset(graph: _Graph, asset: Field) -> None:
    """Look at an AssetFileDef: its file lies in the folder of assets, if its name does not climb out."""
    for part in fields(asset.payload):
        if part.number == 2 and (name := part.text(cap=8192)) and not is_inside(name):
            graph.visit.found(FILES, f"the asset {name[:120]!r}", part.offset)


def _graph_def(graph: _Graph, payload: Cursor | None) -> None:
    for part in fields(payload):
        _graph_part(graph, part)


def _graph_part(graph: _Graph, part: Field) -> None:
    if part.number == 1:
        _node(graph, part)
    elif part.number == 2:
        for function in fields(part.payload):
            if function.number == 1:
                for inner in fields(function.payload):
                    if inner.number == 3:
                        _node(graph, inner)


def _node(graph: _Graph, node: Field) -> None:
    name, operator, prints = "", "", False
    for part in fields(node.payload):
        if part.number == 1:
            name = part.text(cap=256)
        elif part.number == 2:
            operator = part.text(cap=256)
        elif part.number == 5:
            prints = prints or b"file://" in _bytes(part)
    graph.nodes += 1
    rule = FILES if operator == _PRINTS and prints else _rule(operator)
    if rule is not None and (operator, name) not in graph.met:
        graph.met.add((operator, name))
        graph.visit.found(rule, f"operator {operator} at node {name[:120]!r}", node.offset)


def _rule(operator: str) -> Rule | None:
    if operator.startswith("PyFunc") or operator.endswith(("PyFunc", "PythonFunction")):
        return PYTHON
    return _OPERATORS.get(operator)


def _bytes(part: Field) -> bytes:
    if part.payload is None or part.payload.remaining > 4096:
        return b""
    return part.payload.peek(part.payload.remaining)


def _search_lambda(content: Content, visit: Visit) -> None:
    """Look for a Lambda layer in the texts that Keras keeps inside the object graph or beside it."""
    blocks, at = Blocks(content), 0
    while window := blocks.read(at, _WINDOW):
        visit.budget.step(len(window) >> 10)
        if found := _LAMBDA.search(window):
            visit.found(KERAS_LAMBDA, found[0].decode("ascii", "replace"), at + found.start())
            return
        if len(window) < _WINDOW:
            return
        at += _WINDOW - _OVERLAP


#: An operator in the text form, which TensorFlow's loader reads as well (saved_model.pbtxt).
_TEXT_OPERATOR = re.compile(rb"""\bop\s*:\s*["']([A-Za-z0-9_>\\]{1,200})["']""")


class _Text:
    name = "graph-text"

    def claims(self, head: bytes, name: str) -> bool:
        return name.endswith((".pbtxt", ".pbtext"))

    def scan(self, content: Content, visit: Visit) -> None:
        blocks, at, met = Blocks(content), 0, set[bytes]()
        while window := blocks.read(at, _WINDOW):
            visit.budget.step(len(window) >> 10)
            for match in _TEXT_OPERATOR.finditer(window):
                if b"\\" in match[1]:
                    raise Unreadable("names an operator in escapes, which no writer does", at + match.start())
                rule = _rule(match[1].decode("ascii"))
                if rule is not None and match[1] not in met:
                    met.add(match[1])
                    visit.found(rule, f"operator {match[1].decode('ascii')}", at + match.start())
            if len(window) < _WINDOW:
                break
            at += _WINDOW - _OVERLAP
        _search_lambda(content, visit)


class _KerasMetadata:
    name = "keras-metadata"

    def claims(self, head: bytes, name: str) -> bool:
        return name.endswith("keras_metadata.pb")

    def scan(self, content: Content, visit: Visit) -> None:
        for _ in fields(Cursor.over(content, visit.budget)):
            pass
        _search_lambda(content, visit)


#: Names in TensorFlow Lite's table of operators; Flex ones are TensorFlow's own.
_FLEX = re.compile(rb"Flex([A-Z][A-Za-z0-9>_]{2,60})")


class _Tflite:
    name = "tflite"

    def claims(self, head: bytes, name: str) -> bool:
        return head[4:8] == b"TFL3" or name.endswith(".tflite")

    def scan(self, content: Content, visit: Visit) -> None:
        if content.read_at(4, 4) != b"TFL3":
            raise Unreadable("lacks the mark TFL3 of TensorFlow Lite", 4)
        blocks, at, met = Blocks(content), 0, set[str]()
        while window := blocks.read(at, _WINDOW):
            visit.budget.step(len(window) >> 10)
            for match in _FLEX.finditer(window):
                operator = match[1].decode("ascii")
                rule = _rule(operator)
                if rule is not None and operator not in met:
                    met.add(operator)
                    visit.found(rule, f"operator Flex{operator}", at + match.start())
            if len(window) < _WINDOW:
                return
            at += _WINDOW - _OVERLAP


SAVED_MODEL = _SavedModel()
GRAPH_TEXT = _Text()
KERAS_METADATA = _KerasMetadata()
TFLITE = _Tflite()
