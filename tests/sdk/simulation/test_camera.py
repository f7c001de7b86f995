"""The simulated camera: scripts as data, frames in every format, the truth beside them."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facegate.errors import FrameError, ScriptError
from facegate.simulation import Cue, Script, SimulatedCamera, Visitor, default_script, render
from facegate.simulation import _camera as camera_module
from facegate.simulation._formats import to_frame
from facegate.simulation._script import ATTACKS, LIGHTS, WEARS
from facegate_edge import Frame, PixelFormat, _kernels

A, B, C, D = 3_000_100, 3_000_101, 3_000_102, 3_000_103
SMALL = {"width": 160, "height": 120}
SHORT = {"approach": 0.4, "look": 0.4, "leave": 0.4}


def as_seen(frame: Frame) -> np.ndarray:
    """The frame's pixels (H, W, 3) as the runtime's kernels hand them to a model of the same size."""
    width, height = frame.size
    out = np.empty((height, width, 3), np.uint8)
    table = np.tile(np.arange(256, dtype=np.uint8), (3, 1))
    assert _kernels.Letterbox(_kernels.Target(out, table, "RGB")).run(frame) == 1.0
    return out.astype(int)


# --- formats -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", [PixelFormat.RGB, PixelFormat.BGR])
def test_packed_colors_lose_nothing(fmt):
    """RGB and BGR come back bit for bit."""
    pixels = np.random.default_rng(1).integers(0, 256, (34, 50, 3), np.uint8)
    np.testing.assert_array_equal(as_seen(to_frame(pixels, fmt)), pixels)


@pytest.mark.parametrize("fmt", [PixelFormat.NV12, PixelFormat.NV21, PixelFormat.YUYV])
def test_every_color_survives_video_formats(fmt):
    """Flat patches of colors over the whole cube come back within 2 levels: what 8 bits of Y, U and V can hold."""
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    colors = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 3)
    pixels = np.repeat(np.repeat(colors.reshape(27, 27, 3), 6, 0), 6, 1)
    back = as_seen(to_frame(np.ascontiguousarray(pixels), fmt))
    inner = [back[2 + y :: 6, 2 + x :: 6] for y in (0, 1) for x in (0, 1)]  # no pixel whose chroma a neighbour shares
    for found in inner:
        assert np.abs(found - colors.reshape(27, 27, 3)).max() <= 2


@pytest.mark.parametrize("fmt", [PixelFormat.NV12, PixelFormat.NV21, PixelFormat.YUYV])
def test_luma_is_sharp_and_chroma_where_it_belongs(fmt):
    """A smooth picture comes back within 3 levels: chroma that sat half a pixel off would not be that close."""
    y, x = np.mgrid[0:96, 0:128]
    pixels = np.stack((x * 2, 255 - x - y, 60 + y * 2), -1).clip(0, 255).astype(np.uint8)
    error = np.abs(as_seen(to_frame(pixels, fmt)) - pixels)[2:-2, 2:-2]
    assert error.max() <= 3
    edge = np.zeros((16, 16, 3), np.uint8)
    edge[:, 7:] = 255
    assert np.abs(as_seen(to_frame(edge, fmt)) - edge).max() <= 1


def test_grey_is_the_luma():
    """A grey frame shows what the eye takes for brightness; grey pixels come back as they are."""
    pixels = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, 2)
    np.testing.assert_array_equal(as_seen(to_frame(pixels, PixelFormat.GRAY)), pixels)
    green, blue = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.uint8)
    green[..., 1], blue[..., 2] = 255, 255
    assert to_frame(green, PixelFormat.GRAY).data.min() > to_frame(blue, PixelFormat.GRAY).data.max()


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12))
def test_video_formats_have_the_layout_that_frames_demand(seed, half_height, half_width):
    """Whatever the even size, the frame is valid and as large as the picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (2 * half_height, 2 * half_width, 3), np.uint8)
    for fmt in PixelFormat:
        assert to_frame(pixels, fmt).size == (2 * half_width, 2 * half_height)


@pytest.mark.parametrize(
    ("fmt", "size"), [(PixelFormat.NV12, (160, 121)), (PixelFormat.NV21, (161, 120)), (PixelFormat.YUYV, (161, 120))]
)
def test_odd_sizes_have_no_video_format(fmt, size):
    """They are refused when the camera is opened, not with the first frame."""
    with pytest.raises(FrameError, match=fmt.name) as caught:
        SimulatedCamera(Script((Cue(),)), width=size[0], height=size[1], pixel_format=fmt)
    assert caught.value.hint


# --- playing -------------------------------------------------------------------------------------------------------


def play(*cues, fps=5.0, **options):
    """All shots of the cues, small and fast."""
    with SimulatedCamera(Script(cues, background=7), fps=fps, **(SMALL | options)) as camera:
        return list(camera)


def test_a_person_walks_up_looks_and_leaves():
    """The face grows while they come, is still and whole while they look, and is gone when they have left."""
    shots = play(Cue((Visitor(A),), approach=1, look=1, leave=1), fps=8)
    assert [s.phase for s in shots] == ["approach"] * 8 + ["look"] * 8 + ["leave"] * 8
    tall = [float(s.faces[0].iod) for s in shots[:16]]
    assert tall[:8] == sorted(tall[:8])
    assert tall[7] > 2 * tall[0]
    assert max(tall[8:]) / min(tall[8:]) < 1.02
    for shot in shots[8:16]:
        (face,) = shot.faces
        assert face.identity.seed == A
        assert face.visible > 0.95
        assert 0 < face.box[0] < face.box[2] < 160
        assert 0 < face.box[1] < face.box[3] < 120
        assert abs(face.person.yaw) < 20
    assert not shots[-1].faces or shots[-1].faces[0].visible < 0.5


def test_nobody_is_nobody():
    """An empty room shows no face, and is no flat picture either."""
    shots = play(Cue(look=0.6))
    assert {s.phase for s in shots} == {"empty"}
    assert all(not s.faces for s in shots)
    assert shots[0].picture.pixels.std() > 5


def test_several_people_stand_side_by_side():
    """Two and three people look at once; each face is whole, and who is who stands beside them."""
    for people in ((A, B), (A, B, C)):
        shot = play(Cue(tuple(Visitor(p) for p in people), approach=0, look=1, leave=0), width=320, height=240)[0]
        assert sorted(face.identity.seed for face in shot.faces) == list(people)
        assert min(face.visible for face in shot.faces) > 0.9


def test_the_room_stays_while_people_come_and_go():
    """The camera does not move: what nobody covers is the same room in every cue."""
    empty, visit = play(Cue(look=0.2, approach=0, leave=0), Cue((Visitor(A),), approach=0, look=0.2, leave=0))
    ours, theirs = (s.picture.pixels[:40, :30].astype(float) for s in (empty, visit))
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("light", LIGHTS)
def test_lights_differ_as_they_are_called(light):
    """In the dark it is darker, against the light the face is darker than what is behind it."""

    def shot(light):
        return play(Cue((Visitor(A),), light, approach=0, look=0.2, leave=0))[0]

    def levels(shot):
        x1, y1, x2, y2 = (int(v) for v in shot.faces[0].box)
        pixels = shot.picture.pixels
        return float(pixels[y1:y2, x1:x2].mean()), float(pixels[: pixels.shape[0] // 3, :30].mean())

    face, room = levels(shot(light))
    even_face, even_room = levels(shot("even"))
    if light == "dark":
        assert face < 0.8 * even_face
    elif light == "back":
        assert face / room < 0.8 * even_face / even_room


@pytest.mark.parametrize("thing", WEARS)
def test_what_is_worn_is_seen(thing):
    """Each thing changes the picture, and the truth says that it is worn."""
    bare = play(Cue((Visitor(A),), approach=0, look=0.2, leave=0))[0]
    worn = play(Cue((Visitor(A, wears=(thing,)),), approach=0, look=0.2, leave=0))[0]
    assert np.abs(bare.picture.pixels.astype(int) - worn.picture.pixels).max() > 30
    look = worn.faces[0].person.look
    shown = {"glasses": look.glasses == "clear", "sunglasses": look.glasses == "sun", "mask": look.mask}
    assert shown.get(thing, look.covering == thing)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_known_as_one(attack):
    """The truth names the species and whose face is shown, and the picture is not that of the live person."""
    live = play(Cue((Visitor(A),), approach=0, look=0.2, leave=0))[0]
    shot = play(Cue((Visitor(A, attack),), approach=0, look=0.2, leave=0))[0]
    (face,) = shot.faces
    assert (face.attack, face.identity.seed) == (attack, A)
    assert live.faces[0].attack is None
    assert np.abs(live.picture.pixels.astype(int) - shot.picture.pixels).mean() > 1


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_stays_the_same_while_it_is_shown(attack):
    """The sheet, the screen or the mask is one thing from the first frame to the last, and another in another visit."""
    still = {"approach": 0, "look": 0.6, "leave": 0}
    first, second, third = play(Cue((Visitor(A, attack),), **still))
    other = play(Cue(look=0.2), Cue((Visitor(A, attack),), **still))[-2]

    def difference(one, two):
        return float(np.abs(one.picture.pixels.astype(int) - two.picture.pixels).mean())

    assert max(difference(first, second), difference(second, third)) < 0.5 * difference(second, other)


@pytest.mark.parametrize("fmt", list(PixelFormat))
def test_frames_come_in_the_format_that_was_asked_for(fmt):
    """Whatever the format, the runtime sees the picture that the truth belongs to."""
    shot = play(Cue((Visitor(A),), **SHORT), pixel_format=fmt)[3]
    assert (shot.frame.format, shot.frame.size) == (fmt, (160, 120))
    if fmt is not PixelFormat.GRAY:
        assert np.abs(as_seen(shot.frame) - shot.picture.pixels).mean() < 2


def test_the_same_scene_is_the_same_frames():
    """Script, rate and seed decide every pixel; another seed is another day."""
    cues = (Cue((Visitor(A),), **SHORT),)
    first, second, other = play(*cues), play(*cues), play(*cues, seed=1)
    for ours, theirs in zip(first, second, strict=True):
        np.testing.assert_array_equal(ours.picture.pixels, theirs.picture.pixels)
    assert any((a.picture.pixels != b.picture.pixels).any() for a, b in zip(first, other, strict=True))


def test_a_shot_that_nobody_looks_at_is_not_rendered(monkeypatch):
    """Shots are rendered on demand and once, so a consumer pays for what it uses."""
    rendered = []
    monkeypatch.setattr(camera_module, "render", lambda *a, **k: rendered.append(1) or render(*a, **k))
    shots = play(Cue((Visitor(A),), **SHORT))
    assert rendered == []
    assert shots[2].frame is shots[2].frame
    assert shots[2].faces
    assert len(rendered) == 1


def test_the_room_is_rendered_once_for_each_light(monkeypatch):
    """The camera does not move, so a frame costs the people in it; the picture is the one of a fresh room."""
    cues = (Cue((Visitor(A),), **SHORT), Cue((Visitor(B),), **SHORT), Cue((Visitor(A),), "dark", **SHORT))
    backdrop, rooms = camera_module.backdrop, []
    monkeypatch.setattr(camera_module, "backdrop", lambda scene: rooms.append(1) or backdrop(scene))
    shots = play(*cues)
    for shot in shots:
        np.testing.assert_array_equal(shot.picture.pixels, render(shot._scene).pixels)
    assert len(rooms) == 2


def test_every_cue_is_played_in_its_time():
    """Frames are evenly spaced, numbered without gaps, and each belongs to the cue of its moment."""
    shots = play(Cue(look=0.5), Cue((Visitor(A),), approach=0.1, look=0.1, leave=0.1), Cue(look=0.5), fps=10)
    assert [s.number for s in shots] == list(range(len(shots)))
    ends = (2.5, 2.8, 5.3)
    for shot in shots:
        assert shot.time_s == pytest.approx(shot.number / 10)
        assert shot.cue_number == next(n for n, end in enumerate(ends) if shot.time_s < end)


def test_a_phase_may_last_no_time():
    """Somebody who only leaves, only comes or only looks is played as that."""
    for phase in ("approach", "look", "leave"):
        times = dict.fromkeys(("approach", "look", "leave"), 0.0) | {phase: 0.4}
        assert {s.phase for s in play(Cue((Visitor(A),), **times))} == {phase}


def test_a_closed_camera_gives_no_more_frames():
    """Closing ends the scene, twice does no harm, and what was given stays good."""
    with SimulatedCamera(Script((Cue(),)), **SMALL) as camera:
        shot = next(camera)
        camera.close()
        assert list(camera) == []
    assert shot.frame.size == (160, 120)


def test_reprs_show_no_picture():
    """What ends up in a log names sizes and times only."""
    with SimulatedCamera(Script((Cue((Visitor(A),)),)), **SMALL) as camera:
        assert repr(camera) == "SimulatedCamera(160x120 RGB, 15 fps)"
        assert repr(next(camera)) == "Shot(0, 0.00 s, approach)"


# --- real time -----------------------------------------------------------------------------------------------------


@pytest.fixture
def watch(monkeypatch):
    """A clock in the test's hand: sleeping moves it, and nothing else does unless the test says so."""

    class Watch:
        def __init__(self):
            self.now, self.slept = 100.0, []

        def sleep(self, seconds):
            self.slept.append(seconds)
            self.now += seconds

    made = Watch()
    monkeypatch.setattr(camera_module, "_now", lambda: made.now)
    monkeypatch.setattr(camera_module, "_sleep", made.sleep)
    return made


def test_in_real_time_a_fast_consumer_waits_for_every_frame(watch):
    """Each frame is given when its time has come, none is dropped."""
    with SimulatedCamera(Script((Cue(look=1, approach=0, leave=0),)), fps=10, real_time=True, **SMALL) as camera:
        given = [(shot.number, round(watch.now - 100, 6)) for shot in camera]
    assert given == [(n, n / 10) for n in range(10)]
    assert camera.dropped == 0
    assert watch.slept == [pytest.approx(0.1)] * 9


def test_in_real_time_a_slow_consumer_misses_frames(watch):
    """Who takes 0.25 s for a frame at 10 fps gets the newest each time, and is told what it missed."""
    numbers = []
    with SimulatedCamera(Script((Cue(look=1, approach=0, leave=0),)), fps=10, real_time=True, **SMALL) as camera:
        for shot in camera:
            numbers.append(shot.number)
            watch.now += 0.25
    assert numbers == [0, 2, 5, 7]
    assert camera.dropped == 10 - len(numbers)


def test_a_scene_that_is_over_drops_no_more(watch):
    """Frames that nobody took before the end count once, however often the camera is asked after it."""
    with SimulatedCamera(Script((Cue(look=1, approach=0, leave=0),)), fps=10, real_time=True, **SMALL) as camera:
        assert next(camera).number == 0
        watch.now += 60
        assert [next(camera, None) for _ in range(3)] == [None] * 3
        assert camera.dropped == 9


def test_a_closed_camera_neither_waits_nor_drops(watch):
    """Who asks a closed camera in real time is answered at once, and missed nothing."""
    camera = SimulatedCamera(Script((Cue(look=1, approach=0, leave=0),)), fps=10, real_time=True, **SMALL)
    next(camera)
    camera.close()
    assert next(camera, None) is None
    watch.now += 0.5
    assert next(camera, None) is None
    assert (watch.slept, camera.dropped) == ([], 0)


def test_dropped_frames_change_no_others(watch):
    """A frame is the same whether those before it were taken or missed."""
    script = Script((Cue((Visitor(A),), **SHORT),))
    every = {s.number: s for s in SimulatedCamera(script, fps=10, **SMALL)}
    for shot in SimulatedCamera(script, fps=10, real_time=True, **SMALL):
        watch.now += 0.35
        np.testing.assert_array_equal(shot.picture.pixels, every[shot.number].picture.pixels)


def test_as_fast_as_possible_never_waits(watch):
    """Without real time the clock is not even asked."""
    watch.now = float("nan")
    assert len(list(SimulatedCamera(Script((Cue(look=1),)), **SMALL))) == 45
    assert watch.slept == []


@pytest.mark.parametrize(
    "options",
    [
        {"width": 0},
        {"height": 5000},
        {"width": 160.0},
        {"fps": 0},
        {"fps": float("nan")},
        {"fps": 1e6},
        {"fps": "fast"},
        {"pixel_format": "NV12"},
        {"seed": -1},
        {"seed": 1.5},
        {"seed": "1"},
    ],
)
def test_impossible_cameras_are_refused(options):
    """Sizes, rates, formats and seeds that no camera has are told when it is opened."""
    with pytest.raises(FrameError) as caught:
        SimulatedCamera(Script((Cue(),)), **options)
    assert caught.value.hint


# --- scripts -------------------------------------------------------------------------------------------------------


def test_the_default_script_has_every_kind_of_visit():
    """Alone, several, unknown, spoofs, poor light, masked, nobody: all that a terminal must cope with."""
    script = default_script((A, B, C))
    shown = [visitor for cue in script.cues for visitor in cue.people]
    assert {len(cue.people) for cue in script.cues} == {0, 1, 2, 3}
    assert {cue.light for cue in script.cues} == set(LIGHTS)
    assert {visitor.attack for visitor in shown} == {"", *ATTACKS}
    assert {"mask", "sunglasses", "glasses"} <= {thing for visitor in shown for thing in visitor.wears}
    assert {A, B, C} < {visitor.identity for visitor in shown}
    assert 25 <= len(script.cues) <= 40
    assert all(cue.note for cue in script.cues)


@pytest.mark.parametrize("enrolled", [(A, B), (A, A, B), (A, B, 3_000_900)])
def test_the_default_script_wants_three_people_and_none_of_the_strangers(enrolled):
    """A stranger who is enrolled would make every expectation wrong."""
    with pytest.raises(ScriptError):
        default_script(enrolled)


def test_scripts_survive_their_file():
    """What is written is read back equal; defaults may be left out."""
    script = default_script((A, B, C))
    assert Script.from_json(script.to_json()) == script
    short = Script.from_json('{"format": 1, "cues": [{}, {"people": [{"identity": 5, "wears": ["mask"]}]}]}')
    assert short == Script((Cue(), Cue((Visitor(5, wears=("mask",)),))))


def document(**changes):
    """A script as JSON with one change at `where`."""
    made = {"format": 1, "name": "x", "background": 1, "cues": [{"people": [{"identity": 1}]}]}
    return json.dumps(made | changes)


def cue(**changes):
    """A script with one cue."""
    return document(cues=[changes])


def visitor(**changes):
    """A script with one visitor."""
    return cue(people=[{"identity": 1} | changes])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "the script: this must be an object"),
        ('{"cues": [{}]}', "format: the field is missing"),
        ('{"format": 1}', "cues: the field is missing"),
        ('{"format": 1, "format": 1}', "format: the field stands twice"),
        (document(format=2), "format: this must be 1"),
        (document(format=True), "format: this must be 1"),
        (document(format=1.0), "format: this must be 1"),
        (document(background=-1), "background: this must be a seed"),
        (document(name="\x1b[31m"), "name: this must be printable"),
        (document(scenes=[]), "scenes: there is no such field"),
        (document(cues=[]), "cues: this must be a list of 1"),
        (document(cues={}), "cues: this must be a list"),
        (document(cues=[{}] * 1001), "cues: this must be a list"),
        (document(cues=[{}, 3]), r"cues\[1\]: this must be an object"),
        (cue(dance=1), r"cues\[0\]\.dance: there is no such field"),
        (cue(light="disco"), r"cues\[0\]\.light: this must be one of even"),
        (cue(approach=-1), r"cues\[0\]\.approach: this must be seconds"),
        (cue(look=True), r"cues\[0\]\.look: this must be seconds"),
        (cue(look="1"), r"cues\[0\]\.look: this must be seconds"),
        (cue(look=float("inf")), r"cues\[0\]\.look: this must be seconds"),
        (cue(approach=0, look=0, leave=0), r"cues\[0\]\.look: this must be more than nothing"),
        (cue(note="x" * 201), r"cues\[0\]\.note: this must be printable"),
        (cue(people=[{"identity": n} for n in range(4)]), r"cues\[0\]\.people: this must be a list of up to 3"),
        (cue(people=[{"identity": 1}] * 2), r"cues\[0\]\.people: this must be a list of different"),
        (cue(people=[{}]), r"cues\[0\]\.people\[0\]\.identity: the field is missing"),
        (visitor(identity=-1), r"cues\[0\]\.people\[0\]\.identity: this must be a seed"),
        (visitor(identity=1.0), r"identity: this must be a seed"),
        (visitor(identity=1 << 60), r"identity: this must be a seed"),
        (visitor(attack="bribe"), r"cues\[0\]\.people\[0\]\.attack: this must be one of print, replay"),
        (visitor(attack=["print"]), r"attack: this must be one of"),
        (visitor(wears="mask"), r"wears: this must be a list of"),
        (visitor(wears=["crown"]), r"wears: this must be a list of"),
        (visitor(wears=[[]]), r"wears: this must be a list of"),
        (visitor(wears=["mask", "mask"]), r"wears: this must be a list of"),
        (visitor(wears=["glasses", "sunglasses"]), r"wears: this must be only one of"),
        (visitor(wears=["cap", "scarf"]), r"wears: this must be only one of"),
    ],
)
def test_a_script_that_cannot_be_played_is_refused_with_its_place(text, problem):
    """The language is closed: every refusal names the field and has advice."""
    with pytest.raises(ScriptError, match=problem) as caught:
        Script.from_json(text)
    assert caught.value.hint


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
)


@given(JSON)
def test_arbitrary_documents_are_refused_or_played(value):
    """Whatever JSON stands there, it is a script or a ScriptError."""
    for text in (json.dumps(value), document(cues=[{"people": value}]), document(cues=value)):
        try:
            script = Script.from_json(text)
        except ScriptError:
            continue
        assert Script.from_json(script.to_json()) == script


def test_scripts_are_values():
    """Scripts do not change while they are played."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Script((Cue(),)).name = "x"
