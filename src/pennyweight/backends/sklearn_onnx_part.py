"""A piece of an ONNX graph that reads "x", before it becomes a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

OPSET = 18
TREE_OPSET = 3
IR = 9


@dataclass(frozen=True, slots=True)
class Part:
    """Nodes and constants, the name of what they answer, and its `width` per row (0: one value, no second axis)."""

    nodes: list[Any]
    constants: list[Any]
    output: str
    width: int


def flat(part: Part) -> Part:
    """Answer (N,) where the part answers (N, 1)."""
    from onnx import TensorProto, helper

    axis = helper.make_tensor("flat_axis", TensorProto.INT64, [1], [1])
    squeeze = helper.make_node("Squeeze", [part.output, "flat_axis"], ["flat"])
    return replace(part, nodes=[*part.nodes, squeeze], constants=[*part.constants, axis], output="flat", width=0)


def then(before: Part, after: Part) -> Part:
    """One part that answers what `after` makes of the answer of `before`."""
    made = {name for node in after.nodes for name in node.output} | {each.name for each in after.constants}
    place = f"{len(before.nodes)}_"
    last = renamed(after, {"x": before.output, **{name: place + name for name in made}})
    return replace(last, nodes=[*before.nodes, *last.nodes], constants=[*before.constants, *last.constants])


def renamed(part: Part, names: dict[str, str]) -> Part:
    """The part with some of its values called otherwise."""
    from onnx import NodeProto, TensorProto

    nodes, constants = [NodeProto.FromString(node.SerializeToString()) for node in part.nodes], []
    for node in nodes:
        node.name = ""  # names must differ within a graph, and need not be there
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for constant in part.constants:
        copy = TensorProto.FromString(constant.SerializeToString())
        copy.name = names.get(copy.name, copy.name)
        constants.append(copy)
    return Part(nodes, constants, names.get(part.output, part.output), part.width)


def assemble(part: Part, features: int) -> Any:
    """The model that answers rows (N, features) with the part."""
    from onnx import TensorProto, helper

    shape = ["N", part.width] if part.width else ["N"]
    graph = helper.make_graph(
        part.nodes,
        "estimator",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", features])],
        [helper.make_tensor_value_info(part.output, TensorProto.FLOAT, shape)],
        part.constants,
    )
    return helper.make_model(graph, opset_imports=opsets(), ir_version=IR, producer_name="pennyweight")


def opsets() -> list[Any]:
    """The operator sets that every graph is written in."""
    from onnx import helper

    return [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", TREE_OPSET)]
