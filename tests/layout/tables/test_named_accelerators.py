"""Accelerators as tables call them are found in the catalog; others are refused with the nearest names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.catalog.accelerators import accelerators
from pennyweight.errors import UnknownNameError
from pennyweight.layout.tables.accelerators import named, stand_in, standing_in, unknown


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("NVIDIA Blackwell GPU (B200-SXM-180GB)", "b200"),
        ("NVIDIA Blackwell GPU (GB200)", "gb200"),
        ("NVIDIA H200-SXM5-141GB", "h200"),
        ("NVIDIA H200-NVL-141GB", "h200-nvl"),
        ("Virtualized NVIDIA H200-SXM-141GB", "h200"),
        ("NVIDIA GH200 Grace Hopper Superchip 144GB", "gh200"),
        ("AMD Instinct MI300X 192GB HBM3", "mi300x"),
        ("AMD Instinct MI325X 256GB HBM3E DLC", "mi325x"),
        ("NVIDIA L40S", "l40s"),
        ("TPU-trillium", "tpu-v6e"),
        ("TPU v5p", "tpu-v5p"),
    ],
)
def test_a_published_name_is_the_device_it_means(text, name):
    assert named(text).name == name


def test_a_name_counts_only_as_whole_words():
    with pytest.raises(UnknownNameError):
        named("NVIDIA XB200Z")


def test_an_unknown_accelerator_is_refused_with_the_nearest_names():
    with pytest.raises(UnknownNameError, match="b200"):
        named("NVIDIA XB200Z")


def test_what_is_wrong_with_each_name_is_said():
    problems = unknown(["NVIDIA L4-PCIe-24GB", "XB200Z"])
    assert not problems[0]
    assert "There is no accelerator" in problems[1]
    assert "b200" in problems[1]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("NVIDIA RTX A6001", "a6000"),
        ("NVIDIA GB400", "gb300"),
        ("AMD Instinct MI400X 512GB HBM4", "mi355x"),
        ("TPU v8", "ironwood"),
        ("TPU v99", "ironwood"),
        ("NVIDIA GeForce RTX 4080", "rtx-4090"),
        ("NVIDIA Jetson Orin NX", "jetson-agx-orin"),
        ("Intel Gaudi 4", "gaudi3"),
    ],
)
def test_the_next_of_its_series_stands_in_for_a_device_nobody_listed_and_is_said(text, name):
    assert named(text).name == name
    assert standing_in(text) in {f"{name} stands in for {text}", ""}


@pytest.mark.parametrize("text", ["Intel Xeon 6787P", "AMD EPYC 9965", "", "N/A", "abacus 9000"])
def test_what_is_no_accelerator_has_none_stand_in(text):
    assert unknown([text])[0]


def test_a_device_of_the_catalog_is_never_stood_in_for():
    for each in accelerators():
        for name in (each.name, *each.aliases):
            assert named(name) is each
            assert not standing_in(name)


def test_a_device_taken_out_of_the_catalog_has_a_stand_in_that_is_another():
    for each in accelerators():
        found = stand_in(each.name, each.name)
        assert found is None or found.name != each.name


@given(st.text(max_size=300))
def test_any_text_is_a_device_or_has_a_problem(text):
    (problem,) = unknown([text])
    assert problem or named(text) in accelerators()
