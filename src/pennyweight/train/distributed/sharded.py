"""Agreeing at every step with the weights in shards, a part of them on each worker: PyTorch's FSDP2."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from itertools import starmap
from typing import TYPE_CHECKING, Any, ClassVar, final

from pennyweight.errors import BadInputError
from pennyweight.train.checkpoint import NAMES, decode, encode
from pennyweight.train.distributed.each import same_weights
from pennyweight.train.parts import is_part
from pennyweight.train.recomputing import blocks_of
from pennyweight.train.team import Team

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from pennyweight.train.wire import Wire


@final
@dataclass(slots=True)
class Sharded(Team):
    """Fully sharded data parallel training (Zhao et al., 2023): weights, gradients and optimiser state in n parts.

    The optimiser must be made after `wrap`, of the parameters that are then in the model. Weights are gathered in the
    forward pass, those of repeated blocks block by block and again in the backward pass, and gradients are scattered
    there. The model stays in shards; `shown` makes a whole one of it.
    """

    whole: ClassVar[bool] = False
    plain: nn.Module | None = field(default=None, init=False)  # the model without its weights

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model itself, its parameters turned into shards, from the first worker's weights."""
        import torch.distributed as dist
        from torch.distributed.fsdp import FSDPModule, fully_shard

        if any(not each.ndim for each in model.parameters()):
            raise BadInputError(
                "The model has a weight that is a single number, which cannot be sharded.",
                'give it the shape (1,), or use sync="each".',
            )
        same_weights(model, self.wire)
        self.plain = _weightless(model)
        kind = next(model.parameters()).device.type
        mesh = dist.init_device_mesh(kind, (self.wire.size,))
        for each in (*_apart(model), model):
            fully_shard(each, mesh=mesh)
        for each in model.modules():
            if isinstance(each, FSDPModule):
                each.set_custom_all_gather(_Gather(self.wire))
                each.set_custom_reduce_scatter(_Scatter(self.wire))
        return model

    def looks(self, *, wanted: bool) -> bool:
        """Whether any worker wants to look at the model: one byte."""
        return not self.wire.least(int(not wanted))

    def shown(self, model: nn.Module) -> nn.Module:
        """A whole model with the weights of the sharded `model`, on every worker; all must call it."""
        from torch import nn

        if self.plain is None:
            raise RuntimeError
        live = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        made: dict[int, Any] = {}
        for name, each in self.plain.named_parameters():
            made[id(each)] = nn.Parameter(self._whole(live[name]), each.requires_grad)
        for name, each in self.plain.named_buffers():
            made[id(each)] = live[name].detach().clone()
        return copy.deepcopy(self.plain, made)

    def norm(self, mine: Tensor) -> Tensor:
        """The root of the sum of the squares that all workers hold."""
        mean: Tensor = self.wire.mean(mine.double().square())
        return (self.wire.size * mean).sqrt().to(mine.dtype)

    def gathered(self, state: Any) -> Any:
        """The state with whole tensors on the first worker, and without what is sharded on all others."""
        import torch

        if isinstance(state, dict):
            return {name: self.gathered(each) for name, each in state.items()}
        if isinstance(state, list | tuple):
            return type(state)(self.gathered(each) for each in state)
        if not (isinstance(state, torch.Tensor) and is_part(state)):
            return state
        whole = self._whole(state)
        return whole if self.rank == 0 else whole.new_empty(0)

    def found(self, state: dict[str, Any] | None) -> dict[str, Any] | None:
        """The state that the first worker has found, with what this worker has kept of its own at the same step."""
        first = self._told(state)
        if state is None or first is None or self.rank == 0 or state["worker"] != (self.rank, self.size):
            return first
        if state["passes"]["step"] != first["passes"]["step"]:
            return first
        joined: dict[str, Any] = _joined(state, first)
        return joined

    def _told(self, state: dict[str, Any] | None) -> dict[str, Any] | None:
        """The `state` of the first worker, sent to all."""
        import torch

        files = encode(state) if self.rank == 0 else {}
        sizes = self.wire.of_first(torch.tensor([len(files.get(name, b"")) for name in NAMES]))
        for name, size in zip(NAMES, sizes.tolist(), strict=True):
            mine = torch.frombuffer(bytearray(files.get(name, bytes(size))), dtype=torch.uint8)
            files[name] = self.wire.of_first(mine).numpy().tobytes()
        told: dict[str, Any] | None = decode(files)
        return state if self.rank == 0 else told

    def _whole(self, part: Tensor) -> Tensor:
        """A sharded tensor, gathered."""
        if not is_part(part):
            return part.detach()
        most = math.ceil(part.shape[0] / self.size) * math.prod(part.shape[1:])
        self.wire.count_gather(most * part.element_size())
        whole: Tensor = part.detach().full_tensor()
        return whole


def whole(model: nn.Module) -> dict[str, Tensor]:
    """The state of a sharded model with every tensor gathered, the same on all workers; all must call it."""
    state = model.state_dict()
    return {name: each.full_tensor() if hasattr(each, "full_tensor") else each for name, each in state.items()}


@final
class _Gather:
    """FSDP's gathering of weights, counted on a wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def allocate(self, size: Sequence[int], *, dtype: Any, device: Any) -> Tensor:
        """Room for what will be gathered."""
        return _room(size, dtype, device)

    def __call__(self, output_tensor: Tensor, input_tensor: Tensor, group: Any, *, async_op: bool = False) -> Any:
        """Gather the part of every worker of the group."""
        import torch.distributed as dist

        self._wire.count_gather(input_tensor.numel() * input_tensor.element_size())
        gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor  # its name before torch 2.13
        return gather(output_tensor, input_tensor, group=group, async_op=async_op)


@final
class _Scatter:
    """FSDP's scattering of gradients, counted on a wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def allocate(self, size: Sequence[int], *, dtype: Any, device: Any) -> Tensor:
        """Room for what will be scattered."""
        return _room(size, dtype, device)

    def __call__(
        self, output_tensor: Tensor, input_tensor: Tensor, group: Any, op: Any, *, async_op: bool = False
    ) -> Any:
        """Add up all workers' gradients and keep the part of this one."""
        import torch.distributed as dist

        self._wire.count_gather(output_tensor.numel() * output_tensor.element_size())
        scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor  # as above
        return scatter(output_tensor, input_tensor, op=op, group=group, async_op=async_op)


def _room(size: Sequence[int], dtype: Any, device: Any) -> Tensor:
    import torch

    return torch.empty(*size, dtype=dtype, device=device)


def _weightless(model: nn.Module) -> nn.Module:
    """A copy of a model whose parameters have shapes and no numbers."""
    import torch
    from torch import nn

    bare: dict[int, Any] = {
        id(each): nn.Parameter(torch.empty_like(each, device="meta"), each.requires_grad) for each in model.parameters()
    }
    return copy.deepcopy(model, bare)


def _apart(model: nn.Module) -> list[nn.Module]:
    """The repeated blocks of a model, which are gathered one by one; none if one shares a weight with another part."""
    blocks = [each for each in blocks_of(model) if any(True for _ in each.parameters())]
    inside = [id(each) for block in blocks for each in block.parameters()]
    within = {id(each) for block in blocks for each in block.modules()}
    beside = {
        id(each) for module in model.modules() if id(module) not in within for each in module.parameters(recurse=False)
    }
    return blocks if len(set(inside)) == len(inside) and not beside & set(inside) else []


def _joined(own: Any, first: Any) -> Any:
    """A worker's own state, with the first one's tensors where it has kept none."""
    if isinstance(own, dict):
        return {name: _joined(each, first[name]) for name, each in own.items()}
    if isinstance(own, list | tuple):
        return type(own)(starmap(_joined, zip(own, first, strict=True)))
    return first if hasattr(own, "numel") and not own.numel() else own
