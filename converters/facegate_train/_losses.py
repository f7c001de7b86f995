"""What the nets are trained to make small."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from facegate_train._assign import STRIDE, assign

if TYPE_CHECKING:
    from torch import Tensor


class AngularMargin(nn.Module):
    """CosFace (Wang et al. 2018): the own class's cosine must beat all others' by a margin.

    The margin is a cosine's, not an angle's (ArcFace): on a small net it trains as well and needs no safeguard at the
    end of the circle.

    Args:
        classes: identities.
        length: of an embedding.
        scale: of the cosines before the softmax.
    """

    def __init__(self, classes: int, length: int, scale: float = 32.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, length) / math.sqrt(length))
        self.scale = scale

    def cosines(self, embeddings: Tensor) -> Tensor:
        """(N, classes), of the angles between embeddings and the classes' centres."""
        return F.linear(F.normalize(embeddings), F.normalize(self.weight))

    def forward(self, embeddings: Tensor, classes: Tensor, margin: float) -> Tensor:
        """The mean cross entropy."""
        cosines = self.cosines(embeddings)
        own = F.one_hot(classes, cosines.shape[1]).to(cosines.dtype)
        return F.cross_entropy(self.scale * (cosines - margin * own), classes)


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes x1 y1 x2 y2, pair by pair."""
    corner = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    common = corner.clamp(min=0).prod(-1)
    areas = (a[..., 2:] - a[..., :2]).clamp(min=0).prod(-1) + (b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1)
    return common / (areas - common).clamp(min=1e-6)


def eiou_loss(a: Tensor, b: Tensor) -> Tensor:
    """1 - IoU, plus the distances of middles, widths and heights by those of the hull (Zhang et al. 2021)."""
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    middles = ((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2).square().sum(-1)
    sides = (a[..., 2:] - a[..., :2] - b[..., 2:] + b[..., :2]).square()
    squares = hull.square().clamp(min=1e-6)
    return 1 - box_iou(a, b) + middles / squares.sum(-1) + (sides / squares).sum(-1)


def wing(error: Tensor, width: float = 0.1, slope: float = 0.05) -> Tensor:
    """Steep for small errors (Feng et al. 2018): a landmark that is nearly right is still worth moving."""
    constant = width - width * math.log1p(width / slope)
    away = error.abs()
    return torch.where(away < width, width * torch.log1p(away / slope), away - constant)


def quality_focal(logits: Tensor, quality: Tensor) -> Tensor:
    """|quality - p|^2 times the cross entropy (Li et al. 2020): what is judged well already hardly counts."""
    probability = logits.sigmoid()
    return F.binary_cross_entropy_with_logits(logits, quality, reduction="none") * (quality - probability).square()


def detector_loss(
    values: Tensor, boxes: Tensor, landmarks: Tensor, hidden: Tensor, weights: Tensor
) -> dict[str, Tensor]:
    """The parts of the detector's loss, each a scalar.

    Args:
        values: the map (N, 16, H, W) of `Detector.one`.
        boxes: (N, F, 4), NaN where there is no face.
        landmarks: (N, F, 5, 2).
        hidden: bool (N, F), see `assign`.
        weights: (N, F, 5), how much each landmark counts (0 outside the picture).
    """
    rows = values.flatten(2).transpose(1, 2)
    target = assign(boxes, hidden, values.shape[2] * STRIDE, values.shape[3] * STRIDE)
    picture, cell = target.positive.nonzero(as_tuple=True)
    face = target.face[picture, cell]
    said = rows[picture, cell]
    middle, sides = said[:, 2:4] * STRIDE + target.points[cell], said[:, 4:6].clamp(-4, 5).exp() * STRIDE
    found = torch.cat([middle - sides / 2, middle + sides / 2], -1)
    true_box = boxes[picture, face]
    count = max(1, len(cell))
    quality = torch.zeros(rows.shape[:2])
    quality[picture, cell] = box_iou(found.detach(), true_box).clamp(0, 1)
    judged = ~target.ignored
    score = (quality_focal(rows[..., 1], quality) * judged).sum() / count
    kind = (quality_focal(rows[..., 0], target.positive.float()) * judged).sum() / count
    box = eiou_loss(found, true_box).sum() / count
    given = boxes, landmarks, weights
    points = _landmarks(said, target.points[cell], picture, face, *given)
    picture, cell = target.within.nonzero(as_tuple=True)
    dense = _landmarks(rows[picture, cell], target.points[cell], picture, target.whose[picture, cell], *given)
    return {"class": kind, "object": score, "box": box, "points": points, "dense": dense}


def _landmarks(
    said: Tensor, corners: Tensor, picture: Tensor, face: Tensor, boxes: Tensor, landmarks: Tensor, weights: Tensor
) -> Tensor:
    """The mean over cells of how far their landmarks are off, in shares of the face's size."""
    box = boxes[picture, face]
    size = (box[:, 2:] - box[:, :2]).clamp(min=1).prod(-1).sqrt()[:, None, None]
    told = said[:, 6:].reshape(-1, 5, 2) * STRIDE + corners[:, None]
    error = (told - landmarks[picture, face]) / size
    return (wing(error).sum(-1) * weights[picture, face]).sum() / (5 * max(1, len(said)))
