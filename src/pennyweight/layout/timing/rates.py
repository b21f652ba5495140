"""One accelerator in one precision with its links, as numbers that kernels and links are timed from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from pennyweight.catalog.reading import table_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pennyweight.catalog.accelerators import Accelerator

LINK_SHARE = 0.75  # of the published bandwidth that long NCCL collectives reach: median of fits on A100 to GB200
NET_SHARE = 0.85  # of a network card's rate: assumed; stacks have multipliers that are fitted on whole steps
_BYTES = {"fp32": 4.0, "tf32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "fp4": 0.5}
_TABLED = {"fp8": "fp8", "int8": "fp8", "fp4": "fp4"}  # else bf16


@dataclass(frozen=True, slots=True)
class Machine:
    """Achievable rates of one device and its links.

    `flop_s` of large products in the precision of the layers, and in bf16; `operand_byte` of one number there; pads as
    in `kernels.matmul_s`; `attention_flop_s` of long fused attention; `hbm_byte_s` of memory; `link_byte_s` of one
    device to others in its node and `net_byte_s` out of it, in one direction, with `link_s` and `net_s` to begin;
    `node` is how many devices the fast links join.
    """

    flop_s: float
    flop_s_bf16: float
    operand_byte: float
    pad_m: float
    pad_n: float
    pad_k: float
    launch_s: float
    attention_flop_s: float
    attention_pad: float
    head_pad: float
    hbm_byte_s: float
    link_byte_s: float
    link_s: float
    net_byte_s: float
    net_s: float
    node: float


@lru_cache(maxsize=1024)
def machine(device: Accelerator, precision: str = "bf16", net_byte_s: float | None = None) -> Machine:
    """The achievable rates of a device of the catalog: its kernels as fitted; of one never measured, the usual ones.

    `net_byte_s` is the network per device, as published, where it is not the catalog's.
    """
    units = device.units(precision)
    fitted = _fit("matmul.csv", device.name, _TABLED.get(units, "bf16"))
    plain = _fit("matmul.csv", device.name, "bf16")
    attention = _fit("attention.csv", device.name, "")
    sixteen = device.peak("bf16" if "bf16" in device.flop_s else "fp16")
    net = device.net_byte_s if net_byte_s is None else net_byte_s
    return Machine(
        flop_s=float(fitted["share"]) * device.flop_s[units],
        flop_s_bf16=float(plain["share"]) * sixteen,
        operand_byte=_BYTES[units],
        pad_m=float(fitted["pad_m"]),
        pad_n=float(fitted["pad_n"]),
        pad_k=float(fitted["pad_k"]),
        launch_s=float(fitted["launch_s"]),
        attention_flop_s=float(attention["share"]) * sixteen,
        attention_pad=float(attention["pad"]),
        head_pad=float(attention["head_pad"]),
        hbm_byte_s=min(float(plain["hbm_share"]), 0.9) * device.hbm_byte_s,
        link_byte_s=LINK_SHARE * device.fast_byte_s,
        link_s=device.fast_latency_s,
        net_byte_s=NET_SHARE * net,
        net_s=device.net_latency_s,
        node=float(device.fast_devices),
    )


def _fit(file: str, name: str, precision: str) -> Mapping[str, str]:
    """The row of a device, or of all others."""
    rows = [row for row in table_of(file) if row.get("precision", "") == precision]
    mine = [row for row in rows if row["accelerator"] == name]
    return (mine or [row for row in rows if row["accelerator"] == "*"])[0]
