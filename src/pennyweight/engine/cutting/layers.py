"""Which blocks go: those that change least what passes through them, or without which a text is guessed best.

Influence is 1 - cos(in, out), the mean over tokens (Men et al. 2024, arXiv:2403.03853). A run of neighbours is the one
between whose ends states turn least, by arccos(cos) / pi (Gromov et al. 2024, arXiv:2403.17887). The loss of a block is
that of the model without it (Kim et al. 2024, arXiv:2402.02834); greedy goes on with the best until enough are gone
(Song et al. 2024, arXiv:2402.09025).
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.engine.cutting.passing import Trial
from pennyweight.engine.shrinking.calibrating import is_held

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor as Values

    from pennyweight.backends.large.decoders import Decoder
    from pennyweight.engine.cutting.blockwise import Model
    from pennyweight.engine.cutting.wish import Wish

    Drops = frozenset[int]

TRIAL_TOKENS = 4096  # of the text that choices are made by, and of what is held out
_SAMPLE = 512  # tokens whose states are kept between blocks
_ALWAYS = ("influence", "run")


@final
@dataclass(frozen=True, slots=True)
class Chosen:
    """The blocks `dropped`, found `by` which way, and what was measured.

    Of every block `influence` on what passes through it, and `alone`, by how much the loss per token rises without it
    (nats; only where it was asked for). `candidates` are the losses, on tokens that choices were made by, of what each
    way would drop. `before` and `after` are losses on tokens held out.
    """

    dropped: tuple[int, ...]
    by: str
    influence: tuple[float, ...]
    alone: tuple[float, ...]
    candidates: Mapping[str, float]
    before: float
    after: float

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self) | {"dropped": list(self.dropped), "candidates": dict(self.candidates)}

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Chosen:
        """What `facts` said."""
        lists = {name: tuple(said[name]) for name in ("dropped", "influence", "alone")}
        return cls(by=said["by"], candidates=said["candidates"], before=said["before"], after=said["after"], **lists)


@final
@dataclass(slots=True)
class Listening:
    """Hears what goes into blocks and comes out; `count` is how many of `layers` blocks are to go."""

    layers: int
    count: int
    every: int
    influence: list[float] = field(default_factory=list)
    turned: list[float] = field(default_factory=list)  # by the number of the first block of a run
    _sums: list[tuple[float, int]] = field(default_factory=list)
    _ends: deque[Values] = field(default_factory=deque)
    _parts: tuple[list[Values], list[Values]] = field(default_factory=lambda: ([], []))

    def __call__(self, number: int, before: Values, after: Values) -> None:
        """Take in one text's states (tokens, hidden) before and after a block."""
        if number == len(self._sums):
            self._close()
            self._sums.append((0.0, 0))
        total, tokens = self._sums[number]
        self._sums[number] = (total + float((1 - _cosine(before, after)).sum()), tokens + len(before))
        self._parts[0].append(before[:: self.every].clone())
        self._parts[1].append(after[:: self.every].clone())

    def finish(self) -> None:
        """All blocks are through."""
        import torch

        last = torch.cat(self._parts[1])
        self._close()
        self._end(last)
        self.influence = [total / max(tokens, 1) for total, tokens in self._sums]

    def _close(self) -> None:
        """States before the block that is through are one more end of runs."""
        import torch

        if self._parts[0]:
            self._end(torch.cat(self._parts[0]))
            self._parts = ([], [])

    def _end(self, states: Values) -> None:
        self._ends.append(states)
        if len(self._ends) > self.count:
            cosine = _cosine(self._ends.popleft(), states).clamp(-1, 1)
            self.turned.append(float(cosine.arccos().mean() / np.pi))


def _cosine(one: Values, other: Values) -> Values:
    from torch.nn import functional

    return functional.cosine_similarity(one, other, dim=-1)


def choose(model: Model, decoder: Decoder, wish: Wish, folder: Path) -> Chosen:
    """Choose the blocks that go by what the text makes of them; what is needed for a while goes into `folder`.

    Raises `BadInputError` for a text or tokenizer that does not go with the model.
    """
    if wish.calibration is None:
        raise ValueError("blocks are chosen with a text only")
    tokens = wish.calibration.sequences(model.source.folder, model.source.config)
    seen, held = _spread(tokens, held=False), _spread(tokens, held=True)
    trial = Trial(model, decoder, folder, seen)
    heard = Listening(model.layers, wish.layers, max(1, seen.size // _SAMPLE))
    alone = _alone(trial, frozenset(), heard, singly=wish.by not in _ALWAYS)
    ways = _ways(heard, alone, wish.layers, wish.by)
    if wish.by == "greedy":
        ways["greedy"] = _greedy(trial, alone, wish.layers)
    return _best(Trial(model, decoder, folder, np.concatenate([seen, held])), ways, (heard, alone), len(seen))


def _spread(tokens: NDArray[np.int64], *, held: bool) -> NDArray[np.int64]:
    """Sequences that are held out, or not, from all over the text."""
    own = [number for number in range(len(tokens)) if is_held(number) == held]
    most = max(1, TRIAL_TOKENS // tokens.shape[1])
    return tokens[own[:: max(1, -(-len(own) // most))]]


def _alone(trial: Trial, past: Drops, heard: Listening | None, *, singly: bool) -> dict[int, float]:
    """By how much the loss rises without each block beside those of `past`, if that is asked for."""
    others = [number for number in range(trial.model.layers) if number not in past] if singly else []
    losses = trial.losses([past, *(past | {number} for number in others)], heard).mean(1)
    if heard:
        heard.finish()
    return {number: float(loss - losses[0]) for number, loss in zip(others, losses[1:], strict=True)}


def _ways(heard: Listening, alone: Mapping[int, float], count: int, by: str) -> dict[str, Drops]:
    first = int(np.argmin(heard.turned))
    found = {
        "influence": frozenset(map(int, np.argsort(heard.influence, kind="stable")[:count])),
        "run": frozenset(range(first, first + count)),
    }
    if alone:
        found["loss"] = frozenset(sorted(alone, key=lambda number: alone[number])[:count])
    return found if by == "best" else {name: drops for name, drops in found.items() if name == by}


def _greedy(trial: Trial, alone: Mapping[int, float], count: int) -> Drops:
    past: Drops = frozenset()
    while len(past) < count:
        rises = alone if not past else _alone(trial, past, None, singly=True)
        past |= {min(rises, key=lambda number: rises[number])}
    return past


def _best(
    trial: Trial, ways: Mapping[str, Drops], measured: tuple[Listening, Mapping[int, float]], seen: int
) -> Chosen:
    """The way with the least loss on the first `seen` sequences; what it costs on the others."""
    heard, alone = measured
    variants = list(dict.fromkeys([frozenset[int](), *ways.values()]))
    losses = dict(zip(variants, trial.losses(variants), strict=True))
    candidates = {name: float(losses[drops][:seen].mean()) for name, drops in ways.items()}
    by = min(candidates, key=lambda name: candidates[name])
    before, after = (float(losses[drops][seen:].mean()) for drops in (frozenset[int](), ways[by]))
    rises = tuple(alone[number] for number in sorted(alone))
    return Chosen(tuple(sorted(ways[by])), by, tuple(heard.influence), rises, candidates, before, after)
