"""Where a text ends before its time: at a sequence that the caller named, of which nobody sees a part."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final


@final
@dataclass(slots=True, eq=False)
class Tail:
    """Lets text through as soon as it cannot be the beginning of one of the `stops`; none of them is empty."""

    stops: tuple[str, ...] = ()
    stopped: bool = field(default=False, init=False)
    _kept: str = field(default="", init=False)

    def put(self, text: str) -> str:
        """Add text; what may be told of it now. After a stop sequence nothing is told any more."""
        if not self.stops:
            return text
        if self.stopped or not text:
            return ""
        kept = self._kept + text
        found = [at for at in (kept.find(stop) for stop in self.stops) if at >= 0]
        if found:
            self.stopped, self._kept = True, ""
            return kept[: min(found)]
        back = max(_begun(kept, stop) for stop in self.stops)
        self._kept = kept[len(kept) - back :]
        return kept[: len(kept) - back]

    def end(self) -> str:
        """What was held back, when no text follows."""
        kept, self._kept = self._kept, ""
        return kept


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of a text are the beginning of a stop sequence."""
    most = min(len(text), len(stop) - 1)
    return next((size for size in range(most, 0, -1) if text.endswith(stop[:size])), 0)
