import math
import tomllib
from dataclasses import replace

import pytest

from pennyweight.catalog import load_device, machine, this_cpu
from pennyweight.cost.calibrate import calibrate, save_machine
from pennyweight.cost.probes import PROBES


@pytest.fixture(scope="module")
def measured():
    return calibrate(["torch", "sklearn"], budget_s=0.6)


def test_a_calibrated_machine_has_every_rate_above_zero(measured):
    assert measured.measured
    assert measured.flop_s["float32"] > 1e9
    assert all(math.isfinite(rate) and rate > 0 for rate in measured.flop_s.values())
    assert measured.hbm_byte_s > 1e8
    assert measured.cores == this_cpu().cores


def test_overheads_are_those_of_the_runtimes_asked_for(measured):
    assert set(measured.call_s) == set(measured.op_s) == {"torch", "sklearn"}
    assert all(0 < each < 0.1 for each in (*measured.call_s.values(), *measured.op_s.values()))


def test_it_says_when_it_was_measured_and_where_its_power_is_from(measured):
    assert "measured by pennyweight calibrate on 20" in measured.source
    assert this_cpu().source in measured.source


def test_a_saved_machine_is_read_back_as_it_was(measured, tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path / "home"))
    path = save_machine(measured)
    assert path == tmp_path / "home" / "machine.toml"
    assert machine() == measured
    assert [each.name for each in path.parent.iterdir()] == ["machine.toml"]


def test_a_name_with_quotes_and_line_ends_is_still_a_file(tmp_path):
    odd = replace(load_device("generic-cpu"), name='a "b"\\c\n', source="é\t#")
    path = save_machine(odd, tmp_path / "odd.toml")
    tomllib.loads(path.read_text(encoding="utf-8"))
    assert load_device(str(path)).name == 'a "b"\\c '


@pytest.mark.parametrize("name", sorted(PROBES))
def test_every_probe_answers_with_one_number_per_output(name):
    for library in PROBES[name].needs:
        pytest.importorskip(library)
    assert PROBES[name].chain(2)() is not None
