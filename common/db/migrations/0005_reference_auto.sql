-- From how many of an endpoint's first rows its reference is made when it has none; 0: as the controller's option says, -1: never.
ALTER TABLE projects ADD COLUMN reference_auto bigint NOT NULL DEFAULT 0;
