import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pennyweight.data.columnar import Packed, Packing, TokenStream
from pennyweight.errors import BadInputError
from pennyweight.jobs import read_columnar
from pennyweight.jobs.sources import source

RECIPE = """
import numpy as np
from sklearn.linear_model import LogisticRegression
from pennyweight import sklearn_job

def job():
    rng = np.random.default_rng(0)
    return sklearn_job("tiny", LogisticRegression(), (rng.normal(size=(300, 3)), np.arange(300) % 2), "accuracy=1%")
"""


def packed(path, to, **asked):
    return source(path, **asked).pack(str(to), Packing())


def test_a_recipes_splits_are_packed_and_read_as_they_are(tmp_path):
    path = tmp_path / "recipe.py"
    path.write_text(RECIPE)
    packed(path, tmp_path / "p")
    found = read_columnar(tmp_path / "p")
    rng = np.random.default_rng(0)
    whole = np.concatenate([found.train.x, found.select.x, found.certify.x])
    assert sorted(whole[:, 0]) == sorted(rng.normal(size=(300, 3))[:, 0])
    assert found.sizes == (180, 60, 60)


def test_a_table_keeps_its_names_its_holes_and_its_target(tmp_path):
    path = tmp_path / "houses.csv"
    lines = [f"{n % 5},{'' if n == 3 else n * 1.5},flat,{n % 2}" for n in range(60)]
    path.write_text("\n".join(["rooms,area,kind,sold", *lines]))
    packed(path, tmp_path / "p", target="sold", drop=["kind"])
    assert [column.name for column in Packed.at(tmp_path / "p").columns] == ["rooms", "area", "sold"]
    found = read_columnar(tmp_path / "p")
    assert found.train.x.shape == (36, 2)
    assert sum(np.isnan(part.x).sum() for part in (found.train, found.select, found.certify)) == 1
    other = read_columnar(tmp_path / "p", target="rooms")
    assert set(other.train.y) == {0, 1, 2, 3, 4}
    with pytest.raises(BadInputError, match="which column is the answer"):
        read_columnar(tmp_path / "p", target="price")


def test_a_column_of_text_that_is_no_feature_is_said(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("kind,sold\n" + "\n".join(f"flat,{n % 2}" for n in range(30)))
    packed(path, tmp_path / "p", target="sold")
    with pytest.raises(BadInputError, match="'kind' holds no numbers"):
        read_columnar(tmp_path / "p")


def test_a_column_that_turns_to_text_within_a_file_is_said_with_its_line(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("age\n31\n32\nold\n40\n")
    with pytest.raises(BadInputError, match="'age' changes type: it holds numbers, but 'old' in line 4"):
        source(path)


def test_a_column_that_changes_type_between_files_is_said(tmp_path):
    (tmp_path / "a.csv").write_text("age\n31\n32\n")
    (tmp_path / "b.csv").write_text("age\nold\nyoung\n")
    with pytest.raises(BadInputError, match=r"'age' changes type: int64 in a\.csv, text in b\.csv"):
        source(tmp_path)
    (tmp_path / "b.csv").write_text("years\n31\n")
    with pytest.raises(BadInputError, match=r"b\.csv has other columns than a\.csv"):
        source(tmp_path)


def test_parquet_files_of_others_are_taken_in(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(2):
        pq.write_table(pa.table({"a": [1.5, 2.5], "b": ["x", "y"]}), tmp_path / "in" / f"{number}.parquet")
    packed(tmp_path / "in", tmp_path / "p")
    assert Packed.at(tmp_path / "p").arrays("rows")["b"].tolist() == ["x", "y"] * 2
    pq.write_table(pa.table({"a": [[1]], "b": ["x"]}), tmp_path / "in" / "2.parquet")
    with pytest.raises(BadInputError, match=r"'a' of 2\.parquet is list"):
        source(tmp_path / "in")


@pytest.mark.parametrize("kind", ["npy", "png"])
def test_a_folder_of_pictures_becomes_rows_of_bytes(tmp_path, kind):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, 30, 8, 8), dtype=np.uint8)
    for name, several in zip(("cat", "dog"), pictures, strict=True):
        (tmp_path / "in" / name).mkdir(parents=True)
        for number, picture in enumerate(several):
            save(tmp_path / "in" / name / f"{number:03d}.{kind}", picture)
    made = packed(tmp_path / "in", tmp_path / "p")
    assert (made.columns[0].stored, made.about["classes"]) == ("uint8", ["cat", "dog"])
    found = Packed.at(tmp_path / "p").arrays("rows")
    assert np.array_equal(found["x"], pictures.reshape(60, 8, 8))
    assert read_columnar(tmp_path / "p", shares=(0.5, 0.25, 0.25)).sizes == (30, 15, 15)
    save(tmp_path / "in" / "dog" / f"999.{kind}", pictures[0, 0, :4])
    with pytest.raises(BadInputError, match=f"999.{kind} is uint8"):
        packed(tmp_path / "in", tmp_path / "q")


def save(path, picture):
    if path.suffix == ".npy":
        np.save(path, picture)
    else:
        image = pytest.importorskip("PIL.Image")
        image.fromarray(picture).save(path)


def test_a_train_and_a_test_part_become_three_splits(tmp_path):
    x, y = np.arange(200.0).reshape(100, 2), np.arange(100) % 2
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    packed(tmp_path / "a.npz", tmp_path / "p")
    found = read_columnar(tmp_path / "p")
    assert found.sizes == (75, 25, 20)
    assert np.array_equal(found.certify.x, x[:20])


def test_a_text_becomes_a_stream_of_its_characters(tmp_path):
    text = "häuser und höfe 🏠 " * 50
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    made = packed(tmp_path / "t.txt", tmp_path / "p")
    stream = TokenStream(Packed.at(tmp_path / "p"))
    assert "".join(made.about["alphabet"][token] for token in stream.between(0, 50)) == text[:50]
    with pytest.raises(BadInputError, match="TokenStream"):
        read_columnar(tmp_path / "p")


@pytest.mark.parametrize("name", ["gone.csv", "a.xlsx", "empty.txt", "bad.npz", "bad.parquet"])
def test_what_is_no_data_is_refused_with_a_reason(tmp_path, name):
    if name != "gone.csv":
        (tmp_path / name).write_bytes(b"" if name == "empty.txt" else b"\xff\xfe")
    with pytest.raises(BadInputError):
        source(tmp_path / name)
