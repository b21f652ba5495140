"""Labels join answers by request and row, in the order in which they came, and a later one counts."""

import pytest

from pennyweight.errors import BadInputError
from pennyweight.store.team.labels import Answer, Label, add, add_of, labelled, note
from pennyweight.store.team.opened import opened
from pennyweight.store.team.usage import Request, Units, record


def answer(request, row=0, number=1, said=3.0):
    return Answer(request, row, 5, "digits", number, said, 0.9)


def test_labels_join_the_answers_of_their_version(store):
    with opened(store) as engine, engine.begin() as link:
        note(link, [answer("a"), answer("a", 1), answer("b", number=2)])
        note(link, [answer("a", said=9.0)])
        assert add(link, [Label("a", 3.0), Label("a", 4.0, 1), Label("b", 3.0), Label("c", 1.0)]) == 3
        found = labelled(link, "digits", 1)
        assert [(each.said, each.label) for each in found] == [(3.0, 3.0), (3.0, 4.0)]
        assert len(labelled(link, "digits", 2)) == 1
        assert labelled(link, "faces", 1) == ()
        assert labelled(link, "digits", 1, after_ns=found[-1].at_ns) == ()
        assert labelled(link, "digits", 1, until_ns=found[0].at_ns - 1) == ()


def test_a_label_may_come_before_its_answer_and_be_mended(store):
    with opened(store) as engine, engine.begin() as link:
        assert add(link, [Label("a", 1.0)]) == 0
        note(link, [answer("a")])
        assert add(link, [Label("a", 3.0)]) == 1
        assert [each.label for each in labelled(link, "digits", 1)] == [3.0]
        assert add(link, []) == 0


def test_a_tenant_labels_its_own_requests_to_that_model_and_no_others(store):
    with opened(store) as engine, engine.begin() as link:
        note(link, [answer("a"), answer("b"), answer("c")])
        for id_, tenant, model in (("a", "acme", "digits"), ("b", "umbrella", "digits"), ("c", "acme", "faces")):
            record(link, [Request(id_, 5, tenant, "k", model, 1, Units(1, 1), 200, 1)])
        told = [Label(id_, 9.0) for id_ in ("a", "b", "c", "none")]
        for foreign in told[1:]:
            with pytest.raises(BadInputError, match="Label 1 is about no request of yours to digits"):
                add_of(link, "acme", "digits", [told[0], foreign])
        assert labelled(link, "digits", 1) == ()
        assert add_of(link, "acme", "digits", told[:1]) == 1
        assert [each.label for each in labelled(link, "digits", 1)] == [9.0]


def test_a_row_that_is_labelled_again_or_twice_at_once_counts_once(store):
    with opened(store) as engine, engine.begin() as link:
        note(link, [answer("a")])
        assert add(link, [Label("a", 1.0), Label("a", 2.0)]) == 1
        (first,) = labelled(link, "digits", 1)
        assert first.label == 2.0
        assert add(link, [Label("a", 3.0)]) == 1
        assert labelled(link, "digits", 1, after_ns=first.at_ns) == ()
        assert [each.label for each in labelled(link, "digits", 1)] == [3.0]


def test_many_answers_are_kept_at_once(store):
    with opened(store) as engine, engine.begin() as link:
        note(link, [answer(f"r{n}", row) for n in range(400) for row in range(2)])
        assert add(link, [Label(f"r{n}", 3.0, row) for n in range(600) for row in range(2)]) == 800
