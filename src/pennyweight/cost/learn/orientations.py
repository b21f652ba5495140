"""Images as a few hundred numbers, without training: how strongly edges of each direction run through a region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_CHUNK = 256  # images at a time, so that what is made in between stays in a core's cache
_LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class Orientations:
    """Histograms of oriented gradients: `directions` (even) of edges, summed in overlapping triangular windows.

    A window is `window` pixels wide, and the next begins `stride` pixels further. Rows are square roots of the sums,
    scaled to length one (Dalal and Triggs 2005, Histograms of Oriented Gradients; the square root is their L1-sqrt).
    Time grows with images × pixels × directions, memory with images × features.
    """

    directions: int = 8
    window: int = 10
    stride: int = 4

    @classmethod
    def suited(cls, side: int) -> Orientations:
        """For images of `side` pixels: windows of about a third of the image, five or six along each side."""
        return cls(window=max(2, round(side * 10 / 28)), stride=max(1, round(side / 7)))

    @property
    def angles(self) -> NDArray[np.float64]:
        """The directions of the first half, in radians; the others point the opposite way."""
        return np.pi * np.arange(self.directions // 2) / (self.directions // 2)

    @property
    def slope(self) -> Floats:
        """The share of each pixel in a window along one side, (window,)."""
        rise = np.minimum(np.arange(1, self.window + 1), np.arange(self.window, 0, -1)).astype(np.float32)
        slope: Floats = rise / rise.sum()
        return slope

    def width(self, height: int, width: int) -> int:
        """How many numbers an image of that size becomes."""
        return self.directions * len(self._starts(height)) * len(self._starts(width))

    def __call__(self, images: NDArray[Any]) -> Floats:
        """Turn images (N, H, W) or (N, C, H, W), whose channels are added, into rows (N, D) of length one.

        Raises `BadInputError` for what are no images, or images smaller than a window.
        """
        flat = _gray(images)
        down, across = self._pool(flat.shape[1]), self._pool(flat.shape[2])
        rows = np.empty((len(flat), self.directions, down.shape[1], across.shape[1]), np.float32)
        for at in range(0, len(flat), _CHUNK):
            self._fill(rows[at : at + _CHUNK], flat[at : at + _CHUNK], down, across)
        found = rows.reshape(len(flat), -1)
        np.sqrt(found, out=found)
        found /= np.sqrt(np.maximum(np.einsum("ij,ij->i", found, found), _LEAST))[:, None]
        return found

    def _fill(self, rows: Floats, images: NDArray[Any], down: Floats, across: Floats) -> None:
        rise_y, rise_x = _rises(images.astype(np.float32))
        half = self.directions // 2
        for which, angle in enumerate(self.angles):
            rise = np.float32(np.cos(angle)) * rise_x + np.float32(np.sin(angle)) * rise_y
            up = np.maximum(rise, 0)
            rows[:, which] = _pooled(up, down, across)
            rows[:, which + half] = _pooled(up - rise, down, across)

    def _pool(self, pixels: int) -> Floats:
        """The share of each pixel in each window along one side, (pixels, windows)."""
        starts = self._starts(pixels)
        if not len(starts) or self.directions < 2 or self.directions % 2:
            raise BadInputError(
                f"Images of {pixels} pixels cannot be summed in windows of {self.window} in {self.directions} "
                "directions.",
                "use a smaller window, and an even number of directions.",
            )
        pool = np.zeros((pixels, len(starts)), np.float32)
        for which, start in enumerate(starts):
            pool[start : start + self.window, which] = self.slope
        return pool

    def _starts(self, pixels: int) -> range:
        return range(0, pixels - self.window + 1, self.stride)


def _gray(images: NDArray[Any]) -> NDArray[Any]:
    if images.ndim == 4:
        return images[:, 0] if images.shape[1] == 1 else images.sum(axis=1, dtype=np.float32)
    if images.ndim != 3:
        raise BadInputError(
            f"Rows of shape {images.shape[1:]} are no images.", "give (N, H, W) or (N, channels, H, W)."
        )
    return images


def _rises(images: Floats) -> tuple[Floats, Floats]:
    """Central differences down and across, each of images smoothed by (1, 2, 1) both ways; the rim goes on outside."""
    wide = np.pad(images, ((0, 0), (2, 2), (2, 2)), mode="edge")
    tall = wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]
    smooth = tall[:, :, :-2] + 2 * tall[:, :, 1:-1] + tall[:, :, 2:]
    return smooth[:, 2:, 1:-1] - smooth[:, :-2, 1:-1], smooth[:, 1:-1, 2:] - smooth[:, 1:-1, :-2]


def _pooled(maps: Floats, down: Floats, across: Floats) -> Floats:
    """Maps (N, H, W) summed in windows, (N, h, w)."""
    along = (maps.reshape(-1, maps.shape[2]) @ across).reshape(*maps.shape[:2], -1)
    pooled: Floats = np.matmul(down.T, along)
    return pooled
