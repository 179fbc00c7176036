"""scikit-learn models, and the scikit-learn wrappers of XGBoost and LightGBM, in pickle and joblib files.

Only names, `_sklearn_version` and `n_features_in_` are read; unpickling is what the model's own environment does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from installml.errors import FormatError
from installml.packing.formats.model import Finding, Tensor
from installml.packing.formats.opcodes import Call, Scan, scan
from installml.packing.formats.reader import Reader, expand, open_reader

__all__ = ["describe", "read", "task"]

_LZ4 = b"\x04\x22\x4d\x18"
#: First bytes -> compression (joblib.compressor)
_COMPRESSIONS = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "lzma"),
    (b"\x5d\x00\x00", "lzma"),
    (b"\x78", "zlib"),
)
_LIBRARIES = {"sklearn": "scikit-learn", "xgboost": "xgboost", "lightgbm": "lightgbm"}
_MAX_DETAIL = 20
_MAX_NESTED = 8
_CLASSIFIERS = (
    "LogisticRegression", "LogisticRegressionCV", "SVC", "LinearSVC", "NuSVC", "GaussianNB", "MultinomialNB",
    "BernoulliNB", "ComplementNB", "CategoricalNB", "LinearDiscriminantAnalysis", "QuadraticDiscriminantAnalysis",
    "Perceptron", "NearestCentroid", "LabelPropagation", "LabelSpreading",
)  # fmt: skip
_REGRESSORS = (
    "LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "SVR", "LinearSVR",
    "NuSVR", "BayesianRidge", "KernelRidge", "Lars", "LassoLars", "PLSRegression",
)  # fmt: skip


def read(path: Path, name: str) -> Finding | None:
    """Read which classes a pickled model has, without unpickling it.

    Args:
        path: A pickle or joblib file, also compressed by zlib, gzip, bz2, xz or lzma.
        name: Its path in the model folder.

    Returns:
        The finding, or None for a pickle in which none of the three libraries occurs.

    Raises:
        FormatError: The file is not a pickle, is cut short, or is compressed with LZ4.
    """
    with open_reader(path, name) as reader:
        return describe(scan(_plain(reader)), name)


def _plain(reader: Reader) -> Reader:
    head = reader.peek(8)
    if head.startswith(_LZ4):
        raise FormatError(
            reader.name,
            "is compressed with LZ4, which is not looked into",
            hint="Save it again with joblib.dump(model, path, compress=('zlib', 3)).",
        )
    method = next((method for magic, method in _COMPRESSIONS if head.startswith(magic)), "")
    return expand(reader, method) if method else reader


def describe(found: Scan, name: str) -> Finding | None:
    """Say what a followed pickle is: root class, libraries, version, features."""
    modules = list(dict.fromkeys(one.module.partition(".")[0] for one in found.names))
    libraries = [module for module in modules if _library(module)]
    if not libraries:
        return None
    estimator = _estimator(found)
    root = found.root.callee if isinstance(found.root, Call) else None
    library = _library(root.module) if root else ""
    versions = list(dict.fromkeys(_states(found, "_sklearn_version", str)))
    classes = [str(one) for one in found.names if _library(one.module) and one.name[:1].isupper()]
    details = {
        "class": str(root or type(found.root).__name__),
        "classes": ", ".join(classes[:_MAX_DETAIL]),
        "modules": ", ".join(modules[:_MAX_DETAIL]),
        "truncated-at": str(found.truncated) if found.truncated >= 0 else "",
    }
    servable = bool(library) and str(root) != "xgboost.core.Booster"
    return Finding(
        format="sklearn" if "sklearn" in libraries else libraries[0],
        engine="sklearn" if servable or found.truncated >= 0 else "none",
        files=(name,),
        architecture=root.name if root and library else "",
        task=task(_last(estimator)),
        inputs=_inputs(estimator),
        requirements=tuple(_requirement(one, versions) for one in libraries),
        details={key: value for key, value in details.items() if value},
    )


def _estimator(found: Scan) -> object:
    """Give the root, or the one estimator in the dictionary or tuple that is the root."""
    root = found.root
    parts = root.values() if isinstance(root, dict) else root if isinstance(root, list | tuple) else [root]
    estimators = [part for part in parts if isinstance(part, Call) and _library(part.callee.module)]
    return estimators[0] if len(estimators) == 1 else None


def _library(module: str) -> str:
    top = module.partition(".")[0]
    return top if top in _LIBRARIES else ""


def _requirement(library: str, versions: list[str]) -> str:
    known = library == "sklearn" and len(versions) == 1 and versions[0].replace(".", "").isalnum()
    return f"{_LIBRARIES[library]}=={versions[0]}" if known else _LIBRARIES[library]


def _states(found: Scan, key: str, kind: type) -> list[Any]:
    return [call.state[key] for call in found.calls if isinstance(call.state.get(key), kind)]


def _inputs(estimator: object) -> tuple[Tensor, ...]:
    """Give what the first step takes: a number of features, or texts."""
    for _ in range(_MAX_NESTED):
        if not isinstance(estimator, Call):
            break
        features = estimator.state.get("n_features_in_", estimator.state.get("_n_features"))  # LightGBM's own
        if isinstance(features, int) and features > 0:
            return (Tensor("x", "FP64", (-1, features)),)
        if estimator.callee.module == "sklearn.feature_extraction.text":
            return (Tensor("x", "BYTES", (-1,)),)
        estimator = _inside(estimator, 0)
    return ()


def _last(estimator: object) -> str:
    """Name the class of the step that predicts."""
    name = ""
    for _ in range(_MAX_NESTED):
        if not isinstance(estimator, Call):
            break
        name = estimator.callee.name
        if not (name == "Pipeline" or name.endswith("SearchCV")):
            break
        estimator = _inside(estimator, -1)
    return name


def _inside(estimator: Call, index: int) -> object:
    """Give the fitted estimator that an outer one asks first, or last."""
    steps = estimator.state.get("steps")
    if isinstance(steps, list):
        parts = [step[1] for step in steps if isinstance(step, tuple) and len(step) == 2]
        return next((part for part in parts[:: 1 if index == 0 else -1] if isinstance(part, Call)), None)
    for key in ("best_estimator_", "estimators_", "estimator_", "regressor_", "calibrated_classifiers_", "estimator"):
        value = estimator.state.get(key)
        value = value[0] if isinstance(value, list) and value else value
        if isinstance(value, Call):
            return value
    return None


def task(word: str) -> str:
    """Name the task of an estimator's class; empty for one that neither classifies nor regresses."""
    if "Classifier" in word or word in _CLASSIFIERS:
        return "tabular-classification"
    return "tabular-regression" if word.endswith("Regressor") or word in _REGRESSORS else ""
