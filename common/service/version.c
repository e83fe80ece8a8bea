/* The version of a program that was built without one. */
#include "service/version.h"

__attribute__((weak)) const char build_version[] = "test";
