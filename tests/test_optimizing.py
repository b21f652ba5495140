import resource

import numpy as np
import pytest

from pennyweight import Demand, Floor, Limits, Search, Shop, Slack, TrainSpec, foresee, optimize, torch_job
from pennyweight.cli.optimizing import verdict
from pennyweight.core import Basis, Phase, Stage
from pennyweight.data.splits import split
from pennyweight.errors import FloorUnreachableError, OverBudgetError, StorageError, UnknownNameError
from pennyweight.report.facts import front_facts
from pennyweight.report.page import page


def network():
    from torch import nn

    return nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))


def job_with(floor=None, **asked):
    x = np.random.default_rng(0).normal(size=(1500, 8)).astype(np.float32)
    y = (x[:, :4].sum(axis=1) > x[:, 4:].sum(axis=1)).astype(np.int64)
    given = {"train": TrainSpec(epochs=4, batch=64), "demand": Demand(1e9), "limits": Limits(trials=3)} | asked
    return torch_job("halves", network, split(x, y), floor or Floor("accuracy", 0.06), **given)


FEW = Search(levers=["prune", "runtime"])


def test_the_winner_is_cheaper_and_certified(tmp_path):
    front = optimize(job_with(), FEW, shop=Shop.at(tmp_path))
    assert front.certificate.held
    assert front.certificate.n == 300
    assert front.winner.bill < front.control.bill
    assert front.spent.usd > 0
    assert front.break_even() < 1e9
    assert len(front.seen) <= 3


def test_a_second_search_costs_nothing_and_says_the_same(tmp_path):
    first = optimize(job_with(), FEW, shop=Shop.at(tmp_path))
    entries = len(Shop.at(tmp_path).ledger.entries())
    second = optimize(job_with(), FEW, shop=Shop.at(tmp_path))
    assert [run.plan.key for run in second.seen] == [run.plan.key for run in first.seen]
    assert second.winner.plan == first.winner.plan
    assert second.certificate.explain() == first.certificate.explain()
    assert len(Shop.at(tmp_path).ledger.entries()) == entries
    assert len(Shop.at(tmp_path).ledger.looks(job_with().fingerprint)) == 1


def test_searching_further_looks_again_and_says_at_what_level(tmp_path):
    optimize(job_with(), FEW, shop=Shop.at(tmp_path))
    more = Search(levers=["quantize", "runtime", "prune", "lowrank", "sparsify"])
    for trials in (6, 10, 16):  # what is measured says how far one must search for something new that is worth a look
        front = optimize(job_with(limits=Limits(trials=trials)), more, shop=Shop.at(tmp_path))
        first, *later = Shop.at(tmp_path).ledger.looks(job_with().fingerprint)
        if later:
            break
    assert len(later) == 1
    assert first.level == pytest.approx(0.045)
    assert later[0].level < first.level
    assert not set(later[0].runs) & {*first.runs, *first.aside}
    assert front.certificate.uses == (front.certificate.run.artifact in later[0].passed)
    assert front.certificate.held


def test_a_full_disk_ends_the_search_and_is_no_fault_of_the_plan(tmp_path):
    shop = Shop.at(tmp_path)
    optimize(job_with(limits=Limits(trials=1)), FEW, shop=shop)
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, most[1]))
    try:
        with pytest.raises(StorageError, match=r"full|no room"):
            optimize(job_with(), FEW, shop=shop)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    shop.ledger.check()
    assert len(shop.ledger.runs()) == 1
    assert len(optimize(job_with(), FEW, shop=shop).seen) > 1


def test_ctrl_c_keeps_what_was_finished_and_the_next_search_goes_on(tmp_path):
    runs = []

    def interrupt(event, **facts):
        if event == "run":
            runs.append(facts["run"])
            if len(runs) == 2:
                raise KeyboardInterrupt

    front = optimize(job_with(), FEW, shop=Shop.at(tmp_path, watch=interrupt))
    assert front.certificate is None
    assert len(Shop.at(tmp_path).ledger.runs("halves")) == 2
    assert optimize(job_with(), FEW, shop=Shop.at(tmp_path)).certificate.held


def test_a_budget_too_small_for_the_control_is_said_before_anything_runs(tmp_path):
    with pytest.raises(OverBudgetError, match="too small for even the control"):
        optimize(job_with(limits=Limits(usd=1e-12)), FEW, shop=Shop.at(tmp_path))
    assert Shop.at(tmp_path).ledger.entries() == []


def test_an_unreachable_floor_is_an_error_that_says_what_the_control_reached(tmp_path):
    job = job_with(Floor("accuracy", 0.98, Slack.ABSOLUTE), train=TrainSpec(epochs=1, batch=512, lr=1e-9))
    with pytest.raises(FloorUnreachableError, match="reaches accuracy"):
        optimize(job, FEW, shop=Shop.at(tmp_path))


def test_a_dry_run_predicts_and_runs_nothing(tmp_path):
    front = foresee(job_with(), FEW, shop=Shop.at(tmp_path))
    assert front.control.bill.basis is Basis.PREDICTED
    assert min(run.bill.usd for run in front.seen) < front.control.bill.usd
    assert Shop.at(tmp_path).ledger.entries() == []


def test_an_unknown_lever_or_strategy_names_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match="prune"):
        optimize(job_with(), Search(levers=["prun"]), shop=Shop.at(tmp_path))
    with pytest.raises(UnknownNameError, match="greedy"):
        optimize(job_with(), Search("gredy", ["prune"]), shop=Shop.at(tmp_path))


def test_nothing_is_tried_that_cannot_pay_for_itself(tmp_path):
    told = []
    shop = Shop.at(tmp_path, watch=lambda event, **facts: told.append((event, facts.get("text", ""))))
    front = optimize(job_with(demand=Demand(1.0)), FEW, shop=shop)
    assert len(front.seen) == 1
    assert front.winner is front.control


def test_for_training_only_what_is_found_and_trained_counts(tmp_path):
    job = job_with(train=TrainSpec(epochs=8, batch=64, lr=3e-3), limits=Limits(trials=4))
    front = optimize(job, Search(objective="train", levers=["schedule", "distill"]), shop=Shop.at(tmp_path))
    for run in front.seen:
        assert run.bill.line(Phase.SERVE).usd == 0
        assert run.bill.line(Phase.STORE).usd < 1e-6 * run.bill.usd
    assert {lever.name for lever in front.winner.plan.levers} == {"schedule"}
    assert front.winner.bill.line(Phase.TRAIN).usd < 0.8 * front.control.bill.line(Phase.TRAIN).usd
    facts = front_facts(front)
    assert facts["objective"] == "train"
    saved = 1 - front.winner.bill.line(Phase.TRAIN).usd / front.control.bill.line(Phase.TRAIN).usd
    trained = front.control.bill.line(Phase.TRAIN).usd
    assert facts["break_even_trainings"] == pytest.approx(front.spent.usd / (saved * trained))
    assert "Only finding and training count" in page([front])
    assert any("trainings" in line for line in verdict(facts))


def test_for_training_the_levers_are_those_of_data_and_training(tmp_path):
    front = foresee(job_with(), Search(objective="train"), shop=Shop.at(tmp_path))
    stages = {lever.stage for run in front.seen for lever in run.plan.levers}
    assert stages == {Stage.DATA, Stage.TRAIN}
    with pytest.raises(UnknownNameError, match="train"):
        foresee(job_with(), Search(objective="trian"), shop=Shop.at(tmp_path))
