"""Money is leased once for all that wait, and whoever comes while it is handed over gets some too."""

import asyncio
import time

from serving import question, server

from pennyweight.serve.money.purse import Hold
from pennyweight.store.team import leases
from pennyweight.store.team.leases import Holder


def test_who_comes_after_a_lease_was_made_and_before_it_is_kept_waits_for_it(tmp_path):
    async def ask():
        async with server(str(tmp_path / "team.db"), limit_nusd=10**6) as here:
            (budget,) = here.teller.budgets["tenant", "acme"]
            with here.engine.begin() as link:
                lease = leases.reserve(link, budget, 5000, Holder("w0"), time.time_ns())
            loop = asyncio.get_running_loop()
            done = loop.create_future()
            done.set_result((lease, 0))
            here.teller._leasing[budget.id] = 1000, done

            def keep():
                del here.teller._leasing[budget.id]
                here.teller.purse.add(lease)

            loop.call_soon(keep)
            (caller,) = [each for _, each in here.door.ring.callers.values()]
            assert await here.teller.hold(caller, 1000) == Hold(1000, ((lease.id, 1000),))

    asyncio.run(ask())


def test_names_of_requests_are_never_the_same_and_sort_by_time(tmp_path):
    async def ask():
        async with server(str(tmp_path / "team.db")) as here:
            replies = [await here.client.post("/v2/models/digits/infer", json=question([[1] * 4])) for _ in range(9)]
            names = [reply.headers["x-request-id"] for reply in replies]
            assert names == sorted(set(names))
            assert {len(name) for name in names} == {24}

    asyncio.run(ask())
