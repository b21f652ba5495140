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
    """How an answer is given: as one JSON object or as tables, and which files are written beside it.

    `calibration` is the file of what measured rows of one's own taught, where one is named.
    """

    report: Path | None = None
    emit: str | None = None
    json: bool = False
    calibration: Path | None = None

    def __post_init__(self) -> None:
        check_target(self.emit)


def check_target(target: str | None, kind: str = "") -> None:
    """Refuse a target that is not there, or starts nothing of a `kind`, before anything is computed; none is fine."""
    if target is not None:
        from pennyweight.layout.emit import check_kind, load

        load(target)
        if kind:
            check_kind(target, kind)


@dataclass(frozen=True, slots=True)
class LaunchFile:
    """A launch file that can be written: its target, its text and where it goes."""

    target: str
    text: str
    path: Path

    def tell(self, *, json: bool = False) -> Path:
        """Write it, and say where it is, but not in JSON."""
        from pennyweight.store.disk import put

        put(self.path, self.text.encode(), "the launch file")
        if not json:
            say(f"The launch file for {self.target} is {self.path}.")
        return self.path


def launch_file(found: Estimate | TrainPlan | Launch, target: str, output: Path | None = None) -> LaunchFile:
    """The launch file of an estimate, of the cheapest way of a plan, or of a launch.

    It is made before anything is told, so that a launch that is impossible is refused first. Without `output` it goes
    to the current folder, named by what it starts.
    """
    from pennyweight.layout.emit import emit, load

    launch = _launch(found)
    return LaunchFile(target, emit(target, launch), output or Path(f"{launch.slug}{load(target).suffix}"))


def tell_launch(
    found: Estimate | TrainPlan | Launch, target: str, output: Path | None = None, *, json: bool = False
) -> Path:
    """Write the launch file of `launch_file`, say where it is (but not in JSON), and return that."""
    return launch_file(found, target, output).tell(json=json)


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
