"""What a gate keeps: one SQLite file, sealed templates, the audit log, the outbox."""
