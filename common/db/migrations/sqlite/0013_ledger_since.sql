-- PostgreSQL's 0013_ledger_since.sql says what the column means.
ALTER TABLE ledger ADD COLUMN since_us bigint NOT NULL DEFAULT 0;
