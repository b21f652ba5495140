"""Carry out a healing: let the student learn from its teacher, keep its best, write it if it is better than before."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from pennyweight.core import Cost, Task
from pennyweight.errors import NoEffectError, PennyweightError
from pennyweight.runtimes.hf import open_model
from pennyweight.train.adapters import learning, merged
from pennyweight.train.checkpoint import Checkpoints
from pennyweight.train.how import How
from pennyweight.train.loop import fit
from pennyweight.training.healing.affording import Pair, affordable
from pennyweight.training.healing.answering import Teacher, loss_of, pupil
from pennyweight.training.healing.judging import Judging
from pennyweight.training.healing.planning import check_memory, check_room, needed_byte
from pennyweight.training.healing.results import Healed
from pennyweight.training.healing.spending import Spending
from pennyweight.training.healing.watching import Now, Watching
from pennyweight.training.healing.workplace import Workplace
from pennyweight.training.healing.writing import round_to, write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import nn

    from pennyweight.training.healing.planning import Plan

_LOOKS = 12
_OWN = "healing.json"
_KEEP_S = 30.0


def _silence(_now: Now) -> None:
    """Hear nothing."""


def heal(
    plan: Plan, to: Path, *, resume: bool = False, force: bool = False, watch: Callable[[Now], None] = _silence
) -> Healed:
    """Heal the student of `plan` and write it to the new folder `to`, which appears whole or not at all.

    What was begun goes on with `resume`, to the bit; `force` begins again. What it took is booked. Raises
    `NoEffectError` if it did not become better on what is held out, `BadInputError` if memory is too small or `to`
    holds something, `StorageError` if the disk is too small, `OverBudgetError` if the budget does not pay for one step,
    `KeyboardInterrupt` if it was interrupted (its state is kept).
    """
    check_memory(plan)
    check_room(plan, to)
    with Workplace(to, plan.key, resume=resume, force=force) as place:
        most = needed_byte(plan)
        found = place.states.latest()
        said = _own(found)
        before = Cost(*said.get("cost", (0.0, 0.0, 0.0)))
        how = f"lora {plan.asked.lora}" if plan.asked.lora else "all weights" if not plan.asked.only else "some weights"
        title = f"heal {plan.student.folder.resolve().name}"
        spending = Spending(title, f"{how}, by {plan.teacher.folder.resolve().name}", before)
        healing = _Healing(plan, place, spending, watch)
        try:
            return healing.go(found, said, most)
        except BaseException:
            with suppress(PennyweightError):  # what went wrong first is what is said
                spending.flush({"to": str(to)})
            raise


def _own(files: Mapping[str, bytes] | None) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(files[_OWN]) if files else {}
    return said


@final
@dataclass(frozen=True, slots=True)
class _Lesson:
    """What is learnt from, who judges and who says when to stop.

    `losses` are those of student and teacher before, on what is held out; `ending` is what one of them took to know.
    """

    tokens: int
    losses: tuple[float, float]
    ending: Cost
    judging: Judging
    watching: Watching


@final
@dataclass
class _Healing:
    """One visit."""

    plan: Plan
    place: Workplace
    spending: Spending
    watch: Callable[[Now], None]

    def go(self, found: Mapping[str, bytes] | None, said: dict[str, Any], most: float) -> Healed:
        """From weights on the disk to weights on the disk."""
        plan, watch = self.plan, self.watch
        watch(Now("opening"))
        model = open_model(plan.student.folder)
        teacher = Teacher(open_model(plan.teacher.folder, plan.asked.dtype), plan.numbers)
        student = pupil(model)
        watch(Now("reading what is held out"))
        losses, ending = self._losses(student, teacher, said)
        student.inner = self._learning(model)
        tokens = self._tokens(Pair(student, teacher), ending)
        judging = self._judging(tokens, losses[0], said)
        watching = Watching(plan.asked, judging, self.spending, losses[1], watch)
        watching.keep_back(ending)
        count = sum(each.numel() for each in student.parameters() if each.requires_grad)
        with watching.listening():
            self._fit(student, teacher, _Lesson(tokens, losses, ending, judging, watching), found)
        if watching.interrupted:
            raise KeyboardInterrupt
        judging.look(student)
        after = self._finished(student, judging, losses[0])
        return self._healed(judging, (losses[0], after, losses[1]), (tokens, count, most), watching.why)

    def _losses(self, student: nn.Module, teacher: Teacher, said: dict[str, Any]) -> tuple[tuple[float, float], Cost]:
        """The losses of student and teacher on what is held out, and what the student's took."""
        plan, began = self.plan, self.spending.look()
        if said:
            wall_s, dollars = said["ending"]
            return (said["losses"][0], said["losses"][1]), Cost(wall_s=wall_s, usd=dollars)
        before = loss_of(student, plan.held, plan.rows)
        ended = self.spending.look()
        took = Cost(wall_s=ended.wall_s - began.wall_s, usd=ended.usd - began.usd)
        return (before, loss_of(teacher, plan.held, plan.rows)), took

    def _learning(self, model: nn.Module) -> nn.Module:
        import torch

        with torch.random.fork_rng(devices=()):
            torch.manual_seed(self.plan.asked.seed)  # adapters begin at random
            return learning(model, self.plan.asked.only, self.plan.asked.lora)

    def _tokens(self, pair: Pair, ending: Cost) -> int:
        """How many tokens to learn from, decided once."""
        noted = self.place.noted
        if noted is not None:
            return int(noted["tokens"])
        tokens = affordable(self.plan, pair, self.spending, ending)
        self.place.note({"tokens": tokens})
        return tokens

    def _judging(self, tokens: int, before: float, said: dict[str, Any]) -> Judging:
        plan = self.plan
        updates = max(1, round(tokens / (plan.asked.batch * plan.train.x.shape[1])))
        judging = Judging(self.place, plan.held, max(1, updates // _LOOKS), before, at_once=plan.rows)
        if said:
            judging.restore(said["judging"])
        return judging

    def _fit(self, student: nn.Module, teacher: Teacher, lesson: _Lesson, found: Mapping[str, bytes] | None) -> None:
        asked, judging = self.plan.asked, lesson.judging

        def keep(files: dict[str, bytes]) -> None:
            cost = self.spending.flush({"updates": judging.updates})
            own = {
                "losses": lesson.losses,
                "ending": [lesson.ending.wall_s, lesson.ending.usd],
                "judging": json.loads(judging.state()),
                "cost": [cost.device_s, cost.wall_s, cost.joule],
            }
            self.place.states.put({**files, _OWN: json.dumps(own).encode()})
            judging.tidy()

        how = How(
            seed=asked.seed,
            task=Task.LANGUAGE,
            teacher=teacher,
            temperature=asked.temperature,
            mix=asked.mix,
            watch=lesson.watching,
            after_step=judging.after_step,
            checkpoints=Checkpoints(keep, found, _KEEP_S, of=self.plan.key),
        )
        fit(student, self.plan.train, self.plan.settings(lesson.tokens), how=how)

    def _finished(self, student: Any, judging: Judging, before: float) -> float:
        """Write the best of the student; returns its loss in the numbers that are written."""
        plan = self.plan
        after = math.inf
        if judging.best[0]:
            self.watch(Now("writing", 1.0))
            judging.give_best(student)
            student.inner = merged(student.inner)
            round_to(student.inner, plan.student)
            after = loss_of(student.eval(), plan.held, plan.rows)
        if not after < before:
            self.place.forget()
            raise NoEffectError(
                f"{plan.student.folder} did not become better: its perplexity on what is held out stayed at "
                f"{math.exp(before):.4g}, and nothing was written.",
                "give more text or tokens, a lower --lr, or check that --teacher is what it was made of.",
            )
        write(student.inner, plan.student, self.place)
        return after

    def _healed(
        self, judging: Judging, losses: tuple[float, float, float], numbers: tuple[int, int, float], why: str
    ) -> Healed:
        plan, (tokens, count, most) = self.plan, numbers
        before, after, teacher = map(math.exp, losses)
        note = {"to": str(self.place.to), "before": before, "after": after, "teacher": teacher}
        cost = self.spending.flush(note)
        learnt = min(tokens, judging.updates * plan.asked.batch * plan.train.x.shape[1])
        return Healed(
            before,
            after,
            teacher,
            learnt,
            plan.held.tokens,
            judging.updates,
            judging.best[0],
            tuple((update, math.exp(min(loss, 700.0))) for update, loss in judging.points),
            count,
            plan.description.parameters,
            why or "All steps were taken.",
            cost.device_s,
            cost.wall_s,
            cost.joule,
            self.spending.basis,
            cost.usd,
            self.spending.peak_byte,
            most,
        )
