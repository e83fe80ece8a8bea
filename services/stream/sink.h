/* What both sinks do the same: from a record to a valid, first-seen, placed event. */
#pragma once
#include "cache/cache.h"
#include "event/inference.h"
#include "pipeline/deadletter.h"
#include "registry.h"
#include "stream.h"

struct sink {
    struct stream *st;
    const char *name; /* the pipeline's */
    struct pipeline *pipeline;
    struct cache *cache;
    struct db *db; /* of lookups while records are handled; the pipeline has its own */
    struct registry *registry;
    struct inference_decoder *decoder;
    struct dead_letters *dead;     /* NULL: another pipeline writes them */
    struct pipeline_topic *topics; /* last answer of the topics callback */
    size_t n_topics;
    atomic_bool stopping; /* asked to end: no long work any more */
    size_t n_halves;      /* that wait, of all partitions */
    size_t label;         /* of the pipeline in the metrics */
    /* The sink's own: takes a good event. */
    rc_t (*take)(struct sink *s, const struct pipeline_record *r, const struct inference_event *ev,
                 const struct resolved *at, struct err *e);
    /* NULL: labels are another pipeline's. */
    void (*take_label)(struct sink *s, const struct pipeline_record *r, const struct inference_event *ev);
    void (*free_own)(struct sink *s);
    void *own;
};

struct sink_def {
    const char *name;
    const struct pipeline_ops *ops;
    bool intent, with_references, dead_letters;
    rc_t (*take)(struct sink *s, const struct pipeline_record *r, const struct inference_event *ev,
                 const struct resolved *at, struct err *e);
    void (*take_label)(struct sink *s, const struct pipeline_record *r, const struct inference_event *ev);
    void (*free_own)(struct sink *s);
    void *own;
};
rc_t sink_open(struct sink **ret, struct stream *st, const struct sink_def *def, struct err *e) MUST_CHECK;
rc_t sink_record(void *self, const struct pipeline_record *r, struct err *e) MUST_CHECK; /* ops.record of both */
/* What both do in ops.write and ops.done. */
rc_t sink_write_refused(struct sink *s, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e) MUST_CHECK;
void sink_done(const struct pipeline_part *part);
void sink_refused(void *self, const struct pipeline_record *r); /* ops.refused of both */
void sink_count_deleted(const struct sink *s, int64_t rows);    /* of endpoints that are no more */
