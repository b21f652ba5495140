"""The rounds of a federated training: who is asked, what comes back, what is made of it, what it has exposed."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.core import Task
from pennyweight.errors import PennyweightError
from pennyweight.train.federated.circle import Circle, Spent, gathered
from pennyweight.train.federated.cutting import cut, part
from pennyweight.train.federated.frames import Message
from pennyweight.train.federated.gathering import Call, Gathered, gather_openly, gather_secretly
from pennyweight.train.federated.planned import Planned
from pennyweight.train.federated.weights import Rule, Told, codec, fill, flat

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from pennyweight.train.federated.spec import FederatedSpec

_WRECKS = 3  # rounds in a row that come to nothing


@dataclass(frozen=True, slots=True)
class Round:
    """Round `number` of `of`: who took part, what is known of the loss, what went over the wire, what it exposed.

    `asked` and `counted` are numbers of clients; `said` are sentences about those that failed. `loss` is the mean
    training loss of the clients, None where it is secret; `quality` is the judge's. `down_byte` and `up_byte` are the
    bytes the server has sent and received in this round, all of them; `cpu_s` are CPU seconds of the clients.
    `epsilon` is what has been spent of the privacy budget up to here, None without one.
    """

    number: int
    of: int
    asked: int
    counted: int
    loss: float | None
    quality: float | None
    down_byte: int
    up_byte: int
    cpu_s: float
    epsilon: float | None = None
    said: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Federated:
    """A model trained on data that stayed where it is, all rounds, and why it ended."""

    model: Any
    rounds: tuple[Round, ...]
    why: str

    @property
    def wire_byte(self) -> int:
        """All bytes that went over the wire."""
        return sum(each.down_byte + each.up_byte for each in self.rounds)

    @property
    def epsilon(self) -> float | None:
        """What was spent of the privacy budget."""
        return self.rounds[-1].epsilon if self.rounds else None


@dataclass(frozen=True, slots=True)
class Aside:
    """Beyond the spec: the task, the seed, who judges the model after each round, who watches (False to stop)."""

    task: Task = Task.CLASSIFY
    seed: int = 0
    judge: Callable[[nn.Module], float] | None = None
    watch: Callable[[Round], bool] | None = None


def run(model: nn.Module, data: Any, spec: FederatedSpec, aside: Aside | None = None) -> Federated:
    """Cut the rows of `data` (x, y) among `spec.clients`, each in a process of its own, and train a copy of `model`.

    What the processes tell each other are weights, updates, keys and shares, in JSON and safetensors. Clients that die,
    are silent or whose updates are no numbers are said and left out; a round with too few of them changes nothing, and
    three such rounds in a row are a `PennyweightError`. With `spec.privacy` the training ends before a round that would
    go beyond the budget.
    """
    aside = aside or Aside()
    parts = [part(data, rows) for rows in cut(np.asarray(data.y), spec.clients, spec.alpha, aside.seed)]
    with gathered(model, parts, aside.task, aside.seed) as circle:
        return run_among(circle, model, spec, aside)


def run_among(circle: Circle, model: nn.Module, spec: FederatedSpec, aside: Aside | None = None) -> Federated:
    """As `run`, with the tenants of a circle that is there."""
    return _Run(circle, copy.deepcopy(model), spec, aside or Aside()).go()


@final
class _Run:
    """The changing state of one federated training."""

    def __init__(self, circle: Circle, model: nn.Module, spec: FederatedSpec, aside: Aside) -> None:
        self.circle, self.model, self.spec, self.aside = circle, model, spec, aside
        self.weights = flat(model).astype(np.float64)
        self.rule, self.told = Rule(*spec.method), Told(codec(spec.compress))
        self.rng = np.random.default_rng(aside.seed)
        self.rounds: list[Round] = []
        self.wrecks = 0

    def go(self) -> Federated:
        """All rounds."""
        hello = self.circle.ask(dict.fromkeys(self.circle.channels, Message("hello")), self.spec.deadline_s)
        rows = {number: count for number, message in hello.items() if (count := self._rows(number, message))}
        if not rows:
            raise PennyweightError(f"No client answers. {' '.join(self.circle.said)}", "see that they are running.")
        self.planned = Planned.of(self.spec, rows, len(self.weights))
        why = "All rounds were made."
        for number in range(1, self.spec.rounds + 1):
            if not self.planned.allows():
                why = f"Round {number} would expose more than was allowed, so it was not made."
                break
            told = self._round(number)
            self.rounds.append(told)
            if self.aside.watch is not None and not self.aside.watch(told):
                why = f"It was stopped after round {number}."
                break
        self.model.eval()
        return Federated(self.model, tuple(self.rounds), why)

    def _rows(self, number: int, message: Message) -> int:
        """How many rows a client says it has; one without any, or with another model, is left out."""
        if message.number("numbers") != len(self.weights):
            self.circle.drop(number, "its model is another one")
            return 0
        rows = int(message.number("rows") or 0)
        if rows < 1:
            self.circle.drop(number, "it has no rows")
        return max(0, rows)

    def _round(self, number: int) -> Round:
        circle, before = self.circle, self.circle.spent if self.rounds else Spent()
        if self.rounds:
            circle.said = []
        asked = self.planned.drawn(self.rng, circle.channels)
        gather = gather_secretly if self.spec.secure else gather_openly
        gathered_ = gather(circle, self.planned, Call(number, asked, self.weights, self.told))
        self.planned.spend()
        self._move(number, gathered_, len(asked))
        quality = None if self.aside.judge is None else self._judged(self.aside.judge)
        spent = circle.spent - before
        return Round(
            number,
            self.spec.rounds,
            len(asked),
            gathered_.counted,
            gathered_.loss,
            quality,
            spent.sent_byte,
            spent.got_byte,
            spent.cpu_s,
            self.planned.epsilon,
            tuple(circle.said),
        )

    def _move(self, number: int, come: Gathered, asked: int) -> None:
        """Move the weights, or say that the round came to nothing."""
        enough = come.counted >= max(1, math.ceil(self.spec.quorum * asked))
        mean = self.planned.mean(come) if enough else None
        if mean is not None:
            self.wrecks = 0
            self.weights = self.rule.move(self.weights, mean)
            fill(self.model, self.weights)
            return
        if asked:
            self.wrecks += 1
            self.circle.said.append(f"Round {number} came to nothing: {come.counted} of {asked} clients counted.")
        if self.wrecks == _WRECKS or not self.circle.channels:
            raise PennyweightError(
                f"{self.wrecks} rounds in a row came to nothing. {' '.join(self.circle.said)}",
                "look at what the clients say, or give them more time.",
            )

    def _judged(self, judge: Callable[[nn.Module], float]) -> float:
        self.model.eval()
        return judge(self.model)
