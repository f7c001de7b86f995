"""Training of the detector on random cuts of rendered frames."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_train._loop import Clock, Plan, ahead, grouped, order, prepare, rate, require_torch, step
from facegate_train._warp import Batch, jitter_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from facegate_train._cache import Cache
    from facegate_train._loop import Progress

PLAN = Plan(epochs=60, batch=32, rate=4e-3, decay=1e-2, precise=0.15)
SIDE = 192
SMALL = 96  # pixels of the cuts in the first part of a training: nearly all face, and four times as many
_FIRST = 0.6  # of a training
_MANY = 3  # times as many small cuts in a batch
_BUFFERS = 6
_SWAP = (1, 0, 2, 4, 3)  # what a mirror does to the landmarks
_LEAST_VISIBLE = 0.35  # a face of which less can be seen is neither to be found nor background
_SMALLEST = 9.0  # pixels; likewise
_WEIGHTS = {"class": 1.0, "object": 1.0, "box": 2.0, "points": 10.0, "dense": 10.0}


def cut(
    size: int, boxes: npt.NDArray[np.float32], rng: np.random.Generator, side: int = SIDE
) -> npt.NDArray[np.float64]:
    """A random cut of a frame, as the matrix (2, 3) that takes the net's pixels to the frame's.

    Most show the frame as it is or nearly; others bring one of its faces to a size drawn evenly in octaves. Half are
    mirrored, a few turned.
    """
    zoom = math.exp(rng.normal(0, 0.35))
    middle = rng.uniform(0.3, 0.7, 2) * size
    real = boxes[np.isfinite(boxes[:, 0])]
    if len(real) and rng.random() < (0.75 if side == SIDE else 0.9):
        box = real[rng.integers(len(real))]
        tall = math.sqrt(max(1.0, float((box[2] - box[0]) * (box[3] - box[1]))))
        wanted = math.exp(rng.uniform(math.log(14), math.log(0.98 * side)))
        zoom = min(3.0, max(0.35, wanted / tall))
        middle = (box[:2] + box[2:]) / 2 + rng.uniform(-0.5, 0.5, 2) * max(0.15 * wanted, side - 0.8 * wanted) / zoom
    turn = rng.normal(0, 0.12) if rng.random() < 0.4 else 0.0  # noqa: PLR2004
    mirror = -1.0 if rng.random() < 0.5 else 1.0  # noqa: PLR2004
    c, s = math.cos(turn) / zoom, math.sin(turn) / zoom
    matrix = np.array([[mirror * c, -s, 0.0], [mirror * s, c, 0.0]])
    matrix[:, 2] = middle - matrix[:, :2] @ ((side - 1) / 2, (side - 1) / 2)
    return matrix


def moved(
    matrix: npt.NDArray[np.float64], boxes: npt.NDArray[np.float32], landmarks: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Boxes (F, 4) and landmarks (F, 5, 2) of a frame in the pixels of a cut.

    A turned box is the upright one of the same middle and sides: a box about its corners would grow.
    """
    inverse = np.linalg.inv(matrix[:, :2])
    zoom = math.sqrt(abs(np.linalg.det(inverse)))
    middle = ((boxes[:, :2] + boxes[:, 2:]) / 2 - matrix[:, 2]) @ inverse.T
    half = (boxes[:, 2:] - boxes[:, :2]) / 2 * zoom
    points = (landmarks - matrix[:, 2]) @ inverse.T
    if np.linalg.det(inverse) < 0:
        points = points[:, _SWAP]
    return np.concatenate([middle - half, middle + half], 1).astype(np.float32), points.astype(np.float32)


def batches(
    cache: Cache, plan: Plan, rng: np.random.Generator, side: int = SIDE
) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Augmented batches without end, of cuts of `side` pixels; the pixels' memory is used again later."""
    boxes, landmarks, facts = (cache.all(field) for field in ("boxes", "landmarks", "facts"))
    size = min(plan.batch * (_MANY if side == SMALL else 1), len(cache))
    whole = max(cache.get("pixels", 0).shape[:2])
    buffers = [(Batch(size, side, "BGR", "black"), Batch(size, side, "BGR", "nearest")) for _ in range(_BUFFERS)]
    # One of the two kinds of border a batch. Never the mirror image: it shows whole faces that no label knows of, and
    # teaches that they are background.
    noise = rng.standard_normal(1 << 20).astype(np.float32)
    for turn, numbers in enumerate(order(len(cache), size, rng)):
        black = rng.random() < 0.5  # noqa: PLR2004
        batch = buffers[turn % _BUFFERS][0 if black else 1]
        some = [moved_frame(whole, boxes[n], landmarks[n], rng, side) for n in numbers]
        for row, (number, (matrix, _, _)) in enumerate(zip(numbers, some, strict=True)):
            batch.put(row, cache.get("pixels", number), matrix, jitter_table(rng, 0.0, 1.0))
            if rng.random() < 0.25:  # noqa: PLR2004
                pixels = batch.array[row]
                start = int(rng.integers(0, noise.size - pixels.size))
                pixels += rng.uniform(1, 8) * noise[start : start + pixels.size].reshape(pixels.shape)
        new_boxes = np.stack([b for _, b, _ in some])
        new_points = np.stack([p for _, _, p in some])
        sides = np.sqrt(np.prod(np.nan_to_num(new_boxes[..., 2:] - new_boxes[..., :2]), -1))
        hidden = (facts[numbers][..., 0] < _LEAST_VISIBLE) | (sides < _SMALLEST)
        inside = ((new_points >= 0) & (new_points <= side - 1)).all(-1)
        yield {
            "pixels": batch.array,
            "boxes": new_boxes,
            "landmarks": np.asarray(np.nan_to_num(new_points)),
            "hidden": np.asarray(hidden),
            "weights": np.asarray(inside, np.float32),
        }


def moved_frame(
    whole: int,
    boxes: npt.NDArray[np.float32],
    landmarks: npt.NDArray[np.float32],
    rng: np.random.Generator,
    side: int = SIDE,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """(matrix, boxes, landmarks) of a random cut."""
    matrix = cut(whole, boxes, rng, side)
    return (matrix, *moved(matrix, boxes, landmarks))


def train(
    cache: Cache, plan: Plan, *, start: Path | None = None, progress: Progress | None = None
) -> tuple[Any, dict[str, Any]]:
    """Train on the frames of a cache; see `_recognizer.train`."""
    rng = prepare(plan)
    torch = require_torch()
    from facegate_train._losses import detector_loss  # noqa: PLC0415 - needs torch
    from facegate_train._nets import PIXEL_SCALE, Average, Detector  # noqa: PLC0415

    net: Any = Detector()
    net = net.to(memory_format=torch.channels_last)
    average = Average(net)
    optimizer = torch.optim.AdamW(grouped(net, plan.decay), lr=0.0, betas=(0.9, 0.99))
    seen = 0
    clock = Clock(int(plan.epochs * (len(cache) // min(plan.batch, len(cache)))), plan.minutes)
    losses: list[float] = []
    parts: dict[str, list[float]] = {name: [] for name in _WEIGHTS}
    stream, side = ahead(batches(cache, plan, rng, SMALL)), SMALL
    if start is not None:
        from facegate_train._resume import load  # noqa: PLC0415 - needs torch

        few = (torch.from_numpy(next(stream)["pixels"]).permute(0, 3, 1, 2) * PIXEL_SCALE for _ in range(12))
        load("detector", net, start, few)
        average = Average(net)
    net.train()
    while (done := clock.progress) < 1:
        if side == SMALL and done >= _FIRST:
            stream.close()  # type: ignore[attr-defined]
            stream, side = ahead(batches(cache, plan, rng)), SIDE
        batch = next(stream)
        seen += len(batch["pixels"])
        for group in optimizer.param_groups:
            group["lr"] = rate(done, plan) * (1 if start is None else 0.5)
        with torch.autocast("cpu", torch.bfloat16, enabled=done < 1 - plan.precise):
            maps = net(torch.from_numpy(batch["pixels"]).permute(0, 3, 1, 2) * PIXEL_SCALE)
        given = (torch.from_numpy(batch[name]) for name in ("boxes", "landmarks", "hidden", "weights"))
        found = detector_loss(maps, *given, size=(side, side))
        loss = sum((weight * found[name] for name, weight in _WEIGHTS.items()), torch.zeros(()))
        losses.append(step(loss, optimizer, net.parameters(), clip=5.0))
        for name, value in found.items():
            parts[name].append(float(value.detach()))
        average.update(net)
        clock.step += 1
        if progress and clock.step % 10 == 0:
            told = " ".join(f"{name} {np.mean(values[-50:]):.3f}" for name, values in parts.items())
            progress(f"detector, {told}, {seen} seen", int(1000 * clock.progress), 1000)
    stream.close()  # type: ignore[attr-defined]
    average.load_into(net)
    net.eval()
    tail = min(100, len(losses))
    facts = {
        "cuts": [SMALL, SIDE],
        "pictures": len(cache),
        "steps": clock.step,
        "epochs": round(seen / len(cache), 2),
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
    from facegate_train._losses import flatten  # noqa: PLC0415 - needs torch
    from facegate_train._nets import PIXEL_SCALE  # noqa: PLC0415

    torch.set_num_threads(threads)
    logits = []
    with torch.no_grad():
        for number in range(len(empty)):
            pixels = np.ascontiguousarray(empty.get("pixels", number)[None, :, :, ::-1].astype(np.float32))
            rows = flatten(net(torch.from_numpy(pixels).permute(0, 3, 1, 2) * PIXEL_SCALE))
            # Only the best of a frame can matter: keep the few that could be.
            best = rows[0, :, :2].sigmoid().prod(-1).topk(min(50, rows.shape[1])).indices
            logits.append(rows[0, best, :2].double().numpy())
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
