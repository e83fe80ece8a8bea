/* The strict JSON reader and documents. Oracle: cJSON, where it is strict; what we take it must take, with the same
 * values. With VERDICTS=FILE in the environment each input's verdict is appended there, for oracle_json.py. */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/num.h"
#include "fuzz.h"
#include "json/doc.h"

static bool is_number_byte(uint8_t c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* True if cJSON is strict with this text: no control bytes or byte order mark that it would take as white space, and
 * each number outside of strings of the grammar and short enough for its buffer. */
static bool is_strict_ground(const uint8_t *p, size_t n)
{
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < 0x20 && p[i] != ' ' && p[i] != '\n' && p[i] != '\r' && p[i] != '\t')
            return false;
        if (in_string) {
            in_string = p[i] != '"';
            i += p[i] == '\\'; /* over what it escapes */
            continue;
        }
        in_string = p[i] == '"';
        if (p[i] == 0xEF)
            return false;
        if (!is_number_byte(p[i]) || p[i] == 'e' || p[i] == 'E')
            continue;
        size_t from = i;
        double v;
        while (i + 1 < n && is_number_byte(p[i + 1]))
            i++;
        if (i - from > 60 || num_f64((struct str){(const char *)p + from, i - from + 1}, &v) != OK)
            return false;
    }
    return true;
}

static void same(const struct json *a, const cJSON *b)
{
    struct err e;
    struct str s;
    double v;
    bool flag;
    switch (json_type(a)) {
    case JSON_NULL:
        MUST(cJSON_IsNull(b));
        break;
    case JSON_BOOL:
        MUST(json_bool(a, &flag, &e) == OK && cJSON_IsBool(b) && !!cJSON_IsTrue(b) == flag);
        break;
    case JSON_NUMBER:
        MUST(json_f64(a, &v, &e) == OK && cJSON_IsNumber(b) && memcmp(&v, &b->valuedouble, sizeof v) == 0);
        break;
    case JSON_STRING:
        MUST(json_str(a, &s, &e) == OK && cJSON_IsString(b) && str_eqz(s, b->valuestring));
        break;
    default: {
        MUST(json_type(a) == JSON_ARRAY ? cJSON_IsArray(b) : cJSON_IsObject(b));
        const cJSON *child = b->child;
        for (const struct json *m = json_first(a); m; m = json_next(m), child = child->next) {
            MUST(child != NULL);
            if (json_key(m))
                MUST(strcmp(json_key(m), child->string) == 0);
            same(m, child);
        }
        MUST(child == NULL);
    }
    }
}

static void against_cjson(const struct json *ours, enum json_error code, const uint8_t *data, size_t n)
{
    bool strict = is_strict_ground(data, n);
    if (!strict && ours != NULL)
        return; /* a number longer than cJSON's buffer */
    if (ours == NULL && !(strict && (code == JSON_E_SYNTAX || code == JSON_E_EOF || code == JSON_E_TRAILING)))
        return;
    char *text = malloc(n + 1);
    MUST(text != NULL);
    if (n > 0)
        memcpy(text, data, n);
    text[n] = '\0';
    cJSON *theirs = cJSON_ParseWithLengthOpts(text, n + 1, NULL, 1);
    MUST((theirs != NULL) == (ours != NULL));
    if (theirs != NULL)
        same(ours, theirs);
    cJSON_Delete(theirs);
    free(text);
}

/* What is printed reads back and prints the same. */
static void print_again(const struct json *j, enum json_nan nan, struct buf *out)
{
    struct json *again = NULL;
    struct buf second = {0};
    struct err e;
    const struct json_limits limits = {.accept_nan = nan == JSON_NAN_TOKEN, .string_bytes = 1 << 20, .bytes = 8 << 20};
    json_print(j, nan, out);
    MUST(json_parse(&again, out->data, out->len, &limits, &e) == OK);
    json_print(again, nan, &second);
    MUST(str_eq(buf_str(out), buf_str(&second)));
    json_free(again);
    buf_done(&second);
}

static void write_verdict(const uint8_t *data, size_t n, const struct json *j, enum json_error code, struct str text)
{
    const char *path = getenv("VERDICTS");
    if (path == NULL)
        return;
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ data[i]) * UINT64_C(1099511628211);
    FILE *f = fopen(path, "a");
    MUST(f != NULL);
    (void)fprintf(f, "%016" PRIx64 " %s %.*s\n", hash, j ? "taken" : json_error_name(code), j ? (int)text.n : 0,
                  j ? text.p : "");
    MUST(fclose(f) == 0);
}

static void one(const uint8_t *data, size_t n, bool accept_nan)
{
    struct json_reader r = {0};
    struct json *j = NULL;
    struct err e = {0};
    struct buf out = {0};
    struct str raw = {NULL, 0};
    char path[64];
    const struct json_limits limits = {.accept_nan = accept_nan};
    rc_t rc = json_parse(&j, (const char *)data, n, &limits, &e);
    jr_init(&r, (const char *)data, n, &limits);
    bool ok = jr_skip(&r, &raw) && jr_end(&r);
    MUST(ok == (rc == OK)); /* skipping checks as much as reading */
    MUST(ok || (r.error.code != JSON_OK && r.error.offset <= n && strlen(e.text) > 0));
    size_t path_n = jr_path(&r, path, sizeof path);
    MUST(path_n < sizeof path && strlen(path) == path_n);
    MUST(!ok || (raw.p >= (const char *)data && raw.p + raw.n <= (const char *)data + n));
    if (ok)
        print_again(j, accept_nan ? JSON_NAN_TOKEN : JSON_NAN_NULL, &out);
    if (!accept_nan) {
        against_cjson(j, r.error.code, data, n);
        write_verdict(data, n, j, r.error.code, buf_str(&out));
    }
    jr_done(&r);
    json_free(j);
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    one(data, n, false);
    one(data, n, true);
    return 0;
}
