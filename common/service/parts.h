/* Inside service/: what the parts of a process become together. */
#pragma once
#include "base/buf.h"
#include "service/service.h"

/* The first that a part has; NULL: none. */
const struct service_guard *parts_guard(const struct service_set *set);
/* Fills tables, rules and defaults of *spec: those of the parts, the guard's (NULL: it has no rule), then own. */
void parts_config(const struct service_set *set, const struct config_table *own, size_t own_count,
                  const struct config_rule *guards, struct arena *a, struct config_spec *spec);
/* Appends a struct http_routes for each table of each part; paths of parts that are under one get it before them. */
void parts_routes(const struct service_set *set, struct arena *a, struct buf *tables);
