/* The inference event as JSON, in the form of MLRun's graph steps: how an ingested event goes onto its topic. */
#include "event/inference.h"

#include <assert.h>

#include "base/time.h"
#include "json/write.h"

static void write_value(struct json_writer *w, const struct value *v)
{
    switch (v->type) {
    case VALUE_NUMBER:
        if (v->s.n > 0)
            jw_raw(w, v->s); /* as it came: no digit is lost */
        else
            jw_f64(w, v->num);
        return;
    case VALUE_BOOL:
        jw_bool(w, v->num != 0);
        return;
    case VALUE_STRING:
        jw_str(w, v->s);
        return;
    case VALUE_JSON:
        jw_raw(w, v->s);
        return;
    case VALUE_NULL:
        jw_null(w);
        return;
    }
}

static void write_rows(struct json_writer *w, const struct value *values, size_t n_rows, size_t n_cols)
{
    jw_array(w);
    for (size_t i = 0; i < n_rows; i++) {
        jw_array(w);
        for (size_t c = 0; c < n_cols; c++)
            write_value(w, &values[i * n_cols + c]);
        jw_array_end(w);
    }
    jw_array_end(w);
}

/* One output a row is sent without its own brackets, unless that would be read as a row. */
static void write_outputs(struct json_writer *w, const struct inference_event *ev)
{
    bool flat = ev->n_label_cols == 1;
    for (size_t i = 0; flat && i < ev->n_rows; i++)
        flat = ev->outputs[i].type != VALUE_JSON;
    if (!flat) {
        write_rows(w, ev->outputs, ev->n_rows, ev->n_label_cols);
        return;
    }
    jw_array(w);
    for (size_t i = 0; i < ev->n_rows; i++)
        write_value(w, &ev->outputs[i]);
    jw_array_end(w);
}

static void write_names(struct json_writer *w, const char *key, const struct str *names, size_t n)
{
    jw_key(w, key);
    if (names == NULL) {
        jw_null(w);
        return;
    }
    jw_array(w);
    for (size_t i = 0; i < n; i++)
        jw_str(w, names[i]);
    jw_array_end(w);
}

static void write_request(struct json_writer *w, const struct inference_event *ev)
{
    jw_key(w, "request");
    jw_object(w);
    jw_key(w, "inputs");
    if (ev->n_rows > 0)
        write_rows(w, ev->inputs, ev->n_rows, ev->n_cols);
    else
        jw_null(w);
    jw_kv_str(w, "id", ev->request_id);
    write_names(w, "input_schema", ev->input_names, ev->n_cols);
    jw_object_end(w);
}

static void write_resp(struct json_writer *w, const struct inference_event *ev)
{
    jw_key(w, "resp");
    jw_object(w);
    jw_key(w, "outputs");
    if (ev->n_label_cols > 0)
        write_outputs(w, ev);
    else
        jw_null(w);
    write_names(w, "output_schema", ev->output_names, ev->n_label_cols);
    jw_object_end(w);
}

static void write_head(struct json_writer *w, const struct inference_event *ev)
{
    char when[TIME_TEXT];
    jw_kv_str(w, "model", ev->model);
    jw_kv_str(w, "model_class", ev->model_class);
    jw_key(w, "microsec");
    if (ev->latency_us >= 0)
        jw_i64(w, ev->latency_us);
    else
        jw_null(w);
    size_t n = time_mlrun(when, ev->when_us);
    jw_kv_str(w, "when", (struct str){when, n});
    jw_kv_str(w, "endpoint_id", ev->endpoint_id);
    jw_kv_raw(w, "labels", ev->labels.n > 0 ? ev->labels : STR("{}"));
    if (ev->function_uri.n > 0)
        jw_kv_str(w, "function_uri", ev->function_uri);
    if (ev->project.n > 0)
        jw_kv_str(w, "project", ev->project);
}

void inference_encode(const struct inference_event *ev, struct buf *out)
{
    struct json_writer w;
    assert(ev->when_us != INFERENCE_NO_TIME && (ev->kind == INFERENCE_PREDICTION || ev->kind == INFERENCE_ERROR));
    jw_init(&w, out, JSON_NAN_TOKEN);
    jw_object(&w);
    write_head(&w, ev);
    write_request(&w, ev);
    write_resp(&w, ev);
    jw_key(&w, "error");
    if (ev->kind == INFERENCE_ERROR)
        jw_str(&w, ev->error);
    else
        jw_null(&w);
    jw_kv_raw(&w, "metrics", ev->metrics.n > 0 ? ev->metrics : STR("{}"));
    jw_kv_f64(&w, "sampling_percentage", ev->sampling_percentage);
    jw_kv_f64(&w, "effective_sample_count", ev->effective_sample_count);
    if (ev->traceparent.n > 0)
        jw_kv_str(&w, "traceparent", ev->traceparent);
    jw_object_end(&w);
}
