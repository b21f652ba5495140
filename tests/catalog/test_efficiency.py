import pytest

from pennyweight.catalog.efficiency import load_efficiency, parse_efficiency
from pennyweight.core import Kind
from pennyweight.errors import BadInputError

RUNTIMES = ("torch", "compiled", "onnxruntime", "openvino", "sklearn", "torch.train", "sklearn.train", "*")


def row(runtime: str, figure: str, kind: str, value: float) -> dict[str, str]:
    return {"runtime": runtime, "figure": figure, "kind": kind, "value": str(value), "source": "test"}


DEFAULT = (
    row("*", "share", "*", 0.5),
    row("*", "op_s", "*", 1e-6),
    row("*", "call_s", "*", 1e-5),
    row("*", "memory_byte", "*", 1e8),
    row("*", "thread_tax", "*", 0.1),
    row("*", "probe_s", "*", 1e-5),
    row("*", "ragged_work", "*", 0.3),
    row("*", "ragged_move", "*", 0.3),
)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_has_a_figure_for_every_kind(runtime):
    found = load_efficiency()[runtime]
    assert set(found.share) == set(found.op_s) == {kind.value for kind in Kind}
    assert all(value > 0 for value in found.share.values())
    assert all(value >= 0 for value in (*found.op_s.values(), found.call_s, found.thread_tax))
    assert found.op_s["linear"] > 0
    assert found.memory_byte > 0


def test_what_a_runtime_does_not_say_the_default_says():
    table = parse_efficiency((*DEFAULT, row("fast", "share", "conv", 0.9), row("fast", "call_s", "*", 1e-6)))
    assert table["fast"].share["conv"] == 0.9
    assert table["fast"].share["linear"] == 0.5
    assert table["fast"].call_s == 1e-6
    assert table["fast"].thread_tax == 0.1


def test_a_runtimes_own_default_comes_before_everybodys():
    table = parse_efficiency((*DEFAULT, row("*", "share", "conv", 0.8), row("fast", "share", "*", 0.9)))
    assert table["fast"].share["conv"] == 0.9


def test_a_table_without_defaults_or_with_unknown_figures_is_refused():
    with pytest.raises(BadInputError, match="no rows for other runtimes"):
        parse_efficiency((row("fast", "share", "*", 0.9),))
    with pytest.raises(BadInputError, match="no figure 'speed'"):
        parse_efficiency((row("fast", "speed", "*", 0.9),))
    with pytest.raises(BadInputError, match="no op_s of conv"):
        parse_efficiency(DEFAULT[:1])


def test_a_narrower_name_says_what_differs_from_the_wider_one():
    table = parse_efficiency(
        (
            *DEFAULT,
            row("fast", "share", "conv", 0.9),
            row("fast", "call_s", "*", 1.0),
            row("fast/int8", "call_s", "*", 2.0),
        )
    )
    assert table["fast/int8"].share["conv"] == 0.9
    assert table["fast/int8"].call_s == 2.0
