"""What happens now: traffic, compute and cost of the last minutes, as pages and as a stream."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import orjson

from pennyweight.errors import PennyweightError
from pennyweight.serve.money.tariffs import NUSD
from pennyweight.store.team import registry
from pennyweight.store.team.series import series
from pennyweight.web.books import amount

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from sqlalchemy import Connection

    from pennyweight.store.team.series import Step
    from pennyweight.web.books import Books, Query

_S = 10**9
_NOW_S, _HOUR_S, _MOST_S = 10, 3600, 7 * 86_400
_STEPS = 120
_STREAM_S = 600.0  # then the browser asks anew, and has to show its key again


def live_facts(books: Books, query: Query) -> dict[str, Any]:
    """About a hundred steps of the last `minutes`, of one model or all, and what happens now."""
    minutes, model = amount(query, "minutes", 15.0), query.get("model", "")[:64]
    span_s = min(int(minutes * 60) or 60, _MOST_S)
    step_s = max(1, span_s // _STEPS)
    now_ns = time.time_ns()
    with books.reading() as link:
        found = series(link, now_ns - span_s * _S, now_ns, step_s * _S, model)
        models = sorted({each.model for each in registry.versions(link)})
        now = numbers(link, now_ns)
    return {
        "minutes": span_s / 60,
        "model": model,
        "models": models,
        "step_s": step_s,
        "now": now,
        "steps": [_point(each, step_s) for each in found],
    }


def numbers(link: Connection, now_ns: int) -> dict[str, Any]:
    """Requests, and rows or tokens that came out, per second, of the last ten that are over; sums of the last hour."""
    over_ns = now_ns - now_ns % _S
    recent = series(link, over_ns - _NOW_S * _S, over_ns, _S)
    hour = _sum(series(link, now_ns - _HOUR_S * _S, now_ns, 60 * _S))
    rates = {"requests_s": sum(each.requests for each in recent) / _NOW_S}
    rates["made_s"] = sum(each.made for each in recent) / _NOW_S
    return {"at_ns": now_ns, **rates, **hour}


def _sum(steps: tuple[Step, ...]) -> dict[str, Any]:
    requests, compute_ns = sum(each.requests for each in steps), sum(each.compute_ns for each in steps)
    return {
        "requests_hour": requests,
        "errors_hour": sum(each.errors for each in steps),
        "compute_s": compute_ns / requests / _S if requests else 0.0,
        "cost_hour_usd": sum(each.cost_nusd for each in steps) / NUSD,
    }


def _point(of: Step, step_s: int) -> dict[str, Any]:
    return {
        "at_s": of.begin_ns // _S,
        "requests_s": of.requests / step_s,
        "errors_s": of.errors / step_s,
        "made_s": of.made / step_s,
        "compute_s": of.mean_ns / _S,
        "slowest_s": of.slowest_ns / _S,
        "usd_hour": of.cost_nusd / NUSD * _HOUR_S / step_s,
    }


async def ticks(books: Books, stopping: Callable[[], bool], every_s: float = 1.0) -> AsyncGenerator[bytes]:
    """What happens now, every `every_s`, as server-sent events; ends after ten minutes or when `stopping`."""
    end_s = time.monotonic() + _STREAM_S
    while time.monotonic() < end_s and not stopping():
        try:
            told = await asyncio.to_thread(_now, books)
        except PennyweightError:
            return
        yield b"event: now\ndata: " + orjson.dumps(told) + b"\n\n"
        await asyncio.sleep(every_s)


def _now(books: Books) -> dict[str, Any]:
    with books.reading() as link:
        return numbers(link, time.time_ns())
