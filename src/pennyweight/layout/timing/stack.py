"""What a software stack makes of kernels: the few coefficients of a step that are fitted on measured ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Stack:
    """Multipliers of parts of a step (1: as the kernels alone), and times of the stack's own.

    `stream` and `inner` are how many numbers per token and hidden (feed-forward) channel one forward pass of a layer
    reads and writes outside matrix products, `permute` those per token sent to an expert, `scores` those per pair of
    tokens and head where attention is not fused (0: fused); `host_s` is what launching one pass of one layer takes,
    `expert_host_s` what routing adds to it; `fixed_s` is spent once a step; `overlap` is the share of data-parallel and
    of experts' traffic that can hide behind the passes. `grouped` is how much longer the products of all experts of a
    device together take than as many plain ones: the median over precisions of kernels of vLLM 0.24 measured on H100
    and B200, at 512 tokens per expert and more (0.9 for nvfp4 on B200 to 3.7 for fp8 on H100). The other defaults are
    those of today's Megatron and FSDP, chosen so that published steps (NeMo, dense and with experts, H100 to GB300;
    MPT, A100 and H100) are off by little on average.
    """

    matmul: float = 1.08
    grouped: float = 1.5
    attention: float = 1.0
    stream: float = 16.0
    inner: float = 7.0
    scores: float = 0.0
    logits: float = 0.8
    tensor: float = 0.5
    context: float = 0.3
    experts: float = 0.8
    permute: float = 8.0
    host_s: float = 3.0e-4
    expert_host_s: float = 1.5e-3
    bubble: float = 1.0
    send: float = 0.3
    data: float = 2.0
    overlap: float = 0.9
    optimizer: float = 1.0
    fixed_s: float = 0.005

    def to_dict(self) -> dict[str, float]:
        """A JSON-compatible copy."""
        return asdict(self)

    def changed(self, values: Mapping[str, float]) -> Self:
        """The same with other values for some coefficients."""
        return replace(self, **values)


STACK = Stack()
