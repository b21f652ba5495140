"""Who judges the student on what is held out, after fixed numbers of changes, and keeps its best weights on disk."""

from __future__ import annotations

import json
import math
from collections import deque
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import CorruptError
from pennyweight.store.disk import flush
from pennyweight.training.healing.answering import loss_of
from pennyweight.training.healing.writing import saving

if TYPE_CHECKING:
    from torch import nn

    from pennyweight.training.healing.reading import Windows
    from pennyweight.training.healing.workplace import Workplace

_TIRED, _HOPELESS = 4, 8  # looks without a lower loss: since the best, and from the beginning
_LEAST = 1e-4  # nats by which a loss has to be lower to be
_UNFINISHED = ".unfinished"


@final
class Judging:
    """Looks at the student every `every` changes of its weights; `before` is its loss on `held` when it came in.

    `best` are the number of changes after which it was best and the loss then; nothing depends on the clock, so a
    training that was cut off and goes on comes to the same.
    """

    def __init__(self, place: Workplace, held: Windows, every: int, before: float, *, at_once: int) -> None:
        self._place, self._held, self._every, self._at_once = place, held, every, at_once
        self.updates = 0
        self.points: list[tuple[int, float]] = [(0, before)]
        self.best = (0, before)
        self._kept: deque[int] = deque([0, 0], maxlen=2)  # the best of the last states that were kept

    def after_step(self, model: nn.Module) -> None:
        """Hear of a change."""
        self.updates += 1
        if self.updates % self._every == 0:
            self.look(model)

    def look(self, model: nn.Module) -> float:
        """Judge the student now, if that was not done yet; returns its loss."""
        if self.points[-1][0] == self.updates:
            return self.points[-1][1]
        model.eval()
        loss = loss_of(model, self._held, self._at_once)
        model.train()
        self.points.append((self.updates, loss))
        if math.isfinite(loss) and loss < self.best[1] - _LEAST:
            self.best = (self.updates, loss)
            self._keep(model)
        return loss

    @property
    def tired(self) -> bool:
        """Whether the loss was not lower for so many looks that it will hardly become so."""
        since = sum(update > self.best[0] for update, _ in self.points)
        return since >= (_TIRED if self.best[0] else _HOPELESS)

    def give_best(self, model: nn.Module) -> None:
        """Give the student its best weights; those that do not learn it has still."""
        from safetensors.torch import load_file

        model.load_state_dict(load_file(self._place.best(self.best[0])), strict=False)

    def state(self) -> bytes:
        """All that its next looks depend on, as it is kept beside the state of the training."""
        self._kept.append(self.best[0])
        return json.dumps({"updates": self.updates, "points": self.points}).encode()

    def tidy(self) -> None:
        """Remove weights that no kept state calls the best any more."""
        self._place.keep_only({*self._kept, self.best[0]})

    def restore(self, said: dict[str, Any]) -> None:
        """Go on from a state."""
        self.updates = int(said["updates"])
        self.points = [(int(update), float(loss)) for update, loss in said["points"]]
        self.best = self.points[0]
        for point in self.points[1:]:
            if math.isfinite(point[1]) and point[1] < self.best[1] - _LEAST:
                self.best = point
        self._kept.extend((self.best[0], self.best[0]))
        if self.best[0] and not self._place.best(self.best[0]).is_file():
            raise CorruptError(f"{self._place.best(self.best[0])} is missing.", "give --force to begin again.")

    def _keep(self, model: nn.Module) -> None:
        from safetensors.torch import save_file

        path = self._place.best(self.best[0])
        aside = path.with_name(f"{path.name}{_UNFINISHED}")
        weights = {name: each.detach() for name, each in model.named_parameters() if each.requires_grad}
        with saving(path):
            save_file(weights, aside)
            aside.replace(path)
            flush(path.parent)
