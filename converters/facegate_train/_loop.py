"""What the three trainings share: chance, threads, the schedule, the clock."""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from facegate_train.errors import DivergedError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor

    Progress = Callable[[str, int, int], None]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """How a net is trained.

    Attributes:
        epochs: passes over the pictures.
        batch: pictures a step.
        rate: the highest learning rate.
        warm: the share of steps in which the rate rises.
        decay: weight decay.
        precise: the share of steps at the end that run in float32, not bfloat16.
        seed: of weights, order and augmentation.
        threads: CPU threads.
        minutes: a budget after which training is cut short, the rate running out with it; None for no limit.
    """

    epochs: float
    batch: int
    rate: float
    warm: float = 0.05
    decay: float = 5e-4
    precise: float = 0.1
    seed: int = 0
    threads: int = 2
    minutes: float | None = None


def require_torch() -> Any:
    """The torch module.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import torch  # noqa: PLC0415 - only training needs it
    except ImportError as error:
        raise MissingExtraError(
            "torch is not installed, and training needs it", hint="pip install 'facegate[train]'"
        ) from error
    return torch


def prepare(plan: Plan) -> np.random.Generator:
    """Fix threads and seeds; returns the source of chance for order and augmentation."""
    torch = require_torch()
    torch.set_num_threads(plan.threads)
    torch.manual_seed(plan.seed)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    return np.random.default_rng([plan.seed, 7])


class Clock:
    """How far a training is, 0..1: by steps, or by the minutes that it may take if they run out first."""

    def __init__(self, steps: int, minutes: float | None) -> None:
        self.steps = steps
        self._budget = None if minutes is None else minutes * 60
        self._start = time.monotonic()
        self.step = 0

    @property
    def progress(self) -> float:
        """0 at the start, 1 at the end."""
        by_steps = self.step / max(1, self.steps)
        if self._budget is None:
            return by_steps
        return max(by_steps, (time.monotonic() - self._start) / self._budget)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._start


def rate(progress: float, plan: Plan) -> float:
    """The learning rate: a linear rise, then half a cosine down to almost nothing."""
    if progress < plan.warm:
        return plan.rate * max(progress, 1e-3) / plan.warm
    return plan.rate * max(1e-3, 0.5 * (1 + math.cos(math.pi * (progress - plan.warm) / (1 - plan.warm))))


def grouped(net: Any, decay: float) -> list[dict[str, Any]]:
    """Weights decay, biases and what normalises do not."""
    parameters = [p for p in net.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def step(loss: Tensor, optimizer: Any, parameters: Iterable[Any], *, clip: float) -> float:
    """One step down; the loss.

    Raises:
        DivergedError: the loss is no number.
    """
    torch = require_torch()
    value = float(loss.detach())
    if not math.isfinite(value):
        raise DivergedError("the loss is no number any more", hint="use another --seed, or a lower rate")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()
    return value


def ahead(items: Iterator[T], depth: int = 2) -> Iterator[T]:
    """The items of an iterator that runs in a thread of its own, a little ahead."""
    ready: queue.Queue[Any] = queue.Queue(depth)
    stop = threading.Event()
    end = object()

    def put(item: object) -> bool:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=0.2)
                return True
        return False

    def run() -> None:
        try:
            for item in items:
                if not put(item):
                    return
            put(end)
        except BaseException as error:  # noqa: BLE001 - it is raised where the items are used
            put(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not end:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()


def order(count: int, batch: int, rng: np.random.Generator) -> Iterator[np.ndarray[Any, np.dtype[np.int64]]]:
    """Batches of sample numbers without end, each pass in another order; a rest too small for a batch is left out."""
    size = min(batch, count)
    while True:
        numbers = rng.permutation(count)
        for start in range(0, count - size + 1, size):
            yield numbers[start : start + size]
