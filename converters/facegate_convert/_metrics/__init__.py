"""Error rates of biometric comparisons, with what is known about them. numpy only; it imports nothing of ours.

Import it inside functions: numpy takes longer to load than the command line's help may.
"""

from __future__ import annotations

from facegate_convert._metrics._binomial import (
    CONFIDENCE,
    clopper_pearson,
    clopper_pearson_many,
    trials_for_precision,
    trials_needed,
)
from facegate_convert._metrics._bootstrap import Bootstrap, BootstrapPoint, Interval, bootstrap
from facegate_convert._metrics._curves import Curve, EqualErrorRate, auc, d_prime, det, eer, roc
from facegate_convert._metrics._dependence import clustered_rate, dyadic_rate
from facegate_convert._metrics._failures import (
    failure_rate,
    fmr_with_failures,
    fnmr_with_failures,
    generalized_far,
    generalized_frr,
)
from facegate_convert._metrics._folds import Fold, TenFold, best_threshold, ten_fold
from facegate_convert._metrics._group_figures import GroupFigure, GroupReport, Ratio
from facegate_convert._metrics._groups import GroupCounter, GroupScores, by_group
from facegate_convert._metrics._liveness import (
    LivenessCurve,
    LivenessFigure,
    Species,
    bpcer_at_apcer,
    liveness_at,
    liveness_curve,
)
from facegate_convert._metrics._open_set import OpenSet, OpenSetFigure, SearchCounter
from facegate_convert._metrics._rates import (
    OperatingFigure,
    Rate,
    dependent_rate,
    fmr_at,
    fnmr_at,
    fnmr_at_fmr,
    note_on_fmr,
    rate,
    threshold_at_fmr,
)
from facegate_convert._metrics._scores import Sample, ScoreCounter, Scores
from facegate_convert._metrics._subjects import SubjectCounter, SubjectScores, all_pairs

__all__ = [
    "CONFIDENCE",
    "Bootstrap",
    "BootstrapPoint",
    "Curve",
    "EqualErrorRate",
    "Fold",
    "GroupCounter",
    "GroupFigure",
    "GroupReport",
    "GroupScores",
    "Interval",
    "LivenessCurve",
    "LivenessFigure",
    "OpenSet",
    "OpenSetFigure",
    "OperatingFigure",
    "Rate",
    "Ratio",
    "Sample",
    "ScoreCounter",
    "Scores",
    "SearchCounter",
    "Species",
    "SubjectCounter",
    "SubjectScores",
    "TenFold",
    "all_pairs",
    "auc",
    "best_threshold",
    "bootstrap",
    "bpcer_at_apcer",
    "by_group",
    "clopper_pearson",
    "clopper_pearson_many",
    "clustered_rate",
    "d_prime",
    "dependent_rate",
    "det",
    "dyadic_rate",
    "eer",
    "failure_rate",
    "fmr_at",
    "fmr_with_failures",
    "fnmr_at",
    "fnmr_at_fmr",
    "fnmr_with_failures",
    "generalized_far",
    "generalized_frr",
    "liveness_at",
    "liveness_curve",
    "note_on_fmr",
    "rate",
    "roc",
    "ten_fold",
    "threshold_at_fmr",
    "trials_for_precision",
    "trials_needed",
]
