/* Composition: tables, defaults and routes of several services as those of one. */
#include "service/parts.h"

#include <string.h>

static size_t count_defaults(const struct config_default *d)
{
    size_t n = 0;
    while (d && d[n].env)
        n++;
    return n;
}

/* The first of a name counts. */
static const struct config_default *defaults_of(const struct service_set *set, struct arena *a)
{
    size_t total = count_defaults(set->defaults), n = 0;
    for (size_t i = 0; i < set->part_count; i++)
        total += count_defaults(set->parts[i].def->defaults);
    struct config_default *all = arena_array(a, total + 1, sizeof *all);
    for (size_t i = 0; i < count_defaults(set->defaults); i++)
        all[n++] = set->defaults[i];
    for (size_t i = 0; i < set->part_count; i++)
        for (size_t k = 0; k < count_defaults(set->parts[i].def->defaults); k++)
            all[n++] = set->parts[i].def->defaults[k];
    return all;
}

const struct service_guard *parts_guard(const struct service_set *set)
{
    for (size_t i = 0; i < set->part_count; i++)
        if (set->parts[i].def->guard)
            return set->parts[i].def->guard;
    return NULL;
}

static void rules_of(const struct service_set *set, const struct config_rule *guards, struct arena *a,
                     struct config_spec *spec)
{
    size_t n = 1;
    for (size_t i = 0; i < set->part_count; i++)
        n += set->parts[i].def->rule_count;
    struct config_rule *rules = arena_array(a, n, sizeof *rules);
    for (size_t i = 0; i < set->part_count; i++)
        for (size_t k = 0; k < set->parts[i].def->rule_count; k++)
            rules[spec->rule_count++] = set->parts[i].def->rules[k];
    if (guards)
        rules[spec->rule_count++] = *guards;
    spec->rules = rules;
}

void parts_config(const struct service_set *set, const struct config_table *own, size_t own_count,
                  const struct config_rule *guards, struct arena *a, struct config_spec *spec)
{
    const struct service_guard *guard = parts_guard(set);
    size_t n_guard = guard ? guard->table_count : 0, n = own_count + n_guard, at = 0;
    for (size_t i = 0; i < set->part_count; i++)
        n += set->parts[i].def->table_count;
    struct config_table *tables = arena_array(a, n, sizeof *tables);
    for (size_t i = 0; i < set->part_count; i++)
        for (size_t k = 0; k < set->parts[i].def->table_count; k++)
            tables[at++] = set->parts[i].def->tables[k];
    if (n_guard)
        memcpy(tables + at, guard->tables, n_guard * sizeof *tables);
    memcpy(tables + at + n_guard, own, own_count * sizeof *own);
    spec->tables = tables;
    spec->table_count = n;
    rules_of(set, guards, a, spec);
    spec->defaults = defaults_of(set, a);
}

static const struct http_route *moved(const struct http_routes *from, const char *under, struct arena *a)
{
    struct http_route *rows = arena_array(a, from->count, sizeof *rows);
    for (size_t i = 0; i < from->count; i++) {
        bool root = strcmp(from->rows[i].pattern, "/") == 0;
        rows[i] = from->rows[i];
        rows[i].pattern = arena_printf(a, "%s%s", under, root ? "" : rows[i].pattern);
    }
    return rows;
}

void parts_routes(const struct service_set *set, struct arena *a, struct buf *tables)
{
    const struct service_guard *guard = parts_guard(set);
    for (size_t i = 0; i < set->part_count; i++) {
        const struct service_part *part = &set->parts[i];
        for (size_t k = 0; k < part->def->route_count; k++) {
            struct http_routes t = part->def->routes[k];
            if (part->under)
                t.rows = moved(&t, part->under, a);
            if (t.gate == NULL && guard)
                t.gate = &guard->gate;
            buf_add(tables, (const char *)&t, sizeof t);
        }
    }
}

struct service_def *service_def_dup(struct arena *a, const struct service_def *def)
{
    struct service_def *d = arena_alloc(a, sizeof *d);
    struct config_table *tables = arena_array(a, def->table_count, sizeof *tables);
    struct config_rule *rules = arena_array(a, def->rule_count + 1, sizeof *rules);
    struct http_routes *routes = arena_array(a, def->route_count, sizeof *routes);
    memcpy(tables, def->tables, def->table_count * sizeof *tables);
    if (def->rule_count)
        memcpy(rules, def->rules, def->rule_count * sizeof *rules);
    memcpy(routes, def->routes, def->route_count * sizeof *routes);
    *d = *def;
    d->tables = tables;
    d->rules = rules;
    d->routes = routes;
    return d;
}
