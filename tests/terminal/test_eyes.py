"""A frame is searched once, for presence and for the trial; and never taken for another one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from facegate import Frame
from facegate_terminal._eyes import Eyes

from .conftest import seen


@pytest.fixture
def pipeline():
    """A pipeline that remembers which frames it searched, and finds another face each time."""
    frames = []

    def detect(frame):
        frames.append(frame)
        return (seen(100 + len(frames)),)

    return SimpleNamespace(
        space="s",
        template_length=4,
        has_liveness=True,
        detect=detect,
        frames=frames,
        close=lambda: frames.append("closed"),
    )


@pytest.fixture
def frame():
    """A frame as cameras give it: one object, again and again."""
    return Frame(np.zeros((48, 64, 3), np.uint8))


def test_a_frame_is_searched_once(pipeline, frame):
    """What the gate asks for was found already: the very same faces, so that what was measured of one is its own."""
    eyes = Eyes(pipeline)
    faces = eyes.look(frame)
    assert eyes.detect(frame) is faces
    assert eyes.detect(frame)[0] is faces[0]
    assert len(pipeline.frames) == 1


def test_a_frame_whose_memory_was_used_again_is_another_one(pipeline, frame):
    """The same object with another picture in it: nothing of the last one is believed."""
    eyes = Eyes(pipeline)
    first = eyes.look(frame)
    eyes.forget()
    assert eyes.detect(frame) is not first
    second = eyes.look(frame)
    assert second[0] is not first[0]
    assert eyes.look(frame)[0] is not second[0]
    assert len(pipeline.frames) == 4


def test_another_frame_is_searched(pipeline, frame):
    """An equal picture is not the same one."""
    eyes = Eyes(pipeline)
    eyes.look(frame)
    eyes.detect(Frame(frame.data))
    assert len(pipeline.frames) == 2


def test_a_search_that_fails_leaves_no_faces_behind(pipeline, frame):
    """Those of the frame before are not those of the frame on which the models failed."""
    eyes = Eyes(pipeline)
    faces = eyes.look(frame)

    def fails(_):
        raise RuntimeError

    pipeline.detect = fails
    for ask in (eyes.look, eyes.detect):
        with pytest.raises(RuntimeError):
            ask(frame)
    assert eyes._seen is None
    eyes.close()
    assert pipeline.frames[-1] == "closed"
    assert len(faces) == 1
