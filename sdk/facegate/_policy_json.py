"""policy.json: the rules of a gate as a file that people edit."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from facegate._policy import Policy
from facegate.errors import PolicyError
from facegate_edge._json import repeated
from facegate_edge._quality import QualityGate

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["dump_policy", "load_policy", "parse_policy"]

_MAX_FILE = 64 * 1024

_HINT = "docs/cli.md shows the file; `facegate init` writes a valid one"


def dump_policy(policy: Policy) -> str:
    """The rules as JSON, every one of them, in the order of `Policy`."""
    return json.dumps(dataclasses.asdict(policy), indent=2, allow_nan=False) + "\n"


def parse_policy(text: str | bytes) -> Policy:
    """Read what `dump_policy` wrote and somebody may have edited.

    Every rule must be there: a line that got lost must not turn a check off.

    Raises:
        PolicyError: naming the rule that is missing, unknown, given twice or out of range.
    """
    try:
        document = json.loads(text, object_pairs_hook=_object)
    except PolicyError:  # which is a ValueError, and says more
        raise
    except (ValueError, RecursionError):
        raise PolicyError("the policy is not JSON", hint=_HINT) from None
    rules = _rules(document, Policy, "the policy")
    rules["quality"] = QualityGate(**_rules(rules["quality"], QualityGate, "quality"))
    return Policy(**rules)


def load_policy(path: Path) -> Policy:
    """Read a policy's file. Raises PolicyError: it cannot be read, or is no policy."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise PolicyError(f"the policy {path} cannot be read: {error.strerror}", hint="check the path") from None
    if len(data) > _MAX_FILE:
        raise PolicyError(f"{path} is far too large for a policy", hint=_HINT)
    return parse_policy(data)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = repeated(pairs)
    if twice is not None:
        raise PolicyError(f"the policy has the rule {twice[:80]!r} twice", hint=_HINT)
    return dict(pairs)


def _rules(document: Any, kind: type, name: str) -> dict[str, Any]:
    """The fields of a dataclass from a JSON object that has these and no others."""
    if not isinstance(document, dict):
        raise PolicyError(f"{name} is not a JSON object", hint=_HINT)
    names = [field.name for field in dataclasses.fields(kind)]
    unknown = next((key for key in document if key not in names), None)
    if unknown is not None:
        raise PolicyError(f"{name} has a rule {unknown[:80]!r}, which there is not", hint=_HINT)
    missing = next((key for key in names if key not in document), None)
    if missing is not None:
        raise PolicyError(f"{name} lacks the rule {missing!r}", hint=_HINT)
    return dict(document)
