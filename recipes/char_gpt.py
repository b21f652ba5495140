"""A character GPT (6 layers, 6 heads, width 384, about 10.8 million parameters) on any text file.

Without `--data` it reads the source of Python's own standard library. The text is cut into windows of 256 characters;
the last tenth is the certify split, the tenth before it the select split, so that no window of one is followed by a
window of another except at two places. The floor: at most 1% worse perplexity, 95% sure.

On the 1.1 MB of tinyshakespeare its two epochs took about 20 CPU minutes on two cores (AMD EPYC, Zen 5) and reached a
perplexity of 6.3 on the last tenth of the text: far from what hours of training reach (4.4), enough to compare with.
"""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # ruff: ignore[lowercase-imported-as-non-lowercase] - the name everybody knows it by

from pennyweight.core import Demand, Floor, Job, Slack, TrainSpec
from pennyweight.data.splits import Arrays, Splits
from pennyweight.errors import BadInputError
from pennyweight.jobs import torch_job
from pennyweight.train.apart import places, sees

if TYPE_CHECKING:
    from collections.abc import Callable

CONTEXT = 256
DEFAULT_CHARACTERS = 1_200_000
LEAST = 320 * CONTEXT  # a tenth of it must hold enough windows to certify anything
TRAINING = TrainSpec(
    epochs=2,
    batch=16,
    optimizer="muon",
    lr=4e-3,
    weight_decay=0.1,
    schedule="onecycle",
    precision="bfloat16",
)


@dataclass(frozen=True)
class Shape:
    """The size of the network."""

    vocabulary: int
    layers: int = 6
    heads: int = 6
    width: int = 384
    context: int = CONTEXT


Past = tuple[torch.Tensor, ...]
Grown = tuple[torch.Tensor, Past]


class Attention(nn.Module):
    """Causal self-attention; tensors are (B, T, C) or, by head, (B, H, T, D)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.proj = nn.Linear(shape.width, shape.width, bias=False)

    def forward(self, x_BTC: torch.Tensor, past: Past = (), sees_TK: torch.Tensor | None = None) -> Grown:
        """Attend to the keys and values in `past` (B, H, P, D), if any, and to `x_BTC`; return the longer past as well.

        Each of the T attends to those of the K = P + T that `sees_TK` allows; without it, one attends to all, and more
        than one are the first of their text.
        """
        b, t, c = x_BTC.shape
        q, k, v = self.qkv(x_BTC).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        if past:
            k, v = torch.cat((past[0], k), dim=2), torch.cat((past[1], v), dim=2)
        causal = sees_TK is None and t > 1
        y_BHTD = F.scaled_dot_product_attention(q, k, v, attn_mask=sees_TK, is_causal=causal)
        return self.proj(y_BHTD.transpose(1, 2).reshape(b, t, c)), (k, v)


class Block(nn.Module):
    """Attention and a feed-forward network of four times the width, each on its own normalised copy of the stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(shape.width)
        self.attention = Attention(shape)
        self.ln2 = nn.LayerNorm(shape.width)
        self.up = nn.Linear(shape.width, 4 * shape.width, bias=False)
        self.down = nn.Linear(4 * shape.width, shape.width, bias=False)

    def forward(self, x_BTC: torch.Tensor, past: Past = (), sees_TK: torch.Tensor | None = None) -> Grown:
        """Add both to the stream."""
        y, past = self.attention(self.ln1(x_BTC), past, sees_TK)
        x_BTC = x_BTC + y  # ruff: ignore[non-augmented-assignment] - in place it would change what backward needs
        return x_BTC + self.down(F.gelu(self.up(self.ln2(x_BTC)), approximate="tanh")), past


class CharGPT(nn.Module):
    """Tokens in, next-token logits out; `cached` is the same with a past, for generating."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.positions = nn.Embedding(shape.context, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.ln = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, shape.vocabulary, bias=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                deep = name.endswith(("proj.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * shape.layers) ** 0.5 if deep else 0.02)

    def forward(self, x_BT: torch.Tensor, texts: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (B, T, V) of the character after each of `x_BT`, within its own of the `texts` that share a row."""
        at = slice(x_BT.shape[1]) if texts is None else places(texts)
        mask = None if texts is None else sees(texts)
        x_BTC = self.tokens(x_BT) + self.positions.weight[at]
        for block in self.blocks:
            x_BTC, _ = block(x_BTC, (), mask)
        return self.head(self.ln(x_BTC))

    def cached(self, x_BT: torch.Tensor, past: Past) -> Grown:
        """The same for `x_BT` after P ≥ 0 characters, whose keys and values, layer by layer, are `past` (B, H, P, D).

        Returns the logits (B, T, V) and the longer past.
        """
        t, p = x_BT.shape[1], past[0].shape[2]
        sees_TK = None
        if t > 1 and p > 0:
            sees_TK = torch.arange(p + t, device=x_BT.device) <= torch.arange(p, p + t, device=x_BT.device)[:, None]
        return self._grown(self.tokens(x_BT) + self.positions.weight[p : p + t], past, sees_TK)

    def ragged(self, x_BT: torch.Tensor, past: Past, pads_B: torch.Tensor) -> Grown:
        """The same for texts of different lengths: of the P + T of each text, the first `pads_B` are none of it."""
        t, p = x_BT.shape[1], past[0].shape[2]
        keys_K = torch.arange(p + t, device=x_BT.device)
        at_T = torch.arange(p, p + t, device=x_BT.device)
        # What is none of the text sees itself, or its attention would be 0 / 0, and that spreads.
        real_BTK = (keys_K >= pads_B[:, None, None]) | (keys_K == at_T[:, None])
        sees_BHTK = (real_BTK & (keys_K <= at_T[:, None]))[:, None]
        places_BT = (at_T - pads_B[:, None]).clamp(min=0)
        return self._grown(self.tokens(x_BT) + self.positions(places_BT), past, sees_BHTK)

    def _grown(self, x_BTC: torch.Tensor, past: Past, sees: torch.Tensor | None) -> Grown:
        grown: Past = ()
        for number, block in enumerate(self.blocks):
            x_BTC, now = block(x_BTC, past[2 * number : 2 * number + 2], sees)
            grown += now
        return self.head(self.ln(x_BTC)), grown

    def no_past(self, streams: int) -> Past:
        """The past of `streams` texts that have not begun."""
        empty = self.head.weight.new_empty((streams, self.shape.heads, 0, self.shape.width // self.shape.heads))
        return (empty,) * (2 * self.shape.layers)


def job(data: Path | None = None) -> Job:
    """The job: `data` is a text file, the standard library's source if there is none."""
    text = read_text(data)
    alphabet, codes = np.unique(np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32), return_inverse=True)
    shape = Shape(vocabulary=len(alphabet))
    return torch_job(
        "char_gpt",
        Maker(shape),
        windows(codes.astype(np.int64)),
        Floor("perplexity", 0.01, Slack.RATIO),
        demand=Demand(predictions=1e6, batch=1),
        train=TRAINING,
        alphabet="".join(map(chr, alphabet.tolist())),
    )


@dataclass(frozen=True)
class Maker:
    """Makes fresh networks, and students of another size."""

    shape: Shape

    def __call__(self) -> CharGPT:
        """A fresh network."""
        return CharGPT(self.shape)

    def students(self) -> dict[str, Callable[[], CharGPT]]:
        """What the search may train instead: two thirds of the heads, of the layers as well, and half of both."""
        layers, heads = self.shape.layers, self.shape.heads
        sizes = {(layers, 2 * heads // 3), (2 * layers // 3, 2 * heads // 3), (layers // 2, heads // 2)}
        made = {}
        for deep, many in sorted(sizes, reverse=True):
            wide = many * self.shape.width // heads
            if min(deep, many) > 0:
                made[f"{deep}x{wide}"] = partial(self.student, deep, wide)
        return made

    def student(self, layers: int, width: int) -> CharGPT:
        """A fresh network of another size, its heads as wide as the teacher's."""
        heads = max(1, width * self.shape.heads // self.shape.width)
        return CharGPT(replace(self.shape, layers=layers, width=width, heads=heads))


def read_text(data: Path | None) -> str:
    """The text in `data`, or enough of the standard library."""
    if data is None:
        library = Path(sysconfig.get_path("stdlib"))
        parts = [path.read_text(encoding="utf-8", errors="ignore") for path in sorted(library.glob("*.py"))]
        return "".join(character for character in "\n".join(parts) if character.isascii())[:DEFAULT_CHARACTERS]
    try:
        text = data.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{data} cannot be read as text ({error}).", "give a UTF-8 text file.") from None
    if len(text) < LEAST:
        raise BadInputError(f"{data} holds {len(text)} characters.", f"give at least {LEAST}.")
    return text


def windows(codes: np.ndarray) -> Splits:
    """Cut (N,) codes into windows; the last tenth certifies, the tenth before it selects."""
    n = (len(codes) - 1) // CONTEXT
    x, y = codes[: n * CONTEXT].reshape(n, CONTEXT), codes[1 : n * CONTEXT + 1].reshape(n, CONTEXT)
    tenth = n // 10
    cuts = (slice(0, n - 2 * tenth), slice(n - 2 * tenth, n - tenth), slice(n - tenth, n))
    return Splits(*(Arrays(x[cut], y[cut]) for cut in cuts))
