/* Values of events and rows of the lake, as statistics count them. A row read back has the values that its event brought: of a
 * file's column the type is its schema's, and what the column does not tell is in LAKE_OTHER. */
#pragma once
#include "event/inference.h"
#include "lake/lake.h"
#include "stats/value.h"

static inline struct stat_value value_of_event(const struct value *v)
{
    static const enum stat_kind kinds[] = {
        [VALUE_NULL] = STAT_MISSING, [VALUE_NUMBER] = STAT_NUMBER, [VALUE_BOOL] = STAT_BOOL, [VALUE_STRING] = STAT_TEXT, [VALUE_JSON] = STAT_OTHER};
    return (struct stat_value){kinds[v->type], v->num, v->s};
}
/* type: of the column in the schema that the file was written with. */
struct stat_value value_of_lake(const struct lake_column *c, enum column_type type, size_t row);

struct values_file {
    const char *path;
    int schema_version; /* it was written with */
};
/* values: a row's, one for each column asked for; borrowed until the next row. */
typedef void values_fn(void *arg, int64_t when_us, const struct stat_value *values);
struct values_query {
    const struct schema *schema; /* whose columns are wanted; features before labels */
    size_t first, n;             /* of them */
    int64_t start_us, end_us;
    values_fn *fn;
    void *arg;
};
/* The schema of a version; borrowed until the next. E_NOTFOUND: nobody knows, then the query's stands for it. */
typedef rc_t values_schema_fn(void *arg, int version, const struct schema **ret, struct err *e);
/* Each row of [start, end) of the files. A column that a file's schema lacks on its side (features, labels) is missing. Errors:
 * lake_read's; E_INVALID too when LAKE_OTHER is no object. */
rc_t values_read(struct lake_reader *r, const struct values_query *q, const struct values_file *files, size_t n,
                 values_schema_fn *schema_of, void *arg, struct err *e) MUST_CHECK;

/* values_schema_fn on the database, for one endpoint. */
struct values_schemas {
    struct db *db;
    int64_t endpoint_id;
    struct schema schema; /* the last one */
};
values_schema_fn values_schema_stored;
