"""Presentation attacks: they lie where they are told, points map rightly, cues are there, and none is always there."""

import math

import numpy as np
import pytest
from PIL import Image, ImageDraw

from facegate.errors import FrameError
from facegate.simulation import _held
from facegate.simulation._attack import ATTACKS, Placement, present, present_mask, present_print, present_replay
from facegate.simulation._noise import Dice
from facegate.simulation._paper_mask import similarity
from facegate.simulation._print import ink
from facegate.simulation._replay import pixel_grid
from facegate.simulation._sensor import linear_to_srgb, srgb_to_linear

HELD = ("print", "replay")
FACE = (60.0, 50.0, 140.0, 160.0)
LANDMARKS = np.array([[80, 90], [120, 90], [100, 115], [84, 135], [116, 135]], np.float32)
LIGHT = (0.9, 0.9, 0.9)
AT = Placement(120.0, 110.0, 60.0)


def photo():
    """A drawn head with colored dots at its landmarks, 200 x 220 pixels."""
    image = Image.new("RGB", (200, 220), (60, 110, 150))
    pen = ImageDraw.Draw(image)
    pen.ellipse(FACE, fill=(214, 164, 130))
    for x, y in LANDMARKS.tolist():
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=(20, 16, 12))
    return np.array(image)


def background(height=240, width=256):
    """A gray scene."""
    return np.full((height, width, 3), 0.2, np.float32)


def held(species, seed, scene=None, **options):
    """An attack that is held up."""
    scene = background() if scene is None else scene
    rng = np.random.default_rng(seed)
    return present(species, photo(), FACE, scene, rng, **{"at": AT, "light": LIGHT, **options})


def worn(seed, **options):
    """A mask of the photo on a head drawn in the frame, with the head's landmarks."""
    marks = LANDMARKS * 0.8 + np.float32([40, 30])
    live = srgb_to_linear(np.asarray(Image.fromarray(photo()).resize((256, 240))))
    rng = np.random.default_rng(seed)
    return present_mask(photo(), FACE, LANDMARKS, live, marks, rng, **{"light": LIGHT, **options}), live, marks


def through(matrix, points):
    """Points after a homography."""
    out = np.c_[points, np.ones(len(points))] @ matrix.T
    return out[:, :2] / out[:, 2:]


def test_the_species_are_those_of_the_evaluation():
    """Print, replay, paper mask: liveness is reported for each."""
    assert ATTACKS == ("print", "replay", "paper_mask")


@pytest.mark.parametrize("species", HELD)
def test_a_held_attack_is_a_frame_of_linear_light(species):
    """The frame has the background's size, finite light, and the background is left alone."""
    scene = background(120, 200)
    for seed in range(20):
        made = held(species, seed, scene)
        assert made.linear.shape == (120, 200, 3)
        assert made.linear.dtype == np.float32
        assert np.isfinite(made.linear).all()
        assert made.linear.min() >= 0
        assert made.cover.shape == (120, 200)
        assert 0 <= made.cover.min() <= made.cover.max() <= 1
    assert (scene == np.float32(0.2)).all()


@pytest.mark.parametrize("species", HELD)
def test_the_face_lies_where_it_was_placed(species):
    """The middle of the photo's face comes to the place asked for, about as large as asked for."""
    middle = np.array([[(FACE[0] + FACE[2]) / 2, (FACE[1] + FACE[3]) / 2]])
    sides = np.array([[FACE[0], middle[0, 1]], [FACE[2], middle[0, 1]]])
    for seed in range(20):
        matrix = held(species, seed).matrix
        assert through(matrix, middle)[0] == pytest.approx((AT.x, AT.y), abs=1e-6)
        left, right = through(matrix, sides)
        assert 0.7 * AT.width < math.dist(left, right) < 1.15 * AT.width


@pytest.mark.parametrize("species", HELD)
def test_the_matrix_leads_to_what_is_seen(species):
    """Where the matrix puts a dark landmark, the frame is darker than the face beside it."""
    found = []
    for seed in range(40):
        made = held(species, seed)
        luma = made.linear.mean(2)
        points = through(made.matrix, LANDMARKS)
        around = through(made.matrix, LANDMARKS + np.float32([0, -12]))
        for (x, y), (u, v) in zip(points, around, strict=True):
            if made.cover[int(y), int(x)] > 0.99:
                dot = luma[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].mean()
                found.append(dot < luma[int(v) - 1 : int(v) + 2, int(u) - 1 : int(u) + 2].mean())
    assert len(found) > 150
    assert np.mean(found) > 0.9  # glare and fingers hide the rest


def test_roll_turns_the_presented_face():
    """A roll of 90 degrees turns the line of the eyes clockwise, as one sees it."""
    for seed in range(5):
        level = through(held("print", seed).matrix, LANDMARKS[:2])
        turned = through(held("print", seed, at=Placement(120.0, 110.0, 60.0, roll=90.0)).matrix, LANDMARKS[:2])
        angles = [math.degrees(math.atan2(b[1] - a[1], b[0] - a[0])) for a, b in (level, turned)]
        assert angles[1] - angles[0] == pytest.approx(90, abs=12)


@pytest.mark.parametrize("make", [lambda s: held("print", s), lambda s: held("replay", s), lambda s: worn(s)[0]])
def test_an_attack_depends_on_the_generator_alone(make):
    """The same seed makes the same attack, another seed another."""
    first, again, other = make(1), make(1), make(2)
    assert np.array_equal(first.linear, again.linear)
    assert np.array_equal(first.matrix, again.matrix)
    assert np.array_equal(first.cover, again.cover)
    assert not np.array_equal(first.linear, other.linear)


@pytest.mark.parametrize("species", HELD)
def test_edges_show_often_but_not_always(species):
    """With enough photo around the face, a crop 2.7 faces wide shows an edge of the medium mostly, yet not always."""
    wide = np.full((400, 400, 3), 128, np.uint8)
    shown = []
    for seed in range(120):
        at = Placement(200.0, 200.0, 100.0)
        made = present(
            species, wide, (160, 150, 240, 250), background(400, 400), np.random.default_rng(seed), at=at, light=LIGHT
        )
        shown.append(made.cover[65:335, 65:335].min() < 0.5)
    assert 0.6 < np.mean(shown) < 0.97


@pytest.mark.parametrize("species", HELD)
def test_a_face_that_fills_the_frame_hides_all_of_it_at_times(species):
    """Held close, the edges are outside: nothing of the scene is left."""
    wide = np.full((400, 400, 3), 128, np.uint8)
    at = Placement(80.0, 80.0, 120.0)
    covers = [
        present(
            species, wide, (160, 150, 240, 250), background(160, 160), np.random.default_rng(seed), at=at, light=LIGHT
        ).cover.min()
        for seed in range(60)
    ]
    assert 0.1 < np.mean(np.array(covers) > 0.99) < 0.9


@pytest.mark.parametrize("species", HELD)
def test_an_attack_beside_the_frame_leaves_the_scene(species):
    """What is held outside the picture is not seen."""
    made = held(species, 3, at=Placement(-4000.0, 100.0, 40.0))
    assert made.cover.max() == 0
    assert np.array_equal(made.linear, background())


def test_ink_lifts_blacks_and_dims_whites():
    """No ink is as black, no paper as white as what was photographed, and colors are fewer."""
    ramp = Image.fromarray(np.array([[[0, 0, 0], [255, 255, 255], [250, 20, 20]]], np.uint8))
    blacks, whites, spreads = [], [], []
    for seed in range(60):
        black, white, red = np.asarray(ink(ramp, Dice(np.random.default_rng(seed)))).astype(int)[0]
        blacks.append(black.mean())
        whites.append(white.mean())
        spreads.append(np.ptp(red))
    assert min(blacks) >= 5
    assert max(whites) < 255
    assert np.ptp(blacks) > 30
    assert np.ptp(whites) > 25
    assert max(spreads) < 240
    assert min(spreads) < 40  # a printer without colors


def test_prints_follow_the_light_of_the_room():
    """Paper in half the light is half as bright; in red light it is red."""
    bright = held("print", 4)
    dim = held("print", 4, light=(0.45, 0.45, 0.45))
    red = held("print", 4, light=(0.9, 0.3, 0.3))
    inside = bright.cover > 0.99
    assert dim.linear[inside].mean() == pytest.approx(0.5 * bright.linear[inside].mean(), rel=0.02)
    ratio = red.linear[inside].mean(0) / bright.linear[inside].mean(0)
    assert ratio == pytest.approx((1, 1 / 3, 1 / 3), rel=0.02)


def test_a_screen_shines_in_the_dark():
    """A screen needs no light of the room, a print does."""
    paper, screen = (held(species, 4, light=(0.0, 0.0, 0.0)) for species in HELD)
    assert screen.linear[screen.cover > 0.99].mean() > 0.01
    assert paper.linear[paper.cover > 0.998].max() == pytest.approx(0, abs=1e-6)


def plane(side=256):
    """Places of camera pixels on a screen that is held straight, as large as the frame."""
    axis = np.arange(side, dtype=np.float32) + np.float32(0.5)
    return np.meshgrid(axis, axis)


def peak(values):
    """The strongest wave of a row, in periods a pixel, and its amplitude."""
    spectrum = np.abs(np.fft.rfft(values - values.mean())) * 2 / len(values)
    best = int(np.argmax(spectrum))
    return best / len(values), float(spectrum[best])


def test_display_pixels_keep_the_mean_of_each_color():
    """The pixel grid moves light about, it makes none."""
    u, v = plane()
    for pitch in (0.8, 1.3, 2.6):
        grid = pixel_grid(u, v, pitch, blur=0.3, gap=0.3, phase=0.2)
        assert grid.shape == (256, 256, 3)
        assert grid.mean((0, 1)) == pytest.approx((1, 1, 1), abs=0.03)


@pytest.mark.parametrize(("pitch", "wave"), [(4.0, 0.25), (1.1, 1 - 1 / 1.1), (0.95, 1 / 0.95 - 1)])
def test_moire_is_the_alias_of_the_display_pixels(pitch, wave):
    """Pixels coarser than the camera's show as they are; finer ones come back as a slow wave, f folded about 1."""
    u, v = plane(512)
    grid = pixel_grid(u, v, pitch, blur=0.2, gap=0.0, phase=0.0)
    found, strength = peak(grid[0, :, 1])
    assert found == pytest.approx(wave, abs=0.004)
    assert strength > 0.2


def test_moire_changes_with_distance_and_fades_with_blur():
    """The same display a little farther away has another moire, and a soft lens takes it away."""
    u, v = plane(512)

    def wave(scale, blur):
        return peak(pixel_grid(u * np.float32(scale), v, 1.1, blur=blur, gap=0.0, phase=0.0)[0, :, 0])

    near, far = wave(1.0, 0.2), wave(1.05, 0.2)
    assert abs(near[0] - far[0]) > 0.02
    assert wave(1.0, 0.8)[1] < 0.1 * near[1]


def test_the_colors_of_the_grid_are_a_third_of_a_pixel_apart():
    """Red, green and blue stripes lie side by side: their waves are a third of a period apart, so moire is colored."""
    u, v = plane(256)
    grid = pixel_grid(u, v, 8.0, blur=0.0, gap=0.0, phase=0.0)
    phases = [np.angle(np.fft.rfft(grid[0, :, color])[32]) for color in range(3)]
    steps = np.diff(phases) % (2 * math.pi)
    assert np.minimum(steps, 2 * math.pi - steps) == pytest.approx((2 * math.pi / 3,) * 2, abs=0.05)


def test_similarity_finds_turn_scale_and_shift():
    """Points that were turned, scaled and shifted are matched exactly."""
    c, s = 1.7 * math.cos(0.4), 1.7 * math.sin(0.4)
    target = LANDMARKS @ np.array([[c, s], [-s, c]]) + [5, -9]
    found = similarity(LANDMARKS, target)
    assert through(found, LANDMARKS) == pytest.approx(target, abs=1e-4)
    assert found[0] == pytest.approx((c, -s, 5), abs=1e-4)


def test_a_mask_sits_on_the_face():
    """The photo's landmarks come near the wearer's, the mask covers the face and not the frame."""
    for seed in range(30):
        made, live, marks = worn(seed)
        mapped = through(made.matrix, LANDMARKS)
        assert np.hypot(*(mapped - marks).T).max() < 0.35 * np.hypot(*(marks[1] - marks[0]))
        assert 0.02 < made.cover.mean() < 0.4
        outside = made.cover[:20] == 0
        assert np.array_equal(made.linear[:20][outside], live[:20][outside])
        x, y = marks[2]
        assert made.cover[int(y), int(x)] > 0.9  # the nose is paper


def test_masks_have_eye_holes_at_times():
    """Some masks show the wearer's eyes, most do not."""
    holes = []
    for seed in range(100):
        made, _, _ = worn(seed)
        x, y = through(made.matrix, LANDMARKS[:1])[0]
        holes.append(made.cover[int(y), int(x)] < 0.3)
    assert 0.2 < np.mean(holes) < 0.6


def test_a_mask_follows_a_turned_and_tilted_head():
    """A wearer whose head leans is given a leaning mask."""
    live = background(240, 240)
    angle = math.radians(25)
    c, s = math.cos(angle), math.sin(angle)
    marks = ((LANDMARKS - LANDMARKS.mean(0)) @ np.array([[c, s], [-s, c]]) + 120).astype(np.float32)
    made = present_mask(photo(), FACE, LANDMARKS, live, marks, np.random.default_rng(2), light=LIGHT)
    first, second = through(made.matrix, LANDMARKS[:2])
    assert math.degrees(math.atan2(second[1] - first[1], second[0] - first[0])) == pytest.approx(25, abs=6)


def test_a_mask_is_shaded_from_the_side_of_the_light():
    """Light from the left makes the left of the mask brighter than light from the right does, on the average."""

    def lean(side):
        values = []
        for seed in range(25):
            made, _, marks = worn(seed, side=side)
            x, y = marks.mean(0).astype(int)
            band = made.linear[y - 20 : y + 20].mean(2)
            values.append(band[:, x - 25 : x - 5].mean() / band[:, x + 5 : x + 25].mean())
        return np.mean(values)

    assert lean(-1.0) > 1.15 * lean(1.0)


def test_fingers_cover_what_they_hold():
    """A hand at the edge is counted as hiding the scene, and is lit by the room."""
    linear, cover = background(), np.zeros((240, 256), np.float32)
    corners = np.array([[60, 60], [180, 60], [180, 180], [60, 180]], np.float64)
    _held.fingers(linear, cover, corners, Dice(np.random.default_rng(1)), LIGHT, 12.0)
    assert 100 < (cover > 0.5).sum() < 20000
    assert np.abs(linear - background()).max(2)[cover == 0].max() < 1e-6


@pytest.mark.parametrize("species", ["", "paper_mask", "cut-out"])
def test_no_such_species_is_held_up(species):
    """Only prints and replays are held; the error names both, and where masks are made."""
    with pytest.raises(FrameError) as caught:
        held(species, 0)
    assert "print, replay" in caught.value.hint


@pytest.mark.parametrize("make", [present_print, present_replay])
@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ({"photo": np.zeros((9, 9, 3), np.float32)}, "photo"),
        ({"photo": np.zeros((9, 9), np.uint8)}, "photo"),
        ({"photo": np.zeros((0, 9, 3), np.uint8)}, "photo"),
        ({"scene": np.zeros((9, 9, 3), np.uint8)}, "light"),
        ({"scene": np.zeros((9, 0, 3), np.float32)}, "light"),
        ({"face": (10.0, 10.0, 10.0, 40.0)}, "box"),
        ({"face": (300.0, 10.0, 340.0, 40.0)}, "box"),
        ({"face": (math.nan, 10.0, 40.0, 40.0)}, "box"),
        ({"light": (-0.1, 1.0, 1.0)}, "light"),
        ({"light": (math.nan, 1.0, 1.0)}, "light"),
    ],
)
def test_what_no_attack_can_be_made_from_is_refused(make, bad, what):
    """Pictures of a wrong type or shape, boxes outside the photo, impossible light: an error with advice."""
    given = {"photo": photo(), "face": FACE, "scene": background(), "at": AT, "light": LIGHT, **bad}
    with pytest.raises(FrameError, match=what) as caught:
        make(
            given["photo"],
            given["face"],
            given["scene"],
            np.random.default_rng(0),
            at=given["at"],
            light=given["light"],
        )
    assert caught.value.hint


@pytest.mark.parametrize("place", [(0.0, 0.0, 0.0), (math.nan, 0.0, 9.0), (0.0, math.inf, 9.0), (0.0, 0.0, 1e6)])
def test_a_face_is_placed_with_a_size_somewhere(place):
    """A face without width, or wider than any frame, or nowhere, is refused."""
    with pytest.raises(FrameError, match="placed") as caught:
        Placement(*place)
    assert caught.value.hint


@pytest.mark.parametrize("points", [LANDMARKS[:4], np.full((5, 2), np.nan), np.zeros((5, 2))])
def test_a_mask_needs_five_landmarks(points):
    """Too few landmarks, unknown ones, and five in one place are refused."""
    rng = np.random.default_rng(0)
    for marks, other in ((points, LANDMARKS), (LANDMARKS, points)):
        with pytest.raises(FrameError, match="landmarks"):
            present_mask(photo(), FACE, marks, background(), other, rng, light=LIGHT)


def test_attacks_leave_room_for_the_sensor():
    """Attacks are light, not levels: brightest parts may be above white, most is below."""
    for species in HELD:
        levels = [linear_to_srgb(held(species, seed).linear).mean() for seed in range(10)]
        assert 30 < np.mean(levels) < 220
