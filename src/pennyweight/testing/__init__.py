"""The laws of levers and tiny jobs to try them on, for our own levers and for strangers'.

A stranger's lever is tested like ours:

    from pennyweight.testing import LeverLaws

    class TestShrink(LeverLaws):
        lever = Shrink

or, without pytest, by ``check_lever(Shrink)``, which raises `AssertionError` with the law that is broken.
"""

from pennyweight.testing.jobs import (
    cnn_job,
    forest_job,
    gpt_job,
    linear_job,
    mlp_job,
    notes_job,
    pretrained_job,
    team_job,
    tiny_jobs,
)
from pennyweight.testing.laws import HEADINGS, LAWS, LeverLaws, check_lever
from pennyweight.testing.networks import tiny_cnn, tiny_gpt, tiny_mlp

__all__ = [
    "HEADINGS",
    "LAWS",
    "LeverLaws",
    "check_lever",
    "cnn_job",
    "forest_job",
    "gpt_job",
    "linear_job",
    "mlp_job",
    "notes_job",
    "pretrained_job",
    "team_job",
    "tiny_cnn",
    "tiny_gpt",
    "tiny_jobs",
    "tiny_mlp",
]
