"""Which calibration moves a prediction: the one that is named, else the one that `calibrate` keeps in this folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pennyweight.cli.screen import say
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.layout.scoring.calibrating import Calibration

USUAL = Path("mine.toml")  # where `calibrate SOURCE` keeps what it learned
STEPS, SERVED = ("own_steps", "nemo", "mpt"), ("own_serving", "serving")  # kinds of tables that say how long
NONE = "none"  # asks for predictions as they ship


def calibration_of(path: Path | None) -> Calibration | None:
    """What was learned from measured rows of one's own: in `path`, or without one in the usual file, if it is there.

    A usual file that is no calibration is said, and moves nothing; a named one is an error.
    """
    from pennyweight.layout.scoring.calibrating import Calibration

    if path is not None:
        return None if str(path) == NONE else Calibration.load(path)
    if not USUAL.is_file():
        return None
    try:
        return Calibration.load(USUAL)
    except BadInputError as error:
        sys.stderr.write(f"{error.problem} It is not used; to fix: {error.fix}\n")
        return None


def say_calibration(calibration: Calibration | None, path: Path | None, kinds: Sequence[str]) -> None:
    """Say which calibration was asked, and how many rows of the `kinds` that matter here taught it."""
    if calibration is None:
        return
    told = [f"{calibration.kinds[kind].used} rows of {kind}" for kind in kinds if kind in calibration.kinds]
    taught = f"is used, taught by {' and '.join(told)}" if told else f"has no rows of {' or '.join(kinds)}"
    off = "" if path is not None else f"; without it: --calibration {NONE}"
    say(f"Calibration {path or USUAL} {taught}{off}.")
