"""What the audit log and the outbox cost: an entry, a signed head, checking a long log, delivering.

python tests/benchmarks/bench_audit.py [ENTRIES]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from facegate import Decision, SignedDecision, SigningKey, sign_decision
from facegate._clock import SystemClock
from facegate._decision import format_time
from facegate._sinks._json_lines import JsonLinesSink
from facegate._store._audit import Audit
from facegate._store._audit_verify import verify_audit
from facegate._store._database import Database
from facegate._store._outbox import Outbox
from facegate._uuid7 import Uuid7Source

DETAILS = {"decision": "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "kind": "identify", "outcome": "match", "reasons": None}
DELIVERED = 500


def percentile(values: list[float], percent: int) -> float:
    """The nearest-rank percentile."""
    return sorted(values)[max(0, -(-percent * len(values) // 100) - 1)]


def prepare(path: Path | None) -> tuple[Database, Audit, SigningKey]:
    """An empty store with an audit log."""
    db = Database.memory() if path is None else Database.create(path)
    empty = {"INTEGER": 0, "TEXT": "", "BLOB": b""}
    columns = {row[1]: empty[row[2]] for row in db.read("PRAGMA table_info(state)")}
    key = SigningKey.generate()
    audit = Audit(db, key, SystemClock())
    with db.transaction() as tx:
        tx.insert("state", **columns | {"id": 1, "gate": "0" * 32, "device": "door-1"})
        audit.begin(tx)
    return db, audit, key


def append(db: Database, audit: Audit, count: int) -> list[float]:
    """Milliseconds of each of so many transactions with one entry."""
    spent = []
    for number in range(count):
        begin = time.perf_counter()
        with db.transaction() as tx:
            audit.append(tx, role="recognizer", action="decision", reference=f"p-{number % 1000}", details=DETAILS)
        spent.append((time.perf_counter() - begin) * 1e3)
    return spent


def decide(sequence: int, key: SigningKey, ids: Uuid7Source) -> SignedDecision:
    """A match."""
    clock = SystemClock().now()
    decision = Decision(
        id=str(ids.new(int(clock.timestamp() * 1000))),
        device="door-1",
        sequence=sequence,
        time=format_time(clock),
        kind="identify",
        outcome="match",
        subject="p-1",
        reasons=(),
        liveness="live",
        bundle="a" * 64,
        policy="b" * 64,
        declaration="c" * 64,
    )
    return SignedDecision(decision, sign_decision(decision, key))


def main() -> None:
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    db, audit, key = prepare(None)
    bare = []
    for _ in range(2000):
        begin = time.perf_counter()
        with db.transaction() as tx:
            tx.execute("UPDATE state SET sequence = sequence + 1")
        bare.append((time.perf_counter() - begin) * 1e3)
    spent = append(db, audit, 2000)
    begin = time.perf_counter()
    with db.transaction() as tx:
        for _ in range(entries):
            audit.append(tx, role="recognizer", action="decision", reference="p-1", details=DETAILS)
    many = (time.perf_counter() - begin) / entries * 1e3
    print(f"empty transaction in memory     p50 {percentile(bare, 50):.3f} ms  p99 {percentile(bare, 99):.3f} ms")
    print(f"with one entry and its head     p50 {percentile(spent, 50):.3f} ms  p99 {percentile(spent, 99):.3f} ms")
    print(f"one of many entries, no head of its own   {many:.3f} ms")
    begin = time.perf_counter()
    report = audit.verify()
    taken = time.perf_counter() - begin
    assert report.ok, report.problems
    print(f"checking {report.entries} entries        {taken:.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        db, audit, key = prepare(Path(folder) / "gate.db")
        spent = append(db, audit, 500)
        print(f"the same on this disk, durable  p50 {percentile(spent, 50):.3f} ms  p99 {percentile(spent, 99):.3f} ms")
        assert verify_audit(Path(folder) / "gate.db", key.verify_key).ok
        outbox, ids = Outbox(db, SystemClock(), keys=key.verify_key), Uuid7Source()
        with db.transaction() as tx:
            for sequence in range(1, DELIVERED + 1):
                outbox.put(tx, decide(sequence, key, ids))
        with JsonLinesSink(Path(folder) / "out.jsonl") as sink:
            begin = time.perf_counter()
            outbox.deliver(sink)
            each = (time.perf_counter() - begin) / DELIVERED * 1e3
        print(f"delivering to a file, each durable in the file and marked   {each:.3f} ms a decision")


if __name__ == "__main__":
    main()
