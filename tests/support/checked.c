/* One record through both, field by field. */
#include "checked.h"
#include <string.h>
#include "event/inference.h"

static bool same_event(const struct inference_event *a, const struct inference_event *b)
{
    const struct str *const texts[][2] = {
        {&a->project, &b->project},
        {&a->endpoint_id, &b->endpoint_id},
        {&a->uid, &b->uid},
        {&a->uid_alias, &b->uid_alias},
        {&a->model, &b->model},
        {&a->request_id, &b->request_id},
        {&a->traceparent, &b->traceparent},
        {&a->error, &b->error},
        {&a->label, &b->label},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!str_eq(*texts[i][0], *texts[i][1]))
            return false;
    return a->kind == b->kind && a->is_ingest == b->is_ingest && a->is_plain == b->is_plain &&
           a->uid_is_made == b->uid_is_made && a->when_us == b->when_us && a->latency_us == b->latency_us &&
           a->effective_sample_count == b->effective_sample_count && a->n_rows == b->n_rows && a->n_cols == b->n_cols &&
           a->n_label_cols == b->n_label_cols;
}

bool checked_alike(const char *p, size_t n)
{
    struct inference_decoder *whole = inference_decoder_new(), *judge = inference_decoder_new();
    struct inference_event decoded, checked;
    struct reject why = {0}, why_not = {0};
    rc_t rc = inference_decode(whole, p, n, &decoded, &why);
    bool same = inference_check(judge, p, n, &checked, &why_not) == rc;
    if (same && rc)
        same = why.code == why_not.code && why.position == why_not.position && strcmp(why.field, why_not.field) == 0 &&
               strcmp(why.text, why_not.text) == 0;
    if (same && !rc)
        same = same_event(&decoded, &checked) && (checked.inputs != NULL) == (checked.is_ingest && checked.n_rows > 0);
    inference_decoder_free(whole);
    inference_decoder_free(judge);
    return same;
}
