"""Which cells of the detector's maps answer for which face, and what they should say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from facegate_train._nets import STRIDES

if TYPE_CHECKING:
    from torch import Tensor

# Faces by the root of their area, in pixels: each level's range overlaps its neighbours', as a face may be either's.
RANGES = ((8.0, 64.0), (44.0, 130.0), (90.0, 2000.0))
RADIUS = 1.1  # strides from the face's middle within which cells answer for it,
SHARE = 0.2  # or this share of its size if that is more
_ON = 0.45  # of the face's sides, from its middle: a cell there is on the face
_FINER = 2.0  # times the largest face of a level: up to there it is told about landmarks
_IGNORE = 0.32  # of the face's sides, from its middle: cells there are neither face nor background


@dataclass(frozen=True, slots=True)
class Targets:
    """What each cell should say; P cells over all levels, N pictures.

    Attributes:
        positive: bool (N, P).
        ignored: bool (N, P), cells whose score is not judged.
        face: int64 (N, P), the number of the face that a positive cell answers for.
        within: bool (N, P), cells anywhere on a face of their level's sizes, or of the next level's: they too say where
            its landmarks are, though nobody asks them afterwards. A net learns to read a face from all of it.
        whose: int64 (N, P), the face that such a cell is on.
        points: float32 (P, 2), the cells' corners in pixels.
        strides: float32 (P,).
    """

    positive: Tensor
    ignored: Tensor
    face: Tensor
    within: Tensor
    whose: Tensor
    points: Tensor
    strides: Tensor


def cells(height: int, width: int) -> tuple[Tensor, Tensor]:
    """(corners (P, 2), strides (P,)) of all cells of a picture, level by level, row by row."""
    points, strides = [], []
    for stride in STRIDES:
        y, x = torch.meshgrid(torch.arange(0, height, stride), torch.arange(0, width, stride), indexing="ij")
        points.append(torch.stack([x, y], -1).reshape(-1, 2).float())
        strides.append(torch.full((points[-1].shape[0],), float(stride)))
    return torch.cat(points), torch.cat(strides)


def assign(boxes: Tensor, hidden: Tensor, height: int, width: int) -> Targets:
    """Assign faces to cells by size and place.

    A cell answers for a face of its level's sizes whose middle is within `RADIUS` strides or `SHARE` of its
    size; of several, for the smallest. The nearest cell of the level that fits best always answers. Other cells about a
    face's middle are ignored, and all of a face that is hardly visible.

    Args:
        boxes: (N, F, 4) x1 y1 x2 y2, NaN where there is no face.
        hidden: bool (N, F), faces that are neither to be found nor to count as background.
        height: of the pictures.
        width: likewise.
    """
    points, strides = cells(height, width)
    real = torch.isfinite(boxes).all(-1)
    filled = torch.where(real[..., None], boxes, torch.full_like(boxes, -1e4))
    middle = (filled[..., :2] + filled[..., 2:]) / 2
    sides = (filled[..., 2:] - filled[..., :2]).clamp(min=1e-3)
    size = sides.prod(-1).sqrt()
    away = (points[None, None] - middle[:, :, None]).abs()  # (N, F, P, 2)
    low, high = (torch.tensor([r[i] for r in RANGES]) for i in (0, 1))
    level = (torch.log2(strides) - 3).long()
    fits = (size[..., None] >= low[level]) & (size[..., None] <= high[level])
    reach = torch.maximum(RADIUS * strides, SHARE * size[..., None])
    near = (away <= reach[..., None]).all(-1)
    best = torch.bucketize(size, torch.tensor([54.0, 108.0]))
    distance = away.square().sum(-1) + 1e9 * (level[None, None] != best[..., None])
    nearest = torch.zeros_like(near).scatter_(2, distance.argmin(-1, keepdim=True), value=True)
    inside = (middle >= 0).all(-1) & (middle[..., 0] < width) & (middle[..., 1] < height)
    answers = ((fits & near) | nearest) & (real & ~hidden & inside)[..., None]
    cost = torch.where(answers, size[..., None].expand_as(answers), torch.tensor(torch.inf))
    face = cost.argmin(1)
    positive = answers.any(1)
    about = (away <= _IGNORE * sides[:, :, None]).all(-1) & real[..., None]
    covered = (away <= 0.5 * sides[:, :, None] + strides[None, None, :, None]).all(-1)
    veiled = covered & (real & (hidden | ~inside))[..., None]
    ignored = (about.any(1) | veiled.any(1)) & ~positive
    on = (away <= _ON * sides[:, :, None]).all(-1) & (real & ~hidden)[..., None]
    on &= (size[..., None] >= low[level]) & (size[..., None] <= _FINER * high[level])
    owner = torch.where(on, size[..., None].expand_as(on), torch.tensor(torch.inf))
    return Targets(positive, ignored, face, on.any(1), owner.argmin(1), points, strides)
