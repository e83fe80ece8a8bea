/* One file's rows through DuckDB into Parquet.
 *
 *   COPY (FROM lake_rows()) TO 'path'
 *
 * lake_rows is a table function registered once: it has the columns of the file being written and fills DuckDB's vectors
 * straight from the held cells, so there is no table in between. What is the same for a whole file is a constant vector. */
#include "lake/lake_export.h"
#include <math.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/time.h"

struct scan { /* where the function is in the file */
    size_t event, row_in_event, row;
};

/* A chunk's rows: which event each is of, and which row of it. */
struct slice {
    const struct lake_file *f;
    size_t first, n;
    const struct lake_event **events;
    uint32_t *row_in_event;
};

typedef void fill_fn(duckdb_vector v, const struct slice *s);

static void set_null(duckdb_vector v, size_t row)
{
    duckdb_vector_ensure_validity_writable(v);
    duckdb_validity_set_row_invalid(duckdb_vector_get_validity(v), row);
}

static void set_text(duckdb_vector v, size_t row, struct str s)
{
    duckdb_vector_assign_string_element_len(v, row, s.n ? s.p : "", s.n);
}

static void set_constant(duckdb_vector v, duckdb_value value)
{
    duckdb_vector_reference_value(v, value);
    duckdb_destroy_value(&value);
}

static void constant_text(duckdb_vector v, const char *text)
{
    set_constant(v, duckdb_create_varchar(text));
}

static void fill_function_uri(duckdb_vector v, const struct slice *s)
{
    constant_text(v, s->f->function_uri);
}
static void fill_name(duckdb_vector v, const struct slice *s)
{
    constant_text(v, s->f->name);
}
static void fill_model_class(duckdb_vector v, const struct slice *s)
{
    constant_text(v, s->f->model_class);
}
static void fill_uid(duckdb_vector v, const struct slice *s)
{
    constant_text(v, s->f->uid);
}
static void fill_endpoint_type(duckdb_vector v, const struct slice *s)
{
    set_constant(v, duckdb_create_int64(s->f->endpoint_type));
}

static void fill_null(duckdb_vector v, const struct slice *s)
{
    (void)s;
    set_constant(v, duckdb_create_null_value());
}

static void fill_list(duckdb_vector v, const struct column *cols, size_t n)
{
    duckdb_logical_type text = duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR);
    duckdb_value *items = mem_array(n + 1, sizeof *items);
    for (size_t i = 0; i < n; i++)
        items[i] = duckdb_create_varchar(cols[i].name);
    set_constant(v, duckdb_create_list_value(text, items, n));
    for (size_t i = 0; i < n; i++)
        duckdb_destroy_value(&items[i]);
    mem_free(items);
    duckdb_destroy_logical_type(&text);
}
static void fill_feature_names(duckdb_vector v, const struct slice *s)
{
    fill_list(v, s->f->schema.features, s->f->schema.n_features);
}
static void fill_label_names(duckdb_vector v, const struct slice *s)
{
    fill_list(v, s->f->schema.labels, s->f->schema.n_labels);
}

static void fill_timestamp(duckdb_vector v, const struct slice *s)
{
    int64_t *to = duckdb_vector_get_data(v);
    for (size_t i = 0; i < s->n; i++)
        to[i] = s->events[i]->when_us;
}

static void fill_texts(duckdb_vector v, const struct slice *s, size_t member)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct text_at *t = (const void *)((const char *)s->events[i] + member);
        if (text_is_none(*t))
            set_null(v, i);
        else
            set_text(v, i, lake_text(s->f, *t));
    }
}
static void fill_request_id(duckdb_vector v, const struct slice *s)
{
    fill_texts(v, s, offsetof(struct lake_event, request_id));
}
static void fill_labels(duckdb_vector v, const struct slice *s)
{
    fill_texts(v, s, offsetof(struct lake_event, labels));
}
static void fill_metrics(duckdb_vector v, const struct slice *s)
{
    fill_texts(v, s, offsetof(struct lake_event, metrics));
}

static void fill_latency(duckdb_vector v, const struct slice *s)
{
    int64_t *to = duckdb_vector_get_data(v);
    for (size_t i = 0; i < s->n; i++) {
        to[i] = s->events[i]->latency_us;
        if (to[i] < 0)
            set_null(v, i);
    }
}

/* MLRun's form of an instant, given that text holds that of another: within the same second only the fraction differs. */
static size_t next_time(char text[TIME_TEXT], size_t n, int64_t shown_us, int64_t us)
{
    if (n == 0 || time_floor(us, USEC_PER_SEC) != time_floor(shown_us, USEC_PER_SEC))
        return time_mlrun(text, us);
    char *dot = memchr(text, '.', n);
    int64_t fraction = us - time_floor(us, USEC_PER_SEC);
    for (int i = 6; i >= 1; i--, fraction /= 10)
        dot[i] = (char)('0' + fraction % 10);
    return n;
}

static void fill_times(duckdb_vector v, const struct slice *s, size_t member)
{
    char text[TIME_TEXT];
    size_t n = 0;
    int64_t shown = 0;
    for (size_t i = 0; i < s->n; i++) {
        const int64_t *us = (const void *)((const char *)s->events[i] + member);
        if (n == 0 || *us != shown)
            n = next_time(text, n, shown, *us);
        shown = *us;
        set_text(v, i, (struct str){text, n});
    }
}
static void fill_first_request(duckdb_vector v, const struct slice *s)
{
    fill_times(v, s, offsetof(struct lake_event, first_request_us));
}
static void fill_last_request(duckdb_vector v, const struct slice *s)
{
    fill_times(v, s, offsetof(struct lake_event, when_us));
}

static void fill_last_request_timestamp(duckdb_vector v, const struct slice *s)
{
    double *to = duckdb_vector_get_data(v);
    for (size_t i = 0; i < s->n; i++)
        to[i] = (double)s->events[i]->when_us / 1e6;
}

/* Whole samples: the first rows of an event have one more when they do not divide. */
static void fill_sample_count(duckdb_vector v, const struct slice *s)
{
    int64_t *to = duckdb_vector_get_data(v);
    for (size_t i = 0; i < s->n; i++) {
        int64_t total = (int64_t)llround(s->events[i]->sample_count), rows = s->events[i]->n_rows;
        to[i] = total / rows + (s->row_in_event[i] < total % rows);
    }
}

static void fill_prediction_count(duckdb_vector v, const struct slice *s)
{
    double *to = duckdb_vector_get_data(v);
    for (size_t i = 0; i < s->n; i++)
        to[i] = s->events[i]->prediction_count / s->events[i]->n_rows;
}

static void fill_offset(duckdb_vector v, const struct slice *s)
{
    int64_t *to = duckdb_vector_get_data(v);
    for (size_t i = 0; i < s->n; i++)
        to[i] = s->events[i]->offset;
}

static void fill_row(duckdb_vector v, const struct slice *s)
{
    int32_t *to = duckdb_vector_get_data(v);
    for (size_t i = 0; i < s->n; i++)
        to[i] = (int32_t)s->row_in_event[i];
}

static void fill_other(duckdb_vector v, const struct slice *s)
{
    if (!s->f->others) {
        fill_null(v, s);
        return;
    }
    for (size_t i = 0; i < s->n; i++) {
        struct text_at t = s->f->others[s->first + i];
        if (text_is_none(t))
            set_null(v, i);
        else
            set_text(v, i, lake_text(s->f, t));
    }
}

/* Columns before and behind the features and labels. lake.h says what is in them. */
struct meta {
    const char *name;
    duckdb_type type;
    fill_fn *fill;
};
static const struct meta before[] = {
    {"function_uri", DUCKDB_TYPE_VARCHAR, fill_function_uri},
    {"endpoint_name", DUCKDB_TYPE_VARCHAR, fill_name},
    {"model_class", DUCKDB_TYPE_VARCHAR, fill_model_class},
    {"timestamp", DUCKDB_TYPE_TIMESTAMP_TZ, fill_timestamp},
    {"request_id", DUCKDB_TYPE_VARCHAR, fill_request_id},
    {"latency", DUCKDB_TYPE_BIGINT, fill_latency},
    {"first_request", DUCKDB_TYPE_VARCHAR, fill_first_request},
    {"last_request", DUCKDB_TYPE_VARCHAR, fill_last_request},
    {"last_request_timestamp", DUCKDB_TYPE_DOUBLE, fill_last_request_timestamp},
    {"labels", DUCKDB_TYPE_VARCHAR, fill_labels},
    {"metrics", DUCKDB_TYPE_VARCHAR, fill_metrics},
    {"entities", DUCKDB_TYPE_VARCHAR, fill_null},
    {"effective_sample_count", DUCKDB_TYPE_BIGINT, fill_sample_count},
    {"estimated_prediction_count", DUCKDB_TYPE_DOUBLE, fill_prediction_count},
    {"feature_names", DUCKDB_TYPE_LIST, fill_feature_names},
    {"label_names", DUCKDB_TYPE_LIST, fill_label_names},
};
static const struct meta behind[] = {
    {"modelmon_offset", DUCKDB_TYPE_BIGINT, fill_offset},
    {"modelmon_row", DUCKDB_TYPE_INTEGER, fill_row},
    {"endpoint_type", DUCKDB_TYPE_BIGINT, fill_endpoint_type},
    {"endpoint_id", DUCKDB_TYPE_VARCHAR, fill_uid},
    {LAKE_OTHER, DUCKDB_TYPE_VARCHAR, fill_other},
};
#define COUNT(a) (sizeof(a) / sizeof *(a))

static void add_column(duckdb_bind_info info, const char *name, duckdb_type type)
{
    duckdb_logical_type t = duckdb_create_logical_type(type == DUCKDB_TYPE_LIST ? DUCKDB_TYPE_VARCHAR : type);
    if (type == DUCKDB_TYPE_LIST) {
        duckdb_logical_type list = duckdb_create_list_type(t);
        duckdb_destroy_logical_type(&t);
        t = list;
    }
    duckdb_bind_add_result_column(info, name, t);
    duckdb_destroy_logical_type(&t);
}

static const struct column *column_at(const struct lake_file *f, size_t i)
{
    return i < f->schema.n_features ? &f->schema.features[i] : &f->schema.labels[i - f->schema.n_features];
}

static void on_bind(duckdb_bind_info info)
{
    const struct lake_file *f = ((struct export *)duckdb_bind_get_extra_info(info))->file;
    char **names = lake_file_names(&f->schema);
    for (size_t i = 0; i < COUNT(before); i++)
        add_column(info, before[i].name, before[i].type);
    for (size_t i = 0; i < f->n_cols; i++)
        add_column(info, names[i], column_is_double(column_at(f, i)->type) ? DUCKDB_TYPE_DOUBLE : DUCKDB_TYPE_VARCHAR);
    for (size_t i = 0; i < COUNT(behind); i++)
        add_column(info, behind[i].name, behind[i].type);
    lake_names_free(names, f->n_cols);
    duckdb_bind_set_cardinality(info, f->n_rows, true);
}

static void on_init(duckdb_init_info info)
{
    duckdb_init_set_init_data(info, mem_alloc(sizeof(struct scan)), mem_free);
    duckdb_init_set_max_threads(info, 1);
}

static void fill_numbers(duckdb_vector v, const struct slice *s, size_t col)
{
    const union cell *from = s->f->cells + s->first * s->f->n_cols + col;
    double *to = duckdb_vector_get_data(v);
    for (size_t i = 0; i < s->n; i++, from += s->f->n_cols) {
        to[i] = from->num;
        if (from->bits == CELL_NULL)
            set_null(v, i);
    }
}

static void fill_strings(duckdb_vector v, const struct slice *s, size_t col)
{
    const union cell *from = s->f->cells + s->first * s->f->n_cols + col;
    for (size_t i = 0; i < s->n; i++, from += s->f->n_cols) {
        if (text_is_none(from->text))
            set_null(v, i);
        else
            set_text(v, i, lake_text(s->f, from->text));
    }
}

static void step(struct scan *scan, struct slice *s, size_t max)
{
    s->first = scan->row;
    while (s->n < max && scan->row < s->f->n_rows) {
        const struct lake_event *ev = &s->f->events[scan->event];
        if (scan->row_in_event == ev->n_rows) {
            scan->event++;
            scan->row_in_event = 0;
            continue;
        }
        s->events[s->n] = ev;
        s->row_in_event[s->n++] = (uint32_t)scan->row_in_event++;
        scan->row++;
    }
}

static void fill_chunk(duckdb_data_chunk chunk, const struct slice *s)
{
    idx_t at = 0;
    for (size_t i = 0; i < COUNT(before); i++)
        before[i].fill(duckdb_data_chunk_get_vector(chunk, at++), s);
    for (size_t i = 0; i < s->f->n_cols; i++) {
        duckdb_vector v = duckdb_data_chunk_get_vector(chunk, at++);
        if (column_is_double(column_at(s->f, i)->type))
            fill_numbers(v, s, i);
        else
            fill_strings(v, s, i);
    }
    for (size_t i = 0; i < COUNT(behind); i++)
        behind[i].fill(duckdb_data_chunk_get_vector(chunk, at++), s);
}

static void on_scan(duckdb_function_info info, duckdb_data_chunk chunk)
{
    const struct export *x = duckdb_function_get_extra_info(info);
    struct scan *scan = duckdb_function_get_init_data(info);
    size_t left = x->file->n_rows - scan->row, max = duckdb_vector_size();
    if (max > left)
        max = left;
    struct slice s = {.f = x->file};
    s.events = mem_grow(NULL, max + 1, sizeof *s.events);
    s.row_in_event = mem_grow(NULL, max + 1, sizeof *s.row_in_event);
    step(scan, &s, max);
    if (s.n)
        fill_chunk(chunk, &s);
    duckdb_data_chunk_set_size(chunk, s.n);
    mem_free(s.events);
    mem_free(s.row_in_event);
}

rc_t export_open(struct export *x, const struct lake_config *cfg, struct err *e)
{
    rc_t rc = duck_open(&x->duck, cfg, e);
    if (rc)
        return rc;
    duckdb_table_function fn = duckdb_create_table_function();
    duckdb_table_function_set_name(fn, "lake_rows");
    duckdb_table_function_set_extra_info(fn, x, NULL);
    duckdb_table_function_set_bind(fn, on_bind);
    duckdb_table_function_set_init(fn, on_init);
    duckdb_table_function_set_function(fn, on_scan);
    if (duckdb_register_table_function(x->duck.con, fn) == DuckDBError)
        rc = err_set(e, E_AGAIN, "DuckDB: the table function is refused");
    duckdb_destroy_table_function(&fn);
    if (rc)
        export_close(x);
    return rc;
}

void export_close(struct export *x)
{
    duck_close(&x->duck);
}

rc_t export_write(struct export *x, const struct lake_file *f, const char *path, struct err *e)
{
    CLEANUP(buf_done) struct buf sql = {0};
    buf_addz(&sql, "COPY (FROM lake_rows()) TO ");
    duck_quote(&sql, path, '\'');
    /* without dictionaries: hashing every string is a twentieth of the stream's CPU, and snappy folds repeats too */
    buf_addz(&sql, " (FORMAT parquet, COMPRESSION snappy, DICTIONARY_SIZE_LIMIT 1, USE_TMP_FILE false)");
    x->file = f;
    rc_t rc = duck_run(&x->duck, sql.data, e);
    x->file = NULL;
    return rc;
}
