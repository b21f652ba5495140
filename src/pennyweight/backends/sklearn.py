"""scikit-learn: estimators are fitted, pruned and counted here, and written as arrays or as ONNX graphs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.backends import sklearn_arrays
from pennyweight.backends.base import Backend, first_share
from pennyweight.core import Artifact, Form, Op, Task, Work
from pennyweight.errors import BadInputError, MissingExtraError

if TYPE_CHECKING:
    from pennyweight.core import Job


@dataclass(frozen=True)
class SklearnMaterial:
    """What this backend opens: an estimator (cloned, never fitted in place) and the disjoint splits."""

    estimator: Any
    splits: Any


class SklearnBackend(Backend):
    """Estimators take float32 rows (N, features) and answer with probabilities (N, C) or values (N,)."""

    def open(self, job: Job, *, fidelity: float = 1.0, seed: int = 0) -> Work:
        """Clone the estimator, on the first `fidelity` of the training rows (of every class)."""
        from sklearn.base import clone

        material: SklearnMaterial = job.material
        data, train = material.splits, material.splits.train
        if fidelity < 1:
            data = replace(data, train=train.take(first_share(train.y, fidelity, job.spec.data.task)))
        spec = replace(job.spec, data=replace(job.spec.data, rows=len(data.train)))
        return Work(spec, clone(material.estimator), data, seed, material=material)

    def predict(self, work: Work, x: np.ndarray) -> np.ndarray:
        """Answer `x` (N, features) with probabilities (N, C), or values (N,) or (N, T)."""
        x = np.ascontiguousarray(x, dtype=np.float32)
        if work.spec.form is Form.GRAPH:
            answer: np.ndarray = _session(work.model).run(["y"], {"x": x})[0]
            return answer
        _check(work)
        return answers(work.model, x, work.spec.data.task)

    def table(self, work: Work) -> tuple[Op, ...]:
        """Count the real estimator, or the real graph."""
        if work.spec.form is Form.GRAPH:
            from pennyweight.cost.table_graph import table_of_graph

            return table_of_graph(work.model)
        from pennyweight.cost.table_estimator import table_of_estimator

        return table_of_estimator(work.model, _features(work), max(1, work.spec.data.classes), rows=work.spec.data.rows)

    def export(self, work: Work, format: str) -> Artifact:  # ruff: ignore[builtin-argument-shadowing] - as in the contract
        """Write "sklearn" (state in JSON, arrays in safetensors) or "onnx" (one file, batch of any size)."""
        if format not in {"sklearn", "onnx"}:
            raise BadInputError(f"The sklearn backend cannot write {format!r}.", "ask for sklearn or onnx.")
        if work.spec.form is Form.GRAPH:
            if format == "sklearn":
                raise BadInputError("A graph is no estimator any more.", "export it as onnx.")
            return Artifact("onnx", (("model.onnx", work.model),), _facts(work))
        _check(work)
        if format == "sklearn":
            return Artifact("sklearn", sklearn_arrays.encode(work.model), _facts(work))
        from pennyweight.backends.sklearn_onnx import to_onnx

        body = to_onnx(work.model, _features(work), holes=bool(np.isnan(work.data.train.x).any()))
        return Artifact("onnx", (("model.onnx", body),), _facts(work))


def answers(model: Any, x: np.ndarray, task: Task) -> np.ndarray:
    """What a fitted estimator answers: probabilities of all classes, or values."""
    raw: np.ndarray = model.predict(x) if task is Task.REGRESS else model.predict_proba(x)
    return raw[:, 0] if task is Task.REGRESS and raw.ndim == 2 and raw.shape[1] == 1 else raw


def _check(work: Work) -> None:
    """Refuse estimators that are not fitted, cannot give probabilities, or have not seen every class."""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    name = type(work.model).__name__
    try:
        check_is_fitted(work.model)
    except NotFittedError:
        raise BadInputError(f"This {name} has not been trained.", "train it before asking it.") from None
    if work.spec.data.task is Task.REGRESS:
        return
    if not hasattr(work.model, "predict_proba"):
        raise BadInputError(
            f"{name} gives no probabilities.", "choose one that does (SGDClassifier: loss='log_loss'), or calibrate it."
        )
    if not np.array_equal(work.model.classes_, np.arange(work.spec.data.classes)):
        raise BadInputError(
            f"{name} was trained on the classes {list(work.model.classes_)}, not on 0 to {work.spec.data.classes - 1}.",
            "number the classes from 0 and let every class occur among the training rows.",
        )


def _features(work: Work) -> int:
    return int(work.data.train.x.shape[1])


def _facts(work: Work) -> tuple[tuple[str, Any], ...]:
    facts = {
        "classes": work.spec.data.classes,
        "input_dtype": "float32",
        "input_shape": list(work.data.train.x.shape[1:]),
        "outputs": "values" if work.spec.data.task is Task.REGRESS else "probabilities",
        "task": work.spec.data.task.value,
    }
    return tuple(facts.items())


@lru_cache(maxsize=4)
def _session(graph: bytes) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError.of("onnxruntime", "onnx") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
