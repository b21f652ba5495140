"""Accelerators as tables call them: which device of the catalog `NVIDIA Blackwell GPU (B200-SXM-180GB)` is.

A device that the catalog does not have is answered by one that stands in for it: the next of its series (`MI400X`), or
the usual one of its maker's line (`Jetson`). A text that says nothing of the kind is refused.
"""

from __future__ import annotations

import math
import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.catalog.accelerators import accelerators
from pennyweight.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pennyweight.catalog.accelerators import Accelerator

    Series = dict[str, float]

_MAKERS = r"^(nvidia|amd|intel|google|aws)-"
_LONGEST = 200
# Devices of one series have numbers that differ by less than this factor, or by one generation.
_SERIES = 2.5
_SHARED = 0.2  # what a word in common is worth, in logarithms of numbers
_NO_SERIES = frozenset({"hbm", "sxm", "gddr", "ddr", "nvl", "gen", "x", "pcie", "mig", "e"})
_OF_MAKER = {
    "tpu": "google",
    "instinct": "amd",
    "radeon": "amd",
    "gaudi": "intel",
    "arc": "intel",
    "xeon": "",
    "epyc": "",
}
_OF_MAKER |= dict.fromkeys(("geforce", "quadro", "rtx", "tesla", "dgx", "hgx", "grace"), "nvidia")
_OF_MAKER |= {name: name for name in ("nvidia", "amd", "intel", "google", "aws")}
# Of a line of devices, or of an architecture, the usual one; the first word that is said counts.
_LINES = {
    "rubin": "rubin",
    "jetson": "jetson-agx-thor",
    "blackwell": "b200",
    "hopper": "h100",
    "ada": "rtx-6000-ada",
    "lovelace": "l40s",
    "ampere": "a100-80gb",
    "turing": "t4",
    "volta": "v100-32gb",
    "pascal": "p100",
    "gaudi": "gaudi3",
    "habana": "gaudi2",
    "arc": "arc-pro-b60",
    "radeon": "rx-7900-xtx",
    "instinct": "mi300x",
    "trainium": "trainium2",
    "tpu": "ironwood",
    "geforce": "rtx-4090",
    "quadro": "a6000",
    "rtx": "rtx-4090",
    "tesla": "v100-16gb",
}


@lru_cache(maxsize=1024)
def named(text: str) -> Accelerator:
    """The accelerator whose name is said in `text`, of several the longest; or one that stands in for it.

    Names are compared without case, and a name counts only as whole words: there is no `b200` in `GB200`. Raises
    `UnknownNameError` with the nearest names where nothing stands in.
    """
    words = _words(text)
    said = [name for name in _known() if re.search(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])", words)]
    if said:
        return _known()[max(said, key=len)]
    found = stand_in(text)
    if found is None:
        raise UnknownNameError.of("accelerator", re.sub(_MAKERS, "", words), _known())
    return found


@lru_cache(maxsize=1024)
def stand_in(text: str, but: str = "") -> Accelerator | None:
    """What stands in for the device of `text`, were the device `but` not in the catalog; None where nothing does."""
    found = _next_of_series(_words(text), but) or _usual_of_line(_words(text), but)
    return _known()[found] if found else None


@lru_cache(maxsize=1024)
def standing_in(text: str) -> str:
    """What to say of the device that stands in for that of `text`; nothing where it is in the catalog itself."""
    words = _words(text)
    if any(re.search(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])", words) for name in _known()):
        return ""
    return f"{named(text).name} stands in for {text.strip()[:100]}"


def unknown(texts: Iterable[str]) -> NDArray[np.str_]:
    """What is wrong with each of these texts (n,): nothing where a device of the catalog is, or stands in for, it."""
    return np.array([_problem(str(text)) for text in texts], dtype=np.str_)


def stood_in(texts: Iterable[str], problems: NDArray[np.str_]) -> NDArray[np.str_]:
    """What stands in for the device of each text (n,): nothing where it is known, or has a problem (n,)."""
    pairs = zip(texts, problems.tolist(), strict=True)
    return np.array(["" if wrong else standing_in(str(text)) for text, wrong in pairs], dtype=np.str_)


def _problem(text: str) -> str:
    try:
        named(text)
    except UnknownNameError as error:
        return f"{error.problem} The nearest: {error.fix.removeprefix('use one of: ')}"
    return ""


def _words(text: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", text[:_LONGEST].lower()))


def _next_of_series(words: str, but: str = "") -> str | None:
    """The name of the catalog whose letters are the same and whose number is nearest."""
    asked, have = _series(words), set(words.split("-"))
    makers = {maker for word, maker in _OF_MAKER.items() if word in have}
    costs = [
        (abs(math.log(asked[letters] / number)) - _SHARED * len(have & set(name.split("-"))), name)
        for name, series in _all_series().items()
        if _known()[name].name != but and (not makers or _known()[name].vendor in makers)
        for letters, number in series.items()
        if letters in asked and abs(math.log(asked[letters] / number)) <= math.log(_SERIES)
    ]
    return min(costs)[1] if costs else None


def _usual_of_line(words: str, but: str = "") -> str | None:
    have = set(words.split("-"))
    return next((name for word, name in _LINES.items() if word in have and name != but), None)


def _series(words: str) -> Series:
    """The letters and the number of each word such as `mi300x`; a number alone belongs to the word before it."""
    found: Series = {}
    before = ""
    for word in words.split("-"):
        match = re.fullmatch(r"([a-z]*)(\d{1,5})(?!gb?$)[a-z]{0,3}", word)
        letters = (match[1] or before) if match else ""
        if match and letters and letters not in _NO_SERIES and int(match[2]):
            found.setdefault(letters, float(match[2]))
        if not match or match[1]:
            before = match[1] if match else word
    return found


@cache
def _all_series() -> dict[str, Series]:
    return {name: _series(name) for name in _known()}


@cache
def _known() -> dict[str, Accelerator]:
    return {name: each for each in accelerators() for name in (each.name, *each.aliases)}
