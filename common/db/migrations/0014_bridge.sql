-- The pipeline that carries events from the Kafka of the project's credentials to modelmon's: its part of the ledger holds the project's
-- windows open as the others do. Empty: it is the same Kafka, or not known yet.
ALTER TABLE monitoring_credentials ADD COLUMN bridge text NOT NULL DEFAULT '';
