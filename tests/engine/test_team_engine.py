"""Plans whose training is done by several workers: what is sent is counted before and measured after."""

from dataclasses import replace

import pytest

from pennyweight.core import Plan, TeamSpec
from pennyweight.cost.count import wire_byte
from pennyweight.engine import Engine, Shop
from pennyweight.engine.making import waited
from pennyweight.errors import PennyweightError
from pennyweight.levers.distributed_local import DistributedLocal
from pennyweight.optimizing import Search, scope_of
from pennyweight.testing import mlp_job, team_job, tiny_mlp
from pennyweight.train.distributed.forked import train_together


def on_link(byte_s):
    job = team_job()
    train = replace(job.spec.train, team=TeamSpec(2, link_byte_s=byte_s))
    return replace(job, spec=replace(job.spec, train=train)).to_train()


def test_the_bill_of_a_run_has_the_wait_for_the_bytes_that_its_workers_really_sent(tmp_path):
    job = on_link(1e5)
    engine = Engine(job, Shop.at(tmp_path))
    control = engine.execute(Plan(job))
    local = engine.execute(Plan(job).then(DistributedLocal(8)))
    sent = [run.spec.train.team.sent_byte for run in (control, local)]
    assert sent[0] == pytest.approx(wire_byte(job.spec))
    assert sent[1] < sent[0] / 6
    assert control.bill.total.wall_s > waited(control.spec).wall_s > 10
    assert local.bill.usd < control.bill.usd
    assert control.predicted.total.wall_s > waited(control.spec).wall_s
    ledger = sum(entry.cost.wall_s for entry in engine.shop.ledger.entries(job.name))
    assert ledger < control.bill.total.wall_s


def test_a_search_for_cheap_training_has_the_levers_of_teams_where_there_is_one(tmp_path):
    names = {}
    for job in (on_link(1e5), mlp_job().to_train()):
        scope = scope_of(Engine(job, Shop.at(tmp_path)), Search(objective="train"))
        names[job.name] = {lever.name for lever in scope.levers if lever.name.startswith("distributed_")}
    assert names == {
        "tiny_team": {"distributed_local", "distributed_compress", "distributed_workers"},
        "tiny_mlp": set(),
    }


def test_what_stops_one_worker_is_said_as_if_it_had_happened_here():
    job = team_job()
    train = replace(job.spec.train, optimizer="sgd", lr=1e30)
    with pytest.raises(PennyweightError, match="loss is"):
        train_together(tiny_mlp(), job.material.splits.train, train)
