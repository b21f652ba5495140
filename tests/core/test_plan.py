from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.core import YES, Floor, Job, Plan, Spec, Stage, Verdict, no
from pennyweight.errors import BadInputError
from pennyweight.testing.paper import SPEC, Paper


@dataclass(frozen=True, slots=True)
class Epochs(Paper):
    """Train for a share of the epochs."""

    share: float = 0.5
    stage: ClassVar[Stage] = Stage.TRAIN

    def rewrite(self, spec: Spec) -> Spec:
        return replace(spec, train=replace(spec.train, epochs=spec.train.epochs * self.share))


@dataclass(frozen=True, slots=True)
class Bits(Paper):
    """Fewer bits per weight; only downwards."""

    bits: int = 8

    def fits(self, spec: Spec) -> Verdict:
        return YES if spec.ops[0].weight_bits > self.bits else no("the weights have no more bits than that.")

    def rewrite(self, spec: Spec) -> Spec:
        return spec.map(lambda op: replace(op, weight_bits=self.bits))


def a_job(name="test", fingerprint=""):
    return Job(name, SPEC, Floor("accuracy", 0.01), fingerprint=fingerprint)


def test_a_plan_without_levers_is_the_control():
    plan = Plan(a_job())
    assert plan.is_control
    assert plan.spec == plan.job.spec
    assert str(plan) == "as asked"
    assert plan.explain() == "test: as asked"


def test_levers_are_kept_in_stage_order_and_within_a_stage_as_given():
    first, second = Epochs(0.5), Epochs(0.25)
    assert Plan(a_job(), (Bits(8), first, second)).levers == (first, second, Bits(8))
    assert Plan(a_job()).then(Bits(8)).then(first).levers == (first, Bits(8))


def test_the_spec_is_rewritten_by_each_lever_in_turn():
    spec = Plan(a_job()).then(Epochs(0.5)).then(Bits(8)).then(Bits(4)).spec
    assert spec.train.epochs == pytest.approx(0.5)
    assert spec.ops[0].weight_bits == 4


@given(st.lists(st.sampled_from([Epochs(0.5), Epochs(0.1), Bits(16), Bits(8)]), max_size=4, unique=True))
def test_growing_a_plan_lever_by_lever_gives_the_plan_made_at_once(levers):
    # In descending bits each fits; the parent's spec must be reused only where it is that of a prefix.
    at_once, grown = Plan(a_job(), tuple(levers)), Plan(a_job())
    for lever in levers:
        grown = grown.then(lever)
    assert grown == at_once
    assert grown.key == at_once.key
    try:
        expected = at_once.spec
    except BadInputError:
        with pytest.raises(BadInputError):
            _ = grown.spec
    else:
        assert grown.spec == expected


def test_a_lever_that_does_not_fit_says_why():
    plan = Plan(a_job(), (Bits(8), Bits(16)))
    with pytest.raises(BadInputError, match=r"bits=16.*no more bits.*leave it out"):
        _ = plan.spec


def test_the_data_can_be_cut():
    plan = Plan(a_job(), (Epochs(0.5), Bits(8)), seed=3)
    assert plan.at(0.25).fidelity == pytest.approx(0.25)
    assert plan.at(0.25).levers == plan.levers
    assert plan.at(0.25).seed == 3


def test_a_share_of_the_data_is_trained_on_fewer_rows_on_paper_too():
    plan = Plan(a_job()).then(Epochs()).at(0.25)
    assert plan.spec.data.rows == plan.trained.data.rows == SPEC.data.rows / 4
    assert plan.at(1.0).spec.data == SPEC.data


@pytest.mark.parametrize("fidelity", [0.0, -0.1, 1.1])
def test_a_fidelity_must_be_a_share(fidelity):
    with pytest.raises(BadInputError, match="share"):
        Plan(a_job(), fidelity=fidelity)


def test_the_key_names_what_would_be_done_and_nothing_else():
    plan = Plan(a_job(), (Bits(8),))
    assert plan.key == Plan(a_job()).then(Bits(8)).key
    others = [
        Plan(a_job(), (Bits(4),)),
        Plan(a_job(), (Bits(8),), fidelity=0.5),
        Plan(a_job(), (Bits(8),), seed=1),
        Plan(a_job("other"), (Bits(8),)),
        Plan(a_job(fingerprint="changed data"), (Bits(8),)),
    ]
    assert len({plan.key, *(other.key for other in others)}) == 6
    assert plan.key == "2f700468efaab986"  # the same in every process and version, or the ledger forgets


def test_levers_up_to_a_stage():
    plan = Plan(a_job(), (Epochs(0.5), Bits(8)))
    assert plan.upto(Stage.DATA) == ()
    assert plan.upto(Stage.TRAIN) == (Epochs(0.5),)
    assert plan.upto(Stage.PLACE) == plan.levers


def test_explaining_gives_a_line_per_lever():
    text = Plan(a_job(), (Epochs(0.5), Bits(8))).explain()
    assert [line.split()[0] for line in text.splitlines()] == ["test:", "train", "compress"]
    assert "share=0.5" in text
    assert "→" in str(Plan(a_job(), (Epochs(0.5), Bits(8))))
