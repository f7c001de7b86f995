"""Templates, the exact scan of a gallery and the quality measures: the kernels equal the numpy reference."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from facegate_edge import _kernels as kernels
from facegate_edge._manifest import Quantization
from facegate_edge.errors import KernelError

PATHS = kernels.available_paths()


def _templates(rng: np.random.Generator, count: int, length: int) -> np.ndarray:
    """Random templates, a good part of them at the ends of the range."""
    rows = rng.integers(-127, 128, (count, length)).astype(np.int8)
    extreme = rng.random((count, length)) < 0.2
    rows[extreme] = rng.choice(np.array([-127, 127], np.int8), extreme.sum())
    rows[:, 0] = 127
    return rows


# ---------------------------------------------------------------- templates


@settings(max_examples=100)
@given(values=st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=70).filter(any))
def test_template_of_any_embedding(values: list[float]):
    """A float embedding is scaled to a largest magnitude of 127 and rounded half to even."""
    embedding = np.array(values, np.float32)
    got = kernels.Embedding(kernels.Tensor(embedding)).template()
    np.testing.assert_array_equal(got, reference.template(embedding))
    assert np.abs(got.astype(int)).max() == 127


def test_template_rounds_halves_to_even():
    """0.5 becomes 0, 1.5 becomes 2, -2.5 becomes -2."""
    embedding = np.array([127, 0.5, 1.5, -2.5, -3.5], np.float32)
    got = kernels.Embedding(kernels.Tensor(embedding)).template()
    np.testing.assert_array_equal(got, [127, 0, 2, -2, -4])


@pytest.mark.parametrize(("dtype", "zero"), [("int8", -3), ("int8", 127), ("uint8", 128), ("uint8", 0)])
def test_template_of_a_quantized_embedding(dtype: str, zero: int):
    """A quantised embedding needs no scale: its differences from the zero point are what is scaled."""
    info = np.iinfo(dtype)
    embedding = np.random.default_rng(0).integers(info.min, info.max + 1, 512).astype(dtype)
    got = kernels.Embedding(kernels.Tensor(embedding, Quantization(0.02, zero))).template()
    np.testing.assert_array_equal(got, reference.template(embedding.astype(int) - zero))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0])
def test_template_refuses_what_has_no_direction(bad: float):
    """NaN, infinity and the zero vector are refused, and nothing is written."""
    for place in (0, 7, 63, 64, 129):
        embedding = np.zeros(130, np.float32) if bad == 0 else np.ones(130, np.float32)
        embedding[place] = bad
        out = np.full(130, 55, np.int8)
        with pytest.raises(KernelError) as refusal:
            kernels.Embedding(kernels.Tensor(embedding)).template(out)
        assert refusal.value.hint
        assert (out == 55).all()


def test_template_leaves_the_bytes_around_it():
    """Nothing is written before or after the template."""
    memory = np.full(20, 55, np.int8)
    kernels.Embedding(kernels.Tensor(np.arange(1, 11, dtype=np.float32))).template(memory[5:15])
    assert (memory[:5] == 55).all()
    assert (memory[15:] == 55).all()


# ---------------------------------------------------------------- norms


def test_norm_is_the_sum_of_squares():
    """Padding beyond the length does not count."""
    rows = _templates(np.random.default_rng(0), 9, 100)
    np.testing.assert_array_equal(kernels.norm(rows, 77), (rows[:, :77].astype(int) ** 2).sum(1))


@pytest.mark.parametrize("bad", [-128, 0])
def test_norm_refuses_rows_that_are_no_templates(bad: int):
    """-128 and the zero row are refused before any norm is written."""
    rows = np.ones((3, 8), np.int8)
    rows[1, :] = 0
    rows[1, 3] = bad
    out = np.full(3, 55, np.int32)
    with pytest.raises(KernelError):
        kernels.norm(rows, 8, out)
    assert (out == 55).all()


# ---------------------------------------------------------------- search


def _assert_search(rows, length, probe, k, mask=None):
    norms = kernels.norm(rows, length)
    expected = reference.search(rows[:, :length], probe, k, mask)
    for path in PATHS:
        found = kernels.Search(rows, norms, length=length, k=k, mask=mask, path=path).run(probe)
        np.testing.assert_array_equal(found[0], expected[0], err_msg=path)
        np.testing.assert_array_equal(found[1], expected[1], err_msg=path)


@pytest.mark.parametrize("length", [1, 2, 15, 16, 31, 32, 33, 63, 64, 65, 127, 128, 192, 256, 511, 512, 513, 4096])
def test_search_of_each_length_on_each_path(length: int):
    """Every code path gives the reference's bits, whatever remains after its vectors."""
    rng = np.random.default_rng(length)
    rows = _templates(rng, 70, length + 5)
    _assert_search(rows, length, _templates(rng, 1, length)[0], 5)


@pytest.mark.parametrize("sign", [1, -1])
def test_search_saturates_nowhere(sign: int):
    """The largest possible dot products come out whole on every path."""
    rows = np.full((3, 4096), 127, np.int8)
    rows[1] = -127
    _assert_search(rows, 4096, np.full(4096, sign * 127, np.int8), 3)


@settings(max_examples=100)
@given(
    count=st.integers(0, 200),
    length=st.integers(1, 80),
    k=st.integers(1, 100),
    masked=st.booleans(),
    seed=st.integers(0, 10**6),
    small=st.booleans(),
)
def test_search_of_any_gallery(count, length, k, masked, seed, small):
    """Whatever the size, the mask and k: the reference's order, with ties (small values make many) by index."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(-1, 2, (count, length)).astype(np.int8) if small else _templates(rng, count, length)
    rows[:, 0] = 1
    probe = rng.integers(-1, 2, length).astype(np.int8) if small else _templates(rng, 1, length)[0]
    probe[0] = 1
    mask = (rng.random(count) < 0.3).astype(np.uint8) * 255 if masked else None
    _assert_search(rows, length, probe, k, mask)


@pytest.mark.parametrize("sign", [1, -1])
def test_search_tells_apart_what_is_nearly_equal(sign: int):
    """Rows whose similarities differ in the eighth digit, near 1 and near -1: none of the best is passed over."""
    rng = np.random.default_rng(1)
    probe = np.full(512, 126, np.int8)
    rows = np.repeat(sign * probe[None], 300, axis=0)
    for row in rows:
        row[rng.choice(512, rng.integers(0, 4), replace=False)] += 1
    _assert_search(rows, 512, probe, 5)
    _assert_search(rows, 512, probe, 40)


def test_search_finds_a_template_in_itself_with_exactly_1():
    """A template's similarity to itself is 1, not nearly 1; to its opposite -1."""
    rng = np.random.default_rng(0)
    rows = _templates(rng, 300, 512)
    for i in range(0, 300, 7):
        norms = kernels.norm(rows, 512)
        indices, similarities = kernels.Search(rows, norms, length=512, k=1).run(rows[i])
        assert (indices[0], similarities[0]) == (i, 1.0)
        assert kernels.compare(rows[i], rows[i]) == 1.0
        assert kernels.compare(rows[i], -rows[i]) == -1.0


def test_search_of_the_first_rows_only():
    """A gallery with room to grow is searched up to its count; growing needs no new object."""
    rng = np.random.default_rng(0)
    rows = _templates(rng, 50, 64)
    search = kernels.Search(rows, kernels.norm(rows, 64), length=64, k=5)
    for count in (0, 1, 4, 30, 50):
        expected = reference.search(rows[:count], rows[49], 5)
        found = search.run(rows[49], count)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


def test_compare_is_the_similarity_of_search():
    """One probe against one row gives the same bits either way."""
    rng = np.random.default_rng(5)
    a, b = _templates(rng, 2, 333)
    _, similarities = kernels.Search(b[None], kernels.norm(b[None], 333), length=333, k=1).run(a)
    assert kernels.compare(a, b) == similarities[0]


def test_active_path_is_the_last_that_can_run():
    """The path called "auto" is the best one, and the scalar one always exists."""
    assert PATHS[0] == "scalar"
    assert kernels.active_path() == PATHS[-1]


# ---------------------------------------------------------------- quality


@settings(max_examples=60)
@given(width=st.integers(3, 130), height=st.integers(3, 40), seed=st.integers(0, 1000), hard=st.booleans())
def test_sharpness(width: int, height: int, seed: int, hard: bool):
    """The variance of the Laplacian equals numpy's."""
    rng = np.random.default_rng(seed)
    plane = rng.integers(0, 256, (height, width)).astype(np.uint8)
    plane = (plane // 128 * 255).astype(np.uint8) if hard else plane
    got = kernels.Quality(plane).sharpness()
    np.testing.assert_allclose(got, reference.sharpness(plane), rtol=1e-9, atol=1e-9)


def test_sharpness_of_the_widest_checkerboard_does_not_overflow():
    """The largest Laplacians over the longest row still sum up."""
    plane = (np.indices((3, 16384)).sum(0) % 2 * 255).astype(np.uint8)
    np.testing.assert_allclose(kernels.Quality(plane).sharpness(), reference.sharpness(plane))


def test_sharpness_is_opencvs():
    """Inside the frame it is cv2.Laplacian's variance."""
    cv2 = pytest.importorskip("cv2")
    plane = np.random.default_rng(0).integers(0, 256, (112, 112)).astype(np.uint8)
    expected = cv2.Laplacian(plane, cv2.CV_64F)[1:-1, 1:-1].var()
    np.testing.assert_allclose(kernels.Quality(plane).sharpness(), expected)


def test_blur_lowers_sharpness():
    """The mean of neighbors is less sharp than what it was made of; a flat plane has none."""
    plane = np.random.default_rng(0).integers(0, 256, (50, 50)).astype(np.uint8)
    blurred = np.ascontiguousarray((plane[:-1].astype(int) + plane[1:]) // 2, np.uint8)
    assert kernels.Quality(blurred).sharpness() < kernels.Quality(plane).sharpness()
    assert kernels.Quality(np.full((9, 9), 77, np.uint8)).sharpness() == 0


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (112, 112)])
def test_brightness(shape: tuple[int, int]):
    """Mean and shares equal numpy's."""
    plane = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    np.testing.assert_allclose(kernels.Quality(plane).brightness(), reference.brightness(plane), rtol=1e-12)


@pytest.mark.parametrize("side", [4, 60])
@pytest.mark.parametrize(
    ("level", "dark", "bright"), [(0, 1, 0), (31, 1, 0), (32, 0, 0), (223, 0, 0), (224, 0, 1), (255, 0, 1)]
)
def test_brightness_of_one_level(level: int, dark: int, bright: int, side: int):
    """Under-exposed ends below 32, over-exposed begins at 224; no sum of a large black or white plane overflows."""
    assert kernels.Quality(np.full((side, side), level, np.uint8)).brightness() == (level, dark, bright)
