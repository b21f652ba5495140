"""Hours that cost unlike the hours before are said, per tenant and model, and quiet ones are not."""

import numpy as np
from scipy.stats import binom

from pennyweight.serve.watch.costs import HOUR_NS, Hour, anomalies, hours, oddness
from pennyweight.serve.watch.looks import Spending
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.usage import Request, Units, record

NOW = 400_000 * HOUR_NS


def past(tenant, count, each=1000, now=1000, requests=100):
    wobble = np.random.default_rng(len(tenant)).normal(1, 0.05, count + 1)
    rows = [(n, each * wobble[n]) for n in range(count)] + [(count, now)]
    return [Hour(tenant, "digits", NOW - (count - n) * HOUR_NS, requests, round(nusd * requests)) for n, nusd in rows]


def test_only_the_tenant_whose_requests_cost_more_is_named():
    seen = [*past("acme", 100), *past("umbrella", 100, now=2500)]
    told = anomalies(seen, NOW)
    assert len(told) == 1
    assert "requests of umbrella to digits cost" in told[0].text
    assert "more than the usual" in told[0].text
    assert 2.4 < told[0].value < 2.6
    assert "less than" in anomalies(past("acme", 100, now=300), NOW)[0].text


def test_a_short_past_few_requests_and_other_hours_say_nothing():
    assert anomalies(past("acme", 5, now=9000), NOW) == ()
    assert anomalies(past("acme", 100, now=9000, requests=3), NOW) == ()
    assert anomalies(past("acme", 100, now=9000), NOW - HOUR_NS) == ()
    assert anomalies([], NOW) == ()


def test_weeks_of_quiet_hours_seldom_raise_an_alarm_and_odd_ones_in_the_past_do_not_hide_new_ones():
    rng, repeats, length, looks = np.random.default_rng(0), 200, 100, 24
    logs = 0.1 * rng.standard_t(5, (repeats, length + looks))
    level = Spending(0.05, looks).level
    alarmed = np.zeros(repeats, bool)
    for n in range(looks):
        alarmed |= oddness(np.exp(logs[:, n : length + n]), np.exp(logs[:, length + n]))[1] <= level
    assert alarmed.sum() <= binom.ppf(0.999, repeats, 0.06)
    spoiled = np.exp(logs[:, :length])
    spoiled[:, ::10] *= 5
    assert (oddness(spoiled, 3 * np.exp(logs[:, length]))[1] <= level).mean() > 0.9


def test_hours_are_summed_from_requests(store):
    with opened(store) as engine:
        with engine.begin() as link:
            times = [NOW, NOW + 1, NOW + HOUR_NS - 1, NOW + HOUR_NS, NOW - 1]
            rows = [Request(f"r{n}", at, "acme", "k", "digits", 1, Units(1, 1), 200, 10) for n, at in enumerate(times)]
            record(link, rows)
        with reading(engine) as link:
            found = hours(link, NOW, NOW + 2 * HOUR_NS)
    assert found == (
        Hour("acme", "digits", NOW, 3, 30),
        Hour("acme", "digits", NOW + HOUR_NS, 1, 10),
    )
