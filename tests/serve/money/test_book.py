"""The book: rows are on the disk before anybody is let go, and while many come few transactions do."""

import asyncio

from sqlalchemy import func, select

from pennyweight.serve.money import book as written
from pennyweight.serve.money.book import Book
from pennyweight.serve.money.purse import Hold
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.tables import usage
from pennyweight.store.team.usage import Request, Units

CALLERS, TURNS = 16, 40


def row(name):
    return Request(name, 1, "acme", "k", "digits", 1, Units(1, 1), 200, 5)


async def caller(engine, book, number):
    for turn in range(TURNS):
        name = f"{number}.{turn}"
        await book.write(row(name), Hold(5))
        if turn % TURNS == number:  # one look at a time: it holds up all others
            with reading(engine) as link:
                assert link.execute(select(func.count()).where(usage.c.request == name)).scalar() == 1


def test_many_who_come_at_once_share_transactions_and_each_finds_its_row_when_it_is_let_go(store, monkeypatch):
    sizes, record = [], written.usage.record

    def recorded(link, requests):
        sizes.append(len(requests))
        record(link, requests)

    monkeypatch.setattr(written.usage, "record", recorded)

    async def act(engine):
        book = Book(engine)
        try:
            await asyncio.gather(*(caller(engine, book, number) for number in range(CALLERS)))
        finally:
            book.close()

    with opened(store) as engine:
        asyncio.run(act(engine))
    assert sum(sizes) == CALLERS * TURNS
    assert len(sizes) < CALLERS * TURNS / 4
