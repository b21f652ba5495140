"""Accelerators as tables call them: which device of the catalog `NVIDIA Blackwell GPU (B200-SXM-180GB)` is."""

from __future__ import annotations

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

_MAKERS = r"^(nvidia|amd|intel|google|aws)-"


@lru_cache(maxsize=1024)
def named(text: str) -> Accelerator:
    """The accelerator whose name is said in `text`; of several, the longest name that is said.

    Names are compared without case, and a name counts only as whole words: there is no `b200` in `GB200`. Raises
    `UnknownNameError` with the nearest names.
    """
    words = "-".join(re.findall(r"[a-z0-9]+", text.lower()))
    said = [name for name in _known() if re.search(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])", words)]
    if not said:
        raise UnknownNameError.of("accelerator", re.sub(_MAKERS, "", words), _known())
    return _known()[max(said, key=len)]


def unknown(texts: Iterable[str]) -> NDArray[np.str_]:
    """What is wrong with each of these texts (n,): nothing where it says the name of an accelerator of the catalog."""
    return np.array([_problem(str(text)) for text in texts], dtype=np.str_)


def _problem(text: str) -> str:
    try:
        named(text)
    except UnknownNameError as error:
        return f"{error.problem} The nearest: {error.fix.removeprefix('use one of: ')}"
    return ""


@cache
def _known() -> dict[str, Accelerator]:
    return {name: each for each in accelerators() for name in (each.name, *each.aliases)}
