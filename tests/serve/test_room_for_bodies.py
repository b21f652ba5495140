"""What bodies come to together is bounded: who brings more than there is room for is told to come again."""

import asyncio

import pytest
from serving import question, server

from pennyweight.serve.calling import Call
from pennyweight.serve.door import Room
from pennyweight.serve.refused import RefusedError

PATH = "/v2/models/digits/infer"
PART = 1000


def call(room, parts, length=0):
    messages = [{"body": b"x" * PART, "more_body": True}] * (parts - 1) + [{"body": b"x" * PART}]

    async def receive():
        await asyncio.sleep(0)
        return messages.pop(0)

    headers = {b"content-length": str(length).encode()} if length else {}
    return Call({}, headers, receive, room)


def test_a_body_takes_as_much_room_as_it_says_it_is_long():
    room = Room(10 * PART)
    asked = call(room, 8, 8 * PART)
    assert len(asyncio.run(asked.body())) == 8 * PART
    assert room.held_byte == asked.held_byte == 8 * PART


def test_where_there_is_no_room_the_rest_is_not_read():
    room = Room(10 * PART)
    room.enter(5 * PART)
    asked = call(room, 8, 8 * PART)
    with pytest.raises(RefusedError, match="at once") as refused:
        asyncio.run(asked.body())
    assert (refused.value.status, room.held_byte, asked.held_byte) == (503, 5 * PART, 0)


def test_a_body_that_does_not_say_how_long_it_is_takes_room_as_it_comes():
    room = Room(10 * PART)
    with pytest.raises(RefusedError, match="at once"):
        asyncio.run(call(room, 50).body())
    assert room.held_byte <= 10 * PART
    fits = call(Room(10 * PART), 4)
    asyncio.run(fits.body())
    assert 4 * PART <= fits.held_byte <= 8 * PART


def test_a_body_that_comes_at_once_takes_none():
    room = Room(0)
    assert asyncio.run(call(room, 1).body()) == b"x" * PART
    assert room.held_byte == 0


def test_room_is_given_back_however_a_request_ends(store):
    async def ask():
        async with server(store) as here:
            fine, bad = question([[1, 2, 3, 4]]), question([[1, 2, 3, 4]])
            bad["inputs"][0]["shape"] = [9]
            for body, status in ((fine, 200), (bad, 400)):
                reply = await here.client.post(PATH, json=body)
                assert reply.status_code == status
            assert here.door.room.held_byte == 0

    asyncio.run(ask())
