"""Labels can undo what is in production: they are taken from who asked, about what was asked, and only so many."""

import httpx
import pytest
from sqlalchemy import select

from pennyweight.serve.watch.telling import MOST
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.tables import label

INFER, LABELS = "/v2/models/times/infer", "/v2/models/times/labels"


def told(house, body, who="acme", path=LABELS):
    more = {"content": body} if isinstance(body, bytes) else {"json": body}
    return httpx.post(house.address + path, headers=house.bearer[who], timeout=20, **more)


def asked_by(house, who):
    reply = httpx.post(house.address + INFER, json=house.question, headers=house.bearer[who], timeout=60)
    return reply.headers["x-request-id"]


def kept(house, id_):
    with opened(house.store) as engine, reading(engine) as link:
        rows = link.execute(select(label.c.row, label.c.label).where(label.c.request == id_).order_by(label.c.row))
        return [tuple(each) for each in rows]


def test_a_tenant_labels_its_own_requests_and_may_correct_itself(house):
    id_ = asked_by(house, "acme")
    reply = told(house, [{"request": id_, "label": 3}, {"request": id_, "row": 1, "label": 2.5}])
    assert (reply.status_code, reply.json()["labels"]) == (200, 2)
    assert kept(house, id_) == [(0, 3.0), (1, 2.5)]
    assert told(house, [{"request": id_, "label": 1}]).status_code == 200
    assert kept(house, id_) == [(0, 1.0), (1, 2.5)]


def test_another_tenants_request_and_none_are_refused_alike_and_nothing_of_the_body_is_kept(house):
    own, others = asked_by(house, "acme"), asked_by(house, "beta")
    said = set()
    for foreign in (others, "0" * 24):
        reply = told(house, [{"request": own, "label": 1}, {"request": foreign, "label": 1}])
        assert reply.status_code == 404
        said.add(reply.json()["error"])
    assert said == {"Label 1 is about no request of yours to times."}
    assert told(house, [{"request": others, "label": 1}], who="admin").status_code == 404  # of acme
    assert kept(house, own) == kept(house, others) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"", 400),
        (b"[" * 100_000, 400),
        (b"\xff", 400),
        ({"labels": []}, 400),
        ([], 400),
        ([{"request": "a'; DROP TABLE label; --", "label": 1}], 400),
        ([{"request": "a\0b", "label": 1}], 400),
        ([{"request": "a", "label": True}], 400),
        ([{"request": "a", "row": 2**31, "label": 1}], 400),
        ([{"request": "a", "label": 1}] * (MOST + 1), 400),
        (b" " * (256 * MOST + 1), 413),
    ],
)
def test_what_is_no_list_of_labels_is_refused_in_a_sentence(house, body, status):
    reply = told(house, body)
    assert reply.status_code == status
    assert 10 < len(reply.json()["error"]) < 200
    assert "/" not in reply.json()["error"]


def test_as_many_as_are_allowed_are_taken_at_once(house):
    id_ = asked_by(house, "acme")
    assert told(house, [{"request": id_, "row": n, "label": 1} for n in range(MOST)]).json()["labels"] == MOST


def test_nobody_labels_without_a_key_or_what_is_not_served(house):
    assert httpx.post(house.address + LABELS, json=[], timeout=60).status_code == 401
    assert told(house, [{"request": "a", "label": 1}], path="/v2/models/digits/labels").status_code == 404
