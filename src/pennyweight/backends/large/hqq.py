"""Scales that suit the weights themselves, without data: searched, then codes and scales take turns.

Source: the half-quadratic idea of Badri and Shaji 2023 (mobiusml.github.io/hqq_blog), for grids around zero as the
layout has them: only the scale is free, so the half with the zero point falls away, and what is made small is the
plain sum of squares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.backends.large.rounding import Rounder, as_float32, as_stored, bits_in, whole_codes

if TYPE_CHECKING:
    from numpy.typing import NDArray


@final
class SearchedRounder(Rounder):
    """Rounds to whole numbers by scales that are searched."""

    def _scaled(self, most: NDArray[np.float32], dtype: str, kept: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        from pennyweight.backends.large.grids import Grid

        groups = self._values[: len(most) * self.rounding.group].reshape(-1, self.rounding.group)
        found: NDArray[np.float32] = Grid.of(self.rounding, dtype).searched(torch.from_numpy(groups)).numpy()
        room: NDArray[Any] = bits_in(kept, dtype)
        room[:] = as_stored(found, dtype)
        as_float32(room, dtype, found)
        least = np.finfo(np.float32).tiny
        inverse: NDArray[np.float32] = np.zeros_like(found)
        return np.divide(np.float32(1), found, out=inverse, where=np.abs(found) >= least)

    def _coded(self, values: NDArray[np.float32], codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return whole_codes(values, codes, self.rounding.offset)
