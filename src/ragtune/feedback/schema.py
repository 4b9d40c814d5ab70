"""The tables of a feedback file."""

from __future__ import annotations

__all__ = ["MIGRATIONS"]

# An answer is kept once, whoever judges it; one person has one verdict about it, and a later one takes its place.
# A build remembers whose words stand in which line (sha256 of it), so that they can be found, and left out of the next
# dataset, when all else that this person said is gone.
MIGRATIONS = (
    """
    CREATE TABLE feedback_answer (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        question TEXT NOT NULL,
        answer TEXT NOT NULL,
        model TEXT,
        system TEXT,
        passages TEXT NOT NULL DEFAULT '[]',
        asked_by TEXT,
        created_at REAL NOT NULL
    );
    CREATE TABLE feedback_verdict (
        id INTEGER PRIMARY KEY,
        answer INTEGER NOT NULL REFERENCES feedback_answer (id) ON DELETE CASCADE,
        verdict INTEGER CHECK (verdict IN (-1, 1)),
        rating REAL,
        label TEXT,
        correction TEXT,
        comment TEXT,
        judged_by TEXT,
        created_at REAL NOT NULL,
        UNIQUE (answer, judged_by)
    );
    CREATE INDEX feedback_verdict_person ON feedback_verdict (judged_by);
    CREATE TABLE feedback_build (
        fingerprint TEXT NOT NULL,
        folder TEXT NOT NULL,
        created_at REAL NOT NULL,
        PRIMARY KEY (fingerprint, folder)
    );
    CREATE TABLE feedback_used (
        fingerprint TEXT NOT NULL,
        line TEXT NOT NULL,
        person TEXT NOT NULL,
        PRIMARY KEY (fingerprint, line, person)
    ) WITHOUT ROWID;
    CREATE INDEX feedback_used_person ON feedback_used (person);
    CREATE TABLE feedback_withdrawn (line TEXT PRIMARY KEY) WITHOUT ROWID
    """,
    "ALTER TABLE feedback_answer ADD COLUMN history TEXT NOT NULL DEFAULT '[]'",
)
