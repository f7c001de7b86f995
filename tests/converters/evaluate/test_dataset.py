"""Datasets in all their forms, and every way in which one can be wrong."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from facegate_convert._evaluate._dataset import read_dataset
from facegate_convert.errors import DatasetError


@pytest.fixture
def photographs(tmp_path):
    """Files a.jpg .. e.jpg, different bytes (never decoded here)."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in "abcde":
        (folder / f"{name}.jpg").write_bytes(name.encode() * 10)
    return folder


@pytest.fixture
def people(tmp_path):
    """Three people with two photographs each, one with one."""
    for name in ("x/1.jpg", "x/2.png", "y/1.jpg", "y/deep/2.jpg", "z/1.jpg", "z/2.jpg", "w/1.jpg", "y/notes.txt"):
        path = tmp_path / "people" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "people"


def pairs_file(folder, text, name="pairs.csv"):
    """Write a pairs file."""
    path = folder / name
    path.write_text(text)
    return path


def listed(dataset):
    """The pairs by name: (a, b, same)."""
    return [
        (dataset.names[a], dataset.names[b], bool(same))
        for (a, b), same in zip(dataset.pairs.tolist(), dataset.same.tolist(), strict=True)
    ]


def test_a_folder_for_each_identity_compares_every_two(people):
    """Identities are folders, whatever is in them at which depth; no pair is listed, for all are meant."""
    found = read_dataset(people)
    assert (found.kind, found.identities, found.pairs) == ("identities", ("w", "x", "y", "z"), None)
    assert sorted(found.names) == ["w/1.jpg", "x/1.jpg", "x/2.png", "y/1.jpg", "y/deep/2.jpg", "z/1.jpg", "z/2.jpg"]
    assert found.counts == (3, 18)
    assert found.notes == ("1 file(s) are not read, for they are not named as images are (.txt)",)


def test_photographs_in_a_form_that_is_not_read_are_counted(people):
    """A phone's .heic would be left out of every figure; how many there are is said, hidden files aside."""
    for name in ("x/3.heic", "y/3.HEIC", "y/deep/4", "z/.5.heic"):
        (people / name).write_bytes(name.encode())
    assert read_dataset(people).notes == (
        "4 file(s) are not read, for they are not named as images are (no suffix, .heic, .txt)",
    )


def test_a_copy_counts_once_and_a_photograph_under_two_names_not_at_all(people):
    """The same bytes twice in an identity are one photograph; under two people they are nobody's. Both are told."""
    shutil.copy(people / "x/1.jpg", people / "x/copy.jpg")
    shutil.copy(people / "z/2.jpg", people / "w/2.jpg")
    (people / "loose.jpg").write_bytes(b"loose")
    (people / "empty").mkdir()
    found = read_dataset(people)
    assert sorted(found.names) == ["w/1.jpg", "x/1.jpg", "x/2.png", "y/1.jpg", "y/deep/2.jpg", "z/1.jpg"]
    assert sorted(map(sorted, found.copies)) == [["w/2.jpg", "z/2.jpg"], ["x/1.jpg", "x/copy.jpg"]]
    text = " ".join(found.notes)
    for part in ("more than once", "more than one person", "no photograph", "outside any identity"):
        assert part in text


@pytest.mark.parametrize("present", [[], ["x/1.jpg"]])
def test_fewer_than_two_identities_are_refused(tmp_path, present):
    """Without a second person there is nothing to compare with."""
    for name in present:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DatasetError, match="at least 2") as caught:
        read_dataset(tmp_path)
    assert caught.value.hint


def test_a_csv_of_pairs(photographs):
    """Answers in any spelling; people are who is connected by pairs of the same person."""
    text = "file1,file2,same\na.jpg,b.jpg,Yes\nc.jpg,b.jpg,0\nd.jpg,e.jpg,TRUE\na.jpg,b.jpg,yes\n"
    found = read_dataset(pairs_file(photographs, text))
    assert listed(found) == [
        ("a.jpg", "b.jpg", True),
        ("b.jpg", "c.jpg", False),
        ("d.jpg", "e.jpg", True),
    ]
    assert found.identity.tolist() == [0, 0, 1, 2, 2]
    assert found.counts == (2, 1)
    assert found.fold is None


def test_a_csv_with_folds(photographs):
    """A column called fold says which part a pair belongs to, by any names."""
    text = "file_x,file_y,Decision,Fold\na.jpg,b.jpg,Yes,first\nc.jpg,b.jpg,No,second\nd.jpg,e.jpg,Yes,first\n"
    found = read_dataset(pairs_file(photographs, text))
    assert found.fold.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no pairs"),
        ("file_x,file_y,Decision\n", "lists no pairs"),
        ("file_x,other,Decision\na.jpg,b.jpg,Yes\n", "no column called file_y"),
        ("file_x,file_y,Decision\na.jpg,b.jpg,perhaps\n", "line 2: 'perhaps'"),
        ("file_x,file_y,Decision\na.jpg,b.jpg,Yes\na.jpg,missing.jpg,No\n", "line 3: there is no file"),
        ("file_x,file_y,Decision\na.jpg,,No\n", "line 2: there is no file"),
        ("file_x,file_y,Decision\na.jpg\n", "line 2: ''"),
        ("file_x,file_y,Decision\na.jpg,b.jpg,Yes\nb.jpg,c.jpg,Yes\na.jpg,c.jpg,No\n", "contradicts itself"),
        ("file_x,file_y,Decision\na.jpg,b.jpg,Yes\nb.jpg,a.jpg,No\n", "contradicts itself"),
        ("file_x,file_y,Decision\na.jpg,a.jpg,No\n", "contradicts itself"),
    ],
)
def test_a_csv_that_cannot_be_used(photographs, text, message):
    """Every mistake in a pairs file is refused with its place."""
    with pytest.raises(DatasetError, match=message) as caught:
        read_dataset(pairs_file(photographs, text))
    assert caught.value.hint


def test_copies_in_a_csv_are_one_photograph(photographs):
    """Pairs are of photographs, not of files: a contradiction through a copy is found, a copy is never compared."""
    shutil.copy(photographs / "a.jpg", photographs / "copy.jpg")
    rows = "file_x,file_y,Decision\na.jpg,copy.jpg,Yes\na.jpg,b.jpg,No\n"
    found = read_dataset(pairs_file(photographs, rows))
    assert listed(found) == [("a.jpg", "b.jpg", False)]
    assert "with itself" in found.notes[0]
    assert found.copies == (("a.jpg", "copy.jpg"),)
    with pytest.raises(DatasetError, match="contradicts itself"):
        read_dataset(pairs_file(photographs, rows + "copy.jpg,b.jpg,Yes\n"))


def test_a_pair_that_is_listed_twice_counts_once(photographs):
    """In either order; and it is said."""
    rows = "file_x,file_y,Decision\na.jpg,b.jpg,Yes\nb.jpg,a.jpg,Yes\na.jpg,b.jpg,Yes\nb.jpg,c.jpg,No\n"
    found = read_dataset(pairs_file(photographs, rows))
    assert listed(found) == [("a.jpg", "b.jpg", True), ("b.jpg", "c.jpg", False)]
    assert found.notes == ("2 pair(s) are listed more than once and count once",)


def test_inferred_comparisons_follow_from_the_list(photographs):
    """If a = b, b = c, c != d: then a = c, and a, b and c are all not d; nothing is said about e."""
    rows = "file_x,file_y,Decision\na.jpg,b.jpg,Yes\nb.jpg,c.jpg,Yes\nc.jpg,d.jpg,No\ne.jpg,e.jpg,Yes\n"
    found = read_dataset(pairs_file(photographs, rows), infer=True)
    assert [row for row in listed(found) if row[2]] == [
        ("a.jpg", "b.jpg", True),
        ("a.jpg", "c.jpg", True),
        ("b.jpg", "c.jpg", True),
    ]
    assert found.counts == (3, 3)


@pytest.fixture
def lfw(tmp_path):
    """Photographs in LFW's layout: three people of three photographs each."""
    for name in ("Ann_A", "Bob_B", "Cid_C"):
        (tmp_path / "lfw" / name).mkdir(parents=True)
        for number in (1, 2, 3):
            (tmp_path / "lfw" / name / f"{name}_{number:04d}.jpg").write_bytes(f"{name}{number}".encode())
    return tmp_path / "lfw"


PAIRS = "2\t1\nAnn_A\t1\t2\nAnn_A\t1\tBob_B\t1\nBob_B\t1\t3\nBob_B\t2\tCid_C\t3\n"


def test_lfw_pairs_with_their_folds(lfw, tmp_path):
    """Two folds of one and one pair, names as in the distribution, with tabs or spaces."""
    for text in (PAIRS, PAIRS.replace("\t", " ")):
        found = read_dataset(pairs_file(tmp_path, text, "pairs.txt"), lfw)
        assert found.kind == "lfw"
        assert found.identities == ("Ann_A", "Bob_B", "Cid_C")
        assert [same for _, _, same in listed(found)] == [True, False, True, False]
        assert listed(found)[3][:2] == ("Bob_B/Bob_B_0002.jpg", "Cid_C/Cid_C_0003.jpg")
        assert found.fold.tolist() == [0, 0, 1, 1]


def test_lfw_pairs_without_folds(lfw, tmp_path):
    """LFW's development files state a number of pairs only."""
    found = read_dataset(pairs_file(tmp_path, "1\nAnn_A\t1\t2\nAnn_A\t1\tBob_B\t1\n", "pairsDevTest.txt"), lfw)
    assert found.fold is None
    assert found.counts == (1, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PAIRS.replace("2\t1\n", "3\t1\n", 1), "announces 3 fold"),
        (PAIRS.replace("Ann_A\t1\t2", "Ann_A\t1\tx"), "line 2: not name, number, number"),
        (PAIRS.replace("Ann_A\t1\tBob_B\t1", "Ann_A\t1\t3"), "line 3: not name, number, name, number"),
        (PAIRS.replace("Ann_A\t1\t2", "Ann_A\t1\t9"), "there is no file"),
        (PAIRS.replace("Ann_A\t1\t2", "../Ann_A\t1\t2"), "no name"),
        (PAIRS.replace("Bob_B\t2\tCid_C\t3", "Bob_B\t2\tBob_B\t3"), "contradicts"),
    ],
)
def test_lfw_pairs_that_cannot_be_used(lfw, tmp_path, text, message):
    """Too many or too few lines, lines of another form, missing photographs, paths that lead elsewhere."""
    with pytest.raises(DatasetError, match=message) as caught:
        read_dataset(pairs_file(tmp_path, text, "pairs.txt"), lfw)
    assert caught.value.hint


def test_what_is_no_dataset_is_refused(tmp_path, people):
    """Binary files, absent ones, and a folder with --images."""
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00\x80")
    for path, message in ((binary, "no pairs file"), (tmp_path / "absent.csv", "there is no")):
        with pytest.raises(DatasetError, match=message):
            read_dataset(path)
    with pytest.raises(DatasetError, match="folder of photographs itself"):
        read_dataset(people, people)
    with pytest.raises(DatasetError, match="compared already"):
        read_dataset(people, infer=True)


def test_a_fingerprint_is_of_the_content(people, tmp_path):
    """Other names for files, people and folders give the same fingerprint; another byte or another owner does not."""
    original = read_dataset(people).fingerprint
    renamed = tmp_path / "renamed"
    shutil.copytree(people, renamed)
    (renamed / "x").rename(renamed / "a")
    (renamed / "z/1.jpg").rename(renamed / "z/9.jpg")
    assert read_dataset(renamed).fingerprint == original
    (renamed / "z/9.jpg").rename(renamed / "a/9.jpg")
    assert read_dataset(renamed).fingerprint != original
    (people / "x/1.jpg").write_bytes(b"changed")
    assert read_dataset(people).fingerprint != original


def test_a_fingerprint_of_pairs_is_of_photographs_answers_and_folds(photographs):
    """The order of rows and of a row's ends does not matter; an answer does, and so do the parts."""
    rows = "file_x,file_y,Decision\na.jpg,b.jpg,Yes\nb.jpg,c.jpg,No\n"
    original = read_dataset(pairs_file(photographs, rows)).fingerprint
    turned = "file_x,file_y,Decision\nc.jpg,b.jpg,No\nb.jpg,a.jpg,Yes\n"
    assert read_dataset(pairs_file(photographs, turned)).fingerprint == original
    other = "file_x,file_y,Decision\na.jpg,b.jpg,No\nb.jpg,c.jpg,No\n"
    assert read_dataset(pairs_file(photographs, other)).fingerprint != original
    parts = "file_x,file_y,Decision,fold\na.jpg,b.jpg,Yes,1\nb.jpg,c.jpg,No,2\n"
    assert read_dataset(pairs_file(photographs, parts)).fingerprint != original
    assert np.array_equal(read_dataset(pairs_file(photographs, parts)).fold, [0, 1])
