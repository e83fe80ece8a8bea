-- Since when a ledger row is its project's. A project that was deleted and made again goes on in the topic of the former one:
-- records older than this are the former one's, and have no effect. 0: no project of that name was before it.
ALTER TABLE ledger ADD COLUMN since_us bigint NOT NULL DEFAULT 0;
