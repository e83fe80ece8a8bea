/* A schema against a reference: what counting and placing need of an endpoint's columns. A fleet has many endpoints of one
 * model: equal ones are held once a pipeline.
 * Thread rule: as the registry, that owns them. */
#pragma once
#include "base/map.h"
#include "lake/lake.h"
#include "stats/slot.h"

struct columns { /* fixed once made, but for spare */
    struct schema schema;
    struct reference *reference; /* trimmed; NULL: none, or not wanted */
    struct slot_layout layout;   /* made when references are wanted */
    struct slot *spare;          /* an empty slot of this layout: most endpoints come again within a second */
};

/* Those of *all (sha256 → columns) that are equal to schema and reference, or new ones there. document is what schema was parsed
 * from. Takes both over: *schema is empty then. with_layout is the same for all of a map. They live until columns_done. */
struct columns *columns_shared(struct map *all, struct str document, struct schema *schema, struct reference *reference,
                               bool with_layout);
void columns_done(struct map *all);
