"""Exactly what would run, on paper: the model as a short operator table, the data, the training, the serving."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable


class Kind(StrEnum):
    """What an operator does; `cost.count` holds the law of each kind."""

    CONV = "conv"
    LINEAR = "linear"
    MATMUL = "matmul"  # a product of two activations, such as attention scores
    EMBED = "embed"
    NORM = "norm"
    POINTWISE = "pointwise"
    POOL = "pool"
    SOFTMAX = "softmax"
    COPY = "copy"
    TREE = "tree"


class Form(StrEnum):
    """What kind of thing the model is, which decides what can still be done to it."""

    MODULE = "module"  # a torch.nn.Module, trainable
    ESTIMATOR = "estimator"  # a scikit-learn estimator, fittable
    GRAPH = "graph"  # an ONNX graph, its arithmetic fixed


class Task(StrEnum):
    """What the model answers with."""

    CLASSIFY = "classify"
    REGRESS = "regress"
    LANGUAGE = "language"


@dataclass(frozen=True, slots=True)
class Op:
    """One row of the operator table: `times` equal operators.

    A weight operator maps `n_in` channels to `n_out` channels with `fan` weights per pair (a 3×3 convolution: 9; a
    linear layer after flattening 5×5 maps: 25), in `groups` independent groups, at `positions` output positions per
    example, with `per_out` further parameters per output channel (a bias: 1; batch norm: 4 with its running
    statistics). A MATMUL contracts `n_in` to `n_out` columns at `positions` rows. A TREE is one tree of `fan` nodes
    over `n_in` features with `n_out` values per leaf, walked `positions` comparisons deep on average.

    `reads` and `writes` name the width groups of the input and the output channels: operators that share a group
    change width together; the empty group never changes. `weight_bits` and `act_bits` are what the arithmetic holds,
    `disk_bits` what a stored weight takes; `density` is the share of weights that is not zero. `intake` is the
    number of input positions read per output position (a stride of 2×2: 4; two tensors added: 2; upsampled 2×2: 1/4).
    `share` is the share of examples that reach the operator: those of which what answers before it is unsure.
    """

    name: str
    kind: Kind
    n_in: int
    n_out: int
    fan: int = 1
    positions: float = 1
    groups: int = 1
    per_out: int = 0
    times: int = 1
    reads: str = ""
    writes: str = ""
    weight_bits: float = 32
    act_bits: float = 32
    disk_bits: float = 32
    density: float = 1.0
    intake: float = 1.0
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class DataSpec:
    """The training data: `rows` examples of `row_byte` bytes; `missing`, `duplicates`: shares of such rows.

    `shape` is that of one input, such as (1, 28, 28); empty if it is not known. `looked` counts example passes spent on
    choosing rows. `augment` are the ways in which every batch is changed, such as "shift:2". `packs` is
    the share of their bytes that rows take packed, by a sample; `stored` the share they take as they are stored.
    `unlabelled` is the number of further rows without labels. `padding` is the share of a sequence's places that hold
    none of its tokens, `joins` the share of their number that rows come to where short ones share one.
    """

    rows: int
    row_byte: float
    task: Task = Task.CLASSIFY
    classes: int = 0
    missing: float = 0.0
    duplicates: float = 0.0
    scaled: bool = False
    shape: tuple[int, ...] = ()
    looked: float = 0.0
    augment: tuple[str, ...] = ()
    packs: float = 1.0
    stored: float = 1.0
    unlabelled: int = 0
    padding: float = 0.0
    joins: float = 1.0


@dataclass(frozen=True, slots=True)
class Regular:
    """What holds weights and gradients in bounds; zero means it is not done.

    `l1` is the penalty on the sum of absolute weights, `smoothing` the share of each label spread over all classes,
    `dropout` the probability that replaces that of the network's own dropout layers. `clip_norm` bounds the norm of the
    whole gradient, `clip_value` each of its numbers, `max_norm` the norm of the weights into each unit. `ema` is the
    decay per step of the moving average of the weights that is kept in the end.
    """

    l1: float = 0.0
    smoothing: float = 0.0
    dropout: float = 0.0
    clip_norm: float = 0.0
    clip_value: float = 0.0
    max_norm: float = 0.0
    ema: float = 0.0


@dataclass(frozen=True, slots=True)
class TeamSpec:
    """Who trains together: `workers` processes, how they agree (`sync`), and how gradients are packed (`compress`).

    `sync` is "each" (every step), "shard" (the same, with a part of every weight on each worker), "local:H" (weights
    averaged every H steps), "diloco:H" (with an outer momentum) or "async:S" (a parameter server, at most S steps
    stale). `compress` names gradient compressors joined by "+", such as "powersgd:2+bf16"; the empty text sends
    float32. `link_byte_s` is how fast each worker sends to the others (1 Gb/s); `sent_byte` what all of them together
    have sent, once that was measured.
    """

    workers: int = 1
    sync: str = "each"
    compress: str = ""
    link_byte_s: float = field(default=1.25e8, repr=False)
    sent_byte: float = field(default=0.0, repr=False)


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """How the model is trained: `epochs` passes over the data in mini-batches of `batch`.

    `schedule` is "constant", "onecycle", "cosine" or "wsd" (warm-up, stable, decay); in the share `warmup` of all steps
    the rate climbs. The weights change after `accumulate` mini-batches. `patience` is the number of evaluations without
    progress after which training stops (None: never early); `precision` is that of the products ("float32", "bfloat16"
    or "float16", with weights kept in float32). For estimators that fit in one go, `epochs` is 1.

    `pretrained` says that the model's factory gives weights worth keeping. `learns` names the rows of the operator
    table whose weights change (empty: all of them); the others keep theirs, but those of which an adapter of rank
    `adapt` is cheaper to train take one, which is added to their weights in the end (0: none do).

    In the first share `small` of the steps rows have the share `size` of their length or of their sides. With `pace`,
    rows come in the order of the data: the first share `start` of them at once, all from the share `pace` of the steps
    on. `teacher` gives a language model its labels: "ngrams:5" are the chances counted after up to four tokens; empty:
    the next token itself. With `recompute`, blocks keep what they are given and compute the rest anew going backward.
    """

    epochs: float = 1.0
    batch: int = 128
    optimizer: str = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "constant"
    patience: int | None = None
    precision: str = "float32"
    momentum: float = 0.9
    nesterov: bool = False
    warmup: float = 0.0
    accumulate: int = 1
    regular: Regular = field(default_factory=Regular)
    team: TeamSpec = field(default_factory=TeamSpec)
    pretrained: bool = False
    learns: tuple[str, ...] = ()
    adapt: int = 0
    small: float = 0.0
    size: float = 0.5
    pace: float = 0.0
    start: float = 0.2
    teacher: str = ""
    recompute: bool = False


@dataclass(frozen=True, slots=True)
class ServeSpec:
    """What executes the finished model: the runtime's file name, examples per call, threads, arithmetic precision.

    Where requests wait for each other, calls have at most `most` examples and begin `wait_s` after the first of them
    came (0: at once, and as many as the server sees fit). The latest `cache` examples keep their answers, by which the
    share `hits` of all is answered; numbers are rounded to multiples of `grid` before they are looked up or answered.
    """

    runtime: str = "torch"
    batch: int = 1
    threads: int = 1
    precision: str = "float32"
    most: int = 0
    wait_s: float = 0.0
    cache: int = 0
    grid: float = 0.0
    hits: float = 0.0


@dataclass(frozen=True, slots=True)
class Heir:
    """A network of another shape, counted, that could be trained to take the place of one with the operators `of`."""

    name: str
    ops: tuple[Op, ...]
    of: tuple[Op, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Spec:
    """The whole job on paper; levers rewrite it. `tune_rows` is the number of example passes spent compressing.

    `heirs` are an offer and no part of what would run: they do not count in comparisons and are not stored.
    """

    form: Form
    ops: tuple[Op, ...]
    data: DataSpec
    train: TrainSpec = field(default_factory=TrainSpec)
    serve: ServeSpec = field(default_factory=ServeSpec)
    tune_rows: float = 0.0
    heirs: tuple[Heir, ...] = field(default=(), compare=False, repr=False, metadata={"stored": False})

    def __post_init__(self) -> None:
        if not self.ops:
            raise BadInputError("A spec with no operators describes nothing.", "count a model that has some.")

    @property
    def passes(self) -> float:
        """The example passes of training: every row in every epoch, and those spent on choosing rows."""
        return self.data.rows * self.train.epochs + self.data.looked

    def widths(self) -> dict[str, int]:
        """The channels of every width group that may change."""
        return {op.writes: op.n_out for op in self.ops if op.writes}

    def resize(self, sizes: dict[str, int]) -> Self:
        """Give width groups new sizes, in every operator that reads or writes them."""

        def fit(op: Op) -> Op:
            n_in, n_out = sizes.get(op.reads, op.n_in), sizes.get(op.writes, op.n_out)
            if n_in == op.n_in and n_out == op.n_out:
                return op
            depthwise = op.groups > 1 and op.groups == op.n_out
            return replace(op, n_in=n_in, n_out=n_out, groups=n_out if depthwise else op.groups)

        return self.map(fit)

    def map(self, change: Callable[[Op], Op], *kinds: Kind) -> Self:
        """Apply `change` to every operator (of the given kinds, if any are given)."""
        return replace(self, ops=tuple(change(op) if not kinds or op.kind in kinds else op for op in self.ops))

    def heir(self, name: str) -> Heir | None:
        """The heir of that name, None if there is none or the operators are no longer those it was offered for."""
        return next((each for each in self.heirs if each.name == name and each.of == self.ops), None)

    def has(self, *kinds: Kind) -> bool:
        """Whether any operator is of one of these kinds."""
        return any(op.kind in kinds for op in self.ops)

    @property
    def branches(self) -> bool:
        """Whether some examples are answered before they have passed all operators."""
        return any(op.share < 1 for op in self.ops)
