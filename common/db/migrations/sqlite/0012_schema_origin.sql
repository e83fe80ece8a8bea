ALTER TABLE endpoint_schemas ADD COLUMN from_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE endpoint_schemas ADD COLUMN from_partition INTEGER NOT NULL DEFAULT -1;
ALTER TABLE endpoint_schemas ADD COLUMN from_generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE endpoint_schemas ADD COLUMN from_offset INTEGER NOT NULL DEFAULT 0;
UPDATE endpoint_schemas SET from_us = created_us;
