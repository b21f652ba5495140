"""Does it fit: verdicts that can be relied on, and changes that keep what they promise."""

from dataclasses import replace

import pytest

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.models import model
from pennyweight.core.layout import Layout
from pennyweight.errors import BadInputError
from pennyweight.layout.memory.fitting import FITS, TIGHT, TOO_LARGE, Serving, Training, fit

EIGHT_B, SEVENTY_B = model("llama-3.1-8b"), model("llama-3.1-70b")
A100, L4, H100 = (accelerator(name) for name in ("a100-80gb", "l4", "h100"))


def test_parts_add_up_to_the_total_and_the_upper_end_decides():
    found = fit(EIGHT_B, H100, Layout(dp=8, zero=3, micro_batch=2), Training(4096))
    assert sum(found.parts.values()) == pytest.approx(found.total_byte)
    assert found.verdict == TIGHT
    assert found.total_byte < found.capacity_byte < found.high_byte
    small = fit(EIGHT_B, H100, Layout(dp=8, zero=3, recompute="full"), Training(4096))
    assert small.verdict == FITS
    assert small.high_byte < small.capacity_byte
    assert not small.remedies


def test_what_large_models_need_is_told():
    assert fit(EIGHT_B, A100, Layout(), Training(4096)).verdict == TOO_LARGE
    assert fit(SEVENTY_B, A100, Layout(), Serving(1, 1024)).verdict == TOO_LARGE
    assert fit(EIGHT_B, A100, Layout(), Serving(16, 8192)).verdict == FITS


@pytest.mark.parametrize("use", [Training(4096), Serving(64, 8192)], ids=["train", "serve"])
@pytest.mark.parametrize("device", [L4, A100, H100], ids=lambda device: device.name)
@pytest.mark.parametrize("dims", [EIGHT_B, SEVENTY_B], ids=["8b", "70b"])
def test_every_remedy_fits_and_takes_less(use, device, dims):
    found = fit(dims, device, Layout(micro_batch=2), use)
    assert found.verdict == TOO_LARGE
    for remedy in found.remedies:
        assert remedy.verdict == FITS
        assert remedy.high_byte < found.high_byte
        assert remedy.devices >= 1


def test_a_remedy_that_is_done_makes_it_fit():
    layout = Layout(dp=8, zero=3, micro_batch=2)
    changes = {each.change: each for each in fit(EIGHT_B, H100, layout, Training(4096)).remedies}
    assert {"micro-batch 1", "recompute full"} <= set(changes)
    done = fit(EIGHT_B, H100, replace(layout, micro_batch=1), Training(4096))
    assert done.verdict == FITS
    assert done.total_byte == pytest.approx(changes["micro-batch 1"].total_byte)


def test_a_smaller_share_of_the_device_is_a_smaller_device():
    whole, half = (fit(EIGHT_B, A100, Layout(), Serving(utilization=share)) for share in (1.0, 0.4))
    assert half.capacity_byte == pytest.approx(0.4 * whole.capacity_byte)
    assert half.total_byte == pytest.approx(whole.total_byte)


@pytest.mark.parametrize(
    ("layout", "word"), [(Layout(tp=3), "heads"), (Layout(pp=64), "layers"), (Layout(ep=2, dp=2), "experts")]
)
def test_impossible_layouts_are_refused_in_words(layout, word):
    with pytest.raises(BadInputError, match=word):
        fit(EIGHT_B, A100, layout, Training())


@pytest.mark.parametrize(
    "made",
    [lambda: Training(0), lambda: Serving(0), lambda: Serving(utilization=1.5), lambda: Serving(cache_precision="x")],
)
def test_impossible_uses_are_refused(made):
    with pytest.raises(BadInputError, match="To fix"):
        made()
