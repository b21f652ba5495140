"""How many tokens a budget pays for: one mini-batch is tried before the number of steps is decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from pennyweight.core import Cost
from pennyweight.errors import OverBudgetError
from pennyweight.units import seconds, usd

if TYPE_CHECKING:
    from torch import nn

    from pennyweight.training.healing.answering import Teacher
    from pennyweight.training.healing.planning import Plan
    from pennyweight.training.healing.spending import Spending

_LEFT = 0.9  # of a budget is planned with
_LOOKING = 1.15  # times learning: judging on the way
_ENDINGS = 2  # judging once more, and writing


@final
@dataclass(frozen=True, slots=True)
class Pair:
    """Student and teacher, both answering tokens (B, T) with logits (B, T, V)."""

    student: nn.Module
    teacher: Teacher


def affordable(plan: Plan, pair: Pair, spending: Spending, ending: Cost) -> int:
    """The tokens to learn from: as many as asked for that the limits pay for, where judging once takes `ending`.

    Raises `OverBudgetError` if they do not pay for one step.
    """
    asked, tokens = plan.asked, plan.tokens
    if asked.usd is None and asked.wall_s is None:
        return tokens
    one, spent = _rehearsed(plan, pair, spending), spending.look()
    size = plan.rows * plan.train.x.shape[1]
    if asked.usd is not None:
        tokens = min(tokens, _paid(asked.usd, spent.usd + _ENDINGS * ending.usd, one.usd, size))
    if asked.wall_s is not None:
        tokens = min(tokens, _paid(asked.wall_s, spent.wall_s + _ENDINGS * ending.wall_s, one.wall_s, size))
    if tokens < min(plan.tokens, asked.batch * plan.train.x.shape[1]):
        raise OverBudgetError(
            f"After {usd(spent.usd)} and {seconds(spent.wall_s)}, the rest of the budget pays for less than a step.",
            "give more, or a smaller --batch.",
        )
    return tokens


def _paid(limit: float, gone: float, each: float, size: int) -> int:
    """The tokens that the rest of a limit pays for, `size` of them at `each`."""
    return int((_LEFT * limit - gone) / max(each * _LOOKING, 1e-12) * size)


def _rehearsed(plan: Plan, pair: Pair, spending: Spending) -> Cost:
    """What one mini-batch takes, tried twice without learning from it."""
    import torch
    from torch.nn import functional

    took = Cost()
    with torch.random.fork_rng(devices=()):
        for _ in range(2):
            began = spending.look()
            ids = torch.from_numpy(plan.train.x[: plan.rows])
            told, said = pair.teacher(ids).log_softmax(-1), pair.student(ids).log_softmax(-1)
            functional.kl_div(said, told, reduction="batchmean", log_target=True).backward()
            ended = spending.look()
            took = Cost(0.0, ended.wall_s - began.wall_s, 0.0, ended.usd - began.usd)
    pair.student.zero_grad(set_to_none=True)
    return took
