/* Names of metrics in MLRun's form, for the routes of one endpoint and of several. */
#pragma once
#include "api.h"
#include "db/result.h"

/* The pseudo metric that every endpoint has: the estimated number of its predictions. */
#define INFRA_APP "mlrun-infra"
#define INVOCATIONS "invocations"

/* type= of the query: which of enum metric_type are wanted. */
void metric_types_read(struct call *c, bool ret[2]);
void metric_name_write(struct json_writer *w, const struct project *p, const struct metric_entry *m);
void metric_invocations_write(struct json_writer *w, const struct project *p);
/* A list of those that are wanted: results, metrics, invocations. */
void metric_names_write(struct json_writer *w, const struct project *p, const struct metric_entry *m, size_t n,
                        const bool wanted[2]);
