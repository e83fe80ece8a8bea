/* The tokens in memory: found by their hash, with what they may. Not for other folders.
 * Thread rule: one thread builds a table, many read it; what is written by many in a row is atomic. */
#pragma once
#include <stdatomic.h>
#include "access/access.h"
#include "base/map.h"
#include "db/token.h"

struct token_row {
    int64_t id; /* 0: not of the database */
    const char *name;
    unsigned char hash[SHA256_BYTES];
    unsigned scopes; /* a bit for each of http_scopes[] */
    bool all_projects;
    struct str *projects;
    size_t n_projects;
    int64_t rate, expires_us;     /* 0: none; rate: requests a second, its own or that of all */
    _Atomic int64_t last_used_us; /* 0: not since this process runs */
    int64_t told_us;              /* the last_used_us that the database has */
    _Atomic int64_t full_us;      /* rate.c's: when its bucket is full again … */
    _Atomic int64_t taken, taken_us;
    int64_t told_taken, seen_total; /* … and what it and the others have counted; seen_total -1: nothing yet */
};

struct token_table {
    struct arena arena;
    struct token_row *rows;
    size_t n;
    struct map by_hash;
};

/* tokens and, when it is not empty, the one of the configuration, which no rate bounds. rate: of those that have none of their own.
 * When `before` is not NULL, what is known of use goes over. */
struct token_table *table_new(const struct token *tokens, size_t n, int64_t rate, const char *configured,
                              const struct token_table *before);
void table_free(struct token_table *t);                                                            /* NULL is fine */
struct token_row *table_find(const struct token_table *t, const unsigned char hash[SHA256_BYTES]); /* NULL: not there */
