/* Inside config/: what loading and reference share. */
#pragma once
#include "config/config.h"

/* "a duration such as 250ms, 10s or 5m, from 100ms to 1m" */
void config_describe_type(const struct config_key *key, struct buf *to);

/* A row of an earlier table with the same name: this one is the same option. */
bool config_is_repeat(const struct config_spec *spec, size_t table, size_t row);
/* The program's default, else the key's; never NULL. */
const char *config_default_of(const struct config_spec *spec, const struct config_key *key);
