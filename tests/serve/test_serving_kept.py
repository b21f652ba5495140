"""A version whose artifact says so is served from what is kept: the same answers, metered and priced as cached."""

import asyncio
from dataclasses import replace

import httpx
from multiples import ME, ROWS, asked, factor, multiple
from sqlalchemy import text

from pennyweight.engine.answers import open_session, with_probes
from pennyweight.serve.place import Place
from pennyweight.serve.running import parts
from pennyweight.store.artifacts import ArtifactStore
from pennyweight.store.team import registry
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.registry import Version
from pennyweight.store.team.usage import Price, set_price

PATH = "/v2/models/times/infer"


def kept(n, **more):
    """The model that multiplies by n, keeping answers."""
    artifact = multiple(n)
    serve = artifact.facts["serve"] | {"cache": 8, "hits": 0.5} | more
    artifact = replace(artifact, meta=tuple(sorted((artifact.facts | {"serve": serve}).items())))
    return with_probes(artifact, open_session(artifact), ROWS)


def filled(store, place, *artifacts):
    with opened(store) as engine, engine.begin() as link:
        for each in artifacts:
            digest = ArtifactStore(place).put(each)
            registry.add(link, Version("times", 0, digest, str(place)))
        set_price(link, Price("times", in_nusd=1000, cached_nusd=10))
        registry.promote(link, "times@1", "production", ME)


async def asking(store, todo):
    with opened(store) as engine:
        async with parts(engine, Place(("times",), store=store)) as face:
            transport = httpx.ASGITransport(face.app())
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                await todo(client, engine)
                with reading(engine) as link:
                    asked_for = "SELECT in_units, cached_units, cost_nusd FROM usage ORDER BY request"
                    return face, [tuple(row) for row in link.execute(text(asked_for))]


def test_the_second_time_is_metered_as_cached_and_costs_what_cached_rows_cost(tmp_path):
    store = str(tmp_path / "team.db")
    filled(store, tmp_path / "artifacts", kept(3))

    async def todo(client, _):
        for rows in (ROWS, ROWS, ROWS + 1):
            reply = await client.post(PATH, json=asked(rows))
            assert reply.json()["outputs"][0]["data"] == (3 * rows).ravel().tolist()

    face, rows = asyncio.run(asking(store, todo))
    assert rows == [(2, 0, 2000), (2, 2, 20), (2, 0, 2000)]
    (served,) = face.shelf.all()
    assert served.lane.answered == 4, "the model has computed two requests of two rows"


def test_another_version_has_answers_of_its_own(tmp_path):
    store = str(tmp_path / "team.db")
    filled(store, tmp_path / "artifacts", kept(1), kept(2))

    async def todo(client, engine):
        assert factor(await client.post(PATH, json=asked())) == 1
        with engine.begin() as link:
            registry.promote(link, "times@2", "production", ME)
        async with asyncio.timeout(120):
            while factor(await client.post(PATH, json=asked())) != 2:
                pass

    asyncio.run(asking(store, todo))


def test_near_rows_have_one_answer_also_when_it_is_computed(tmp_path):
    store = str(tmp_path / "team.db")
    filled(store, tmp_path / "artifacts", kept(1, grid=0.5))

    async def todo(client, _):
        replies = [await client.post(PATH, json=asked(ROWS + shift)) for shift in (0.2, -0.2, 0.0)]
        assert [reply.json()["outputs"][0]["data"] for reply in replies] == [ROWS.ravel().tolist()] * 3

    _, rows = asyncio.run(asking(store, todo))
    assert [cached for _, cached, _ in rows] == [0, 2, 2]
