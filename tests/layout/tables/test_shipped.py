"""What ships: every kind has a small fit, which says what learning from the published rows says, without them."""

import json
from importlib.resources import files

import numpy as np
import pytest

from bench.fit import rounded, rows_of
from pennyweight.layout.scoring.score import score
from pennyweight.layout.tables.finding import shipped, tables

FITS = files("pennyweight.catalog").joinpath("fits")
OWN = {"own_steps", "own_serving"}  # predicted as other kinds taught
FITTED = sorted(set(tables()) - OWN)
MOST_BYTE = 300_000
FAST = ("bigscience", "megatron_ci_golden", "megatron_published", "mlperf_training", "mpt", "nemo", "tpu", "vtrain")


@pytest.mark.parametrize("kind", FITTED)
def test_every_kind_has_a_small_fit(kind):
    file = FITS.joinpath(f"{kind}.json")
    assert file.is_file(), f"python -m bench.fit {kind}"
    assert len(file.read_bytes()) <= MOST_BYTE
    assert shipped(kind) is shipped(kind)


def test_no_fit_is_of_no_kind():
    assert {file.name for file in FITS.iterdir()} == {f"{kind}.json" for kind in FITTED}


@pytest.mark.parametrize("kind", sorted(OWN))
def test_a_kind_of_ones_own_needs_no_fit(kind):
    assert shipped(kind).to_dict() is not None


@pytest.mark.parametrize("kind", FAST)
def test_what_is_kept_of_a_fit_says_what_it_said(kind, samples):
    table = tables()[kind]
    rows = rows_of(table, samples)
    learnt = table.learn(rows)
    kept = table.restore(json.loads(json.dumps(rounded(learnt.to_dict()))))
    _alike(learnt.predict(rows), kept.predict(rows))


@pytest.mark.parametrize("kind", FAST)
def test_what_ships_was_learned_from_the_rows_there_are(kind, samples):
    table = tables()[kind]
    rows = rows_of(table, samples)
    _alike(table.learn(rows).predict(rows), shipped(kind).predict(rows))


@pytest.mark.parametrize("kind", FITTED)
def test_what_ships_answers_the_rows_it_was_learned_from(kind, samples):
    scored = score(rows_of(tables()[kind], samples))
    assert scored.kind == kind
    measured = [target for target in scored.targets if target.told.any()]
    assert measured
    for target in measured:
        assert target.summary()["mape"] < 0.5
        assert target.summary()["covered"] > 0.75


def _alike(one, other):
    for name, forecast in one.items():
        for part in ("value", "low", "high"):
            np.testing.assert_allclose(getattr(other[name], part), getattr(forecast, part), rtol=1e-4)
        assert (np.char.str_len(forecast.outside) > 0).mean() == pytest.approx(
            (np.char.str_len(other[name].outside) > 0).mean(), abs=0.01
        )
