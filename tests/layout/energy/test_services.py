"""From models and devices to services: sizes that are known, sizes that are guessed, and what cannot be."""

import numpy as np
import pytest

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.models import model
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.layout.energy.joules import PARTS, features, place, question
from pennyweight.layout.energy.services import Use, must_fit, served_of
from pennyweight.layout.energy.shapes import shape_called, shape_like, shape_of

USE = Use(8, 64, 500, "lm-arena-chat")


def test_a_model_of_the_catalog_brings_its_own_sizes():
    found = shape_of(model("qwen3-235b-a22b"))
    assert (found.layers, found.sent, found.guessed) == (94, 8 / 128, False)
    assert found.experts == pytest.approx(227e9, rel=0.02)


def test_a_sibling_with_a_longer_name_and_as_many_parameters_has_the_same_layers():
    found = shape_called("Qwen/Qwen3-32B-Turbo-2511-FP8", 32.8e9, 32.8e9)
    assert (found.layers, found.guessed) == (64, False)


def test_a_name_that_only_looks_alike_is_guessed_from_its_parameters():
    found = shape_called("Qwen/Qwen3-32B-Mega", 900e9, 40e9)
    assert found.guessed
    assert found.experts > 800e9


@pytest.mark.parametrize("name", ["llama-3.1-8b", "llama-3.1-70b", "qwen3-32b"])
def test_guesses_are_near_what_published_models_have(name):
    known = shape_of(model(name))
    assert shape_like(known.parameters, known.parameters).layers == pytest.approx(known.layers, rel=0.15)


def test_more_active_parameters_than_parameters_are_refused():
    with pytest.raises(BadInputError, match="not above all"):
        shape_like(1e9, 2e9)


def test_weights_that_do_not_fit_are_refused_with_how_many_devices_it_takes():
    shape, h100 = shape_of(model("llama-3.1-70b")), accelerator("h100")
    with pytest.raises(BadInputError, match="use 2 or more"):
        must_fit("llama", shape, h100, Use(1, 8, 100, "lm-arena-chat"))
    must_fit("llama", shape, h100, Use(1, 8, 100, "lm-arena-chat", "fp8"))


def test_a_service_of_nothing_and_an_unknown_precision_are_refused():
    with pytest.raises(BadInputError, match="sequences at once"):
        Use(1, 0, 100, "gpqa")
    with pytest.raises(UnknownNameError, match="fp8"):
        Use(1, 1, 100, "gpqa", "fp9")


def test_a_larger_batch_shares_the_weights_and_many_devices_wait_more():
    shape, h100 = shape_of(model("llama-3.1-70b")), accelerator("h100")
    uses = [Use(4, 8, 500, "gpqa"), Use(4, 16, 500, "gpqa"), Use(8, 8, 500, "gpqa")]
    parts = question(served_of([shape] * 3, [h100] * 3, uses)).parts
    assert parts["weights"][0] == pytest.approx(2 * parts["weights"][1])
    assert parts["layers"][2] == pytest.approx(2 * parts["layers"][0])
    assert parts["compute"][0] == parts["compute"][1]


def test_parts_and_coordinates_are_finite_for_every_model_that_is_served():
    shapes = [shape_of(model(name)) for name in ("deepseek-v3", "gpt-oss-20b", "llama-3.1-8b")]
    served = served_of(shapes, [accelerator(name) for name in ("b200", "l4", "a100")], [USE] * 3)
    asked = question(served)
    assert {part.name for part in PARTS} == set(asked.parts)
    for found in (*asked.parts.values(), features(served), place(served)):
        assert np.isfinite(found).all()
