"""Agreeing at every step: gradients averaged in the backward pass, by DDP or, with the weights in shards, FSDP2."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, final

from pennyweight.train.distributed.exchange import Feedback, Vector
from pennyweight.train.distributed.naming import exchange
from pennyweight.train.team import Team

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pennyweight.train.distributed.wire import Wire

_BUCKET_MB = 25
_DIGEST_BYTE = 8


@final
@dataclass(slots=True)
class Each(Team):
    """Synchronous data parallel training: every step is that of one worker with all their rows.

    `compress` names the compressor of the gradients. Running statistics (batch norm) stay each worker's own.
    """

    wire: Wire
    compress: str = ""
    hook: Hook = field(init=False)

    def __post_init__(self) -> None:
        self.hook = Hook(self.wire, self.compress)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model in PyTorch's DDP, from the first worker's weights."""
        from torch.nn.parallel import DistributedDataParallel

        same_weights(model, self.wire)
        # Weights are sent above, where they are counted.
        wrapped = DistributedDataParallel(
            model, init_sync=False, broadcast_buffers=False, bucket_cap_mb=_BUCKET_MB, gradient_as_bucket_view=True
        )
        # DDP reads the annotations of a hook and wants its own types there, or none.
        wrapped.register_comm_hook(self.hook, lambda state, bucket: state.answer(bucket))
        return wrapped

    def share(self, order: Tensor) -> Tensor:
        """Every n-th row, so that the batches of all workers together are those of one that works alone."""
        return share_of(order, self.wire)

    def after_step(self, model: nn.Module, step: int) -> None:
        """Nothing: the backward pass has agreed."""

    def finish(self, model: nn.Module) -> None:
        """Nothing: the weights are the same after every step."""

    def agree(self, *, going: bool) -> bool:
        """Whether all go on, asked at every step."""
        return bool(self.wire.least(int(going)))

    def mean(self, value: float) -> float:
        """The mean over all workers, in double precision."""
        return mean_of(value, self.wire)

    @property
    def rank(self) -> int:  # type: ignore[override]
        """Which worker this is."""
        return self.wire.rank

    @property
    def size(self) -> int:  # type: ignore[override]
        """How many workers there are."""
        return self.wire.size

    @property
    def wire_byte(self) -> float:
        """Bytes handed to collectives."""
        return self.wire.sent_byte


@final
@dataclass(slots=True)
class Hook:
    """A DDP communication hook: the mean gradient of a bucket, compressed with error feedback.

    DDP may arrange its buckets anew after the first step; a bucket of other parameters starts with no error.
    """

    wire: Wire
    compress: str
    met: dict[tuple[int, ...], Feedback] = field(default_factory=dict, init=False)

    def answer(self, bucket: Any) -> Any:
        """The future of the bucket's mean gradient."""
        from torch.futures import Future

        done: Any = Future()
        done.set_result(self.mean(bucket.buffer(), bucket.parameters()))
        return done

    def mean(self, gradient: Tensor, parameters: list[Tensor]) -> Tensor:
        """The mean over all workers of a `gradient` (N,) that lies in the bucket of these `parameters`."""
        if not self.compress:
            return self.wire.mean(gradient)
        key = tuple(id(each) for each in parameters)
        if key not in self.met:
            self.met[key] = Feedback(exchange(self.compress))
        shapes = tuple(tuple(each.shape) for each in parameters)
        return self.met[key].mean(Vector(gradient, shapes), self.wire)


def same_weights(model: nn.Module, wire: Wire) -> None:
    """Give all workers the weights and the buffers of the first, unless they have them, as eight bytes of hash tell."""
    import torch

    state = tuple(model.state_dict().values())
    digest = sha256(b"".join(each.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() for each in state))
    mine = torch.frombuffer(bytearray(digest.digest()[:_DIGEST_BYTE]), dtype=torch.uint8)
    if all(torch.equal(each, mine) for each in wire.gather(mine)):
        return
    with torch.no_grad():
        for each in state:
            wire.of_first(each)


def share_of(order: Tensor, wire: Wire) -> Tensor:
    """Every n-th row of `order` (N,) from the rank on; rows that would make the shares uneven are left out."""
    whole = len(order) - len(order) % wire.size
    return order[:whole][wire.rank :: wire.size]


def mean_of(value: float, wire: Wire) -> float:
    """The mean over all workers of a number."""
    import torch

    return float(wire.mean(torch.tensor(value, dtype=torch.float64)))
