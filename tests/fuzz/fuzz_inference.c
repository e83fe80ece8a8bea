/* The decoder of inference events: never outside of its input, one answer for one record, and what it takes it can
 * write and take again as the same table. */
#include <string.h>

#include "base/text.h"
#include "event/inference.h"
#include "fuzz.h"

static bool same_value(const struct value *a, const struct value *b)
{
    if (a->type != b->type)
        return false;
    if (a->type == VALUE_STRING || a->type == VALUE_JSON)
        return str_eq(a->s, b->s);
    return memcmp(&a->num, &b->num, sizeof a->num) == 0 || (a->num != a->num && b->num != b->num);
}

static void same_table(const struct value *a, const struct value *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        MUST(same_value(&a[i], &b[i]));
}

static void check_names(const struct str *names, size_t n)
{
    for (size_t i = 0; names && i < n; i++)
        MUST(text_is_norm_name(names[i]));
}

static void check_event(const struct inference_event *ev)
{
    MUST(ev->n_rows <= INFERENCE_ROWS_MAX && ev->n_cols <= INFERENCE_COLS_MAX && ev->n_label_cols <= INFERENCE_COLS_MAX);
    MUST(ev->kind == INFERENCE_NOP || (ev->kind == INFERENCE_LABEL && ev->uid.n == 0) || name_is_uid(ev->uid));
    MUST(ev->kind != INFERENCE_LABEL || (ev->label.n > 0 && ev->request_id.n > 0));
    MUST(!ev->uid_is_made || (ev->is_plain && ev->model.n > 0 && ev->endpoint_id.n == 0));
    if (ev->kind == INFERENCE_REQUEST || ev->kind == INFERENCE_RESPONSE)
        MUST(ev->request_id.n > 0 && ev->model.n > 0 && ev->outputs == NULL);
    if (ev->kind == INFERENCE_REQUEST)
        MUST(ev->n_rows > 0 && ev->n_cols > 0);
    MUST(ev->project.n == 0 || name_is_project(ev->project));
    MUST(ev->sampling_percentage > 0 && ev->sampling_percentage <= 100 && ev->latency_us >= -1);
    if (ev->kind == INFERENCE_PREDICTION)
        MUST(ev->n_rows > 0 && ev->n_cols > 0 && ev->n_label_cols > 0 && ev->model.n > 0);
    check_names(ev->input_names, ev->n_cols);
    check_names(ev->output_names, ev->n_label_cols);
}

static void again(const struct inference_event *ev)
{
    struct inference_decoder *d = inference_decoder_new();
    struct inference_event copy = *ev, got;
    struct reject why;
    struct buf out = {0};
    if (copy.when_us == INFERENCE_NO_TIME)
        copy.when_us = 0;
    copy.endpoint_id = copy.uid;
    inference_encode(&copy, &out);
    if (out.len <= INFERENCE_BYTES_MAX) {
        MUST(inference_decode(d, out.data, out.len, &got, &why) == OK);
        MUST(got.n_rows == ev->n_rows && got.n_cols == ev->n_cols && got.kind == ev->kind);
        MUST(got.n_label_cols == ev->n_label_cols && got.when_us == copy.when_us && got.latency_us == ev->latency_us);
        MUST(str_eq(got.uid, ev->uid) && str_eq(got.model, ev->model) && str_eq(got.labels, ev->labels));
        same_table(ev->inputs, got.inputs, ev->n_rows * ev->n_cols);
        same_table(ev->outputs, got.outputs, ev->n_rows * ev->n_label_cols);
    }
    buf_done(&out);
    inference_decoder_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct inference_decoder *d; /* kept: what one record leaves behind must not matter to the next */
    struct inference_event ev;
    struct reject why = {0};
    if (d == NULL)
        d = inference_decoder_new();
    if (inference_decode(d, (const char *)data, n, &ev, &why) != OK) {
        MUST(why.code != REJECT_NONE && why.position <= n && strlen(why.text) > 0);
        return 0;
    }
    check_event(&ev);
    if (ev.kind == INFERENCE_PREDICTION)
        again(&ev);
    return 0;
}
