"""What inputs and answers looked like when all was well: recorded with the artifact, or the first requests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

from pennyweight.errors import BadInputError, CorruptError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.core import Artifact

FILE = "reference.safetensors"
LEAST_ROWS = 100
MOST_COLUMNS = 4096
"""Of wider rows so many columns are looked at, evenly spread."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Rows (M, D), the answers to them (M, K), and what would have been right (M,), if that is known."""

    rows: NDArray[Any]
    answers: NDArray[Any]
    labels: NDArray[Any] | None = None

    @classmethod
    def of(cls, x: NDArray[Any], answers: NDArray[Any], labels: NDArray[Any] | None = None) -> Self:
        """Flatten rows and answers, thin out wide rows; raises `BadInputError` for too few or counts that differ."""
        counts = {len(x), len(answers)} | (set() if labels is None else {len(labels)})
        if len(counts) != 1:
            raise BadInputError("Rows, answers and labels of a reference are not equally many.", "give one of each.")
        if len(x) < LEAST_ROWS:
            raise BadInputError(f"{len(x)} rows are no reference.", f"give at least {LEAST_ROWS}.")
        return cls(narrow(flat(x)), flat(answers), labels)

    @property
    def classes(self) -> bool:
        """Whether answers are class probabilities."""
        return bool(self.answers.shape[1] > 1)


def flat(x: NDArray[Any]) -> NDArray[Any]:
    """Rows (N, …) as (N, D)."""
    return np.asarray(x).reshape(len(x), -1)


def narrow(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows (N, D) with at most `MOST_COLUMNS` of their columns, always the same ones."""
    wide = rows.shape[1]
    if wide <= MOST_COLUMNS:
        return rows
    return rows[:, np.linspace(0, wide - 1, MOST_COLUMNS).astype(np.int64)]


def recorded(artifact: Artifact) -> Reference | None:
    """The reference that was recorded with an artifact; None if it has none. Raises `CorruptError` if it is damaged."""
    if FILE not in dict(artifact.files):
        return None
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(artifact.file(FILE))
        return Reference.of(tensors["x"], tensors["y"], tensors.get("labels"))
    except (KeyError, ValueError, SafetensorError) as error:
        raise CorruptError("The artifact's reference is damaged.", "make the artifact again.") from error


def with_reference(artifact: Artifact, reference: Reference) -> Artifact:
    """The artifact with a reference recorded in it; it is another content, with another name."""
    from safetensors.numpy import save

    tensors = {"x": np.ascontiguousarray(reference.rows), "y": np.ascontiguousarray(reference.answers)}
    if reference.labels is not None:
        tensors["labels"] = np.ascontiguousarray(reference.labels)
    kept = tuple(each for each in artifact.files if each[0] != FILE)
    return replace(artifact, files=(*kept, (FILE, save(tensors))))
