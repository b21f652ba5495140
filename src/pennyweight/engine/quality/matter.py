"""What two models are to read, found to be the same for both before either is opened."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import starmap
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.engine.quality.retrieving import DEPTHS, Probe, probes
from pennyweight.engine.quality.tasks import Sample, read_tasks
from pennyweight.engine.quality.text import Batch, Text, encode, read
from pennyweight.errors import BadInputError
from pennyweight.runtimes.hf import Description, describe, open_tokenizer
from pennyweight.store.checkpoints import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pennyweight.engine.quality.asking import Asked

    Watch = Callable[[str, float], None]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Matter:
    """Everything the models are to read: `texts` are the same tokens for both, in each one's numbers."""

    asked: Asked
    tokenizers: tuple[Any, Any]
    texts: tuple[Text, Text]
    samples: tuple[Sample, ...]
    probes: tuple[Probe, ...]
    windows: tuple[int, int]
    context: int
    vocabulary: int
    watch: Watch

    @property
    def text(self) -> Text:
        """The text in the numbers of the first."""
        return self.texts[0]

    @property
    def renumbered(self) -> bool:
        """Whether the same tokens have other numbers for the second: then distributions cannot be compared."""
        return not _same_numbers(*self.texts)

    def batches(self, which: int) -> Iterator[Batch]:
        """Windows for the first (0) or second (1) model."""
        return self.texts[which].batches(*self.windows, self.vocabulary)

    def progress(self, stage: str, whole: int) -> Callable[[int], None]:
        """Who hears that so much more of a stage is done."""
        done = 0

        def hear(more: int) -> None:
            nonlocal done
            done += more
            self.watch(stage, done / max(1, whole))

        return hear


def described(folder: Path) -> Description:
    """What a folder holds, if that goes on with text; raises `BadInputError` if not."""
    Checkpoint.at(folder)  # looks at index, links and heads before anything is opened
    found = describe(folder)
    if found.task != "generate":
        raise BadInputError(
            f"{folder} ({found.family}) does not go on with text, so it has no perplexity.", "give a language model."
        )
    return found


def matter_of(descriptions: tuple[Description, Description], asked: Asked, watch: Watch) -> Matter:
    """Read files, split text; raises `BadInputError` for what cannot be read or differs between the two."""
    texts = read(asked.texts)
    samples = tuple(read_tasks(asked.tasks)) if asked.tasks else ()
    tokenizers = (open_tokenizer(descriptions[0].folder), open_tokenizer(descriptions[1].folder))
    watch("splitting the text", 0.0)
    text, other = (encode(texts, each, asked.most_tokens) for each in tokenizers)
    if not _same_numbers(text, other) and _names(text, tokenizers[0]) != _names(other, tokenizers[1]):
        raise BadInputError(
            f"The tokenizers of {descriptions[0].folder} and {descriptions[1].folder} split the text differently.",
            "compare checkpoints of one tokenizer: losses of other tokens are of other things.",
        )
    _check_known(text, descriptions[0])
    _check_known(other, descriptions[1])
    contexts = [each.context for each in descriptions if each.context]
    context = min(contexts, default=0)
    hidden = tuple(probes(asked.lengths, asked.repeats_of(len(DEPTHS)), context))
    vocabulary = max(each.vocabulary for each in descriptions) or len(tokenizers[0])
    return Matter(asked, tokenizers, (text, other), samples, hidden, asked.windows(context), context, vocabulary, watch)


def _check_known(text: Text, description: Description) -> None:
    last = max(int(each.max()) for each in text.documents)
    if description.vocabulary and last >= description.vocabulary:
        raise BadInputError(
            f"The tokenizer of {description.folder} knows the token {last}, but its model only "
            f"{description.vocabulary:,} tokens.",
            "take tokenizer and weights of one version of the model.",
        )


def _same_numbers(text: Text, other: Text) -> bool:
    pairs = zip(text.documents, other.documents, strict=False)
    return len(text.documents) == len(other.documents) and all(starmap(np.array_equal, pairs))


def _names(text: Text, tokenizer: Any) -> list[list[str]]:
    return [tokenizer.convert_ids_to_tokens(each.tolist()) for each in text.documents]
