"""Agreeing at every step: gradients averaged in the backward pass, by DDP or, with the weights in shards, FSDP2."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from hashlib import sha256
from math import prod
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, final

from pennyweight.train.distributed.exchange import Feedback, Vector
from pennyweight.train.distributed.naming import exchange
from pennyweight.train.distributed.residue import give_back, residue
from pennyweight.train.team import Team

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pennyweight.train.wire import Wire

_BUCKET_MB = 25
_DIGEST_BYTE = 8


@final
@dataclass(slots=True)
class Each(Team):
    """Synchronous data parallel training: every step is that of one worker with all their rows.

    `compress` names the compressor of the gradients. Running statistics (batch norm) stay each worker's own.
    """

    compress: str = ""
    feedback: Feedback = field(init=False)

    def __post_init__(self) -> None:
        self.feedback = Feedback(exchange(self.compress))

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model in PyTorch's DDP, from the first worker's weights."""
        from torch.nn.parallel import DistributedDataParallel

        same_weights(model, self.wire)
        # Weights are sent above, where they are counted. What is to replace `broadcast_buffers` cannot do this yet.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            wrapped = DistributedDataParallel(
                model, init_sync=False, broadcast_buffers=False, bucket_cap_mb=_BUCKET_MB, gradient_as_bucket_view=True
            )
        places = {id(each): place for place, each in enumerate(model.parameters())}
        hook = Hook(self.wire, self.feedback if self.compress else None, places)
        # DDP reads the annotations of a hook and wants its own types there, or none.
        wrapped.register_comm_hook(hook, lambda state, bucket: state.answer(bucket))
        return wrapped

    def state(self) -> dict[str, Any]:
        """What the compressor has not told yet."""
        return {"own": residue(self.feedback)} if self.compress else {}

    def restore(self, state: dict[str, Any], model: nn.Module) -> None:
        """Tell it later."""
        del model
        if "own" in state:
            give_back(self.feedback, state["own"])


class Portion(NamedTuple):
    """A bucket of gradients (N,) that waits for the others: its parameters' places in the model, their shapes."""

    gradient: Tensor
    places: list[int]
    shapes: list[tuple[int, ...]]
    done: Any


@final
@dataclass(slots=True)
class Hook:
    """A DDP communication hook: mean gradients, compressed with error feedback if a `feedback` is given.

    DDP arranges its buckets anew after the first step of every visit to a training. So what is compressed waits for the
    last bucket and is one vector, in the order of the model's parameters (`places`, by their identity).
    """

    wire: Wire
    feedback: Feedback | None
    places: dict[int, int]
    waiting: list[Portion] = field(default_factory=list, init=False)

    def answer(self, bucket: Any) -> Any:
        """The future of the bucket's mean gradient."""
        from torch.futures import Future

        done: Any = Future()
        if self.feedback is None:
            done.set_result(self.wire.mean(bucket.buffer()))
            return done
        parameters = bucket.parameters()
        places, shapes = [self.places[id(each)] for each in parameters], [tuple(each.shape) for each in parameters]
        self.waiting.append(Portion(bucket.buffer(), places, shapes, done))
        if bucket.is_last():
            self._settle(self.feedback)
        return done

    def _settle(self, feedback: Feedback) -> None:
        """Take the mean of all buckets at once, and give each its part."""
        import torch

        parts = [
            each
            for one in self.waiting
            for each in zip(one.places, one.shapes, one.gradient.split(list(map(prod, one.shapes))), strict=True)
        ]
        parts.sort(key=itemgetter(0))
        shapes = tuple(shape for _, shape, _ in parts)
        mean = feedback.mean(Vector(torch.cat([part for _, _, part in parts]), shapes), self.wire)
        means = dict(zip((place for place, _, _ in parts), mean.split(list(map(prod, shapes))), strict=True))
        for one in self.waiting:
            one.done.set_result(torch.cat([means[place] for place in one.places]))
        self.waiting.clear()


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
