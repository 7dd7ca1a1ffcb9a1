"""Text that could be read in two ways: read as it is meant, or refused, and no row or column lost without a word."""

import gzip
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from table_files import parquet, triples, write

from undertow.datasets import Matrix, _text, read_table

NAN = np.nan


@pytest.mark.parametrize(
    "cells",
    [
        ['"Blue tape', "B", '"Blue tape', "C"],
        ['"Blue" tape', "B", '"Blue tape"s', "C"],
        ['"', "B", '""x', "C"],
        ['"B', 'C"', "D", "E"],
        ['5" nail', "B", '"Blue tape', "C"],
    ],
    ids=["open", "inside", "alone", "across lines", "later"],
)
def test_quotes_in_tab_separated_text_are_characters(tmp_path: Path, cells: list[str]) -> None:
    rows = [(f"u{k}", cell, float(k)) for k, cell in enumerate([*cells, "Z"])]
    content = "".join(f"{u}\t{i}\t{r:g}\n" for u, i, r in rows)
    assert triples(read_table(write(tmp_path, content))) == rows
    # After more lines than are looked at first, too.
    before = [("v", f"plain {k}", 1.0) for k in range(300)]
    content = "".join(f"{u}\t{i}\t{r:g}\n" for u, i, r in before) + content
    assert triples(read_table(write(tmp_path, content))) == before + rows


def test_closed_quotes_in_tab_separated_text_enclose(tmp_path: Path) -> None:
    content = 'user\titem\trating\na\t"x\ty"\t1\n"b"\t"say ""hi"""\t2\n"c\nd"\tx\t3\n'
    assert triples(read_table(write(tmp_path, content))) == [
        ("a", "x\ty", 1.0),
        ("b", 'say "hi"', 2.0),
        ("c\nd", "x", 3.0),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_quotes_that_swallow_lines_are_refused(tmp_path: Path, end: str) -> None:
    lines = ["u1,A,4", 'u1,"Blue tape,4', "u2,B,3", 'u3,"Blue tape,5', "u2,C,1"]
    with pytest.raises(ValueError, match=r"line 2: .* found a quote that is not closed on its line \('u1,\"Blue tape"):
        read_table(write(tmp_path, end.join(lines) + end))
    # A last cell of several lines is no such thing.
    content = end.join(["user,item,rating,note", 'a,x,1,"one', "two", 'three, four"', 'b,y,2,"five"']) + end
    assert triples(read_table(write(tmp_path, content))) == [("a", "x", 1.0), ("b", "y", 2.0)]


@pytest.mark.parametrize("mark", ["?", "-", "None", "#N/A", "hole"])
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_word_among_numbers_makes_no_labels(tmp_path: Path, mark: str, place: int) -> None:
    rows = [["3", "1", "2", "3", "4"], ["1", "2", "", "4", "5"], ["2", "3", "4", "5", "6"], ["4", "4", "4", "5", "5"]]
    if place == 0 and mark == "hole":
        pytest.skip("a first line with a name in its corner is a header")
    rows[place][0] = mark
    path = write(tmp_path, "\n".join(map(",".join, rows)))
    words = "'hole' is neither a number nor a hole" if mark == "hole" else f"line {place + 1}, .*if that is a hole, say"
    with pytest.raises(ValueError, match=words):
        read_table(path)
    with pytest.raises(ValueError, match=rf"line {place + 1}, column 1: expected a finite number or a hole"):
        read_table(path, kind="matrix")
    labelled = read_table(path, kind="matrix", labels=True, header=False)
    assert isinstance(labelled, Matrix)
    assert labelled.shape == (4, 4)


def test_one_word_for_every_hole_makes_no_labels(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"line 1, column 1: .*found 'lost'"):
        read_table(write(tmp_path, "lost,1,2\nlost,3,4\n5,6,\n"), kind="matrix", header=False)
    with pytest.raises(ValueError, match="column 'a': expected numbers, found string"):
        read_table(parquet(tmp_path, a=["1", "?", "3"], b=[1.0, None, 2.0]), kind="matrix")
    named = read_table(parquet(tmp_path, a=["p", "q", "r"], b=[1.0, None, 2.0]), kind="matrix")
    assert isinstance(named, Matrix)
    assert named.shape == (3, 1)


DECIMAL_COMMAS = {
    "two columns": "1,5;2,5\n2,5;2,7\n3,5;1,0\n",
    "tabs": "1,5\t2,5\n2,5\t2,7\n3,5\t1,0\n",
    "header": "a,b;c\n1,5;2\n2,5;3\n",
    "matrix": "1,5;2,5;;4,5\n;2,7;1,0;4,5\n3,5;1,0;8,0;9,1\n",
    "ids": "ann;x;3,5\nbob;y;2,5\nbob;x;1,5\n",
}


@pytest.mark.parametrize("content", DECIMAL_COMMAS.values(), ids=DECIMAL_COMMAS)
def test_decimal_commas_are_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ValueError, match="decimals are written with a point"):
        read_table(write(tmp_path, content))


def test_commas_beside_other_delimiters(tmp_path: Path) -> None:
    content = "u1,Comedy;Drama,4\nu2,Crime;Drama,3\nu1,Crime;Noir,1\n"
    assert triples(read_table(write(tmp_path, content)))[0] == ("u1", "Comedy;Drama", 4.0)
    content = "1,5;2,5\n2,5;2,4\n2,4;1,3\n"
    assert triples(read_table(write(tmp_path, content), delimiter=","))[0] == ("1", "5;2", 5.0)


@pytest.mark.parametrize("content", [b"\0" * 100, b"\xff\xfa\n" * 50, b"a,b,1\n" * 100], ids=["zeros", "bytes", "text"])
def test_an_endless_input_is_not_read_to_its_end(tmp_path: Path, monkeypatch, content: bytes) -> None:
    monkeypatch.setattr(_text, "_PIECE", 32)
    monkeypatch.setattr(_text, "MOST_BYTES", 1000)
    pipe, written = tmp_path / "pipe.csv", []
    os.mkfifo(pipe)

    def endless() -> None:
        try:
            with pipe.open("wb", buffering=0) as stream:
                while True:
                    written.append(stream.write(content))
        except BrokenPipeError:
            pass

    writer = threading.Thread(target=endless)
    writer.start()
    with pytest.raises(ValueError, match=r"expected text|expected UTF-8|expected at most 1,000 bytes"):
        read_table(pipe)
    writer.join(10)
    assert not writer.is_alive()


def test_very_large_inputs_are_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(_text, "MOST_BYTES", 1000)
    content = b"user,item,rating\n" + b"a,b,1\n" * 300
    for path in (write(tmp_path, content), write(tmp_path, gzip.compress(content), "t.csv.gz")):
        with pytest.raises(ValueError, match="expected at most 1,000 bytes of text, found more"):
            read_table(path)


def test_a_pipe_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text("user,item,rating\na,x,1\nb,y,2\n"))
    writer.start()
    assert triples(read_table(pipe)) == [("a", "x", 1.0), ("b", "y", 2.0)]
    writer.join(10)
