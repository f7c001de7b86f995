"""The tables of a gate's store, and the steps from one version of them to the next.

Times are milliseconds since 1970 in UTC. Names of groups and lists, references of people: `is_reference`.
"""

from __future__ import annotations

__all__ = ["MAX_ROWS", "MIGRATIONS", "PROTECTED", "VERSION"]

MAX_ROWS = (1 << 63) - 1
"""No table has more: what is asked for beyond it is cut to it, because SQLite takes no larger number."""

# A row of these counts in the tally (`_tally`): none can be changed, removed, brought back or added by anybody who has
# not the device's key. The audit log and the outbox have chains of their own.
PROTECTED: dict[str, tuple[str, ...]] = {
    "person": ("id", "reference", "wrapped_key", "enrolled", "used", "minor", "restricted", "objection", "lapsed"),
    "face_list": ("id", "name", "wrapped_key", "made"),
    "face": ("id", "person", "list", "space", "sealed", "added"),
    "consent": (
        *("id", "person", "purpose", "legal_basis", "text_version", "text_sha256", "given", "taken_by"),
        *("expires", "guardian"),
    ),
    "people_group": ("id", "name", "made"),
    "membership": ("id", "person", "people_group"),
    "credential": ("id", "role", "label", "digest", "made"),
    "setting": ("id", "name", "value"),
    "request": (*("id", "number", "kind", "reference", "received", "due", "checked_by", "closed", "outcome", "note"),),
}

_FIRST = """
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    gate TEXT NOT NULL,             -- 128 random bits in hex: what is sealed for one gate opens in no other
    device TEXT NOT NULL,           -- the device's reference
    space TEXT NOT NULL,            -- id of the bundle's template space
    template_length INTEGER NOT NULL,
    key_id TEXT NOT NULL,           -- of the device's sealing key
    key_check BLOB NOT NULL,        -- a sealed constant: a wrong key is known before anything else is opened
    rotation_id TEXT NOT NULL,      -- of the secret rotation of the template space
    tally BLOB NOT NULL,            -- 32 bytes: the mark of the protected rows and of this row, see _tally
    sequence INTEGER NOT NULL,      -- of the last decision
    clock BLOB NOT NULL             -- JSON, see _clock_guard
) STRICT;
CREATE TABLE rotation (             -- not in `state`, which is read and written with every commit
    template_length INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    sealed BLOB NOT NULL            -- see _rotation
) STRICT;
CREATE TABLE person (
    id INTEGER PRIMARY KEY AUTOINCREMENT,   -- never used again
    reference TEXT NOT NULL UNIQUE,
    wrapped_key BLOB NOT NULL,
    enrolled INTEGER NOT NULL,
    used INTEGER NOT NULL,          -- the last match; written at most once a day
    minor INTEGER NOT NULL DEFAULT 0,
    restricted INTEGER NOT NULL DEFAULT 0,
    objection INTEGER NOT NULL DEFAULT 0,
    lapsed INTEGER NOT NULL DEFAULT 0       -- consent has expired: templates are gone, only this is remembered
) STRICT;
CREATE TABLE face_list (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    wrapped_key BLOB NOT NULL,
    made INTEGER NOT NULL
) STRICT;
CREATE TABLE face (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    person INTEGER REFERENCES person ON DELETE RESTRICT,
    list INTEGER REFERENCES face_list ON DELETE RESTRICT,
    space TEXT NOT NULL,            -- template space and rotation
    sealed BLOB NOT NULL,
    added INTEGER NOT NULL,
    CHECK ((person IS NULL) <> (list IS NULL))
) STRICT;
CREATE INDEX face_person ON face (person) WHERE person IS NOT NULL;
CREATE INDEX face_of_list ON face (list) WHERE list IS NOT NULL;
CREATE TABLE consent (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    person INTEGER NOT NULL REFERENCES person ON DELETE RESTRICT,
    purpose TEXT NOT NULL,
    legal_basis TEXT NOT NULL,
    text_version TEXT NOT NULL,
    text_sha256 TEXT NOT NULL,
    given INTEGER NOT NULL,
    taken_by TEXT NOT NULL,
    expires INTEGER,
    guardian TEXT                   -- reference of a minor's guardian, who gave it
) STRICT;
CREATE INDEX consent_person ON consent (person);
CREATE TABLE people_group (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    made INTEGER NOT NULL
) STRICT;
CREATE TABLE membership (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    person INTEGER NOT NULL REFERENCES person ON DELETE RESTRICT,
    people_group INTEGER NOT NULL REFERENCES people_group ON DELETE RESTRICT,
    UNIQUE (people_group, person)
) STRICT;
CREATE INDEX membership_person ON membership (person);
CREATE TABLE credential (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    role TEXT NOT NULL,
    label TEXT NOT NULL UNIQUE,
    digest BLOB NOT NULL,           -- SHA-256 of a random token of 256 bits
    made INTEGER NOT NULL
) STRICT;
CREATE TABLE setting (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    value TEXT NOT NULL             -- JSON
) STRICT;
CREATE TABLE request (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    number TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,             -- which right: access, export, correction, ...
    reference TEXT NOT NULL,
    received INTEGER NOT NULL,
    due INTEGER NOT NULL,
    checked_by TEXT NOT NULL,       -- how the person's identity was checked
    closed INTEGER,
    outcome TEXT,
    note TEXT
) STRICT;
CREATE TABLE lockout (
    scope TEXT PRIMARY KEY,         -- "" for identification, else the person's reference
    failures INTEGER NOT NULL,
    boot TEXT NOT NULL,             -- id of the boot that `until` counts in
    until REAL NOT NULL             -- seconds of CLOCK_BOOTTIME
) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    role TEXT NOT NULL,
    action TEXT NOT NULL,
    reference TEXT,                 -- of the person, group or list that it is about
    details TEXT NOT NULL,          -- JSON with sorted keys: no biometric data, no secret
    hash BLOB NOT NULL              -- SHA-256 over the hash before and all of the above
) STRICT;
CREATE INDEX audit_reference ON audit (reference, seq);
CREATE TABLE audit_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    statement TEXT NOT NULL         -- JWS of the device: length, last hash, what was purged
) STRICT;
CREATE TABLE decision (
    sequence INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    time INTEGER NOT NULL,
    jws TEXT NOT NULL,
    delivered INTEGER,              -- when; NULL while it waits in the outbox
    review TEXT                     -- "open" while a person must look; "closed" when one has
) STRICT;
CREATE INDEX decision_waiting ON decision (sequence) WHERE delivered IS NULL;
CREATE INDEX decision_review ON decision (sequence) WHERE review = 'open';
CREATE TABLE report (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    number TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,             -- false_match, false_non_match, missed_spoof
    time INTEGER NOT NULL,
    content TEXT NOT NULL           -- JSON: decision ids, bundle, policy, device, conditions
) STRICT;
"""

MIGRATIONS: tuple[str, ...] = (_FIRST,)
VERSION = len(MIGRATIONS)
