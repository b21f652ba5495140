"""What passes by is watched: a window drifts, labels come late, the floor breaks, production goes back."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pennyweight.errors import PennyweightError
from pennyweight.serve.money.book import Book
from pennyweight.serve.watch import costs, floor
from pennyweight.serve.watch.monitor import Monitor, Settings, noted
from pennyweight.serve.watch.quality import standing
from pennyweight.serve.watch.reference import Reference
from pennyweight.serve.watch.seen import Seen
from pennyweight.serve.watch.watching import Watcher
from pennyweight.store.team import labels, registry
from pennyweight.store.team.alerts import alerts
from pennyweight.store.team.labels import Label, Labelled
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.registry import Move, Version
from pennyweight.store.team.usage import Request, Units, record

SURE = {"held": True, "floor": "accuracy at least 0.9, 95% sure"}
SETTINGS = Settings(window=200, first=400, floor=floor.Terms(horizon=1000, gap=0.05))


def traffic(rng, rows, shift=0.0):
    x = (rng.normal(size=(rows, 3)) + shift).astype(np.float32)
    odds = np.exp(4 * x)
    return x, odds / odds.sum(axis=1, keepdims=True)


def feed(monitor, rng, rows, shift=0.0):
    """Requests of ten rows each; their ids."""
    x, p = traffic(rng, rows, shift)
    ids = [f"{rng.integers(2**62):x}" for _ in range(rows // 10)]
    for n, id_ in enumerate(ids):
        monitor.seen.add(id_, x[10 * n : 10 * n + 10], p[10 * n : 10 * n + 10])
    return ids


def test_the_first_requests_are_the_reference_and_a_later_window_that_moved_is_told():
    rng, monitor = np.random.default_rng(0), Monitor(Version("digits", 3, "", ""), settings=SETTINGS)
    feed(monitor, rng, 390)
    assert monitor.take()[0] is None
    feed(monitor, rng, 10)
    assert monitor.look(monitor.take()[0]) == ()
    assert monitor.reference is not None
    feed(monitor, rng, 200)
    assert monitor.look(monitor.take()[0]) == ()
    feed(monitor, rng, 200, shift=1.0)
    (told,) = monitor.look(monitor.take()[0])
    assert (told.kind, told.model, told.number) == ("drift", "digits", 3)
    assert "drifted (KS" in told.text
    assert "more" in told.text


def test_however_much_passes_by_only_so_much_is_held():
    rng, monitor = np.random.default_rng(1), Monitor(Version("digits", 1, "", ""), settings=SETTINGS)
    feed(monitor, rng, 5000)
    window, notes = monitor.take()
    assert len(window[0]) == 400
    assert len(notes) == 5000
    sampled = Monitor(Version("digits", 1, "", ""), seen=Seen(0.25))
    feed(sampled, rng, 5000)
    assert 900 < len(sampled.take(due=False)[1]) < 1600


def test_answers_are_kept_as_classes_with_chances_or_as_values():
    version = Version("digits", 1, "", "")
    first, second = noted(version, "r", 7, np.array([[0.2, 0.8], [0.9, 0.1]]))
    assert (first.row, first.said, first.sure) == (0, 1.0, 0.8)
    assert (second.row, second.said, second.sure) == (1, 0.0, 0.9)
    (value,) = noted(version, "r", 7, np.array([3.5]))
    assert (value.said, value.sure) == (3.5, -1.0)


def test_where_a_version_stands_is_an_interval_beside_its_floor():
    rng = np.random.default_rng(2)
    seen = [Labelled(1, 1.0, 0.9, float(hit)) for hit in rng.random(3000) < 0.95]
    assert standing(seen, 0.9).state == "holds"
    assert standing(seen, 0.98).state == "broken"
    assert standing(seen, 0.95).state == "unsure"
    assert standing([], 0.9).state == "unsure"
    assert standing([Labelled(1, 3.4, -1, 3.5)] * 300, 0.9, near=0.2).state == "holds"


@pytest.fixture
def watched(store):
    """A watcher of version 2 in production, before which version 1 was certified, and what it writes to."""

    def made(engine, least=0.9, **more):
        with engine.begin() as link:
            for n in (1, 2):
                registry.add(link, Version("digits", 0, f"{n:064x}", "", {}, SURE, 0, "ann"))
                registry.promote(link, f"digits@{n}", "production", Move("ann"))
            version = registry.get(link, "digits")
        return Monitor(version, least=least, settings=SETTINGS, **more)

    return store, made


def test_labels_that_show_a_broken_floor_take_production_back(watched):
    store, made = watched

    async def act():
        with opened(store) as engine, ThreadPoolExecutor(1) as pool:
            monitor, book, rng = made(engine), Book(engine), np.random.default_rng(3)
            watcher = Watcher(book, pool, {"digits": monitor}, every_s=0.0, slow_s=0.0)
            ids = feed(monitor, rng, 400)
            assert await watcher.once() == []
            with engine.begin() as link:
                assert labels.add(link, [Label(id_, 99.0, row) for id_ in ids[:20] for row in range(10)]) == 200
                assert labels.add(link, [Label("unknown", 1.0)]) == 0
            await asyncio.sleep(0.01)
            (decision,) = await watcher.once()
            assert (decision.kind, decision.to) == ("rollback", 1)
            assert await watcher.once() == []
            book.close()
            with reading(engine) as link:
                assert registry.pointed(link, "digits") == 1
                assert [each.kind for each in alerts(link, "digits")] == ["floor"]
                assert len(labels.labelled(link, "digits", 2)) == 200

    asyncio.run(act())


def test_without_labels_confidence_that_fell_takes_production_back(watched):
    store, made = watched
    rng = np.random.default_rng(4)
    x, p = traffic(rng, 600)
    truth = (rng.random(600)[:, None] > np.cumsum(p, axis=1)).sum(axis=1)
    reference = Reference.of(x, p, truth)

    async def act():
        with opened(store) as engine, ThreadPoolExecutor(1) as pool:
            monitor, book = made(engine, 0.7, reference=reference), Book(engine)
            watcher = Watcher(book, pool, {"digits": monitor}, every_s=0.0)
            monitor.seen.add("a", x[:300], p[:300])
            assert await watcher.once() == []
            monitor.seen.add("b", x[:300], np.full((300, 3), 1 / 3))
            (decision,) = await watcher.once()
            book.close()
            assert (decision.kind, decision.number, decision.to) == ("rollback", 2, 1)

    asyncio.run(act())


def test_an_hour_that_cost_more_is_told_once(watched):
    store, made = watched
    begin = time.time_ns() // costs.HOUR_NS * costs.HOUR_NS - costs.HOUR_NS

    async def act():
        with opened(store) as engine, ThreadPoolExecutor(1) as pool:
            made(engine)
            rows = [
                Request(f"{hour}.{n}", begin - hour * costs.HOUR_NS, "acme", "k", "digits", 2, Units(1, 1), 200, nusd)
                for hour in range(30)
                for n, nusd in enumerate([3000 if not hour else 1000 + hour % 7] * 25)
            ]
            with engine.begin() as link:
                record(link, rows)
            book = Book(engine)
            watcher = Watcher(book, pool)
            for _ in range(2):
                await watcher.once(all_of_it=True)
            book.close()
            with reading(engine) as link:
                (told,) = alerts(link)
                assert told.kind == "cost"
                assert "requests of acme to digits" in told.text

    asyncio.run(act())


def test_of_all_processes_that_share_a_store_one_looks_at_an_hour_and_another_if_it_could_not(store, monkeypatch):
    looks = []

    def looked(link, begin_ns, end_ns):
        looks.append(end_ns)
        if len(looks) == 1:
            raise PennyweightError("The disk is gone.", "find it.")
        return hours(link, begin_ns, end_ns)

    async def act():
        with opened(store) as engine, ThreadPoolExecutor(1) as pool:
            books = [Book(engine) for _ in range(4)]
            first, *others = (Watcher(each, pool) for each in books)
            with pytest.raises(PennyweightError, match="disk is gone"):
                await first.once(all_of_it=True)
            for _ in range(2):
                await asyncio.gather(*(each.once(all_of_it=True) for each in (*others, first)))
            for each in books:
                each.close()

    hours = costs.hours
    monkeypatch.setattr(costs, "hours", looked)
    asyncio.run(act())
    assert len(looks) == 1 + len(set(looks))  # the one that failed, and one for each hour that ended meanwhile


def test_a_watcher_keeps_looking_until_it_is_told_to_stop(tmp_path):
    async def act():
        with opened(str(tmp_path / "team.db")) as engine, ThreadPoolExecutor(1) as pool:
            book = Book(engine)
            watcher = Watcher(book, pool, every_s=0.01)
            keeping = asyncio.create_task(watcher.keep())
            await asyncio.sleep(0.05)
            assert not keeping.done()
            watcher.stopping.set()
            await asyncio.wait_for(keeping, 60)
            book.close()

    asyncio.run(act())
