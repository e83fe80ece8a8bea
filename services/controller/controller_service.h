/* The controller, to be run alone or with others. */
#pragma once
#include "service/service.h"

struct service_def *controller_service(struct arena *a);
