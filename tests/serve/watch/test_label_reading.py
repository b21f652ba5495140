"""Labels from a file or a request are read or refused, with the place where they are wrong."""

import pytest

from pennyweight.errors import BadInputError
from pennyweight.serve.watch.telling import labels_of, read_labels
from pennyweight.store.team.labels import Label


def test_a_file_of_labels_is_read_with_rows_or_without(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("request,label\na,3\nb,4.5\n")
    assert read_labels(path) == (Label("a", 3.0), Label("b", 4.5))
    path.write_text("\ufeffrow,request,label\n1,a,3\n,b,0\n")
    assert read_labels(path) == (Label("a", 3.0, 1), Label("b", 0.0, 0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("request,label\na,3\nb,\n", "line 3 has no label"),
        ("request,label\na,nan\n", "line 2 has no label"),
        ("request,label\n,3\n", "line 2 names no request"),
        ("request,label\n" + "a" * 40 + ",3\n", "line 2 names no request"),
        ("id,label\na,3\n", "line 2 names no request"),
        ("request,label,row\na,3,-1\n", "line 2 has no such row"),
        ("request,label,row\na,3,1.5\n", "line 2 has no such row"),
        ("request,label,row\na,3,1e99\n", "line 2 has no such row"),
    ],
)
def test_what_is_no_label_is_said_with_its_line(tmp_path, text, said):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(BadInputError, match=said):
        read_labels(path)


def test_what_is_no_csv_is_said(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00\x00")
    for name in ("labels.csv", "none.csv"):
        with pytest.raises(BadInputError, match="cannot be read as CSV"):
            read_labels(tmp_path / name)


def test_the_body_of_a_request_is_read_alike():
    assert labels_of([{"request": "a", "label": 3}, {"request": "b", "label": 1, "row": 2}]) == (
        Label("a", 3.0),
        Label("b", 1.0, 2),
    )


@pytest.mark.parametrize(
    "body",
    [None, [], {}, "a", 5, [1], [{}], [{"request": 5, "label": 1}], [{"request": "a/b", "label": 1}],
     [{"request": "a\0", "label": 1}], [{"request": "\ud800", "label": 1}], [{"request": "a", "label": True}],
     [{"request": "a", "label": [1]}], [{"request": "a", "label": 10**400}], [{"request": "a", "label": None}],
     [{"request": "a", "label": 1, "row": {}}], [{"request": "a", "label": 1, "row": -1}],
     [{"request": "a", "label": 1}] * 1001],
)  # fmt: skip
def test_a_body_without_labels_is_refused(body):
    with pytest.raises(BadInputError):
        labels_of(body)
