-- PostgreSQL's 0014_bridge.sql says what the column means.
ALTER TABLE monitoring_credentials ADD COLUMN bridge text NOT NULL DEFAULT '';
