"""Corrections are rows of their own with a reason, and bills include them."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.store.team.bills import lines
from pennyweight.store.team.corrections import Correction, correct, corrections
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.tenants import Tenant, add_tenant

DAY = 86_400 * 10**9


def test_a_correction_is_on_the_bill_of_the_day_that_it_corrects_and_never_changes(store):
    with opened(store) as engine:
        with engine.begin() as link:
            add_tenant(link, Tenant("acme", "acme"))
            correct(link, [Correction("acme", "digits", 5 * DAY + 7, -1_500_000_000, "counted twice")])
        with reading(engine) as link:
            (line,) = lines(link, ("tenant", "model", "day"), 0, 6 * DAY)
            assert (line.of, line.total_nusd) == (("acme", "digits", "1970-01-06"), -1_500_000_000)
            assert lines(link, ("tenant",), 6 * DAY, 2**62) == ()
            (made,) = corrections(link, 5 * DAY, 6 * DAY)
            assert (made.why, made.at_ns > 10**18) == ("counted twice", True)
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as link:
            link.execute(text("DELETE FROM correction"))


def test_none_is_written_if_one_is_for_a_stranger(store):
    with opened(store) as engine:
        with engine.begin() as link:
            add_tenant(link, Tenant("acme", "acme"))
        good = Correction("acme", "digits", 1, 5, "why")
        with pytest.raises(UnknownNameError, match="acme"), engine.begin() as link:
            correct(link, [good, Correction("acne", "digits", 1, 5, "why")])
        with reading(engine) as link:
            assert corrections(link, 0, 2**62) == ()


@pytest.mark.parametrize(
    "wrong", [("acme", "../x", 1, 5, "why"), ("acme", "digits", 1, 0, "why"), ("acme", "digits", 1, 5, " ")]
)
def test_what_could_not_be_explained_later_is_refused(wrong):
    with pytest.raises(BadInputError):
        Correction(*wrong)
