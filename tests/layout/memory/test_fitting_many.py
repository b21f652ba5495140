"""Many layouts at once fit exactly where each of them does alone, and never one that does not."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.models import model
from pennyweight.core.layout import RECOMPUTES, Layout
from pennyweight.layout.memory import fitting
from pennyweight.layout.memory import training as memory
from pennyweight.layout.memory.remedies import Training, Wish

DEVICES = [accelerator(name) for name in ("h100", "a100-40gb", "gb200", "b200")]
DEGREE = st.sampled_from([1, 2, 3, 4, 8])
LAYOUTS = st.builds(
    Layout, tp=DEGREE, pp=DEGREE, dp=DEGREE, zero=st.integers(0, 3), micro_batch=DEGREE, chunks=DEGREE,
    recompute=st.sampled_from(RECOMPUTES), sequence_parallel=st.booleans(),
)  # fmt: skip
MODELS = [model(name) for name in ("llama-3-8b", "qwen3-30b-a3b", "llama-3-70b")]


@given(st.sampled_from(MODELS), st.sampled_from(DEVICES), st.lists(LAYOUTS, min_size=2, max_size=8))
def test_many_layouts_are_told_what_each_is_told_alone(dims, device, layouts):
    each = [asdict(memory.setting_of(layout, 4096)) for layout in layouts]
    together = memory.Setting(**{name: np.array([one[name] for one in each]) for name in each[0]})
    devices = np.array([layout.devices for layout in layouts])
    found = fitting.held(fitting.counted(dims, together).total, devices, device)
    alone = [fitting.predict(Wish(dims, layout, Training(4096)), device) for layout in layouts]
    assert found.total == pytest.approx([one.total_byte for one in alone])
    assert found.high == pytest.approx([one.high_byte for one in alone])
    assert found.fits(device).tolist() == [one.verdict == fitting.FITS for one in alone]


@given(st.floats(1e9, 3e11), st.integers(1, 4096), st.sampled_from(DEVICES))
def test_what_fits_has_room_for_more_than_is_counted(total, devices, device):
    found = fitting.held(total, devices, device)
    assert total < found.total < found.high
    assert not found.fits(device) or found.high <= device.memory_byte


def test_what_is_no_number_does_not_fit():
    assert not fitting.held(np.array([np.nan, np.inf]), 8, DEVICES[0]).fits(DEVICES[0]).any()


def test_an_uneven_stage_is_as_full_as_the_fullest():
    uneven = memory.setting_of(Layout(pp=3), 4096)  # 32 layers: 11, 11 and 10
    even = fitting.counted(MODELS[0], uneven).total / memory.training(MODELS[0], uneven).total
    assert even == pytest.approx(33 / 32)
