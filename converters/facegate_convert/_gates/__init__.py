"""Gates: a converted model is held against its source by what it decides, and refused if it decides otherwise."""

from facegate_convert._gates._findings import Findings
from facegate_convert._gates._gate import (
    STATUSES,
    Gate,
    allowances,
    level_gate,
    not_run,
    paired_gate,
    rate_gate,
    refusal,
    refuse,
    settle,
    size_gate,
)
from facegate_convert._gates._judge import Judge, Labels, while_searching
from facegate_convert._gates._limits import LIMITS, Limits
from facegate_convert._gates._pieces import partition_gate
from facegate_convert._gates._speed import instruction_gate, speed_gate

__all__ = [
    "LIMITS",
    "STATUSES",
    "Findings",
    "Gate",
    "Judge",
    "Labels",
    "Limits",
    "allowances",
    "instruction_gate",
    "level_gate",
    "not_run",
    "paired_gate",
    "partition_gate",
    "rate_gate",
    "refusal",
    "refuse",
    "settle",
    "size_gate",
    "speed_gate",
    "while_searching",
]
