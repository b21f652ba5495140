"""Compare two checkpoints: open them (one after the other if both do not fit), let them read, judge, and book it."""

from __future__ import annotations

import gc
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, final

from pennyweight.core import Phase
from pennyweight.cost.meter import meter
from pennyweight.engine.booking import book
from pennyweight.engine.quality import judging
from pennyweight.engine.quality.answering import Answers, Reader, answer
from pennyweight.engine.quality.matter import described, matter_of
from pennyweight.engine.quality.results import Check, Comparison, Cost, OnTasks, Retrieved
from pennyweight.engine.quality.retrieving import Found, retrieve
from pennyweight.engine.quality.scoring import Memory, Scores, check_finite, side_by_side
from pennyweight.errors import BadInputError, PennyweightError
from pennyweight.runtimes.hf import Description, open_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from pennyweight.cost.meter import Measurement
    from pennyweight.engine.quality.asking import Asked
    from pennyweight.engine.quality.matter import Matter

    Watch = Callable[[str, float], None]

_SHARE = 0.8  # of the memory that is free
_COPIES = 4  # of what is said of a window's tokens, while two models are compared
_WIDTHS = {"float32": 4, "bfloat16": 2, "float16": 2}


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Said:
    """What one model said beside the text."""

    answers: Answers | None
    found: Found | None


def compare(first: Path, second: Path, asked: Asked, watch: Watch = lambda _stage, _share: None) -> Comparison:
    """Compare the checkpoint `second` with `first`, the one it is to be as good as, and book what that took.

    `watch` hears which stage is how far. Raises `BadInputError` for what cannot be compared: checkpoints that do not
    go on with text, tokenizers that differ, files that hold no text or no questions.
    """
    descriptions = (described(first), described(second))
    window = meter()
    try:
        with window:
            matter = matter_of(descriptions, asked, watch)
            together = _fits(descriptions, matter) if asked.together is None else asked.together
            scores, said = (_together if together else _apart)((first, second), matter)
            check_finite(scores, (str(first), str(second)))
    except BadInputError:
        raise
    except BaseException:
        with suppress(PennyweightError):  # what went wrong first is what is said
            _book(first, second, window.measured, {})
        raise
    return _judged(matter, scores, said, (first, second, window.measured, together))


def _fits(descriptions: tuple[Description, Description], matter: Matter) -> bool:
    """Whether both models are held at once: rounded weights are taken to become as many as the larger has."""
    import psutil

    widest = max(each.parameters for each in descriptions) * _WIDTHS.get(matter.asked.dtype, 4)
    scores = _COPIES * 4 * matter.windows[0] * matter.vocabulary
    return 2 * widest + scores < _SHARE * float(psutil.virtual_memory().available)


def _together(folders: tuple[Path, Path], matter: Matter) -> tuple[Scores, tuple[_Said, _Said]]:
    models = (_opened(folders[0], matter), _opened(folders[1], matter))
    hear = matter.progress("reading the text", matter.text.scored)
    batches = zip(matter.batches(0), matter.batches(1), strict=True)
    scores = side_by_side(models, batches, matter.text.scored, hear)
    return scores, (_said(models[0], folders[0], matter, 0), _said(models[1], folders[1], matter, 1))


def _apart(folders: tuple[Path, Path], matter: Matter) -> tuple[Scores, tuple[_Said, _Said]]:
    with TemporaryDirectory(prefix="pennyweight-") as room:
        model = _opened(folders[0], matter)
        memory = Memory(Path(room), matter.text.scored, int(model.config.get_text_config().vocab_size))
        memory.listen(model, matter.batches(0), matter.progress(f"{folders[0].name} reads", matter.text.scored))
        first = _said(model, folders[0], matter, 0)
        del model
        gc.collect()
        model = _opened(folders[1], matter)
        hear = matter.progress(f"{folders[1].name} reads", matter.text.scored)
        scores = memory.beside(model, matter.batches(1), hear)
        return scores, (first, _said(model, folders[1], matter, 1))


def _opened(folder: Path, matter: Matter) -> Any:
    matter.watch(f"opening {folder.name}", 0.0)
    return open_model(folder, matter.asked.dtype)


def _said(model: Any, folder: Path, matter: Matter, which: int) -> _Said:
    reader = Reader(model, matter.tokenizers[which], matter.context, str(folder))
    answers = found = None
    if matter.samples:
        hear = matter.progress(f"{folder.name} answers", len(matter.samples))
        answers = answer(reader, matter.samples, hear)
    if matter.probes:
        hear = matter.progress(f"{folder.name} looks for numbers", len(matter.probes))
        found = retrieve(reader, matter.texts[which], matter.probes, hear)
    return _Said(answers, found)


def _judged(
    matter: Matter, scores: Scores, said: tuple[_Said, _Said], how: tuple[Path, Path, Measurement, bool]
) -> Comparison:
    asked, (first, second, measured, together) = matter.asked, how
    checks: list[Check] = [judging.perplexity_check(matter.text, scores, asked)]
    tasks: tuple[OnTasks, ...] = ()
    found: tuple[Retrieved, ...] = ()
    one, other = said
    if one.answers is not None and other.answers is not None:
        tasks = tuple(judging.on_tasks(matter.samples, one.answers, other.answers, by_length=asked.by_length))
        right = [each.by_length if asked.by_length else each.plain for each in (one.answers, other.answers)]
        checks.append(judging.right_check("right answers", right[0], right[1], asked))
    if one.found is not None and other.found is not None:
        found = tuple(judging.retrieved(matter.probes, one.found, other.found))
        checks.append(judging.found_check(one.found, other.found, asked))
    result = Comparison(
        str(first),
        str(second),
        judging.on_text(matter.text, scores, matter.windows, asked.confidence),
        None if matter.renumbered else judging.divergence_of(matter.text, scores),
        tasks,
        found,
        tuple(checks),
        asked.confidence,
        together,
        Cost(measured.wall_s, measured.cpu_s, measured.joule, measured.joule_basis, measured.peak_byte),
    )
    _book(first, second, measured, {"held": result.held, "ratio": result.text.ratio, "tokens": result.text.tokens})
    return result


def _book(first: Path, second: Path, measured: Measurement, note: dict[str, Any]) -> None:
    title = f"compare {second.resolve().name} with {first.resolve().name}"
    book(title, Phase.FIND, measured, "perplexity, divergence, tasks", note)
