/* Events and endpoints for tests and benchmarks of the lake. */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "lake/lake.h"

#define LAKE_T0 INT64_C(1735689601123456) /* 2025-01-01 00:00:01.123456 */

static inline struct value number(double v)
{
    return (struct value){.type = VALUE_NUMBER, .num = v};
}
static inline struct value text(const char *z)
{
    return (struct value){.type = VALUE_STRING, .s = str_of(z)};
}
static inline struct value boolean(int v)
{
    return (struct value){.type = VALUE_BOOL, .num = v};
}
static inline struct value json_text(const char *z)
{
    return (struct value){.type = VALUE_JSON, .s = str_of(z)};
}

/* A schema of n number features "f0".. and one label "y", version 1. Free with schema_done. */
static inline struct schema number_schema(size_t n)
{
    struct schema s = {.version = 1, .named = true, .n_features = n, .n_labels = 1};
    char name[24];
    s.features = mem_array(n + 1, sizeof *s.features);
    s.labels = mem_array(1, sizeof *s.labels);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(name, sizeof name, "f%zu", i);
        s.features[i] = (struct column){mem_dupz(name), COLUMN_NUMBER};
    }
    s.labels[0] = (struct column){mem_dupz("y"), COLUMN_NUMBER};
    return s;
}

static inline struct lake_endpoint lake_endpoint(int64_t id, const char *uid, const struct schema *s)
{
    return (struct lake_endpoint){.project_id = 7,
                                  .project = STR("my-proj"),
                                  .endpoint_id = id,
                                  .uid = str_of(uid),
                                  .name = STR("my-model"),
                                  .function_uri = STR("my-proj/serving"),
                                  .model_class = STR("M"),
                                  .endpoint_type = 1,
                                  .schema = s};
}

static inline struct inference_event lake_event(int64_t when_us, const char *id, size_t rows, const struct value *inputs,
                                                size_t n_cols, const struct value *outputs, size_t n_labels)
{
    return (struct inference_event){.when_us = when_us,
                                    .latency_us = 7100,
                                    .request_id = str_of(id),
                                    .sampling_percentage = 100,
                                    .effective_sample_count = (double)rows,
                                    .estimated_prediction_count = (double)rows,
                                    .n_rows = rows,
                                    .n_cols = n_cols,
                                    .n_label_cols = n_labels,
                                    .inputs = inputs,
                                    .outputs = outputs};
}
