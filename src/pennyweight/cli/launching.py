"""`--emit TARGET`: the launch file of a plan, so that it runs on an existing engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pennyweight.cli.screen import say
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from pennyweight.layout.emit import Launch
    from pennyweight.layout.plans.estimating import Estimate
    from pennyweight.layout.plans.planning import TrainPlan


@dataclass(frozen=True, slots=True)
class Told:
    """How an answer is given: as one JSON object or as tables, and which files are written beside it."""

    report: Path | None = None
    emit: str | None = None
    json: bool = False

    def __post_init__(self) -> None:
        check_target(self.emit)


def check_target(target: str | None) -> None:
    """Refuse a target that is not there before anything is computed; none is fine."""
    if target is not None:
        from pennyweight.layout.emit import load

        load(target)


def tell_launch(
    found: Estimate | TrainPlan | Launch, target: str, output: Path | None = None, *, json: bool = False
) -> Path:
    """Write the launch file of an estimate, of the cheapest way of a plan, or of a launch; say where, but not in JSON.

    Without `output` it is in the current folder, named by what it starts. Returns where it is.
    """
    from pennyweight.layout.emit import emit, load
    from pennyweight.store.disk import put

    launch = _launch(found)
    path = output or Path(f"{launch.slug}{load(target).suffix}")
    put(path, emit(target, launch).encode(), "the launch file")
    if not json:
        say(f"The launch file for {target} is {path}.")
    return path


def _launch(found: Estimate | TrainPlan | Launch) -> Launch:
    from pennyweight.layout.emit import Launch
    from pennyweight.layout.emit.planned import launch_of_estimate
    from pennyweight.layout.plans.estimating import Estimate

    if isinstance(found, Launch):
        return found
    if isinstance(found, Estimate):
        return launch_of_estimate(found)
    if found.cheapest is None:
        raise BadInputError("This plan has nothing to launch.", "give it a longer deadline or a larger budget.")
    return launch_of_estimate(found.estimate(found.cheapest))
