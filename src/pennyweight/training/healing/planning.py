"""A healing on paper: which windows, how many steps, and the memory it needs, before any weight is read."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, final

from pennyweight.core import Regular, TrainSpec
from pennyweight.engine.quality.matter import described
from pennyweight.engine.quality.text import read
from pennyweight.errors import BadInputError, StorageError
from pennyweight.runtimes.hf import open_tokenizer
from pennyweight.store.checkpoints import Checkpoint
from pennyweight.training.healing.reading import Windows, check_known, parted, teachers_numbers, windows
from pennyweight.units import si

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from pennyweight.runtimes.hf import Description
    from pennyweight.training.healing.asking import Asked

_WINDOW = 256
_WIDTHS = {"float32": 4, "bfloat16": 2}
_FLOAT = 4  # bytes
_ANSWERS = 7  # copies of what is said of a mini-batch's tokens, while two distributions are compared
_ANSWER_BYTE = 1 << 28  # of one copy
_LEAST_HELD = 1 << 14  # tokens
_HELD_SHARE = 0.1  # of what is learnt from
_STREAM, _INNER = 12, 5  # numbers kept of every token and block to go back, in widths of the stream and of the middle
_WARM, _CLIP = 0.05, 1.0
_WIDE = ("hidden_size", "n_embd", "d_model")
_MIDDLE = ("intermediate_size", "n_inner", "ffn_dim")
_DEEP = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
_STATES = 3  # on the disk: two, and the next
_BESIDE_BYTE = 100_000_000  # what libraries take while they work
_UNEVEN = 1.2  # what is freed is not all given back


@final
@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What is to be done: `train` is learnt from, `held` judges, `numbers` are the teacher's for each token.

    `key` names the work: what was begun under another is not gone on with.
    """

    student: Checkpoint
    description: Description
    teacher: Description
    asked: Asked
    train: Windows
    held: Windows
    numbers: NDArray[np.int64] | None = field(repr=False)
    rows: int = 1
    key: str = ""

    @property
    def tokens(self) -> int:
        """Tokens to learn from in all, as asked for."""
        return self.asked.tokens or self.train.tokens

    @property
    def accumulate(self) -> int:
        """Mini-batches of a step: as many windows as asked for, `rows` at a time."""
        return math.ceil(self.asked.batch / self.rows)

    def settings(self, tokens: int) -> TrainSpec:
        """How to train on so many tokens."""
        return TrainSpec(
            epochs=max(tokens / self.train.tokens, 1e-9),
            batch=self.rows,
            accumulate=self.accumulate,
            optimizer="adamw",
            lr=self.asked.rate(_first(_config(self.student), _WIDE)),
            schedule="cosine",
            warmup=_WARM,
            precision=self.asked.dtype,
            regular=Regular(clip_norm=_CLIP),
        )


def plan(folder: Path, asked: Asked) -> Plan:
    """Look at both checkpoints and read the text; no weights are read.

    Raises `BadInputError` for what cannot be healed: a checkpoint that is rounded or does not go on with text, a
    tokenizer whose tokens the teacher does not know, a text that is too short.
    """
    student = Checkpoint.at(folder)
    if "quantization_config" in student.config:
        raise BadInputError(
            f"The weights of {folder} are rounded, so steps of learning would be lost in rounding.",
            "heal the checkpoint it was rounded from, then round that again with pennyweight shrink.",
        )
    description, teacher = described(folder), described(asked.teacher)
    _check_other(folder, asked.teacher)
    tokenizers = (open_tokenizer(folder), open_tokenizer(asked.teacher))
    numbers = teachers_numbers(tokenizers, description, teacher)
    size = _window(asked, (description, teacher))
    every = windows(read(asked.texts), tokenizers[0], size)
    check_known(every, description)
    wanted = max(_LEAST_HELD, round(_HELD_SHARE * (asked.tokens or every.tokens)))
    train, held = parted(every, max(1, wanted // size))
    rows = max(1, min(asked.batch, _ANSWER_BYTE // (_FLOAT * size * description.vocabulary)))
    made = (student, description, teacher, asked, train, held, numbers, rows)
    return Plan(*made, key=_key(student, teacher, asked, every))


def _check_other(folder: Path, teacher: Path) -> None:
    if folder.resolve() == teacher.resolve():
        raise BadInputError(
            f"{folder} cannot be its own teacher.", "give --teacher the checkpoint that it was made of."
        )


def _window(asked: Asked, both: tuple[Description, Description]) -> int:
    most = min((each.context for each in both if each.context), default=_WINDOW)
    if asked.window is not None and asked.window > most and any(each.context for each in both):
        raise BadInputError(f"A window of {asked.window} is more than the models look at.", f"give at most {most}.")
    if not all(each.vocabulary for each in both):
        raise BadInputError("A config.json does not say its vocab_size.", "download config.json again.")
    return asked.window or min(most, _WINDOW)


def _key(student: Checkpoint, teacher: Description, asked: Asked, text: Windows) -> str:
    tensors = [(name, each.dtype, each.shape) for name, each in sorted(student.tensors.items())]
    said = [str(student.folder.resolve()), str(teacher.folder.resolve()), teacher.byte, tensors, asked.facts()]
    return sha256(json.dumps(said).encode() + text.y.tobytes()).hexdigest()


def work_byte(plan: Plan, learning: int | None = None) -> float:
    """Bytes that both models and all that learning needs take; `learning` are the weights that change, if known.

    Both models; of each weight that learns a gradient, two averages of AdamW and the best value so far; what is said of
    a mini-batch, and what going back needs of it; a state on its way to the disk.
    """
    parameters, width = plan.description.parameters, _WIDTHS[plan.asked.dtype]
    changing = learning if learning is not None else _learning(plan)
    models = parameters * _FLOAT + plan.teacher.parameters * width
    state = 2 * _FLOAT * (parameters + 2 * changing)
    return models + 4 * _FLOAT * changing + max(state, _batch_byte(plan))


def _learning(plan: Plan) -> int:
    """How many numbers learn, from names and shapes alone."""
    asked, tensors = plan.asked, plan.student.tensors
    chosen = [each for name, each in tensors.items() if not asked.only or any(word in name for word in asked.only)]
    if not asked.lora:
        return sum(each.count for each in chosen)
    return sum(asked.lora * sum(each.shape) if len(each.shape) > 1 else each.count for each in chosen)


def _batch_byte(plan: Plan) -> float:
    config = _config(plan.student)
    wide, deep = _first(config, _WIDE), _first(config, _DEEP)
    middle = _first(config, _MIDDLE) or 4 * wide
    tokens = plan.rows * plan.train.x.shape[1]
    kept = tokens * deep * (_STREAM * wide + _INNER * middle)
    return float(_FLOAT * (kept + _ANSWERS * tokens * plan.description.vocabulary))


def _config(student: Checkpoint) -> dict[str, Any]:
    """What config.json says, of the language model where there is more than that."""
    config = dict(student.config)
    return config | (config.get("text_config") or {})


def _first(config: dict[str, Any], names: tuple[str, ...]) -> int:
    found = next((config[name] for name in names if config.get(name)), 0)
    return int(found) if isinstance(found, int) else 0


def needed_byte(plan: Plan) -> float:
    """The most memory that this process will hold while it carries out `plan`."""
    import psutil

    _load_libraries(plan)
    return float(psutil.Process().memory_info().rss) + _BESIDE_BYTE + _UNEVEN * work_byte(plan)


def _load_libraries(plan: Plan) -> None:
    """Take the memory that libraries take, so that it is counted."""
    import torch
    import transformers

    del torch
    _ = transformers.AutoModelForCausalLM
    if plan.asked.lora:
        import peft

        del peft


def check_room(plan: Plan, to: Path) -> None:
    """Raise `StorageError` if the disk has no room for what is kept while it learns, and for the checkpoint."""
    around = to.absolute().parent
    while not around.exists():
        around = around.parent
    changing = _learning(plan)
    state = _FLOAT * (plan.description.parameters + 2 * changing)
    needed = _STATES * (state + _FLOAT * changing) + plan.student.byte
    free = shutil.disk_usage(around).free
    if needed > free:
        raise StorageError(
            f"Healing takes {si(needed, 'B')} beside {to}, and there are {si(free, 'B')} on that disk.",
            "free space on it, or give a folder on another.",
        )


def check_memory(plan: Plan) -> None:
    """Raise `BadInputError` if the machine has not as much memory free."""
    import psutil

    needed, free = work_byte(plan), float(psutil.virtual_memory().available)
    if needed > free:
        ways = "--dtype bfloat16, " if plan.asked.dtype == "float32" else ""
        ways += "" if plan.asked.lora else "--lora 8, "
        raise BadInputError(
            f"Healing takes about {si(needed, 'B')} of memory, and {si(free, 'B')} are free.",
            f"give {ways}smaller --window, or take a machine with more.",
        )
