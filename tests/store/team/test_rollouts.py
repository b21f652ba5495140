"""Trials, what versions did in them, and which processes serve: rows that many processes read and add to."""

import threading

import pytest
from sqlalchemy import text

from pennyweight.errors import BadInputError
from pennyweight.store.team import labels, registry, rollouts, tallies, workers
from pennyweight.store.team.labels import Answer, Label
from pennyweight.store.team.opened import opened
from pennyweight.store.team.registry import Move, Version
from pennyweight.store.team.rollouts import Rollout
from pennyweight.store.team.tallies import Tally
from pennyweight.store.team.workers import Serving, Worker

ANN = Move("ann", "because")


@pytest.fixture
def engine(store):
    with opened(store) as engine:
        with engine.begin() as link:
            for n in (1, 2, 3):
                registry.add(link, Version("digits", 0, f"{n:064x}", "/artifacts"))
            registry.promote(link, "digits@1", "production", ANN)
        yield engine


def trial(number, share=0.05):
    return Rollout("digits", "production", number, round(share * 1e6), False, 2**60, "ann", why="it is cheaper")


def test_a_trial_compares_with_what_the_alias_stands_for_and_there_is_one_at_a_time(engine):
    with engine.begin() as link:
        made = rollouts.begin(link, trial(2))
        assert (made.before, made.number, made.verdict) == (1, 2, "")
        assert rollouts.ongoing(link, "digits", "production") == (made,)
        with pytest.raises(BadInputError, match="digits@2 is on trial already"):
            rollouts.begin(link, trial(3))
        assert registry.get(link, "digits").number == 1


@pytest.mark.parametrize(
    ("verdict", "stands", "kinds"), [("promote", 2, ["keep", "promote"]), ("rollback", 1, ["reject"])]
)
def test_a_trial_ends_once_and_does_what_the_verdict_says(engine, verdict, stands, kinds):
    with engine.begin() as link:
        made = rollouts.begin(link, trial(2))
        assert rollouts.end(link, made, verdict, ANN)
        assert not rollouts.end(link, made, "promote", ANN)
        assert registry.get(link, "digits").number == stands
        assert [each.kind for each in registry.history(link, "digits")][5:] == kinds
        assert rollouts.ongoing(link) == ()
        assert [each.verdict for each in rollouts.rollouts(link, "digits")] == [verdict]


def test_what_cannot_be_tried_is_said(engine):
    with engine.begin() as link:
        with pytest.raises(BadInputError, match="for that version already"):
            rollouts.begin(link, trial(1))
        registry.retire(link, "digits@3", ANN)
        with pytest.raises(BadInputError, match="was retired"):
            rollouts.begin(link, trial(3))
        registry.add(link, Version("fresh", 0, 64 * "f", "/artifacts"))
        with pytest.raises(BadInputError, match="for no version yet"):
            rollouts.begin(link, Rollout("fresh", "production", 1, 0, True, 2**60, "ann"))


def test_sums_of_many_processes_come_together(engine):
    with engine.begin() as link:
        made = rollouts.begin(link, trial(2))

    def add():
        for _ in range(25):
            with engine.begin() as link:
                tallies.add(link, {(made.id, 1): Tally(2, 1, 30, 7, 49.0, 11, 4, 3), (made.id, 2): Tally(1)})

    threads = [threading.Thread(target=add) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    with engine.begin() as link:
        found = tallies.tallies(link, made)
    assert found == {1: Tally(200, 100, 3000, 700, 4900.0, 1100, 400, 300), 2: Tally(100)}


def test_labels_count_for_the_version_that_gave_the_answer_and_only_in_the_trial(engine):
    with engine.begin() as link:
        labels.note(link, [Answer("early", 0, 1, "digits", 2, 7.0, 0.9)])
        made = rollouts.begin(link, trial(2))
        given = [("a", 1, 7.0), ("b", 2, 7.0), ("c", 2, 8.0), ("d", 2, 7.0), ("e", 3, 7.0)]
        labels.note(link, [Answer(name, 0, made.began_ns, "digits", number, said, 0.9) for name, number, said in given])
        labels.add(link, [Label(name, 7.0) for name in ("early", "a", "b", "c", "e", "nobody")])
        found = tallies.tallies(link, made)
    assert {number: (each.labelled, each.quality) for number, each in found.items()} == {1: (1, 1), 2: (2, 1)}


def test_remarks_move_no_alias_and_events_have_growing_numbers(engine):
    with engine.begin() as link:
        registry.promote(link, "digits@2", "production", ANN)
        before = registry.newest(link)
        registry.remark(link, registry.Remark("digits", "refuse", 3, 2), ANN)
        registry.remark(link, registry.Remark("digits", "allow", 3), ANN)
        assert registry.newest(link) > before
        assert registry.stand(link, "digits") == (2, before)
        assert registry.allowed(link, "digits") == {3}
        assert registry.rollback(link, "digits", "production", ANN).number == 1
        assert registry.stood(link, "digits") == (1, 2)


def test_a_process_lives_while_it_says_so(engine):
    one = Worker("host-1-aa", "host", 1, "http://127.0.0.1:8000", 5, (Serving("digits", "digits", "production", 1),))
    other = Worker("host-2-bb", "host", 2, "http://127.0.0.1:8000", 6)
    with engine.begin() as link:
        for each in (one, other, one):
            workers.beat(link, each)
        found = workers.live(link)
        assert [(each.pid, each.serves) for each in found] == [(1, one.serves), (2, ())]
        workers.leave(link, one.id)
        assert [each.pid for each in workers.live(link)] == [2]
        link.execute(text("UPDATE worker SET beat_ns = beat_ns - 6000000000"))
        assert workers.live(link) == ()
