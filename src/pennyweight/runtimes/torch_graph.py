"""Stored torch graphs back as modules: operators are looked up in a list of known ones, nothing in the file is code."""

from __future__ import annotations

import json
import operator
import re
from typing import TYPE_CHECKING, Any

from pennyweight.core.stored_graph import ARITHMETIC, ATEN, GRAPH_FILE, GRAPH_SCHEMA, PACKED_SCHEMA, WEIGHTS_FILE
from pennyweight.errors import CorruptError
from pennyweight.runtimes.torch_packing import unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, fx

    from pennyweight.core import Artifact

_MOST_NODES = 200_000
_MOST_NESTED = 8
_DTYPES = frozenset({"float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"})
_LAYOUTS = frozenset({"strided"})
_MEMORY_FORMATS = frozenset({"contiguous_format", "preserve_format", "channels_last", "channels_last_3d"})
_FLOATS = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}


def decode(artifact: Artifact) -> fx.GraphModule:
    """Build the module that `artifact` (format "torch") holds; its answers equal the original's bit by bit.

    Raises `CorruptError` for a file that is no such graph, or that names an operator which is not allowed.
    """
    import torch

    body, tensors = _stored(artifact)
    root = torch.nn.Module()
    graph = _Decoder(root, tensors).build(body)
    return torch.fx.GraphModule(root, graph, class_name="StoredGraph").eval()


def stored_tensors(artifact: Artifact) -> dict[str, Tensor]:
    """The tensors that `artifact` (format "torch") holds by their names in the module it was made of.

    Raises `CorruptError` for a file that is no such graph.
    """
    return _stored(artifact)[1]


def _stored(artifact: Artifact) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        body = json.loads(artifact.file(GRAPH_FILE))
        tensors = load(artifact.file(WEIGHTS_FILE))
    except (KeyError, ValueError, RecursionError, SafetensorError) as error:
        raise _corrupt(f"cannot be read ({type(error).__name__})") from error
    if not isinstance(body, dict) or body.get("schema") not in (GRAPH_SCHEMA, PACKED_SCHEMA):  # ruff: ignore[literal-membership] - it may be a list
        raise _corrupt(f"is not of schema {GRAPH_SCHEMA} or {PACKED_SCHEMA}")
    return body, unpack(tensors, body.get("packed")) if body["schema"] == PACKED_SCHEMA else tensors


class _Decoder:
    """Builds a graph node by node; every reference must point backwards."""

    def __init__(self, root: Any, tensors: dict[str, Tensor]) -> None:
        import torch

        self.graph = torch.fx.Graph()
        self.root = root
        self.tensors = tensors
        self.input = self.graph.placeholder("x")
        self.held: dict[str, fx.Node] = {}
        self.results: list[fx.Node] = []

    def build(self, body: dict[str, Any]) -> fx.Graph:
        """The whole graph."""
        nodes = body.get("nodes")
        if not isinstance(nodes, list) or len(nodes) > _MOST_NODES:
            raise _corrupt("has no list of nodes")
        for node in nodes:
            self._add(node)
        result = self._value(body.get("output"))
        if not hasattr(result, "users"):
            raise _corrupt("has no result")
        self.graph.output(result)
        return self.graph

    def _add(self, node: Any) -> None:
        if not isinstance(node, dict):
            raise _corrupt("has a node that is none")
        args, kwargs = node.get("args"), node.get("kwargs")
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise _corrupt("has a node without arguments")
        call, known = _operator(node.get("op"))
        # The names end up in generated code: they may only be the operator's own.
        if len(args) > len(known) or not set(kwargs) <= known:
            raise _corrupt(f"gives {node['op']} arguments it does not take")
        named = {name: self._value(each) for name, each in kwargs.items()}
        self.results.append(self.graph.call_function(call, tuple(map(self._value, args)), named))

    def _value(self, value: Any, depth: int = 0) -> Any:
        if depth > _MOST_NESTED:
            raise _corrupt("is nested too deeply")
        if isinstance(value, list):
            return [self._value(each, depth + 1) for each in value]
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, dict) and len(value) == 1:
            [(kind, what)] = value.items()
            return self._reference(kind, what) if kind in {"input", "node", "tensor"} else _constant(kind, what)
        raise _corrupt("has a value of no known kind")

    def _reference(self, kind: str, what: Any) -> fx.Node:
        if kind == "input" and type(what) is int and what == 0:
            return self.input
        if kind == "node" and type(what) is int and 0 <= what < len(self.results):
            return self.results[what]
        if kind == "tensor" and isinstance(what, str) and what in self.tensors:
            return self._tensor(what)
        raise _corrupt(f"points to a {kind} that it does not have")

    def _tensor(self, name: str) -> fx.Node:
        if name not in self.held:
            place = f"tensor_{len(self.held)}"
            self.root.register_buffer(place, self.tensors[name])
            self.held[name] = self.graph.get_attr(place)
        return self.held[name]


def _operator(name: Any) -> tuple[Callable[..., Any], frozenset[str]]:
    """The operator of this name, and the names of the arguments it takes."""
    import torch

    parts = name.split(".") if isinstance(name, str) else []
    if len(parts) == 2 and parts[0] == "operator" and parts[1] in ARITHMETIC:
        return getattr(operator, parts[1]), frozenset({"a", "b"})
    if len(parts) == 3 and parts[0] == "aten" and parts[1] in ATEN and re.fullmatch(r"\w+", parts[2]):
        packet = getattr(torch.ops.aten, parts[1], None)
        if packet is not None and parts[2] in packet.overloads():
            overload = getattr(packet, parts[2])
            return overload, frozenset(each.name for each in overload._schema.arguments)  # ruff: ignore[private-member-access] - the only name
    raise _corrupt(f"names {str(name)[:80]!r}, which is no allowed operator")


def _constant(kind: str, what: Any) -> Any:
    import torch

    if not isinstance(what, str):
        raise _corrupt("has a constant that is not named")
    if kind == "float" and what in _FLOATS:
        return _FLOATS[what]
    if kind == "device" and what == "cpu":
        return torch.device("cpu")
    allowed = {"dtype": _DTYPES, "layout": _LAYOUTS, "memory_format": _MEMORY_FORMATS}.get(kind, frozenset())
    if what in allowed:
        return getattr(torch, what)
    raise _corrupt(f"has a constant of no known kind ({kind[:40]})")


def _corrupt(what: str) -> CorruptError:
    return CorruptError(f"The stored graph {what}.", "export the model again, or fetch the artifact from its source.")
