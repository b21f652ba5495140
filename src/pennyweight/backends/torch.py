"""PyTorch: modules on the CPU in float32, and the ONNX graphs they turn into."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, final, runtime_checkable

import numpy as np

from pennyweight.backends.base import Backend, first_share
from pennyweight.backends.torch_graph import encode
from pennyweight.backends.torch_onnx import to_onnx
from pennyweight.core import Artifact, Form, Op, Task, Work
from pennyweight.errors import BadInputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from pennyweight.core import Job

_BATCH = 1024


@runtime_checkable
class Portable(Protocol):
    """A module that transformers has too, its weights by the same names."""

    def transformers_config(self) -> dict[str, Any]:
        """What config.json says of it there."""


@dataclass(frozen=True)
class TorchMaterial:
    """What this backend opens: a factory of fresh models and the disjoint splits (`train`, `select`, `certify`).

    `dtype` is the type of one input, "float32", or "int64" for tokens; `alphabet` the character of each token, "" where
    tokens are none; `tokenizer` the text of a tokenizer.json, "" without one.
    """

    make_model: Callable[[], nn.Module]
    splits: Any
    dtype: str = "float32"
    alphabet: str = ""
    tokenizer: str = ""


@final
class TorchBackend(Backend):
    """Modules are trained and changed by levers; quantised ones are ONNX graphs, executed by ONNX Runtime."""

    def open(self, job: Job, *, fidelity: float = 1.0, seed: int = 0) -> Work:
        """Make a fresh model under `seed`, on the first `fidelity` of the training rows (of every class)."""
        import torch

        material: TorchMaterial = job.material
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            model = material.make_model()
        data, train = material.splits, material.splits.train
        if fidelity < 1:
            data = replace(data, train=train.take(first_share(train.y, fidelity, job.spec.data.task)))
            data = replace(data, unlabelled=_first(data.unlabelled, fidelity))
        unlabelled = 0 if data.unlabelled is None else len(data.unlabelled)
        spec = replace(job.spec, data=replace(job.spec.data, rows=len(data.train), unlabelled=unlabelled))
        return Work(spec, model, data, seed, material=material)

    def predict(self, work: Work, x: np.ndarray) -> np.ndarray:
        """Answer `x` (N, ...) with the raw output: logits (N, C), values, or next-token logits (N, T, V)."""
        x = _input(work, x)
        if work.spec.form is Form.GRAPH:
            session = _session(work.model)
            parts = [session.run(["y"], {"x": x[at : at + _BATCH]})[0] for at in range(0, len(x), _BATCH)]
            return np.concatenate(parts)
        return _answer(work.model, x)

    def table(self, work: Work) -> tuple[Op, ...]:
        """Count the real module, or the real graph."""
        if work.spec.form is Form.GRAPH:
            from pennyweight.cost.table_graph import table_of_graph

            return table_of_graph(work.model)
        from pennyweight.cost.table_module import table_of_module

        return table_of_module(work.model, _example(work).shape[1:], dtype=_dtype(work))

    def export(self, work: Work, format: str) -> Artifact:  # ruff: ignore[builtin-argument-shadowing] - as above
        """Write "torch" (operator graph in JSON, weights in safetensors) or "onnx" (one file, batch of any size)."""
        if format not in _WRITERS:
            raise BadInputError(f"The torch backend cannot write {format!r}.", "ask for torch or onnx.")
        if work.spec.form is not Form.GRAPH:
            return Artifact(format, _WRITERS[format](work.model, _example(work)), _facts(work))
        if format == "torch":
            raise BadInputError("A quantised graph is no torch module any more.", "export it as onnx.")
        return Artifact("onnx", (("model.onnx", work.model),), _facts(work))


def _first(rows: np.ndarray | None, share: float) -> np.ndarray | None:
    return None if rows is None else rows[: round(share * len(rows))]


def _onnx_file(model: nn.Module, example: np.ndarray) -> tuple[tuple[str, bytes], ...]:
    return (("model.onnx", to_onnx(model, example)),)


_WRITERS = {"torch": encode, "onnx": _onnx_file}


def _dtype(work: Work) -> str:
    return work.material.dtype if isinstance(work.material, TorchMaterial) else "float32"


def _input(work: Work, x: np.ndarray) -> np.ndarray:
    # Torch warns of arrays that it could write to but must not.
    return np.require(x, _dtype(work), ["C", "W"])


def _example(work: Work) -> np.ndarray:
    # Two rows: a batch of one would be taken for a constant when the batch axis is traced.
    return _input(work, work.data.train.x[:2])


def _facts(work: Work) -> tuple[tuple[str, Any], ...]:
    facts = {
        "classes": work.spec.data.classes,
        "input_dtype": _dtype(work),
        "input_shape": list(work.data.train.x.shape[1:]),
        "outputs": "values" if work.spec.data.task is Task.REGRESS else "logits",
        "task": work.spec.data.task.value,
    }
    if isinstance(work.material, TorchMaterial):
        read = {"alphabet": work.material.alphabet, "tokenizer": work.material.tokenizer}
        facts |= {name: value for name, value in read.items() if value}
    if isinstance(work.model, Portable):
        facts["transformers"] = work.model.transformers_config()
    return tuple(facts.items())


def _answer(model: nn.Module, x: np.ndarray) -> np.ndarray:
    import torch

    was_training = model.training
    model.eval()
    with torch.inference_mode():
        parts = [model(torch.from_numpy(x[at : at + _BATCH])) for at in range(0, len(x), _BATCH)]
    model.train(was_training)
    answer: np.ndarray = torch.cat(parts).numpy()
    return answer


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
