"""How far a model may be from its source: one place, with the reason for each figure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the gates. docs/gates.md gives what was measured on good and on damaged models.

    Attributes:
        parity: largest error of the float32 model, relative to each output's range.
        drift_p50, drift_p1: smallest median and 1st percentile of the cosine between embedding and source's embedding.
        agreement: largest share of pairs of one face that the source accepts and the model does not.
        fnmr: largest net rise of the FNMR at an equal FMR.
        missed, added: largest share of the source's faces that are not found, and of the faces found that the source
            does not have.
        landmarks_p50, landmarks_p95: largest median and 95th percentile of the mean landmark error, in distances
            between the eyes.
        overlap: smallest 5th percentile of the intersection over union of the boxes.
        truth: largest net loss of the recall and of the precision against ground truth.
        judged: largest share of faces that a liveness model judges otherwise.
        probability: largest 95th percentile of the change of the live probability.
        error_rates: largest net rise of BPCER and of each species' APCER.
        slower: times of float32 that a model may take on a machine that it was not made for, or at a precision that is
            not expected to be faster there: more is no matter of processors but of a model cut in pieces.
        slower_on_target: the same on the target itself at a precision that is expected to be faster there.
    """

    parity: float = 1e-4
    drift_p50: float = 0.98
    drift_p1: float = 0.92
    agreement: float = 0.02
    fnmr: float = 0.005
    missed: float = 0.03
    added: float = 0.03
    landmarks_p50: float = 0.05
    landmarks_p95: float = 0.10
    overlap: float = 0.80
    truth: float = 0.02
    judged: float = 0.03
    probability: float = 0.15
    error_rates: float = 0.03
    slower: float = 2.5
    slower_on_target: float = 1.15


LIMITS = Limits()
