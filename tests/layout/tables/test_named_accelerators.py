"""Accelerators as tables call them are found in the catalog; others are refused with the nearest names."""

import pytest

from pennyweight.errors import UnknownNameError
from pennyweight.layout.tables.accelerators import named, unknown


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
    with pytest.raises(UnknownNameError, match="a6000"):
        named("NVIDIA RTX A6001")


def test_what_is_wrong_with_each_name_is_said():
    problems = unknown(["NVIDIA L4-PCIe-24GB", "NVIDIA RTX A6001"])
    assert not problems[0]
    assert "There is no accelerator" in problems[1]
    assert "rtx-a6000" in problems[1]
