"""Comparisons from files and folders, and the operating points that follow from them."""

from __future__ import annotations

import numpy as np
import pytest

from facegate_convert._comparisons import read_identities, read_pairs
from facegate_convert._operating_point import Similarities, check_evidence, compare, operating_points
from facegate_convert.errors import DatasetError
from facegate_edge._values import Template


@pytest.fixture
def photographs(tmp_path):
    """Files a.jpg .. e.jpg, different bytes (never decoded here)."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in "abcde":
        (folder / f"{name}.jpg").write_bytes(name.encode() * 10)
    return folder


def pairs_file(folder, text):
    """Write a pairs file."""
    path = folder / "pairs.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "header", ["file_x,file_y,Decision", "file1,file2,same", "Image1, Image2 , LABEL", "left,right,match"]
)
@pytest.mark.parametrize(("yes", "no"), [("Yes", "No"), ("1", "0"), ("true", "FALSE"), ("same", "different")])
def test_pairs_file_in_common_spellings(photographs, header, yes, no):
    """Column names and answers are understood in their usual spellings."""
    found = read_pairs(pairs_file(photographs, f"{header}\na.jpg,b.jpg,{yes}\nb.jpg,c.jpg,{no}\n"), photographs)
    assert [p.name for p in found.images] == ["a.jpg", "b.jpg", "c.jpg"]
    assert found.genuine == ((0, 1),)
    assert found.impostor == ((1, 2),)


def test_pairs_file_that_is_absent_or_binary(photographs):
    """A file that is no text, or not there, is refused as such."""
    binary = photographs / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00\x80")
    for path in (binary, photographs / "absent.csv", photographs):
        with pytest.raises(DatasetError, match="no pairs file"):
            read_pairs(path, photographs)


def test_inferred_comparisons_follow_from_the_list(photographs):
    """If a = b, b = c, c != d: then a = c, and a, b and c are all not d; nothing is said about e."""
    rows = "file_x,file_y,Decision\na.jpg,b.jpg,Yes\nb.jpg,c.jpg,Yes\nc.jpg,d.jpg,No\ne.jpg,e.jpg,Yes\n"
    found = read_pairs(pairs_file(photographs, rows), photographs, infer=True)
    assert found.genuine == ((0, 1), (0, 2), (1, 2))
    assert found.impostor == ((0, 3), (1, 3), (2, 3))


def test_folder_for_each_identity_gives_every_pair(tmp_path):
    """Two photographs of one and one of another: one genuine and two impostor comparisons."""
    for name in ("x/1.jpg", "x/2.png", "y/1.jpg", "y/notes.txt", "z/none.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    found = read_identities(tmp_path)
    assert (len(found.images), found.genuine, found.impostor) == (3, ((0, 1),), ((0, 2), (1, 2)))


@pytest.mark.parametrize("present", [[], ["x/1.jpg"]])
def test_fewer_than_two_identities_are_refused(tmp_path, present):
    """Without a second person there is nothing to compare with."""
    for name in present:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DatasetError, match="at least 2"):
        read_identities(tmp_path)
    with pytest.raises(DatasetError, match="at least 2"):
        read_identities(tmp_path / "absent")


def test_fingerprint_is_of_the_content(photographs, tmp_path):
    """Renaming files does not change a dataset's fingerprint; changing a byte or an answer does."""
    rows = "file_x,file_y,Decision\na.jpg,b.jpg,Yes\nb.jpg,c.jpg,No\n"
    original = read_pairs(pairs_file(photographs, rows), photographs).fingerprint
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for old, new in (("a", "1"), ("b", "2"), ("c", "3")):
        (renamed / f"{new}.jpg").write_bytes((photographs / f"{old}.jpg").read_bytes())
    swapped = "file_x,file_y,Decision\n3.jpg,2.jpg,No\n2.jpg,1.jpg,Yes\n"
    assert read_pairs(pairs_file(renamed, swapped), renamed).fingerprint == original
    other = "file_x,file_y,Decision\na.jpg,b.jpg,No\nb.jpg,c.jpg,No\n"
    assert read_pairs(pairs_file(photographs, other), photographs).fingerprint != original
    (photographs / "a.jpg").write_bytes(b"changed")
    assert read_pairs(pairs_file(photographs, rows), photographs).fingerprint != original


def test_similarities_are_cosines_and_failures_are_left_out(photographs):
    """Comparisons are cosines of the integer templates; a photograph without a face is counted, not compared."""
    vectors = {"a": (127, 0), "b": (127, 127), "c": (0, 127), "d": None}
    rows = "file_x,file_y,Decision\na.jpg,b.jpg,Yes\na.jpg,c.jpg,No\na.jpg,d.jpg,Yes\n"

    def embed(path):
        vector = vectors[path.stem]
        return None if vector is None else Template(np.array(vector, np.int8), "space")

    found = compare(read_pairs(pairs_file(photographs, rows), photographs), embed)
    assert found.genuine == pytest.approx((2**-0.5,))
    assert found.impostor == pytest.approx((0.0,))
    assert (found.failed, found.images) == (1, 4)


def test_nothing_left_to_compare_is_refused(photographs):
    """If no photograph shows a face, there is no operating point."""
    rows = "file_x,file_y,Decision\na.jpg,b.jpg,Yes\na.jpg,c.jpg,No\n"
    with pytest.raises(DatasetError, match="0 genuine and 0 impostor"):
        compare(read_pairs(pairs_file(photographs, rows), photographs), lambda _: None)


def similarities(genuine, impostor):
    """The outcome of comparisons."""
    return Similarities(tuple(sorted(genuine)), tuple(sorted(impostor)), 0, 10, "f" * 64)


def test_operating_point_counts_what_it_claims():
    """1000 impostors and a target of 1 %: ten may pass, the eleventh sets the threshold; FNMR is counted there."""
    impostor = [i / 2000 for i in range(1000)]  # 0 .. 0.4995
    genuine = [0.3] * 5 + [0.9] * 95
    (point,), notes = operating_points(similarities(genuine, impostor), [1e-2])
    assert not notes
    assert point.threshold == pytest.approx(0.4946)
    assert sum(s >= point.threshold for s in impostor) == 10
    assert (point.fnmr, point.genuine, point.impostor) == (0.05, 100, 1000)
    # 10/1000 and 5/100, exact 95 % limits.
    assert point.fmr_upper == pytest.approx(0.018314, abs=1e-5)
    assert (point.fnmr_low, point.fnmr_high) == pytest.approx((0.016432, 0.112835), abs=1e-5)


@pytest.mark.parametrize(("count", "carried"), [(299, False), (300, True)])
def test_target_that_the_data_cannot_carry_is_said(count, carried):
    """3/f comparisons are needed for f; with fewer the point says how little is known."""
    (point,), notes = operating_points(similarities([0.9], [0.0] * count), [1e-2])
    assert bool(notes) is not carried
    if notes:
        assert "300 impostor comparisons are needed" in notes[0]
        assert point.fmr_upper > 0.01


def test_points_descend_and_targets_are_checked():
    """Points come by descending FMR, each target once; a target outside 0..1 is refused."""
    data = similarities([0.9], [0.0, 0.5])
    points, _ = operating_points(data, [1e-3, 1e-1, 1e-3])
    assert [p.fmr for p in points] == [1e-1, 1e-3]
    with pytest.raises(ValueError, match="between 0 and 1"):
        operating_points(data, [1.0])


@pytest.mark.parametrize(
    ("impostor", "target", "enough"),
    [(1, 0.01, False), (29, 0.5, False), (30, 0.5, True), (99, 0.001, False), (100, 0.001, True)],
)
def test_a_target_without_evidence_is_refused(impostor, target, enough):
    """One comparison of two people gives no threshold for a door, whoever asks for it."""
    similarities = Similarities((0.9,), (0.1,) * impostor, 0, 9, "0" * 64)
    if enough:
        check_evidence(similarities, [target, 0.9])
        return
    with pytest.raises(DatasetError, match="say nothing") as caught:
        check_evidence(similarities, [0.9, target])
    assert "--fmr" in caught.value.hint
