"""Training of the recogniser: a cosine margin over the identities of the training split."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_train._loop import Clock, Plan, ahead, grouped, order, prepare, rate, require_torch, step
from facegate_train._pictures import simulation
from facegate_train._warp import Batch, alignment, halved, jitter_tables, plain_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from facegate_train._cache import Cache
    from facegate_train._loop import Progress

PLAN = Plan(epochs=40, batch=128, rate=2e-3, decay=5e-2)
MARGIN = 0.3
_SIDE = 112
_SMALL = 80  # pixels of faces in the first part of a training: half the work, and nearly as much to learn from
_FIRST = 0.5  # of a training
# Skin and its neighbours, the colors that the renderer draws darker with darker skin or grayer with age, and what a
# mirror changes.
_NOT_LEARNT = frozenset(
    {"seed", "monk", "skin", "ruddiness", "lips", "age", "hair", "iris", "hair_seed", "freckles", "moles", "scar"}
    | {"asymmetry"}
)
_CHOICES = {
    "hair_style": ("bald", "buzz", "short", "medium", "long", "curly", "receding"),
    "beard": ("none", "stubble", "mustache", "goatee", "full"),
}
_MEAN, _SCALE = 127.5, 1 / 127.5
_BUFFERS = 6
# How wrong the reference detector's landmarks are on training portraits, in shares of the eyes' distance: each by
# itself, and all together.
_ALONE, _SHIFT, _ZOOM, _TURN = 0.057, 0.05, 0.051, 0.034


def displaced(landmarks: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Landmarks (5, 2) as a detector might have found them."""
    middle = landmarks.mean(0)
    # Twice the spread about the middle is the eyes' distance of a frontal face, and hardly shrinks as it turns.
    size = 1.1 * float(np.sqrt(np.square(landmarks - middle).sum(1).mean()))
    turn, zoom = rng.normal(0, _TURN), math.exp(rng.normal(0, _ZOOM))
    c, s = zoom * math.cos(turn), zoom * math.sin(turn)
    around = (landmarks - middle) @ np.array([[c, s], [-s, c]])
    shift = rng.normal(0, _SHIFT * size, 2)
    return np.asarray(middle + shift + around + rng.normal(0, _ALONE * size, (5, 2)), np.float32)


def mirrored(landmarks: npt.NDArray[np.float32], side: int) -> tuple[npt.NDArray[np.float64], int]:
    """`alignment` of the mirror image of a face: nobody's two halves differ by more than other pictures of them do."""
    matrix, samples = alignment(np.asarray(landmarks[[1, 0, 2, 4, 3]] * (-1, 1), np.float32), side)
    matrix[0] *= -1
    return matrix, samples


def fill(batch: Batch, row: int, pixels: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.float32]) -> None:
    """Align one face as the runtime does."""
    matrix, samples = alignment(landmarks)
    batch.put(row, pixels, matrix, plain_table(_MEAN, _SCALE), samples)


def batches(
    cache: Cache, plan: Plan, rng: np.random.Generator, side: int = _SIDE
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]]:
    """(inputs (N, side, side, 3), identities) without end, augmented; the inputs' memory is used again later."""
    points, identity = cache.all("landmarks"), cache.all("identity")
    size = min(plan.batch, len(cache))
    buffers = [Batch(size, side, "RGB") for _ in range(_BUFFERS)]
    noise = rng.standard_normal(1 << 20).astype(np.float32)
    for turn, numbers in enumerate(order(len(cache), size, rng)):
        batch, tables = buffers[turn % _BUFFERS], jitter_tables(rng, size, _MEAN, _SCALE)
        for row, number in enumerate(numbers):
            pixels, landmarks = cache.get("pixels", number), displaced(points[number], rng)
            if rng.random() < 0.2:  # noqa: PLR2004 - somebody who stands farther away
                pixels, landmarks = halved(pixels), np.asarray((landmarks - 0.5) / 2, np.float32)
            matrix, samples = (mirrored if rng.random() < 0.5 else alignment)(landmarks, side)  # noqa: PLR2004
            batch.put(row, pixels, matrix, tables[row], samples)
            _spoil(batch.array[row], rng, noise)
        yield batch.array, identity[numbers]


def _spoil(face: npt.NDArray[np.float32], rng: np.random.Generator, noise: npt.NDArray[np.float32]) -> None:
    """Noise, and a rectangle of one color over a part, at times."""
    if rng.random() < 0.3:  # noqa: PLR2004
        start = int(rng.integers(0, noise.size - face.size))
        face += (rng.uniform(0.01, 0.08)) * noise[start : start + face.size].reshape(face.shape)
    if rng.random() < 0.2:  # noqa: PLR2004
        side = len(face)
        height, width = (int(v) for v in rng.integers(side // 9, side * 3 // 7, 2))
        y, x = int(rng.integers(0, side - height)), int(rng.integers(0, side - width))
        face[y : y + height, x : x + width] = rng.uniform(-1, 1, 3)


def shapes(seeds: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """What the heads of identities look like, as standardised numbers (N, P): a second thing to learn from.

    Which of thousands of people a face is says little while a net can tell none of them apart; how long its nose is can
    be learnt at once. Skin tone, lips and age are left out, and the colors of hair and iris, which go with them: no
    model here infers those.
    """
    sim = simulation()
    rows = []
    for seed in seeds:
        identity = sim.Identity.draw(int(seed))
        row: list[float] = []
        for field in dataclasses.fields(identity):
            value = getattr(identity, field.name)
            if field.name in _NOT_LEARNT or value is None:
                continue
            if isinstance(value, str):
                row += [float(value == choice) for choice in _CHOICES.get(field.name, ())]
            elif isinstance(value, float):
                row.append(value)
            elif all(isinstance(part, float) for part in value):
                row += value
        rows.append(row)
    table = np.array(rows, np.float32)
    spread = table.std(0)
    return np.asarray((table - table.mean(0))[:, spread > 0] / spread[spread > 0], np.float32)


def shape_weight(progress: float) -> float:
    """How much the shapes count: much at first, little in the end."""
    return 30.0 - 25.0 * min(1.0, progress / 0.6)


def margin(progress: float) -> float:
    """Nothing in the first fifth, then rising to `MARGIN` at three fifths: too early, and the net learns nothing."""
    return MARGIN * min(1.0, max(0.0, (progress - 0.2) / 0.4))


def train(cache: Cache, plan: Plan, *, progress: Progress | None = None) -> tuple[Any, dict[str, Any]]:
    """Train on the portraits of a cache: first on smaller faces, then on those that a device will give.

    Args:
        cache: of `Portraits`.
        plan: how.
        progress: called with (what, thousandths done, 1000).

    Returns:
        (the net, facts about its training: steps, seconds, losses).

    Raises:
        MissingExtraError: torch is not installed.
        DivergedError: the loss is no number any more.
    """
    rng = prepare(plan)
    torch = require_torch()
    from facegate_train._losses import AngularMargin  # noqa: PLC0415 - needs torch
    from facegate_train._nets import EMBEDDING, Average, Recognizer  # noqa: PLC0415

    seeds = np.unique(cache.all("identity"))
    net: Any = Recognizer()
    net = net.to(memory_format=torch.channels_last)
    head = AngularMargin(len(seeds), EMBEDDING)
    truth = torch.from_numpy(shapes(seeds))
    shape = torch.nn.Linear(EMBEDDING, truth.shape[1])
    average = Average(net)
    groups = grouped(net, plan.decay) + grouped(head, plan.decay) + grouped(shape, 0.0)
    optimizer = torch.optim.AdamW(groups, lr=0.0)
    clock = Clock(int(plan.epochs * (len(cache) // min(plan.batch, len(cache)))), plan.minutes)
    parameters = [*net.parameters(), *head.parameters(), *shape.parameters()]
    losses: list[float] = []
    hits: list[float] = []
    misfits: list[float] = [1.0]
    # Each part has chance of its own: how far the first was prepared when it ended hangs on the machine.
    first, second = rng.spawn(2)
    stream, side = ahead(batches(cache, plan, first, _SMALL)), _SMALL
    net.train()
    while (done := clock.progress) < 1:
        if side == _SMALL and done >= _FIRST:
            stream.close()  # type: ignore[attr-defined]
            stream, side = ahead(batches(cache, plan, second)), _SIDE
        inputs, identities = next(stream)
        classes = torch.from_numpy(np.searchsorted(seeds, identities))
        for group in optimizer.param_groups:
            group["lr"] = rate(done, plan)
        with torch.autocast("cpu", torch.bfloat16, enabled=done < 1 - plan.precise):
            embeddings = net(torch.from_numpy(inputs).permute(0, 3, 1, 2))
        loss = head(embeddings.float(), classes, margin(done))
        if truth.shape[1]:
            errors = (shape(embeddings.float()) - truth[classes]).square().mean()
            loss = loss + shape_weight(done) * errors
            misfits.append(float(errors.detach()))
        losses.append(step(loss, optimizer, parameters, clip=5.0))
        with torch.no_grad():
            hits.append(float((head.cosines(embeddings.float()).argmax(1) == classes).float().mean()))
        average.update(net)
        clock.step += 1
        if progress and clock.step % 10 == 0:
            told = f"{np.mean(hits[-50:]):.3f} right, shape {np.mean(misfits[-50:]):.3f}, step {clock.step}"
            progress(f"recognizer, loss {np.mean(losses[-50:]):.3f}, {told}", int(1000 * clock.progress), 1000)
    stream.close()  # type: ignore[attr-defined]
    average.load_into(net)
    net.eval()
    tail = losses[-max(1, min(100, len(losses) // 2)) :]
    facts = {
        "identities": len(seeds),
        "faces": [_SMALL, _SIDE],
        "pictures": len(cache),
        "steps": clock.step,
        "epochs": round(clock.step * min(plan.batch, len(cache)) / len(cache), 2),
        "minutes": round(clock.seconds / 60, 1),
        "loss": round(float(np.mean(tail)), 4),
        "right": round(float(np.mean(hits[-len(tail) :])), 4),
        "shape": round(float(np.mean(misfits[-len(tail) :])), 4),
        "loss_first": round(float(np.mean(losses[: len(tail)])), 4),
    }
    return net, facts
