"""Seeds, the cache of rendered pictures, and batches cut from them."""

from __future__ import annotations

import errno
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from facegate_edge import Aligner, Frame
from facegate_edge._values import Face
from facegate_train import _cache, _detector, _evaluate, _liveness, _recognizer, _sets, _warp
from facegate_train._pictures import DARK, LIVE, SPECIES, Faces80, Frames, Portraits
from facegate_train._seeds import DETECTOR_IDENTITIES, LIVENESS_IDENTITIES, SPLITS, TEST, TRAIN, VALIDATION
from facegate_train._warp import Batch, alignment, plain_table
from facegate_train.errors import CacheError, CacheFullError, StaleCacheError

with_renderer = pytest.mark.usefixtures("renderer")


def test_splits_share_no_seed():
    """Training, validation and test have seed ranges of their own, and no index leads out of one."""
    ranges = [range(s.first, s.first + s.width) for s in (TRAIN, VALIDATION, TEST)]
    assert [r.start for r in ranges] == [0, 1_000_000, 2_000_000]
    assert all(not {a[0], a[-1]} & set(b) for a in ranges for b in ranges if a is not b)
    assert TEST.seed(999_999) == 2_999_999
    for index in (-1, 1_000_000):
        with pytest.raises(ValueError, match="no seed"):
            TRAIN.seed(index)


@pytest.mark.parametrize("name", [n for n in dir(_sets) if n.startswith(("TRAIN_", "VALIDATION_", "TEST_"))])
def test_a_set_is_of_the_split_that_its_name_says(name):
    """No set for training or tuning is drawn from the test split, or the other way round."""
    recipe = getattr(_sets, name)
    assert recipe.split == name.partition("_")[0].lower()
    assert recipe.split in SPLITS


def test_sets_of_one_split_have_folders_of_their_own():
    """No two sets write into the same folder of the cache."""
    recipes = [getattr(_sets, n) for n in dir(_sets) if n.startswith(("TRAIN_", "VALIDATION_", "TEST_"))]
    assert len({r.name for r in recipes}) == len(recipes)


def test_roles_share_no_identity_of_a_split():
    """The recogniser's identities are not among those of the detector's frames or of the liveness crops."""
    portraits = [r for r in vars(_sets).values() if isinstance(r, Portraits)]
    faces = [r for r in vars(_sets).values() if isinstance(r, Faces80)]
    # Of people whose tones are drawn evenly at least a quarter is dark.
    assert max(p.identities + 4 * p.dark for p in portraits) < DETECTOR_IDENTITIES < DETECTOR_IDENTITIES + 200_000
    assert DETECTOR_IDENTITIES + 200_000 <= LIVENESS_IDENTITIES
    assert LIVENESS_IDENTITIES + max(f.identities for f in faces) < TRAIN.width


@with_renderer
def test_the_same_index_is_the_same_picture():
    """A sample depends on its recipe and index only."""
    for recipe in (Portraits("test", 3, 2), Frames("test", 5, empty=0.5, turned=1.0), Faces80("test", 2)):
        one, two = recipe.make(3), recipe.make(3)
        assert all(np.array_equal(one[k], two[k], equal_nan=one[k].dtype.kind == "f") for k in one)
        assert not np.array_equal(one["pixels"], recipe.make(4)["pixels"])


@with_renderer
def test_identities_come_from_their_split():
    """A portrait's identity is the split's seed of its number, and pictures of one person follow each other."""
    recipe = Portraits("test", 3, 2)
    assert [int(recipe.make(i)["identity"]) for i in range(6)] == [2_000_000] * 2 + [2_000_001] * 2 + [2_000_002] * 2


def test_half_of_the_crops_are_live_and_all_species_appear(faces80):
    """Liveness samples alternate between live faces and the species."""
    species = faces80.all("species")
    assert (species == LIVE).mean() == 0.5
    assert set(species.tolist()) == {LIVE, *range(len(SPECIES))}


@with_renderer
def test_the_back_of_a_head_is_no_face():
    """Somebody who is turned away is in the picture and not in the truth."""
    for index in range(6):
        sample = Frames("train", 6, empty=1.0, turned=1.0).make(index)
        assert np.isnan(sample["boxes"]).all()


# The cache


@with_renderer
def test_a_cache_is_rendered_once(tmp_path, monkeypatch):
    """What is there is not rendered again; what is missing is."""
    made = []
    recipe = Portraits("train", 5, 2)
    original = Portraits.make
    monkeypatch.setattr(Portraits, "make", lambda self, index: made.append(index) or original(self, index))
    cache = _cache.ensure(recipe, tmp_path, workers=1, shard=4)
    assert len(cache) == 10
    assert set(made) == set(range(10))
    made.clear()
    _cache.ensure(recipe, tmp_path, workers=1, shard=4)
    assert not made
    folder = tmp_path / recipe.name / "0000004"
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    again = _cache.ensure(recipe, tmp_path, workers=1, shard=4)
    assert set(made) == {4, 5, 6, 7}
    assert np.array_equal(again.all("pixels"), cache.all("pixels"))


@with_renderer
def test_samples_come_from_the_right_shard(tmp_path):
    """`get` gives the same as `all`, across the borders of the files."""
    cache = _cache.ensure(Portraits("train", 5, 2), tmp_path, workers=1, shard=4)
    assert all(np.array_equal(cache.get("pixels", i), cache.all("pixels")[i]) for i in range(10))
    assert cache.all("identity").tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@with_renderer
def test_pictures_of_another_renderer_are_refused(tmp_path, monkeypatch):
    """A cache made by another version of the renderer is not used silently, and can be accepted."""
    _cache.ensure(Portraits("train", 2, 2), tmp_path, workers=1)
    monkeypatch.setattr(_cache, "renderer_fingerprint", lambda: "tiny-2")
    with pytest.raises(StaleCacheError, match="another version") as caught:
        _cache.ensure(Portraits("train", 2, 2), tmp_path, workers=1)
    assert "--stale-cache" in caught.value.hint
    assert len(_cache.ensure(Portraits("train", 2, 2), tmp_path, workers=1, stale=True)) == 4
    assert _cache.made_by(Portraits("train", 2, 2), tmp_path) == "tiny-1"


@with_renderer
def test_pictures_of_other_settings_are_refused(tmp_path):
    """A cache of another size is refused even if stale pictures are accepted."""
    _cache.ensure(Portraits("train", 2, 2), tmp_path, workers=1)
    with pytest.raises(StaleCacheError, match="settings"):
        _cache.ensure(Portraits("train", 2, 2, size=99), tmp_path, workers=1, stale=True)


@with_renderer
def test_a_full_disk_is_said_before_rendering(tmp_path, monkeypatch):
    """Too little space is an error that names the size and what to do, and leaves no shard."""
    monkeypatch.setattr(_cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(CacheFullError, match="GB") as caught:
        _cache.ensure(Portraits("train", 2, 2), tmp_path, workers=1)
    assert "--cache" in caught.value.hint
    assert [p.name for p in (tmp_path / "portraits-train").iterdir()] == ["meta.json"]


@with_renderer
def test_a_disk_that_fills_up_leaves_no_half_shard(tmp_path, monkeypatch):
    """Running out of space while writing is told as such, and what was begun is removed."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_cache.np, "save", full)
    with pytest.raises(CacheFullError, match="no space"):
        _cache.ensure(Portraits("train", 2, 2), tmp_path, workers=1)
    assert [p.name for p in (tmp_path / "portraits-train").iterdir()] == ["meta.json"]


@with_renderer
@pytest.mark.parametrize("text", ["{", "[]", "null", "\ufeff"])
def test_a_damaged_cache_is_said_to_be_damaged(tmp_path, text):
    """A meta file that is no JSON object is refused with what to do."""
    _cache.ensure(Portraits("train", 2, 2), tmp_path, workers=1)
    (tmp_path / "portraits-train" / "meta.json").write_text(text)
    with pytest.raises(_cache.CacheError, match="damaged") as caught:
        _cache.ensure(Portraits("train", 2, 2), tmp_path, workers=1)
    assert caught.value.hint
    with pytest.raises(_cache.CacheError, match="no cache"):
        _cache.made_by(Portraits("train", 2, 2), tmp_path)


def test_the_fingerprint_follows_the_renderers_source():
    """The real renderer has a fingerprint, the same every time."""
    pytest.importorskip("facegate.simulation", reason="needs the renderer")
    assert len(_cache.renderer_fingerprint()) == 16
    assert _cache.renderer_fingerprint() == _cache.renderer_fingerprint()


def test_a_trials_sets_are_smaller_and_of_the_same_kind():
    """`scaled` changes the number of pictures only, and never gives none."""
    for recipe in (_sets.TRAIN_PORTRAITS, _sets.TRAIN_FRAMES, _sets.TRAIN_LIVENESS):
        small = _sets.scaled(recipe, 0.001)
        assert 0 < small.count < recipe.count
        assert small.name == recipe.name
        assert json.dumps(small.settings)


# Batches


def test_faces_are_aligned_as_the_runtime_aligns_them(portraits, make_recognizer_info):
    """A batch's row is bit for bit what `facegate_edge.Aligner` writes into a recogniser's input."""
    info = make_recognizer_info()
    batch = Batch(1, 112, "RGB")
    _recognizer.fill(batch, 0, portraits.get("pixels", 5), portraits.get("landmarks", 5))
    array = np.zeros((1, 112, 112, 3), np.float32)
    face = Face(np.zeros(4, np.float32), np.ascontiguousarray(portraits.get("landmarks", 5)), 1.0)
    Aligner(info, array).align(Frame(np.ascontiguousarray(portraits.get("pixels", 5))), face)
    assert np.array_equal(batch.array, array)


def test_displaced_landmarks_stay_near():
    """The error that is added has no bias and the size of a detector's."""
    rng = np.random.default_rng(0)
    points = np.array([[38, 52], [74, 52], [56, 72], [42, 92], [71, 92]], np.float32)
    moved = np.stack([_recognizer.displaced(points, rng) for _ in range(2000)])
    assert np.abs(moved.mean(0) - points).max() < 0.2
    assert 0.02 < np.linalg.norm(moved - points, axis=2).mean() / 36 < 0.09


def test_recogniser_batches_hold_what_they_say(portraits, quick):
    """Inputs are in the family's range, and identities are those of the pictures."""
    stream = _recognizer.batches(portraits, quick(_recognizer, 4, 24), np.random.default_rng(0))
    inputs, identities = next(stream)
    assert inputs.shape == (24, 112, 112, 3)
    assert np.abs(inputs).max() < 2
    assert sorted(identities.tolist()) == sorted(portraits.all("identity").tolist())


def test_halving_keeps_the_mean_and_drops_an_odd_edge():
    """Four pixels become their rounded mean."""
    pixels = np.zeros((5, 4, 3), np.uint8)
    pixels[:2, :2] = [[[10] * 3, [20] * 3], [[30] * 3, [41] * 3]]
    small = _warp.halved(pixels)
    assert small.shape == (2, 2, 3)
    assert small[0, 0].tolist() == [25, 25, 25]


@pytest.mark.parametrize("seed", range(24))
def test_a_cut_moves_pixels_and_landmarks_alike(seed):
    """The middle of a blob is where the moved landmark says, in every octave; mirrored landmarks change names."""
    rng = np.random.default_rng(seed)
    points = np.array([[[80, 80], [120, 82], [101, 100], [84, 120], [118, 121]]], np.float32)
    boxes = np.array([[70, 60, 130, 135]], np.float32)
    side, _, sizes = _detector.CUTS[seed % 2]
    matrices, octave = _detector.cuts(200, boxes[None], rng, side, sizes)
    new_boxes, new_points = _detector.moved(matrices, octave, boxes[None], points[None])
    names = _detector._SWAP if np.linalg.det(matrices[0, :, :2]) < 0 else range(5)
    rows, columns = np.mgrid[:200, :200]
    batch = Batch(1, side, "RGB")
    for (x, y), name in zip(new_points[0, 0], names, strict=True):
        away = np.hypot(columns - points[0, name, 0], rows - points[0, name, 1])
        pixels = np.repeat((250 * np.exp(-0.5 * (away / 4) ** 2))[..., None], 3, 2).astype(np.uint8)
        for _ in range(int(octave[0])):
            pixels = _warp.halved(pixels)
        batch.put(0, pixels, matrices[0], plain_table(0.0, 1.0))
        if 16 < x < side - 17 and 16 < y < side - 17:  # all of the blob
            there = batch.array[0, :, :, 0]
            middle = [(there * grid).sum() / there.sum() for grid in np.mgrid[:side, :side][::-1]]
            assert np.allclose(middle, (x, y), atol=0.15)
    back = np.concatenate([new_boxes[0, 0, :2], new_boxes[0, 0, 2:]]).reshape(2, 2).mean(0)
    assert np.allclose((matrices[0, :, :2] @ back + matrices[0, :, 2] + 0.5) * 2 ** octave[0], (100.5, 98), atol=0.01)


@pytest.mark.parametrize(("side", "sizes"), [(side, sizes) for side, _, sizes in _detector.CUTS])
def test_most_cuts_show_a_face(side, sizes):
    """With a face in the frame, its middle is inside seven of ten cuts and more, mostly at the wanted size."""
    rng = np.random.default_rng(0)
    boxes = np.broadcast_to(np.array([[20, 200, 60, 250]], np.float32), (300, 1, 4))
    matrices, octave = _detector.cuts(320, boxes, rng, side, sizes)
    moved, _ = _detector.moved(matrices, octave, boxes, np.zeros((300, 1, 5, 2), np.float32))
    middle = (moved[:, 0, :2] + moved[:, 0, 2:]) / 2
    inside = (middle > 0).all(1) & (middle < side).all(1)
    size = np.sqrt(np.prod(moved[:, 0, 2:] - moved[:, 0, :2], 1))
    assert inside.sum() > 200
    assert (inside & (size > 0.95 * sizes[0]) & (size < 1.05 * sizes[1])).sum() > 180


def test_halves_are_the_means_that_the_net_makes(frames):
    """Cuts of a frame's half and quarter show what the detector's own pooling shows, rounded."""
    torch = pytest.importorskip("torch", reason="needs torch: pip install 'facegate[train]'")
    from facegate_train._nets import Detector  # noqa: PLC0415 - needs torch

    octaves = _detector.Octaves(frames)
    whole = torch.from_numpy(octaves.get(3, 0).astype(np.float32)).permute(2, 0, 1)[None]
    with torch.no_grad():
        pictures = Detector().pictures(whole)
    for octave, picture in enumerate(pictures):
        shown = picture[0].permute(1, 2, 0).numpy()
        assert np.abs(octaves.get(3, octave) - shown).max() <= 0.5 * octave + 1e-3


@pytest.mark.parametrize(
    ("role", "recipe", "size"),
    [
        ("detector", Frames("train", 9, width=128, height=128), (128, 128)),
        ("recognizer", Portraits("train", 3, 3), (112, 112)),
        ("liveness", Faces80("train", 2), (80, 80)),
    ],
)
def test_int8_is_calibrated_on_pictures_of_the_training_split(renderer, tmp_path, role, recipe, size):
    """They are rendered for that alone, as the model is fed them; what was begun before is finished."""
    del renderer
    folder = tmp_path / "c" / "calibration"
    (tmp_path / "c" / "calibration.partial").mkdir(parents=True)
    _evaluate.save_calibration(role, recipe, folder)
    files = sorted(folder.iterdir())
    assert len(files) == min(recipe.count, 200)
    assert {Image.open(file).size for file in files} == {size}
    assert not folder.with_name("calibration.partial").exists()
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CacheError, match="cannot be written") as caught:
        _evaluate.save_calibration(role, recipe, tmp_path / "file" / "calibration")
    assert "--cache" in caught.value.hint


def test_detector_batches_hold_what_they_say(frames, quick):
    """Batches of both sizes take turns; landmarks outside a cut weigh nothing, all others count."""
    stream = _detector.batches(frames, _detector.Octaves(frames), quick(_detector, 4, 12), np.random.default_rng(1))
    for side, _, _ in _detector.CUTS:
        batch = next(stream)
        assert batch["pixels"].shape == (12, side, side, 3)
        assert batch["boxes"].shape == (12, 8, 4)
        outside = (batch["landmarks"] < 0).any(-1) | (batch["landmarks"] > side - 1).any(-1)
        real = np.isfinite(batch["boxes"][..., :1])
        assert not batch["weights"][outside & real].any()
        assert batch["weights"][~outside & real].all()


def test_dark_people_are_added(renderer):
    """The recogniser's set ends with people of dark skin, none of them twice."""
    del renderer
    recipe = Portraits("train", 3, 1, dark=4)
    samples = [recipe.make(index) for index in range(recipe.count)]
    assert [int(s["identity"]) for s in samples[:3]] == [0, 1, 2]
    assert all(int(s["monk"]) >= DARK for s in samples[3:])
    assert len({int(s["identity"]) for s in samples}) == 7


def test_liveness_crops_are_the_runtimes(faces80, quick):
    """Crops are 80x80, and classes follow the species: paper, live, screen."""
    assert faces80.get("pixels", 0).shape == (4, 80, 80, 3)
    assert _liveness.classes(np.array([LIVE, 0, 1, 2], np.int16)).tolist() == [1, 0, 2, 0]
    inputs, labels = next(_liveness.batches(faces80, quick(_liveness, 4, 36), np.random.default_rng(0)))
    assert inputs.shape == (36, 80, 80, 3)
    assert inputs.min() >= 0
    assert inputs.max() <= 255
    assert (labels == 1).sum() == 18


def test_a_mirrored_face_is_aligned_as_its_mirror_image(portraits):
    """Cut from the picture itself, it is what the runtime would make of the mirrored picture."""
    pixels, points = portraits.get("pixels", 7), portraits.get("landmarks", 7)
    width = pixels.shape[1]
    turned = (points * (-1, 1) + (width - 1, 0))[[1, 0, 2, 4, 3]].astype(np.float32)
    batch = Batch(2, 112, "RGB")
    matrix, samples = _recognizer.mirrored(points, 112)
    batch.put(0, pixels, matrix, plain_table(0.0, 1.0), samples)
    matrix, samples = alignment(turned)
    batch.put(1, np.ascontiguousarray(pixels[:, ::-1]), matrix, plain_table(0.0, 1.0), samples)
    assert np.abs(batch.array[0] - batch.array[1]).max() <= 1  # rounding


def test_alignment_samples_large_faces_more_than_once():
    """The number of samples is the runtime's."""
    points = np.array([[38, 52], [74, 52], [56, 72], [42, 92], [71, 92]], np.float32)
    assert alignment(points)[1] == 1
    assert alignment(points * 6)[1] == 3
