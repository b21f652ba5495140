"""Recipes may have options of their own: typed by their defaults, and refused by name."""

import pytest

from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.jobs import load_recipe
from pennyweight.jobs.recipe import options_of

RECIPE = """
import numpy as np
from pennyweight import Floor, torch_job


def job(data=None, width=3, rate=0.5, wide=False, name="plain"):
    from torch import nn

    assert (type(width), type(rate), type(wide)) == (int, float, bool)
    x = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    made = lambda: nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))
    return torch_job(f"{name} {rate} {wide}", made, (x, np.arange(200) % 2), Floor("accuracy", 0.1))
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.py"
    path.write_text(RECIPE)
    return path


def test_a_text_becomes_what_the_default_is(recipe):
    plain = load_recipe(recipe)
    told = load_recipe(recipe, **options_of(["width=7", "rate=2", "wide=true", "name=a=b"]))
    assert plain.name == "plain 0.5 False"
    assert told.name == "a=b 2.0 True"
    assert told.material.make_model()[0].out_features == 7
    assert told.fingerprint != plain.fingerprint
    assert load_recipe(recipe, width=7).material.make_model()[0].out_features == 7


def test_an_option_that_there_is_not_is_refused_with_those_that_there_are(recipe, tmp_path):
    with pytest.raises(UnknownNameError, match="width"):
        load_recipe(recipe, widht="7")
    other = tmp_path / "other.py"
    other.write_text("def job(data=None):\n    return 7")
    with pytest.raises(BadInputError, match="has no options"):
        load_recipe(other, width="7")


@pytest.mark.parametrize(("name", "value"), [("width", "3.5"), ("rate", "much"), ("wide", "yes")])
def test_a_value_that_cannot_be_is_refused(recipe, name, value):
    with pytest.raises(BadInputError, match=f"{name} cannot be '{value}'"):
        load_recipe(recipe, **{name: value})


@pytest.mark.parametrize("word", ["width", "=3", "width=", "a b=3"])
def test_a_word_that_is_no_option_is_refused(word):
    with pytest.raises(BadInputError, match="no option"):
        options_of([word])
