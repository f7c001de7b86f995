"""Training of the detector on random cuts of rendered frames."""

from __future__ import annotations

import math
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_train._loop import Clock, Plan, ahead, grouped, order, prepare, rate, require_torch, step
from facegate_train._warp import Batch, halved, jitter_tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from facegate_train._cache import Cache
    from facegate_train._loop import Progress

    Floats = npt.NDArray[np.floating[Any]]

PLAN = Plan(epochs=200, batch=128, rate=4e-3, decay=1e-2)
# Batches take turns: (pixels of a cut, how many to one of the plan's batch, the faces' sizes).
CUTS = ((64, 1.0, (15.0, 46.0)), (96, 0.5, (34.0, 84.0)))
OCTAVES = 3  # the picture, its half, its quarter: as the net looks at it
_BUFFERS = 3  # of each size: what is prepared ahead and what is used are never the same
_SWAP = (1, 0, 2, 4, 3)  # what a mirror does to the landmarks
_LEAST_VISIBLE = 0.35  # a face of which less can be seen is neither to be found nor background
_AIMED = 0.7  # of the cuts show a face; the others anything
_CLOSEST, _FARTHEST = 1.25, 0.2  # zoom: enlarged faces are smoother than any that a camera shows
_FROZEN = 0.2  # of a training, at its end: normalisation as it is when the net is used
_WEIGHTS = {"class": 2.0, "object": 2.0, "box": 2.0, "points": 10.0, "dense": 10.0}


class Octaves:
    """The frames of a cache at full size, at half of it and at a quarter; the smaller ones are kept in memory.

    Args:
        cache: of `Frames`.
        progress: called with (what, done, total).
    """

    def __init__(self, cache: Cache, progress: Progress | None = None) -> None:
        self._cache = cache
        self.side = max(cache.get("pixels", 0).shape[:2])
        self._smaller: list[tuple[npt.NDArray[np.uint8], ...]] = []
        for number in range(len(cache)):
            half = halved(cache.get("pixels", number))
            self._smaller.append((half, halved(half)))
            if progress and (number + 1) % 200 == 0:
                progress("halving frames", number + 1, len(cache))

    def get(self, number: int, octave: int) -> npt.NDArray[np.uint8]:
        """A frame at 1 / 2**octave of its size."""
        pixels: npt.NDArray[np.uint8] = (
            self._smaller[number][octave - 1] if octave else self._cache.get("pixels", number)
        )
        return pixels


def cuts(
    whole: int, boxes: Floats, rng: np.random.Generator, side: int, sizes: tuple[float, float]
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Random cuts of frames.

    Most bring one of a frame's faces to a size drawn evenly in octaves, the others show anything at all. Half are
    mirrored, a few turned.

    Args:
        whole: pixels of a frame's longer side.
        boxes: (N, F, 4) of the frames' faces, NaN where there is none.
        rng: the source of chance.
        side: pixels of a cut.
        sizes: the smallest and largest size of such a face in the cut.

    Returns:
        (matrices (N, 2, 3) that take a cut's pixels to those of the octave, octaves (N,)).
    """
    count = len(boxes)
    real = np.isfinite(boxes[..., 0])
    # One of the faces, each as likely.
    face = np.argmax(np.where(real, rng.random(real.shape), -1.0), 1)
    aimed = real.any(1) & (rng.random(count) < _AIMED)
    box = np.where(aimed[:, None], boxes[np.arange(count), face], (0.0, 0.0, 1.0, 1.0))
    tall = np.sqrt(np.maximum(1.0, np.prod(box[:, 2:] - box[:, :2], -1)))
    wanted = np.exp(rng.uniform(math.log(sizes[0]), math.log(sizes[1]), count))
    octave = rng.choice(OCTAVES, count, p=(0.6, 0.25, 0.15))
    zoom = np.where(aimed, wanted / tall, 2.0**-octave * np.exp(rng.normal(0, 0.2, count)))
    zoom = np.clip(zoom, _FARTHEST, _CLOSEST)
    octave = np.clip(np.rint(-np.log2(zoom)), 0, OCTAVES - 1).astype(np.int64)
    room = np.maximum(0.15 * zoom * tall, side - 0.8 * zoom * tall) / zoom
    middle = (box[:, :2] + box[:, 2:]) / 2 + rng.uniform(-0.5, 0.5, (count, 2)) * room[:, None]
    middle = np.where(aimed[:, None], middle, rng.uniform(0, whole, (count, 2)))
    turn = rng.normal(0, 0.12, count) * (rng.random(count) < 0.4)  # noqa: PLR2004
    mirror = np.where(rng.random(count) < 0.5, -1.0, 1.0)  # noqa: PLR2004
    step_ = 1 / (zoom * 2.0**octave)  # pixels of the octave from a cut's pixel to the next
    c, s = np.cos(turn) * step_, np.sin(turn) * step_
    matrices = np.zeros((count, 2, 3))
    matrices[:, 0, 0], matrices[:, 0, 1] = mirror * c, -s
    matrices[:, 1, 0], matrices[:, 1, 1] = mirror * s, c
    matrices[:, :, 2] = _shrunk(middle, octave) - matrices[:, :, :2].sum(-1) * (side - 1) / 2
    return matrices, octave


def _shrunk(points: Floats, octave: npt.NDArray[np.int64]) -> Floats:
    """Points (N, ..., 2) of frames in the pixels of their octaves; a pixel's coordinates are those of its middle."""
    share = 0.5 ** octave.reshape(-1, *[1] * (points.ndim - 1))
    return (points + 0.5) * share - 0.5


def moved(
    matrices: Floats, octave: npt.NDArray[np.int64], boxes: Floats, landmarks: Floats
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Boxes (N, F, 4) and landmarks (N, F, 5, 2) of frames in the pixels of cuts.

    A turned box is the upright one of the same middle and sides: a box about its corners would grow.
    """
    inverse = np.linalg.inv(matrices[:, :, :2])
    determinant = np.linalg.det(inverse)
    zoom = np.sqrt(np.abs(determinant))
    away = _shrunk((boxes[..., :2] + boxes[..., 2:]) / 2, octave) - matrices[:, None, :, 2]
    middle = np.einsum("nij,nfj->nfi", inverse, away)
    half = (boxes[..., 2:] - boxes[..., :2]) / 2 * (zoom * 0.5**octave)[:, None, None]
    points = np.einsum("nij,nfkj->nfki", inverse, _shrunk(landmarks, octave) - matrices[:, None, None, :, 2])
    points = np.where((determinant < 0)[:, None, None, None], points[:, :, _SWAP], points)
    return np.concatenate([middle - half, middle + half], -1).astype(np.float32), points.astype(np.float32)


def batches(cache: Cache, octaves: Octaves, plan: Plan, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Augmented batches without end; the pixels' memory is used again later."""
    boxes, landmarks, facts = (cache.all(field) for field in ("boxes", "landmarks", "facts"))
    hidden = facts[..., 0] < _LEAST_VISIBLE
    aims = np.where(hidden[..., None], np.nan, boxes)
    noise = rng.standard_normal(1 << 20).astype(np.float32)
    kinds = []
    for side, share, sizes in CUTS:
        count = min(int(plan.batch * share), len(cache))
        # One of the two kinds of border a batch. Never the mirror image: it shows whole faces that no label knows of,
        # and teaches that they are background.
        both = [[Batch(count, side, "BGR", border) for _ in range(_BUFFERS)] for border in ("black", "nearest")]
        kinds.append((side, sizes, both, order(len(cache), count, rng)))
    for turn, (side, sizes, both, numbers_) in enumerate(cycle(kinds)):
        numbers = next(numbers_)
        batch = both[int(rng.integers(2))][turn // len(CUTS) % _BUFFERS]
        matrices, octave = cuts(octaves.side, aims[numbers], rng, side, sizes)
        tables = jitter_tables(rng, len(numbers), 0.0, 1.0)
        for row, number in enumerate(numbers):
            batch.put(row, octaves.get(number, octave[row]), matrices[row], tables[row])
        for row in np.flatnonzero(rng.random(len(numbers)) < 0.25).tolist():  # noqa: PLR2004
            pixels = batch.array[row]
            start = int(rng.integers(0, noise.size - pixels.size))
            pixels += rng.uniform(1, 8) * noise[start : start + pixels.size].reshape(pixels.shape)
        new_boxes, new_points = moved(matrices, octave, boxes[numbers], landmarks[numbers])
        inside = ((new_points >= 0) & (new_points <= side - 1)).all(-1)
        yield {
            "pixels": batch.array,
            "boxes": new_boxes,
            "landmarks": np.nan_to_num(new_points),
            "hidden": hidden[numbers],
            "weights": inside.astype(np.float32),
        }


def train(cache: Cache, plan: Plan, *, progress: Progress | None = None) -> tuple[Any, dict[str, Any]]:
    """Train on the frames of a cache; see `_recognizer.train`."""
    octaves = Octaves(cache, progress)
    rng = prepare(plan)
    torch = require_torch()
    from facegate_train._losses import detector_loss  # noqa: PLC0415 - needs torch
    from facegate_train._nets import PIXEL_SCALE, Average, Detector  # noqa: PLC0415

    net: Any = Detector()
    net = net.to(memory_format=torch.channels_last)
    average = Average(net)
    optimizer = torch.optim.AdamW(grouped(net, plan.decay), lr=0.0, betas=(0.9, 0.99))
    seen, frozen = 0, False
    mean = sum(int(plan.batch * share) for _, share, _ in CUTS) / len(CUTS)
    clock = Clock(int(plan.epochs * max(1, len(cache) // mean)), plan.minutes)
    losses: list[float] = []
    parts: dict[str, list[float]] = {name: [] for name in _WEIGHTS}
    stream = ahead(batches(cache, octaves, plan, rng))
    net.train()
    while (done := clock.progress) < 1:
        if not frozen and done >= 1 - _FROZEN:
            frozen = True
            average.load_into(net)
            for module in net.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.eval()
        batch = next(stream)
        seen += len(batch["pixels"])
        for group in optimizer.param_groups:
            group["lr"] = rate(done, plan)
        with torch.autocast("cpu", torch.bfloat16, enabled=done < 1 - plan.precise):
            values = net.one(torch.from_numpy(batch["pixels"]).permute(0, 3, 1, 2) * PIXEL_SCALE)
        given = (torch.from_numpy(batch[name]) for name in ("boxes", "landmarks", "hidden", "weights"))
        found = detector_loss(values, *given)
        loss = sum((weight * found[name] for name, weight in _WEIGHTS.items()), torch.zeros(()))
        losses.append(step(loss, optimizer, net.parameters(), clip=5.0))
        for name, value in found.items():
            parts[name].append(float(value.detach()))
        average.update(net)
        clock.step += 1
        if progress and clock.step % 10 == 0:
            told = " ".join(f"{name} {np.mean(values[-100:]):.3f}" for name, values in parts.items())
            progress(f"detector, {told}, {seen} seen", int(1000 * clock.progress), 1000)
    stream.close()  # type: ignore[attr-defined]
    average.load_into(net)
    net.eval()
    tail = max(1, min(100, len(losses) // 2))
    facts = {
        "cuts": [side for side, _, _ in CUTS],
        "pictures": len(cache),
        "steps": clock.step,
        "seen": seen,
        "minutes": round(clock.seconds / 60, 1),
        "loss": round(float(np.mean(losses[-tail:])), 4),
        "loss_first": round(float(np.mean(losses[:tail])), 4),
        "losses": {name: round(float(np.mean(values[-tail:])), 4) for name, values in parts.items()},
    }
    return net, facts


def calibrate(net: Any, empty: Cache, *, threads: int, threshold: float = 0.7, rate: float = 0.005) -> dict[str, Any]:
    """Shift class and objectness so that a share `rate` of face-free validation frames reaches `threshold`.

    Whoever converts the model then needs no threshold of its own: the family's default is the operating point.

    Args:
        net: trained; its biases are changed.
        empty: face-free frames.
        threads: CPU threads.
        threshold: the score that the runtime asks for by default.
        rate: the share of frames with a false face, half of what is allowed.

    Returns:
        The shift and the frames that it was chosen on.
    """
    torch = require_torch()
    from facegate_train._nets import PIXEL_SCALE  # noqa: PLC0415 - needs torch

    torch.set_num_threads(threads)
    logits = []
    with torch.no_grad():
        for number in range(len(empty)):
            pixels = np.ascontiguousarray(empty.get("pixels", number)[None, :, :, ::-1].astype(np.float32))
            maps = net(torch.from_numpy(pixels).permute(0, 3, 1, 2) * PIXEL_SCALE)
            rows = torch.cat([values[0, :2].flatten(1).T for values in maps])
            # Only the best of a frame can matter: keep the few that could be.
            best = rows.sigmoid().prod(-1).topk(min(50, len(rows))).indices
            logits.append(rows[best].double().numpy())
    allowed = int(rate * len(empty))
    low, high = -8.0, 8.0
    for _ in range(40):
        shift = (low + high) / 2
        scores = [np.sqrt((1 / (1 + np.exp(-(values + shift)))).prod(-1)).max() for values in logits]
        if sum(score >= threshold for score in scores) > allowed:
            high = shift
        else:
            low = shift
    low -= 0.01  # on the safe side of the very score that must not pass
    with torch.no_grad():
        net.score.bias += low
    return {"shift": round(low, 4), "frames": len(empty), "rate": rate}
