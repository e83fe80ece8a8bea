/* References through the cache; layouts of slots. */
#include "app/training.h"
#include <stdio.h>
#include <string.h>
#include "base/mem.h"

/* Ids begin again in another database: the time of creation keeps two that share a cache apart. */
static struct str key_of(char out[96], const struct endpoint *ep, int version)
{
    int n = snprintf(out, 96, "reference:%lld:%lld:%d", (long long)ep->id, (long long)ep->created_us, version);
    return (struct str){out, (size_t)n};
}

static rc_t read_record(struct db *db, const struct endpoint *ep, int version, struct buf *ret, struct err *e)
{
    struct endpoint_reference row = {0};
    rc_t rc = reference_get(db, ep->id, version, &row, e);
    if (rc)
        return rc;
    buf_clear(ret);
    buf_addf(ret, "{\"automatic\":%s,\"labels\":", strcmp(row.source, REFERENCE_AUTO) == 0 ? "true" : "false");
    buf_addz(ret, row.labels && row.labels[0] ? row.labels : "[]");
    buf_addz(ret, ",\"statistics\":");
    buf_addz(ret, row.statistics);
    buf_addc(ret, '}');
    endpoint_reference_done(&row);
    return OK;
}

rc_t training_reference(struct db *db, struct cache *cache, const struct endpoint *ep, int version,
                        struct reference **ret, struct err *e)
{
    CLEANUP(buf_done) struct buf text = {0};
    char room[96];
    struct str key = key_of(room, ep, version);
    struct err ignored;
    struct reference *r = NULL;
    rc_t rc = E_NOTFOUND;
    if (cache && cache_get(cache, key, &text) == OK)
        rc = reference_from_record(&r, buf_str(&text), &ignored); /* what is not ours in the cache is not there */
    if (rc) {
        rc = read_record(db, ep, version, &text, e);
        if (!rc)
            rc = reference_from_record(&r, buf_str(&text), e);
        if (!rc && cache)
            cache_set(cache, key, buf_str(&text));
    }
    if (rc)
        return rc;
    r->version = version;
    *ret = r;
    return OK;
}

void training_layout(struct slot_layout *l, const struct schema *s, const struct reference *ref)
{
    struct str *names = mem_array(s->n_features + s->n_labels + 1, sizeof *names);
    for (size_t i = 0; i < s->n_features; i++)
        names[i] = str_of(s->features[i].name);
    for (size_t i = 0; i < s->n_labels; i++)
        names[s->n_features + i] = str_of(s->labels[i].name);
    slot_layout_init(l, names, s->n_features, names + s->n_features, s->n_labels, ref);
    mem_free(names);
}
