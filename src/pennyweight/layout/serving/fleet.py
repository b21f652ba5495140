"""Deployments that serve language models, many at once: what runs where, how it is spread, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pennyweight.cost.columns import Columns, columns_of
from pennyweight.errors import BadInputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pennyweight.catalog.accelerators import Accelerator
    from pennyweight.core.dims import Dims

    Floats = NDArray[np.float64]

ENGINES = ("vllm", "sglang", "trtllm")
CHUNK = 8192.0  # prompt tokens of a pass, as engines are shipped for devices of this size
# Bytes of a weight or of a key: blocks of 16 (nvfp4) or 32 (mxfp4) share a byte of scale, int4 groups of 32 two.
BYTE = {
    "fp32": 4.0,
    "fp16": 2.0,
    "bf16": 2.0,
    "fp8": 1.0,
    "fp8_block": 1.0,
    "int8": 1.0,
    "mxfp8": 1.03,
    "nvfp4": 0.5625,
    "mxfp4": 0.53125,
    "int4": 0.5625,
}


@dataclass(frozen=True, slots=True)
class Pool:
    """`workers` equal copies of a model, each on tp · pp · attention_dp devices; experts are spread over all of these.

    Attention is split `tp` ways and repeated for `attention_dp` groups of requests; `expert_parallel` devices hold
    whole experts, the others parts of them.
    """

    tp: int = 1
    pp: int = 1
    attention_dp: int = 1
    expert_parallel: int = 1
    workers: int = 1

    def __post_init__(self) -> None:
        for name in (each.name for each in fields(self)):
            if getattr(self, name) < 1:
                raise BadInputError(f"A pool of servers has {name} = {getattr(self, name)}.", "give one or more.")


@dataclass(frozen=True, slots=True)
class Serving:
    """One deployment and its load: `concurrency` users of which each asks again as soon as it was answered.

    `prefill` is a pool of its own where prefill and decode are disaggregated. Precisions are those of `BYTE`; `gemm`
    is that of attention and dense layers, `moe` that of experts. `drafts` tokens are guessed ahead per step of
    speculative decoding; a share `prefix_hit` of every prompt is found in the prefix cache. A pass takes `chunk` tokens
    of prompts at most, and `held` passes go by, on average, before an engine lets a prompt in: some look for new
    requests every so many passes, or wait until enough prompts have come. Prompts of up to `captured` tokens replay a
    recorded graph, so that the host launches little.
    """

    model: Dims
    accelerator: Accelerator
    engine: str = "vllm"
    gemm: str = "bf16"
    moe: str = ""
    kv: str = "bf16"
    decode: Pool = Pool()
    prefill: Pool | None = None
    concurrency: float = 1.0
    prompt: float = 1024.0
    output: float = 1024.0
    drafts: float = 0.0
    prefix_hit: float = 0.0
    chunk: float = CHUNK
    held: float = 0.0
    captured: float = 0.0

    def __post_init__(self) -> None:
        for precision in (self.gemm, self.moe or self.gemm, self.kv):
            if precision not in BYTE:
                raise UnknownNameError.of("precision", precision, BYTE)
        if self.engine not in ENGINES:
            raise UnknownNameError.of("engine", self.engine, ENGINES)
        if not (self.concurrency > 0 and self.prompt > 0 and self.output > 0):
            raise BadInputError(
                f"{self.concurrency:g} users of {self.prompt:g} tokens in and {self.output:g} out cannot be served.",
                "give numbers above zero.",
            )
        if not (0 <= self.prefix_hit < 1 and self.drafts >= 0):
            raise BadInputError(
                f"A prefix hit of {self.prefix_hit:g} with {self.drafts:g} drafts is impossible.",
                "give a share below one, and no fewer than zero drafts.",
            )
        if not (self.chunk >= 1 and min(self.held, self.captured) >= 0):
            raise BadInputError(
                f"Passes of {self.chunk:g} prompt tokens, recorded up to {self.captured:g}, of which {self.held:g} "
                "go by first, cannot be.",
                "give a chunk of one token or more, and the others of no fewer than zero.",
            )


@dataclass(frozen=True, slots=True)
class Fleet:
    """Deployments as arrays (n,): models, rates of one device in FLOP/s and bytes/s, bytes, degrees and load.

    `p_…` are degrees of the pool that prefills; where that is not `apart`, they repeat those of the pool that decodes.
    """

    model: Columns
    gemm_flop_s: Floats
    moe_flop_s: Floats
    core_flop_s: Floats
    hbm_byte_s: Floats
    memory_byte: Floats
    link_byte_s: Floats
    link_devices: Floats
    net_byte_s: Floats
    newer: Floats
    gemm_byte: Floats
    moe_byte: Floats
    kv_byte: Floats
    tp: Floats
    pp: Floats
    adp: Floats
    ep: Floats
    workers: Floats
    p_tp: Floats
    p_pp: Floats
    p_adp: Floats
    p_ep: Floats
    p_workers: Floats
    apart: Floats
    concurrency: Floats
    prompt: Floats
    output: Floats
    drafts: Floats
    prefix_hit: Floats
    chunk: Floats
    held: Floats
    captured: Floats
    engine: NDArray[np.str_]
    gemm: NDArray[np.str_]
    moe: NDArray[np.str_]
    system: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.tp)

    def take(self, chosen: NDArray[Any]) -> Self:
        """The deployments chosen by a mask or by positions."""
        return replace(self, **{each.name: _taken(getattr(self, each.name), chosen) for each in fields(self)})

    @property
    def batch(self) -> Floats:
        """Requests (n,) of one attention group, if all users are being decoded for."""
        return self.concurrency / (self.workers * self.adp)

    def prefilling(self) -> Self:
        """The same deployments with the pool that prefills in the place of that which decodes."""
        return replace(self, tp=self.p_tp, pp=self.p_pp, adp=self.p_adp, ep=self.p_ep, workers=self.p_workers)


def fleet_of(cases: Sequence[Serving]) -> Fleet:
    """Deployments as arrays, from single ones."""
    if not cases:
        raise BadInputError("There are no deployments.", "give one at least.")
    numbers = [_numbers(case) for case in cases]
    arrays = {name: np.array([each[name] for each in numbers], dtype=np.float64) for name in numbers[0]}
    return Fleet(
        model=columns_of([case.model for case in cases]),
        **arrays,
        engine=np.array([case.engine for case in cases]),
        gemm=np.array([case.gemm for case in cases]),
        moe=np.array([case.moe or case.gemm for case in cases]),
        system=np.array([case.accelerator.name for case in cases]),
    )


def _numbers(case: Serving) -> dict[str, float]:
    device, moe = case.accelerator, case.moe or case.gemm
    return {
        "gemm_flop_s": _flop_s(device, case.gemm),
        "moe_flop_s": _flop_s(device, moe),
        "core_flop_s": device.peak("bf16"),
        "hbm_byte_s": device.hbm_byte_s,
        "memory_byte": device.memory_byte,
        "link_byte_s": device.fast_byte_s,
        "link_devices": device.fast_devices,
        "net_byte_s": device.net_byte_s,
        "newer": float("fp4" in device.flop_s),
        "gemm_byte": BYTE[case.gemm],
        "moe_byte": BYTE[moe],
        "kv_byte": BYTE[case.kv],
        **_degrees("", case.decode),
        **_degrees("p_", case.prefill or case.decode),
        "apart": float(case.prefill is not None),
        "concurrency": case.concurrency,
        "prompt": case.prompt,
        "output": case.output,
        "drafts": case.drafts,
        "prefix_hit": case.prefix_hit,
        "chunk": case.chunk,
        "held": case.held,
        "captured": case.captured,
    }


def _degrees(prefix: str, pool: Pool) -> dict[str, float]:
    degrees = {"tp": pool.tp, "pp": pool.pp, "adp": pool.attention_dp, "ep": pool.expert_parallel}
    return {f"{prefix}{name}": value for name, value in {**degrees, "workers": pool.workers}.items()}


def _flop_s(device: Accelerator, precision: str) -> float:
    """Peak rate; where a device cannot multiply four bits, engines unpack these weights to bf16."""
    four = precision in {"nvfp4", "mxfp4"} and "fp4" not in device.flop_s
    return device.peak("bf16" if four else {"fp8_block": "fp8"}.get(precision, precision))


def _taken(values: Any, chosen: NDArray[Any]) -> Any:
    return values.take(chosen) if isinstance(values, Columns) else values[chosen]
