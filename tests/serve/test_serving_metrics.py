"""Metrics say what was answered, charged and is left, in the format that Prometheus reads, to admins only."""

import asyncio

from prometheus_client.parser import text_string_to_metric_families
from serving import question, server

from pennyweight.serve.counters import BOUNDS_S, Counters
from pennyweight.serve.described import described, undescribed
from pennyweight.store.team.alerts import alerts
from pennyweight.store.team.budgets import Budget, put
from pennyweight.store.team.opened import reading
from pennyweight.store.team.tenants import add_key
from pennyweight.store.team.usage import Request, Units

PATH = "/v2/models/digits/infer"


def read(text):
    """Every sample by name and labels."""
    found = {}
    for family in text_string_to_metric_families(text):
        for each in family.samples:
            found[each.name, *sorted(each.labels.items())] = each.value
    return found


async def scraped(here):
    with here.engine.begin() as link:
        key = add_key(link, "acme", "admin")
    await here.keeper.once()
    reply = await here.client.get("/metrics", headers={"authorization": f"Bearer {key}"})
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain; version=")
    return read(reply.text)


def test_metrics_count_what_was_asked_answered_and_charged(store):
    async def ask():
        async with server(store, limit_nusd=10_000) as here:
            await asyncio.gather(*(here.client.post(PATH, json=question([[n] * 4] * 2)) for n in range(7)))
            assert (await here.client.post(PATH, content=b"{")).status_code == 400
            assert (await here.client.get("/metrics")).status_code == 403
            told = await scraped(here)
        of = (("model", "digits"), ("tenant", "acme"), ("version", "1"))
        assert told["pennyweight_requests_total", *of] == 7
        assert told["pennyweight_input_units_total", *of] == 14
        assert told["pennyweight_cost_nanodollars_total", *of] == 7000
        assert told["pennyweight_compute_seconds_total", *of] > 0
        assert told["pennyweight_replies_total", ("code", "200")] == 7
        assert told["pennyweight_replies_total", ("code", "400")] == 1
        assert told["pennyweight_replies_total", ("code", "403")] == 1
        assert told["pennyweight_errors_total",] == 0
        assert told["pennyweight_reply_seconds_count",] == 9
        assert told["pennyweight_reply_seconds_bucket", ("le", "+Inf")] == 9
        version = (("model", "digits"), ("version", "1"))
        assert told["pennyweight_version_served", *version] == 1
        assert told["pennyweight_waiting_rows", *version] == 0
        assert told["pennyweight_batch_rows_sum", *version] == 14
        assert 1 <= told["pennyweight_batch_rows_count", *version] <= 7
        budget = (("kind", "hard"), ("level", "tenant"), ("owner", "acme"), ("period", "day"))
        assert told["pennyweight_budget_used_ratio", *budget] == 0.7
        assert told["pennyweight_budget_warning", *budget] == 0

    asyncio.run(ask())


def test_the_names_that_opencost_uses_are_there_with_its_labels(tmp_path):
    async def ask():
        async with server(str(tmp_path / "team.db")) as here:
            for _ in range(3):
                await here.client.post(PATH, json=question([[1, 2, 3, 4]]))
            told = await scraped(here)
        of = {"model_name": "digits", "model_version": "1", "namespace": "", "workload_type": "serving"}
        blended = of | {"cost_basis": "usage", "phase": "", "allocation_method": ""}
        # 3,000 nano-dollars for three rows in and three out
        assert told["llm_cost_per_million_tokens", *sorted(blended.items())] == 0.5
        assert told["llm_total_hourly_cost", *sorted((of | {"cost_basis": "usage"}).items())] > 0
        assert told["llm_cache_savings_fraction", *sorted(of.items())] == 0

    asyncio.run(ask())


def test_a_soft_budget_refuses_nothing_and_is_told_of_at_80_and_at_100_percent(store):
    async def ask():
        async with server(store) as here:
            with here.engine.begin() as link:
                put(link, Budget("organisation", "group", "day", 5000, hard=False))
            await here.keeper.once()
            heard = []
            for _ in range(8):
                assert (await here.client.post(PATH, json=question([[1, 2, 3, 4]]))).status_code == 200
                await here.keeper.once()
                with reading(here.engine) as link:
                    heard.append(len(alerts(link)))
            assert heard == [0, 0, 0, 1, 2, 2, 2, 2]
            with reading(here.engine) as link:
                last, first = alerts(link)
            assert (first.kind, last.kind, first.model) == ("budget 80%", "budget 100%", "group")
            assert "80% of the" in first.text
            assert "nothing is refused" in last.text
            told = await scraped(here)
            budget = (("kind", "soft"), ("level", "organisation"), ("owner", "group"), ("period", "day"))
            assert told["pennyweight_budget_used_ratio", *budget] == 1.6
            assert told["pennyweight_budget_warning", *budget] == 100

    asyncio.run(ask())


def test_money_that_is_not_recorded_is_not_counted(tmp_path):
    from sqlalchemy import text

    async def ask():
        async with server(str(tmp_path / "team.db")) as here:
            with here.engine.begin() as link:
                link.execute(text("CREATE TRIGGER full BEFORE INSERT ON usage BEGIN SELECT RAISE(ABORT, 'full'); END"))
            assert (await here.client.post(PATH, json=question([[1, 2, 3, 4]]))).status_code == 503
            told = await scraped(here)
        assert not [each for each in told if each[0] == "pennyweight_requests_total"]
        assert told["pennyweight_errors_total",] == 1

    asyncio.run(ask())


def test_a_reply_is_counted_in_the_bucket_of_its_seconds():
    counters = Counters()
    for took_s in (0.0001, 0.0005, 0.0006, 3.0, 100.0):
        counters.replied(200, took_s)
    buckets = counters.sums().buckets
    assert sum(buckets) == 5
    assert buckets[0] == 2
    assert buckets[BOUNDS_S.index(5.0)] == 1
    assert buckets[-1] == 1


def test_counting_costs_microseconds():
    import time

    counters = Counters()
    request = Request("r", 1, "acme", "k", "digits", 1, Units(3, 1), 200, 5)
    begin_s = time.process_time()
    for _ in range(20_000):
        counters.replied(200, 0.001)
        counters.wrote(request)
    assert (time.process_time() - begin_s) / 20_000 < 20e-6
    assert counters.sums().paid["acme", "digits", 1].cost_nusd == 100_000


def test_every_route_is_described_and_the_description_needs_a_key(tmp_path):
    async def ask():
        async with server(str(tmp_path / "team.db")) as here:
            routes = here.app.rest.routes
            assert undescribed(routes) == []
            reply = await here.client.get("/openapi.json")
            assert (await here.client.get("/openapi.json", headers={"authorization": ""})).status_code == 401
        assert reply.json() == described(routes)
        told = reply.json()
        assert told["openapi"] == "3.1.0"
        assert set(told["paths"]) == {route.path for route in routes}
        for path, methods in told["paths"].items():
            for each in methods.values():
                assert each["summary"] != path
                assert ("security" in each) == path.startswith("/v2/health/")
        assert len({each["operationId"] for methods in told["paths"].values() for each in methods.values()}) == len(
            routes
        )

    asyncio.run(ask())
