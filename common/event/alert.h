/* Names of alerts on the wire: kinds of events, and of what an event is about. MLRun's, exactly. */
#pragma once
#include <stdbool.h>
#include "base/str.h"

enum entity_kind { ENTITY_RESULT, ENTITY_APP, ENTITY_INFRA, ENTITY_JOB, ENTITY_KINDS };
const char *entity_kind_name(enum entity_kind kind); /* "model-endpoint-result" "model-monitoring-application" … */
bool entity_kind_read(struct str name, enum entity_kind *ret);
/* Whether there are such events ("data-drift-detected", …), and what they are about. */
bool event_kind_read(struct str name, enum entity_kind *ret);
