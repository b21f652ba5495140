import importlib.util
import sys
from pathlib import Path

import pytest

from pennyweight.catalog.models import model, model_names
from pennyweight.core import DataSpec, Form, Spec
from pennyweight.core.dims import Dims
from pennyweight.cost.count import count, flop, params
from pennyweight.cost.table_module import table_of_module
from pennyweight.cost.table_transformer import table_of_dims
from pennyweight.cost.transformer import forward_flop, parameters

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "char_gpt.py"


@pytest.fixture(scope="module")
def network():
    spec = importlib.util.spec_from_file_location("recipe_of_dims", RECIPE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.CharGPT(module.Shape(65))


def spec_of(ops):
    return Spec(Form.MODULE, ops, DataSpec(1, 1.0))


@pytest.mark.parametrize("name", model_names())
def test_the_table_counts_what_the_formulas_count(name):
    d = model(name)
    for tokens, context in ((512, 512), (1, 3000)):
        if d.patch_values and context > tokens:
            continue
        spec = spec_of(table_of_dims(d, tokens, context))
        assert params(spec) == parameters(d)
        assert count(spec).flop == pytest.approx(forward_flop(d, tokens, context).total, rel=1e-9)


def test_the_table_is_short_however_deep_the_model():
    assert max(len(table_of_dims(model(name), 128)) for name in model_names()) <= 35
    assert len(table_of_dims(model("llama-3.1-405b"), 128)) <= 16


def test_a_real_module_has_the_parameters_and_flop_of_its_dimensions(network):
    d = Dims("char", 6, 384, 6, 1536, 65, gated=False, positions=256, norm_bias=True)
    assert sum(each.numel() for each in network.parameters()) == parameters(d)
    traced = table_of_module(network, (256,), dtype="int64")
    assert sum(map(flop, traced)) == forward_flop(d, 256, full_core=True).total
