/* llm-app: prompts and answers of a language model. Of each window it measures, and keeps no text:
 *
 *   result  empty_answers    model_performance   share of answers with nothing but white space, or none
 *   result  refused_answers  model_performance   share of answers that begin like one of LLM_REFUSALS
 *   metrics prompt_length_mean, prompt_length_p95, answer_length_mean, answer_length_p95: characters
 *           tokens_per_second: mean over the requests that say it, in their metrics: tokens_per_second, or
 *           completion_tokens (output_tokens) with the request's latency
 *
 * The prompt is every feature that is a text, the answer every label that is one, of a row together. */
#include <math.h>
#include "llm_app.h"
#include "base/clock.h"
#include "json/reader.h"
#include "json/write.h"

#define REFUSAL_REACH 240u /* bytes of an answer that are looked at */
#define PHRASES_MAX 64u

struct llm_options {
    char *refusals;
    double empty_potential, empty_detected, refused_potential, refused_detected;
    int64_t min_answers;
};

#define AT(field) offsetof(struct llm_options, field)
static const struct config_key keys[] = {
    {.env = "LLM_REFUSALS",
     .def = "i can't|i cannot|i can not|i'm sorry|i am sorry|i'm unable|i am unable|i won't|as an ai|sorry, but",
     .type = CONFIG_STR,
     .offset = AT(refusals),
     .help = "What a refusal begins with (its first 240 bytes hold it), in lower case, separated by |."},
    {.env = "EMPTY_POTENTIAL",
     .def = "0.01",
     .type = CONFIG_F64,
     .offset = AT(empty_potential),
     .help = "From this share of empty answers on they are a potential problem."},
    {.env = "EMPTY_DETECTED",
     .def = "0.05",
     .type = CONFIG_F64,
     .offset = AT(empty_detected),
     .help = "From here on they are one; 0 < EMPTY_POTENTIAL <= EMPTY_DETECTED <= 1."},
    {.env = "REFUSED_POTENTIAL",
     .def = "0.1",
     .type = CONFIG_F64,
     .offset = AT(refused_potential),
     .help = "From this share of refusals on they are a potential problem."},
    {.env = "REFUSED_DETECTED",
     .def = "0.3",
     .type = CONFIG_F64,
     .offset = AT(refused_detected),
     .help = "From here on they are one; 0 < REFUSED_POTENTIAL <= REFUSED_DETECTED <= 1."},
    {.env = "MIN_ANSWERS",
     .def = "20",
     .type = CONFIG_I64,
     .offset = AT(min_answers),
     .min = 1,
     .max = 1000000000,
     .help = "Answers that a judgement needs; with fewer the status is -1, insufficient_samples."},
};

static rc_t check_empty(const void *opts, struct err *e)
{
    const struct llm_options *o = opts;
    return app_check_shares(o->empty_potential, o->empty_detected, e);
}

static rc_t check_refused(const void *opts, struct err *e)
{
    const struct llm_options *o = opts;
    return app_check_shares(o->refused_potential, o->refused_detected, e);
}

static const struct config_rule rules[] = {{{"EMPTY_POTENTIAL", "EMPTY_DETECTED"}, check_empty, NULL},
                                           {{"REFUSED_POTENTIAL", "REFUSED_DETECTED"}, check_refused, NULL}};

struct tally {
    struct str phrases[PHRASES_MAX];
    size_t n_phrases, n_features, n_labels;
    uint64_t prompts, answers, empty, refused, speeds;
    double speed_sum;
    struct sketch prompt, answer; /* lengths */
    struct json_reader reader;
};

/* ---- one text ---- */
static size_t characters(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

static bool is_blank(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!memchr(" \t\r\n", s.p[i], 4))
            return false;
    return true;
}

/* The beginning in lower case, and ' for its typographic form. Returns how many bytes. */
static size_t fold(struct str s, char out[REFUSAL_REACH])
{
    size_t n = 0;
    for (size_t i = 0; i < s.n && n < REFUSAL_REACH; i++) {
        if (s.n - i >= 3 && memcmp(s.p + i, "\xE2\x80\x99", 3) == 0) {
            out[n++] = '\'';
            i += 2;
        } else {
            out[n++] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char)(s.p[i] - 'A' + 'a') : s.p[i];
        }
    }
    return n;
}

static bool is_refusal(const struct tally *t, struct str s)
{
    char text[REFUSAL_REACH];
    size_t n = fold(s, text);
    for (size_t i = 0; i < t->n_phrases; i++)
        if (memmem(text, n, t->phrases[i].p, t->phrases[i].n))
            return true;
    return false;
}

/* ---- rows ---- */
/* The characters of a row's texts among columns [from, to), the last of them into *ret_text; -1: none is a text. */
static int64_t measure(const struct lake_batch *b, size_t from, size_t to, size_t row, struct str *ret_text, bool *ret_there)
{
    int64_t n = -1;
    *ret_there = false;
    for (size_t c = from; c < to; c++) {
        const struct lake_column *col = &b->cols[c];
        if (col->type != COLUMN_STRING && col->type != COLUMN_JSON)
            continue;
        n = n < 0 ? 0 : n;
        if (col->missing[row])
            continue;
        *ret_there = true;
        *ret_text = col->text[row];
        n += (int64_t)characters(col->text[row]);
    }
    return n;
}

static void count_answer(struct tally *t, struct str text, bool there, int64_t length)
{
    t->answers++;
    (void)sketch_add(&t->answer, (double)length); /* finite */
    if (!there || is_blank(text))
        t->empty++;
    else if (is_refusal(t, text))
        t->refused++;
}

/* NAN: not said. */
static double speed_of(struct tally *t, struct str metrics, double latency_us)
{
    double speed = NAN, tokens = NAN;
    struct str key;
    jr_init(&t->reader, metrics.p, metrics.n, NULL);
    if (jr_peek(&t->reader) == JSON_OBJECT && jr_object(&t->reader))
        while (jr_key(&t->reader, &key)) {
            bool number = jr_peek(&t->reader) == JSON_NUMBER;
            if (number && str_eqz(key, "tokens_per_second"))
                (void)jr_f64(&t->reader, &speed);
            else if (number && (str_eqz(key, "completion_tokens") || str_eqz(key, "output_tokens")))
                (void)jr_f64(&t->reader, &tokens);
            else
                (void)jr_skip(&t->reader, NULL);
        }
    if (!jr_end(&t->reader))
        return NAN;
    return isnan(speed) && latency_us > 0 ? tokens * (double)USEC_PER_SEC / latency_us : speed;
}

static rc_t count_batch(void *arg, const struct lake_batch *b, struct err *e)
{
    struct tally *t = arg;
    const struct lake_column *latency = &b->cols[b->n_cols - 2], *metrics = &b->cols[b->n_cols - 1];
    (void)e; /* counting cannot fail */
    for (size_t row = 0; row < b->n_rows; row++) {
        struct str text = {0};
        bool there;
        int64_t length = measure(b, 0, t->n_features, row, &text, &there);
        if (there) {
            t->prompts++;
            (void)sketch_add(&t->prompt, (double)length);
        }
        length = measure(b, t->n_features, t->n_features + t->n_labels, row, &text, &there);
        if (length >= 0)
            count_answer(t, text, there, length);
        if (metrics->type == COLUMN_NUMBER || metrics->missing[row])
            continue;
        double speed = speed_of(t, metrics->text[row], latency->missing[row] ? NAN : latency->num[row]);
        if (isfinite(speed)) {
            t->speeds++;
            t->speed_sum += speed;
        }
    }
    return OK;
}

static void split_phrases(struct tally *t, const char *list)
{
    for (const char *at = list; *at && t->n_phrases < PHRASES_MAX;) {
        size_t n = strcspn(at, "|");
        if (n)
            t->phrases[t->n_phrases++] = (struct str){at, n};
        at += n + (at[n] == '|');
    }
}

/* ---- answers ---- */
static void answer_share(struct app_output *out, const char *name, uint64_t n, uint64_t of, double potential,
                         double detected, const struct llm_options *o)
{
    const struct app_thresholds t = {potential, detected};
    bool enough = of >= (uint64_t)o->min_answers;
    struct buf extra = {0};
    buf_addf(&extra, "{\"answers\":%llu,\"count\":%llu,\"min_answers\":%lld%s}", (unsigned long long)of,
             (unsigned long long)n, (long long)o->min_answers, enough ? "" : ",\"reason\":\"insufficient_samples\"");
    double share = of ? (double)n / (double)of : NAN;
    if (enough)
        app_result_judged(out, name, share, KIND_MODEL_PERFORMANCE, &t, buf_str(&extra));
    else
        app_result(out, name, share, KIND_MODEL_PERFORMANCE, STATUS_IRRELEVANT, buf_str(&extra));
    buf_done(&extra);
}

static void answer_length(struct app_output *out, const char *mean_name, const char *p95_name, const struct sketch *s)
{
    if (s->count == 0)
        return;
    app_metric(out, mean_name, s->sum / (double)s->count);
    app_metric(out, p95_name, sketch_quantile(s, 0.95));
}

static void answer_all(const struct tally *t, const struct llm_options *o, struct app_output *out)
{
    if (t->answers) {
        answer_share(out, "empty_answers", t->empty, t->answers, o->empty_potential, o->empty_detected, o);
        answer_share(out, "refused_answers", t->refused, t->answers, o->refused_potential, o->refused_detected, o);
    }
    answer_length(out, "prompt_length_mean", "prompt_length_p95", &t->prompt);
    answer_length(out, "answer_length_mean", "answer_length_p95", &t->answer);
    if (t->speeds)
        app_metric(out, "tokens_per_second", t->speed_sum / (double)t->speeds);
}

/* An endpoint without texts gets no answer at all: it is no language model. */
static rc_t track(const void *opts, const struct app_input *in, struct app_output *out, struct err *e)
{
    const struct slot_layout *l = in->layout;
    struct tally t = {.n_features = l->n_features, .n_labels = l->n_labels};
    size_t n = l->n_features + l->n_labels;
    const char **columns = arena_array(in->arena, n + 2, sizeof *columns);
    for (size_t i = 0; i < n; i++)
        columns[i] = l->columns[i].name.p;
    columns[n] = "latency";
    columns[n + 1] = "metrics";
    split_phrases(&t, ((const struct llm_options *)opts)->refusals);
    rc_t rc = app_rows(in, columns, n + 2, count_batch, &t, e);
    if (!rc)
        answer_all(&t, opts, out);
    sketch_done(&t.prompt);
    sketch_done(&t.answer);
    jr_done(&t.reader);
    return rc;
}

const struct app llm_app = {
    .name = "llm",
    .version = "1",
    .summary = "Lengths, empty and refused answers, and speed of a language model's requests.",
    .needs_rows = true,
    .projects = "",
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .opts_size = sizeof(struct llm_options),
    .rules = rules,
    .n_rules = sizeof rules / sizeof *rules,
    .track = track,
};
