"""Three ways to learn a text's next characters: nanoGPT's recipe for a CPU, the same network for less, and counting."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np

from bench.nano import CONTEXT

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

HELD_OUT = 0.1
_RECIPE_STEPS, _RECIPE_BATCH, _WARM = 2000, 12, 100
_PEAK, _END = 1e-3, 1e-4
_ROWS, _BATCH, _RATE = 4800, 15, 0.017


def read(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """The codes of the first nine tenths of a text's bytes, those of the last, and how many codes there are."""
    text = np.frombuffer(path.read_bytes(), np.uint8)
    alphabet = np.flatnonzero(np.bincount(text, minlength=256))
    code = np.zeros(256, np.int64)
    code[alphabet] = np.arange(len(alphabet))
    codes, cut = code[text], int((1 - HELD_OUT) * len(text))
    return codes[:cut], codes[cut:], len(alphabet)


def windows(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """All windows (W, 65) of the held-out text, each beginning with the last character of the one before."""
    whole = (len(codes) - 1) // CONTEXT
    return np.lib.stride_tricks.sliding_window_view(codes[: whole * CONTEXT + 1], CONTEXT + 1)[::CONTEXT]


def counted(path: Path) -> dict[str, float]:
    """Kneser–Ney over five characters and the next: no network at all."""
    from pennyweight.train.ngrams import NGrams

    train, held, vocabulary = read(path)
    model = NGrams.fit(train, order=6, vocabulary=vocabulary)
    return {"cpu_s": time.process_time(), "loss": model.loss(windows(held))}


def recipe(path: Path, seed: int, share: float = 1.0) -> dict[str, float]:
    """NanoGPT's settings for a laptop: AdamW at 1e-3 after a warm-up, cosine, 2,000 steps of 12 windows."""
    import torch
    from torch.nn import functional

    from bench.nano import network

    train, held, vocabulary = read(path)
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    model, dice = network(vocabulary), torch.Generator().manual_seed(seed)
    codes = torch.from_numpy(train)
    thick = [each for each in model.parameters() if each.dim() > 1]
    thin = [each for each in model.parameters() if each.dim() < 2]
    groups = [{"params": thick, "weight_decay": 0.1}, {"params": thin, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=_PEAK, betas=(0.9, 0.99), fused=True)
    for step in range(round(share * _RECIPE_STEPS)):
        for group in adam.param_groups:
            group["lr"] = _recipe_rate(step)
        at = torch.randint(len(codes) - CONTEXT - 1, (_RECIPE_BATCH, 1), generator=dice) + torch.arange(CONTEXT)
        x, y = codes[at], codes[at + 1]
        adam.zero_grad()
        functional.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
    return _judged(model, held)


def _recipe_rate(step: int) -> float:
    if step < _WARM:
        return _PEAK * (step + 1) / (_WARM + 1)
    done = (step - _WARM) / (_RECIPE_STEPS - _WARM)
    return _END + 0.5 * (1 + math.cos(math.pi * done)) * (_PEAK - _END)


def ours(path: Path, seed: int) -> dict[str, float]:
    """The same network with Muon, one cycle and bfloat16 products, taught by what follows four characters."""
    import torch

    from bench.nano import network
    from pennyweight.core import Task, TrainSpec
    from pennyweight.data.splits import Arrays
    from pennyweight.train.loop import How, fit
    from pennyweight.train.ngrams import NGrams

    train, held, vocabulary = read(path)
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    at = np.random.default_rng(seed).integers(len(train) - CONTEXT - 1, size=(_ROWS, 1)) + np.arange(CONTEXT)
    taught = NGrams.fit(train, order=5, vocabulary=vocabulary).teach(train[at])
    done = fit(
        network(vocabulary, still=True),
        Arrays(train[at], train[at + 1]),
        TrainSpec(1, _BATCH, "muon", _RATE, schedule="onecycle", warmup=0.25, precision="bfloat16"),
        how=How(seed=seed, task=Task.LANGUAGE, teacher_logits=taught, temperature=1.0, mix=1.0),
    )
    return _judged(done.model, held)


def _judged(model: nn.Module, held: NDArray[np.int64]) -> dict[str, float]:
    """CPU seconds until now, and the loss on every held-out window; judging is not part of a training's cost."""
    import torch
    from torch.nn import functional

    cpu_s = time.process_time()
    cut, total = torch.from_numpy(windows(held).copy()), 0.0
    model.eval()
    with torch.no_grad():
        for part in cut.split(200):
            logits = model(part[:, :-1]).float()
            total += float(functional.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten(), reduction="sum"))
    return {"loss": total / cut[:, 1:].numel(), "cpu_s": cpu_s}
