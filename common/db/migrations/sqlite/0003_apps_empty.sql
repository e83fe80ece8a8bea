-- Apps that are told of windows without rows too: errors alone, or nothing at all of an endpoint that was asked lately.
ALTER TABLE apps ADD COLUMN wants_empty boolean NOT NULL DEFAULT false;
