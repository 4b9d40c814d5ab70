-- A journal as version 0.1.0 wrote it on 2026-11-26: one job that succeeded, one request whose answer never came.
PRAGMA user_version = 1;
BEGIN TRANSACTION;
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
INSERT INTO "run" VALUES(1,'org-mu2SuEjBHq38ebUSS1NFEnKr','http://127.0.0.1:45435/v1','920e7f94fad2d26c0ca4731259dd80de','created','tiny-random',NULL,'6bd48174db87deb62b3c3bd8a31c6bf0f072577e6c076e989669089007bc1998','Add.',312,0.0,0.0,'file-LzNAR0nwjnM75pLIYLaLGw2K',NULL,'[]','ftjob-IGz0i3ZKlI3A1uxjXciQxiKw','succeeded','ft:tiny-random:local::uFol1jba',386,NULL,1795688174.29134,1.79568817444632148738e+09,1795688174.0);
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
INSERT INTO "upload" VALUES(1,'org-mu2SuEjBHq38ebUSS1NFEnKr','8d7add4bd36dd8de0407fd4549f633dca9bec937d21540a222c76cbc429379f3','train-8d7add4bd36dd8de.jsonl',1547,'done','file-LzNAR0nwjnM75pLIYLaLGw2K',1.79568817443453049654e+09);
CREATE INDEX upload_content ON upload (account, sha256);
CREATE UNIQUE INDEX run_open ON run (account, key) WHERE state IN ('intent', 'sent', 'uncertain');
CREATE UNIQUE INDEX run_job ON run (account, job_id) WHERE job_id IS NOT NULL;
CREATE INDEX run_model ON run (fine_tuned_model)
    ;
INSERT INTO "run" (account, server, key, state, model, training_file, known, begun_at, sent_at) VALUES('org-4jSLzzcqczfwZUh3pzIVw7iT','https://api.openai.com/v1','00000000000000000000000000000000','sent','gpt-4o-mini-2024-07-18','file-2','["ftjob-1"]',1795688150.0,1795688151.0);
COMMIT;
