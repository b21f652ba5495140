"""A backend without hardware: what it answers follows from the spec by a formula, for testing everything above it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

import numpy as np

from pennyweight.backends.base import Backend, first_share
from pennyweight.core import Artifact, DataSpec, Floor, Form, Job, Kind, Op, Spec, Task, TrainSpec, Work
from pennyweight.cost.count import weights
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

CLASSES = 10
_BEST, _WORST = 0.98, 1 / CLASSES
_CAPACITY = 2_000.0
_PRACTICE = 1_000.0
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class NullRows:
    """Rows of the null world: x (N, 2) float32 holds an example's difficulty in (0, 1) and its class; y (N,)."""

    x: np.ndarray
    y: np.ndarray
    groups: np.ndarray | None = None
    weight: np.ndarray | None = None

    @classmethod
    def numbered(cls, first: int, count: int) -> NullRows:
        """The examples `first` to `first + count`: difficulties spread evenly (golden ratio), classes in turn."""
        number = np.arange(first, first + count)
        y = number % CLASSES
        return cls(np.column_stack([(number + 1) * _GOLDEN % 1.0, y]).astype(np.float32), y)

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: np.ndarray) -> NullRows:
        """The rows at `index`."""
        return NullRows(self.x[index], self.y[index])


@dataclass(frozen=True)
class NullSplits:
    """The disjoint splits of the null world."""

    train: NullRows
    select: NullRows
    certify: NullRows


def null_job(ops: tuple[Op, ...] = (), rows: Mapping[str, int] | None = None) -> Job:
    """A job of the null world: a small network by default, 2,000 rows to train on, 1,000 each to select and certify."""
    ops = ops or (
        Op("hidden", Kind.LINEAR, 64, 128, per_out=1, writes="hidden"),
        Op("head", Kind.LINEAR, 128, CLASSES, per_out=1, reads="hidden"),
    )
    count = {"train": 2_000, "select": 1_000, "certify": 1_000, **(rows or {})}
    first = {"train": 0, "select": count["train"], "certify": count["train"] + count["select"]}
    splits = NullSplits(**{name: NullRows.numbered(first[name], count[name]) for name in first})
    data = DataSpec(rows=count["train"], row_byte=16.0, task=Task.CLASSIFY, classes=CLASSES, scaled=True)
    spec = Spec(Form.GRAPH, ops, data, TrainSpec(epochs=4))
    return Job("null", spec, Floor("accuracy", 0.03), backend="null", fingerprint="null", material=splits)


def share_right(spec: Spec) -> float:
    """The share of examples a model of this spec gets right, between chance and 98%.

    ``chance + (0.98 - chance) * (1 - exp(-capacity / 2000)) * (1 - exp(-practice / 1000))`` where the capacity is the
    number of stored weights that are not zero, those of fewer than 8 bits in proportion, and the practice is the
    number of examples seen in training. So a smaller model, fewer epochs and fewer rows are worse, and int8 is not.
    """
    capacity = sum(weights(op) * op.density * min(1.0, op.weight_bits / 8) for op in spec.ops)
    practice = spec.data.rows * spec.train.epochs
    learned = (1 - math.exp(-capacity / _CAPACITY)) * (1 - math.exp(-practice / _PRACTICE))
    return _WORST + (_BEST - _WORST) * learned


@final
class NullBackend(Backend):
    """Its models are specs: an example is answered rightly if its difficulty is below the spec's `share_right`.

    Right answers are nested (a better model gets right whatever a worse one does), so paired tests have their best
    case here. Work is opened trained; there is nothing to fit.
    """

    def open(self, job: Job, *, fidelity: float = 1.0, seed: int = 0) -> Work:
        """Open `job` on the first `fidelity` of its training rows; the spec is all the model there is."""
        splits: NullSplits = job.material
        if fidelity < 1:
            kept = first_share(splits.train.y, fidelity, job.spec.data.task)
            splits = replace(splits, train=splits.train.take(kept))
        spec = replace(job.spec, data=replace(job.spec.data, rows=len(splits.train)))
        return Work(spec, b"", splits, seed, trained=True, material=job.material)

    def predict(self, work: Work, x: np.ndarray) -> np.ndarray:
        """Probabilities (N, 10): 0.91 on the answer, right or the next class, and 0.01 on the others."""
        right = x[:, 0] < np.float32(share_right(work.spec))
        answer = np.where(right, x[:, 1], (x[:, 1] + 1) % CLASSES).astype(np.int64)
        probabilities = np.full((len(x), CLASSES), 0.01, dtype=np.float32)
        probabilities[np.arange(len(x)), answer] = 0.91
        return probabilities

    def table(self, work: Work) -> tuple[Op, ...]:
        """The spec's own operators: here paper is reality."""
        return work.spec.ops

    def export(self, work: Work, format: str) -> Artifact:  # ruff: ignore[builtin-argument-shadowing] - as above
        """Write the formula at this spec as an ONNX model that any runtime executes."""
        if format != "onnx":
            raise BadInputError(f"The null backend cannot write {format!r}.", "ask for onnx.")
        facts = {"classes": CLASSES, "input_dtype": "float32", "input_shape": [2], "outputs": "probabilities"}
        facts["task"] = Task.CLASSIFY.value
        return Artifact("onnx", (("model.onnx", _graph(share_right(work.spec))),), tuple(facts.items()))


def _graph(right: float) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    constants = {
        "first": np.array(0),
        "second": np.array(1),
        "one": np.float32(1),
        "classes": np.float32(CLASSES),
        "right": np.float32(right),
        "depth": np.array(CLASSES),
        "values": np.array([0.01, 0.91], dtype=np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["x", "first"], ["difficulty"], axis=1),
        helper.make_node("Gather", ["x", "second"], ["class"], axis=1),
        helper.make_node("Less", ["difficulty", "right"], ["is_right"]),
        helper.make_node("Add", ["class", "one"], ["after"]),
        helper.make_node("Mod", ["after", "classes"], ["next"], fmod=1),
        helper.make_node("Where", ["is_right", "class", "next"], ["answer"]),
        helper.make_node("Cast", ["answer"], ["index"], to=TensorProto.INT64),
        helper.make_node("OneHot", ["index", "depth", "values"], ["y"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "null",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    body: bytes = model.SerializeToString(deterministic=True)
    return body
