"""Every lever found is held to the eight laws, and each law finds a lever that breaks it."""

import sys
from importlib.util import module_from_spec, spec_from_file_location

import pytest

from pennyweight import levers
from pennyweight.errors import UntraceableError
from pennyweight.testing import HEADINGS, LAWS, LeverLaws, check_lever, forest_job, mlp_job, tiny_jobs

GOOD = '''
from dataclasses import dataclass, replace
from typing import final

from pennyweight.core import YES, Form, Lever, Stage, no
from pennyweight.errors import NoEffectError


@final
@dataclass(frozen=True)
class Halve(Lever):
    """Forget every second neuron of the first layer of a perceptron."""

    gone: int = 32

    stage = Stage.COMPRESS
    source = "A test of the laws"

    @classmethod
    def choices(cls, job):
        yield cls()

    def fits(self, spec):
        if spec.form is not Form.MODULE or spec.widths().get("0") != 64:
            return no("the first layer is not the one of sixty-four neurons")
        return YES

    def rewrite(self, spec):
        return spec.resize({"0": 64 - self.gone})

    def pull(self, work):
        import copy
        import torch

        model = copy.deepcopy(work.model)
        if model[0].out_features != 64:
            raise NoEffectError("They are gone already.", "pull it once.")
        model[0].weight = torch.nn.Parameter(model[0].weight[self.gone :])
        model[0].bias = torch.nn.Parameter(model[0].bias[self.gone :])
        model[2].weight = torch.nn.Parameter(model[2].weight[:, self.gone :])
        model[0].out_features = model[2].in_features = 64 - self.gone
        return work.having(model=model, spec=self.rewrite(work.spec))
'''
CARD = "# halve\n\n" + "\n\n".join(f"## {heading}\n\nFive words about it, 12%." for heading in HEADINGS)
JOBS = (mlp_job(), forest_job())


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A lever in a file of its own, with a card beside it, some of its text replaced."""

    def make(old="", new="", card=CARD):
        file = tmp_path / "halve.py"
        file.write_text(GOOD.replace(old, new) if old else GOOD)
        (tmp_path / "docs" / "levers").mkdir(parents=True, exist_ok=True)
        (tmp_path / "docs" / "levers" / "halve.md").write_text(card)
        spec = spec_from_file_location("elsewhere.halve", file)
        module = module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        assert not old or old in GOOD
        return module.Halve

    return make


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("kind", levers.find().values(), ids=levers.find())
def test_the_lever_keeps_the_law(kind, law):
    law(kind, tiny_jobs())


def test_a_strangers_lever_is_held_to_the_same_laws(stranger):
    kind = stranger()
    check_lever(kind, JOBS)
    mine = type("TestHalve", (LeverLaws,), {"lever": kind, "jobs": classmethod(lambda cls: JOBS)})()
    laws = [name for name in dir(LeverLaws) if name.startswith("test_")]
    assert len(laws) == len(LAWS) == 8
    for law in laws:
        getattr(mine, law)()


BROKEN = [
    ("@final\n", "", "may be subclassed"),
    ("@dataclass(frozen=True)", "@dataclass(eq=True)", "can be changed"),
    ('"A test of the laws"', '""', "no source"),
    ("gone: int = 32", "gone: object = object()", "stable text"),
    ('get("0") != 64', 'get("0") != 65', "fits none of"),
    ("64 - self.gone}", "64}", "saves nothing"),
    ("the first layer is not the one of sixty-four neurons", "no", "without a reason"),
    ("64 - self.gone}", "32 - self.gone // 2}", "on paper and"),
    ("model[0].weight[self.gone :]", "torch.rand(32, 24)", "another work each time"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), BROKEN, ids=[row[2] for row in BROKEN])
def test_a_lever_that_breaks_a_law_is_found_out(stranger, old, new, sentence):
    kind = stranger(old, new)
    with pytest.raises(AssertionError, match=sentence):
        check_lever(kind, JOBS)


def test_a_lever_that_changes_nothing_is_found_out(stranger):
    kind = stranger("import copy\n", "return work\n        import copy\n")
    with pytest.raises(AssertionError, match="changes nothing"):
        LAWS[5](kind, JOBS)
    only_spec = stranger("import copy\n", "return work.having(spec=self.rewrite(work.spec))\n        import copy\n")
    with pytest.raises(AssertionError, match="but not the model"):
        LAWS[5](only_spec, JOBS)


def test_a_lever_that_changes_what_it_was_given_is_found_out(stranger):
    with pytest.raises(AssertionError, match="changed the work it was given"):
        LAWS[5](stranger("copy.deepcopy(work.model)", "work.model"), JOBS)


def test_a_lever_that_fits_its_own_result_must_change_that_too(stranger):
    kind = stranger('spec.widths().get("0") != 64', '"0" not in spec.widths()')
    LAWS[5](kind, JOBS)
    assert kind().fits(kind().rewrite(mlp_job().spec))


@pytest.mark.parametrize(
    ("card", "sentence"),
    [
        ("# other\n", "does not begin"),
        (CARD.replace("## Source", "## Sources"), "has the headings"),
        (CARD.replace("Five words about it, 12%.", "Nothing."), "says nothing under"),
        (CARD.replace("12%", "none"), "no measured number"),
    ],
)
def test_a_card_that_hides_the_price_is_found_out(stranger, card, sentence):
    with pytest.raises(AssertionError, match=sentence):
        LAWS[6](stranger(card=card), JOBS)


def test_a_lever_without_a_card_is_found_out(stranger, tmp_path):
    kind = stranger()
    (tmp_path / "docs" / "levers" / "halve.md").unlink()
    with pytest.raises(AssertionError, match="has no card"):
        LAWS[6](kind, JOBS)


def test_a_model_that_cannot_be_saved_is_found_out(stranger):
    branch = "lambda x: plain(x if x.sum() > 0 else -x)"
    kind = stranger(
        "return work.having(", f"plain, model.forward = model.forward, {branch}\n        return work.having("
    )
    with pytest.raises(UntraceableError):
        LAWS[7](kind, JOBS)
