/* modelmon serving-spec: what MLRun's serving code starts with, for a server of one's own. */
#include <stdio.h>
#include <string.h>
#include "client.h"
#include "term.h"

struct spec_options {
    struct client api;
    const char *tag, *brokers;
};
static const struct config_key keys[] = {
    CLIENT_KEYS(struct spec_options, api),
    {.env = "TAG", .def = "latest", .type = CONFIG_STR, .offset = offsetof(struct spec_options, tag), .help = "The function's tag."},
    {.env = "BROKERS",
     .def = "",
     .type = CONFIG_STR,
     .offset = offsetof(struct spec_options, brokers),
     .help = "Kafka, host:port[,host:port]: where a function sends to that does not say where itself."},
};

static int run(const void *opts, char *const *operands, size_t n)
{
    const struct spec_options *o = opts;
    CLEANUP(buf_done) struct buf path = {0};
    CLEANUP(json_freep) struct json *answer = NULL;
    struct buf out = {0};
    struct err e = {{0}};
    (void)n; /* it is one */
    const char *slash = strchr(operands[0], '/');
    buf_addz(&path, "/api/v1/projects/");
    client_add_encoded(&path, (struct str){operands[0], (size_t)(slash - operands[0])});
    buf_addz(&path, "/nuclio/");
    client_add_encoded(&path, str_of(slash + 1));
    buf_addz(&path, "/serving-spec?tag=");
    client_add_encoded(&path, str_of(o->tag));
    buf_addz(&path, "&brokers=");
    client_add_encoded(&path, str_of(o->brokers));
    if (client_call(&o->api, "GET", path.data, (struct str){0}, 0, &answer, &e) != OK)
        return client_fail("serving-spec", &e);
    if (client_text(json_get(json_get(answer, "spec") ? json_get(answer, "spec") : answer, "parameters"), "log_stream").n == 0)
        (void)fprintf(
            stderr, "modelmon serving-spec: the spec has no stream, so that nothing is monitored: --brokers HOST:PORT, "
                    "or FUNCTION_BROKERS of the api\n");
    json_print(answer, JSON_NAN_TOKEN, &out);
    buf_addc(&out, '\n');
    return term_put(&out);
}

const struct verb verb_serving_spec = {
    .name = "serving-spec",
    .operands = "PROJECT/FUNCTION",
    .summary = "Prints what MLRun's serving code starts with: SERVING_SPEC_ENV of a deployed function.",
    .notes = "  SERVING_SPEC_ENV=$(modelmon serving-spec shop/serving --brokers localhost:9092) python serve.py",
    .operands_min = 1,
    .operands_max = 1,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .opts_size = sizeof(struct spec_options),
    .run = run,
};
