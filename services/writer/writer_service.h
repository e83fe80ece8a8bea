/* The writer, to be run alone or with others. */
#pragma once
#include "service/service.h"

struct service_def *writer_service(struct arena *a);
