"""One judge for all roles: the source's answers, asked once, and what a model's answers make of them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from facegate_convert._gates import _detector, _liveness, _recognizer
from facegate_convert._samples import Inputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facegate_convert._gates._findings import Findings
    from facegate_convert._samples import LabeledPairs, Samples, TrueFaces
    from facegate_edge._engine import Engine
    from facegate_edge._manifest import ModelInfo

_SEARCHED = 48  # inputs that candidates are judged on while they are searched


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What is known of photographs beyond their pixels.

    Attributes:
        pairs: who is who, for a recogniser.
        truth: where faces are, for a detector.
        attacks: what is live and what is an attack, for a liveness model, by folder.
    """

    pairs: LabeledPairs | None = None
    truth: TrueFaces | None = None
    attacks: Mapping[str, Inputs] = dataclasses.field(default_factory=dict)

    @property
    def photographs(self) -> frozenset[str]:
        """What a report calls the photographs."""
        parts = [part.inputs for part in (self.pairs, self.truth) if part is not None]
        return frozenset(name.split("#")[0] for part in (*parts, *self.attacks.values()) for name in part.samples)


class Judge:
    """Holds converted models against their source.

    Args:
        source: the source, as an engine.
        info: manifest entry of its float32 model, with which the source is fed and read.
        samples: what was held back and what was calibrated on.
        labels: what is known of other photographs.
    """

    def __init__(self, source: Engine, info: ModelInfo, samples: Samples, labels: Labels) -> None:
        self._role = info.role
        synthetic = not samples.real
        if info.role == "detector":
            fit = samples.held_out if samples.same else samples.fit
            self._given: Any = _detector.Evidence(samples.held_out, fit, labels.truth, synthetic)
            self._known: Any = _detector.reference(source, info, self._given)
        elif info.role == "recognizer":
            self._given = _recognizer.evidence(samples.held_out, info, labels.pairs, synthetic=synthetic)
            self._known = _recognizer.reference(source, info, self._given)
        else:
            self._given = _liveness.evidence(samples.held_out, info, labels.attacks, synthetic=synthetic)
            self._known = _liveness.reference(source, info, self._given)

    def __call__(self, engine: Engine, info: ModelInfo) -> tuple[Findings, ModelInfo]:
        """What a model's decisions are worth, and its entry with the thresholds that it decides best with.

        Args:
            engine: the model, compiled.
            info: its manifest entry, with the thresholds of its source.
        """
        if self._role == "recognizer":
            return _recognizer.judge(self._known, engine, info, self._given), info
        if self._role == "liveness":
            return _liveness.judge(self._known, engine, info, self._given), info
        own = None
        if info.precision != "float32":
            own = _detector.recalibrate(self._known, engine, info, self._given)
        findings = _detector.judge(self._known, engine, info, self._given, own)
        if own is None or info.detector is None:
            return findings, info
        detector = dataclasses.replace(info.detector, score_threshold=own.threshold)
        return findings, dataclasses.replace(info, detector=detector)


def while_searching(samples: Samples) -> Samples:
    """What candidates are judged on: some of what they are calibrated on, never what the chosen one is judged on."""
    step = max(1, len(samples.fit) // _SEARCHED)
    few = Inputs(samples.fit.arrays[::step][:_SEARCHED], samples.fit.samples[::step][:_SEARCHED])
    return dataclasses.replace(samples, fit=few, held_out=few, same=True)
