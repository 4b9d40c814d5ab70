"""The tables of the journal; one script per version, never changed once released."""

from __future__ import annotations

MIGRATIONS = (
    """
    CREATE TABLE upload (
        id INTEGER PRIMARY KEY,
        account TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        filename TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        state TEXT NOT NULL,
        file_id TEXT,
        begun_at REAL NOT NULL
    );
    CREATE INDEX upload_content ON upload (account, sha256);
    CREATE TABLE run (
        id INTEGER PRIMARY KEY,
        account TEXT NOT NULL,
        server TEXT NOT NULL,
        key TEXT NOT NULL,
        state TEXT NOT NULL,
        model TEXT NOT NULL,
        suffix TEXT,
        fingerprint TEXT,
        system TEXT,
        predicted_tokens INTEGER,
        predicted_usd REAL,
        usd_per_million REAL,
        training_file TEXT,
        validation_file TEXT,
        known TEXT NOT NULL DEFAULT '[]',
        job_id TEXT,
        status TEXT,
        fine_tuned_model TEXT,
        trained_tokens INTEGER,
        error TEXT,
        begun_at REAL NOT NULL,
        sent_at REAL,
        finished_at REAL
    );
    CREATE UNIQUE INDEX run_open ON run (account, key) WHERE state IN ('intent', 'sent', 'uncertain');
    CREATE UNIQUE INDEX run_job ON run (account, job_id) WHERE job_id IS NOT NULL;
    CREATE INDEX run_model ON run (fine_tuned_model)
    """,
    # What an embedded backend trained was priced like OpenAI's model of that name; its models have `local` for their
    # organisation, on an address without TLS, where OpenAI never was.
    """
    ALTER TABLE run ADD COLUMN dialect TEXT;
    ALTER TABLE run ADD COLUMN folder TEXT;
    ALTER TABLE run ADD COLUMN budget_usd REAL;
    ALTER TABLE run ADD COLUMN budget_period TEXT;
    ALTER TABLE run ADD COLUMN model_deleted_at REAL;
    ALTER TABLE upload ADD COLUMN fingerprint TEXT;
    ALTER TABLE upload ADD COLUMN system TEXT;
    CREATE INDEX upload_file ON upload (file_id);
    UPDATE run SET dialect = '"local"', usd_per_million = 0.0, predicted_usd = 0.0
    WHERE server LIKE 'http://%' AND account IN (
        SELECT account FROM run WHERE server LIKE 'http://%' AND fine_tuned_model LIKE 'ft:%:local:%'
    )
    """,
)
