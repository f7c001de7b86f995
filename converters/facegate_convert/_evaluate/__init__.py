"""Evaluation: how well a source of templates tells people apart, for whom, at which threshold.

Import it inside functions: numpy takes longer to load than the command line's help may.
"""

from __future__ import annotations

from facegate_convert._evaluate._album import worst_page
from facegate_convert._evaluate._attributes import Attribute, read_attributes
from facegate_convert._evaluate._calibrate import calibrate, points_from
from facegate_convert._evaluate._checks import Requirement, parse_requirement
from facegate_convert._evaluate._compare import compare
from facegate_convert._evaluate._dataset import Dataset, read_dataset, read_identities
from facegate_convert._evaluate._evaluation import (
    MANIFEST,
    RESULT,
    Evaluation,
    dump,
    load_evaluation,
    make_folder,
    save_evaluation,
)
from facegate_convert._evaluate._manifest import DatasetManifest, check_manifest, load_manifest, make_manifest
from facegate_convert._evaluate._open import Named, Opened, open_source
from facegate_convert._evaluate._pairs import read_pairs_file
from facegate_convert._evaluate._presentations import read_presentations
from facegate_convert._evaluate._run import FMR_TARGETS, Settings, evaluate, validate
from facegate_convert._evaluate._sources import Source, bundle_source, features_source, hosted_source, models_source
from facegate_convert._evaluate._validate import KINDS as PROBLEM_KINDS
from facegate_convert._evaluate._validate import SERIOUS, Problem

__all__ = [
    "FMR_TARGETS",
    "MANIFEST",
    "PROBLEM_KINDS",
    "RESULT",
    "SERIOUS",
    "Attribute",
    "Dataset",
    "DatasetManifest",
    "Evaluation",
    "Named",
    "Opened",
    "Problem",
    "Requirement",
    "Settings",
    "Source",
    "bundle_source",
    "calibrate",
    "check_manifest",
    "compare",
    "dump",
    "evaluate",
    "features_source",
    "hosted_source",
    "load_evaluation",
    "load_manifest",
    "make_folder",
    "make_manifest",
    "models_source",
    "open_source",
    "parse_requirement",
    "points_from",
    "read_attributes",
    "read_dataset",
    "read_identities",
    "read_pairs_file",
    "read_presentations",
    "save_evaluation",
    "validate",
    "worst_page",
]
