/* The stream service, to be run alone or with others. */
#pragma once
#include "service/service.h"

struct service_def *stream_service(struct arena *a);
