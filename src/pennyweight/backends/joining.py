"""Models of any form as graphs that can be joined: written, asked, and served as one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pennyweight import backends
from pennyweight.backends.torch import TorchMaterial
from pennyweight.core import Form

if TYPE_CHECKING:
    import numpy as np

    from pennyweight.backends.base import Backend
    from pennyweight.core import Op, Spec, Work

_ONLY_GRAPHS = frozenset({"onnxruntime", "openvino"})


def home_of(work: Work) -> Backend:
    """The backend that the work belongs to, whatever form its model has by now."""
    return backends.load("torch" if isinstance(work.material, TorchMaterial) else "sklearn")


def as_graph(work: Work, model: Any = None) -> bytes:
    """The work's model, or another `model` (a module or an estimator) for the same rows, as ONNX."""
    home = home_of(work)
    if model is not None:
        form = Form.MODULE if isinstance(work.material, TorchMaterial) else Form.ESTIMATOR
        work = work.having(model=model, spec=replace(work.spec, form=form))
    return home.export(work, "onnx").file("model.onnx")


def answers_of(work: Work, graph: bytes, x: np.ndarray) -> np.ndarray:
    """What a graph answers to rows `x`."""
    return home_of(work).predict(work.having(model=graph, spec=replace(work.spec, form=Form.GRAPH)), x)


def served_as_graph(spec: Spec, ops: tuple[Op, ...]) -> Spec:
    """The spec once its model is a graph of these operators: served by a runtime that executes graphs."""
    runs = spec.serve.runtime if spec.serve.runtime in _ONLY_GRAPHS else "onnxruntime"
    precision = spec.serve.precision if runs == spec.serve.runtime else "float32"
    return replace(spec, form=Form.GRAPH, ops=ops, serve=replace(spec.serve, runtime=runs, precision=precision))
