/* What a pipeline rejects: the original bytes go to `<topic>.dlt` (complete, at least once), a row with the reason into
 * dead_letters in the ledger's transaction (once; of a flood only the first DEAD_LETTER_ROWS a flush), and a counter.
 *
 * DLT record: key "topic-partition-offset", value as it came, headers x-error-code x-error x-field x-position x-topic
 * x-partition x-offset x-ts x-pipeline
 * x-size. A value that is too long for the bus is cut: x-size then says more than is there. Thread rule: the pipeline's. */
#pragma once
#include "event/reject.h"
#include "pipeline/pipeline.h"

#define DEAD_LETTER_ROWS 1000u
#define DEAD_LETTER_PAYLOAD (64u << 10) /* bytes of it kept in the row */

struct dead_letters;
struct dead_letters *dead_letters_new(const char *pipeline, struct bus_producer *producer);
void dead_letters_free(struct dead_letters *d);
void dead_letters_note(struct dead_letters *d, const struct pipeline_record *r, const struct reject *why); /* copies */
size_t dead_letters_held(const struct dead_letters *d); /* bytes; 0: none */
/* In prepare(): sent to the topics and acknowledged; the days of the rows are made. */
rc_t dead_letters_prepare(struct dead_letters *d, struct db *db, struct pipeline_part *const *parts, size_t n,
                          struct err *e) MUST_CHECK;
/* In write(): the rows. */
rc_t dead_letters_write(struct dead_letters *d, struct db *db, struct pipeline_part *const *parts, size_t n,
                        struct err *e) MUST_CHECK;
/* In done(): forgets those of the partition (NULL: all). */
void dead_letters_done(struct dead_letters *d, const struct pipeline_part *part);
