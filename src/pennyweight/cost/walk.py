"""A walk along PyTorch's exported graph that hands each operator to its law and follows views, which cost nothing."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pennyweight.cost import aten_moves as moves
from pennyweight.cost import aten_weights as weights
from pennyweight.cost.sheet import Call, Sheet, Value
from pennyweight.cost.views import must_copy, seen_through
from pennyweight.errors import UntraceableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pennyweight.cost.widths import Lane

_LAWS: dict[str, Callable[[Sheet, Call], Lane | None]] = {
    "linear": weights.linear,
    "bilinear": weights.bilinear,
    "embedding": weights.embedding,
    "scaled_dot_product_attention": weights.attention,
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "addmm", "addmv", "baddbmm", "dot", "vdot"), weights.product),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), weights.recurrent),
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), weights.recurrent),
    "group_norm": moves.group_norm,
    "glu": moves.halved,
    **dict.fromkeys(("batch_norm", "instance_norm"), moves.channel_norm),
    **dict.fromkeys(("layer_norm", "rms_norm"), moves.layer_norm),
    **dict.fromkeys(("softmax", "log_softmax", "_softmax", "_log_softmax", "_safe_softmax"), moves.softmax),
    **dict.fromkeys(("cat", "concat", "concatenate", "stack"), moves.joined),
    **dict.fromkeys(("pad", "constant_pad_nd"), moves.resampled),
    **dict.fromkeys(("clone", "_to_copy"), moves.cloned),
    **dict.fromkeys(("prelu", "rrelu", "mish", "log_sigmoid", "hardswish", "where", "masked_fill"), moves.pointwise),
}
_PREFIXES = (
    (("conv", "_convolution"), weights.conv),
    (("upsample", "_upsample"), moves.resampled),
    (("max_pool", "avg_pool", "adaptive_"), moves.pool),
)
_SILENT = frozenset({"dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "lift_fresh_copy"})
_FRESH = ("_like", "new_zeros", "new_ones", "new_full", "new_empty")  # only the shape is taken from the input
_ALWAYS = frozenset({"linear", "embedding"})  # a row even where the input is a constant: positions are looked up
_SAME_PATH = re.compile(r"wrap|checkpoint")
_HOLDS_SEVERAL = re.compile(r"Multihead|Transformer|LSTM|GRU|RNN|Sequential")


@dataclass(slots=True)
class Walk:
    """Where the walk stands: the sheet it writes and the value of every node passed."""

    sheet: Sheet
    values: dict[Any, Any]
    graph_module: Any

    def run(self) -> Any:
        """Pass every node; return what the graph returns."""
        for node in self.graph_module.graph.nodes:
            if node.op == "get_attr":
                self.values[node] = self._attribute(node)
            elif node.op == "call_function":
                self.values[node] = self._call(node)
            elif node.op == "output":
                return _each(node.args[0], self._value)
        return None

    def _value(self, item: Any) -> Any:
        return self.values.get(item) if hasattr(item, "graph") and hasattr(item, "op") else item

    def _attribute(self, node: Any) -> Any:
        held = self.graph_module
        for part in node.target.split("."):
            held = getattr(held, part)
        if hasattr(held, "graph"):
            return held
        return Value(tuple(held.shape), key=f"constant {node.target}", fake=node.meta.get("val", held))

    def _call(self, node: Any) -> Any:
        if node.target is operator.getitem:
            return self.values[node.args[0]][node.args[1]]
        if not hasattr(node.target, "_schema"):
            return self._inner(node)
        fakes = node.meta.get("val")
        outs = _each(fakes, _traced)
        if not _tensors(outs):
            return fakes
        call = self._described(node, _tensors(outs)[0])
        if call.op.endswith(_FRESH) or (not call.inputs() and call.op not in _ALWAYS):
            return _folded(call, node, outs)
        if node.target.is_view or call.op in _SILENT:
            return self._viewed(call, outs)
        lane = _law(call, node.target)(self.sheet, call)
        if call.rigid:
            self.sheet.freeze(call.inputs())
            self.sheet.widths.freeze(lane)
        return _with_lane(outs, lane)

    def _inner(self, node: Any) -> Any:
        """A block under another mode (no_grad, autocast) is walked like the rest; a branch cannot be."""
        name = str(node.target)
        if not hasattr(node.target, "namespace"):
            return node.meta.get("val")
        blocks = [self._value(arg) for arg in node.args if hasattr(self._value(arg), "graph")]
        if not _SAME_PATH.search(name) or len(blocks) != 1:
            raise UntraceableError(
                f"The model uses {name}, whose path depends on values.", "count a version of the model without it."
            )
        inputs = [self._value(arg) for arg in node.args]
        inputs = inputs[1 + next(i for i, arg in enumerate(inputs) if arg is blocks[0]) :]
        places = [each for each in blocks[0].graph.nodes if each.op == "placeholder"]
        return Walk(self.sheet, dict(zip(places, inputs, strict=True)), blocks[0]).run()

    def _described(self, node: Any, out: Value) -> Call:
        schema = node.target._schema  # ruff: ignore[private-member-access] - the signature has no other door
        given = {arg.name: arg.default_value for arg in schema.arguments if arg.has_default_value()}
        given |= {arg.name: _each(value, self._value) for arg, value in zip(schema.arguments, node.args, strict=False)}
        given |= {name: _each(value, self._value) for name, value in node.kwargs.items()}
        path, kind = _place(node)
        leaf = bool(path) and kind.startswith("torch.nn.modules.") and not _HOLDS_SEVERAL.search(kind)
        fakes = (_each(node.args, _fake), {name: _each(value, _fake) for name, value in node.kwargs.items()})
        name = schema.name.partition("::")[2]
        return Call(name.removesuffix("_"), path, leaf, "Multihead" in kind, given, out, node.target, fakes)

    def _viewed(self, call: Call, outs: Any) -> Any:
        """Follow the channels through a view; write a copy where the memory must really be rearranged."""
        x = call.tensors()[0]
        lane = seen_through(x.lane, call, x) if x.lane else None
        if lane is None:
            self.sheet.widths.freeze(x.lane)
        if must_copy(call, x):
            shown = replace(call, given={"self": replace(x, lane=lane)})
            moves.cloned(self.sheet, shown)
        return _with_lane(outs, lane)


def _law(call: Call, target: Any) -> Callable[[Sheet, Call], Lane | None]:
    import torch

    if call.op in _LAWS:
        return _LAWS[call.op]
    for prefixes, law in _PREFIXES:
        if call.op.startswith(prefixes):
            return law
    if torch.Tag.pointwise in target.tags:
        return moves.pointwise
    if torch.Tag.reduction in target.tags:
        return moves.reduce
    return weights.other


def _folded(call: Call, node: Any, outs: Any) -> Any:
    """What depends on constants alone is one too; a view of a whole parameter is that parameter."""
    sources = sorted(call.tensors(), key=lambda value: -value.stored)
    stored = sum(value.stored for value in sources)
    base = sources[0].key if stored else ""
    whole = bool(base) and node.target.is_view and call.out.size == sources[0].size
    flat = _tensors(outs)

    def key(out: Value) -> str:
        if not base:
            return f"constant {node.name}"
        mark = node.name if len(flat) == 1 else f"{node.name} {next(i for i, each in enumerate(flat) if each is out)}"
        return base if whole else f"{base}[{mark}]"

    return _each(outs, lambda out: replace(out, key=key(out), stored=min(stored, out.size)) if out else None)


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, (list, tuple)):
        return [_each(item, change) for item in value]
    return change(value)


def _tensors(value: Any) -> list[Value]:
    if isinstance(value, list):
        return [each for item in value for each in _tensors(item)]
    return [value] if isinstance(value, Value) else []


def _traced(fake: Any) -> Any:
    if not hasattr(fake, "untyped_storage"):
        return None
    if not all(type(size) is int for size in fake.shape):
        raise UntraceableError(
            "The size of one of the model's tensors depends on the values of its input.",
            "use operations of fixed size there, such as torch.where in place of boolean indexing.",
        )
    return Value(tuple(fake.shape), fake=fake)


def _fake(item: Any) -> Any:
    return item.meta["val"] if hasattr(item, "meta") else item


def _place(node: Any) -> tuple[str, str]:
    """The path and the class of the innermost module."""
    stack = node.meta.get("nn_module_stack") or {"": ("", "")}
    path, kind = list(stack.values())[-1]
    kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    return re.sub(r"@\d+", "", path), kind


def _with_lane(outs: Any, lane: Lane | None) -> Any:
    def put(out: Any) -> Any:
        if lane is None or out is None or len(out.shape) <= lane.axis:
            return out
        return replace(out, lane=lane) if out.shape[lane.axis] == lane.width * lane.inner else out

    return _each(outs, put)
