"""The server inside somebody else's event loop begins and ends with ASGI's lifespan."""

import asyncio

import httpx
import pytest
from multiples import asked, factor, filled

from pennyweight.serve.hosted import Hosted
from pennyweight.serve.place import Place
from pennyweight.store.team import workers
from pennyweight.store.team.opened import opened, reading


async def lived(app, host):
    """Live a whole life of `app`: what it said when it began, what `host` saw meanwhile, what it said at last."""
    to, said = asyncio.Queue(), asyncio.Queue()
    await to.put({"type": "lifespan.startup"})
    life = asyncio.create_task(app({"type": "lifespan"}, to.get, said.put))
    first = await said.get()
    seen = await host() if first["type"] == "lifespan.startup.complete" else None
    await to.put({"type": "lifespan.shutdown"})
    await life
    return first, seen, None if said.empty() else said.get_nowait()


def test_it_answers_from_startup_to_shutdown_and_leaves_nothing_behind(tmp_path):
    store = str(tmp_path / "team.db")
    filled(store, tmp_path, 2)
    app = Hosted(Place(("times",), store=store))

    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return factor(await client.post("/v2/models/times/infer", json=asked()))

    first, seen, last = asyncio.run(lived(app, ask))
    assert (first["type"], last["type"]) == ("lifespan.startup.complete", "lifespan.shutdown.complete")
    assert seen == 1
    with opened(store) as engine, reading(engine) as link:
        assert workers.live(link) == ()


def test_a_store_that_cannot_be_served_from_is_told_to_the_host(tmp_path):
    app = Hosted(Place(("digits",), host="0.0.0.0", store=str(tmp_path / "team.db")))  # ruff: ignore[hardcoded-bind-all-interfaces] - that it is refused is tested
    first, _, _ = asyncio.run(lived(app, None))
    assert first["type"] == "lifespan.startup.failed"
    assert "there is no key yet" in first["message"]


def test_without_a_lifespan_nothing_is_answered():
    async def ask():
        transport = httpx.ASGITransport(Hosted(Place(("digits",))))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            await client.get("/v2/health/live")

    with pytest.raises(RuntimeError, match="lifespan"):
        asyncio.run(ask())
