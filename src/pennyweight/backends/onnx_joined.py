"""Several ONNX graphs as one: the next is asked about those rows only that the one before is unsure of; or all vote."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import starmap
from typing import TYPE_CHECKING, Any

from pennyweight.core.asked_next import ANY, GIVEN, INDEX, NEXT, PUT, ROWS, SHARE, SURE, TOP, UNSURE
from pennyweight.errors import BadInputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

VOTES = ("soft", "majority")
_TIE = 1e-3  # of a vote: what breaks a tie, and keeps the logarithm of no vote at all finite
_LEAST = 1e-9  # a probability whose logarithm is still a number


@dataclass(slots=True)
class _Sheet:
    """A graph while it is written: its nodes, its constants, and the operator sets of all that went into it."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    opsets: dict[str, int] = field(default_factory=dict)
    ir: int = 9

    def node(self, op: str, inputs: Sequence[str], output: str, **more: Any) -> str:
        """Add an operator; returns the name of what it answers."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, **more))
        return output

    def constant(self, name: str, values: Any) -> str:
        """Add a constant; returns its name."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def within(self) -> _Sheet:
        """An empty sheet for a branch, which shares the operator sets."""
        return _Sheet(opsets=self.opsets, ir=self.ir)

    def model(self, body: bytes, prefix: str, reads: str) -> str:
        """Add a whole model that reads the value `reads`, all its names behind `prefix`; returns its answer's name."""
        from onnx import compose, inliner

        proto = inliner.inline_local_functions(_read(body))
        self._agree(proto)
        graph = compose.add_prefix_graph(proto.graph, prefix)
        self.node("Identity", [reads], graph.input[0].name)
        self.nodes.extend(graph.node)
        self.constants.extend(graph.initializer)
        answer: str = graph.output[0].name
        return answer

    def sure(self, answer: str, *, logits: bool) -> str:
        """The largest probability of each row of `answer` (N, C), which may be logits."""
        import numpy as np

        chances = self.node("Softmax", [answer], f"{TOP}.chances", axis=-1) if logits else answer
        axis = self.constant(f"{TOP}.axis", np.array([1], dtype=np.int64))
        return self.node("ReduceMax", [chances, axis], TOP, keepdims=0)

    def whole(self, first: bytes, last: bytes = b"") -> bytes:
        """The model with the input of `first` and the output of `last` (if it is empty, of `first`).

        Raises `BadInputError` if it is no valid model.
        """
        import onnx
        from onnx import helper

        given, told = _read(first).graph.input, _read(last or first).graph.output
        made = helper.make_graph(self.nodes, "joined", list(given), list(told), self.constants)
        sets = list(starmap(helper.make_opsetid, sorted(self.opsets.items())))
        model = helper.make_model(made, opset_imports=sets, ir_version=self.ir, producer_name="pennyweight")
        try:
            onnx.checker.check_model(model)
        except onnx.checker.ValidationError as error:
            raise BadInputError(
                f"The models cannot be joined into one: {str(error).strip().splitlines()[0]}", "serve them apart."
            ) from error
        body: bytes = model.SerializeToString(deterministic=True)
        return body

    def _agree(self, proto: Any) -> None:
        for each in proto.opset_import:
            known = self.opsets.setdefault(each.domain, each.version)
            if known != each.version:
                raise BadInputError(
                    f"The models are written in versions {known} and {each.version} of one operator set.",
                    "export both with one version of the exporter.",
                )
        self.ir = max(self.ir, proto.ir_version)


def asked_next(first: bytes, second: bytes, threshold: float, share: float, *, logits: bool) -> bytes:
    """A model that answers with `first`, and with `second` where the largest probability is below `threshold`.

    Both read "x" (N, ...) and answer "y" (N, C), `logits` or probabilities. The rows that go up are gathered, so the
    second sees only those, and is not run at all where there are none. `share` is how many go up, by measurement; it
    is written into the model, for whoever counts it. Raises `BadInputError` for models that cannot be joined.
    """
    sheet = _Sheet()
    quick = sheet.model(first, "first.", "x")
    return _going_up(sheet, quick, _Next(second, "x", _dims(first), threshold, share), logits=logits).whole(first)


def exits(parts: tuple[bytes, bytes, bytes], threshold: float, share: float, *, logits: bool) -> bytes:
    """A model cut in two: the `parts` are its beginning, a head on that, and the rest, which reads what is unsure.

    As `asked_next`, but the rest goes on from what the beginning has worked out.
    """
    begin, head, rest = parts
    sheet = _Sheet()
    middle = sheet.model(begin, "begin.", "x")
    quick = sheet.model(head, "head.", middle)
    found = _going_up(sheet, quick, _Next(rest, middle, _dims(rest), threshold, share), logits=logits)
    return found.whole(begin, rest)


def voted(members: Sequence[bytes], *, logits: bool, vote: str = "soft") -> bytes:
    """A model that answers with the mean of its `members`' probabilities, or ("majority") with the share of votes.

    All read "x" (N, ...) and answer "y" (N, C), `logits` or probabilities; so does the model. A tie of votes goes to
    the class of the larger mean. Raises `BadInputError` for fewer than two members and models that cannot be joined.
    """
    import numpy as np

    if len(members) < 2 or vote not in VOTES:
        raise BadInputError(
            f"{len(members)} members cannot vote by {vote!r}.", f"give two or more, and one of {', '.join(VOTES)}."
        )
    sheet = _Sheet()
    answers = [sheet.model(body, f"member{number}.", "x") for number, body in enumerate(members)]
    chances = [
        sheet.node("Softmax", [answer], f"chances{number}", axis=-1) if logits else answer
        for number, answer in enumerate(answers)
    ]
    said = sheet.node("Mean", chances, "mean")
    if vote == "majority":
        tie = sheet.constant("tie", np.float32(_TIE))
        said = sheet.node("Add", [_votes(sheet, chances), sheet.node("Mul", [said, tie], "breaking")], "counted")
        said = sheet.node("Div", [said, sheet.constant("all", np.float32(1 + _TIE))], "told")
    if logits:
        least = sheet.constant("least", np.float32(_LEAST))
        said = sheet.node("Log", [sheet.node("Max", [said, least], "kept")], "said")
    sheet.node("Identity", [said], "y")
    return sheet.whole(members[0])


@dataclass(frozen=True, slots=True)
class _Next:
    """The model that is asked next: the value that it reads rows of, their shape, and who goes up."""

    body: bytes
    reads: str
    dims: tuple[int, ...]
    threshold: float
    share: float


def _going_up(sheet: _Sheet, quick: str, up: _Next, *, logits: bool) -> _Sheet:
    """Add to `sheet` that rows whose answer `quick` is unsure are answered by the next."""
    import numpy as np
    from onnx import helper

    least = sheet.constant(f"{SURE}.least", np.float32(up.threshold))
    sheet.node("GreaterOrEqual", [sheet.sure(quick, logits=logits), least], SURE)
    sheet.node("NonZero", [sheet.node("Not", [SURE], UNSURE)], ROWS)
    none = sheet.constant(f"{ANY}.none", np.int64(0))
    sheet.node("Greater", [sheet.node("Size", [ROWS], f"{ANY}.size"), none], ANY)
    asked, kept = _asking(sheet.within(), quick, up), sheet.within()
    kept.node("Identity", [quick], "kept")
    made = helper.make_node("If", [ANY], ["y"], name=NEXT, then_branch=asked, else_branch=_branch(kept, "kept"))
    made.metadata_props.add(key=SHARE, value=repr(round(up.share, 6)))
    sheet.nodes.append(made)
    return sheet


def _asking(branch: _Sheet, quick: str, up: _Next) -> Any:
    """The branch in which the rows that go up are gathered, answered, and put in their places."""
    import numpy as np
    from onnx import TensorProto, helper

    flat = branch.constant(f"{INDEX}.flat", np.array([-1], dtype=np.int64))
    branch.node("Reshape", [ROWS, flat], INDEX)
    branch.node("Gather", [up.reads, INDEX], GIVEN, axis=0)
    answer = branch.model(up.body, "second.", GIVEN)
    branch.node("Transpose", [ROWS], f"{PUT}.places", perm=[1, 0])
    branch.node("ScatterND", [quick, f"{PUT}.places", answer], PUT)
    graph = _branch(branch, PUT)
    graph.value_info.append(helper.make_tensor_value_info(GIVEN, TensorProto.FLOAT, ["rows", *up.dims]))
    return graph


def _branch(sheet: _Sheet, answer: str) -> Any:
    from onnx import TensorProto, helper

    out = helper.make_tensor_value_info(answer, TensorProto.FLOAT, None)
    return helper.make_graph(sheet.nodes, f"{answer} branch", [], [out], sheet.constants)


def _votes(sheet: _Sheet, chances: Sequence[str]) -> str:
    """The share of members whose largest probability is that of each class."""
    import numpy as np

    values = sheet.constant("one", np.array([0, 1], dtype=np.float32))
    shape = sheet.node("Shape", [chances[0]], "shape", start=1)
    cast = []
    for number, chance in enumerate(chances):
        best = sheet.node("ArgMax", [chance], f"best{number}", axis=-1, keepdims=0)
        cast.append(sheet.node("OneHot", [best, shape, values], f"vote{number}", axis=-1))
    return sheet.node("Mean", cast, "votes")


def _dims(body: bytes) -> tuple[int, ...]:
    """The shape of one row of the model's input."""
    dims = _read(body).graph.input[0].type.tensor_type.shape.dim
    return tuple(int(dim.dim_value) for dim in dims[1:])


def _read(body: bytes) -> Any:
    try:
        import onnx
    except ImportError:
        raise MissingExtraError.of("onnx", "onnx") from None
    return onnx.load_model_from_string(body)
