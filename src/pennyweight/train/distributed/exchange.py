"""The mean of a vector over all workers, in few bytes: what cannot be sent now is added to what comes next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, NamedTuple, final

if TYPE_CHECKING:
    from torch import Tensor

    from pennyweight.train.distributed.codec import Codec
    from pennyweight.train.wire import Wire

Shapes = tuple[tuple[int, ...], ...]


class Vector(NamedTuple):
    """What is to be averaged: `numbers` (N,), the parameters of these `shapes` one after another, if they are some."""

    numbers: Tensor
    shapes: Shapes = ()


class Met(NamedTuple):
    """The mean over all workers (N,), and the share of this worker as it was really told (N,)."""

    mean: Tensor
    mine: Tensor


class Exchange(ABC):
    """A way to take the mean; one object serves one vector, whose layout stays the same."""

    @abstractmethod
    def mean(self, vector: Vector, wire: Wire) -> Met:
        """The mean of `vector` over all workers, all of which call it."""


@final
class Plain(Exchange):
    """Float32 and the ring all-reduce: nothing is lost."""

    def mean(self, vector: Vector, wire: Wire) -> Met:
        """The exact mean."""
        return Met(wire.mean(vector.numbers.clone()), vector.numbers)


@final
@dataclass(frozen=True, slots=True)
class Short(Exchange):
    """The ring all-reduce in sixteen bits: `kind` is "float16" or "bfloat16"."""

    kind: str

    def mean(self, vector: Vector, wire: Wire) -> Met:
        """The mean of the rounded numbers; divided first, lest the sum overflows."""
        import torch

        low = (vector.numbers / wire.size).to(getattr(torch, self.kind))
        mine = low.float() * wire.size
        return Met(wire.mean(low).float() * wire.size, mine)


@final
@dataclass(slots=True)
class Packed(Exchange):
    """Packed bytes, which cannot be added up on the way.

    Two workers tell each other everything. More of them divide the vector: each collects one part from all, and tells
    all the mean of it, packed again; what that loses, it keeps for the next time (Tang et al., 2019, DoubleSqueeze).
    So a worker sends 2(n - 1)/n of the packed vector, as in a ring, and not (n - 1) times it.
    """

    codec: Codec
    kept: Tensor | None = field(default=None, init=False)

    def mean(self, vector: Vector, wire: Wire) -> Met:
        """The mean of what the codes can tell."""
        import torch

        x = vector.numbers
        if wire.size <= 2 or len(x) < wire.size:
            told = [self.codec.unpack(part, len(x)) for part in wire.gather(self.codec.pack(x))]
            return Met(torch.stack(told).mean(0), told[wire.rank])
        parts = x.tensor_split(wire.size)
        packed = [self.codec.pack(part) for part in parts]
        mine = torch.cat([self.codec.unpack(one, len(part)) for one, part in zip(packed, parts, strict=True)])
        own = len(parts[wire.rank])
        mean = torch.stack([self.codec.unpack(part, own) for part in wire.trade(packed)]).mean(0)
        if self.kept is not None:
            mean += self.kept
        answer = self.codec.pack(mean)
        self.kept = _sound(mean - self.codec.unpack(answer, own))
        answers = zip(wire.gather(answer), parts, strict=True)
        return Met(torch.cat([self.codec.unpack(one, len(part)) for one, part in answers]), mine)


@final
@dataclass(slots=True)
class LowRank(Exchange):
    """PowerSGD (Vogels, Karimireddy and Jaggi, 2019): of each matrix, `rank` columns and rows, the rest as it is.

    A parameter of more than two dimensions is a matrix of its first by all others; one that would not get smaller is
    sent whole. Columns and rows, and what is sent whole, go through `inner` exchanges of their own. The rows begin at
    those of the last time, the same for all workers.
    """

    rank: int
    inner: tuple[Exchange, Exchange, Exchange]
    rows: list[Tensor] = field(default_factory=list, init=False)

    def mean(self, vector: Vector, wire: Wire) -> Met:
        """One step of power iteration on the mean matrix."""
        import torch

        shapes = vector.shapes
        parts = vector.numbers.split([prod(shape) for shape in shapes])
        low = [self._smaller(shape) for shape in shapes]
        matrices = [part.view(shape[0], -1) for part, shape, yes in zip(parts, shapes, low, strict=True) if yes]
        whole = [part for part, yes in zip(parts, low, strict=True) if not yes]
        if not self.rows or not all(bool(each.isfinite().all()) for each in self.rows):
            seeded = torch.Generator().manual_seed(0)
            self.rows = [torch.randn(m.shape[1], self.rank, generator=seeded) for m in matrices]
        columns = _met([m @ q for m, q in zip(matrices, self.rows, strict=True)], self.inner[0], wire)[0]
        columns = [torch.linalg.qr(p)[0] for p in columns]
        self.rows, told = _met([m.T @ p for m, p in zip(matrices, columns, strict=True)], self.inner[1], wire)
        rest, rest_told = _met(whole, self.inner[2], wire)
        means = _merged(low, [p @ q.T for p, q in zip(columns, self.rows, strict=True)], rest)
        mine = _merged(low, [p @ q.T for p, q in zip(columns, told, strict=True)], rest_told)
        return Met(means, mine)

    def _smaller(self, shape: tuple[int, ...]) -> bool:
        if len(shape) < 2:
            return False
        wide = prod(shape[1:])
        return self.rank <= min(shape[0], wide) and (shape[0] + wide) * self.rank < shape[0] * wide


@final
@dataclass(slots=True)
class Feedback:
    """Error feedback around an exchange: what was not told is added to the next vector (Karimireddy et al., 2019).

    A gradient that overflows overflows for all workers, once: it is not kept.
    """

    exchange: Exchange
    error: Tensor | None = field(default=None, init=False)

    def mean(self, vector: Vector, wire: Wire) -> Tensor:
        """The mean (N,) over all workers of `vector` and of what earlier calls left untold, made on the CPU."""
        x = vector.numbers.cpu().float()
        x = x if self.error is None else x + self.error
        met = self.exchange.mean(Vector(x, vector.shapes), wire)
        self.error = _sound(x - met.mine)
        return met.mean.to(vector.numbers)


def _sound(error: Tensor) -> Tensor | None:
    """The error to keep; none where a number is not finite."""
    return error if bool(error.isfinite().all()) else None


def _met(parts: list[Tensor], exchange: Exchange, wire: Wire) -> tuple[list[Tensor], list[Tensor]]:
    """The means of several tensors at once, and this worker's shares as told."""
    import torch

    if not parts:
        return [], []
    met = exchange.mean(Vector(torch.cat([part.reshape(-1) for part in parts])), wire)
    return _split(met.mean, parts), _split(met.mine, parts)


def _split(x: Tensor, like: list[Tensor]) -> list[Tensor]:
    return [one.view(part.shape) for one, part in zip(x.split([p.numel() for p in like]), like, strict=True)]


def _merged(low: list[bool], matrices: list[Tensor], whole: list[Tensor]) -> Tensor:
    """Matrices and whole parts in the order of the parameters, as one vector."""
    import torch

    ones, others = iter(matrices), iter(whole)
    return torch.cat([next(ones if yes else others).reshape(-1) for yes in low])
