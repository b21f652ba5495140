import pytest

from pennyweight.cost.meter import Measurement, meter
from pennyweight.cost.replay import replay
from pennyweight.errors import BadInputError, CorruptError

RECORDS = [Measurement(1.0, 0.5, 1e6, 2.0, "estimated"), Measurement(3.0, 2.5, 2e6, 4.0, "rapl")]


def measure_twice(clock) -> float:
    """Code under test takes a meter; whether it is a real one, it cannot tell."""
    with clock(children=True) as first:
        sum(range(100))
    with clock() as second:
        sum(range(100))
    return first.measured.cost().device_s + second.measured.cost().device_s


def test_recorded_measurements_come_back_in_order():
    assert measure_twice(replay(RECORDS)) == 3.0
    assert measure_twice(meter) > 0


def test_records_may_come_from_json():
    assert measure_twice(replay([each.to_dict() for each in RECORDS])) == 3.0


def test_nested_windows_get_their_records_as_they_close():
    clock = replay(RECORDS)
    with clock() as outer, clock() as inner:
        pass
    assert inner.measured == RECORDS[0]
    assert outer.measured == RECORDS[1]


def test_more_windows_than_records_is_an_error():
    clock = replay(RECORDS[:1])
    with clock() as window:
        pass
    assert window.measured == RECORDS[0]
    with pytest.raises(BadInputError, match="More windows"), clock():
        pass


def test_an_open_replayed_window_has_measured_nothing_yet():
    with replay(RECORDS)() as window, pytest.raises(BadInputError, match="still open"):
        window.measured  # ruff: ignore[useless-expression] - reading it is the test


def test_what_is_no_record_is_refused():
    with pytest.raises(CorruptError, match="measure again"):
        measure_twice(replay([{"wall_s": 1.0}, {}]))
