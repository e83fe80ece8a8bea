/* Endpoint records as MLRun's clients before 1.8 write and read them. */
#pragma once
#include "api.h"

/* The answer so far, a record or {"endpoints": […]}, gets what such a client looks for at other places. Nothing for newer clients. */
void endpoint_old_answer(struct call *c);
