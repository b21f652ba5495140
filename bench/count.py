"""Our FLOP against PyTorch's own counter on twenty architectures: equal, or different by what a formula explains.

PyTorch's counter watches the operators that run. On a CPU it does not see the products inside the fused attention
kernel, nor those inside oneDNN's recurrent kernel. Each such gap is derived by hand below and must be met exactly. As a
second check both kernels are switched off, and the counter then has to agree without any explanation.
"""

from __future__ import annotations

import argparse
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.backends import mkldnn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.architectures import ARCHITECTURES, Architecture
from bench.report import emit, table
from pennyweight.core import DataSpec, Form, Op, Spec
from pennyweight.cost.count import count, flop, params
from pennyweight.cost.table_module import table_of_module

if TYPE_CHECKING:
    from collections.abc import Generator

WIDTHS = (16, 32, 48)


def attention(width: int, *pairs: tuple[int, int]) -> int:
    """Scores and mixing: ``2 · (2 · T · S · width)`` for every layer of T queries and S keys, whatever the heads."""
    return sum(4 * queries * keys * width for queries, keys in pairs)


def recurrent_lstm(width: int, steps: int, *n_ins: int) -> int:
    """Four gates, each fed by the input and the state: ``2 · 4 · width · (n_in + width)`` per step and direction."""
    return sum(2 * steps * 4 * width * (n_in + width) for n_in in n_ins)


UNSEEN = {
    "gpt": lambda w: attention(w, *[(48, 48)] * 4),
    "bert": lambda w: attention(w, *[(40, 40)] * 3),
    "vit": lambda w: attention(w, *[(65, 65)] * 3),
    "llama_gqa": lambda w: attention(w, *[(48, 48)] * 3),
    "moe": lambda w: attention(w, *[(48, 48)] * 2),
    "cross_attention": lambda w: attention(w, *[(12, 12), (12, 20)] * 2),
    "lstm": lambda w: recurrent_lstm(w, 25, *[12] * 2, *[2 * w] * 2),
}
WHY = dict.fromkeys(UNSEEN, "fused attention") | {"lstm": "fused recurrence"}


@dataclass(frozen=True)
class Result:
    """One architecture at one width: what each counted, and the CPU time our table took."""

    name: str
    ours: float
    torch_default: int
    torch_unfused: int
    explained: int
    params: float
    params_held: int
    rows: int
    table_cpu_s: float

    @property
    def unexplained(self) -> float:
        """The larger of the two relative differences that remain."""
        gap = abs(self.ours - self.torch_default - self.explained)
        return max(gap, abs(self.ours - self.torch_unfused)) / self.ours


def measure(architecture: Architecture, width: int) -> Result:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's advice on nested tensors
        model = architecture.make(width).eval()
    start_s = time.process_time()
    ops = table_of_module(model, architecture.shape, dtype=architecture.dtype)
    table_cpu_s = time.process_time() - start_s
    x = torch.zeros((1, *architecture.shape), dtype=getattr(torch, architecture.dtype))
    seen = watched(model, x)
    with unfused():
        bare = watched(model, x)
    explained = UNSEEN.get(architecture.name, lambda _: 0)(width)
    held = [each.numel() for each in model.parameters()] + [
        each.numel() for each in model.buffers() if each.is_floating_point()
    ]
    total = sum(map(flop, ops))
    return Result(architecture.name, total, seen, bare, explained, params(spec(ops)), sum(held), len(ops), table_cpu_s)


def watched(model: nn.Module, x: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        model(x)
    return int(counter.get_total_flops())


@contextmanager
def unfused() -> Generator[None]:
    """Let attention and recurrence run as products that the counter sees."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # leaving oneDNN touches a setting that only GPUs have
        with sdpa_kernel(SDPBackend.MATH), mkldnn.flags(enabled=False):
            yield


def spec(ops: tuple[Op, ...]) -> Spec:
    return Spec(Form.MODULE, ops, DataSpec(1, 1))


def count_us(ops: tuple[Op, ...], repeats: int = 2000) -> float:
    """CPU microseconds that one `count` takes per row."""
    whole = spec(ops)
    start_s = time.process_time()
    for _ in range(repeats):
        count(whole)
    return (time.process_time() - start_s) / repeats / len(ops) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one width instead of three")
    widths = WIDTHS[:1] if parser.parse_args().quick else WIDTHS
    torch.set_num_threads(1)
    results = [measure(architecture, width) for width in widths for architecture in ARCHITECTURES]
    table(
        (
            "architecture",
            "ours (FLOP)",
            "torch's counter",
            "unseen there",
            "because",
            "unexplained",
            "parameters",
            "rows",
        ),
        [
            (r.name, r.ours, r.torch_default, r.explained, WHY.get(r.name, ""), r.unexplained, r.params, r.rows)
            for r in results[: len(ARCHITECTURES)]
        ],
    )
    print(f"\nat width {widths[0]}; widths measured: {', '.join(map(str, widths))}")
    resnet = next(each for each in ARCHITECTURES if each.name == "resnet")
    figures = {
        "worst_unexplained_error": max(r.unexplained for r in results),
        "architectures": len(ARCHITECTURES),
        "exact": sum(r.explained == 0 and r.unexplained == 0 for r in results[: len(ARCHITECTURES)]),
        "explained": sum(r.explained > 0 and r.unexplained == 0 for r in results[: len(ARCHITECTURES)]),
        "worst_parameter_error": max(abs(r.params - r.params_held) / r.params_held for r in results),
        "median_table_cpu_s": median(r.table_cpu_s for r in results),
        "count_us_per_row": count_us(table_of_module(resnet.make(16), resnet.shape)),
    }
    emit("count", figures, runs=len(widths))


if __name__ == "__main__":
    main()
