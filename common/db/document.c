/* Owns the stored MLRun objects and their tags. */
#include "db/document.h"

#include "base/clock.h"
#include "base/mem.h"
#include "db/query.h"

#define TAG_OF                                                                                                         \
    "COALESCE((SELECT t.tag FROM document_tags t WHERE t.document_id = documents.id ORDER BY "                         \
    "CASE t.tag WHEN 'latest' THEN 0 ELSE 1 END, t.tag LIMIT 1), '')"
#define DOCUMENT "id, project_id, name, uid, tree, type, state, labels, body, iter, created_us, updated_us, " TAG_OF

void document_done(struct document *d)
{
    char **owned[] = {&d->name, &d->uid, &d->tree, &d->type, &d->state, &d->labels, &d->body, &d->tag};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        mem_free(*owned[i]);
    *d = (struct document){0};
}

void documents_free(struct document *d, size_t n)
{
    for (size_t i = 0; i < n; i++)
        document_done(&d[i]);
    mem_free(d);
}

static struct db_value text_of(const char *z, const char *def)
{
    return DBV_TEXTZ(z ? z : def);
}

rc_t document_put(struct db *db, struct document *inout, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db,
                     "INSERT INTO documents (project_id, kind, name, uid, iter, tree, type, state, labels, body, "
                     "created_us, updated_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11) "
                     "ON CONFLICT (project_id, kind, name, uid, iter) DO UPDATE SET tree = EXCLUDED.tree, "
                     "type = EXCLUDED.type, state = EXCLUDED.state, labels = EXCLUDED.labels, body = EXCLUDED.body, "
                     "updated_us = EXCLUDED.updated_us RETURNING id, created_us, updated_us",
                     DB_PARAMS(DBV_I64(inout->project_id), DBV_TEXTZ(inout->kind), text_of(inout->name, ""),
                               text_of(inout->uid, ""), DBV_I64(inout->iter), text_of(inout->tree, ""),
                               text_of(inout->type, ""), text_of(inout->state, ""), text_of(inout->labels, "{}"),
                               text_of(inout->body, "{}"), DBV_I64(clock_now_us())),
                     &rows, e);
    if (rc)
        return rc;
    inout->id = db_i64(rows, 0, 0);
    inout->created_us = db_i64(rows, 0, 1);
    inout->updated_us = db_i64(rows, 0, 2);
    return OK;
}

rc_t document_tag(struct db *db, const struct document *d, struct str tag, struct err *e)
{
    return db_run(
        db,
        "INSERT INTO document_tags (project_id, kind, name, iter, tag, document_id) VALUES ($1, $2, $3, $4, $5, $6) "
        "ON CONFLICT (project_id, kind, name, iter, tag) DO UPDATE SET document_id = EXCLUDED.document_id",
        DB_PARAMS(DBV_I64(d->project_id), DBV_TEXTZ(d->kind), DBV_TEXTZ(d->name), DBV_I64(d->iter), DBV_TEXT(tag),
                  DBV_I64(d->id)),
        NULL, e);
}

static void add_name(struct query *q, const struct document_filter *f)
{
    if (f->name_part)
        query_part(q, "name", f->name);
    else
        query_text(q, "name =", f->name);
}

static void add_times(struct query *q, const struct document_filter *f)
{
    const struct {
        const char *condition;
        int64_t us;
    } times[] = {{"created_us >=", f->created_from_us},
                 {"created_us <=", f->created_to_us},
                 {"updated_us >=", f->updated_from_us},
                 {"updated_us <=", f->updated_to_us}};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (times[i].us)
            query_number(q, times[i].condition, times[i].us);
}

static void add_conditions(struct query *q, const struct db_dialect *d, const struct document_filter *f)
{
    buf_addf(&q->sql, " WHERE project_id = $%zu", query_add(q, DBV_I64(f->project_id)));
    query_text(q, "kind =", str_of(f->kind)); /* empty: all kinds */
    add_name(q, f);
    query_text(q, "uid =", f->uid);
    query_text(q, "tree =", f->tree);
    query_text(q, "state =", f->state);
    query_in(q, f->not_types ? "type NOT" : "type", f->types, f->n_types);
    query_in(q, "uid", f->uids, f->n_uids);
    query_in(q, "state", f->states, f->n_states);
    query_labels(q, d, f->labels, f->n_labels);
    if (f->iter != DOCUMENT_ITER_ANY)
        query_number(q, "iter =", f->iter);
    if (f->tag.n)
        buf_addf(&q->sql, " AND EXISTS (SELECT 1 FROM document_tags t WHERE t.document_id = documents.id AND t.tag = $%zu)",
                 query_add(q, DBV_TEXT(f->tag)));
    add_times(q, f);
}

static struct document read_row(const struct db_rows *r, size_t i, const struct document_filter *f)
{
    return (struct document){.id = db_i64(r, i, 0),
                             .project_id = DB_I32(r, i, 1),
                             .kind = f->kind,
                             .name = db_dup(r, i, 2),
                             .uid = db_dup(r, i, 3),
                             .tree = db_dup(r, i, 4),
                             .type = db_dup(r, i, 5),
                             .state = db_dup(r, i, 6),
                             .labels = db_dup(r, i, 7),
                             .body = db_dup(r, i, 8),
                             .iter = DB_I32(r, i, 9),
                             .created_us = db_i64(r, i, 10),
                             .updated_us = db_i64(r, i, 11),
                             .tag = f->tag.n ? mem_dup(f->tag.p, f->tag.n) : db_dup(r, i, 12)};
}

rc_t documents_list(struct db *db, const struct document_filter *f, struct document **ret, size_t *n, struct err *e)
{
    CLEANUP(query_freep) struct query *q = query_new();
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    buf_addz(&q->sql, "SELECT " DOCUMENT " FROM ");
    if (f->newest_of_each)
        buf_addz(&q->sql, "(SELECT documents.*, ROW_NUMBER() OVER (PARTITION BY name ORDER BY updated_us DESC, id "
                          "DESC) AS place FROM ");
    buf_addz(&q->sql, "documents");
    add_conditions(q, db->dialect, f);
    if (f->newest_of_each)
        buf_addf(&q->sql, ") AS documents WHERE place <= $%zu", query_add(q, DBV_I64(f->newest_of_each)));
    buf_addz(&q->sql, " ORDER BY updated_us DESC, id DESC");
    if (f->limit)
        buf_addf(&q->sql, " LIMIT $%zu OFFSET $%zu", query_add(q, DBV_I64((int64_t)f->limit)),
                 query_add(q, DBV_I64((int64_t)f->offset)));
    rc_t rc = query_run(q, db, &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = read_row(rows, i, f);
    return OK;
}

rc_t document_get(struct db *db, const struct document_filter *f, struct document *ret, struct err *e)
{
    struct document_filter one = *f;
    struct document *found = NULL;
    size_t n = 0;
    one.offset = 0;
    one.limit = 1;
    rc_t rc = documents_list(db, &one, &found, &n, e);
    if (!rc && n == 0)
        rc = err_set(e, E_NOTFOUND, "no such %s", f->kind);
    if (!rc) {
        *ret = found[0];
        found[0] = (struct document){0};
    }
    documents_free(found, n);
    return rc;
}

rc_t documents_delete(struct db *db, const struct document_filter *f, int64_t *ret_n, struct err *e)
{
    CLEANUP(query_freep) struct query *q = query_new();
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    buf_addz(&q->sql, "DELETE FROM documents");
    add_conditions(q, db->dialect, f);
    rc_t rc = query_run(q, db, &rows, e);
    if (!rc)
        *ret_n = db_rows_affected(rows);
    return rc;
}

rc_t document_tags(struct db *db, int32_t project_id, const char *kind, char ***ret, size_t *n, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(db, "SELECT DISTINCT tag FROM document_tags WHERE project_id = $1 AND kind = $2 ORDER BY tag",
                      DB_PARAMS(DBV_I64(project_id), DBV_TEXTZ(kind)), &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = db_dup(rows, i, 0);
    return OK;
}
