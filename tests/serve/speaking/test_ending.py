"""A stop sequence ends a text, and no part of it is told, however the text is cut into pieces."""

from hypothesis import given
from hypothesis import strategies as st

from pennyweight.serve.speaking.ending import Tail

TEXTS = st.text("ab.", max_size=30)
STOPS = st.lists(st.text("ab.", min_size=1, max_size=4), max_size=4)


@given(TEXTS, STOPS, st.integers(1, 3))
def test_what_is_told_ends_where_the_first_stop_begins(text, stops, size):
    tail = Tail(tuple(stops))
    told = ""
    for at in range(0, len(text), size):
        told += tail.put(text[at : at + size])
        if tail.stopped:
            break
    told += tail.end()
    read = text if not tail.stopped else text[: at + size]
    begins = [at for at in (read.find(stop) for stop in stops) if at >= 0]
    assert tail.stopped == bool(begins)
    assert told == (read[: min(begins)] if begins else text)


def test_what_cannot_begin_a_stop_is_told_at_once():
    tail = Tail(("END",))
    assert [tail.put(each) for each in ("one", " E", "N", "x")] == ["one", " ", "", "ENx"]


def test_after_a_stop_nothing_is_told():
    tail = Tail(("b",))
    assert tail.put("abc") == "a"
    assert (tail.put("more"), tail.end()) == ("", "")
