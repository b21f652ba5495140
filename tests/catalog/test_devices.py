from dataclasses import replace

import pytest

from pennyweight.catalog import home, load_device, machine, this_cpu
from pennyweight.catalog.devices import identity
from pennyweight.cost.calibrate import save_machine
from pennyweight.errors import BadInputError, UnknownNameError

DEVICES = ("generic-cpu", "amd-zen2", "amd-zen3", "amd-zen4", "amd-zen5", "intel-skylake", "arm-neoverse-n1")


@pytest.mark.parametrize("name", DEVICES)
def test_every_device_has_rates_power_and_a_source(name):
    device = load_device(name)
    assert device.name == name
    assert device.rate("float32") > 1e9
    assert 0 < device.idle_w < device.busy_w
    assert not device.measured
    assert device.source


def test_a_precision_without_a_figure_is_no_faster_than_float32():
    device = load_device("amd-zen2")
    assert "bfloat16" not in device.flop_s
    assert device.rate("bfloat16") == device.rate("float32")


def test_an_unknown_device_is_refused_with_the_nearest_names():
    with pytest.raises(UnknownNameError, match="amd-zen4"):
        load_device("amd-zen-4")


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("vendor_id : AuthenticAMD\ncpu family : 26\nmodel : 2\nmodel name : AMD EPYC\n", "amd-zen5"),
        ("vendor_id : AuthenticAMD\ncpu family : 25\nmodel : 17\nmodel name : AMD EPYC 9654\n", "amd-zen4"),
        ("vendor_id : AuthenticAMD\ncpu family : 25\nmodel : 1\nmodel name : AMD EPYC 7763\n", "amd-zen3"),
        ("vendor_id : AuthenticAMD\ncpu family : 23\nmodel : 49\nmodel name : AMD EPYC 7R32\n", "amd-zen2"),
        ("vendor_id : GenuineIntel\ncpu family : 6\nmodel : 143\nmodel name : Intel(R)\n", "intel-sapphirerapids"),
        ("vendor_id : GenuineIntel\ncpu family : 6\nmodel : 106\nmodel name : Intel(R)\n", "intel-icelake"),
        ("vendor_id : GenuineIntel\ncpu family : 6\nmodel : 85\nmodel name : Xeon Platinum 8175M\n", "intel-skylake"),
        (
            "vendor_id : GenuineIntel\ncpu family : 6\nmodel : 85\nmodel name : Xeon Platinum 8259\n",
            "intel-cascadelake",
        ),
        ("CPU implementer : 0x41\nCPU part : 0xd0c\n", "arm-neoverse-n1"),
    ],
)
def test_processors_are_recognised(tmp_path, monkeypatch, cpuinfo, name):
    file = tmp_path / "cpuinfo"
    file.write_text(cpuinfo)
    found = identity(file)
    monkeypatch.setattr("pennyweight.catalog.devices.identity", lambda: found)
    this_cpu.cache_clear()
    try:
        device = this_cpu()
    finally:
        this_cpu.cache_clear()
    assert device.name == name
    assert device.source.startswith("catalog, not measured here")


def test_an_unknown_processor_gets_generic_figures_and_is_named(monkeypatch):
    monkeypatch.setattr("pennyweight.catalog.devices.identity", lambda: "Acme family 1 model 1: Mk I")
    this_cpu.cache_clear()
    try:
        device = this_cpu()
    finally:
        this_cpu.cache_clear()
    assert device.name == "generic-cpu"
    assert "'Acme family 1 model 1: Mk I' is not in the catalog" in device.source
    assert device.cores >= 1


def test_a_machine_that_was_never_calibrated_is_the_catalogs_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path))
    assert home() == tmp_path
    assert machine() == this_cpu()
    assert not machine().measured


def test_a_device_without_rates_or_a_source_is_refused():
    device = load_device("generic-cpu")
    with pytest.raises(BadInputError, match="not above zero"):
        replace(device, hbm_byte_s=0.0)
    with pytest.raises(BadInputError, match="fill in its source"):
        replace(device, source="")


@pytest.mark.parametrize("body", ['speed = 3\nname = "x"\n', 'name = "x"\n'])
def test_a_device_file_that_is_none_is_refused(tmp_path, body):
    file = tmp_path / "device.toml"
    file.write_text(body)
    with pytest.raises(BadInputError):
        load_device(str(file))


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"pace_s": {"arrays": 0.0}}, "pace_s"),
        ({"pace_s": {"arrays": float("nan")}}, "pace_s"),
        ({"flop_s": {"float32": 1e9, "int8": -1.0}}, "flop_s"),
        ({"op_s": {"torch": -1e-6}}, "op_s"),
        ({"idle_w": float("inf")}, "idle_w"),
    ],
    ids=str,
)
def test_a_figure_that_cannot_be_is_named(changed, named):
    with pytest.raises(BadInputError, match=f"in {named}, which cannot be") as said:
        replace(load_device("generic-cpu"), **changed)
    assert "pennyweight calibrate" in said.value.fix


def test_a_pace_of_zero_written_by_hand_is_refused_where_the_file_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path))
    device = replace(load_device("generic-cpu"), pace_s={"arrays": 2e-4})
    file = save_machine(device)
    assert machine().pace_s == {"arrays": 2e-4}
    file.write_text(file.read_text().replace("0.0002", "0"))
    with pytest.raises(BadInputError, match=r"machine\.toml: .* in pace_s"):
        load_device(str(file))


def test_a_busy_core_draws_busy_power_and_a_waiting_one_idle_power():
    device = load_device("generic-cpu")
    assert device.joule(cpu_s=0, wall_s=10) == pytest.approx(10 * device.idle_w)
    assert device.joule(cpu_s=10, wall_s=10) == pytest.approx(10 * device.busy_w)
    assert device.joule(cpu_s=20, wall_s=10) == pytest.approx(20 * device.busy_w)
