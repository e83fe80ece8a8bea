/* Columns of events against columns of endpoints. One side is the features with their inputs, the other the labels
 * with their outputs; both follow the same rules. */
#include <stdio.h>
#include "app/training.h"
#include "base/mem.h"
#include "log/log.h"
#include "shape.h"

struct side {
    const struct column *cols; /* the schema's */
    size_t n_cols;
    const struct value *values; /* the event's: n_rows × n */
    size_t n_rows, n;
    const struct str *names; /* the event's, or NULL */
    const size_t *at;        /* the schema's column of each of the event's, or SIZE_MAX; NULL: the same, in order */
    char made_up;            /* first letter of names that were made up: f0, p0 */
    const char *field;
};

static bool column_is(const struct column *c, struct str name)
{
    static const char prefix[] = "feature_";
    size_t n = strlen(c->name);
    if (n == name.n && memcmp(c->name, name.p, n) == 0)
        return true;
    return n == name.n + sizeof prefix - 1 && memcmp(c->name, prefix, sizeof prefix - 1) == 0 &&
           memcmp(c->name + sizeof prefix - 1, name.p, name.n) == 0;
}

/* Of two columns of one name the second is the schema's second of that name. */
static size_t column_find(const struct side *s, struct str name, size_t guess, const bool *taken)
{
    if (guess < s->n_cols && !taken[guess] && column_is(&s->cols[guess], name))
        return guess;
    for (size_t i = 0; i < s->n_cols; i++)
        if (!taken[i] && column_is(&s->cols[i], name))
            return i;
    return SIZE_MAX;
}

static void bind(struct side *s, struct arena *a)
{
    size_t same = 0;
    while (s->names && same < s->n && same < s->n_cols && column_is(&s->cols[same], s->names[same]))
        same++;
    if (!s->names || same == s->n)
        return;
    bool *taken = arena_array(a, s->n_cols + 1, sizeof *taken); /* zeroed */
    size_t *at = arena_array(a, s->n, sizeof *at);
    for (size_t i = 0; i < s->n; i++) {
        at[i] = column_find(s, s->names[i], i, taken);
        if (at[i] != SIZE_MAX)
            taken[at[i]] = true;
    }
    s->at = at;
}

static size_t column_of(const struct side *s, size_t i)
{
    return s->at ? s->at[i] : i;
}

static bool all_known(const struct side *s)
{
    for (size_t i = 0; s->at && i < s->n; i++)
        if (s->at[i] == SIZE_MAX)
            return false;
    return !s->names || s->n <= s->n_cols;
}

/* The two sides of an event against a schema (NULL: none yet). */
static void sides_of(const struct schema *s, const struct inference_event *ev, struct arena *a, struct side ret[2])
{
    ret[0] = (struct side){.cols = s ? s->features : NULL,
                           .n_cols = s ? s->n_features : 0,
                           .values = ev->inputs,
                           .n_rows = ev->n_rows,
                           .n = ev->n_cols,
                           .names = ev->input_names,
                           .made_up = 'f',
                           .field = ev->inputs_field};
    ret[1] = (struct side){.cols = s ? s->labels : NULL,
                           .n_cols = s ? s->n_labels : 0,
                           .values = ev->outputs,
                           .n_rows = ev->n_rows,
                           .n = ev->n_label_cols,
                           .names = ev->output_names,
                           .made_up = 'p',
                           .field = ev->outputs_field};
    bind(&ret[0], a);
    bind(&ret[1], a);
}

/* f0, f1, … in order: nobody named these. */
static bool is_made_up(const struct side *s)
{
    for (size_t i = 0; i < s->n_cols; i++) {
        char want[24];
        (void)snprintf(want, sizeof want, "%c%zu", s->made_up, i);
        if (strcmp(s->cols[i].name, want) != 0)
            return false;
    }
    return true;
}

static enum column_type type_of(const struct side *s, size_t col)
{
    static const enum column_type by_value[] = {
        [VALUE_NULL] = COLUMN_UNKNOWN, [VALUE_NUMBER] = COLUMN_NUMBER, [VALUE_BOOL] = COLUMN_BOOL, [VALUE_STRING] = COLUMN_STRING, [VALUE_JSON] = COLUMN_JSON};
    for (size_t row = 0; row < s->n_rows; row++) {
        enum value_type type = s->values[row * s->n + col].type;
        if (type != VALUE_NULL)
            return by_value[type];
    }
    return COLUMN_UNKNOWN;
}

static bool teaches_types(const struct side *s)
{
    for (size_t i = 0; i < s->n; i++) {
        size_t at = column_of(s, i);
        if (at < s->n_cols && s->cols[at].type == COLUMN_UNKNOWN && type_of(s, i) != COLUMN_UNKNOWN)
            return true;
    }
    return false;
}

static enum fit side_fit(const struct side *s, struct reject *why)
{
    if (s->n_rows == 0)
        return FIT_YES;
    if (!all_known(s))
        return FIT_EXTEND;
    if (!s->names && s->n != s->n_cols) {
        if (is_made_up(s))
            return FIT_EXTEND;
        if (s->n > s->n_cols) {
            (void)reject_set(why, REJECT_SCHEMA_MISMATCH, s->field, 0, "%zu values a row, the endpoint has %zu names",
                             s->n, s->n_cols);
            return FIT_REJECT;
        }
    }
    return teaches_types(s) ? FIT_EXTEND : FIT_YES;
}

enum fit shape_fit(const struct shape *shape, const struct inference_event *ev, struct arena *a, struct reject *why)
{
    struct side sides[2];
    sides_of(&shape->columns->schema, ev, a, sides);
    enum fit fit = side_fit(&sides[0], why);
    enum fit second = fit == FIT_REJECT ? fit : side_fit(&sides[1], why);
    return second > fit ? second : fit;
}

bool shape_holds(const struct shape *s, const struct pipeline_record *r)
{
    if (r->part->schema_seq && s->seq > r->part->schema_seq)
        return false;
    if (s->from.partition == r->part->partition && s->from.generation == r->part->generation)
        return s->from.offset <= r->offset;
    return s->from.us <= r->timestamp_us;
}

struct shape *shape_newest(const struct known *k, const struct pipeline_record *r)
{
    struct shape *oldest = NULL;
    for (struct shape *s = k->shapes; s; s = s->next) {
        if (s->reference_version != k->reference_version)
            continue;
        if (shape_holds(s, r))
            return s;
        oldest = s;
    }
    return oldest;
}

struct shape *shape_among(const struct known *k, const struct pipeline_record *r, const struct inference_event *ev,
                          struct arena *a)
{
    struct reject ignored;
    for (struct shape *s = ev->input_names ? k->shapes : NULL; s; s = s->next)
        if (s->reference_version == k->reference_version && shape_holds(s, r) && shape_fit(s, ev, a, &ignored) == FIT_YES)
            return s;
    return NULL;
}

static const struct value *side_place(const struct side *s, struct arena *a)
{
    if (s->n_rows == 0 || (!s->at && s->n == s->n_cols))
        return s->values;
    struct value *out = arena_array(a, s->n_rows * s->n_cols, sizeof *out); /* zeroed: VALUE_NULL */
    for (size_t i = 0; i < s->n; i++) {
        size_t at = column_of(s, i);
        for (size_t row = 0; row < s->n_rows; row++)
            out[row * s->n_cols + at] = s->values[row * s->n + i];
    }
    return out;
}

void shape_place(const struct shape *shape, const struct inference_event *ev, struct arena *a,
                 const struct value **ret_inputs, const struct value **ret_outputs)
{
    struct side sides[2];
    sides_of(&shape->columns->schema, ev, a, sides);
    *ret_inputs = side_place(&sides[0], a);
    *ret_outputs = side_place(&sides[1], a);
}

/* ---- a new schema ---- */

static char *name_for(struct arena *a, struct str name)
{
    char *out = arena_alloc(a, name.n + 10);
    (void)column_name(out, name);
    return out;
}

rc_t schema_check(const struct inference_event *ev, struct reject *why)
{
    const struct {
        const struct str *names;
        size_t n;
        const char *field;
    } sides[] = {{ev->input_names, ev->n_cols, ev->input_names_field},
                 {ev->output_names, ev->n_label_cols, ev->output_names_field}};
    struct buf room = {0};
    rc_t rc = OK;
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; rc == OK && sides[k].names && i < sides[k].n; i++) {
            buf_clear(&room);
            buf_reserve(&room, sides[k].names[i].n + 10);
            if (column_name(room.data, sides[k].names[i]) == 0)
                rc = reject_set(why, REJECT_BAD_NAME, sides[k].field, 0, "column %zu has a name without a letter", i);
        }
    }
    buf_done(&room);
    return rc;
}

/* The columns after this event: the base's with types learned, or the event's own. */
static struct column *side_extend(const struct side *s, struct arena *a, size_t *ret_n)
{
    bool known = s->n_cols > 0 && all_known(s);
    if (known && !s->names && s->n != s->n_cols && is_made_up(s))
        known = false;
    size_t n = *ret_n = known || s->n_rows == 0 ? s->n_cols : s->n;
    struct column *cols = arena_array(a, n ? n : 1, sizeof *cols);
    for (size_t i = 0; i < n; i++) {
        if (known || s->n_rows == 0)
            cols[i] = s->cols[i];
        else
            cols[i] = (struct column){s->names ? name_for(a, s->names[i]) : arena_printf(a, "%c%zu", s->made_up, i),
                                      type_of(s, i)};
    }
    for (size_t i = 0; known && i < s->n; i++) {
        size_t at = column_of(s, i);
        if (at < n && cols[at].type == COLUMN_UNKNOWN)
            cols[at].type = type_of(s, i);
    }
    return cols;
}

bool schema_from_event(const struct schema *base, const struct inference_event *ev, struct buf *ret)
{
    struct arena a = {0};
    struct side sides[2];
    struct schema next = {.named = ev->input_names || (base && base->named)};
    sides_of(base, ev, &a, sides);
    next.features = side_extend(&sides[0], &a, &next.n_features);
    next.labels = side_extend(&sides[1], &a, &next.n_labels);
    schema_print(&next, ret);
    arena_done(&a);
    return next.named;
}

/* ---- shapes ---- */

/* One that cannot be read was stored by something that did not check: the endpoint goes on without it. One that is no more
 * went with its endpoint, of which the next refresh tells. */
static rc_t read_reference(const struct known *k, const struct shape_source *from, int version, struct reference **ret,
                           struct err *e)
{
    rc_t rc = version ? training_reference(from->db, from->cache, &k->ep, version, ret, e) : OK;
    if (rc == E_NOTFOUND)
        return OK;
    if (rc == E_INVALID) {
        log_warn("reference_unreadable", LF_STR("endpoint", k->ep.uid), LF_I64("version", version), LF_ERR(e));
        rc = OK;
    }
    return rc;
}

rc_t shape_get(struct known *k, const struct shape_source *from, const struct endpoint_schema *row, struct shape **ret,
               struct err *e)
{
    for (struct shape *s = k->shapes; s; s = s->next) {
        if (s->columns->schema.version == row->version && s->reference_version == k->reference_version) {
            *ret = s;
            return OK;
        }
    }
    struct schema schema = {0};
    struct reference *reference = NULL;
    rc_t rc = schema_parse(str_of(row->document), &schema, e);
    if (rc)
        return err_prefix(e, E_INVALID, "schema %d of endpoint %s: ", row->version, k->ep.uid);
    schema.version = row->version;
    schema.named = row->named;
    rc = read_reference(k, from, k->reference_version, &reference, e);
    if (rc) {
        schema_done(&schema);
        return rc;
    }
    struct shape *s = mem_alloc(sizeof *s);
    s->columns = columns_shared(from->columns, str_of(row->document), &schema, reference, from->with_reference);
    s->seq = row->seq;
    s->from = row->from;
    s->reference_version = k->reference_version;
    struct shape **at = &k->shapes;
    while (*at && (*at)->columns->schema.version > row->version)
        at = &(*at)->next;
    s->next = *at;
    *at = s;
    *ret = s;
    return OK;
}
