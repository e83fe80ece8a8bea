/* Columns by what they are: the digest of a schema and of a reference is their key. */
#include "app/training.h"
#include "base/mem.h"
#include "base/sha.h"
#include "columns.h"

static void digest(struct str document, const struct schema *schema, const struct reference *reference,
                   char out[SHA256_TEXT])
{
    CLEANUP(buf_done) struct buf text = {0};
    buf_add(&text, document.p, document.n);
    buf_addf(&text, " %d %d", schema->version, schema->named);
    if (reference) {
        buf_addf(&text, " %lld %d ", (long long)reference->version, reference->automatic);
        reference_to_json(reference, false, &text);
    }
    sha256_hex(text.data, text.len, out);
}

struct columns *columns_shared(struct map *all, struct str document, struct schema *schema, struct reference *reference,
                               bool with_layout)
{
    char key[SHA256_TEXT];
    digest(document, schema, reference, key);
    struct columns *c = map_get(all, str_of(key));
    if (c) {
        reference_free(reference);
        schema_done(schema);
    } else {
        c = mem_alloc(sizeof *c);
        c->schema = *schema;
        c->reference = reference;
        if (reference)
            reference_trim(reference);
        if (with_layout)
            training_layout(&c->layout, &c->schema, reference);
        (void)map_put(all, str_of(key), c);
    }
    *schema = (struct schema){0};
    return c;
}

void columns_done(struct map *all)
{
    struct map_iter it = {0};
    while (map_next(all, &it)) {
        struct columns *c = it.value;
        slot_free(c->spare);
        slot_layout_done(&c->layout);
        reference_free(c->reference);
        schema_done(&c->schema);
        mem_free(c);
    }
    map_done(all);
}
