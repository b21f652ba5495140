"""One measured figure beside what the roofline says it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pennyweight.errors import BadInputError, CorruptError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Sample:
    """A measured figure of one kind (`target`: "serve", "train", "tune" in seconds, "memory" in bytes).

    `runtime` and the narrower `group` (runtime, precision, whole-number arithmetic or not) say what is alike; `parts`
    are the figures that add up to the roofline's prediction, in the order fixed for the target; `place` are coordinates
    (logarithms) in which neighbours err alike; without any, nothing is interpolated.
    """

    target: str
    runtime: str
    group: str
    parts: tuple[float, ...]
    place: tuple[float, ...]
    measured: float

    def __post_init__(self) -> None:
        if not 0 < self.measured < float("inf"):
            raise BadInputError(
                f"Nothing can be learned from {self.measured:g} measured for {self.target}.",
                "give what was measured, above zero.",
            )

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        return {
            "target": self.target,
            "runtime": self.runtime,
            "group": self.group,
            "parts": list(self.parts),
            "place": list(self.place),
            "measured": self.measured,
        }

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Self:
        """The sample that `to_dict` wrote."""
        try:
            parts, place = (tuple(float(each) for each in body[name]) for name in ("parts", "place"))
            target, runtime, group = (str(body[name]) for name in ("target", "runtime", "group"))
            return cls(target, runtime, group, parts, place, float(body["measured"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptError(f"This is no sample of a measurement: {error!r}.", "calibrate again.") from error
