"""An asynchronous training from the first weights to the last: rows handed out, losses taken in, the lost replaced."""

from __future__ import annotations

import copy
import logging
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import PennyweightError
from pennyweight.train.checkpoint import identity
from pennyweight.train.how import How, Progress, Trained
from pennyweight.train.passes import Passes
from pennyweight.train.place import Place, Sitting
from pennyweight.train.rows import has_batch_norm
from pennyweight.train.server.cluster import cluster
from pennyweight.train.server.crew import Crew, Landing
from pennyweight.train.server.fleet import Fleet, beginning
from pennyweight.train.server.order import Serving, check, serving
from pennyweight.train.server.shard import Slice
from pennyweight.train.server.weights import fill, trainable
from pennyweight.train.server.worker import Lesson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from torch import nn

    from pennyweight.core import TrainSpec
    from pennyweight.train.objective import Batch
    from pennyweight.train.server.hand import Pool

_MOST_REFUSED = 8  # gradients in a row
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Served:
    """What came of an asynchronous training beside the model: what it took, and what went wrong on the way.

    `wire_byte` are the bytes of gradients and weights that went between workers and shards, `cpu_s` the CPU seconds of
    all their processes, `missed` how many changes by others a gradient had not seen in the mean. `said` are the
    sentences about gradients that were refused and processes that were lost.
    """

    trained: Trained
    wire_byte: float
    cpu_s: float
    missed: float
    refused: int = 0
    lost_workers: int = 0
    lost_shards: int = 0
    said: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Aside:
    """What an asynchronous training may be told beside `How`: how it is served, who hears what went wrong.

    `started` is called with the processes once they run, for those who try out what happens when one is killed.
    """

    serving: Serving | None = None
    tell: Callable[[str], None] = _LOG.warning
    started: Callable[[Fleet], None] | None = None


def train_served(
    model: nn.Module, data: Batch, settings: TrainSpec, how: How | None = None, aside: Aside | None = None
) -> Served:
    """Train a deep copy of `model` on `data` by workers that trade gradients for weights with a server in shards.

    `settings.epochs` and `settings.batch` say how many gradients of how many rows there are in all; each changes the
    weights once. Rows are handed out in the order of the seed, but which weights meet which rows depends on who is
    fast: two runs differ. In place of a worker that is killed another process goes on with the shards' weights, its
    rows are given out again; in place of a shard one goes on from the state that was kept last. A gradient that is no
    number is refused and said. Raises `BadInputError` for what cannot be done this way, `MissingExtraError` without
    Ray, `PennyweightError` when gradients are no numbers time and again or processes are lost time and again.
    """
    check(settings)
    aside, how = aside or Aside(), how or How()
    byte = sum(each.numel() * each.element_size() for each in (data.x, data.y))
    with tempfile.TemporaryDirectory(prefix="pennyweight-") as folder, cluster(2 * byte + 2**27) as pool:
        run = _Run(copy.deepcopy(model), data, settings, how, aside)
        return run.go(folder, pool)


@final
class _Run:
    """The changing state of one asynchronous training."""

    def __init__(self, model: nn.Module, data: Batch, settings: TrainSpec, how: How, aside: Aside) -> None:
        self.model, self.data, self.settings, self.how, self.aside = model, data, settings, how, aside
        self.serving = aside.serving or serving(settings.team)
        self.passes = Passes.over(len(data), settings, how, alone=not has_batch_norm(model))
        self.place, self.sitting = Place(), Sitting(how.judge)
        self.said: list[str] = []
        self.refused = self.in_a_row = self.missed = self.byte = 0
        self.going = True

    def go(self, folder: str, pool: Pool) -> Served:
        """All of it, by processes of `pool`, the shards keeping their states in `folder`."""
        how, serving = self.how, self.serving
        lesson = Lesson(0, self.settings, how.task, how.seed, temperature=how.temperature, mix=how.mix)
        place = Slice(0, self.passes.updates, serving.correction, serving.keep_every, folder)
        found = None if how.checkpoints is None else how.checkpoints.read(self._identity())
        begin = beginning(self.model, self.data, lesson, place, serving.shards)
        self.fleet = Fleet(pool, serving, begin, self._say)
        try:
            served = self._train(found)
        except BaseException as error:
            if isinstance(error, PennyweightError):
                self.fleet.rest()
            else:  # who knows what they are doing
                self.fleet.stop()
            raise
        self.fleet.rest()
        return served

    def _train(self, found: dict[str, Any] | None) -> Served:
        self.crew = Crew(self.fleet, self.fleet.start(), self._say)
        resumed, rows = self._resume(found), self._rows()
        if self.aside.started is not None:
            self.aside.started(self.fleet)
        while self.going and self.crew.hand_out(rows):
            if not self.crew.left:
                self._keep()
                raise PennyweightError(
                    f"All workers were lost, after {self.place.updates} changes of the weights.",
                    "see that there is memory for them, or use fewer.",
                )
            for landing in self.crew.landings():
                self._take_in(landing)
        return self._served(resumed)

    def _rows(self) -> Iterator[np.ndarray]:
        """The rows of every step, in the order of the seed."""
        while self.passes.step < self.passes.steps:
            rows = self.passes.next().rows.numpy()
            if self.passes.ended:
                self.passes.close()
            yield rows

    def _take_in(self, landing: Landing) -> None:
        self.byte += landing.told.byte
        if self.how.clock is not None:
            self.how.clock.elsewhere_s = self.crew.cpu_s
        if landing.told.refused:
            self._refuse(landing)
            return
        self.in_a_row = 0
        self.missed += landing.missed
        place = self.place
        place.updates += 1
        place.count(landing.told.loss, len(landing.rows), fresh=True)
        place.loss = landing.told.loss
        if place.seen >= len(self.data):
            place.history.append(place.total / place.seen)
            place.total, place.seen = 0.0, 0
        self.going = self._tell()
        self._judge_if_due()
        if self.how.checkpoints is not None and self.how.checkpoints.due(place.updates):
            self._keep()

    def _refuse(self, landing: Landing) -> None:
        self.refused += 1
        self.in_a_row += 1
        self._say(
            f"A gradient of worker {landing.worker} is no number (its loss is {landing.told.loss:g}); it was refused."
        )
        if self.in_a_row >= _MOST_REFUSED:
            raise PennyweightError(
                f"{self.in_a_row} gradients in a row are no numbers, after {self.place.updates} good ones.",
                f"lower the learning rate (it is {self.settings.lr:g}), or look for extreme values in the data.",
            )

    def _say(self, sentence: str) -> None:
        self.said.append(sentence)
        self.aside.tell(sentence)

    def _tell(self) -> bool:
        place = self.place
        if self.how.watch is None:
            return True
        epoch = 1 + (place.rows - 1) // len(self.data)
        steps = self.passes.steps
        told = Progress(epoch, place.updates, steps, place.loss, place.rows, None, place.quality, place.judged)
        return self.how.watch(told)

    def _judge_if_due(self) -> None:
        judge, place = self.how.judge, self.place
        last = place.updates + self.refused == self.passes.steps
        if judge is None or not (last or place.seen == 0 or self.sitting.due()):
            return
        with self.sitting:
            self._fetch()
            place.quality, place.judged = judge.quality(self.model), place.updates
        self.going = self._tell() and self.going

    def _fetch(self) -> None:
        """Give the model here the weights as they are now, in evaluation mode."""
        import torch

        fill(trainable(self.model), self.fleet.weights())
        if self.crew.there and list(self.model.buffers()):
            for mine, theirs in zip(self.model.buffers(), self.fleet.buffers(self.crew.there), strict=False):
                mine.copy_(torch.from_numpy(theirs.copy()))
        self.model.eval()

    def _keep(self) -> None:
        if self.how.checkpoints is not None:
            state = {"passes": self.passes.state(), "place": self.place.state(), "shards": self.fleet.states()}
            self.how.checkpoints.write(state, self._identity())

    def _resume(self, state: dict[str, Any] | None) -> int:
        if state is None:
            return 0
        self.passes.restore(state["passes"])
        self.place.restore(state["place"])
        self.fleet.restore(state["shards"])
        return self.place.updates

    def _identity(self) -> dict[str, Any]:
        how = self.how
        of = how.checkpoints.of if how.checkpoints else ""
        more = {"rows": len(self.data), "seed": how.seed, "task": how.task.value, "of": of}
        return identity(self.model, self.settings, **more, shards=self.serving.shards)

    def _served(self, resumed: int) -> Served:
        self._fetch()
        self._keep()
        place = self.place
        rest = (place.total / place.seen,) if place.seen else ()
        epochs = place.rows / len(self.data)
        history = *place.history, *rest
        done = Trained(self.model, epochs, place.rows, history, (), not self.going, resumed, self.byte)
        missed = self.missed / max(1, place.updates)
        cpu_s = self.fleet.cpu_s(self.crew.there)
        if self.how.clock is not None:
            self.how.clock.elsewhere_s = cpu_s
        lost = self.crew.losses, sum(self.fleet.shard_losses)
        return Served(done, self.byte, cpu_s, missed, self.refused, *lost, tuple(self.said))
