import re
import shlex

import pytest

from pennyweight.catalog.models import model
from pennyweight.cli.launching import check_target, tell_launch
from pennyweight.core.layout import Layout
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.layout.emit.planned import launch_of_estimate
from pennyweight.layout.plans.estimating import estimate
from pennyweight.layout.plans.planning import Limits, plan_train
from pennyweight.layout.plans.renting import Terms
from pennyweight.layout.plans.training import TrainWork

WORK = TrainWork(model("llama-3-8b"), 1e11)


@pytest.fixture(scope="module")
def found():
    return estimate(
        WORK, "h100", 64, Layout(tp=4, pp=2, dp=8, zero=1, sequence_parallel=True), Terms(cloud="aws", spare=True)
    )


def test_the_file_of_an_estimate_lies_in_the_folder_and_is_named_by_what_it_starts(
    found, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    path = tell_launch(found, "slurm")
    assert path.name == "train-meta-llama-3-8b.sbatch"
    assert capsys.readouterr().out == "The launch file for slurm is train-meta-llama-3-8b.sbatch.\n"
    words = shlex.split(path.read_text(), comments=True)
    degrees = [int(words[words.index(f"--{kind}-parallel-size") + 1]) for kind in ("tensor-model", "pipeline-model")]
    assert degrees == [4, 2]
    assert tell_launch(found, "torchrun", tmp_path / "mine.sh", json=True).read_text().startswith("#!")
    assert not capsys.readouterr().out


def test_checkpoints_are_as_far_apart_as_the_estimate_assumes(found):
    launch = launch_of_estimate(found)
    assert launch.train.checkpoint_steps == round(float(found.upkeep.every_s) / found.step.value)
    assert launch.spare
    assert (launch.machines, launch.node_devices) == (8, found.rented.offer.devices)


def test_the_cheapest_way_of_a_plan_is_launched(tmp_path):
    plan = plan_train(WORK, Limits(), ["h100"], spare=False)
    text = tell_launch(plan, "skypilot", tmp_path / "plan.yaml").read_text()
    devices = plan.cheapest.rented.offer.devices
    assert f'accelerators: "H100:{devices}"' in text
    assert re.search(rf"num_nodes: {plan.cheapest.rented.machines}$", text, re.MULTILINE)
    nothing = plan_train(WORK, Limits(deadline_s=1.0), ["h100"], spare=False)
    with pytest.raises(BadInputError, match="nothing to launch"):
        tell_launch(nothing, "skypilot", tmp_path / "none.yaml")
    assert not (tmp_path / "none.yaml").exists()


def test_a_target_that_is_not_there_is_refused_before_anything_is_computed():
    check_target(None)
    check_target("vllm")
    with pytest.raises(UnknownNameError, match="one of: slurm"):
        check_target("slrum")
