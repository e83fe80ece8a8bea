/* Checked, locale-free numbers from text and to text. The whole of s must be the number. */
#pragma once
#include <stdint.h>
#include "base/buf.h"
#include "base/rc.h"
#include "base/str.h"

rc_t num_i64(struct str s, int64_t *ret) MUST_CHECK; /* [-+]digits, no blanks */
rc_t num_i64_in(struct str s, int64_t min, int64_t max, int64_t *ret) MUST_CHECK;
rc_t num_f64(struct str s, double *ret) MUST_CHECK;          /* JSON's number grammar; finite only */
rc_t num_duration_us(struct str s, int64_t *ret) MUST_CHECK; /* 250ms 10s 5m 2h 7d, or a bare number of seconds */
rc_t num_bytes(struct str s, int64_t *ret) MUST_CHECK; /* 64MiB 10kB 512, powers of 1024 for KiB.. and of 1000 for kB.. */
rc_t num_bool(struct str s, int *ret) MUST_CHECK; /* true false 1 0 yes no on off, any case (MLRun sends True/False) */
size_t num_print_f64(char out[32], double v);    /* shortest text that reads back equal; "NaN" "Infinity" "-Infinity" */
int num_order_i64(const void *a, const void *b); /* of int64_t, for qsort and bsearch */
