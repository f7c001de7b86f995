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
        "calibrate": Lazy("Write measured operating points into a bundle.", extra="convert"),
        "sign": Lazy("Sign a bundle.", extra="convert"),
        "verify": Lazy("Check a bundle's signature, manifest and hashes.", "facegate.cli._bundle:verify"),
        "inspect": Lazy("Show what is in a bundle.", "facegate.cli._bundle:inspect"),
    },
)

_models = LazyGroup(
    name="models",
    short_help="Find and fetch upstream models.",
    help="Find and fetch upstream models for people: none of them is part of Facegate.",
    path="models.",
    lazy={
        "list": Lazy("List the upstream models that the catalogue knows.", extra="convert"),
        "show": Lazy("Show what is known about an upstream model.", extra="convert"),
        "pull": Lazy("Fetch upstream models, and check that they are what they should be.", extra="convert"),
        "verify": Lazy("Say which upstream model a file is, by its hash.", extra="convert"),
    },
)

_evaluate = LazyGroup(
    name="evaluate",
    short_help="Measure how well models tell people apart.",
    help="Measure how well models tell people apart, on photographs of your own.",
    path="evaluate.",
    lazy={
        "run": Lazy("Measure a source of templates on a dataset.", extra="convert"),
        "validate": Lazy("Find what is wrong with a dataset.", extra="convert"),
        "report": Lazy("Make the page of a result.", extra="convert"),
        "compare": Lazy("Put two results side by side.", extra="convert"),
        "features": Lazy("Ask a hosted model for the features of photographs.", extra="convert"),
        "serve": Lazy("Serve models by the hosted protocol, for an evaluation.", extra="serve"),
        "account": Lazy("Make or remove an account of the hosted server.", extra="serve"),
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

_people = LazyGroup(
    name="people",
    short_help="Enroll, list and remove people.",
    help="Enroll, list and remove people. Role: enroller.",
    path="people.",
    lazy={
        "list": Lazy("List the people who are enrolled.", "facegate.cli._people:list_"),
        "show": Lazy("Show what is held of a person.", "facegate.cli._people:show"),
        "enroll": Lazy("Enroll a person from pictures, with their consent.", "facegate.cli._people:enroll"),
        "remove": Lazy("Erase a person.", "facegate.cli._people:remove"),
        "minor": Lazy("Record that a person is a minor.", "facegate.cli._people:minor"),
    },
)

_faces = LazyGroup(
    name="faces",
    short_help="Add and remove faces of a person.",
    help="Add and remove faces of an enrolled person. Role: enroller.",
    path="faces.",
    lazy={
        "list": Lazy("List a person's faces.", "facegate.cli._faces:list_"),
        "add": Lazy("Add faces to an enrolled person.", "facegate.cli._faces:add"),
        "remove": Lazy("Remove one face of a person.", "facegate.cli._faces:remove"),
    },
)

_consent = LazyGroup(
    name="consent",
    short_help="Record and withdraw consent.",
    help="Record and withdraw consent. Role: enroller.",
    path="consent.",
    lazy={
        "record": Lazy("Record a new consent of an enrolled person.", "facegate.cli._consent:record"),
        "withdraw": Lazy("Withdraw a person's consent: they are erased at once.", "facegate.cli._consent:withdraw"),
    },
)

_groups = LazyGroup(
    name="groups",
    short_help="Groups of people, to identify within.",
    help="Groups of people, to identify within. A person is in any number of them. Role: enroller.",
    path="groups.",
    lazy={
        "list": Lazy("List the groups.", "facegate.cli._groups:list_"),
        "make": Lazy("Make a group.", "facegate.cli._groups:make"),
        "delete": Lazy("Delete a group; its people stay enrolled.", "facegate.cli._groups:delete"),
        "members": Lazy("List the people of a group.", "facegate.cli._groups:members"),
        "join": Lazy("People join a group.", "facegate.cli._groups:join"),
        "leave": Lazy("People leave a group.", "facegate.cli._groups:leave"),
    },
)

_lists = LazyGroup(
    name="lists",
    short_help="Lists of faces without people.",
    help="Lists of faces without people, to find similar ones among. Role: enroller.",
    path="lists.",
    lazy={
        "list": Lazy("List the face lists.", "facegate.cli._lists:list_"),
        "show": Lazy("List the faces of a list.", "facegate.cli._lists:show"),
        "make": Lazy("Make a list.", "facegate.cli._lists:make"),
        "delete": Lazy("Delete a list and its faces.", "facegate.cli._lists:delete"),
        "add": Lazy("Add the faces of pictures to a list, with consent.", "facegate.cli._lists:add"),
        "remove": Lazy("Remove one face of a list.", "facegate.cli._lists:remove"),
        "similar": Lazy("Find the faces of a list that are similar to a picture's.", "facegate.cli._lists:similar"),
    },
)

_rights = LazyGroup(
    name="rights",
    short_help="Answer what people ask: access, export, erasure and the rest.",
    help="What people may ask of a gate, each one command. Role: privacy officer.",
    path="rights.",
    lazy={
        "request": Lazy("Log a person's request, and when it is due.", "facegate.cli._rights:request"),
        "requests": Lazy("List requests, what is due first.", "facegate.cli._rights:requests"),
        "extend": Lazy("Give a request more time, once.", "facegate.cli._rights:extend"),
        "close": Lazy("Close a request that no other command answers.", "facegate.cli._rights:close"),
        "access": Lazy("All that the gate holds of a person, and why.", "facegate.cli._rights:access"),
        "export": Lazy("Write a person's data into a signed ZIP.", "facegate.cli._rights:export"),
        "explain": Lazy("Say why a decision was made as it was.", "facegate.cli._rights:explain"),
        "correct": Lazy("Correct what is recorded of a person.", "facegate.cli._rights:correct"),
        "restrict": Lazy("Decide nothing about a person for the time being.", "facegate.cli._rights:restrict"),
        "unrestrict": Lazy("End a restriction.", "facegate.cli._rights:unrestrict"),
        "object": Lazy("A person's matches are for a person to review.", "facegate.cli._rights:object_"),
        "erase": Lazy("Erase a person, and certify it.", "facegate.cli._rights:erase"),
        "withdraw": Lazy("Withdraw a person's consent, and certify the erasure.", "facegate.cli._rights:withdraw"),
        "close-account": Lazy(
            "Give a person their data, erase them, close their requests.", "facegate.cli._rights:close_account"
        ),
        "certify": Lazy("Give the certificate of an erasure once more.", "facegate.cli._rights:certify"),
        "certificate": Lazy("Check an erasure certificate.", "facegate.cli._rights:certificate"),
    },
)

_review = LazyGroup(
    name="review",
    short_help="Decide what the gate leaves to a person.",
    help="Decide what the gate leaves to a person. Role: reviewer.",
    path="review.",
    lazy={
        "queue": Lazy("List the decisions that wait for a person.", "facegate.cli._review:queue"),
        "verdict": Lazy("Give the verdict on a decision.", "facegate.cli._review:verdict"),
    },
)

_report = LazyGroup(
    name="report",
    short_help="Report that the gate was wrong; write a review pack.",
    help="Report that the gate was wrong, without a picture of anybody; write what a reviewer asks for.",
    path="report.",
    lazy={
        "make": Lazy("Report a false match, a false non-match or a missed spoof.", "facegate.cli._report:make"),
        "list": Lazy("List the problem reports.", "facegate.cli._report:list_"),
        "export": Lazy("Write a report into a signed ZIP.", "facegate.cli._report:export"),
        "pack": Lazy("Write what a security, legal or procurement reviewer asks for.", "facegate.cli._pack:pack"),
        "sbom": Lazy("List software, models and licences (CycloneDX).", "facegate.cli._pack:sbom"),
        "verify": Lazy("Check that a review pack is as the device signed it.", "facegate.cli._pack:verify"),
    },
)

_gate = LazyGroup(
    name="gate",
    short_help="The gate as a whole: status, clock, keys, backups.",
    help="The gate as a whole: how it is, its clock, its keys, its backups.",
    path="gate.",
    lazy={
        "status": Lazy("Show how a gate is.", "facegate.cli._gate:status"),
        "sweep": Lazy("Erase what has been kept long enough.", "facegate.cli._gate:sweep"),
        "accept-clock": Lazy("Believe the device's clock as it is now.", "facegate.cli._gate:accept_clock"),
        "rotate-key": Lazy("Exchange the sealing key for a new one.", "facegate.cli._gate:rotate_key"),
        "renew-rotation": Lazy(
            "Make templates that were stolen match nothing any more.", "facegate.cli._gate:renew_rotation"
        ),
        "backup": Lazy("Write an encrypted backup.", "facegate.cli._gate:backup"),
        "backup-info": Lazy("Show what anybody can see of a backup.", "facegate.cli._gate:backup_info"),
        "restore": Lazy("Make a gate of a backup.", "facegate.cli._gate:restore"),
    },
)

_roles = LazyGroup(
    name="roles",
    short_help="Credentials: who may open which role.",
    help="Credentials: who may open which role of a gate. Role: administrator.",
    path="roles.",
    lazy={
        "list": Lazy("List the credentials of a gate.", "facegate.cli._roles:list_"),
        "add": Lazy("Make a credential for a role.", "facegate.cli._roles:add"),
        "revoke": Lazy("Let a credential open nothing any more.", "facegate.cli._roles:revoke"),
    },
)

_settings = LazyGroup(
    name="settings",
    short_help="The gate's settings.",
    help="The small values of a gate, beside its policy. Role: administrator.",
    path="settings.",
    lazy={
        "list": Lazy("List the settings, and what each does.", "facegate.cli._settings:list_"),
        "set": Lazy("Change a setting.", "facegate.cli._settings:set_"),
    },
)

_audit = LazyGroup(
    name="audit",
    short_help="What was done with a gate, and whether the record of it is whole.",
    help="What was done with a gate, and whether the record of it is whole.",
    path="audit.",
    lazy={
        "show": Lazy("Show entries of the audit log.", "facegate.cli._audit:show"),
        "verify": Lazy("Check that nobody has changed the audit log.", "facegate.cli._audit:verify"),
        "head": Lazy("Print the signed head of the audit log.", "facegate.cli._audit:head"),
        "purge": Lazy("Remove old entries of the audit log.", "facegate.cli._audit:purge"),
    },
)

_outbox = LazyGroup(
    name="outbox",
    short_help="Decisions that wait for delivery.",
    help="Decisions that wait for delivery, and delivering them.",
    path="outbox.",
    lazy={
        "status": Lazy("Tell how many decisions wait, and since when.", "facegate.cli._outbox:status"),
        "list": Lazy("List the decisions that are kept.", "facegate.cli._outbox:list_"),
        "deliver": Lazy("Deliver the decisions that wait.", "facegate.cli._outbox:deliver"),
    },
)

root = LazyGroup(
    name="facegate",
    help="Decide on the device whether a face belongs to an enrolled person; only the signed decision leaves it.",
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
    lazy={
        "init": Lazy("Make a gate's folder on this device.", "facegate.cli._init:init"),
        "people": _people,
        "faces": _faces,
        "consent": _consent,
        "groups": _groups,
        "lists": _lists,
        "verify": Lazy("Decide whether pictures show a certain person (1:1).", "facegate.cli._decide:verify"),
        "identify": Lazy("Decide whom pictures show (1:N).", "facegate.cli._decide:identify"),
        "candidates": Lazy("List the people whom a picture could show.", "facegate.cli._decide:candidates"),
        "cluster": Lazy("Sort the faces of pictures by person, knowing nobody.", "facegate.cli._decide:cluster"),
        "review": _review,
        "report": _report,
        "rights": _rights,
        "gate": _gate,
        "audit": _audit,
        "outbox": _outbox,
        "roles": _roles,
        "settings": _settings,
        "wipe": Lazy("Destroy a gate: its keys first, then everything.", "facegate.cli._wipe:wipe"),
        "try": Lazy("Enroll from photographs in memory and decide about others.", "facegate.cli._try:try_"),
        "models": _models,
        "convert": Lazy("Turn an ONNX model into a quantized TFLite model.", extra="convert"),
        "bundle": _bundle,
        "evaluate": _evaluate,
        "package": Lazy("Put everything that a device needs into one file.", extra="convert"),
        "keys": _keys,
        "decision": _decision,
        "bench": Lazy("Measure a bundle on this machine.", "facegate.cli._bench:bench"),
        "bench-compare": Lazy(
            "Check measurements that were contributed, and compare them.", "facegate.cli._measurement:compare"
        ),
        "doctor": Lazy("Check this machine: engine, kernels, packages.", "facegate.cli._doctor:doctor"),
        "completion": Lazy("Print a shell's completion script.", "facegate.cli._completion:completion"),
    },
)
click.version_option(VERSION, prog_name="facegate", message="%(prog)s %(version)s")(root)
