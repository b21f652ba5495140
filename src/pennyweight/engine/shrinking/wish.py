"""What is asked of `shrink`: to which numbers, by which method, with which text, and what stays as it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from pennyweight.backends.large.kinds import KINDS, rounding_for
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.units import parse_bytes

if TYPE_CHECKING:
    from pennyweight.backends.large.rounding import Rounding
    from pennyweight.engine.shrinking.calibrating import Calibration

METHODS = {"rtn": False, "hqq": False, "gptq": True, "awq": True}  # whether it needs a text
WIDTHS = ("int3", "int4", "int8")
_NUMBER = re.compile(r"[0-9]*\.?[0-9]+")


@final
@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for: `to` what, weights per scale, parts of names to keep, bytes of an output shard.

    `to` is a kind of numbers ("int4"), or how much there may be of several kinds: bits of a rounded weight on average,
    without its share of a scale ("3.5"), or the size of all tensors ("4GB"). Then each layer is given one of `among`.
    `method` is rtn (to nearest), hqq (scales searched), gptq or awq; the last two, and any of them with several kinds,
    need a `calibration`, and with one errors of outputs are measured for all of them.
    """

    to: str = "int4"
    group: int | None = None
    keep: tuple[str, ...] = ()
    any_: bool = False
    shard_byte: int = 1_000_000_000
    method: str = "rtn"
    calibration: Calibration | None = None
    among: tuple[str, ...] = WIDTHS

    def __post_init__(self) -> None:
        if self.shard_byte <= 0:
            raise BadInputError("A shard holds at least one byte.", "give a size such as 1GB.")
        if self.method not in METHODS:
            raise UnknownNameError.of("method", self.method, METHODS)
        if self.mixed:
            self._check_mixed()
        elif self.among != WIDTHS:
            raise BadInputError("--among goes with an average.", f"give --to 3.5, or leave --among out for {self.to}.")
        rounding = self.rounding
        if METHODS[self.method] and self.calibration is None:
            raise BadInputError(f"The method {self.method} needs a text.", "give one with --calibrate TEXT.txt.")
        if rounding.kind == "mx" and (self.method != "rtn" or self.calibration is not None):
            raise BadInputError(f"{self.to} is rounded to nearest only.", "leave --method and --calibrate out.")

    def _check_mixed(self) -> None:
        for name in self.among:
            if name not in WIDTHS:
                raise UnknownNameError.of("width", name, WIDTHS)
        widths = sorted(self.widths.values(), key=lambda each: each.bits)
        if len(widths) < 2:
            raise BadInputError("One width leaves nothing to choose.", f"give --to {self.among[0]}, or several widths.")
        least, most = widths[0].bits, widths[-1].bits
        if self.bits is not None and not least <= self.bits <= most:
            raise BadInputError(
                f"{self.to} bits are no average of {', '.join(self.widths)}.", f"give {least} to {most} bits."
            )
        if self.bits is None:
            parse_bytes(self.to)
        if self.calibration is None:
            raise BadInputError(
                "Which layer needs how many bits is measured with a text.", "give one with --calibrate TEXT.txt."
            )

    @property
    def mixed(self) -> bool:
        """Whether each layer is given a width of its own."""
        return self.to not in KINDS and self.to[:1] in {*"0123456789."}

    @property
    def bits(self) -> float | None:
        """The bits of a rounded weight on average, None if a size or a kind of numbers was asked for."""
        return float(self.to) if _NUMBER.fullmatch(self.to) else None

    @property
    def byte(self) -> int | None:
        """The size of all tensors, None if that was not asked for."""
        return round(parse_bytes(self.to)) if self.mixed and self.bits is None else None

    @property
    def widths(self) -> dict[str, Rounding]:
        """What layers may be given, narrowest first, or all are."""
        names = dict.fromkeys(self.among) if self.mixed else (self.to,)
        found = {name: rounding_for(name, self.group) for name in names}
        return dict(sorted(found.items(), key=lambda pair: pair[1].bits))

    @property
    def rounding(self) -> Rounding:
        """How weights are rounded; of several widths the widest."""
        return list(self.widths.values())[-1]

    @property
    def said(self) -> list[object]:
        """All of it, for JSON."""
        read = (self.calibration.sha256, self.calibration.tokens) if self.calibration else None
        known: list[object] = [self.to, self.group, self.keep, self.any_, self.shard_byte]
        known += [sorted(self.widths)] if self.mixed else []
        return [*known, self.method, read] if (self.method, read) != ("rtn", None) else known
