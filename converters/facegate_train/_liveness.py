"""Training of the liveness model on crops of rendered faces and attacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_train._loop import Clock, Plan, ahead, grouped, order, prepare, rate, require_torch, step
from facegate_train._pictures import CROPS, LIVE, SPECIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from facegate_train._cache import Cache
    from facegate_train._loop import Progress

PLAN = Plan(epochs=40, batch=256, rate=4e-3, decay=5e-2)
PAPER, LIVE_CLASS, SCREEN = 0, 1, 2
_CLASS = {"print": PAPER, "paper_mask": PAPER, "replay": SCREEN}
_BUFFERS = 6


def classes(species: npt.NDArray[np.int16]) -> npt.NDArray[np.int64]:
    """The model's class of each sample: 0 paper, 1 live, 2 screen."""
    table = np.array([_CLASS[name] for name in SPECIES] + [LIVE_CLASS])  # LIVE is -1: the last
    return np.asarray(table[species], np.int64)


def batches(
    cache: Cache, plan: Plan, rng: np.random.Generator
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]]:
    """(inputs (N, 80, 80, 3) BGR raw, classes) without end, augmented; the inputs' memory is used again later."""
    labels = classes(cache.all("species"))
    size = min(plan.batch, len(cache))
    shape = cache.get("pixels", 0).shape[1:]
    steps = np.arange(shape[0])
    buffers = [np.empty((size, *shape), np.float32) for _ in range(_BUFFERS)]
    for turn, numbers in enumerate(order(len(cache), size, rng)):
        batch = buffers[turn % _BUFFERS]
        for row, number in enumerate(numbers):
            face = cache.get("pixels", number)[rng.integers(CROPS)]
            down, across = (np.clip(steps + rng.integers(-4, 5), 0, len(steps) - 1) for _ in range(2))
            face = face[down[:, None], across]
            batch[row] = face[:, ::-1, ::-1] if rng.random() < 0.5 else face[:, :, ::-1]  # noqa: PLR2004
        # Gain and offset only: noise and gamma are among what tells a picture of a picture.
        batch *= np.exp(rng.normal(0, 0.18, (size, 1, 1, 1)) + rng.normal(0, 0.06, (size, 1, 1, 3))).astype(np.float32)
        batch += rng.normal(0, 5, (size, 1, 1, 1)).astype(np.float32)
        np.clip(batch, 0, 255, out=batch)
        yield batch, labels[numbers]


def train(cache: Cache, plan: Plan, *, progress: Progress | None = None) -> tuple[Any, dict[str, Any]]:
    """Train on the crops of a cache; see `_recognizer.train`."""
    rng = prepare(plan)
    torch = require_torch()
    from facegate_train._nets import PIXEL_SCALE, Average, Liveness  # noqa: PLC0415 - needs torch

    net: Any = Liveness()
    net = net.to(memory_format=torch.channels_last)
    average = Average(net)
    optimizer = torch.optim.AdamW(grouped(net, plan.decay), lr=0.0)
    clock = Clock(int(plan.epochs * (len(cache) // min(plan.batch, len(cache)))), plan.minutes)
    losses: list[float] = []
    stream = ahead(batches(cache, plan, rng))
    net.train()
    while (done := clock.progress) < 1:
        inputs, labels = next(stream)
        for group in optimizer.param_groups:
            group["lr"] = rate(done, plan)
        with torch.autocast("cpu", torch.bfloat16, enabled=done < 1 - plan.precise):
            logits = net(torch.from_numpy(inputs).permute(0, 3, 1, 2) * PIXEL_SCALE)
        loss = torch.nn.functional.cross_entropy(logits.float(), torch.from_numpy(labels), label_smoothing=0.02)
        losses.append(step(loss, optimizer, net.parameters(), clip=5.0))
        average.update(net)
        clock.step += 1
        if progress and clock.step % 10 == 0:
            progress(f"liveness, loss {np.mean(losses[-50:]):.3f}", int(1000 * clock.progress), 1000)
    stream.close()  # type: ignore[attr-defined]
    average.load_into(net)
    net.eval()
    tail = max(1, min(100, len(losses) // 2))
    facts = {
        "identities": len(np.unique(cache.all("identity"))),
        "pictures": len(cache),
        "live": int((cache.all("species") == LIVE).sum()),
        "steps": clock.step,
        "epochs": round(clock.step * min(plan.batch, len(cache)) / len(cache), 2),
        "minutes": round(clock.seconds / 60, 1),
        "loss": round(float(np.mean(losses[-tail:])), 4),
        "loss_first": round(float(np.mean(losses[:tail])), 4),
    }
    return net, facts
