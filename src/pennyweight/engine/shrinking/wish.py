"""What is asked of `shrink`: to which numbers, by which method, with which text, and what stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from pennyweight.backends.large.kinds import rounding_for
from pennyweight.errors import BadInputError, UnknownNameError

if TYPE_CHECKING:
    from pennyweight.backends.large.rounding import Rounding
    from pennyweight.engine.shrinking.calibrating import Calibration

METHODS = {"rtn": False, "hqq": False, "gptq": True, "awq": True}  # whether it needs a text


@final
@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for: `to` what, weights per scale, parts of names to keep, bytes of an output shard.

    `method` is rtn (to nearest), hqq (scales searched), gptq or awq; the last two need a `calibration`, and with one
    errors of outputs are measured for all of them.
    """

    to: str = "int4"
    group: int | None = None
    keep: tuple[str, ...] = ()
    any_: bool = False
    shard_byte: int = 1_000_000_000
    method: str = "rtn"
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        rounding = rounding_for(self.to, self.group)
        if self.shard_byte <= 0:
            raise BadInputError("A shard holds at least one byte.", "give a size such as 1GB.")
        if self.method not in METHODS:
            raise UnknownNameError.of("method", self.method, METHODS)
        if METHODS[self.method] and self.calibration is None:
            raise BadInputError(f"The method {self.method} needs a text.", "give one with --calibrate TEXT.txt.")
        if rounding.kind == "mx" and (self.method != "rtn" or self.calibration is not None):
            raise BadInputError(f"{self.to} is rounded to nearest only.", "leave --method and --calibrate out.")

    @property
    def rounding(self) -> Rounding:
        """How weights are rounded."""
        return rounding_for(self.to, self.group)

    @property
    def said(self) -> list[object]:
        """All of it, for JSON."""
        read = (self.calibration.sha256, self.calibration.tokens) if self.calibration else None
        known: list[object] = [self.to, self.group, self.keep, self.any_, self.shard_byte]
        return [*known, self.method, read] if (self.method, read) != ("rtn", None) else known
