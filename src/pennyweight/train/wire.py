"""The wire between workers: the collectives that training needs, each counting the bytes that this worker sends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


@final
@dataclass(slots=True)
class Wire:
    """The `rank`-th of `size` workers on the default process group, which must be open; one that is alone needs none.

    `sent_byte` is what this worker has handed to collectives for others: of B bytes, a ring all-reduce sends
    2(n - 1)/n · B (Patarasuk and Yuan, 2009), a scatter or a gather of a part to each other worker that part. Headers
    of the transport are not in it. `messages` is how many times, one after the other, this worker has sent to another.
    """

    rank: int = 0
    size: int = 1
    sent_byte: float = field(default=0.0, init=False)
    messages: int = field(default=0, init=False)

    def mean(self, x: Tensor) -> Tensor:
        """The mean over all workers of `x` (any shape), in place; adds up in the precision of `x`."""
        import torch.distributed as dist

        if self.size == 1:
            return x
        dist.all_reduce(x)
        self.count_reduce(x.numel() * x.element_size())
        return x.div_(self.size)

    def least(self, number: int) -> int:
        """The smallest over all workers of `number`, 0 to 255: one byte."""
        import torch
        import torch.distributed as dist

        if self.size == 1:
            return number
        x = torch.tensor([number], dtype=torch.uint8)
        dist.all_reduce(x, op=dist.ReduceOp.MIN)
        self.count_reduce(1)
        return int(x)

    def of_first(self, x: Tensor) -> Tensor:
        """`x` of the first worker, in place."""
        import torch.distributed as dist

        if self.size == 1:
            return x
        dist.broadcast(x, src=0)
        if self.rank == 0:
            self.messages += self.size - 1
            self.sent_byte += (self.size - 1) * x.numel() * x.element_size()
        return x

    def trade(self, parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Send the i-th of `parts` (bytes, uint8, of any length) to worker i; what each worker sent here."""
        import torch
        import torch.distributed as dist

        if self.size == 1:
            return tuple(parts)
        lengths = torch.tensor([len(part) for part in parts], dtype=torch.int32)
        theirs = torch.empty_like(lengths)
        dist.all_to_all_single(theirs, lengths)
        come = theirs.tolist()
        got = torch.empty(sum(come), dtype=torch.uint8)
        dist.all_to_all_single(got, torch.cat(tuple(parts)), come, lengths.tolist())
        others = sum(len(part) for i, part in enumerate(parts) if i != self.rank)
        self.sent_byte += others + 4 * (self.size - 1)
        self.messages += 2 * (self.size - 1)
        return tuple(got.split(come))

    def gather(self, part: Tensor) -> tuple[Tensor, ...]:
        """The `part` (bytes, uint8, of any length) of every worker, in order."""
        return self.trade([part] * self.size)

    def count_reduce(self, byte: float) -> None:
        """Count an all-reduce of `byte` bytes that another library has done."""
        self.sent_byte += 2 * (self.size - 1) / self.size * byte
        self.messages += 2 * (self.size - 1)

    def count_gather(self, byte: float) -> None:
        """Count a ring in which `byte` bytes of every worker come to all, or are added up, by another library."""
        self.sent_byte += (self.size - 1) * byte
        self.messages += self.size - 1
