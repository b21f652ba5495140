"""A small server in the test's own event loop: a real store, a real network, requests through the real application."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx
import numpy as np

from pennyweight.serve.answering.lane import Lane
from pennyweight.serve.answering.shelf import Served, Shelf
from pennyweight.serve.answering.teller import Teller
from pennyweight.serve.app import Face
from pennyweight.serve.door import Door
from pennyweight.serve.keeping import Keeper
from pennyweight.serve.money.book import Book
from pennyweight.store.team import registry
from pennyweight.store.team.budgets import Budget, put
from pennyweight.store.team.leases import Holder
from pennyweight.store.team.opened import opened
from pennyweight.store.team.tenants import Ring, Tenant, add_key, add_tenant
from pennyweight.store.team.usage import Price, set_price

PRICE = Price("digits", request_nusd=1000)


class Doubling:
    """A session that doubles, and refuses what is not four wide."""

    def __init__(self):
        self.batches = []

    def predict(self, x):
        from pennyweight.errors import BadInputError

        self.batches.append(len(x))
        if x.shape[1:] != (4,) or not np.isfinite(x).all():
            raise BadInputError(f"The model takes rows of 4, not {x.shape[1:]}.", "give four numbers a row.")
        return 2 * x


@contextlib.asynccontextmanager
async def server(store, *, limit_nusd=None, rate_s=0, session=None):
    """The parts of a server whose tenant acme has a key, and perhaps a budget per day."""
    with opened(store) as engine:
        with engine.begin() as link:
            add_tenant(link, Tenant("acme", "group", rate_s=rate_s))
            key = add_key(link, "acme")
            set_price(link, PRICE)
            version = registry.add(link, registry.Version("digits", 0, "0" * 64, ""))
            if limit_nusd is not None:
                put(link, Budget("tenant", "acme", "day", limit_nusd))
        book, shelf, pool = Book(engine), Shelf(), ThreadPoolExecutor(1)
        teller, door = Teller(book, Holder("w0")), Door(Ring({}), keyless=False)
        session = session or Doubling()
        shelf.put(Served(version, Lane(session, pool), PRICE))
        keeper = Keeper(door, shelf, teller)
        await keeper.once()
        app = Face(door, shelf, teller).app()
        host = "http://127.0.0.1"
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=host) as client:
            client.headers["authorization"] = f"Bearer {key}"
            yield SimpleNamespace(**locals())
        await keeper.end()
        book.close()
        pool.shutdown()


def question(rows):
    """A request body for rows (B, 4)."""
    rows = np.asarray(rows, np.float32)
    return {"inputs": [{"name": "x", "shape": rows.shape, "datatype": "FP32", "data": rows.ravel().tolist()}]}
