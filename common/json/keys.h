/* The table of keys behind the reader, for objects with many. Inside json/ only. */
#pragma once
#include <stdbool.h>
#include "json/reader.h"

void keys_reset(struct json_reader *r); /* for the next text */
/* Appends the key to r->keys, where there is room for it. False: this object has it already. */
bool keys_add(struct json_reader *r, struct json_frame *f, struct str key);
