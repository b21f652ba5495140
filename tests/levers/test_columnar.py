from dataclasses import replace

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pennyweight import backends
from pennyweight.catalog import load_device, load_prices
from pennyweight.core import Demand, Form, Phase
from pennyweight.cost.count import data_byte
from pennyweight.cost.predict import Predictor
from pennyweight.data.columnar import Packed
from pennyweight.data.splits import split
from pennyweight.errors import BadInputError, NoEffectError
from pennyweight.jobs import sklearn_job
from pennyweight.levers.columnar import Columnar


def opened(x, y):
    from sklearn.linear_model import LogisticRegression

    job = sklearn_job("packed", LogisticRegression(), split(x, y), "accuracy=1%")
    return job, backends.load("sklearn").open(job)


def pixels(n=900):
    rng = np.random.default_rng(0)
    return rng.integers(0, 16, (n, 40)).astype(np.float32) / 255, np.arange(n) % 3


def test_the_rows_are_the_same_bits_and_the_bytes_as_many_as_foretold():
    job, work = opened(*pixels())
    done = Columnar().pull(work)
    assert done.data.train.x.tobytes() == work.data.train.x.tobytes()
    assert done.data.train.y.tobytes() == work.data.train.y.tobytes()
    paper, real = data_byte(Columnar().rewrite(job.spec)), data_byte(done.spec)
    assert abs(paper / real - 1) < Columnar.trust
    assert real < data_byte(work.spec) / 5


def test_packed_shards_stay_where_they_are_wanted(tmp_path):
    _, work = opened(*pixels())
    done = Columnar(to=str(tmp_path / "p")).pull(work)
    packed = Packed.at(tmp_path / "p")
    assert packed.arrays("train")["x"].tobytes() == done.data.train.x.tobytes()
    assert done.spec.data.stored == packed.manifest.byte / packed.manifest.raw_byte


def test_nothing_stays_in_memory():
    _, work = opened(*pixels())
    before = set(MemoryFileSystem.store)
    Columnar().pull(work)
    assert set(MemoryFileSystem.store) == before


def test_noise_is_refused_and_so_is_what_is_packed_already():
    rng = np.random.default_rng(0)
    job, work = opened(rng.normal(size=(900, 40)), np.arange(900) % 3)
    assert not Columnar().fits(job.spec)
    assert list(Columnar.choices(job)) == []
    with pytest.raises(NoEffectError, match="leave columnar out"):
        Columnar(codec="none").pull(work.having(data=replace(work.data, train=work.data.train.take(slice(0, 3)))))
    job, work = opened(*pixels())
    assert Columnar().fits(job.spec)
    assert "already" in Columnar().fits(Columnar().pull(work).spec).reason
    assert not Columnar().fits(replace(job.spec, form=Form.GRAPH))


def test_bytes_that_are_kept_have_a_price_and_packed_ones_a_smaller_one():
    job, _ = opened(*pixels())
    predictor, packed = Predictor(load_device("amd-zen4"), load_prices()), Columnar().rewrite(job.spec)
    kept = Demand(0.0, days=1e-9, data_days=360.0)
    dear, cheap = (predictor.predict(spec, kept).line(Phase.STORE).usd for spec in (job.spec, packed))
    month_usd = load_prices().disk_gb_month_usd
    assert dear == pytest.approx(data_byte(job.spec) / 1e9 * month_usd * 12, rel=1e-3)
    assert cheap == pytest.approx(dear * packed.data.stored, rel=1e-3)
    assert predictor.predict(packed, kept).usd < predictor.predict(job.spec, kept).usd


def test_data_that_nobody_keeps_costs_nothing_to_keep():
    job, _ = opened(*pixels())
    predictor, packed = Predictor(load_device("amd-zen4"), load_prices()), Columnar().rewrite(job.spec)
    assert predictor.predict(packed, Demand()).usd == predictor.predict(job.spec, Demand()).usd
    with pytest.raises(BadInputError, match="zero days or more"):
        Demand(data_days=-1.0)
