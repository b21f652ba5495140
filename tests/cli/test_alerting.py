"""`pennyweight alerts` and `pennyweight label` as a user meets them."""

import json

from processes import call

from pennyweight.store.team.alerts import Alert, add
from pennyweight.store.team.labels import Answer, note
from pennyweight.store.team.opened import opened


def test_alerts_are_listed_and_labels_kept(tmp_path):
    store = tmp_path / "team.db"
    code, out, err = call(tmp_path, "alerts", "--store", store)
    assert (code, out) == (0, "Nothing was noticed.\n"), err
    with opened(str(store)) as engine, engine.begin() as link:
        add(link, Alert("digits", 3, "drift", "digits@3: input 0 drifted", 0.25))
        add(link, Alert("faces", 0, "cost", "requests cost more", 2.0, at_ns=1))
        note(link, [Answer("r1", 0, 1, "digits", 3, 7.0, 0.9)])
    code, out, _ = call(tmp_path, "alerts", "digits", "--store", store)
    assert "digits@3" in out
    assert "input 0 drifted" in out
    assert "faces" not in out
    code, out, _ = call(tmp_path, "alerts", "--since", "7d", "--store", store, "--json")
    assert [each["kind"] for each in json.loads(out)] == ["drift"]
    (tmp_path / "labels.csv").write_text("request,label\nr1,7\nr2,1\n")
    code, out, err = call(tmp_path, "label", "labels.csv", "--store", store)
    assert code == 0, err
    assert out == "2 labels are kept. 1 of them belong to no answer that is kept.\n"
    code, out, _ = call(tmp_path, "label", "labels.csv", "--store", store, "--json")
    assert json.loads(out) == {"labels": 2, "joined": 1}


def test_a_file_that_holds_no_labels_is_a_bad_input(tmp_path):
    (tmp_path / "labels.csv").write_text("request,label\nr1,seven\n")
    code, _, err = call(tmp_path, "label", "labels.csv", "--store", tmp_path / "team.db")
    assert code == 2
    assert "labels.csv, line 2 has no label" in err
