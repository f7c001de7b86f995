"""The gallery: exact search, growth, removal, and what it refuses."""

from __future__ import annotations

import gc
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from facegate_edge import _gallery
from facegate_edge._gallery import Candidate, Gallery, compare
from facegate_edge._values import Template
from facegate_edge.errors import GalleryError, KernelError, TemplateSpaceError


def template(*values, space="s"):
    """A template of the given values."""
    return Template(np.array(values, np.int8), space)


def random_rows(count, length, seed=0):
    """Random templates, int8 (count, length)."""
    return np.random.default_rng(seed).integers(-127, 128, (count, length), dtype=np.int8)


def cosine(a, b):
    """The definition, in float64."""
    a, b = a.astype(np.int64), b.astype(np.int64)
    return float(a @ b) / float(np.sqrt(float(a @ a) * float(b @ b)))


def test_an_empty_gallery_finds_nothing():
    """There is no candidate where there is no template."""
    gallery = Gallery(4, "s")
    assert len(gallery) == 0
    assert gallery.search(template(1, 2, 3, 4), 5) == ()
    assert gallery.search(template(1, 2, 3, 4), selection=np.zeros(0, bool)) == ()


def test_a_template_finds_itself_with_similarity_one():
    """The similarity of a template with itself is exactly 1."""
    gallery = Gallery(4, "s")
    assert gallery.add(template(1, 2, 3, 4)) == 0
    assert gallery.add(template(-5, 4, 3, 2)) == 1
    assert gallery.search(template(-5, 4, 3, 2)) == (Candidate(1, 1.0),)


@given(
    rows=arrays(np.int8, st.tuples(st.integers(1, 40), st.just(13)), elements=st.integers(-127, 127)).filter(
        lambda a: a.any(axis=1).all()
    ),
    k=st.integers(1, 50),
    data=st.data(),
)
def test_search_is_the_exact_top_k(rows, k, data):
    """Whatever is in the gallery, the k most similar rows come back sorted, ties by the lower index."""
    selection = data.draw(st.none() | arrays(bool, len(rows)))
    probe = rows[data.draw(st.integers(0, len(rows) - 1))]
    gallery = Gallery(13, "s", capacity=1)
    gallery.extend(rows)
    found = gallery.search(Template(probe, "s"), k, selection=selection)
    allowed = range(len(rows)) if selection is None else np.flatnonzero(selection)
    expected = sorted((-cosine(rows[i], probe), int(i)) for i in allowed)[:k]
    assert [(c.index, c.similarity) for c in found] == [(i, -s) for s, i in expected]


def test_a_selection_holds_for_its_own_search_only():
    """Searching a part of the gallery leaves the next search alone."""
    gallery = Gallery(2, "s")
    gallery.extend(np.array([[1, 0], [0, 1], [1, 1]], np.int8))
    probe = template(1, 0)
    assert [c.index for c in gallery.search(probe, selection=np.array([False, True, False]))] == [1]
    assert [c.index for c in gallery.search(probe, selection=np.array([False, False, True]))] == [2]
    assert [c.index for c in gallery.search(probe)] == [0]


def test_a_gallery_grows_and_keeps_its_templates():
    """Templates survive every growth; indices count on."""
    rows = random_rows(1000, 128)
    gallery = Gallery(128, "s", capacity=1)
    for i, row in enumerate(rows):
        assert gallery.add(Template(row, "s")) == i
    for i in (0, 1, 500, 999):
        assert gallery.search(Template(rows[i], "s")) == (Candidate(i, 1.0),)


def test_many_templates_are_added_at_once():
    """`extend` returns the first index, and adding none is allowed."""
    gallery = Gallery(8, "s")
    assert gallery.extend(random_rows(0, 8)) == 0
    assert gallery.extend(random_rows(10, 8)) == 0
    assert gallery.extend(random_rows(5, 8, seed=1)) == 10
    assert len(gallery) == 15


def test_a_removed_template_is_found_no_more():
    """The last row takes the removed one's place, and `remove` says so."""
    rows = np.eye(4, dtype=np.int8) * 100
    gallery = Gallery(4, "s")
    gallery.extend(rows)
    assert gallery.remove(1) == 3
    assert [c.index for c in gallery.search(Template(rows[3], "s"))] == [1]
    assert gallery.remove(2) is None
    assert len(gallery) == 2
    assert {c.index for c in gallery.search(Template(rows[1], "s"), 10)} == {0, 1}
    assert all(c.similarity < 1 for c in gallery.search(Template(rows[1], "s"), 10))


def test_a_removed_template_is_wiped():
    """Nothing of a removed template stays in the gallery's memory."""
    gallery = Gallery(8, "s")
    gallery.extend(random_rows(3, 8))
    memory = gallery._memory
    for _ in range(3):
        gallery.remove(0)
    assert not memory.rows.any()
    assert not memory.norms.any()


def test_memory_is_wiped_when_it_is_given_back():
    """Growing and closing leave zeros in the old memory, even if somebody still looks at it."""
    gallery = Gallery(8, "s", capacity=2)
    gallery.extend(random_rows(2, 8))
    old = gallery._memory.rows
    gallery.extend(random_rows(2, 8, seed=1))
    assert not old.any()
    new = gallery._memory.rows
    gallery.close()
    assert not new.any()


def test_rows_start_on_64_byte_boundaries():
    """Rows are padded to 64 bytes, whatever the length."""
    for length in (1, 63, 64, 65, 128, 512):
        rows = Gallery(length, "s")._memory.rows
        assert rows.ctypes.data % 64 == 0
        assert rows.strides[0] % 64 == 0


def test_a_closed_gallery_answers_nothing():
    """After close() everything is a GalleryError, and a second close() does nothing."""
    gallery = Gallery(2, "s")
    gallery.add(template(1, 2))
    gallery.close()
    gallery.close()
    assert len(gallery) == 0
    for act in (
        lambda: gallery.add(template(1, 2)),
        lambda: gallery.search(template(1, 2)),
        lambda: gallery.remove(0),
        lambda: gallery.locked,
    ):
        with pytest.raises(GalleryError, match="closed"):
            act()


@pytest.mark.parametrize("act", [lambda g, t: g.add(t), lambda g, t: g.search(t)], ids=["add", "search"])
def test_another_space_or_length_is_refused(act):
    """Templates of another space never compare; those of another length cannot."""
    gallery = Gallery(2, "s")
    with pytest.raises(TemplateSpaceError) as caught:
        act(gallery, template(1, 2, space="other"))
    assert "enrolled again" in caught.value.hint
    with pytest.raises(GalleryError, match="3 values"):
        act(gallery, template(1, 2, 3))


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((2, 2), np.int8),
        np.array([[1, 2], [0, 0]], np.int8),
        np.array([[1, -128]], np.int8),
        np.ones((2, 3), np.int8),
        np.ones(2, np.int8),
        np.ones((2, 2), np.float32),
        [[1, 2]],
    ],
    ids=["zero", "one zero", "-128", "length", "vector", "float", "list"],
)
def test_rows_that_are_no_templates_are_refused(rows):
    """A bad row adds nothing, not even the good ones before it."""
    gallery = Gallery(2, "s")
    gallery.add(template(1, 2))
    with pytest.raises(GalleryError):
        gallery.extend(rows)
    assert len(gallery) == 1
    assert not gallery._memory.rows[1:].any()


@pytest.mark.parametrize("k", [0, -1, 1025])
def test_an_impossible_k_is_refused(k):
    """Between 1 and 1024 candidates can be searched for, in an empty gallery too."""
    with pytest.raises(GalleryError, match="candidates"):
        Gallery(2, "s").search(template(1, 2), k)


@pytest.mark.parametrize("selection", [np.ones(3, bool), np.ones(2, np.uint8), [True, True], np.ones((2, 1), bool)])
def test_a_selection_of_another_shape_is_refused(selection):
    """A selection has one bool a template."""
    gallery = Gallery(2, "s")
    gallery.extend(np.array([[1, 2], [3, 4]], np.int8))
    with pytest.raises(GalleryError, match="selection"):
        gallery.search(template(1, 2), selection=selection)


@pytest.mark.parametrize("index", [-1, 2, 100])
def test_removing_what_is_not_there_is_refused(index):
    """Indices count from 0 to len - 1."""
    gallery = Gallery(2, "s")
    gallery.extend(np.array([[1, 2], [3, 4]], np.int8))
    with pytest.raises(GalleryError, match="no template"):
        gallery.remove(index)


@pytest.mark.parametrize(("length", "capacity"), [(0, 1), (-1, 1), (4097, 1), (4, 0), (4, 1 << 25)])
def test_an_impossible_size_is_refused(length, capacity):
    """Lengths are 1..4096; a capacity is positive and bounded."""
    with pytest.raises(GalleryError):
        Gallery(length, "s", capacity=capacity)


def test_a_full_gallery_says_so(monkeypatch):
    """Beyond the largest size there is an error, and nothing is lost."""
    monkeypatch.setattr(_gallery, "MAX_ROWS", 4)
    gallery = Gallery(2, "s", capacity=4)
    gallery.extend(np.ones((4, 2), np.int8))
    with pytest.raises(GalleryError, match="gallery of 5"):
        gallery.add(template(1, 2))
    assert len(gallery) == 4


def test_memory_that_may_not_be_locked_is_used_all_the_same(monkeypatch):
    """Locking into RAM is best effort; `locked` tells."""
    monkeypatch.setattr(_gallery, "_mlock", lambda _address, _size: False)
    gallery = Gallery(2, "s")
    assert not gallery.locked
    gallery.add(template(1, 2))
    assert gallery.search(template(1, 2)) == (Candidate(0, 1.0),)


def test_a_hundred_thousand_templates():
    """100,000 templates of 512 values are searched exactly."""
    rows = random_rows(100_000, 512)
    with Gallery(512, "s") as gallery:
        gallery.extend(rows)
        for i in (0, 77_777, 99_999):
            first, second = gallery.search(Template(rows[i], "s"), 2)
            assert first == Candidate(i, 1.0)
            assert second.similarity < 0.5
    gc.collect()


def test_two_templates_compare_by_their_cosine():
    """`compare` is the cosine of the integer vectors; it is symmetric and exactly 1 for the same direction."""
    a, b = template(1, 2, -3), template(-100, 27, 64)
    assert compare(a, b) == compare(b, a) == cosine(a.data, b.data)
    assert compare(a, a) == 1.0
    assert compare(a, template(-1, -2, 3)) == -1.0


def test_templates_of_two_spaces_do_not_compare():
    """Comparing across spaces is an error that names both, and different lengths are refused as well."""
    with pytest.raises(TemplateSpaceError, match=r"'s'.*'t'"):
        compare(template(1, 2), template(1, 2, space="t"))
    with pytest.raises(KernelError):
        compare(template(1, 2), template(1, 2, 3))


def test_no_similarity_is_shown():
    """The reprs of gallery and candidate hold no template and no similarity."""
    gallery = Gallery(2, "s")
    gallery.add(template(1, 2))
    assert repr(gallery) == "Gallery(1 templates)"
    assert repr(gallery.search(template(1, 3))) == "(Candidate(index=0),)"


FORK = """
import os, sys
import numpy as np
from facegate_edge import Gallery, GalleryError, Template
from facegate_edge import _gallery
if len(sys.argv) > 1:
    _gallery._WIPE_ON_FORK = 12345  # a kernel that does not know it
gallery = Gallery(512, "s", capacity=1)  # it grows: what it grew into is kept from children as well
rows = np.random.default_rng(0).integers(-127, 128, (1000, 512)).astype(np.int8)
gallery.extend(rows)
probe = Template(rows[7], "s")
child = os.fork()
if child == 0:
    try:
        if len(sys.argv) == 1:
            assert not gallery._memory.rows.any(), "templates in the child"
            gallery._memory.rows[:] = 1  # private: not the parent's
        for use in (lambda: gallery.search(probe), lambda: gallery.add(probe), lambda: gallery.remove(0)):
            try:
                use()
            except GalleryError as error:
                assert "another process" in str(error)
            else:
                raise AssertionError("the child used the gallery")
        gallery.close()
        gallery.close()
        os._exit(42)
    except BaseException as error:
        print(repr(error), flush=True)
        os._exit(1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 42, status
assert gallery.search(probe)[0].index == 7
assert (gallery._memory.rows[:1000, :512] == rows).all()
gallery.close()
"""


@pytest.mark.parametrize("kernel", [[], ["before 4.14"]])
def test_a_forked_child_has_no_templates(kernel):
    """A child sees zeros or nothing, changes nothing of the parent's, is refused the gallery, and may close it."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", FORK, *kernel], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
