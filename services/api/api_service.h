/* The api, to be run alone or with others. */
#pragma once
#include "service/service.h"

struct service_def *api_service(struct arena *a);
