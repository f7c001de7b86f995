"""Which cells of the detector's map answer for which face, and what they should say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from facegate_train._nets import STRIDES

if TYPE_CHECKING:
    from torch import Tensor

STRIDE = STRIDES[0]  # pixels of a cell of the picture that the net is given; see `Detector`
LEAST, MOST = 14.0, 84.0  # faces that it answers for, by the root of their area, in pixels of that picture
RADIUS = 1.1  # strides from the face's middle within which cells answer for it,
SHARE = 0.2  # or this share of its size if that is more
_ON = 0.45  # of the face's sides, from its middle: a cell there is on the face
_LARGER = 1.5  # times the largest: such a face is no background either
_IGNORE = 0.32  # of the face's sides, from its middle: cells there are neither face nor background


@dataclass(frozen=True, slots=True)
class Targets:
    """What each cell should say; P cells, N pictures.

    Attributes:
        positive: bool (N, P).
        ignored: bool (N, P), cells whose score is not judged.
        face: int64 (N, P), the number of the face that a positive cell answers for.
        within: bool (N, P), cells on a visible face that is not too small, but near its rim: they too say where its
            landmarks are, though nobody asks them afterwards. A net learns to read a face from all of it.
        whose: int64 (N, P), the face that such a cell is on.
        points: float32 (P, 2), the cells' corners in pixels.
    """

    positive: Tensor
    ignored: Tensor
    face: Tensor
    within: Tensor
    whose: Tensor
    points: Tensor


def cells(height: int, width: int) -> Tensor:
    """The corners (P, 2) of all cells of a picture, row by row."""
    y, x = torch.meshgrid(torch.arange(0, height, STRIDE), torch.arange(0, width, STRIDE), indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2).float()


def assign(boxes: Tensor, hidden: Tensor, height: int, width: int) -> Targets:
    """Assign faces to cells by size and place.

    A cell answers for a face of `LEAST` to `MOST` pixels whose middle is within `RADIUS` strides or `SHARE` of its
    size; of several, for the smallest. The nearest cell always answers. Other cells about a face's middle are ignored,
    and all of a face that is hardly visible or too small. Of a face that is much too large, parts are background.

    Args:
        boxes: (N, F, 4) x1 y1 x2 y2, NaN where there is no face.
        hidden: bool (N, F), faces that are neither to be found nor to count as background.
        height: of the pictures.
        width: likewise.
    """
    points = cells(height, width)
    real = torch.isfinite(boxes).all(-1)
    filled = torch.where(real[..., None], boxes, torch.full_like(boxes, -1e4))
    middle = (filled[..., :2] + filled[..., 2:]) / 2
    sides = (filled[..., 2:] - filled[..., :2]).clamp(min=1e-3)
    size = sides.prod(-1).sqrt()
    real = real & (size <= _LARGER * MOST)
    hidden = hidden | (size < LEAST)
    away = (points[None, None] - middle[:, :, None]).abs()  # (N, F, P, 2)
    near = (away <= (SHARE * size).clamp(min=RADIUS * STRIDE)[..., None, None]).all(-1)
    nearest = torch.zeros_like(near).scatter_(2, away.square().sum(-1).argmin(-1, keepdim=True), value=True)
    inside = (middle >= 0).all(-1) & (middle[..., 0] < width) & (middle[..., 1] < height)
    answers = (near | nearest) & (real & ~hidden & inside & (size <= MOST))[..., None]
    cost = torch.where(answers, size[..., None].expand_as(answers), torch.tensor(torch.inf))
    positive = answers.any(1)
    about = (away <= _IGNORE * sides[:, :, None]).all(-1) & real[..., None]
    covered = (away <= 0.5 * sides[:, :, None] + STRIDE).all(-1)
    veiled = covered & (real & (hidden | ~inside))[..., None]
    ignored = (about.any(1) | veiled.any(1)) & ~positive
    on = (away <= _ON * sides[:, :, None]).all(-1) & (real & ~hidden)[..., None]
    owner = torch.where(on, size[..., None].expand_as(on), torch.tensor(torch.inf))
    return Targets(positive, ignored, cost.argmin(1), on.any(1), owner.argmin(1), points)
