"""The tables of the backend's database, and how they came to be what they are."""

from __future__ import annotations

__all__ = ["MIGRATIONS"]

# Deleted files and models keep their row: a listing that pages with `after` goes on past them.
# An entry that was released is never changed, since folders out there have run it: what is new is a new entry.
# AUTOINCREMENT gives no `seq` twice, not even after the newest row went, so that pages keep their order.
# UNIQUE (job, step) binds metrics alone: messages have no step, and to SQLite no NULL equals another.
# No statement may hold a semicolon, at which the scripts are parted.
MIGRATIONS = (
    """
    CREATE TABLE file (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        filename TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        purpose TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER,
        deleted_at INTEGER
    );
    CREATE INDEX file_sha256 ON file (sha256);
    CREATE TABLE job (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        status TEXT NOT NULL,
        model TEXT NOT NULL,
        base TEXT NOT NULL,
        parent TEXT,
        training_file TEXT NOT NULL,
        validation_file TEXT,
        training_sha256 TEXT NOT NULL,
        validation_sha256 TEXT,
        suffix TEXT,
        tuned_name TEXT NOT NULL,
        seed INTEGER NOT NULL,
        method TEXT NOT NULL,
        resolved TEXT,
        metadata TEXT,
        error TEXT,
        created_at INTEGER NOT NULL,
        queued_at REAL NOT NULL,
        finished_at INTEGER,
        estimated_finish INTEGER,
        trained_tokens INTEGER,
        result_file TEXT,
        read_offset INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX job_status ON job (status, queued_at);
    CREATE TABLE event (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        job TEXT NOT NULL REFERENCES job (id),
        created_at INTEGER NOT NULL,
        level TEXT NOT NULL,
        message TEXT NOT NULL,
        type TEXT NOT NULL,
        data TEXT,
        step INTEGER,
        UNIQUE (job, step)
    );
    CREATE INDEX event_job ON event (job, seq);
    CREATE TABLE model (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        base TEXT NOT NULL,
        adapter TEXT NOT NULL,
        job TEXT NOT NULL REFERENCES job (id),
        created_at INTEGER NOT NULL,
        deleted_at INTEGER
    );
    CREATE TABLE checkpoint (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        job TEXT NOT NULL REFERENCES job (id),
        step INTEGER NOT NULL,
        model TEXT NOT NULL,
        metrics TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        UNIQUE (job, step)
    )
    """,
    """
    CREATE TABLE upload (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        filename TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        purpose TEXT NOT NULL,
        status TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        file_expires_after_s INTEGER,
        file TEXT
    );
    CREATE INDEX upload_status ON upload (status, expires_at);
    CREATE TABLE part (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        upload TEXT NOT NULL REFERENCES upload (id),
        bytes INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        created_at INTEGER NOT NULL
    );
    CREATE INDEX part_upload ON part (upload);
    CREATE INDEX part_sha256 ON part (sha256)
    """,
    """
    CREATE TABLE usage (
        day TEXT NOT NULL,
        model TEXT NOT NULL,
        requests INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        PRIMARY KEY (day, model)
    );
    CREATE TABLE dialogue (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        title TEXT NOT NULL,
        body TEXT NOT NULL,
        created_at INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE delivery (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        type TEXT NOT NULL,
        job TEXT NOT NULL REFERENCES job (id),
        created_at INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        due_at REAL
    );
    CREATE INDEX delivery_due ON delivery (due_at)
    """,
    """
    CREATE TABLE response (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        previous TEXT,
        answer TEXT,
        used_at INTEGER NOT NULL
    );
    CREATE INDEX response_used ON response (used_at) WHERE answer IS NOT NULL;
    CREATE TABLE item (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        response TEXT NOT NULL REFERENCES response (id),
        is_input INTEGER NOT NULL,
        content TEXT NOT NULL
    );
    CREATE INDEX item_response ON item (response, seq);
    CREATE TABLE completion (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        model TEXT NOT NULL,
        messages TEXT NOT NULL,
        answer TEXT NOT NULL,
        metadata TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        deleted_at INTEGER
    )
    """,
    """
    ALTER TABLE job ADD COLUMN base_sha256 TEXT
    """,
    # So that no question of a client reads more rows than it gives, however many there are.
    """
    CREATE TABLE label (
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        job INTEGER NOT NULL REFERENCES job (seq),
        PRIMARY KEY (key, value, job)
    ) WITHOUT ROWID;
    INSERT INTO label (key, value, job)
        SELECT pair.key, pair.value, job.seq FROM job, json_each(job.metadata) AS pair WHERE pair.type = 'text';
    CREATE INDEX job_state ON job (status);
    CREATE INDEX job_parent ON job (parent) WHERE parent IS NOT NULL;
    CREATE INDEX job_training ON job (training_sha256)
        WHERE status NOT IN ('cancelled', 'failed', 'succeeded');
    CREATE INDEX job_validation ON job (validation_sha256)
        WHERE status NOT IN ('cancelled', 'failed', 'succeeded');
    CREATE INDEX file_purpose ON file (purpose) WHERE deleted_at IS NULL;
    CREATE INDEX file_expiry ON file (expires_at) WHERE deleted_at IS NULL AND expires_at IS NOT NULL;
    CREATE INDEX model_job ON model (job)
    """,
)
