"""An errand is done once for a moment, by whoever comes first, and by another if that one dies over it."""

from functools import partial

from pennyweight.store.team.errands import Errand, finish, give_back, take
from pennyweight.store.team.opened import opened


def test_one_takes_it_and_what_is_done_is_never_done_again(store):
    with opened(store) as engine, engine.begin() as link:
        taking = partial(take, link, "costs", until_ns=50)
        assert taking(at_ns=1, now_ns=10) is Errand.MINE
        assert taking(at_ns=1, now_ns=20) is Errand.HELD
        finish(link, "costs", 1)
        assert taking(at_ns=1, now_ns=10**18) is Errand.DONE
        assert taking(at_ns=0, now_ns=10**18) is Errand.DONE
        assert taking(at_ns=2, now_ns=20) is Errand.MINE
        assert take(link, "other", 1, until_ns=50, now_ns=20) is Errand.MINE


def test_who_dies_over_it_or_gives_it_back_is_followed_by_another(store):
    with opened(store) as engine, engine.begin() as link:
        taking = partial(take, link, "costs", at_ns=1)
        assert taking(until_ns=50, now_ns=10) is Errand.MINE
        assert taking(until_ns=90, now_ns=51) is Errand.MINE
        assert taking(until_ns=90, now_ns=60) is Errand.HELD
        give_back(link, "costs", 1)
        assert taking(until_ns=90, now_ns=60) is Errand.MINE
