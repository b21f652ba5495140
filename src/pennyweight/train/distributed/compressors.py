"""The codes: sixteen bits, a grid of few values, one bit, the largest or some random numbers, and zipped bytes."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

import numpy as np

from pennyweight.train.distributed.bits import pack_codes, pack_indices, unpack_codes, unpack_indices
from pennyweight.train.distributed.codec import Codec

if TYPE_CHECKING:
    from torch import Generator, Tensor

_BLOCK = 512  # numbers that share one scale
_SEED_BYTE = 8


@final
@dataclass(frozen=True, slots=True)
class Cast(Codec):
    """Every number in sixteen bits: `kind` is "float16" or "bfloat16"."""

    kind: str

    def pack(self, x: Tensor) -> Tensor:
        """Two bytes a number."""
        import torch

        kind = getattr(torch, self.kind)
        return x.clamp(torch.finfo(kind).min, torch.finfo(kind).max).to(kind).view(torch.uint8)

    def unpack(self, packed: Tensor, count: int) -> Tensor:
        """The numbers again; `count` of them."""
        import torch

        return packed.clone().view(getattr(torch, self.kind))[:count].float()


@final
@dataclass(frozen=True, slots=True)
class Grid(Codec):
    """Every number as one of 2**`bits` values, evenly spaced about zero, with one scale for each block of numbers.

    With four bits or more the scale is the largest magnitude; with two or one it is fitted to the mean magnitude, where
    the largest would waste most values. One bit is the sign (Seide et al., 2014; Karimireddy et al., 2019).
    """

    bits: int

    def pack(self, x: Tensor) -> Tensor:
        """A bfloat16 scale for each block, then the codes."""
        import torch

        blocks = _blocks(x)
        scales = self._scales(blocks, len(x)).bfloat16()
        steps = scales.float()[:, None].clamp(min=1e-30)
        levels = (blocks / steps + self._shift).round().clamp(0, 2**self.bits - 1)
        codes = levels.to(torch.uint8).reshape(-1)[: len(x)].numpy()
        return torch.cat((scales.view(torch.uint8), torch.from_numpy(pack_codes(codes, self.bits))))

    def unpack(self, packed: Tensor, count: int) -> Tensor:
        """The grid's values."""
        import torch

        blocks = -(-count // _BLOCK)
        scales = packed[: 2 * blocks].clone().view(torch.bfloat16).float()
        codes = unpack_codes(packed[2 * blocks :].numpy(), self.bits, count)
        x = torch.from_numpy(codes).float().sub_(self._shift)
        return x * scales.repeat_interleave(_BLOCK)[:count]

    @property
    def _shift(self) -> float:
        """The code of zero: a level of the grid where there are many, between the middle two where there are few."""
        half = 1 << (self.bits - 1)
        return half - 1 if self.bits > 2 else half - 0.5

    def _scales(self, blocks: Tensor, count: int) -> Tensor:
        """The distance between neighbouring values, for each block."""
        import torch

        if self.bits > 2:
            return blocks.abs().amax(1) / (2 ** (self.bits - 1) - 1)
        sizes = torch.full((len(blocks),), float(_BLOCK))
        sizes[-1] = count - _BLOCK * (len(blocks) - 1)
        # Of a normal distribution the best even steps are 0.9957 deviations (2 bits; Max, 1960), 2 mean magnitudes (1).
        per_mean = 0.9957 * (np.pi / 2) ** 0.5 if self.bits == 2 else 2.0
        return per_mean * blocks.abs().sum(1) / sizes


@final
@dataclass(frozen=True, slots=True)
class Largest(Codec):
    """The largest share of the numbers, in `values`, and where they stand; others are zero (Aji and Heafield, 2017)."""

    share: float
    values: Codec

    def pack(self, x: Tensor) -> Tensor:
        """The indices as Rice codes, then the values."""
        import torch

        where = x.abs().topk(_kept(len(x), self.share), sorted=False).indices.sort().values
        places = torch.from_numpy(pack_indices(where.numpy(), len(x)))
        return torch.cat((places, self.values.pack(x[where])))

    def unpack(self, packed: Tensor, count: int) -> Tensor:
        """Zeros with the values in their places."""
        import torch

        size = _kept(count, self.share)
        where, used = unpack_indices(packed.numpy(), count, size)
        x = torch.zeros(count)
        x[torch.from_numpy(where)] = self.values.unpack(packed[used:], size)
        return x


@final
@dataclass(frozen=True, slots=True)
class Drawn(Codec):
    """A random share of the numbers, in `values`; the seed says which (Stich, Cordonnier and Jaggi, 2018)."""

    share: float
    values: Codec
    seeds: Generator = field(compare=False)

    def pack(self, x: Tensor) -> Tensor:
        """The seed of the draw, then the values."""
        import torch

        seed = torch.randint(2**62, (1,), generator=self.seeds)
        return torch.cat((seed.view(torch.uint8), self.values.pack(x[self._where(int(seed), len(x))])))

    def unpack(self, packed: Tensor, count: int) -> Tensor:
        """Zeros with the values in their places."""
        import torch

        where = self._where(int(packed[:_SEED_BYTE].clone().view(torch.int64)), count)
        x = torch.zeros(count)
        x[where] = self.values.unpack(packed[_SEED_BYTE:], len(where))
        return x

    def _where(self, seed: int, count: int) -> Tensor:
        import torch

        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        return order[: _kept(count, self.share)]


@final
@dataclass(frozen=True, slots=True)
class Zipped(Codec):
    """The bytes of another code, deflated: worth it where some codes are much more frequent than others."""

    inner: Codec

    def pack(self, x: Tensor) -> Tensor:
        """What zlib makes of them."""
        import torch

        return torch.frombuffer(bytearray(zlib.compress(self.inner.pack(x).numpy().tobytes(), 6)), dtype=torch.uint8)

    def unpack(self, packed: Tensor, count: int) -> Tensor:
        """The other code's numbers."""
        import torch

        whole = bytearray(zlib.decompress(packed.numpy().tobytes()))
        return self.inner.unpack(torch.frombuffer(whole, dtype=torch.uint8), count)


def _blocks(x: Tensor) -> Tensor:
    """`x` (N,) with zeros after it, as (blocks, 512)."""
    from torch.nn.functional import pad

    return pad(x, (0, -len(x) % _BLOCK)).view(-1, _BLOCK)


def _kept(count: int, share: float) -> int:
    return min(count, max(1, round(share * count)))
