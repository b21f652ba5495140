"""Tables as people have them: with marks, blanks, other separators, and mistakes that are said with their line."""

import gzip

import numpy as np
import pytest

from pennyweight.errors import BadInputError
from pennyweight.layout.rows import NoNumberError, Rows


def read(tmp_path, text, name="table.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode(encoding))
    return Rows.read(path)


def test_a_mark_of_byte_order_and_spaces_around_names_are_passed_over(tmp_path):
    rows = read(tmp_path, "tp , pp\n1, 2\n", encoding="utf-8-sig")
    assert list(rows.columns) == ["tp", "pp"]
    assert rows.number("pp")[0] == 2


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_fields_may_be_separated_otherwise(tmp_path, separator):
    rows = read(tmp_path, separator.join(["a", "b"]) + "\n" + separator.join(["1", "x"]) + "\n")
    assert rows.text("b").tolist() == ["x"]


def test_empty_rows_are_passed_over_and_lines_are_those_of_the_file(tmp_path):
    rows = read(tmp_path, 'a,b\n\n1,"two\nlines"\n,\n3,4\n')
    assert rows.lines.tolist() == [3, 6]
    assert rows.number("a").tolist() == [1, 3]


def test_a_gzipped_table_reads_the_same(tmp_path):
    assert read(tmp_path, "a\n7\n", "table.csv.gz").number("a").tolist() == [7]


def test_spaces_that_set_thousands_apart_are_no_words(tmp_path):
    assert read(tmp_path, "a\n1 024\n2\u202f048\n 3e2 \n").number("a").tolist() == [1024, 2048, 300]


def test_a_missing_number_is_the_default(tmp_path):
    rows = read(tmp_path, "a,b\n,1\nnan,2\n")
    assert rows.number("a", 5.0)[0] == 5
    assert np.isnan(rows.number("a")).all()
    assert rows.number("c", 2.0).tolist() == [2, 2]


def test_a_word_where_a_number_belongs_is_said_with_its_line_and_can_be_blanked(tmp_path):
    rows = read(tmp_path, "a,b\n1,1\nmany,2\n")
    with pytest.raises(NoNumberError, match=r"'many' in column a, line 3, is no number") as error:
        rows.number("a")
    assert error.value.column == "a"
    assert rows.numeric("a").tolist() == [True, False]
    assert np.isnan(rows.blanked("a").number("a")).tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no rows"),
        ("a,b\n", "has no rows"),
        ("a,b\n1\n", "line 2 .* has 1 fields, the header 2"),
        ("a,a\n1,2\n", "two columns named a"),
        ('a\n"never closed' + "x" * 30_000, "close the quotation marks"),
        ('a\n"never closed' + "x" * 200_000, "cannot be read"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, text, said):
    with pytest.raises(BadInputError, match=said):
        read(tmp_path, text)


@pytest.mark.parametrize("body", [b"\xff\xfe\x00", b"\x1f\x8b broken"])
def test_bytes_that_are_no_text_are_refused(tmp_path, body):
    for name in ("table.csv", "table.csv.gz"):
        (tmp_path / name).write_bytes(body)
        with pytest.raises(BadInputError, match="cannot be read"):
            Rows.read(tmp_path / name)


def test_one_long_field_does_not_make_all_others_long(tmp_path):
    rows = read(tmp_path, "a,b\n" + "1," + "x" * 5000 + "\n" + "2,y\n" * 100)
    assert rows.columns["a"].itemsize < 10


SPELT = ["tp,global_batch", "TP,GLOBAL_BATCH", "Tp,Global Batch", '" tp ","global-batch"']


@pytest.mark.parametrize("head", SPELT)
def test_a_column_is_found_however_it_is_spelt(tmp_path, head):
    rows = read(tmp_path, f"{head}\n2,64\n")
    assert rows.number("global_batch")[0] == 64
    assert {"tp", "global_batch"} <= rows.columns.keys()
    assert rows.blanked("tp").number("tp")[0] == 2
    assert list(rows.columns) == [each.strip(' "') for each in head.split(",")]


def test_of_two_spellings_the_exact_one_is_meant(tmp_path):
    rows = read(tmp_path, "TP,tp\n1,2\n")
    assert rows.number("tp")[0] == 2
    assert rows.number("TP")[0] == 1


@pytest.mark.parametrize("above", ["\n\n", "# made by hand\n", ";;\n", "\n# a remark\n\n"])
def test_what_is_above_the_header_is_passed_over(tmp_path, above):
    rows = read(tmp_path, f"{above}tp;pp\n1;2\n")
    assert rows.number("pp").tolist() == [2]
    assert rows.lines.tolist() == [above.count("\n") + 2]


def test_a_title_above_the_header_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(BadInputError, match="begin the file with the names of its columns"):
        read(tmp_path, "Steps of May\ntp,pp\n1,2\n")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig"])
def test_a_table_saved_by_a_spreadsheet_is_read(tmp_path, encoding):
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    assert read(tmp_path, f"{mark}tp|grün\n1|x\n", encoding=encoding).text("grün").tolist() == ["x"]


def test_a_number_with_commas_is_refused_with_how_to_write_it(tmp_path):
    with pytest.raises(NoNumberError, match=r"write it like 1234\.5"):
        read(tmp_path, 'a\n"1,024"\n').number("a")
