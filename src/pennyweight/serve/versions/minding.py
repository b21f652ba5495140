"""Which versions are watched at this moment: those that answer, by the names that they answer under."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pennyweight.serve.place import WEEK_S
from pennyweight.serve.watch import floor
from pennyweight.serve.watch.looks import Spending
from pennyweight.serve.watch.monitor import Monitor, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pennyweight.serve.answering.shelf import Served, Shelf
    from pennyweight.serve.place import Watch
    from pennyweight.serve.versions.goals import Wish
    from pennyweight.serve.watch.seen import Seen

_ALPHA = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Minding:
    """Makes a monitor for whatever begins to answer under a name, and lets go of that of what does no more."""

    shelf: Shelf
    wishes: Mapping[str, Wish]
    settings: Settings = field(default_factory=Settings)

    def __call__(self, there: Mapping[str, Monitor]) -> dict[str, Monitor]:
        """The monitors from now on, given those until now."""
        return {
            name: self._of(name, served, seen, there.get(name))
            for name, served in self.shelf.current.items()
            if (seen := served.seen) is not None
        }

    def _of(self, name: str, served: Served, seen: Seen, there: Monitor | None) -> Monitor:
        if there is not None and there.seen is seen:
            return there
        least, alias = floor.least(served.version.certificate), self.wishes[name].alias
        return Monitor(served.version, seen.reference, least, self.settings, seen, alias)


def settings(watch: Watch, share: float = 1.0) -> Settings:
    """Such that in a week false alarms have a chance of 5%, of which this process may spend a `share`."""
    looks = max(1, math.ceil(WEEK_S / watch.every_s))
    alpha, window = _ALPHA * share, Settings().window
    return Settings(spending=Spending(alpha, looks), guessed=floor.Terms(alpha, window * looks))
