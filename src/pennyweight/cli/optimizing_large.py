"""`pennyweight optimize DIR`: the cheapest form of a language model's folder that keeps the floor, as it is found."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import starmap
from typing import TYPE_CHECKING, Any

from pennyweight.cli.screen import Progress, say, say_json, say_table
from pennyweight.core import Limits
from pennyweight.errors import BadInputError
from pennyweight.units import parse_seconds, parse_share, parse_usd, percent, seconds, si, usd

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pennyweight.cli.optimizing import Wish
    from pennyweight.cli.outputs import Outputs
    from pennyweight.optimizing.checkpoints import Ask

_GIVE_UP, _SURE = "1%", "95%"


@dataclass(frozen=True, slots=True)
class Large:
    """What was typed for a folder only."""

    texts: tuple[Path, ...]
    on: str | None
    tokens: int | None
    prompt: int | None
    answer: int | None

    def check_unused(self) -> None:
        """Refuse these for recipes."""
        given = {"--eval": self.texts, "--on": self.on, "--tokens": self.tokens}
        given |= {"--prompt": self.prompt, "--answer": self.answer}
        if names := [name for name, value in given.items() if value]:
            raise BadInputError(
                f"{names[0]} is for the folder of a language model, with its config.json, not for recipes.",
                "leave it out, or give such a folder.",
            )

    def ask(self, folder: Path, wish: Wish, out: Path) -> Ask:
        """The same as values; raises `BadInputError` for what only recipes know."""
        from pennyweight.optimizing.checkpoints import Ask, Load
        from pennyweight.optimizing.checkpoints.asking import CPU, USUAL_TOKENS

        if not self.texts:
            raise BadInputError("A language model's folder is judged by a text.", "give --eval TEXT.txt.")
        usual = Load()
        load = Load(self.prompt or usual.prompt, self.answer or usual.answer)
        limits = Limits(
            usd=parse_usd(wish.budget) if wish.budget else None,
            wall_s=parse_seconds(wish.time) if wish.time else None,
            trials=wish.trials,
        )
        return Ask(
            folder,
            self.texts,
            out,
            parse_share(wish.give_up or _GIVE_UP),
            parse_share(wish.sure or _SURE),
            tuple(name.strip() for name in (self.on or CPU).split(",") if name.strip()),
            self.tokens or USUAL_TOKENS,
            load,
            limits,
            wish.prices,
            wish.fresh,
        )


def is_checkpoint(path: Path) -> bool:
    """Whether that is a folder of a model and no recipe."""
    return (path / "config.json").is_file()


def tell_checkpoint(given: Sequence[Path], wish: Wish, large: Large, outputs: Outputs, *, json: bool) -> None:
    """Search one folder, show what came out, and write report and winner."""
    from pennyweight.store.disk import check_plain

    if len(given) > 1:
        raise BadInputError("A language model's folder is searched alone.", "give one folder at a time.")
    _check_recipes_only(wish, outputs)
    ask = large.ask(given[0], wish, outputs.winner)
    check_plain(outputs.report)
    if wish.dry_run:
        _tell_ahead(ask, json=json)
        return
    from pennyweight.optimizing.checkpoints import optimize_checkpoint
    from pennyweight.report.checkpoint_page import write_checkpoint

    with Progress(given[0].name) as progress:
        result = optimize_checkpoint(ask, _Teller(progress))
    facts = result.facts() | {"report": str(outputs.report)}
    write_checkpoint(facts, outputs.report)
    if json:
        say_json(facts)
        return
    show(facts)
    for line in verdict(facts):
        say(line)


def _check_recipes_only(wish: Wish, outputs: Outputs) -> None:
    given: dict[str, object] = {
        "--data": wish.data,
        "--floor": wish.floor,
        "--levers": wish.use,
        "--with": wish.options,
    }
    given |= {"--predictions": wish.predictions, "--picture": outputs.picture}
    given |= {"--strategy": wish.strategy != "greedy", "--objective": wish.objective != "total"}
    if names := [name for name, value in given.items() if value]:
        raise BadInputError(
            f"{names[0]} is for recipes, not for the folder of a language model.", "leave it out (see --eval, --on)."
        )


@dataclass(frozen=True, slots=True)
class _Teller:
    """Passes on what happens: lines that stay, and the status."""

    progress: Progress

    def __call__(self, event: str, **facts: Any) -> None:
        """Show it; a terminal that went away ends no search."""
        with suppress(BrokenPipeError):
            self.progress(event, **facts)


def _tell_ahead(ask: Ask, *, json: bool) -> None:
    """What would be tried, and what it promises."""
    from pennyweight.optimizing.checkpoints import foresee_checkpoint

    pairs, skipped = foresee_checkpoint(ask)
    facts: list[dict[str, Any]] = [
        {
            "name": each.name,
            "byte": each.plan.byte,
            "share": promise.share,
            "prices": [price.facts() for price in promise.prices],
        }
        for each, promise in pairs
    ]
    if json:
        say_json({"candidates": facts, "skipped": [{"name": each.name, "why": each.why} for each in skipped]})
        return
    rows = [
        [each["name"], si(each["byte"], "B"), percent(each["share"], 0) if each["share"] < 1 else ""] for each in facts
    ]
    say_table("What would be tried, the most promising first", ["", "bytes", "of the price"], rows, (1, 2))
    say("Promised, nothing was run: by bytes on this machine, predicted on accelerators; quality is only measured.")


def show(facts: dict[str, Any]) -> None:
    """Print what was tried, and every way to serve that was priced."""
    rows = [[_mark(each), each["name"], si(each["byte"], "B"), _rise(each), _state(each)] for each in facts["tried"]]
    title = f"{facts['folder']}: perplexity at most {percent(facts['floor']['give_up'])} higher"
    say_table(title, ["", "weights", "bytes", "perplexity", ""], rows, (2, 3))
    prices = [("original", price) for price in facts["original"]["prices"]]
    prices += [(each["name"], price) for each in facts["tried"] if not _struck(each) for price in each["prices"]]
    heads = ["weights", "device", "runtime", "$/M tokens", "", "per token", "J/token", "known"]
    say_table("What a million generated tokens cost", heads, list(starmap(_priced, prices)), (3, 5, 6))


def verdict(facts: dict[str, Any]) -> list[str]:
    """What came out, in sentences."""
    kept, search = facts["kept"], facts["search"]
    lines = [_way(facts, each) for each in facts["answers"]]
    if kept is None:
        lines.append("No candidate is certified to keep the floor and to cost less: the original stands.")
        if facts["least_give_up"]:
            name, rise = next(iter(facts["least_give_up"].items()))
            lines.append(f"The nearest, {name}, would seem to take --give-up {percent(rise)} or more.")
        lines += [
            f"{each['name']}: {each['why']}." for each in facts["tried"] if each["test"] and not each["certified"]
        ]
    else:
        test = facts["certificate"]
        lines.append(
            f"Certified: {kept['name']} (p = {test['p_value']:.2g} ≤ {test['level']:.2g}, {test['test']}, "
            f"{test['tokens']:,} fresh tokens); it saves {percent(facts['saving'], 1)} on {kept['device']}."
        )
    lines.append(f"The search cost {usd(search['usd'])}, {seconds(search['cpu_s'])} of a core; {_pays(facts)}.")
    where = f"The checkpoint is in {facts['out']}, with its certificate.json. " if facts["out"] else ""
    lines.append(f"{where}The report is in {facts['report']}.")
    return lines


def _way(facts: dict[str, Any], way: dict[str, Any]) -> str:
    how = "measured" if way["basis"] == "measured" else "predicted"
    best = " (the cheapest of all)" if way == facts["answer"] and len(facts["answers"]) > 1 else ""
    return (
        f"On {way['device']}: {way['name']} by {way['runtime']}, {usd(way['usd'])} per million tokens "
        f"({usd(way['low'])} to {usd(way['high'])}), {how}{best}."
    )


def _pays(facts: dict[str, Any]) -> str:
    even = facts["break_even_tokens"]
    return (
        "nothing is saved that could pay for it" if even is None else f"it has paid for itself after {even:,.0f} tokens"
    )


def _mark(each: dict[str, Any]) -> str:
    return "★" if each["winner"] else "·" if each["certified"] else ""


def _struck(each: dict[str, Any]) -> bool:
    return not each["prices"] or not each["whole"]


def _rise(each: dict[str, Any]) -> str:
    return f"{each['rise']:+.2%} ({each['low']:+.2%} to {each['high']:+.2%})"


def _state(each: dict[str, Any]) -> str:
    return each["why"] or "certified"


def _priced(name: str, price: dict[str, Any]) -> list[str]:
    joule = f"{price['joule']:.2g}" if price["joule"] is not None else ""
    span = f"{usd(price['low'])} to {usd(price['high'])}"
    return [
        name,
        price["device"],
        price["runtime"],
        usd(price["usd"]),
        span,
        seconds(price["token_s"]),
        joule,
        price["basis"],
    ]
