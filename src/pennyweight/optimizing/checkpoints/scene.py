"""Everything that stays the same during a search: the checkpoint, its text, how it is read, what work costs."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol, Self, final

from pennyweight.catalog import load_prices
from pennyweight.cost.hf_config import dims_of
from pennyweight.cost.price import price
from pennyweight.engine.quality.matter import described
from pennyweight.errors import BadInputError
from pennyweight.optimizing.checkpoints.asking import CPU
from pennyweight.optimizing.checkpoints.parts import parts_of
from pennyweight.optimizing.checkpoints.predicting import Predictor
from pennyweight.optimizing.checkpoints.reading import Windows, dtype_for
from pennyweight.runtimes.hf import open_tokenizer
from pennyweight.store.checkpoints import Checkpoint
from pennyweight.store.checkpoints.writing import digest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pennyweight.catalog import PriceSheet
    from pennyweight.core.dims import Dims
    from pennyweight.engine.quality.text import Text
    from pennyweight.optimizing.checkpoints.asking import Ask
    from pennyweight.optimizing.checkpoints.parts import Parts
    from pennyweight.optimizing.checkpoints.work import Spent
    from pennyweight.runtimes.hf import Description

_WINDOW = 1024


class Watch(Protocol):
    """Whoever wants to know how the search goes."""

    def __call__(self, event: str, **facts: Any) -> None:
        """Hear that `event` happened, with its `text`."""


def silence(event: str, **facts: Any) -> None:
    """Hear nothing."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A search as it was asked for, with what was found of its checkpoint and text; `dims` only for accelerators."""

    ask: Ask
    source: Checkpoint
    description: Description
    dims: Dims | None
    parts: Parts
    windows: Windows
    sheet: PriceSheet
    predictor: Predictor
    watch: Watch

    @classmethod
    def of(cls, ask: Ask, watch: Watch = silence) -> Self:
        """Look at checkpoint and text.

        Raises `BadInputError` for a folder that does not go on with text, too little text, a tokenizer that is not the
        model's, or a model that accelerators are not predicted for.
        """
        source, description = Checkpoint.at(ask.folder), described(ask.folder)
        tokenizer = open_tokenizer(ask.folder)
        watch("splitting the text")
        parts = parts_of(ask.texts, tokenizer, ask.tokens)
        _check_known(parts.certify, description)
        context = description.context
        window = min(context or _WINDOW, _WINDOW)
        vocabulary = description.vocabulary or len(tokenizer)
        windows = Windows(window, max(1, window // 2), vocabulary, dtype_for(ask.folder))
        load = ask.load.within(context)
        away = tuple(name for name in ask.devices if name != CPU)
        dims = dims_of(str(ask.folder)) if away else None
        asked, sheet = replace(ask, load=load), load_prices(ask.prices)
        return cls(asked, source, description, dims, parts, windows, sheet, Predictor(away, load), watch)

    @property
    def name(self) -> str:
        """The checkpoint's folder."""
        return self.ask.folder.resolve().name

    @property
    def here(self) -> bool:
        """Whether this machine is one of the devices."""
        return CPU in self.ask.devices

    def key(self, fingerprint: str) -> str:
        """What tells this search's measurements from others: weights, text, how it is read; not the floor."""
        said = [fingerprint, self.parts.sha256, self.windows.window, self.windows.stride, self.windows.dtype]
        return sha256(json.dumps(said).encode()).hexdigest()

    def usd(self, spent: Iterable[Spent]) -> float:
        """Dollars of what was measured."""
        return sum(price(each.cost, each.peak_byte, self.sheet).usd for each in spent)


def fingerprint_of(source: Checkpoint) -> str:
    """One SHA-256 for config, tokenizer and every byte of the weights."""
    files = [source.folder / "config.json", *source.shards, *source.beside]
    told = {path.name: digest(path) for path in dict.fromkeys(files)}
    return sha256(json.dumps(sorted(told.items())).encode()).hexdigest()


def write_calibration(scene: Scene, place: Path) -> Path:
    """The part that calibrates, as a file; left alone where it is there."""
    path, body = place / "calibrate.txt", "\n".join(scene.parts.calibrate).encode()
    if not path.is_file() or path.read_bytes() != body:
        path.write_bytes(body)
    return path


def _check_known(text: Text, description: Description) -> None:
    last = max(int(each.max()) for each in text.documents)
    if description.vocabulary and last >= description.vocabulary:
        raise BadInputError(
            f"The tokenizer of {description.folder} knows the token {last}, but its model only "
            f"{description.vocabulary:,} tokens.",
            "take tokenizer and weights of one version of the model.",
        )
