"""The fastest layout found at once is the fastest found one by one, and what is weighed agrees with `fit`."""

from dataclasses import replace

import numpy as np
import pytest

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.models import model
from pennyweight.catalog.offers import offers
from pennyweight.core.dims import Dims
from pennyweight.errors import BadInputError
from pennyweight.layout.memory.fitting import Training, predict
from pennyweight.layout.memory.remedies import Wish
from pennyweight.layout.plans import weighing
from pennyweight.layout.plans.searching import Field, Site, least_s
from pennyweight.layout.plans.spreading import EVERY, Choices
from pennyweight.layout.plans.stacks import pace
from pennyweight.layout.plans.training import TrainWork
from pennyweight.layout.timing.cases import Cases, Layouts, Machines, Models
from pennyweight.layout.timing.step import step_s

H100 = accelerator("h100")
SITE = Site.usual(H100)
SMALL = Dims("small", layers=8, hidden=1024, heads=16, kv_heads=8, ffn=4096, vocab=32000, max_context=8192)
MIXED = replace(SMALL, name="mixed", experts=8, experts_per_token=2, moe_ffn=2048)


@pytest.mark.parametrize("dims", [SMALL, MIXED], ids=lambda dims: dims.name)
def test_one_by_one_every_layout_takes_as_long_as_all_at_once(dims):
    work = TrainWork(dims, 1e9, 2048, 64)
    field = Field.of(work, [16], 8, EVERY)
    timed = field.timed(SITE, "megatron")
    rates, speed = Machines.one(SITE.machine("bf16")), pace("megatron", work, "h100")
    rows, tricks = np.nonzero(field.spread.legal)
    for at in range(0, len(rows), max(len(rows) // 60, 1)):
        layout = field.spread.layout(rows[at], tricks[at], "bf16")
        deep = replace(Models.one(dims), layers=float(field.spread.layers[rows[at]]))
        alone = step_s(Cases(deep, Layouts.of([layout]), rates, 2048.0, 64.0), speed.stack) * speed.factor
        assert timed[rows[at], tricks[at]] == pytest.approx(float(np.ravel(alone)[0]), rel=1e-12)


def test_the_best_is_the_least_of_those_that_fit():
    work = TrainWork(model("llama-3-8b"), 1e12)
    field = Field.of(work, [8, 16, 64], 8)
    best = field.best(SITE, "megatron")
    _, high = weighing.held(field.total, field.spread, H100)
    usable = np.where(field.spread.legal & (high <= H100.memory_byte), field.timed(SITE, "megatron"), np.inf)
    for at, devices in enumerate(best.devices):
        mine = usable[field.spread.rows["devices"] == devices]
        assert best.step_s[at] == mine.min()
        assert usable[best.row[at], best.trick[at]] == mine.min()
    assert (np.diff(best.step_s) < 0).all()


def test_some_numbers_of_devices_may_be_asked_for_alone():
    field = Field.of(TrainWork(model("llama-3-8b"), 1e12), [8, 16, 64], 8)
    whole, some = field.best(SITE, "megatron"), field.best(SITE, "megatron", np.array([16]))
    assert some.devices.tolist() == [16]
    assert (some.step_s[0], some.row[0], some.trick[0]) == (whole.step_s[1], whole.row[1], whole.trick[1])


def test_where_nothing_fits_no_step_ends_and_the_least_is_said():
    field = Field.of(TrainWork(model("llama-3-70b"), 1e12), [8], 8)
    best = field.best(SITE, "megatron")
    assert np.isinf(best.step_s).all()
    assert best.timed == 0
    assert best.least_byte[0] > H100.memory_byte


def test_bytes_agree_with_what_fit_says_of_one_layout():
    work = TrainWork(model("llama-3-8b"), 1e12, 8192, 4096)
    field = Field.of(work, [16], 8, Choices(pp=(1, 2, 4), chunks=(1,), micro_batch=(1,)))
    whole, high = weighing.held(field.total, field.spread, H100)
    rows, tricks = np.nonzero(field.spread.legal)
    for row, trick in zip(rows, tricks, strict=True):
        alone = predict(Wish(work.dims, field.spread.layout(row, trick, "bf16"), Training(8192)), H100)
        assert whole[row, trick] == pytest.approx(alone.total_byte, rel=1e-6)
        assert high[row, trick] == pytest.approx(alone.high_byte, rel=1e-6)


def test_no_layout_beats_the_bound():
    for name in ("llama-3-8b", "llama-3.1-405b", "deepseek-v3"):
        work = TrainWork(model(name), 1e12)
        field = Field.of(work, [256, 1024], 8)
        seconds = field.timed(SITE, "megatron")[field.spread.legal]
        devices = np.broadcast_to(field.spread.rows["devices"][:, None], field.spread.legal.shape)[field.spread.legal]
        bound = least_s(work, SITE, "megatron") / devices
        assert (seconds >= bound).all()
        assert (bound / seconds).max() > 0.3  # and it is no idle bound


def test_fast_links_end_at_a_machine_unless_they_join_racks():
    few = next(each for each in offers("h100") if each.devices == 2)
    rack = next(iter(offers("gb200")))
    assert Site.of(few).domain == 2
    assert Site.of(rack).domain == 72


def test_a_precision_that_devices_lack_is_refused():
    with pytest.raises(BadInputError, match="no known rate"):
        Site.usual(accelerator("tpu-v4")).machine("fp32")
