"""Modules as files: the traced operator graph in JSON and the weights in safetensors; no code and no pickle."""

from __future__ import annotations

import json
import logging
import math
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pennyweight.backends.torch_packing import pack
from pennyweight.core.stored_graph import ARITHMETIC, ATEN, GRAPH_FILE, GRAPH_SCHEMA, PACKED_SCHEMA, WEIGHTS_FILE
from pennyweight.errors import UntraceableError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    import numpy as np
    from torch import Tensor, fx, nn
    from torch.export import ExportedProgram

_NAMED = ("dtype", "device", "layout", "memory_format")


@contextmanager
def quietly() -> Generator[None]:
    """Silence torch's notes on how it traces (missing optional packages, deprecations of its own)."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def trace(model: nn.Module, example: np.ndarray) -> ExportedProgram:
    """Trace `model` in evaluation mode on `example` (2, ...) with a batch axis of any size.

    Raises `UntraceableError` for a model whose operations depend on its data, or that fixes the batch size.
    """
    import torch

    was_training = model.training
    batch = torch.export.Dim("batch", min=1)
    try:
        with quietly():
            return torch.export.export(model.eval(), (torch.from_numpy(example),), dynamic_shapes=({0: batch},))
    except Exception as error:  # torch.export has no common error of its own
        raise UntraceableError(
            f"The model cannot be traced: {_first_line(error)}",
            "let forward() use torch operations only, with no branch on the data and no fixed batch size.",
        ) from error
    finally:
        model.train(was_training)


def encode(model: nn.Module, example: np.ndarray) -> tuple[tuple[str, bytes], ...]:
    """Write `model` as two files: the graph (JSON, operators by name) and its tensors (safetensors).

    Tensors of many zeros or few values are packed if that makes the files smaller; they come back bit by bit.
    """
    from safetensors.torch import save

    program = trace(model, example)
    body, tensors = _Encoder(program).encode()
    stored, records = pack(tensors)
    if records:
        body |= {"schema": PACKED_SCHEMA, "packed": records}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    return (GRAPH_FILE, text), (WEIGHTS_FILE, save(stored))


class _Encoder:
    """Names every value of a traced program: an input, a tensor of the model, or the result of a node."""

    def __init__(self, program: ExportedProgram) -> None:
        self.program = program
        self.names: dict[fx.Node, dict[str, Any]] = {}
        self.nodes: list[dict[str, Any]] = []
        self.tensors: dict[str, Tensor] = {}

    def encode(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The graph as JSON, and the tensors it uses by name."""
        self._name_inputs()
        output: Any = None
        for node in self.program.graph.nodes:
            if node.op == "call_function" and node.users:
                self._add(node)
            elif node.op == "output":
                output = self._output(node)
        return {"schema": GRAPH_SCHEMA, "nodes": self.nodes, "output": output}, self.tensors

    def _name_inputs(self) -> None:
        placeholders = {node.name: node for node in self.program.graph.nodes if node.op == "placeholder"}
        held: Mapping[str, Any] = {**self.program.constants, **self.program.state_dict}
        for spec in self.program.graph_signature.input_specs:
            node = placeholders[spec.arg.name]
            if spec.kind.name == "USER_INPUT":
                self.names[node] = {"input": 0}
            elif spec.target in held and hasattr(held[spec.target], "numpy"):
                self.names[node] = {"tensor": spec.target}
                if node.users:
                    self.tensors[spec.target] = held[spec.target].detach().clone().contiguous()
            else:
                raise UntraceableError(f"The model holds {spec.target}, which is no tensor.", "keep tensors only.")

    def _add(self, node: fx.Node) -> None:
        target = _target(node)
        if target.split(".")[1].endswith("_") and "tensor" in self._value(node.args[0]):
            raise UntraceableError(
                f"The model changes its own tensor in {target} while it answers.", "keep it as it is in eval()."
            )
        args = [self._value(each) for each in node.args]
        kwargs = {name: self._value(each) for name, each in node.kwargs.items()}
        self.names[node] = {"node": len(self.nodes)}
        self.nodes.append({"op": target, "args": args, "kwargs": kwargs})

    def _output(self, node: fx.Node) -> Any:
        results = node.args[0]
        if not isinstance(results, tuple | list) or len(results) != 1:
            raise UntraceableError("The model gives more than one result.", "let forward() return one tensor.")
        return self._value(results[0])

    def _value(self, value: Any) -> Any:
        if hasattr(value, "users") and hasattr(value, "op"):
            return self.names[value]
        if isinstance(value, list | tuple):
            return [self._value(each) for each in value]
        if isinstance(value, float) and not math.isfinite(value):
            return {"float": str(value)}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        kind = type(value).__name__
        if kind in _NAMED:
            return {kind: str(value).removeprefix("torch.")}
        raise UntraceableError(f"The model uses a {kind}, which has no place in a file.", "use tensors and numbers.")


def _target(node: fx.Node) -> str:
    name = str(node.target)
    if name.startswith("aten.") and name.split(".")[1] in ATEN:
        return name
    plain = getattr(node.target, "__name__", name)
    if getattr(node.target, "__module__", "") == "_operator" and plain in ARITHMETIC:
        return f"operator.{plain}"
    raise UntraceableError(
        f"The model uses {name}, which a stored graph may not hold.", "use a common operator, or export it as onnx."
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
