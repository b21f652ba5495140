"""What the arithmetic needs on any device: operations and bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Count:
    """Device-independent work.

    One multiply-add is 2 `flop` (matrix products and convolutions only, the convention of
    `torch.utils.flop_counter`); pointwise work shows up as the bytes it moves. `hbm_byte` is traffic to main memory,
    `net_byte` traffic between machines, `disk_byte` what is stored.
    """

    flop: float = 0.0
    hbm_byte: float = 0.0
    net_byte: float = 0.0
    disk_byte: float = 0.0

    def __add__(self, other: Count) -> Count:
        return Count(
            self.flop + other.flop,
            self.hbm_byte + other.hbm_byte,
            self.net_byte + other.net_byte,
            self.disk_byte + other.disk_byte,
        )

    def __mul__(self, times: float) -> Count:
        return Count(self.flop * times, self.hbm_byte * times, self.net_byte * times, self.disk_byte * times)

    __rmul__ = __mul__
