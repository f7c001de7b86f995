"""A picture and the truth about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from facegate.errors import FrameError
from facegate.simulation import Identity, Light, Look, Person, Scene, Sensor, draw_portrait, draw_scene, render
from facegate_edge import Frame

SIZE = 200
STILL = Look()


def _person(seed: int = 3, **changes: object) -> Person:
    return replace(Person(Identity.draw(seed), STILL, x=100, y=90, scale=7.0), **changes)  # type: ignore[arg-type]


def _scene(*people: Person, **changes: object) -> Scene:
    return replace(Scene(SIZE, SIZE, people, background=5), **changes)  # type: ignore[arg-type]


def test_a_scene_is_one_picture() -> None:
    """The same scene gives the same pixels and the same truth."""
    scene = draw_scene(12, faces=2)
    one, other = render(scene), render(scene)
    assert np.array_equal(one.pixels, other.pixels)
    assert [f.box.tolist() for f in one.faces] == [f.box.tolist() for f in other.faces]
    assert not np.array_equal(one.pixels, render(draw_scene(13, faces=2)).pixels)


def test_the_picture_is_a_frame() -> None:
    """Pixels are contiguous RGB of 8 bits, and the runtime takes them."""
    picture = render(_scene(_person()))
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape == (SIZE, SIZE, 3)
    assert picture.pixels.flags.c_contiguous
    assert isinstance(picture.frame, Frame)


def test_the_eyes_are_where_the_person_stands() -> None:
    """The midpoint of the eyes is at (x, y), and they are as far apart as scale and identity say."""
    (face,) = render(_scene(_person())).faces
    left, right = face.landmarks[:2]
    assert np.allclose((left + right) / 2, (100, 90), atol=0.6)
    assert abs(np.linalg.norm(right - left) - face.iod) < 0.06 * face.iod
    assert face.iod == pytest.approx(7.0 * face.identity.eye_distance)


@pytest.mark.parametrize("seed", range(5))
def test_landmarks_are_on_what_they_name(seed: int) -> None:
    """Open eyes have a dark pupil at their landmark: the darkest spot near it is less than a tenth of `iod` away."""
    identity = replace(Identity.draw(seed, monk=2), moles=(), scar=None, iris=(0.03, 0.02, 0.01), eye_open=0.8)
    identity = replace(identity, hair_style="short", hair_line=7.0, brow_height=2.3)
    picture = render(_scene(Person(identity, STILL, x=100, y=90, scale=7.0)))
    (face,) = picture.faces
    gray = picture.pixels.astype(float).mean(-1)
    for x, y in face.landmarks[:2]:
        left, top = int(x) - 6, int(y) - 6
        part = gray[top : top + 13, left : left + 13]
        rows, columns = np.nonzero(part <= np.quantile(part, 0.12))
        found = np.array([columns.mean() + left + 0.5, rows.mean() + top + 0.5])
        assert np.linalg.norm(found - (x, y)) < 0.1 * face.iod


def test_left_is_left_as_seen_and_up_is_up() -> None:
    """Landmarks are in the order of the runtime's: eyes above the nose above the mouth, left before right."""
    (face,) = render(_scene(_person())).faces
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert left_eye[1] < nose[1] < left_mouth[1]


@pytest.mark.parametrize(
    ("turn", "axis", "sign"),
    [({"yaw": 35}, 0, 1), ({"yaw": -35}, 0, -1), ({"pitch": 20}, 1, -1), ({"pitch": -20}, 1, 1)],
)
def test_the_nose_points_where_the_head_turns(turn: dict[str, float], axis: int, sign: int) -> None:
    """Yaw turns toward the image's right, pitch up."""
    (still,) = render(_scene(_person())).faces
    (turned,) = render(_scene(_person(**turn))).faces
    center = [f.landmarks[[0, 1, 3, 4]].mean(0)[axis] for f in (still, turned)]
    moved = (turned.landmarks[2, axis] - center[1]) - (still.landmarks[2, axis] - center[0])
    assert sign * moved > 0.1 * still.iod


def test_roll_turns_clockwise() -> None:
    """A positive roll lowers the eye at the image's right."""
    (face,) = render(_scene(_person(roll=15))).faces
    left, right = face.landmarks[:2]
    assert np.degrees(np.arctan2(*(right - left)[::-1])) == pytest.approx(15, abs=3)


def test_the_box_holds_the_landmarks() -> None:
    """In every pose, box and landmarks agree."""
    for seed in range(30):
        (face,) = render(draw_portrait(Identity.draw(seed), np.random.default_rng(seed), size=96)).faces
        assert (face.landmarks >= face.box[:2] - 1).all()
        assert (face.landmarks <= face.box[2:] + 1).all()


def test_what_shows_is_measured() -> None:
    """A bare face shows nearly whole; a mask, sunglasses, the edge of the picture and another person hide it."""
    bare = render(_scene(_person())).faces[0].visible
    assert bare > 0.85
    masked = render(_scene(_person(look=Look(mask=True)))).faces[0].visible
    shaded = render(_scene(_person(look=Look(glasses="sun")))).faces[0].visible
    cut = render(_scene(_person(x=0))).faces[0].visible
    assert masked < 0.7 * bare
    assert shaded < 0.9 * bare
    assert 0.3 * bare < cut < 0.7 * bare
    near = _person(5, x=115, y=100, scale=9.0)
    behind, before = render(_scene(_person(scale=5.0), near)).faces
    assert behind.visible < 0.3
    assert before.visible > 0.85


def test_the_back_of_a_head_is_no_face() -> None:
    """Whoever looks away is in the picture, and no face is."""
    away = render(_scene(_person(yaw=180)))
    assert away.faces == ()
    assert not np.array_equal(away.pixels, render(_scene()).pixels)


def test_nobody_and_somebody_outside() -> None:
    """A scene without people, and one whose person is beyond the edge, have no face."""
    assert render(_scene()).faces == ()
    assert render(_scene(_person(x=2000))).faces == ()


def test_the_lamp_lights_the_side_that_it_shines_on() -> None:
    """Light from the image's right makes the right half of the face the brighter one."""
    dim = (0.05, 0.05, 0.05)
    for side, direction in ((1, (0.9, 0.1, 0.43)), (-1, (-0.9, 0.1, 0.43))):
        light = Light(direction=direction, color=(1, 1, 1), ambient=dim, ground=dim)
        identity = replace(Identity.draw(4, monk=3), hair_style="short", asymmetry=0.0)
        pixels = render(_scene(_person(identity=identity), light=light)).pixels.astype(float)
        left, right = pixels[85:125, 72:95].mean(), pixels[85:125, 105:128].mean()
        assert side * (right - left) > 10


def test_people_look_more_like_themselves_than_like_others() -> None:
    """Of two front views under one light, those of one person differ less than those of two people."""
    views = {
        (seed, smile): render(_scene(_person(seed, look=Look(smile=smile)))).pixels[40:160, 50:150].astype(float)
        for seed in range(6)
        for smile in (0.0, 0.3)
    }
    same = [np.abs(views[seed, 0.0] - views[seed, 0.3]).mean() for seed in range(6)]
    other = [np.abs(views[a, 0.0] - views[b, 0.3]).mean() for a in range(6) for b in range(6) if a != b]
    assert max(same) < min(other)


def test_drawn_scenes_cover_what_is_promised() -> None:
    """Scenes have 0..5 faces and small ones; poses reach yaw 45, pitch 25, roll 20 degrees and no farther."""
    scenes = [draw_scene(seed) for seed in range(400)]
    people = [p for scene in scenes for p in scene.people if abs(p.yaw) <= 90]
    assert {len(scene.people) for scene in scenes} == {0, 1, 2, 3, 4, 5}
    for name, limit in (("yaw", 45), ("pitch", 25), ("roll", 20)):
        turns = np.array([getattr(p, name) for p in people])
        assert np.abs(turns).max() <= limit
        assert turns.max() > 0.9 * limit
        assert turns.min() < -0.9 * limit
    assert min(p.scale for p in people) < 2
    assert any(p.look.mask for p in people)
    assert any(p.look.hand for p in people)
    assert any(p.look.glasses == "sun" for p in people)
    assert any(scene.light.back for scene in scenes)
    assert {p.look.covering for p in people} == {"none", "cap", "beanie", "scarf"}


def test_a_fixed_number_of_faces_and_a_range_of_people() -> None:
    """A caller says how many faces there are and from which seeds their people come."""
    for seed in range(20):
        scene = draw_scene(seed, faces=3, identities=(500, 510), width=480, height=360)
        assert len(scene.people) == 3
        assert all(500 <= p.identity.seed < 510 for p in scene.people)
    assert all(abs(p.yaw) > 90 for seed in range(50) for p in draw_scene(seed, faces=0).people)


def test_a_poor_camera_leaves_the_truth_alone() -> None:
    """Noise, blur and JPEG change pixels, not where the face is."""
    scene = _scene(_person())
    poor = replace(scene, sensor=Sensor.draw(np.random.default_rng(1)))
    assert np.array_equal(render(scene).faces[0].landmarks, render(poor).faces[0].landmarks)
    assert not np.array_equal(render(scene).pixels, render(poor).pixels)


@pytest.mark.parametrize("species", ["print", "replay", "paper_mask"])
def test_an_attack_shows_somebody_else_s_face(species: str) -> None:
    """The truth names the species, whose face is shown, and where: box and landmarks agree, near where it was put."""
    for seed in range(8):
        person = _person(seed, attack=species, scale=5.0, yaw=20, roll=10)
        picture = render(_scene(person, seed=seed))
        (face,) = picture.faces
        assert face.attack == species
        assert face.identity == person.identity
        assert (face.landmarks >= face.box[:2] - 3).all()
        assert (face.landmarks <= face.box[2:] + 3).all()
        assert np.linalg.norm(face.landmarks[:2].mean(0) - (100, 90)) < face.iod
        assert face.visible > 0.4
    live = render(_scene(replace(person, attack=""), seed=seed)).faces[0]
    assert live.attack is None


def test_attacks_are_drawn_where_they_are_asked_for() -> None:
    """Without being asked for, nobody in a scene is an attack; asked for, every species comes."""
    assert not any(p.attack for seed in range(100) for p in draw_scene(seed).people)
    drawn = {p.attack for seed in range(100) for p in draw_scene(seed, attacks=True).people}
    assert drawn == {"", "print", "replay", "paper_mask"}


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "changes",
    [
        *(
            {name: value}
            for name in ("x", "y", "scale", "yaw", "pitch", "roll", "distance")
            for value in (NAN, INF, 1e30)
        ),
        {"scale": 0.0},
        {"scale": -1.0},
        {"distance": 5.0},
        {"pitch": 91.0},
        {"attack": "hologram"},
    ],
    ids=str,
)
def test_a_person_who_cannot_be_rendered_is_refused(changes: dict[str, float]) -> None:
    """What is no number, or beyond what can be drawn, is told when the person is made."""
    with pytest.raises(FrameError) as caught:
        _person(**changes)
    assert caught.value.hint


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 0},
        {"height": -4},
        {"width": 64.5},
        {"height": 1 << 20},
        {"seed": -1},
        {"background": -1},
        {"seed": 1.5},
    ],
    ids=str,
)
def test_a_scene_that_cannot_be_rendered_is_refused(changes: dict[str, int]) -> None:
    """Sides are whole pixels, seeds whole numbers."""
    with pytest.raises(FrameError):
        _scene(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"smile": 2.0},
        {"blink": -0.1},
        {"mouth_open": NAN},
        {"gaze": (0.0, 3.0)},
        {"glasses": "pink"},
        {"covering": "crown"},
        {"style": -1},
    ],
    ids=str,
)
def test_a_look_that_nobody_has_is_refused(changes: dict[str, Any]) -> None:
    """Expressions have ranges, and what is worn is from a list."""
    with pytest.raises(FrameError):
        Look(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"color": (NAN, 1.0, 1.0)},
        {"ambient": (-1.0, 0.0, 0.0)},
        {"direction": (0.0, 0.0, 0.0)},
        {"back": 2.0},
        {"direction": (NAN, 0, 1)},
    ],
    ids=str,
)
def test_a_light_that_does_not_exist_is_refused(changes: dict[str, Any]) -> None:
    """Light is never negative, and comes from somewhere."""
    with pytest.raises(FrameError):
        Light(**changes)


@pytest.mark.parametrize("arguments", [{"seed": -1}, {"seed": 1, "faces": -1}, {"seed": 1, "width": 0}], ids=str)
def test_a_scene_cannot_be_drawn_from_nonsense(arguments: dict[str, int]) -> None:
    """Negative seeds and numbers of faces are told."""
    with pytest.raises(FrameError):
        draw_scene(**arguments)


@pytest.mark.parametrize("species", ["print", "replay", "paper_mask"])
def test_nobody_shows_a_face_that_is_turned_away_or_outside(species: str) -> None:
    """An attack by somebody who looks away, or beyond the edge, puts no face into the picture."""
    for changes in ({"yaw": 175.0}, {"x": -900.0}, {"y": 5000.0}):
        assert render(_scene(_person(attack=species, scale=5.0, **changes))).faces == ()


def test_a_body_without_its_head_is_no_face() -> None:
    """Somebody whose head is above the picture has no face in it."""
    assert render(_scene(_person(y=-150.0))).faces == ()
