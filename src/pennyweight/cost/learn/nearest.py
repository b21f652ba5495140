"""Outside what was seen: how far a row is from the nearest measured one, and whether that is unusually far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pennyweight.cost.learn.leaving import codes_of
from pennyweight.errors import BadInputError, CorruptError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    Found = tuple[NDArray[np.float64], NDArray[np.int64]]

USUAL = 0.95
_CELLS = 1 << 21  # distances held at once: 16 MiB
_LEAST = 1e-6  # in standard deviations: closer than this is the same place


@dataclass(frozen=True, slots=True)
class Nearest:
    """Measured rows (n, d) in units of their standard deviation, and how far apart they usually are.

    Distance is Euclidean over the d standardised coordinates (logarithms of sizes, degrees …; a column that never
    varied keeps its own unit). `limit` is the distance that a share `usual` of the measured rows kept from the nearest
    of the others: beyond it a row is outside what was seen. `names` (n,) are said of the nearest.
    """

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    rows: NDArray[np.float64]
    names: tuple[str, ...]
    limit: float

    @classmethod
    def of(
        cls,
        x: ArrayLike,
        names: Sequence[str] | None = None,
        groups: ArrayLike | None = None,
        usual: float = USUAL,
    ) -> Self:
        """Take the coordinates (n, d) of measured rows; with `groups` (n,), others are the rows of other groups."""
        rows = np.asarray(x, dtype=np.float64)
        if rows.ndim != 2 or not len(rows) or not np.isfinite(rows).all():
            raise BadInputError(
                "The nearest row can only be found among rows of finite coordinates.", "leave rows without out."
            )
        known = tuple(map(str, names)) if names is not None else tuple(f"row {at + 1}" for at in range(len(rows)))
        if len(known) != len(rows):
            raise BadInputError(f"There are {len(known)} names for {len(rows)} rows.", "give one name per row.")
        mean, spread = rows.mean(axis=0), rows.std(axis=0)
        spread[spread < _LEAST] = 1.0
        made = cls(mean, spread, (rows - mean) / spread, known, 1.0)
        apart = made.left_out(groups)
        finite = apart[np.isfinite(apart)]
        limit = float(np.quantile(finite, usual)) if len(finite) else 1.0
        return cls(mean, spread, made.rows, known, max(limit, _LEAST))

    def at(self, x: ArrayLike) -> Found:
        """Distance (m,) of rows (m, d) to the nearest measured one, and which (m,) that is."""
        return self._closest(self._standard(x), None)

    def left_out(self, groups: ArrayLike | None = None) -> NDArray[np.float64]:
        """Distance (n,) of each measured row to the nearest of another group (n,); without groups, of another place.

        Infinite where there is no other.
        """
        if groups is not None:
            return self._closest(self.rows, codes_of(groups))[0]
        _, places = np.unique(self.rows.round(6), axis=0, return_inverse=True)
        return self._closest(self.rows, places.reshape(-1).astype(np.int64))[0]

    def reach(self, x: ArrayLike) -> NDArray[np.float64]:
        """Distance (m,) of rows (m, d) to the nearest measured one, as a multiple of what is usual; outside above 1."""
        return self.at(x)[0] / self.limit

    def difficulty(self, distance: ArrayLike) -> NDArray[np.float64]:
        """Scale (m,) for a conformal interval that widens with the distance (m,): `1 + distance / limit`, at most 4."""
        far = np.minimum(np.asarray(distance, dtype=np.float64) / self.limit, 3.0)
        return np.asarray(1.0 + far, dtype=np.float64)

    def trust(self, x: ArrayLike) -> NDArray[np.float64]:
        """Weight (m,) of what was learned near rows (m, d): 1 among measured rows, falling to 0 beyond the limit.

        It is `exp(-½ max(reach - 1, 0)²)`.
        """
        found: NDArray[np.float64] = np.exp(-0.5 * np.maximum(self.reach(x) - 1, 0.0) ** 2)
        return found

    def outside(self, x: ArrayLike) -> NDArray[np.str_]:
        """What to say (m,) of rows (m, d): nothing where similar ones were measured, else how far the nearest is."""
        distance, index = self.at(x)
        return np.array(
            [
                f"nearest measured row: {self.names[at]}, {far / self.limit:.1f} times as far as usual"
                if far > self.limit
                else ""
                for far, at in zip(distance, index, strict=True)
            ],
            dtype=np.str_,
        )

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        arrays = {name: getattr(self, name).tolist() for name in ("mean", "spread", "rows")}
        return {**arrays, "names": list(self.names), "limit": self.limit}

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        try:
            mean, spread, rows = (np.array(body[name], dtype=np.float64) for name in ("mean", "spread", "rows"))
            return cls(mean, spread, rows, tuple(map(str, body["names"])), float(body["limit"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptError(f"These are no measured rows: {error!r}.", "fit again.") from error

    def _standard(self, x: ArrayLike) -> NDArray[np.float64]:
        rows = np.asarray(x, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(self.mean):
            raise BadInputError(
                f"Rows of shape {rows.shape} have not the {len(self.mean)} coordinates of those measured.",
                "give one row per question, with the same coordinates.",
            )
        return (rows - self.mean) / self.spread

    def _closest(self, asked: NDArray[np.float64], codes: NDArray[np.int64] | None) -> Found:
        """The closest row for each asked (m, d), not of its own code where `codes` (n,) of the rows are given."""
        index = np.zeros(len(asked), dtype=np.int64)
        norms = np.vecdot(self.rows, self.rows)
        step = max(_CELLS // len(self.rows), 1)
        for start in range(0, len(asked), step):
            part = slice(start, start + step)
            squared = norms - 2 * (asked[part] @ self.rows.T)  # but for the asked row's own norm
            if codes is not None:
                squared[codes[part, None] == codes] = np.inf
            index[part] = squared.argmin(axis=1)
        distance = np.linalg.norm(asked - self.rows[index], axis=1)
        if codes is not None:
            distance[codes[index] == codes] = np.inf
        return distance, index
