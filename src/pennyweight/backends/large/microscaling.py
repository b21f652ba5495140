"""MXFP4: groups of 32 weights that share a power of two, each weight one of 0, 0.5, 1, 1.5, 2, 3, 4, 6 and a sign.

With m the largest magnitude of a group, the scale is 2^(floor(log2 m) - 2), kept as its exponent plus 127 in a byte; a
weight over the scale is rounded to the nearest of these, to the even code if two are equally near, and at most to 6.
Source: OCP Microscaling Formats (MX) Specification 1.0, sections 5.3.3, 5.4.1 and 6.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np

from pennyweight.backends.large.rounding import SHIFTED, Rounder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.backends.large.rounding import Rounding

GROUP = 32
_LARGEST_EXPONENT = 2  # of the element 6 = 1.5 x 2^2
_VALUES = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


@final
class MicroRounder(Rounder):
    """Rounds to MXFP4."""

    def __init__(self, rounding: Rounding) -> None:
        super().__init__(rounding)
        self._signs = np.empty(self._tile, np.uint8)

    def _scaled(
        self,
        most: NDArray[np.float32],
        dtype: str,  # ruff: ignore[unused-method-argument] - a power of two goes with every type
        kept: NDArray[np.uint8],
    ) -> NDArray[np.float32]:
        exponent = (most.view(np.uint32) >> np.uint32(23)).astype(np.int32)
        kept[:] = np.maximum(exponent - _LARGEST_EXPONENT, 0)
        return ((np.uint32(254) - kept) << np.uint32(23)).astype(np.uint32).view(np.float32)

    def _coded(self, values: NDArray[np.float32], codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        spare, signs = self._bits[4][: len(values)], self._signs[: len(values)]
        np.right_shift(values.view(np.uint32), np.uint32(28), out=spare)
        np.copyto(signs, spare, casting="unsafe")
        signs &= np.uint8(8)
        np.abs(values, out=values)
        zero = np.float32(0)  # clip is three times as fast as minimum, which minds what is no number
        # codes 0 to 7 are the whole numbers of a line that bends at 2 and 4 and ends at 6
        line = np.clip(values, zero, np.float32(6), out=spare.view(np.float32))
        line += np.clip(values, zero, np.float32(4), out=values)
        line *= np.float32(0.5)
        line += np.clip(values, zero, np.float32(2), out=values)
        line += SHIFTED
        np.copyto(codes, spare, casting="unsafe")
        codes |= signs
        return codes


def restored_micro(codes: NDArray[np.uint8], scales: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The weights that codes and scales stand for."""
    scale = np.ldexp(np.float32(1), scales.astype(np.int32) - 127).astype(np.float32)
    return (_VALUES[codes].reshape(-1, GROUP) * scale[:, None]).reshape(-1)
