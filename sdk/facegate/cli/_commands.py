"""The tree of commands, with the help that is shown without loading them."""

from __future__ import annotations

import click

from facegate.cli._lazy import Lazy, LazyGroup
from facegate_edge._version import VERSION

__all__ = ["root"]

_EPILOG = """\b
Exit codes:
  0   done
  1   done, and the answer is no (a check failed)
  2   the command line is wrong
  3   the input is wrong
  4   not trusted: a signature, a key, a hash
  5   the environment: a missing package, engine or permission, no space
  70  a bug in facegate
  130 interrupted; 141 the reader of the output went away

\b
Every command takes --json: one object on stdout, {"error": {...}} if it fails.
"""

_bundle = LazyGroup(
    name="bundle",
    short_help="Build, sign, verify and show bundles.",
    help="Build, sign, verify and show bundles (.fgb).",
    path="bundle.",
    lazy={
        "build": Lazy("Put converted models into a bundle.", extra="convert"),
        "sign": Lazy("Sign a bundle.", extra="convert"),
        "verify": Lazy("Check a bundle's signature, manifest and hashes.", "facegate.cli._bundle:verify"),
        "inspect": Lazy("Show what is in a bundle.", "facegate.cli._bundle:inspect"),
    },
)

_keys = LazyGroup(
    name="keys",
    short_help="Make and show keys.",
    help="Make and show Ed25519 keys: for signing bundles, and for devices that sign decisions.",
    path="keys.",
    lazy={
        "new": Lazy("Make a key.", "facegate.cli._keys:new"),
        "show": Lazy("Show a key's id and its public half.", "facegate.cli._keys:show"),
    },
)

_decision = LazyGroup(
    name="decision",
    short_help="Check signed decisions.",
    help="Check signed decisions.",
    path="decision.",
    lazy={"verify": Lazy("Check a decision's signature and schema, and show it.", "facegate.cli._decision:verify")},
)

root = LazyGroup(
    name="facegate",
    help="Decide on the device whether a face belongs to an enrolled person; only the signed decision leaves it.",
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
    lazy={
        "init": Lazy("Make a gate's folder on this device.", "facegate.cli._init:init"),
        "try": Lazy("Enroll from photographs in memory and decide about others.", "facegate.cli._try:try_"),
        "convert": Lazy("Turn an ONNX model into a quantized TFLite model.", extra="convert"),
        "bundle": _bundle,
        "keys": _keys,
        "decision": _decision,
        "bench": Lazy("Measure a bundle on this machine.", "facegate.cli._bench:bench"),
        "doctor": Lazy("Check this machine: engine, kernels, packages.", "facegate.cli._doctor:doctor"),
        "completion": Lazy("Print a shell's completion script.", "facegate.cli._completion:completion"),
    },
)
click.version_option(VERSION, prog_name="facegate", message="%(prog)s %(version)s")(root)
