/* Strings inside JSON text: where they end, what they hold, whether they are UTF-8. Inside json/ only. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "json/reader.h"

/* Looks for the closing quote of the string whose first byte is p. JSON_OK: *stop is at the quote and *escapes says
 * whether scan_unescape is needed. Else *stop is the offending byte. */
enum json_error scan_string(const char *p, const char *end, const char **stop, bool *escapes);
/* Writes what a scanned string means; out holds n bytes. Returns the length. */
size_t scan_unescape(const char *p, size_t n, char *out);
/* The length of the UTF-8 sequence at p (1 to 4), or 0 if it is none. */
size_t scan_utf8(const char *p, const char *end);
