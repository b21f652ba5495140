"""Agreeing at every step with the weights in shards, a part of them on each worker: PyTorch's FSDP2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

from pennyweight.train.distributed.each import same_weights
from pennyweight.train.team import Team

if TYPE_CHECKING:
    from torch import Tensor, nn


@final
@dataclass(slots=True)
class Sharded(Team):
    """Fully sharded data parallel training (Zhao et al., 2023): weights, gradients and optimiser state in n parts.

    The optimiser must be made after `wrap`, of the parameters that are then in the model. Weights are gathered in the
    forward pass and gradients scattered in the backward pass: the bytes of synchronous training, a share of its memory.
    In the end they stay in shards; `whole` gathers them.
    """

    whole: ClassVar[bool] = False

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model itself, its parameters turned into shards, from the first worker's weights."""
        import torch.distributed as dist
        from torch.distributed.fsdp import fully_shard

        same_weights(model, self.wire)
        kind = next(model.parameters()).device.type
        mesh = dist.init_device_mesh(kind, (self.wire.size,))
        byte = sum(each.numel() * each.element_size() for each in model.parameters())
        fully_shard(model, mesh=mesh)
        model.register_forward_pre_hook(lambda *_: self._count(byte))
        model.register_full_backward_hook(lambda *_: self._count(byte))
        return model

    def _count(self, byte: int) -> Any:
        self.wire.sent_byte += (self.wire.size - 1) / self.wire.size * byte


def whole(model: nn.Module) -> dict[str, Tensor]:
    """The state of a sharded model with every tensor gathered, the same on all workers; all must call it."""
    state = model.state_dict()
    return {name: each.full_tensor() if hasattr(each, "full_tensor") else each for name, each in state.items()}
