/* Two halves, divided by a NUL: what is taken as a pair is a prediction of the request's rows; and a body that came in
 * binary mode can say nothing that its headers did not. */
#include <string.h>

#include "event/cloudevent.h"
#include "fuzz.h"

static void check_pair(struct inference_decoder *d, struct str request, struct str response)
{
    struct inference_event half, ev;
    struct reject why = {0};
    if (inference_decode(d, request.p, request.n, &half, &why) != OK || half.kind != INFERENCE_REQUEST) {
        MUST(cloudevent_pair(d, request, response, &ev, &why) == E_INVALID);
        return;
    }
    size_t rows = half.n_rows, cols = half.n_cols;
    int64_t when_us = half.when_us;
    if (cloudevent_pair(d, request, response, &ev, &why) != OK) {
        MUST(why.code != REJECT_NONE && strlen(why.text) > 0);
        return;
    }
    MUST(ev.kind == INFERENCE_PREDICTION && ev.is_paired && ev.is_plain && name_is_uid(ev.uid));
    MUST(ev.n_rows == rows && ev.n_cols == cols && ev.when_us == when_us && ev.latency_us >= -1);
    MUST(ev.n_label_cols > 0 && ev.n_label_cols <= INFERENCE_COLS_MAX);
    size_t sum = 0; /* every text is still there: two readers hold them */
    for (size_t i = 0; i < rows * cols; i++)
        for (size_t c = 0; c < ev.inputs[i].s.n; c++)
            sum += (unsigned char)ev.inputs[i].s.p[c];
    for (size_t i = 0; i < rows * ev.n_label_cols; i++)
        for (size_t c = 0; c < ev.outputs[i].s.n; c++)
            sum += (unsigned char)ev.outputs[i].s.p[c];
    MUST(sum < SIZE_MAX);
    MUST(inference_decode(d, response.p, response.n, &half, &why) == OK && half.kind == INFERENCE_RESPONSE);
}

static void check_body(struct inference_decoder *d, struct str body)
{
    const struct cloudevent_attributes sent = {.specversion = STR("1.0"),
                                               .id = STR("i%41"),
                                               .type = STR("org.kubeflow.serving.inference.request"),
                                               .inferenceservicename = STR("s"),
                                               .component = STR("predictor")};
    struct inference_event ev;
    struct reject why;
    struct buf out = {0};
    size_t at = cloudevent_wrap(&sent, body, &out);
    MUST(at + body.n < out.len && (body.n == 0 || memcmp(out.data + at, body.p, body.n) == 0));
    if (inference_decode(d, out.data, out.len, &ev, &why) == OK)
        MUST(ev.kind == INFERENCE_REQUEST && str_eqz(ev.request_id, "iA") && str_eqz(ev.model, "s") &&
             ev.when_us == INFERENCE_NO_TIME && ev.function_uri.n == 0);
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct inference_decoder *d; /* kept: what one record leaves behind must not matter to the next */
    const uint8_t *cut = n ? memchr(data, 0, n) : NULL;
    if (d == NULL)
        d = inference_decoder_new();
    size_t first = cut ? (size_t)(cut - data) : n;
    struct str request = {(const char *)data, first}, response = {"", 0};
    if (cut)
        response = (struct str){(const char *)data + first + 1, n - first - 1};
    check_pair(d, request, response);
    check_body(d, request);
    return 0;
}
