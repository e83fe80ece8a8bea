/* Inputs and outputs of an inference event from JSON to a dense table of values. Inside event/ only. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/map.h"
#include "event/inference.h"
#include "json/reader.h"

enum rows_form {
    ROWS_ABSENT,
    ROWS_SCALAR, /* one value that is no list */
    ROWS_FLAT,   /* a list with an element that is no list; count values */
    ROWS_LISTS,  /* a list of lists (or an empty list): count rows of n_cols values */
    ROWS_DICTS,  /* a list of objects with the same keys: count rows, names */
    ROWS_COLUMNS /* an object of lists, or of scalars: count rows, names */
};

struct rows {
    enum rows_form form;
    struct value *values;
    size_t n_values, cap;
    size_t count, n_cols;
    struct str *names; /* keys of DICTS and COLUMNS; once settled, else from the schema, or none */
    size_t n_names, cap_names;
    bool by_name_is_set; /* settled: the names are keys, not a schema */
    bool each_is_row;    /* FLAT: each element is a row of one value */
    bool has_list;       /* FLAT: some element is a list after all */
    struct str text;     /* of lists and columns */
    size_t offset;
    struct map by_name;
    const char *names_field; /* settled: where the names stood, for messages; NULL: there are none */
    struct reject shape;     /* the first thing wrong with the rows; code NONE: nothing. Matters only if the rows do */
};

struct schema {
    bool is_set;
    const char *field; /* where it stood, for messages */
    struct str *names;
    size_t n, cap, offset;
};

void rows_reset(struct rows *rows); /* keeps the memory */
void rows_done(struct rows *rows);
/* Takes one value from r. False: r failed. What is JSON but makes no rows goes to rows->shape. */
bool rows_read(struct rows *rows, struct json_reader *r, struct arena *a);
/* Takes a list of names, or null. False: r failed. */
bool schema_read(struct schema *schema, struct json_reader *r, const char *field);
/* Once rows and schema were read, in whatever order: the final table. field is for messages: "request.inputs". */
rc_t rows_settle_inputs(struct rows *rows, struct schema *schema, struct arena *a, const char *field,
                        struct reject *why) MUST_CHECK;
rc_t rows_settle_outputs(struct rows *rows, struct schema *schema, size_t n_rows, struct arena *a, const char *field,
                         struct reject *why) MUST_CHECK;
/* One value of a row, and one name of a column, at the end of what is there. False: r failed. */
bool rows_add_cell(struct rows *rows, struct json_reader *r);
void rows_add_name(struct rows *rows, struct str name);
/* Notes what is wrong with the rows, the first time. Returns true: reading goes on. */
bool rows_wrong(struct rows *rows, const struct json_reader *r, enum reject_code code, size_t offset, const char *text);
