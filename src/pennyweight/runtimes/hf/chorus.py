"""Texts continued together by a model of transformers, operator by operator: the way that every architecture has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.runtimes.chorus import TOO_LONG, Chorus, alike

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor
    from torch.nn import Module

    from pennyweight.runtimes.chorus import Next

_PLAIN = frozenset({"full_attention", "sliding_attention", "attention"})


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """Keys and values (B, H, P, D) of every layer in turn, of which the first `pads` (B,) belong to no text."""

    past: tuple[Tensor, ...]
    pads: NDArray[np.int64]

    @property
    def long(self) -> int:
        return int(self.past[0].shape[2]) if self.past else 0


@final
class TorchChorus(Chorus):
    """A causal language model in evaluation mode; shorter texts are padded on the left.

    `room` is how many tokens all texts together may hold, 0 for any number. Raises `BadInputError` for a model that
    remembers a text by anything other than keys and values.
    """

    bites = pads = True

    def __init__(self, model: Module, context: int, threads: int = 1, room: int = 0) -> None:
        self.context, self.room = context, room
        self._model, self._threads = model, threads
        _check(model)

    def prefill(self, prompts: Sequence[NDArray[np.int64]]) -> Next:
        """As promised; those of about one length are read together, for padding costs as much as text."""
        groups = alike(prompts)
        found = [self._read_all([prompts[row] for row in group]) for group in groups]
        order = [row for group in groups for row in group]
        if len(groups) == 1 and order == list(range(len(prompts))):
            return found[0]
        back = np.argsort(order)
        parts = [(held, range(len(group))) for group, (_, held) in zip(groups, found, strict=True)]
        memory = self.gather(parts) if len(parts) > 1 else found[0][1]
        logits = np.concatenate([told for told, _ in found])
        return logits[back], self.gather([(memory, [int(row) for row in back])])

    def step(self, tokens: NDArray[np.int64], memory: _Held) -> Next:
        """As promised."""
        return self._read(tokens[:, None], memory)

    def read(self, tokens: NDArray[np.int64], memory: _Held) -> Next:
        """As promised."""
        return self._read(tokens, memory)

    def gather(self, parts: Sequence[tuple[_Held, Sequence[int]]]) -> _Held:
        """As promised; what only pads is cut away."""
        import torch
        from torch.nn.functional import pad

        chosen = [(held, np.asarray(rows, np.int64)) for held, rows in parts if len(rows)]
        long = max(int((held.long - held.pads[rows]).max()) for held, rows in chosen)
        pads = np.concatenate([long - held.long + held.pads[rows] for held, rows in chosen])
        made = []
        for number in range(len(chosen[0][0].past)):
            each = [held.past[number][torch.from_numpy(rows)] for held, rows in chosen]
            cut = [one[:, :, max(0, one.shape[2] - long) :] for one in each]
            made.append(torch.cat([pad(one, (0, 0, long - one.shape[2], 0)) for one in cut]))
        return _Held(tuple(made), pads)

    def token_byte(self) -> int:
        """The bytes that are remembered of one token, found by reading one."""
        _, held = self._read(np.zeros((1, 1), np.int64), _Held((), np.zeros(1, np.int64)))
        return sum(each.numel() * each.element_size() for each in held.past)

    def _read_all(self, prompts: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.float32], _Held]:
        longest = max(map(len, prompts))
        tokens = np.zeros((len(prompts), longest), np.int64)
        for row, prompt in zip(tokens, prompts, strict=True):
            row[longest - len(prompt) :] = prompt
        pads = np.array([longest - len(prompt) for prompt in prompts], np.int64)
        return self._read(tokens, _Held((), pads))

    def _read(self, tokens: NDArray[np.int64], held: _Held) -> tuple[NDArray[np.float32], _Held]:
        import torch

        if held.long + tokens.shape[1] - int(held.pads.min()) > self.context:
            raise BadInputError(*TOO_LONG)
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                logits, past = _told(self._model, torch.from_numpy(tokens), held)
        except (RuntimeError, IndexError) as error:
            raise BadInputError(*TOO_LONG) from error
        return logits, _Held(past, held.pads)


def _told(model: Any, tokens: Tensor, held: _Held) -> tuple[NDArray[np.float32], tuple[Tensor, ...]]:
    """Logits (B, V) after the last of tokens (B, T), and the longer past; what is held stays as it is."""
    import torch
    from transformers import DynamicCache

    cache = DynamicCache()
    for layer in range(len(held.past) // 2):
        cache.update(held.past[2 * layer], held.past[2 * layer + 1], layer)
    long, pads = held.long + tokens.shape[1], torch.from_numpy(held.pads)[:, None]
    answer = model(
        input_ids=tokens,
        attention_mask=(torch.arange(long)[None] >= pads).to(torch.int64),
        position_ids=(torch.arange(held.long, long)[None] - pads).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    logits: NDArray[np.float32] = answer.logits[:, -1].float().numpy()
    return logits, tuple(each for layer in cache.layers for each in (layer.keys, layer.values))


def _check(model: Any) -> None:
    """Refuse layers that cannot be continued from keys and values."""
    config = getattr(model.config, "text_config", None) or model.config
    odd = set(getattr(config, "layer_types", None) or ()) - _PLAIN
    if odd:
        raise BadInputError(
            f"Layers of the kind {min(odd)} remember a text in a way that cannot be continued here.",
            "serve a model whose layers all have attention over keys and values.",
        )
