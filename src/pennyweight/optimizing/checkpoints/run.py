"""The whole search: look, cut the text, try, weigh, certify, keep the winner; each step is resumable."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.catalog import machine
from pennyweight.core import Phase
from pennyweight.cost.meter import meter
from pennyweight.engine.booking import book
from pennyweight.engine.shrinking import Calibration
from pennyweight.errors import StorageError
from pennyweight.optimizing.checkpoints.candidates import planned
from pennyweight.optimizing.checkpoints.certifying import certified, sequence
from pennyweight.optimizing.checkpoints.finishing import finish
from pennyweight.optimizing.checkpoints.pricing import Price
from pennyweight.optimizing.checkpoints.promising import opens, predicted, promised
from pennyweight.optimizing.checkpoints.result import Bill, Judged, Result
from pennyweight.optimizing.checkpoints.scene import Scene, fingerprint_of, silence, write_calibration
from pennyweight.optimizing.checkpoints.trying import CONTROL, Trials
from pennyweight.optimizing.checkpoints.weighing import Contender, Scales, runtimes
from pennyweight.optimizing.checkpoints.work import Spent, Work
from pennyweight.units import si

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.optimizing.checkpoints.asking import Ask
    from pennyweight.optimizing.checkpoints.candidates import Planned, Skipped
    from pennyweight.optimizing.checkpoints.promising import Promise
    from pennyweight.optimizing.checkpoints.scene import Watch


def optimize_checkpoint(ask: Ask, watch: Watch = silence) -> Result:
    """Find the cheapest checkpoint, runtime and device that keep the floor, certify it and write it to `ask.out`.

    What was measured is kept beside `ask.out`, so the same call again goes on where one was cut off. Raises
    `BadInputError` for what cannot be searched, such as too little text, and `StorageError` where the disk is too
    small for any candidate.
    """
    scene = Scene.of(ask, watch)
    watch("reading", text="every byte of the checkpoint, once, to name it")
    fingerprint = fingerprint_of(scene.source)
    with Work(ask.place, scene.key(fingerprint), fresh=ask.fresh) as work:
        try:
            return _searched(scene, work, fingerprint)
        except KeyboardInterrupt:
            watch("stop", text="Interrupted; what was measured is kept, and the same again goes on from there.")
            raise


def foresee_checkpoint(ask: Ask, watch: Watch = silence) -> tuple[list[tuple[Planned, Promise]], list[Skipped]]:
    """Every candidate with what it promises, the most promising first, and what cannot be made; nothing is carried out.

    Quality is only known by measuring. Raises `BadInputError` as `optimize_checkpoint` does.
    """
    scene = Scene.of(ask, watch)
    found, skipped = planned(ask.folder, Calibration(ask.texts[0]))
    pairs = [(each, promised(each, scene)) for each in found]
    return sorted(pairs, key=lambda pair: pair[1].share), skipped


def _searched(scene: Scene, work: Work, fingerprint: str) -> Result:
    """Carry the search out, as far as it is not done."""
    candidates, skipped = planned(scene.ask.folder, Calibration(write_calibration(scene, work.place)))
    _foretell(scene, candidates)
    trials = Trials(scene, work)
    trials.run(candidates)
    prices = _priced(scene, trials, work)
    hopes = [each for each in trials.tried if each.seen.hopeful]
    tests = certified(trials, scene, sequence(hopes, prices), fingerprint)
    text = Judged(
        scene.parts.tokens,
        len(scene.parts.select),
        scene.parts.certify.scored,
        scene.parts.sha256,
        trials.perplexity,
    )
    result = Result(
        scene.ask.folder,
        fingerprint,
        scene.source.byte,
        scene.ask.floor,
        scene.ask.devices,
        scene.ask.load,
        text,
        tuple(trials.tried),
        (*skipped, *trials.skipped),
        prices,
        tuple(tests),
        _bill(scene, work),
    )
    return finish(result, scene, work)


def _foretell(scene: Scene, candidates: Sequence[Planned]) -> None:
    """Say what of the disk will be taken; refuse a disk on which not even the smallest candidate has room."""
    parts, most = scene.parts, max(each.plan.byte for each in candidates)
    free = shutil.disk_usage(scene.ask.place).free
    calibrate = sum(len(text.encode()) for text in parts.calibrate)
    scene.watch(
        "note",
        text=f"{parts.tokens:,} tokens of text: {si(calibrate, 'B')} calibrate, {len(parts.select):,} tokens select, "
        f"{parts.certify.scored:,} certify.",
    )
    scene.watch(
        "note",
        text=f"{len(candidates)} candidates; {scene.ask.place} takes up to {si(most, 'B')} for each that may keep the "
        f"floor ({si(sum(each.plan.byte for each in candidates), 'B')} if all of them did); {si(free, 'B')} are free.",
    )
    least = min(each.plan.byte for each in candidates)
    if least > free:
        raise StorageError(
            f"The smallest candidate takes {si(least, 'B')}, and there are {si(free, 'B')} on that disk.",
            "free space on it, or give an --out on another.",
        )


def _priced(scene: Scene, trials: Trials, work: Work) -> dict[str, list[Price]]:
    """The prices of the original and of all that may keep the floor, by name."""
    hopes = [each for each in trials.tried if each.seen.hopeful]
    found = {CONTROL: predicted("", scene.source.byte, scene)}
    found |= {each.name: list(each.promise.prices) for each in trials.tried}
    if scene.here:
        for key, price in _measured(scene, [each.planned for each in hopes], trials, work).items():
            found[key.partition(" by ")[0]].append(price)
    return found


def _measured(scene: Scene, hopes: Sequence[Planned], trials: Trials, work: Work) -> dict[str, Price]:
    """Prices on this machine, by contender; those that were measured before for the same requests are recalled."""
    load, config = scene.ask.load, scene.source.config
    contenders = [Contender(CONTROL, scene.ask.folder, runtime) for runtime in runtimes(scene.ask.folder)]
    for each in hopes:
        if opens(config, each.candidate.among or (each.candidate.to,)):
            folder = trials.made(each)
            contenders.append(Contender(each.name, folder, runtimes(folder)[-1]))
    name = f"weighed {load.prompt} {load.answer} {load.at_once} {scene.sheet.id}"
    known = work.recall(name) or {}
    if all(each.key in known for each in contenders):
        return {each.key: Price.of(known[each.key]) for each in contenders}
    scene.watch("weighing", text=", ".join(each.key for each in contenders))
    tokens = np.concatenate(scene.parts.rest.documents)
    window = meter()
    with window:
        weighed = Scales(load, tokens, machine(), scene.sheet).weigh(contenders)
    work.spend(Spent.of("weigh tokens", window.measured))
    book(f"optimize {scene.name}", Phase.FIND, window.measured, f"weigh {len(contenders)} ways to serve", {})
    work.know(name, {key: price.facts() for key, price in weighed.items()})
    return weighed


def _bill(scene: Scene, work: Work) -> Bill:
    spent = work.spent
    cpu_s, wall_s, joule = (sum(getattr(each, name) for each in spent) for name in ("cpu_s", "wall_s", "joule"))
    return Bill(scene.usd(spent), cpu_s, wall_s, joule)
