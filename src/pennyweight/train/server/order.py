"""What an asynchronous training is told beyond its settings, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError, UnknownNameError

if TYPE_CHECKING:
    from pennyweight.core import TeamSpec, TrainSpec

CORRECTIONS = ("compensated", "scaled", "none")
_WHOLE = ("lamb", "muon")  # these look at whole matrices, a shard sees a slice of all numbers


@dataclass(frozen=True, slots=True)
class Serving:
    """How the weights are served: in `shards` slices, gradients at most `staleness` steps of any other worker old.

    `correction` says what is done about stale gradients ("compensated", "scaled" or "none"; see `Correction`). A shard
    keeps its state after every `keep_every` changes. `pace_s` are seconds that each worker is held up at every step,
    to try out slow ones. `spares` processes stand ready to take the place of one that is lost, at once; with none, a
    new one is started, which takes some seconds. A worker that is lost more than `most_losses` times is not replaced,
    and a shard that is ends the training.
    """

    staleness: int = 8
    shards: int = 2
    correction: str = "compensated"
    keep_every: int = 32
    pace_s: tuple[float, ...] = ()
    most_losses: int = 3
    spares: int = 1

    def __post_init__(self) -> None:
        if min(self.staleness, self.shards, self.keep_every) < 1:
            raise BadInputError(
                f"A server of {self.shards} shards with a staleness of {self.staleness} cannot be.",
                "use at least one of each.",
            )
        if min(self.spares, self.most_losses) < 0:
            raise BadInputError(
                f"There cannot be {self.spares} spares and {self.most_losses} losses.", "use 0 for none."
            )
        if self.correction not in CORRECTIONS:
            raise UnknownNameError.of("correction of stale gradients", self.correction, CORRECTIONS)


def is_asynchronous(team: TeamSpec) -> bool:
    """Whether a team's workers agree through a server ("async:S")."""
    return team.sync.partition(":")[0] == "async"


def serving(team: TeamSpec) -> Serving:
    """How a team that is asynchronous is served: "async:8" is a staleness of eight steps."""
    _, colon, steps = team.sync.partition(":")
    if not colon:
        return Serving()
    if not (steps.isascii() and steps.isdigit() and int(steps) > 0):
        raise BadInputError(f"The way to agree {team.sync!r} lacks its staleness.", "write async:8, for example.")
    return Serving(int(steps))


def check(settings: TrainSpec) -> None:
    """Refuse what cannot be done by a server that sees slices of the weights, one worker's gradient at a time."""
    regular, team = settings.regular, settings.team
    if team.workers < 1:
        raise BadInputError(f"{team.workers} workers cannot train.", "use at least one.")
    if is_asynchronous(team):
        serving(team)
    refused = {
        f"the optimiser {settings.optimizer}": settings.optimizer in _WHOLE,
        "a moving average of the weights (ema)": bool(regular.ema),
        "a bound on the weights into a unit (max_norm)": bool(regular.max_norm),
        "gradient accumulation": settings.accumulate != 1,
        "scaled float16": settings.precision == "float16",
        "stopping early by held-back rows (patience)": settings.patience is not None,
        "compressed gradients": bool(team.compress),
        "smaller rows first (small)": bool(settings.small),
        "a teacher": bool(settings.teacher),
        "activations computed anew (recompute)": settings.recompute,
    }
    for what, asked in refused.items():
        if asked:
            raise BadInputError(f"Asynchronous training cannot do {what}.", "leave it out, or train with sync=each.")
