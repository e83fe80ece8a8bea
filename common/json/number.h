/* JSON's number grammar from text to a correctly rounded double. Inside json/ only. */
#pragma once
#include <stdbool.h>
#include "json/reader.h"

enum number_result { NUMBER_OK, NUMBER_BAD, NUMBER_EOF, NUMBER_RANGE };

/* Reads the number that starts at p ('-' or a digit). *stop: behind it, or where it went wrong. */
enum number_result number_read(const char *p, const char *end, struct json_number *ret, const char **stop);
/* The same grammar, without a value: NUMBER_RANGE is found too. */
enum number_result number_check(const char *p, const char *end, const char **stop);
