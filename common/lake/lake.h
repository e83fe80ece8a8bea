/* The lake: every valid event as Parquet, one row per model input, in MLRun's path and columns
 *   {root}/{project}/model-endpoints/parquet/key=<uid>/year=YYYY/month=MM/day=DD/hour=HH/<topic>-<partition>[-gN]-<start20>-<end20>[-sN].parquet
 * (start20/end20: offsets, 20 digits; -sN: schema version when a range has more than one; -gN: when the topic's
 * log is another than the first, see ledger_key). DuckDB writes and reads; it is
 * opened at first need (30 ms, 14 MiB), never at start. Only this folder sees duckdb.h.
 * Columns, in this order; types never change:
 *   function_uri endpoint_name model_class   VARCHAR
 *   timestamp                                TIMESTAMPTZ, µs
 *   request_id VARCHAR   latency BIGINT (µs) first_request last_request VARCHAR (MLRun's form)   last_request_timestamp DOUBLE
 *   labels metrics entities                  VARCHAR: JSON as sent, or null (MLRun's are structs that differ from file to file)
 *   effective_sample_count BIGINT   estimated_prediction_count DOUBLE: the row's share, so that sums over rows are right
 *                                            (MLRun repeats the request's total on each of its rows)
 *   feature_names label_names                VARCHAR[]
 *   the features, the labels                 DOUBLE (numbers, bools, not known yet) or VARCHAR (strings, JSON)
 *   modelmon_offset BIGINT   modelmon_row INTEGER: the record, and the row in it from 0
 *   endpoint_type BIGINT     endpoint_id VARCHAR (the uid)
 *   modelmon_other VARCHAR: null, or a JSON object of the row's values that their columns do not tell, by the names in the file: a
 *                                            value of another type (null in its column), a bool among numbers, 0 or 1 among bools.
 *                                            Infinity as Python writes it. Files of before it lack the column
 * Two columns of a schema whose names differ in case alone cannot stand in one file: the later gets "__2" behind its name there.
 * Thread rule: a writer or reader belongs to one thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/rc.h"
#include "base/str.h"
#include "config/config.h"
#include "db/lakefile.h"
#include "event/inference.h"

struct lake_config {
    char *root;           /* LAKE_DIR */
    int64_t memory_bytes; /* LAKE_MEMORY 256MiB: flush all beyond it */
};
extern const struct config_key lake_keys[];
extern const size_t lake_keys_n;

/* Columns of one schema version of an endpoint: names and stable types. */
enum column_type {
    COLUMN_NUMBER,
    COLUMN_STRING,
    COLUMN_BOOL,
    COLUMN_JSON,
    COLUMN_UNKNOWN, /* named, but no value was seen yet: "unknown" in the document, a nullable DOUBLE of nulls in Parquet */
};
struct column {
    char *name; /* as in Parquet: normalised, and never a metadata or path column (then prefixed "feature_") */
    enum column_type type;
};
struct schema {
    int version;
    bool named;
    size_t n_features, n_labels;
    struct column *features, *labels;
    struct arena mem; /* of them; the maker's elsewhere: nothing */
};
/* The name a column of this feature or label has in Parquet: normalised, "feature_" before a metadata column's name.
 * out has room for name.n + 9 bytes; returns the length, terminated. */
size_t column_name(char *out, struct str name);
/* endpoint_schema.document: {"features":[{"name":…,"type":"number|string|bool|json|unknown"}],"labels":[…]}. version and named
 * are not in it: they stay 0 and false. */
rc_t schema_parse(struct str document, struct schema *ret, struct err *e) MUST_CHECK;
void schema_print(const struct schema *s, struct buf *ret);   /* canonical: equal columns, equal bytes */
void schema_copy(struct schema *ret, const struct schema *s); /* in one piece of memory */
void schema_done(struct schema *s);
/* Names of features, then labels, as they stand in a file: unique without regard to case. Free with lake_names_free. */
char **lake_file_names(const struct schema *s);
void lake_names_free(char **names, size_t n);

/* ---- writing ---- */
struct lake_writer;
/* Whose rows: fixed for a (partition, endpoint, hour, schema). All strings are copied. */
struct lake_endpoint {
    int32_t project_id;
    struct str project;
    int64_t endpoint_id;
    struct str uid, name, function_uri, model_class;
    int endpoint_type;
    const struct schema *schema; /* copied at first use of its version */
};
struct lake_part { /* where the rows come from */
    const char *topic;
    int32_t partition;
    int32_t generation; /* of the topic's log; above 0 it is in the file's name and in the manifest's offsets (ledger_key) */
};
rc_t lake_writer_open(struct lake_writer **ret, const struct lake_config *cfg, struct err *e) MUST_CHECK;
void lake_writer_free(struct lake_writer *w);
/* Takes the event's rows (copied into columns). Its inputs and outputs stand in the schema's places: the caller has matched
 * names (fewer than the schema's columns: the rest is null). NUMBER and BOOL columns take numbers and bools; a value of another
 * type than its column's is null and counted in *ret_nulled. E_INVALID: more values than columns, or no valid names for a path. */
rc_t lake_add(struct lake_writer *w, const struct lake_part *part, int64_t offset, const struct lake_endpoint *ep,
              const struct inference_event *ev, int64_t first_request_us, size_t *ret_nulled, struct err *e) MUST_CHECK;
struct lake_held {
    int64_t bytes, rows, files, oldest_mono_us; /* oldest 0: nothing */
};
struct lake_held lake_held(const struct lake_writer *w);
/* The offsets that the files of a partition are named after. */
struct lake_range {
    struct lake_part part;
    int64_t start_offset, end_offset;
    bool again; /* a flush of it was begun before: what that put in place under other names goes */
};
/* Writes everything held of these partitions under temporary names; lake_place then puts the files in place: one syncfs, renames, one
 * syncfs. Rows stay held until lake_forget, so a repeat writes the same files again. ret: manifest rows (the writer's until its next flush or
 * forget), paths relative to LAKE_DIR. What is held of other partitions stays.
 * E_AGAIN: disk full or read-only (temporaries are gone); E_FATAL: fsync or rename failed (what is on disk is not known: exit). */
rc_t lake_write(struct lake_writer *w, const struct lake_range *ranges, size_t n, struct manifest_row **ret,
                size_t *ret_n, struct err *e) MUST_CHECK;
/* Without replace E_CONFLICT: a file of that name is there, by an earlier attempt or by the range's new owner. Who still owns it
 * calls again, with replace, and it goes on. */
rc_t lake_place(struct lake_writer *w, const struct lake_range *ranges, size_t n, bool replace, struct err *e) MUST_CHECK;
/* Both, with replace. */
rc_t lake_flush(struct lake_writer *w, const struct lake_range *ranges, size_t n, struct manifest_row **ret,
                size_t *ret_n, struct err *e) MUST_CHECK;
/* part NULL: everything. */
void lake_forget(struct lake_writer *w, const struct lake_part *part);
/* Endpoints that rows are held of, each once: *ret for mem_free. */
void lake_holds(const struct lake_writer *w, int64_t **ret, size_t *n);
/* Forgets the rows held of an endpoint that was deleted: how many there were. */
int64_t lake_drop(struct lake_writer *w, int64_t endpoint_id);
void lake_unlink(const struct lake_writer *w, struct str path); /* a file of the last flush that is in no manifest */
/* Temporaries of writers that are no more are removed (called once at start); those of living ones stay. A folder without any
 * becomes a lake: from here on one that does not look like it is not mounted. */
void lake_sweep(const struct lake_config *cfg);

/* ---- reading ---- */
struct lake_reader;
#define LAKE_OTHER "modelmon_other"
rc_t lake_reader_open(struct lake_reader **ret, const struct lake_config *cfg, struct err *e) MUST_CHECK;
void lake_reader_free(struct lake_reader *r);
/* Rows of [start, end) of event time from these files, restricted to columns, batch by batch (≤ 2048 rows). Column c of a batch
 * is doubles (missing = NaN with its mask bit) or strings; the type is the file's and may differ from batch to batch. Columns
 * that a file lacks are all-missing NUMBERs. Metadata columns can be asked for too. Paths are the manifest's: below LAKE_DIR, none
 * absolute, no "." or "..". What fn fails with ends the reading and is answered. E_NOTFOUND: a file is gone; E_INVALID: it is no
 * Parquet, or no such path; E_AGAIN: the lake is away, the disk fails, or memory is short. */
struct lake_column {
    enum column_type type;
    const double *num;            /* NUMBER, BOOL */
    const struct str *text;       /* STRING, JSON */
    const unsigned char *missing; /* a byte a row */
};
struct lake_batch {
    size_t n_rows, n_cols;
    const struct lake_column *cols;
    const int64_t *when_us;
};
typedef rc_t lake_batch_fn(void *arg, const struct lake_batch *b, struct err *e);
rc_t lake_read(struct lake_reader *r, const char *const *paths, size_t n_paths, const char *const *columns,
               size_t n_columns, int64_t start_us, int64_t end_us, lake_batch_fn *fn, void *arg, struct err *e) MUST_CHECK;
/* Whether it is there; *ret false: it is gone for good. E_AGAIN: not known, the lake is away (lake_root_check). */
rc_t lake_has_file(const struct lake_config *cfg, const char *path, bool *ret, struct err *e) MUST_CHECK;
