/* The judge: what was promised, computed from the logs and the clients' book alone, against what the store says. */
#pragma once
#include <stdbool.h>

void check_begin(void); /* from now on each commit is looked at */
/* Nothing is left to do: all read, all closed, all told. */
bool check_settled(void);
void check_end(void); /* once it is */
