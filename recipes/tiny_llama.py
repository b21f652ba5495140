"""A Llama (RMSNorm, rotary positions, grouped-query attention, SwiGLU) on byte pairs of any text file.

    pennyweight train recipes/tiny_llama.py --data text.txt -o llama.pw
    pennyweight export llama.pw -o llama-dir

Without `--data` it reads the source of Python's own standard library. The last tenth of the text is the certify split,
the tenth before it the select split; the tokenizer is learned from the rest only. Each is cut into windows of 256
tokens. The floor: at most 1% worse perplexity, 95% sure. A perplexity is per token, so two of them compare only where
the tokenizer is the same; `bits_per_byte` says it independently of that.

On the 1.1 MB of tinyshakespeare the three epochs of the smallest (5.8 million weights, 4,096 tokens) took 236 CPU
seconds on two cores (AMD EPYC, Zen 5, busy with other work), 323 with judging, checkpoints and finishing, and reached a
perplexity of 84 on the select split and 123 on the last tenth: 2.50 bits per byte. After five epochs the last tenth was
at 133, for so little text is learned by heart. A step of `30m` takes 3 CPU seconds: 7 minutes for each pass.
"""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F  # ruff: ignore[lowercase-imported-as-non-lowercase] - the name everybody knows it by

from pennyweight.core import Demand, Floor, Job, Slack, TrainSpec
from pennyweight.data.byte_pairs import encoded, learn_pairs
from pennyweight.data.splits import Arrays, Splits
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.jobs import torch_job
from pennyweight.train.apart import places, sees

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

DEFAULT_CHARACTERS = 1_200_000
LEAST_WINDOWS = 32  # in the certify split, or nothing can be certified
TRAINING = TrainSpec(
    epochs=3,
    batch=8,
    optimizer="muon",
    lr=4e-3,
    weight_decay=0.1,
    schedule="onecycle",
    precision="bfloat16",
)


@dataclass(frozen=True)
class Shape:
    """The size of the network; a head of `tied` ones reads with the embedding's own matrix."""

    vocabulary: int = 4096
    layers: int = 6
    width: int = 256
    heads: int = 4
    kv_heads: int = 2
    hidden: int = 768
    context: int = 256
    tied: bool = True
    theta: float = 10_000.0
    epsilon: float = 1e-5


SIZES = {
    "6m": Shape(),
    "30m": Shape(8192, 8, 512, 8, 4, 1408, tied=False),
    "60m": Shape(8192, 10, 640, 10, 5, 1792, tied=False),
}

Past = tuple[torch.Tensor, ...]
Grown = tuple[torch.Tensor, Past]
Turn = tuple[torch.Tensor, torch.Tensor]
"""Cosines and sines by which queries and keys are turned, each (T, D) or (B, 1, T, D)."""


class Attention(nn.Module):
    """Causal attention in which several query heads share the keys and values of one; x is (B, T, C)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.size = shape.width // shape.heads
        self.shared = shape.heads // shape.kv_heads
        narrow = shape.kv_heads * self.size
        self.q_proj = nn.Linear(shape.width, shape.width, bias=False)
        self.k_proj = nn.Linear(shape.width, narrow, bias=False)
        self.v_proj = nn.Linear(shape.width, narrow, bias=False)
        self.o_proj = nn.Linear(shape.width, shape.width, bias=False)

    def forward(self, x_BTC: torch.Tensor, turn: Turn, past: Past = (), sees_TK: torch.Tensor | None = None) -> Grown:
        """Attend to the keys and values in `past` (B, G, P, D), if any, and to `x_BTC`; return the longer past as well.

        Each of the T attends to those of the K = P + T that `sees_TK` allows; without it, one attends to all, and more
        than one are the first of their text.
        """
        q, k, v = (self._by_head(part(x_BTC)) for part in (self.q_proj, self.k_proj, self.v_proj))
        q, k = turned(q, turn), turned(k, turn)
        if past:
            k, v = torch.cat((past[0], k), dim=2), torch.cat((past[1], v), dim=2)
        causal = sees_TK is None and x_BTC.shape[1] > 1
        y_BHTD = F.scaled_dot_product_attention(q, self._each(k), self._each(v), attn_mask=sees_TK, is_causal=causal)
        return self.o_proj(y_BHTD.transpose(1, 2).flatten(2)), (k, v)

    def _by_head(self, x_BTC: torch.Tensor) -> torch.Tensor:
        return x_BTC.unflatten(-1, (-1, self.size)).transpose(1, 2)

    def _each(self, x_BGTD: torch.Tensor) -> torch.Tensor:
        """Keys or values once for each query head that shares them."""
        return x_BGTD[:, :, None].expand(-1, -1, self.shared, -1, -1).flatten(1, 2)


def turned(x_BHTD: torch.Tensor, turn: Turn) -> torch.Tensor:
    """Turn each pair of a head's numbers, half a head apart, by an angle that grows with the place (Su et al. 2021)."""
    cos, sin = (each.to(x_BHTD.dtype) for each in turn)
    near, far = x_BHTD.chunk(2, dim=-1)
    return x_BHTD * cos + torch.cat((-far, near), dim=-1) * sin


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.width, shape.hidden, bias=False)
        self.up_proj = nn.Linear(shape.width, shape.hidden, bias=False)
        self.down_proj = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x_BTC: torch.Tensor) -> torch.Tensor:
        """(B, T, C) to (B, T, C)."""
        return self.down_proj(F.silu(self.gate_proj(x_BTC)) * self.up_proj(x_BTC))


class Block(nn.Module):
    """Attention and a feed-forward network, each on its own normalised copy of the stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        self.mlp = FeedForward(shape)

    def forward(self, x_BTC: torch.Tensor, turn: Turn, past: Past = (), sees_TK: torch.Tensor | None = None) -> Grown:
        """Add both to the stream."""
        y, past = self.self_attn(self.input_layernorm(x_BTC), turn, past, sees_TK)
        x_BTC = x_BTC + y  # ruff: ignore[non-augmented-assignment] - in place it would change what backward needs
        return x_BTC + self.mlp(self.post_attention_layernorm(x_BTC)), past


class Trunk(nn.Module):
    """All but the head, named as in transformers."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        size = shape.width // shape.heads
        pace = shape.theta ** -(torch.arange(0, size, 2) / size)
        angle_TD = (torch.arange(shape.context)[:, None] * pace).repeat(1, 2)
        self.register_buffer("cos", angle_TD.cos(), persistent=False)
        self.register_buffer("sin", angle_TD.sin(), persistent=False)

    def forward(
        self, x_BT: torch.Tensor, at: slice | torch.Tensor, past: Past = (), sees: torch.Tensor | None = None
    ) -> Grown:
        """What the head reads, (B, T, C), of tokens at the places `at` (T,) or (B, T), and the longer past."""
        cos, sin = self.cos[at], self.sin[at]
        turn = (cos[:, None], sin[:, None]) if cos.dim() == 3 else (cos, sin)
        x_BTC = self.embed_tokens(x_BT)
        grown: Past = ()
        for number, layer in enumerate(self.layers):
            x_BTC, now = layer(x_BTC, turn, past[2 * number : 2 * number + 2], sees)
            grown += now
        return self.norm(x_BTC), grown


class TinyLlama(nn.Module):
    """Tokens in, next-token logits out; `cached` and `ragged` are the same with a past, for generating."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Trunk(shape)
        if not shape.tied:
            self.lm_head = nn.Linear(shape.width, shape.vocabulary, bias=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                deep = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * shape.layers) ** 0.5 if deep else 0.02)

    def forward(self, x_BT: torch.Tensor, texts: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (B, T, V) of the token after each of `x_BT`, within its own of the `texts` that share a row."""
        at = slice(x_BT.shape[1]) if texts is None else places(texts)
        return self._head(self.model(x_BT, at, (), None if texts is None else sees(texts))[0])

    def cached(self, x_BT: torch.Tensor, past: Past) -> Grown:
        """The same for `x_BT` after P ≥ 0 tokens, whose keys and values, layer by layer, are `past` (B, G, P, D).

        Returns the logits (B, T, V) and the longer past.
        """
        t, p = x_BT.shape[1], past[0].shape[2]
        sees_TK = None
        if t > 1 and p > 0:
            sees_TK = torch.arange(p + t, device=x_BT.device) <= torch.arange(p, p + t, device=x_BT.device)[:, None]
        x_BTC, grown = self.model(x_BT, slice(p, p + t), past, sees_TK)
        return self._head(x_BTC), grown

    def ragged(self, x_BT: torch.Tensor, past: Past, pads_B: torch.Tensor) -> Grown:
        """The same for texts of different lengths: of the P + T of each text, the first `pads_B` are none of it."""
        t, p = x_BT.shape[1], past[0].shape[2]
        keys_K = torch.arange(p + t, device=x_BT.device)
        at_T = torch.arange(p, p + t, device=x_BT.device)
        # What is none of the text sees itself, or its attention would be 0 / 0, and that spreads.
        real_BTK = (keys_K >= pads_B[:, None, None]) | (keys_K == at_T[:, None])
        sees_BHTK = (real_BTK & (keys_K <= at_T[:, None]))[:, None]
        x_BTC, grown = self.model(x_BT, (at_T - pads_B[:, None]).clamp(min=0), past, sees_BHTK)
        return self._head(x_BTC), grown

    def no_past(self, streams: int) -> Past:
        """The past of `streams` texts that have not begun."""
        shape = self.shape
        size = (streams, shape.kv_heads, 0, shape.width // shape.heads)
        return (self.model.embed_tokens.weight.new_empty(size),) * (2 * shape.layers)

    def transformers_config(self) -> dict[str, Any]:
        """What config.json of the same model in transformers says; its weights have the same names."""
        shape = self.shape
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": shape.vocabulary,
            "hidden_size": shape.width,
            "intermediate_size": shape.hidden,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "head_dim": shape.width // shape.heads,
            "hidden_act": "silu",
            "max_position_embeddings": shape.context,
            "rms_norm_eps": shape.epsilon,
            "rope_theta": shape.theta,
            "tie_word_embeddings": shape.tied,
            "attention_bias": False,
            "mlp_bias": False,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "pad_token_id": None,
        }

    def _head(self, x_BTC: torch.Tensor) -> torch.Tensor:
        return F.linear(x_BTC, self.model.embed_tokens.weight) if self.shape.tied else self.lm_head(x_BTC)


def job(data: Path | None = None, size: str = "6m") -> Job:
    """The job: `data` is a text file, the standard library's source if there is none; `size` is 6m, 30m or 60m."""
    if size not in SIZES:
        raise UnknownNameError.of("size", size, SIZES)
    return job_of(read_text(data), SIZES[size])


def job_of(text: str, shape: Shape, train: TrainSpec = TRAINING) -> Job:
    """The job on a text, with a network of any shape."""
    parts = cut(text)
    tokenizer = learn_pairs(parts[0], shape.vocabulary)
    return torch_job(
        "tiny_llama",
        Maker(shape),
        Splits(*(windows(encoded(tokenizer, part), shape.context) for part in parts)),
        Floor("perplexity", 0.01, Slack.RATIO),
        demand=Demand(predictions=1e6, batch=1),
        train=train,
        tokenizer=tokenizer,
    )


@dataclass(frozen=True)
class Maker:
    """Makes fresh networks, and students of another size."""

    shape: Shape

    def __call__(self) -> TinyLlama:
        """A fresh network."""
        return TinyLlama(self.shape)

    def students(self) -> dict[str, Callable[[], TinyLlama]]:
        """What the search may train instead: two thirds of the layers, half the width, and both."""
        shape = self.shape
        made = {}
        for deep, halves in ((2 * shape.layers // 3, 1), (shape.layers, 2), (2 * shape.layers // 3, 2)):
            if deep > 0 and shape.kv_heads % halves == 0:
                made[f"{deep}x{shape.width // halves}"] = partial(self.student, deep, halves)
        return made

    def student(self, layers: int, halves: int) -> TinyLlama:
        """A fresh network of another size, its heads as wide as the teacher's."""
        shape = self.shape
        narrow = {name: getattr(shape, name) // halves for name in ("width", "heads", "kv_heads", "hidden")}
        return TinyLlama(replace(shape, layers=layers, **narrow))


def read_text(data: Path | None) -> str:
    """The text in `data`, or enough of the standard library."""
    if data is None:
        library = Path(sysconfig.get_path("stdlib"))
        parts = [path.read_text(encoding="utf-8", errors="ignore") for path in sorted(library.glob("*.py"))]
        return "".join(character for character in "\n".join(parts) if character.isascii())[:DEFAULT_CHARACTERS]
    try:
        return data.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{data} cannot be read as text ({error}).", "give a UTF-8 text file.") from None


def cut(text: str) -> tuple[str, str, str]:
    """The text to train on, to select by (a tenth) and to certify with (the last tenth)."""
    tenth = len(text) // 10
    edges = len(text) - 2 * tenth, len(text) - tenth
    return text[: edges[0]], text[edges[0] : edges[1]], text[edges[1] :]


def windows(tokens: np.ndarray, context: int) -> Arrays:
    """Cut (N,) tokens into windows, each labelled with the token after every one of its own."""
    n = (len(tokens) - 1) // context
    if n < LEAST_WINDOWS:
        raise BadInputError(
            f"A tenth of the text is {len(tokens)} tokens.", f"give at least {LEAST_WINDOWS * context + 1} for a tenth."
        )
    return Arrays(tokens[: n * context].reshape(n, context), tokens[1 : n * context + 1].reshape(n, context))
