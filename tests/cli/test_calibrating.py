import json
from dataclasses import replace

from pennyweight.cli.telling import tell_calibration
from pennyweight.engine import Shop, exercise_home
from pennyweight.jobs import exercises
from pennyweight.store.ledger import Ledger


def test_a_thorough_calibration_keeps_the_receipts_and_the_latest_count_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path))
    first = exercises._estimators()[:1]  # all of them take minutes
    monkeypatch.setattr(exercises, "_estimators", lambda: first)
    monkeypatch.setattr(exercises, "NETWORKS", {})
    monkeypatch.setattr(exercises, "BATCHES", (1,))
    for times in (1, 2):
        tell_calibration(thorough=True, json=True)
        told = capsys.readouterr()
        assert json.loads(told.out)["exercises"] == 4
        assert "1 of 1: exercise: RandomForestClassifier" in told.err
        with Ledger(exercise_home() / "ledger.db") as ledger:
            assert len(ledger.runs()) == 4 * times
    assert not (exercise_home() / "artifacts").exists()
    (job,) = exercises.exercises()
    shop = Shop.at(tmp_path / "work")
    assert shop.device.measured
    assert not shop.predictor(job).learned.samples  # its own runs teach as they are recalled
    stranger = replace(job, fingerprint="another")
    assert sum(sample.target == "serve" for sample in shop.predictor(stranger).learned.samples) == 4
