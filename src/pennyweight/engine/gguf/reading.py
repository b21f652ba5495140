"""The file read back: its head by the `gguf` library, its tensors undone and compared with the checkpoint."""

from __future__ import annotations

import math
import os
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.backends.large.ggml import byte_of, decoded, load_gguf, slack, to_halves
from pennyweight.engine.gguf.writing import Sources
from pennyweight.errors import CorruptError
from pennyweight.store.disk import explained

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from pennyweight.engine.gguf.planning import Plan, Target

_FIX = "look after the disk and the memory of this machine, then write it again."


@final
@dataclass(frozen=True, slots=True)
class Found:
    """How the file compares: tensors, those `same` to the bit, and how far all matrices together `moved`.

    The last as a share of their length.
    """

    tensors: int
    same: int
    moved: float

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)


def compare(plan: Plan, path: Path, watch: Callable[[int], None] = lambda _: None) -> Found:
    """Read the file at `path` and compare it with what `plan` says and the checkpoint holds.

    Every weight must be as near as its type allows; `watch` hears how many bytes were read since the last time.
    Raises `CorruptError` if one is not, or if the head says anything else.
    """
    places = _places(plan, path)
    same, far, long = 0, 0.0, 0.0
    with ExitStack() as stack:
        sources = Sources(stack)
        with explained(path, "the GGUF file"):
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, handle)
        for target in plan.targets:
            moved, length = 0.0, 0.0
            for at, end in target.pieces():
                given = sources.rows(target, at, end)
                got = _rows(handle, path, target, places[target.place.name], (at, end))
                moved, length = moved + _distance(target, given, got), length + float(np.vdot(given, given))
                watch(got.size)
            same += not moved
            far, long = far + moved, long + length
    return Found(len(plan.targets), same, math.sqrt(far / long) if long else 0.0)


def _places(plan: Plan, path: Path) -> dict[str, int]:
    """Where tensors begin, as the library finds them; all it reads must be as planned."""
    gguf = load_gguf()
    try:
        reader = gguf.GGUFReader(path)
    except (ValueError, IndexError, KeyError, OSError) as error:
        raise CorruptError(f"{path} cannot be read back: {error}.", _FIX) from error
    found = {
        each.name: (tuple(int(size) for size in reversed(each.shape)), each.tensor_type.name, int(each.n_bytes))
        for each in reader.tensors
    }
    wanted = {each.place.name: (each.shape, each.place.kind, each.byte) for each in plan.targets}
    said = [reader.fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "token_type", "merges")]
    if found != wanted or said != [list(plan.words.tokens), list(plan.words.kinds), list(plan.words.merges)]:
        raise CorruptError(f"{path} reads back as another model.", _FIX)
    return {each.name: int(each.data_offset) for each in reader.tensors}


def _rows(handle: int, path: Path, target: Target, start: int, span: tuple[int, int]) -> NDArray[np.float32]:
    """Rows of the file as the checkpoint has them."""
    width = byte_of((target.columns,), target.place.kind)
    raw = np.empty((span[1] - span[0]) * width, np.uint8)
    with explained(path, "the GGUF file"):
        if os.preadv(handle, [raw.data], start + span[0] * width) != len(raw):
            raise CorruptError(f"{path} became shorter while it was read.", _FIX)
    values = decoded(raw, target.place.kind, target.columns)
    return to_halves(values, target.place.turned) if target.place.turned else values


def _distance(target: Target, given: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    """The squared distance; each weight must be as near as its type allows."""
    gap = got - given
    if not bool((np.abs(gap) <= slack(given, target.place.kind)).all()):
        raise CorruptError(f"{target.place.name!r} reads back as other weights.", _FIX)
    return float(np.vdot(gap, gap))
