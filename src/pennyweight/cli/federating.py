"""`pennyweight train --clients N`: the federated run, round by round on the screen, and what came out."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.errors import BadInputError
from pennyweight.units import percent, seconds, si, usd

if TYPE_CHECKING:
    from pennyweight.cli.trained import Order
    from pennyweight.core import TrainSpec
    from pennyweight.train.federated import FederatedSpec, Round
    from pennyweight.training.federated import Together

_LOCAL = ("epochs", "batch", "lr", "optimizer")


@dataclass(frozen=True, slots=True)
class Circle:
    """What the person typed about clients."""

    clients: int
    rounds: int
    rule: str
    alpha: float | None
    secure: bool
    dp: str | None
    compress: str = ""

    def spec(self, local: TrainSpec) -> FederatedSpec:
        """How the federated training goes; raises `BadInputError` for what cannot be."""
        from pennyweight.train.federated import FederatedSpec, Privacy

        privacy = Privacy.parse(self.dp) if self.dp else None
        return FederatedSpec(
            self.clients,
            self.rounds,
            self.rule,
            self.alpha,
            secure=self.secure,
            privacy=privacy,
            compress=self.compress,
            local=local,
        )


def carry_out(order: Order, circle: Circle, *, json: bool) -> None:
    """Train among clients, and write and show what came out."""
    from pennyweight.engine import Shop
    from pennyweight.store.artifacts import save
    from pennyweight.training.federated import train_federated

    order.check()
    _check(order)
    job = order.job()
    local = job.spec.train
    spec = circle.spec(replace(local, team=replace(local.team, compress="")))
    shop = Shop.at(prices=order.prices)
    done = train_federated(job, spec, _say, seed=order.seed, shop=shop)
    save(shop.artifacts.get(done.artifact), order.out)
    if json:
        say_json({**done.facts(), "path": str(order.out)})
        return
    _show(done)
    say(f"Written: {order.out}.")


def _check(order: Order) -> None:
    typed: dict[str, object] = {
        "--resume": order.resume,
        "--floor": order.floor,
        "--workers, --sync": {name for name in order.team if name != "compress"},
    }
    typed |= {"--report": order.report, "--ema, --clip": order.regular}
    typed |= {"--" + name: True for name in order.settings if name not in _LOCAL}
    for name, value in typed.items():
        if value:
            raise BadInputError(f"A federated training takes no {name}.", "leave it out, or leave out --clients.")


def _say(told: Round) -> bool:
    parts = [f"round {told.number} of {told.of}", f"{told.counted} of {told.asked} clients"]
    if told.quality is not None:
        parts.append(f"score {told.quality:.4g}")
    if told.epsilon is not None:
        parts.append(f"epsilon {told.epsilon:.3g}")
    for line in (" · ".join((*parts, si(told.down_byte + told.up_byte, "B"))), *told.said):
        sys.stderr.write(f"  {line}\n")
    return True


def _show(done: Together) -> None:
    score, cost = done.score, done.cost
    down, up = (sum(getattr(each, name) for each in done.rounds) for name in ("down_byte", "up_byte"))
    rows: list[list[Any]] = [
        [score.metric, percent(score.mean) if score.higher_is_better and 0 <= score.mean <= 1 else f"{score.mean:.4g}"],
        ["run", done.run],
        ["rounds", str(len(done.rounds))],
        ["sent to clients", si(down, "B")],
        ["sent by clients", si(up, "B")],
        ["CPU", seconds(cost.device_s)],
        ["clock", seconds(cost.wall_s)],
        ["dollars", usd(cost.usd)],
    ]
    if done.epsilon is not None:
        rows.append(["epsilon spent", f"{done.epsilon:.4g}"])
    say_table(done.job, ["what", "value"], rows, range(1, 2))
    say(done.why)
