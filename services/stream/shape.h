/* How an event's columns fit an endpoint's: by place, by name, or as a new schema. Pure but for shape_get. */
#pragma once
#include "registry.h"

enum fit {
    FIT_YES,
    FIT_EXTEND, /* valid, but of other columns (or of types not known yet): a new schema version */
    FIT_REJECT, /* *why says it */
};
/* a: for the time of the call. */
enum fit shape_fit(const struct shape *s, const struct inference_event *ev, struct arena *a, struct reject *why);
/* Does its schema hold for the record? */
bool shape_holds(const struct shape *s, const struct pipeline_record *r);
/* Among those of k with its reference that hold for r: the newest (or, of an endpoint's first records, the oldest).
 * NULL: none. */
struct shape *shape_newest(const struct known *k, const struct pipeline_record *r);
struct shape *shape_among(const struct known *k, const struct pipeline_record *r, const struct inference_event *ev,
                          struct arena *a); /* the newest that fits a naming event */
/* Values in the shape's order; missing columns are null. Points into ev when the order is the event's own. */
void shape_place(const struct shape *s, const struct inference_event *ev, struct arena *a,
                 const struct value **ret_inputs, const struct value **ret_outputs);
/* Can columns be named so? E_INVALID: *why says it. */
rc_t schema_check(const struct inference_event *ev, struct reject *why) MUST_CHECK;
/* The document of the schema that the event asks for on top of base (NULL: none). True: its names were given, not made up. */
bool schema_from_event(const struct schema *base, const struct inference_event *ev, struct buf *ret);

struct shape_source {
    struct db *db;
    struct cache *cache;
    struct map *columns; /* of all shapes there are: columns.h */
    bool with_reference;
};
/* The shape of a schema row and the endpoint's newest reference: found in k, or made (for mem_free) and kept there. */
rc_t shape_get(struct known *k, const struct shape_source *from, const struct endpoint_schema *row, struct shape **ret,
               struct err *e) MUST_CHECK;
