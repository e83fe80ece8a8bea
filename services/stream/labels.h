/* Labels on their way into the database, from the record to the commit of its flush. Thread rule: the pipeline's. */
#pragma once
#include "event/inference.h"
#include "pipeline/pipeline.h"

struct labels;
struct labels *labels_new(void);
void labels_free(struct labels *l);
void labels_note(struct labels *l, const struct pipeline_part *part, const struct inference_event *ev); /* copies */
size_t labels_held(const struct labels *l); /* bytes; 0: none */
/* In prepare(), write() and done() of the pipeline. */
rc_t labels_prepare(struct labels *l, struct db *db, struct err *e) MUST_CHECK;
rc_t labels_write(struct labels *l, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e) MUST_CHECK;
void labels_done(struct labels *l, const struct pipeline_part *part);
