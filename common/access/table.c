/* Building the table of tokens, and looking in it. */
#include "access/table.h"

#include <string.h>

#include "base/mem.h"

#define PREFIX 16 /* of a hash finds it; the whole is compared in constant time */

static void from_hex(const char *hex, unsigned char out[SHA256_BYTES])
{
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        unsigned v = 0;
        for (size_t k = 0; k < 2; k++) {
            char c = hex[2 * i + k];
            v = v * 16 + (unsigned)(c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 0);
        }
        out[i] = (unsigned char)v;
    }
}

static void split_projects(struct token_row *row, const char *text, struct arena *a)
{
    struct str rest = arena_str(a, str_of(text));
    row->all_projects = str_eqz(rest, "*");
    if (row->all_projects)
        return;
    row->projects = arena_array(a, rest.n + 1, sizeof *row->projects);
    while (rest.n) {
        const char *comma = memchr(rest.p, ',', rest.n);
        size_t n = comma ? (size_t)(comma - rest.p) : rest.n;
        row->projects[row->n_projects++] = (struct str){rest.p, n};
        rest = (struct str){rest.p + n + (comma ? 1 : 0), rest.n - n - (comma ? 1 : 0)};
    }
}

struct token_row *table_find(const struct token_table *t, const unsigned char hash[SHA256_BYTES])
{
    struct token_row *row = t ? map_get(&t->by_hash, (struct str){(const char *)hash, PREFIX}) : NULL;
    return row && sha256_same(row->hash, hash) ? row : NULL;
}

static void add(struct token_table *t, struct token_row *row, const struct token_table *before)
{
    const struct token_row *was = table_find(before, row->hash);
    row->seen_total = -1;
    if (was) {
        atomic_init(&row->last_used_us, atomic_load(&was->last_used_us));
        atomic_init(&row->full_us, atomic_load(&was->full_us));
        atomic_init(&row->taken, atomic_load(&was->taken));
        atomic_init(&row->taken_us, atomic_load(&was->taken_us));
        row->told_us = was->told_us;
        row->told_taken = was->told_taken;
        row->seen_total = was->seen_total;
    }
    (void)map_put(&t->by_hash, (struct str){(const char *)row->hash, PREFIX}, row);
}

static void add_stored(struct token_table *t, const struct token *from, int64_t rate, const struct token_table *before)
{
    struct token_row *row = &t->rows[t->n];
    struct err ignored;
    if (access_scopes_parse(str_of(from->scopes), &row->scopes, &ignored))
        return; /* of a later version: what is not known is not allowed */
    t->n++;
    row->id = from->id;
    row->name = arena_dup(&t->arena, from->name, strlen(from->name));
    row->rate = from->rate ? from->rate : rate;
    row->expires_us = from->expires_us;
    from_hex(from->hash, row->hash);
    split_projects(row, from->projects, &t->arena);
    add(t, row, before);
}

struct token_table *table_new(const struct token *tokens, size_t n, int64_t rate, const char *configured,
                              const struct token_table *before)
{
    struct token_table *t = mem_alloc(sizeof *t);
    t->rows = mem_array(n + 1, sizeof *t->rows);
    for (size_t i = 0; i < n; i++)
        add_stored(t, &tokens[i], rate, before);
    if (configured && *configured) {
        struct token_row *row = &t->rows[t->n++];
        row->name = "ACCESS_ADMIN_TOKEN";
        row->scopes = 1U << HTTP_ADMIN;
        row->all_projects = true;
        sha256_bytes(configured, strlen(configured), row->hash);
        add(t, row, before);
    }
    return t;
}

void table_free(struct token_table *t)
{
    if (!t)
        return;
    map_done(&t->by_hash);
    arena_done(&t->arena);
    mem_free(t->rows);
    mem_free(t);
}
