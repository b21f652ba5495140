import json
import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Barrier, Thread
from types import SimpleNamespace

import numpy as np
import pytest

from pennyweight.catalog import load_device
from pennyweight.core import Cost
from pennyweight.cost.energy import Nvml, Rapl, tally
from pennyweight.cost.memory import HighWater, Sampled, resident
from pennyweight.cost.meter import Measurement, meter
from pennyweight.errors import BadInputError, CorruptError

DEVICE = load_device("generic-cpu")
MB = 1_000_000
can_reset = pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the kernel keeps its mark")


def hold(byte: int) -> None:
    """Touch every page for a moment."""
    np.ones(byte, dtype=np.uint8)


def spin(seconds: float) -> None:
    until_s = time.process_time() + seconds
    while time.process_time() < until_s:
        pass


def test_a_window_sees_the_time_that_passes_and_the_time_that_is_worked():
    with meter(device=DEVICE) as window:
        spin(0.05)
        time.sleep(0.05)
    found = window.measured
    assert found.cpu_s >= 0.05
    assert found.wall_s >= 0.1 - 1e-3
    assert found.cpu_s < found.wall_s
    assert found.device_s == 0


def test_an_outer_window_holds_all_that_an_inner_one_does():
    with meter(device=DEVICE) as outer:
        spin(0.02)
        with meter(device=DEVICE) as inner:
            spin(0.02)
            hold(60 * MB)
    assert outer.measured.cpu_s > inner.measured.cpu_s >= 0.02
    assert outer.measured.wall_s > inner.measured.wall_s
    assert outer.measured.peak_byte >= inner.measured.peak_byte
    assert outer.measured.joule > inner.measured.joule


@can_reset
def test_the_peak_is_that_of_the_window_and_not_of_the_process():
    hold(150 * MB)
    with meter(device=DEVICE) as before:
        hold(80 * MB)
    with meter(device=DEVICE) as after:
        hold(5 * MB)
    risen = [each.measured.peak_byte - each.measured.base_byte for each in (before, after)]
    assert 70 * MB < risen[0] < 110 * MB
    assert risen[1] < 30 * MB


@can_reset
@pytest.mark.parametrize("keeper", [HighWater, Sampled])
def test_windows_that_overlap_each_have_their_own_peak(keeper):
    peaks = keeper()
    first = peaks.open()
    held = np.ones(60 * MB, dtype=np.uint8)
    second = peaks.open()
    time.sleep(0.03)
    start, peak = peaks.close(first)
    del held
    more = np.ones(90 * MB, dtype=np.uint8)
    time.sleep(0.03)
    base, most = peaks.close(second)
    del more
    assert 50 * MB < peak - start < 80 * MB
    assert base > start + 50 * MB
    assert 10 * MB < most - base < 60 * MB


def test_windows_in_many_threads_do_not_disturb_each_other():
    everyone, found = Barrier(4), []

    def work(number: int) -> None:
        everyone.wait()
        for _ in range(5):
            with meter(device=DEVICE) as window:
                spin(0.001 * number)
            found.append(window.measured)

    threads = [Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert all(each.wall_s > 0 and each.peak_byte >= each.base_byte > 0 for each in found)


def test_sampling_ends_with_the_last_window():
    import threading

    peaks = Sampled()
    windows = [peaks.open(), peaks.open()]
    assert any(thread.name == "peak-memory" for thread in threading.enumerate())
    for window in windows:
        start, peak = peaks.close(window)
        assert peak >= start > 0
    time.sleep(0.05)
    assert not any(thread.name == "peak-memory" for thread in threading.enumerate())


def test_children_count_if_they_are_asked_for():
    burn = "import time\nwhile time.process_time() < 0.15: pass"
    with meter(device=DEVICE) as alone, meter(children=True, device=DEVICE) as family:
        subprocess.run([sys.executable, "-S", "-c", burn], check=True)
    assert family.measured.cpu_s > alone.measured.cpu_s + 0.12


def test_energy_without_a_counter_is_estimated_from_power_and_use_and_says_so():
    joule, basis = tally({}, DEVICE, cpu_s=2.0, wall_s=10.0)
    assert basis == "estimated"
    assert joule == pytest.approx(DEVICE.idle_w * 8 + DEVICE.busy_w * 2)
    busy, _ = tally({}, DEVICE, cpu_s=20.0, wall_s=10.0)
    assert busy == pytest.approx(DEVICE.busy_w * 20)


def test_counted_energy_takes_the_place_of_the_estimate():
    assert tally({"rapl": 5.0}, DEVICE, 2.0, 10.0) == (5.0, "rapl")
    joule, basis = tally({"nvml": 5.0}, DEVICE, 2.0, 10.0)
    assert basis == "estimated+nvml"
    assert joule > 5.0
    assert tally({"rapl": 5.0, "nvml": 7.0}, DEVICE, 2.0, 10.0) == (12.0, "rapl+nvml")


def package(root: Path, name: str, energy: int, limit: int = 1_000_000) -> Path:
    zone = root / name
    zone.mkdir(parents=True)
    (zone / "energy_uj").write_text(f"{energy}\n")
    (zone / "max_energy_range_uj").write_text(f"{limit}\n")
    return zone


def test_package_counters_are_added_up_and_may_wrap_around(tmp_path):
    one, other = package(tmp_path, "intel-rapl:0", 900_000), package(tmp_path, "intel-rapl:1", 100)
    package(tmp_path, "intel-rapl:0:0", 5)
    (counter,) = Rapl.found(tmp_path)
    assert counter.read_j() == 0
    (one / "energy_uj").write_text("100000")
    (other / "energy_uj").write_text("300100")
    assert counter.read_j() == pytest.approx(0.2 + 0.3)
    assert counter.read_j() == pytest.approx(0.5)


def test_a_machine_without_readable_counters_has_none(tmp_path):
    assert Rapl.found(tmp_path / "nowhere") == []
    zone = package(tmp_path, "intel-rapl:0", 1)
    (zone / "energy_uj").write_text("secret")
    assert Rapl.found(tmp_path) == []


def test_accelerator_counters_are_millijoules_of_all_devices():
    library = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: 1_500 + handle,
    )
    assert Nvml(library).read_j() == pytest.approx(3.001)


def test_an_open_window_has_measured_nothing_yet():
    with meter(device=DEVICE) as window, pytest.raises(BadInputError, match="after the with block"):
        window.measured  # ruff: ignore[useless-expression] - reading it is the test
    assert window.measured.wall_s > 0


def test_a_window_is_measured_even_if_the_work_fails():
    window = meter(device=DEVICE)
    with pytest.raises(ZeroDivisionError), window:
        1 // 0  # ruff: ignore[useless-expression] - failing is the test
    assert window.measured.wall_s > 0


def test_the_cost_has_no_dollars_and_counts_the_accelerator_if_there_was_one():
    cpu = Measurement(2.0, 1.5, 10.0, 3.0, "estimated")
    assert cpu.cost() == Cost(device_s=1.5, wall_s=2.0, joule=3.0)
    assert Measurement(2.0, 1.5, 10.0, 3.0, "nvml", 0.7).cost().device_s == 0.7


def test_a_measurement_survives_json():
    found = Measurement(2.0, 1.5, 10.0, 3.0, "rapl", 0.25, 4.0)
    assert Measurement.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize("body", [{}, {"wall_s": "x"}])
def test_what_is_no_record_of_a_measurement_is_refused(body):
    with pytest.raises(CorruptError, match="measure again"):
        Measurement.from_dict(body)


def test_resident_memory_grows_with_what_is_held():
    before = resident()
    held = np.ones(50 * MB, dtype=np.uint8)
    assert resident() - before > 40 * MB
    del held
