/* inference_check against inference_decode: whoever passes a record on must judge it as whoever reads it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Whether both say the same of the record. */
bool checked_alike(const char *p, size_t n);
