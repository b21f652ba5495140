"""Texts continued together by a model of transformers, operator by operator: the way that every architecture has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.runtimes.chorus import TOO_LONG, Checking, alike

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor
    from torch.nn import Module

    from pennyweight.runtimes.chorus import Next

_PLAIN = frozenset({"full_attention", "sliding_attention", "attention"})


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """Keys and values (B, H, P, D) of every layer in turn.

    The first `pads` (B,) and the last `spare` (B,) of them belong to no text; with any to spare nothing can be read.
    """

    past: tuple[Tensor, ...]
    pads: NDArray[np.int64]
    spare: NDArray[np.int64]

    @property
    def long(self) -> int:
        return int(self.past[0].shape[2]) if self.past else 0


@final
class TorchChorus(Checking):
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

    def told(self, tokens: Sequence[NDArray[np.int64]], memory: _Held) -> Next:
        """As promised; those of whom there are fewer are padded on the right."""
        counts = np.array([len(each) for each in tokens])
        wide = np.zeros((len(tokens), counts.max()), np.int64)
        for row, each in zip(wide, tokens, strict=True):
            row[: len(each)] = each
        logits, held = self._read(wide, memory, counts)
        real = np.arange(wide.shape[1]) < counts[:, None]
        return logits[real], _Held(held.past, held.pads, counts.max() - counts)

    def forget(self, memory: _Held, counts: Sequence[int]) -> _Held:
        """As promised; the texts are moved to the right, to end together again."""
        return _ended(_Held(memory.past, memory.pads, memory.spare + np.asarray(counts, np.int64)))

    def gather(self, parts: Sequence[tuple[_Held, Sequence[int]]]) -> _Held:
        """As promised; what only pads is cut away."""
        import torch
        from torch.nn.functional import pad

        chosen = [(_ended(held), np.asarray(rows, np.int64)) for held, rows in parts if len(rows)]
        long = max(int((held.long - held.pads[rows]).max()) for held, rows in chosen)
        pads = np.concatenate([long - held.long + held.pads[rows] for held, rows in chosen])
        made = []
        for number in range(len(chosen[0][0].past)):
            each = [held.past[number][torch.from_numpy(rows)] for held, rows in chosen]
            cut = [one[:, :, max(0, one.shape[2] - long) :] for one in each]
            made.append(torch.cat([pad(one, (0, 0, long - one.shape[2], 0)) for one in cut]))
        return _Held(tuple(made), pads, np.zeros_like(pads))

    def token_byte(self) -> int:
        """The bytes that are remembered of one token, found by reading one."""
        _, held = self._read(np.zeros((1, 1), np.int64), _none(np.zeros(1, np.int64)))
        return sum(each.numel() * each.element_size() for each in held.past)

    def _read_all(self, prompts: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.float32], _Held]:
        longest = max(map(len, prompts))
        tokens = np.zeros((len(prompts), longest), np.int64)
        for row, prompt in zip(tokens, prompts, strict=True):
            row[longest - len(prompt) :] = prompt
        pads = np.array([longest - len(prompt) for prompt in prompts], np.int64)
        return self._read(tokens, _none(pads))

    def _read(
        self, tokens: NDArray[np.int64], held: _Held, counts: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], _Held]:
        """What follows the last token (B, V); with `counts`, how many of the tokens there are, each (B, T, V)."""
        import torch

        held = _ended(held)
        fresh = tokens.shape[1] if counts is None else counts
        if int((held.long - held.pads + fresh).max()) > self.context:
            raise BadInputError(*TOO_LONG)
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                places = torch.from_numpy(np.arange(tokens.shape[1]) + (held.long - held.pads)[:, None])
                fed = torch.from_numpy(tokens), places.clamp(0, self.context - 1)  # of what only pads, it is no matter
                logits, past = _told(self._model, fed, held, 1 if counts is None else tokens.shape[1])
        except (RuntimeError, IndexError) as error:
            raise BadInputError(*TOO_LONG) from error
        return logits[:, -1] if counts is None else logits, _Held(past, held.pads, held.spare)


def _none(pads: NDArray[np.int64]) -> _Held:
    """What is held of texts that were not begun."""
    return _Held((), pads, np.zeros_like(pads))


def _ended(held: _Held) -> _Held:
    """The same with nothing to spare."""
    least = int(held.spare.min())
    long, moves = held.long - least, held.spare - least
    if not held.spare.any():
        return held
    past = tuple(each[:, :, :long] for each in held.past)
    if moves.any():
        past = tuple(_moved(each, moves) for each in past)
    pads = held.pads + moves
    return _Held(tuple(each[:, :, pads.min() :] for each in past), pads - pads.min(), np.zeros_like(pads))


def _moved(past: Tensor, moves: NDArray[np.int64]) -> Tensor:
    """Keys or values (B, H, P, D), those of each text so many places to the right."""
    made = past.clone()
    for row in np.flatnonzero(moves):
        made[row, :, moves[row] :] = past[row, :, : -moves[row]]
    return made


def _told(
    model: Any, fed: tuple[Tensor, Tensor], held: _Held, last: int
) -> tuple[NDArray[np.float32], tuple[Tensor, ...]]:
    """Logits (B, `last`, V) after the last tokens, of tokens and their places (B, T), and the longer past.

    What is held stays as it is.
    """
    import torch
    from transformers import DynamicCache

    cache = DynamicCache()
    for layer in range(len(held.past) // 2):
        cache.update(held.past[2 * layer], held.past[2 * layer + 1], layer)
    long, pads = held.long + fed[0].shape[1], torch.from_numpy(held.pads)[:, None]
    answer = model(
        input_ids=fed[0],
        attention_mask=(torch.arange(long)[None] >= pads).to(torch.int64),
        position_ids=fed[1],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=last,
    )
    logits: NDArray[np.float32] = answer.logits[:, -last:].float().numpy()
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
