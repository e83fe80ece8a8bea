/* CPU per inference event from bytes to struct: a served request with 20 features of 17 digits, as MLRun sends it.
 * Yardstick in the same run: cJSON, which makes a tree and no event of it. */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "event/inference.h"

#define FEATURES 20
#define EVENTS 256
#define SECONDS 1
#define BAR_US 1.0

static uint64_t seed = 88172645463325252u;

static double next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (double)(seed >> 11) * 0x1p-53;
}

static void make_event(struct buf *out, int i, double features[FEATURES])
{
    buf_addf(out, "{\"class\": \"M\", \"worker\": 0, \"model\": \"my-model\", \"host\": \"host-1\", "
                  "\"function_uri\": \"my-proj/serving\", \"endpoint_id\": \"2f9d6f3c7a5b4c1e8d0a1b2c3d4e5f60\", "
                  "\"sampling_percentage\": 100.0, \"request\": {\"inputs\": [[");
    for (int f = 0; f < FEATURES; f++) {
        features[f] = next_random();
        buf_addf(out, "%s%.17g", f ? ", " : "", features[f]);
    }
    buf_addf(out,
             "]]}, \"op\": \"infer\", \"resp\": {\"id\": \"%08x\", \"model_name\": \"my-model\", "
             "\"outputs\": [%d]}, \"when\": \"2025-01-01 00:00:%02d.%06d+00:00\", \"microsec\": %d, "
             "\"effective_sample_count\": 1}",
             (unsigned)i * 2654435761u, i % 3, i % 60, i, 100 + i);
}

static double decode_us(struct inference_decoder *d, const struct buf *events, double want[EVENTS][FEATURES])
{
    int64_t start = clock_cpu_us(), spent = 0, n = 0;
    struct inference_event ev;
    struct reject why;
    while (spent < SECONDS * USEC_PER_SEC) {
        for (int i = 0; i < EVENTS; i++) {
            if (inference_decode(d, events[i].data, events[i].len, &ev, &why) != OK) {
                (void)fprintf(stderr, "refused: %s %s\n", reject_name(why.code), why.text);
                exit(1);
            }
            if (ev.n_cols != FEATURES || ev.inputs[i % FEATURES].num != want[i][i % FEATURES])
                exit(1);
        }
        n += EVENTS;
        spent = clock_cpu_us() - start;
    }
    return (double)spent / (double)n;
}

static double cjson_us(const struct buf *events)
{
    int64_t start = clock_cpu_us(), spent = 0, n = 0;
    while (spent < SECONDS * USEC_PER_SEC / 2) {
        for (int i = 0; i < EVENTS; i++) {
            cJSON *tree = cJSON_ParseWithLength(events[i].data, events[i].len + 1);
            if (tree == NULL)
                exit(1);
            cJSON_Delete(tree);
        }
        n += EVENTS;
        spent = clock_cpu_us() - start;
    }
    return (double)spent / (double)n;
}

int main(void)
{
    static struct buf events[EVENTS];
    static double want[EVENTS][FEATURES];
    size_t bytes = 0;
    for (int i = 0; i < EVENTS; i++) {
        make_event(&events[i], i, want[i]);
        bytes += events[i].len;
    }
    struct inference_decoder *d = inference_decoder_new();
    double best = decode_us(d, events, want);
    for (int i = 0; i < 2; i++) {
        double us = decode_us(d, events, want);
        best = us < best ? us : best;
    }
    double yardstick = cjson_us(events);
    printf("{\"bench\":\"decode_20x1\",\"value\":%.3f,\"unit\":\"us_cpu_per_event\",\"yardstick\":%.3f,\"ratio\":%.3f,"
           "\"bar\":%.1f,\"ok\":%s,\"event_bytes\":%zu,\"features\":%d}\n",
           best, yardstick, best / yardstick, BAR_US, best <= BAR_US ? "true" : "false", bytes / EVENTS, FEATURES);
    inference_decoder_free(d);
    for (int i = 0; i < EVENTS; i++)
        buf_done(&events[i]);
    return best <= BAR_US ? 0 : 1;
}
