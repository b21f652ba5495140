"""What a kind of table must be able to do to be learned from, predicted and scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from pennyweight.layout.rows import Rows


@dataclass(frozen=True, slots=True)
class Forecast:
    """Predictions (n,) in SI units, the ends of their 90% intervals, and what to say of rows unlike any measured one.

    `outside` is empty where similar rows were measured; elsewhere it names the nearest.
    """

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    outside: NDArray[np.str_]


class Learnt(ABC):
    """What one kind of table taught; frozen, and a small JSON-compatible dictionary when kept."""

    @abstractmethod
    def predict(self, rows: Rows) -> Mapping[str, Forecast]:
        """A forecast of every target for every row."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy, from which the table's `restore` makes it again."""


class Table(ABC):
    """One layout of published columns: one file in this folder, which is its registration (`TABLE`)."""

    name: ClassVar[str]
    columns: ClassVar[frozenset[str]]  # that tell this layout apart from every other
    targets: ClassVar[Mapping[str, str]]  # each with its SI unit
    splits: ClassVar[tuple[str, ...]]  # ways of holding whole groups out, such as "model" or "layout"

    @abstractmethod
    def measured(self, rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        """Each target as measured (n,) in SI units; NaN where a row does not have it or is not complete."""

    @abstractmethod
    def groups(self, rows: Rows, split: str) -> NDArray[np.str_]:
        """The name (n,) of the group each row belongs to: a group is held out whole."""

    @abstractmethod
    def learn(self, rows: Rows) -> Learnt:
        """Fit everything that is fitted, on these rows alone."""

    @abstractmethod
    def restore(self, body: Mapping[str, Any]) -> Learnt:
        """What `to_dict` of this table's Learnt wrote."""

    def untaught(self) -> Learnt:
        """What predicts before any row was measured; only kinds that physics alone can answer have it."""
        raise BadInputError(
            f"Nothing was learned of tables of kind {self.name} yet.", "install a release that has its fit."
        )
