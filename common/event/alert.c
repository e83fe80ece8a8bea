/* Owns the names of alerts on the wire. */
#include "event/alert.h"

#include <stddef.h>

static const char *const entities[] = {
    [ENTITY_RESULT] = "model-endpoint-result", [ENTITY_APP] = "model-monitoring-application", [ENTITY_INFRA] = "model-monitoring-infra", [ENTITY_JOB] = "job"};

static const struct {
    const char *name;
    enum entity_kind entity;
} events[] = {
    {"data-drift-detected", ENTITY_RESULT},
    {"data-drift-suspected", ENTITY_RESULT},
    {"concept-drift-detected", ENTITY_RESULT},
    {"concept-drift-suspected", ENTITY_RESULT},
    {"model-performance-detected", ENTITY_RESULT},
    {"model-performance-suspected", ENTITY_RESULT},
    {"system-performance-detected", ENTITY_RESULT},
    {"system-performance-suspected", ENTITY_RESULT},
    {"mm-app-anomaly-detected", ENTITY_RESULT},
    {"mm-app-anomaly-suspected", ENTITY_RESULT},
    {"mm-app-failed", ENTITY_APP},
    {"model-monitoring-lag-detected", ENTITY_INFRA},
    {"failed", ENTITY_JOB},
};

const char *entity_kind_name(enum entity_kind kind)
{
    return entities[kind];
}

bool entity_kind_read(struct str name, enum entity_kind *ret)
{
    for (int i = 0; i < ENTITY_KINDS; i++)
        if (str_eqz(name, entities[i])) {
            *ret = (enum entity_kind)i;
            return true;
        }
    return false;
}

bool event_kind_read(struct str name, enum entity_kind *ret)
{
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        if (str_eqz(name, events[i].name)) {
            *ret = events[i].entity;
            return true;
        }
    return false;
}
