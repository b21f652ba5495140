"""Which questions a model answers rightly: by the log-likelihood of endings, or by the text it generates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.engine.quality.scoring import log_probabilities, not_finite
from pennyweight.engine.quality.text import ids_of, start_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pennyweight.engine.quality.tasks import Sample

_LONG = 32


@final
@dataclass(frozen=True, slots=True)
class Reader:
    """A model with its tokenizer, the tokens it can look at (0: unknown), and what it is called if it goes wrong."""

    model: Any
    tokenizer: Any
    context: int
    name: str = "that was given"

    def pair(self, context: str, ending: str) -> tuple[list[int], list[int]]:
        """The tokens of a context and of its ending, split as in their whole; spaces before the ending are part of it.

        A context that is too long loses its beginning.
        """
        held = context.rstrip()
        whole = self.marked(held + context[len(held) :] + ending)
        before = self.marked(held)
        cut = len(before) if whole[: len(before)] == before and len(whole) > len(before) else 0
        first, last = (
            (whole[:cut], whole[cut:]) if cut else (before, ids_of(context[len(held) :] + ending, self.tokenizer))
        )
        return self.fitting(first, len(last)), last

    def fitting(self, ids: list[int], more: int) -> list[int]:
        """The end of a context after which there is room for `more` tokens; at least one token."""
        ids = ids or [self._empty]
        return ids[-max(1, self.context - more) :] if self.context else ids

    def marked(self, text: str) -> list[int]:
        """The tokens of a text, after that of its beginning if the tokenizer puts one there."""
        return [*start_of(self.tokenizer), *ids_of(text, self.tokenizer)]

    def likelihoods(self, pairs: Sequence[tuple[list[int], list[int]]]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Those of endings after their contexts; raises `CorruptError` if they are no numbers."""
        logs, guessed = likelihoods(self.model, pairs)
        if np.isnan(logs).any():
            raise not_finite(self.name)
        return logs, guessed

    @property
    def _empty(self) -> int:
        mark = self.tokenizer.bos_token_id
        return int(mark if mark is not None else self.tokenizer.eos_token_id or 0)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Of each question (N,): whether it was answered rightly, by plain log-likelihood and by that per byte."""

    plain: NDArray[np.bool_]
    by_length: NDArray[np.bool_]


def answer(reader: Reader, samples: Sequence[Sample], watch: Callable[[int], None]) -> Answers:
    """Answer every question."""
    found = []
    for sample in samples:
        found.append(_answered(reader, sample))
        watch(1)
    plain, by_length = np.array(found, np.bool_).reshape(-1, 2).T
    return Answers(plain, by_length)


def _answered(reader: Reader, sample: Sample) -> tuple[bool, bool]:
    if not sample.endings:
        right = generated(reader, sample).strip() == sample.answer.strip()
        return right, right
    pairs = list(map(reader.pair, sample.contexts, sample.endings))
    logs, guessed = reader.likelihoods(pairs)
    if len(pairs) == 1:
        return bool(guessed[0]), bool(guessed[0])
    per_byte = logs / [len(ending.encode()) for ending in sample.endings]
    return int(logs.argmax()) == sample.gold, int(per_byte.argmax()) == sample.gold


def likelihoods(
    model: Any, pairs: Sequence[tuple[list[int], list[int]]]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The log-likelihood of each ending (N,) after its context, and whether each of its tokens is the likeliest.

    Endings are read beside each other, filled up on their right, where nothing that counts can see it. A long context
    that all of them share is read once.
    """
    shared, cache = _read_once(model, pairs)
    pairs = [(context[shared:], ending) for context, ending in pairs]
    longest = max(len(context) + len(ending) for context, ending in pairs) - 1
    kept = longest - min(len(context) for context, _ in pairs) + 1
    ids = np.zeros((len(pairs), longest), np.int64)
    for row, (context, ending) in zip(ids, pairs, strict=True):
        row[: len(context) + len(ending) - 1] = [*context, *ending[:-1]]
    said = log_probabilities(model, ids, kept, cache).numpy()
    logs, guessed = np.zeros(len(pairs)), np.zeros(len(pairs), np.bool_)
    for at, (context, ending) in enumerate(pairs):
        first = len(context) - 1 - (longest - kept)
        mine = said[at, first : first + len(ending)]
        logs[at] = mine[np.arange(len(ending)), ending].astype(np.float64).sum()
        guessed[at] = bool((mine.argmax(-1) == ending).all())
    return logs, guessed


def _read_once(model: Any, pairs: Sequence[tuple[list[int], list[int]]]) -> tuple[int, Any]:
    """How many tokens of the context need not be read again, and what the model remembers of them, for each ending."""
    import torch
    from transformers import DynamicCache

    context = pairs[0][0]
    if len(pairs) == 1 or len(context) < _LONG or any(other != context for other, _ in pairs[1:]):
        return 0, None
    with torch.inference_mode():
        ids = torch.tensor([context[:-1]])
        cache = model(input_ids=ids, use_cache=True).past_key_values
        if type(cache) is not DynamicCache:
            return 0, None
        cache.batch_repeat_interleave(len(pairs))
    return len(context) - 1, cache


def generated(reader: Reader, sample: Sample) -> str:
    """The likeliest text after the context of a question, token by token, up to where it stops.

    Raises `CorruptError` if what the model answers is no number.
    """
    import torch

    ids = reader.fitting(reader.marked(sample.contexts[0]), sample.most_new)
    last, new, cache = torch.tensor([ids]), list[int](), None
    end = reader.tokenizer.eos_token_id
    with torch.inference_mode():
        while len(new) < sample.most_new:
            said = reader.model(input_ids=last, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache, token = said.past_key_values, int(said.logits[0, -1].argmax())
            if not bool(said.logits[0, -1, token].isfinite()):
                raise not_finite(reader.name)
            new.append(token)
            text: str = reader.tokenizer.decode(new, skip_special_tokens=True)
            found = [text.index(stop) for stop in sample.until if stop in text]
            if found or token == end:
                return text[: min(found)] if found else text
            last = torch.tensor([[token]])
    whole: str = reader.tokenizer.decode(new, skip_special_tokens=True)
    return whole
