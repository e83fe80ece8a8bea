/* The forms of serving layers that are not MLRun's: plain, columnar, V1 and V2 bodies, labels, and KServe's halves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "event/cloudevent.h"

static struct inference_decoder *decoder;

static int set_up(void **state)
{
    (void)state;
    decoder = inference_decoder_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    inference_decoder_free(decoder);
    return 0;
}

static char *kept; /* of its own size, so that a read beyond the end is found */
static rc_t decode(const char *text, struct inference_event *ev, struct reject *why)
{
    size_t n = strlen(text);
    free(kept);
    kept = malloc(n);
    assert_non_null(kept);
    memcpy(kept, text, n);
    *why = (struct reject){0};
    return inference_decode(decoder, kept, n, ev, why);
}

static struct inference_event take(const char *text)
{
    struct inference_event ev;
    struct reject why;
    if (decode(text, &ev, &why) != OK)
        fail_msg("%s\nrefused: %s at %s: %s", text, reject_name(why.code), why.field, why.text);
    return ev;
}

static void refused(const char *text, enum reject_code code, const char *field, const char *at)
{
    struct inference_event ev;
    struct reject why;
    if (decode(text, &ev, &why) == OK)
        fail_msg("%s\nwas taken", text);
    if (why.code != code || strcmp(why.field, field) != 0)
        fail_msg("%s\nis refused as %s at %s: %s", text, reject_name(why.code), why.field, why.text);
    if (at && why.position != (size_t)(strstr(text, at) - text))
        fail_msg("%s\nposition %zu, not that of %s", text, why.position, at);
}

static void same(struct str s, const char *want)
{
    if (!str_eqz(s, want))
        fail_msg("\"%.*s\" is not \"%s\"", STR_FMT(s), want);
}

static void numbers(const struct value *v, size_t n, ...)
{
    va_list args;
    va_start(args, n);
    for (size_t i = 0; i < n; i++) {
        double want = va_arg(args, double);
        if (v[i].type != VALUE_NUMBER || v[i].num < want || v[i].num > want)
            fail_msg("value %zu is %g, not %g", i, v[i].num, want);
    }
    va_end(args);
}

static void the_least_event(void **state)
{
    (void)state;
    struct inference_event ev = take("{\"model\":\"iris\",\"inputs\":[[1,2],[3,4]],\"outputs\":[0,1]}");
    assert_true(ev.is_plain && ev.uid_is_made && !ev.is_ingest && ev.kind == INFERENCE_PREDICTION);
    assert_true(ev.when_us == INFERENCE_NO_TIME && ev.request_id.n == 0 && ev.latency_us == -1 && ev.project.n == 0);
    same(ev.model, "iris");
    assert_true(ev.n_rows == 2 && ev.n_cols == 2 && ev.n_label_cols == 1);
    numbers(ev.inputs, 4, 1.0, 2.0, 3.0, 4.0);
    numbers(ev.outputs, 2, 0.0, 1.0);
    assert_true(name_is_uid(ev.uid) && ev.uid.n == 32);
}

static void made_uids_tell_endpoints_apart(void **state)
{
    (void)state;
    static const char *const events[] = {
        "{\"model\":\"a\",\"inputs\":[1],\"outputs\":1}",
        "{\"model\":\"b\",\"inputs\":[1],\"outputs\":1}",
        "{\"model\":\"a\",\"function\":\"f\",\"inputs\":[1],\"outputs\":1}",
        "{\"model\":\"a\",\"function\":\"f:v2\",\"inputs\":[1],\"outputs\":1}",
    };
    char uids[4][33] = {{0}};
    for (size_t i = 0; i < 4; i++) {
        struct inference_event ev = take(events[i]);
        memcpy(uids[i], ev.uid.p, 32);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(uids[i], uids[j]);
    }
    assert_memory_equal(take("{\"outputs\":1,\"inputs\":[1],\"function\":\"p/f\",\"model\":\"a\"}").uid.p, uids[2], 32);
    assert_string_equal(uids[0], "c700d9cc5ece02e5fcc808976bbd6fdf"); /* part of the contract: it must never change */
}

static void every_field_of_the_plain_form(void **state)
{
    (void)state;
    struct inference_event ev = take(
        "{\"model\":\"m\",\"function\":\"fraud/"
        "serve:v1\",\"id\":7,\"when\":\"2025-01-01T00:00:01Z\",\"latency_us\":1500,"
        "\"labels\":{\"a\":\"b\"},\"error\":null,\"inputs\":{\"x\":[1,2],\"y\":[3,4]},\"outputs\":[5,6]}");
    same(ev.request_id, "7");
    same(ev.project, "fraud");
    same(ev.function.function, "serve");
    same(ev.function.tag, "v1");
    same(ev.labels, "{\"a\":\"b\"}");
    assert_true(ev.when_us == INT64_C(1735689601000000) && ev.latency_us == 1500 && ev.n_rows == 2 && ev.inputs_by_name);
    numbers(ev.inputs, 4, 1.0, 3.0, 2.0, 4.0);
    same(take("{\"model\":\"m\",\"endpoint_id\":\"e1\",\"inputs\":[1],\"outputs\":[1]}").uid, "e1");
    assert_false(take("{\"model\":\"m\",\"endpoint_id\":\"e1\",\"inputs\":[1],\"outputs\":[1]}").uid_is_made);
    ev = take("{\"model\":\"m\",\"inputs\":[1],\"error\":\"out of memory\"}");
    assert_int_equal(ev.kind, INFERENCE_ERROR);
    same(ev.error, "out of memory");
}

static void columnar(void **state)
{
    (void)state;
    struct inference_event ev = take("{\"model\":\"m\",\"index\":[0,1],\"columns\":[\"sepal length "
                                     "(cm)\",\"b\"],\"data\":[[1,2],[3,4]],\"outputs\":[0,1]}");
    assert_true(ev.is_plain && ev.n_rows == 2 && ev.n_cols == 2 && ev.input_names != NULL);
    same(ev.input_names[0], "sepal_length_cm");
    same(ev.input_names[1], "b");
    refused("{\"model\":\"m\",\"columns\":[\"a\"],\"data\":[[1,2]],\"outputs\":[0]}", REJECT_SCHEMA_MISMATCH, "columns",
            "[\"a\"]");
    refused("{\"columns\":[\"a\"],\"data\":[[1]],\"outputs\":[0]}", REJECT_MISSING_FIELD, "model", NULL);
    refused("{\"model\":\"m\",\"features\":[[1]]}", REJECT_MISSING_INPUTS, "inputs", NULL);
    refused("{\"model\":\".\",\"inputs\":[1],\"outputs\":[0]}", REJECT_BAD_NAME, "model", NULL);
    refused("{\"model\":\"..\",\"kind\":\"label\",\"request_id\":1,\"label\":1}", REJECT_BAD_NAME, "model", NULL);
    refused("{\"model_endpoint_name\":\"..\",\"model_endpoint_uid\":\"u\",\"inputs\":[1],\"outputs\":[0]}",
            REJECT_BAD_NAME, "model_endpoint_name", NULL);
    refused("{\"model\":\"m\",\"columns\":[\"a\",1],\"data\":[[1,2]],\"outputs\":[0]}", REJECT_WRONG_TYPE, "columns[1]",
            "1]");
    refused("{\"model\":\"m\",\"columns\":[\"a\"],\"data\":[[1]],\"inputs\":[1],\"outputs\":[0]}", REJECT_BAD_VALUE,
            "inputs", "[1],\"o");
}

static void v1_bodies(void **state)
{
    (void)state;
    struct inference_event ev = take("{\"model\":\"m\",\"instances\":[[1,2],[3,4]],\"predictions\":[0,1]}");
    assert_true(ev.n_rows == 2 && ev.n_cols == 2 && ev.n_label_cols == 1);
    ev = take("{\"model\":\"m\",\"instances\":[1,2,3],\"predictions\":[4,5,6]}");
    assert_true(ev.n_rows == 3 && ev.n_cols == 1);
    ev = take("{\"model\":\"m\",\"request\":{\"instances\":[1,2]},\"response\":{\"predictions\":[4,5]}}");
    assert_true(ev.is_plain && ev.n_rows == 2 && ev.n_cols == 1 && ev.n_label_cols == 1);
    refused("{\"model\":\"m\",\"instances\":[[1],[2]],\"predictions\":[0]}", REJECT_ROW_COUNT_MISMATCH, "predictions",
            "[0]");
    refused("{\"model\":\"m\",\"instances\":[[1],[2,3]],\"predictions\":[0,1]}", REJECT_RAGGED_ROWS, "instances[1]",
            "[2,3]");
}

#define TENSOR(name, shape, type, data)                                                                                \
    "{\"name\":\"" name "\",\"shape\":" shape ",\"datatype\":\"" type "\",\"data\":" data "}"

static void v2_bodies(void **state)
{
    (void)state;
    struct inference_event ev = take("{\"model_name\":\"m\",\"id\":\"r1\",\"inputs\":[" TENSOR(
        "input-0", "[2,2]", "FP32", "[1,2,3,4]") "],\"outputs\":[" TENSOR("predict", "[2]", "INT64", "[0,1]") "]}");
    same(ev.model, "m");
    same(ev.request_id, "r1");
    assert_true(ev.n_rows == 2 && ev.n_cols == 2 && ev.n_label_cols == 1 && !ev.input_names && !ev.output_names);
    numbers(ev.inputs, 4, 1.0, 2.0, 3.0, 4.0);
    ev = take("{\"model\":\"m\",\"request\":{\"id\":\"q\",\"parameters\":{},\"inputs\":[" TENSOR("a", "[2,1]", "FP64", "[1,2]") "," TENSOR(
        "b", "[2]", "BYTES",
        "[\"x\\n\",\"y\"]") "," TENSOR("c", "[2,2]", "BOOL",
                                       "[[true,false],[false,true]]") "],\"outputs\":[{\"name\":\"wish\"}]},"
                                                                      "\"response\":{\"model_name\":\"other\","
                                                                      "\"outputs\":[" TENSOR("p", "[2,3]", "FP32",
                                                                                             "[1,2,3,4,5,6]") "]}}");
    same(ev.request_id, "q");
    assert_true(ev.n_rows == 2 && ev.n_cols == 4 && ev.inputs_by_name && ev.n_label_cols == 3);
    same(ev.input_names[0], "a");
    same(ev.input_names[2], "c_0");
    same(ev.inputs[1].s, "x\n");
    numbers(&ev.inputs[4], 1, 2.0);
    assert_true(ev.inputs[6].type == VALUE_BOOL && ev.inputs[6].num < 0.5 && ev.inputs[7].num > 0.5);
    numbers(ev.outputs, 6, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0);
    ev = take("{\"model\":\"m\",\"inputs\":[" TENSOR("x", "[1,2]", "FP32", "[1,2]") "],\"outputs\":[" TENSOR(
        "p", "[3]", "FP32", "[1,2,3]") "]}"); /* the probabilities of one row */
    assert_true(ev.n_rows == 1 && ev.n_label_cols == 3);
}

#define V2(tensor) "{\"model\":\"m\",\"outputs\":[1],\"inputs\":[" tensor "]}"
static void v2_refused(void **state)
{
    (void)state;
    refused(V2(TENSOR("x", "[2,2]", "FP32", "[1,2,3]")), REJECT_ROW_COUNT_MISMATCH, "inputs[0]", "{\"name");
    refused(V2(TENSOR("x", "[-1,2]", "FP32", "[1,2]")), REJECT_BAD_VALUE, "inputs[0].shape[0]", "-1");
    refused(V2(TENSOR("x", "[1]", "FP31", "[1]")), REJECT_BAD_VALUE, "inputs[0].datatype", "\"FP31");
    refused(V2(TENSOR("x", "[1]", "FP32", "[\"1\"]")), REJECT_WRONG_TYPE, "inputs[0]", NULL);
    refused(V2(TENSOR("x", "[1]", "FP32", "7")), REJECT_WRONG_TYPE, "inputs[0].data", "7");
    refused(V2("{\"name\":\"x\",\"shape\":[1],\"datatype\":\"FP32\",\"parameters\":{\"binary_data_size\":4}}"),
            REJECT_MISSING_FIELD, "inputs[0]", "{\"name");
    refused(V2(TENSOR("x", "[1]", "FP32", "[1]") "," TENSOR("y", "[2]", "FP32", "[1,2]")), REJECT_RAGGED_ROWS,
            "inputs[1]", "{\"name\":\"y");
    refused(V2(TENSOR("x", "[1]", "FP32", "[1]") "," TENSOR("x", "[1]", "FP32", "[1]")), REJECT_BAD_VALUE, "inputs", NULL);
    refused(V2(TENSOR("x", "[1,1001]", "FP32", "[]")), REJECT_ROW_COUNT_MISMATCH, "inputs[0]", NULL);
    refused(V2(TENSOR("x", "[1000000,1000000,1000000]", "FP32", "[]")), REJECT_TOO_LARGE, "inputs[0].shape[2]", NULL);
    refused(V2(TENSOR("x", "[0,3]", "FP32", "[]")), REJECT_MISSING_INPUTS, "inputs", NULL);
}

static void labels(void **state)
{
    (void)state;
    struct inference_event ev = take(
        "{\"kind\":\"label\",\"request_id\":\"r1\",\"label\":2,\"when\":\"2025-01-01T00:00:01Z\"}");
    assert_int_equal(ev.kind, INFERENCE_LABEL);
    same(ev.request_id, "r1");
    same(ev.label, "2");
    assert_true(ev.when_us == INT64_C(1735689601000000) && ev.uid.n == 0);
    ev = take("{\"label\":{\"a\":[1,2]},\"model\":\"m\",\"request_id\":5,\"kind\":\"label\"}");
    same(ev.label, "{\"a\":[1,2]}");
    same(ev.request_id, "5");
    assert_true(ev.when_us == INFERENCE_NO_TIME && ev.uid.n == 32 && ev.uid_is_made);
    refused("{\"kind\":\"label\",\"label\":1}", REJECT_MISSING_ID, "request_id", NULL);
    refused("{\"kind\":\"label\",\"request_id\":\"r\",\"label\":null}", REJECT_MISSING_FIELD, "label", NULL);
    refused("{\"kind\":\"label\",\"request_id\":\"r\",\"label\":1,\"when\":\"x\"}", REJECT_BAD_TIME, "when", "\"x\"");
    refused("{\"kind\":\"label\",\"request_id\":\"r\",\"label\":1,\"endpoint_id\":\"/\"}", REJECT_BAD_NAME,
            "endpoint_id", NULL);
    refused("{\"kind\":\"tag\",\"request_id\":\"r\",\"label\":1}", REJECT_UNKNOWN_KIND, "kind", "\"tag\"");
}

static void what_is_missing_is_said(void **state)
{
    (void)state;
    refused("{\"model\":\"m\",\"inputs\":[1]}", REJECT_MISSING_OUTPUTS, "outputs", NULL);
    refused("{\"model\":\"m\",\"outputs\":[1]}", REJECT_MISSING_INPUTS, "inputs", NULL);
    refused("{\"model\":\"m\",\"function\":\"/\",\"inputs\":[1],\"outputs\":[1]}", REJECT_BAD_NAME, "function_uri", "\"/\"");
    refused("{\"inputs\":[1],\"outputs\":[1]}", REJECT_MISSING_FIELD, "model_endpoint_uid", NULL);
    refused("{\"model\":\"m\",\"inputs\":[1],\"outputs\":[1],\"when\":\"yesterday\"}", REJECT_BAD_TIME, "when", "\"yest");
    refused("{\"model\":\"m\",\"inputs\":[1],\"outputs\":[1],\"latency_us\":-1}", REJECT_BAD_VALUE, "latency_us", "-1");
}

/* --- KServe */
#define HALF(type, more)                                                                                               \
    "{\"specversion\":\"1.0\",\"id\":\"0009174a\",\"source\":\"http://localhost:9081/"                                 \
    "\",\"type\":\"org.kubeflow.serving.inference." type                                                               \
    "\",\"inferenceservicename\":\"sklearn-iris\",\"namespace\":\"kserve-test\",\"component\":\"predictor\","          \
    "\"endpoint\":\"\"," more "}"
#define REQUEST HALF("request", "\"time\":\"2025-01-01T00:00:01Z\",\"data\":{\"instances\":[[1,2],[3,\"\\u0041\"]]}")
#define RESPONSE HALF("response", "\"time\":\"2025-01-01T00:00:01.25Z\",\"data\":{\"predictions\":[1,\"\\u0042\"]}")

static void halves(void **state)
{
    (void)state;
    struct inference_event ev = take(REQUEST);
    assert_int_equal(ev.kind, INFERENCE_REQUEST);
    same(ev.request_id, "0009174a");
    same(ev.model, "sklearn-iris");
    same(ev.function.function, "kserve-test");
    char uid[33] = {0};
    memcpy(uid, ev.uid.p, 32);
    ev = take(RESPONSE);
    assert_int_equal(ev.kind, INFERENCE_RESPONSE);
    assert_memory_equal(ev.uid.p, uid, 32);
    ev = take("{\"data\":{\"inputs\":[" TENSOR("x", "[1]", "FP32",
                                               "[1]") "],\"outputs\":[{\"name\":\"wish\"}]},\"id\":\"1\",\"type\":"
                                                      "\"org.kubeflow.serving.inference.request\",\"specversion\":\"1."
                                                      "0\",\"inferenceservicename\":\"s\",\"component\":"
                                                      "\"transformer\",\"endpoint\":\"canary\"}");
    same(ev.model, "s-transformer-canary");
    assert_true(ev.n_rows == 1 && ev.function.function.n == 0 && ev.when_us == INFERENCE_NO_TIME);
}

static void other_attributes_do_not_matter(void **state)
{
    (void)state;
    struct inference_event ev = take(
        "{\"kind\":\"x\",\"op\":1,\"labels\":[],\"metadata\":\"{}\",\"specversion\":\"1.0\",\"id\":\"1\","
        "\"type\":\"org.kubeflow.serving.inference.request\",\"inferenceservicename\":\"s\","
        "\"data\":{\"instances\":[1]},\"when\":7}");
    assert_int_equal(ev.kind, INFERENCE_REQUEST);
}

static void two_halves_are_a_prediction(void **state)
{
    (void)state;
    struct inference_event ev;
    struct reject why = {0};
    for (int i = 0; i < 3; i++) { /* memory is used again */
        assert_int_equal(cloudevent_pair(decoder, STR(REQUEST), STR(RESPONSE), &ev, &why), OK);
        assert_true(ev.kind == INFERENCE_PREDICTION && ev.is_plain && ev.uid_is_made);
        assert_true(ev.when_us == INT64_C(1735689601000000) && ev.latency_us == 250000);
        assert_true(ev.n_rows == 2 && ev.n_cols == 2 && ev.n_label_cols == 1);
        same(ev.request_id, "0009174a");
        same(ev.inputs[3].s, "A");
        same(ev.outputs[1].s, "B");
        (void)take("{\"model\":\"m\",\"inputs\":[[1]],\"outputs\":[0]}");
    }
    assert_int_equal(cloudevent_pair(decoder, STR(RESPONSE), STR(REQUEST), &ev, &why), E_INVALID);
    const char *stranger = "{\"specversion\":\"1.0\",\"id\":\"0009174a\",\"inferenceservicename\":\"other\",\"type\":"
                           "\"org.kubeflow.serving.inference.response\",\"data\":{\"predictions\":[1,2]}}";
    assert_int_equal(cloudevent_pair(decoder, STR(REQUEST), str_of(stranger), &ev, &why), E_INVALID);
    assert_true(why.code == REJECT_BAD_VALUE);
    const char *other = HALF("response", "\"data\":{\"predictions\":[1]}");
    assert_int_equal(cloudevent_pair(decoder, STR(REQUEST), str_of(other), &ev, &why), E_INVALID);
    assert_int_equal(why.code, REJECT_ROW_COUNT_MISMATCH);
    assert_string_equal(why.field, "data.predictions");
    assert_int_equal(why.position, strstr(other, "[1]") - other);
}

static void halves_refused(void **state)
{
    (void)state;
    refused(HALF("explain", "\"data\":{}"), REJECT_UNKNOWN_KIND, "type", "\"org.");
    refused(HALF("request", "\"data\":{\"predictions\":[1]}"), REJECT_MISSING_INPUTS, "data", NULL);
    refused(HALF("response", "\"data\":{\"instances\":[1]}"), REJECT_MISSING_OUTPUTS, "data", NULL);
    refused(HALF("request", "\"data\":\"text\""), REJECT_WRONG_TYPE, "data", "\"text\"");
    refused(HALF("request", "\"data_base64\":\"AAAA\""), REJECT_WRONG_TYPE, "data_base64", "\"AAAA");
    refused(HALF("request", "\"time\":\"now\",\"data\":{\"instances\":[1]}"), REJECT_BAD_TIME, "time", "\"now\"");
    refused(HALF("request", "\"data\":{\"instances\":[[1],[2,3]]}"), REJECT_RAGGED_ROWS, "data.instances[1]", "[2,3]");
    refused("{\"specversion\":\"2.0\",\"id\":\"1\"}", REJECT_UNSUPPORTED_VERSION, "specversion", "\"2.0\"");
    refused("{\"specversion\":\"1.0\",\"id\":\"1\"}", REJECT_MISSING_FIELD, "type", NULL);
    refused("{\"specversion\":\"1.0\",\"type\":\"org.kubeflow.serving.inference.request\"}", REJECT_MISSING_ID, "id", NULL);
    refused("{\"specversion\":\"1.0\",\"id\":\"1\",\"type\":\"org.kubeflow.serving.inference.request\",\"data\":{"
            "\"instances\":[1]}}",
            REJECT_MISSING_ENDPOINT, "inferenceservicename", NULL);
}

static void binary_mode(void **state)
{
    (void)state;
    struct cloudevent_attributes a = {.specversion = STR("1.0"),
                                      .id = STR("a%20\"b%E2%82%AC"),
                                      .type = STR("org.kubeflow.serving.inference.request"),
                                      .inferenceservicename = STR("s"),
                                      .component = STR("predictor")};
    struct buf out = {0};
    struct str body = STR("{\"instances\":[[1],[2,3]]}");
    size_t at = cloudevent_wrap(&a, body, &out);
    refused(out.data, REJECT_RAGGED_ROWS, "data.instances[1]", "[2,3]");
    assert_memory_equal(out.data + at, body.p, body.n);
    static const struct {
        const char *body;
        bool ok;
    } bodies[] = {{"{\"instances\":[1]}", true},
                  {"", false},
                  {"\x01\x02", false},
                  {"{\"instances\":[1]},\"id\":\"other\"", false},
                  {"{\"instances\":[1]},\"endpoint\":\"canary\"", false},
                  {"{\"instances\":[1]},\"data\":{\"instances\":[2]}", false}};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct inference_event ev;
        struct reject why;
        buf_clear(&out);
        (void)cloudevent_wrap(&a, str_of(bodies[i].body), &out);
        assert_int_equal(decode(out.data, &ev, &why) == OK, bodies[i].ok);
        if (bodies[i].ok)
            same(ev.request_id, "a \"b\xe2\x82\xac");
    }
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_event),
        cmocka_unit_test(made_uids_tell_endpoints_apart),
        cmocka_unit_test(every_field_of_the_plain_form),
        cmocka_unit_test(columnar),
        cmocka_unit_test(v1_bodies),
        cmocka_unit_test(v2_bodies),
        cmocka_unit_test(v2_refused),
        cmocka_unit_test(labels),
        cmocka_unit_test(what_is_missing_is_said),
        cmocka_unit_test(halves),
        cmocka_unit_test(two_halves_are_a_prediction),
        cmocka_unit_test(other_attributes_do_not_matter),
        cmocka_unit_test(halves_refused),
        cmocka_unit_test(binary_mode),
    };
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    free(kept);
    return failed;
}
