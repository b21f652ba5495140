"""Which kind of table a file is: told by its columns, also where some are missing or belong to several."""

import numpy as np
import pytest

from pennyweight.errors import BadInputError, CorruptError, UnknownNameError
from pennyweight.layout.rows import Rows
from pennyweight.layout.tables import finding
from pennyweight.layout.tables.finding import completed, kind_named, kind_of, shipped, tables


def rows(*columns):
    return Rows({name: np.array(["1"]) for name in columns}, np.array([2]))


def of(kind, *, without=(), more=()):
    return rows(*(tables()[kind].columns - set(without)), *more)


def test_every_kind_is_known_by_its_own_columns_and_by_more():
    assert len(tables()) > 12
    for name, kind in tables().items():
        assert kind_of(of(name)) is kind
        assert kind_of(of(name, more=("remark", "who"))) is kind


def test_no_kind_has_the_columns_of_another():
    for one in tables().values():
        others = [each.name for each in tables().values() if each is not one and each.columns == one.columns]
        assert not others


def test_of_kinds_whose_columns_are_all_there_the_one_that_needs_most_is_meant(monkeypatch):
    small, large = (type(name, (), {"name": name, "columns": frozenset(held)})() for name, held in
                    (("small", "ab"), ("large", "abc")))  # fmt: skip
    monkeypatch.setattr(finding, "tables", lambda: {"small": small, "large": large})
    assert kind_of(rows("a", "b", "c")) is large
    assert kind_of(rows("a", "b")) is small


def test_two_kinds_that_fit_alike_are_an_error_that_asks(monkeypatch):
    held = {"x": "abc", "y": "abd"}
    twins = [type(name, (), {"name": name, "columns": frozenset(each)})() for name, each in held.items()]
    monkeypatch.setattr(finding, "tables", lambda: {each.name: each for each in twins})
    with pytest.raises(BadInputError, match=r"any of: x, y\. To fix: say which: --kind x"):
        kind_of(rows("a", "b", "c", "d"))


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("serving", ("silicon_ttft_ms", "silicon_tpot_ms")),
        ("energy_serving", ("energy_per_token_joules",)),
        ("megatron_ci_golden", ("mem_max_allocated_bytes",)),
        ("mlperf_training", ("time_to_train_s",)),
        ("mlperf_inference", ("Performance_Result", "Performance_Units")),
        ("own_steps", ("step_s",)),
        ("own_serving", ("ttft_s", "tpot_s")),
    ],
)
def test_a_table_without_what_was_measured_is_still_of_its_kind(kind, missing):
    asked = of(kind, without=missing)
    assert kind_of(asked).name == kind
    whole = completed(asked, kind_of(asked))
    assert set(missing) <= whole.columns.keys()
    assert np.isnan(whole.number(missing[0])).all()


def test_columns_of_nothing_are_refused_with_the_nearest_kind_and_what_it_needs():
    with pytest.raises(BadInputError, match=r"the nearest is \w+, which also needs: "):
        kind_of(rows("step_s", "colour"))


def test_a_kind_that_does_not_exist_is_refused_with_the_nearest():
    assert kind_named("vtrain").name == "vtrain"
    with pytest.raises(UnknownNameError, match="vtrain"):
        kind_named("vtrian")


def test_what_ships_damaged_is_said(tmp_path, monkeypatch):
    (tmp_path / "fits").mkdir()
    (tmp_path / "fits" / "vtrain.json").write_text("{")
    monkeypatch.setattr(finding, "files", lambda package: tmp_path)
    shipped.cache_clear()
    with pytest.raises(CorruptError, match="no JSON"):
        shipped("vtrain")
    with pytest.raises(BadInputError, match="Nothing was learned of tables of kind mpt yet"):
        shipped("mpt")
    shipped.cache_clear()
