"""The levers of trainings by several workers: distributed_local, distributed_compress, distributed_workers."""

from dataclasses import replace

import pytest

from pennyweight import backends
from pennyweight.core import TeamSpec
from pennyweight.cost.count import count_training, wire_byte
from pennyweight.engine.making import trained
from pennyweight.levers.distributed_compress import DistributedCompress
from pennyweight.levers.distributed_local import DistributedLocal
from pennyweight.levers.distributed_workers import DistributedWorkers
from pennyweight.testing import LeverLaws, gpt_job, team_job, tiny_jobs


class TestDistributedLocal(LeverLaws):
    lever = DistributedLocal


class TestDistributedCompress(LeverLaws):
    lever = DistributedCompress


class TestDistributedWorkers(LeverLaws):
    lever = DistributedWorkers


def with_team(**changes):
    job = team_job()
    train = job.spec.train
    return replace(job, spec=replace(job.spec, train=replace(train, team=replace(train.team, **changes))))


def run(job, *levers):
    work = backends.load("torch").open(job)
    for lever in levers:
        work = lever.pull(work)
    return trained(work)


def right(work):
    select = work.data.select
    return (backends.load("torch").predict(work, select.x).argmax(1) == select.y).mean()


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize(
    "levers",
    [
        (),
        (DistributedLocal(8),),
        (DistributedLocal(8, momentum=True), DistributedCompress("int4")),
        (DistributedCompress("bf16"),),
        (DistributedCompress("powersgd:2+bf16"),),
        (DistributedCompress("topk:0.1+onebit"),),
        (DistributedCompress("randomk:0.1+int8"),),
    ],
    ids=lambda levers: "-".join(map(str, levers)) or "as asked",
)
def test_the_bytes_that_workers_really_send_are_those_on_paper(levers, workers):
    job = with_team(workers=workers)
    paper = job.spec
    for lever in levers:
        paper = lever.rewrite(paper)
    done = run(job, *levers)
    assert done.spec.train.team.sent_byte == wire_byte(done.spec) > 0
    trust = max((lever.trust for lever in levers), default=1e-9)
    assert wire_byte(paper) == pytest.approx(done.spec.train.team.sent_byte, rel=trust)
    assert right(done) > 0.7


@pytest.mark.parametrize(("job", "trust"), [(team_job(), 0.02), (gpt_job(), 0.05)], ids=["mlp", "gpt"])
def test_the_bytes_that_go_between_shards_are_those_on_paper(job, trust):
    team = TeamSpec(2, "shard")
    job = replace(job, spec=replace(job.spec, train=replace(job.spec.train, epochs=1, team=team)))
    done = run(job)
    assert wire_byte(job.spec) == pytest.approx(done.spec.train.team.sent_byte, rel=trust)
    assert wire_byte(done.spec) > 0


def test_workers_that_meet_every_eighth_step_send_an_eighth():
    job = team_job()
    each, local = count_training(job.spec), count_training(DistributedLocal(8).rewrite(job.spec))
    assert local.flop == each.flop
    assert local.net_byte == pytest.approx(each.net_byte / 8, rel=0.05)


def test_one_worker_with_the_batch_of_two_takes_the_same_steps_and_sends_nothing():
    job = team_job()
    alone = run(job, DistributedWorkers(1))
    both = run(job)
    assert alone.spec.train.team.sent_byte == wire_byte(alone.spec) == 0
    assert abs(right(alone) - right(both)) < 0.05
    for one, two in zip(alone.model.parameters(), both.model.parameters(), strict=True):
        assert (one - two).abs().max() < 0.05


def test_a_job_without_a_team_has_nothing_for_these_levers_and_is_told_why():
    job = tiny_jobs()[1]
    for lever in (DistributedLocal(), DistributedCompress(), DistributedWorkers()):
        assert not list(type(lever).choices(job))
        assert "worker" in lever.fits(job.spec).reason


@pytest.mark.parametrize(
    ("lever", "changes", "said"),
    [
        (DistributedLocal(1), {}, "at least two"),
        (DistributedLocal(10_000), {}, "shorter"),
        (DistributedLocal(4), {"sync": "diloco:4"}, "diloco:4"),
        (DistributedCompress("int5"), {}, "int4"),
        (DistributedCompress(""), {}, "int8"),
        (DistributedCompress("int4"), {"compress": "bf16"}, "already"),
        (DistributedCompress("int4"), {"sync": "async:4"}, "async:4"),
        (DistributedWorkers(2), {}, "smaller"),
        (DistributedWorkers(1), {"sync": "local:4"}, "every step"),
        (DistributedWorkers(3), {"workers": 4}, "evenly"),
    ],
)
def test_what_does_not_fit_a_team_is_refused_with_the_reason(lever, changes, said):
    verdict = lever.fits(with_team(**changes).spec)
    assert not verdict
    assert said in verdict.reason


def test_a_slower_link_makes_the_same_bytes_dearer():
    from pennyweight.catalog import load_device, load_prices
    from pennyweight.cost.predict import Predictor

    predictor = Predictor(load_device("amd-zen4"), load_prices())
    fast, slow = (with_team(link_byte_s=speed).spec for speed in (1.25e9, 1.25e6))
    job = team_job()
    bills = [predictor.predict(spec, job.demand) for spec in (fast, slow, DistributedLocal(8).rewrite(slow))]
    assert bills[0].usd < bills[2].usd < bills[1].usd
    assert wire_byte(fast) == wire_byte(slow)


def test_a_team_on_paper_is_equal_to_one_on_another_link_but_for_the_link():
    assert repr(TeamSpec(2, link_byte_s=1.0)) == repr(TeamSpec(2))
