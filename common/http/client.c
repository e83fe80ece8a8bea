/* The HTTP client over libcurl's easy interface, every permissive default turned off. */
#include "http/client.h"

#include <assert.h>
#include <curl/curl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/reach.h"

#define CONNECT_US (3 * USEC_PER_SEC)
#define TOTAL_US (10 * USEC_PER_SEC)
#define ANSWER_MAX ((size_t)65536)

struct http_client {
    CURL *curl;
    struct http_client_options o;
    struct buf *into;
    bool refused, too_long;
    char words[CURL_ERROR_SIZE];
};

static pthread_once_t global_once = PTHREAD_ONCE_INIT;

static void global_init(void)
{
    CURLcode rc = curl_global_init(CURL_GLOBAL_DEFAULT);
    assert(rc == CURLE_OK);
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct http_client *c = arg;
    (void)purpose;
    if (!reach_allows(c->o.reach, &a->addr)) {
        c->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static size_t take_answer(char *data, size_t size, size_t n, void *arg)
{
    struct http_client *c = arg;
    n *= size;
    if (c->into->len + n > c->o.answer_max) {
        c->too_long = true;
        return 0;
    }
    buf_add(c->into, data, n);
    return n;
}

#define SET(option, value)                                                                                             \
    do {                                                                                                               \
        CURLcode set_rc = curl_easy_setopt(c->curl, (option), (value));                                                \
        assert(set_rc == CURLE_OK); /* else: built against another libcurl */                                          \
    } while (0)

/* What holds for every call. */
static void set_guards(struct http_client *c)
{
    curl_easy_reset(c->curl); /* keeps connections */
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, c->o.plain_ok ? "http,https" : "https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, c);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, c->o.any_name ? 0L : 2L);
    if (c->o.ca_file && *c->o.ca_file)
        SET(CURLOPT_CAINFO, c->o.ca_file);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(c->o.connect_us / 1000));
    SET(CURLOPT_TIMEOUT_MS, (long)(c->o.total_us / 1000));
    SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)c->o.answer_max);
    SET(CURLOPT_WRITEFUNCTION, take_answer);
    SET(CURLOPT_WRITEDATA, c);
    SET(CURLOPT_ERRORBUFFER, c->words);
    SET(CURLOPT_USERAGENT, "modelmon");
}

rc_t http_client_new(struct http_client **ret, const struct http_client_options *o, struct err *e)
{
    (void)pthread_once(&global_once, global_init); /* fails only for a bad once_t */
    struct http_client *c = mem_alloc(sizeof *c);
    c->o = *o;
    c->o.connect_us = o->connect_us ? o->connect_us : CONNECT_US;
    c->o.total_us = o->total_us ? o->total_us : TOTAL_US;
    c->o.answer_max = o->answer_max ? o->answer_max : ANSWER_MAX;
    c->curl = curl_easy_init();
    if (c->curl == NULL) {
        mem_free(c);
        return err_set(e, E_FATAL, "libcurl does not start");
    }
    *ret = c;
    return OK;
}

void http_client_free(struct http_client *c)
{
    if (c == NULL)
        return;
    curl_easy_cleanup(c->curl);
    mem_free(c);
}

/* libcurl passes line breaks on as they are: nothing with one gets to it. */
static bool is_clean(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if ((*c < 0x20 && *c != '\t') || *c == 0x7F)
            return false;
    return true;
}

static rc_t add_header(struct curl_slist **list, const char *line, struct err *e)
{
    if (!is_clean(line))
        return err_set(e, E_INVALID, "a header has a control character");
    struct curl_slist *more = curl_slist_append(*list, line);
    assert(more != NULL); /* out of memory */
    *list = more;
    return OK;
}

static rc_t make_headers(const struct http_call *call, struct curl_slist **list, struct err *e)
{
    rc_t rc = add_header(list, "Expect:", e); /* no waiting for a 100 */
    for (const char *const *h = call->headers; rc == OK && h && *h; h++)
        rc = add_header(list, *h, e);
    if (rc == OK && call->content_type) {
        struct buf line = {0};
        buf_addf(&line, "Content-Type: %s", call->content_type);
        rc = add_header(list, line.data, e);
        buf_done(&line);
    }
    return rc;
}

static void set_call(struct http_client *c, const struct http_call *call, struct curl_slist *headers)
{
    SET(CURLOPT_URL, call->url);
    SET(CURLOPT_HTTPHEADER, headers);
    if (call->body.p) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.n);
        SET(CURLOPT_POSTFIELDS, call->body.p);
    }
    if (call->method)
        SET(CURLOPT_CUSTOMREQUEST, call->method);
}

static rc_t judge(struct http_client *c, CURLcode code, struct err *e)
{
    const char *words = c->words[0] ? c->words : curl_easy_strerror(code);
    long sent = 0;
    if (code == CURLE_OK)
        return OK;
    if (c->refused)
        return err_set(e, E_INVALID, "the address may not be called");
    if (c->too_long || code == CURLE_FILESIZE_EXCEEDED)
        return err_set(e, E_LIMIT, "the answer is longer than %zu bytes", c->o.answer_max);
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_LOGIN_DENIED)
        return err_set(e, E_INVALID, "%s", words);
    (void)curl_easy_getinfo(c->curl, CURLINFO_REQUEST_SIZE, &sent); /* stays 0 when it is not known */
    return err_set(e, sent > 0 ? E_UNKNOWN : E_AGAIN, "%s", words);
}

rc_t http_client_call(struct http_client *c, const struct http_call *call, struct http_reply *ret, struct err *e)
{
    struct http_reply reply = {.retry_after_us = -1};
    struct curl_slist *headers = NULL;
    long status = 0;
    curl_off_t retry_s = 0;
    if (!is_clean(call->url) || (call->method && !is_clean(call->method)))
        return err_set(e, E_INVALID, "the URL has a control character");
    rc_t rc = make_headers(call, &headers, e);
    if (rc == OK) {
        c->refused = c->too_long = false;
        c->words[0] = '\0';
        c->into = &reply.body;
        set_guards(c);
        set_call(c, call, headers);
        rc = judge(c, curl_easy_perform(c->curl), e);
    }
    if (rc == OK) {
        (void)curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status); /* there is one after OK */
        (void)curl_easy_getinfo(c->curl, CURLINFO_RETRY_AFTER, &retry_s);
        reply.status = (int)status;
        if (retry_s > 0 && retry_s < 86400)
            reply.retry_after_us = (int64_t)retry_s * USEC_PER_SEC;
        *ret = reply;
    } else {
        buf_done(&reply.body);
    }
    curl_slist_free_all(headers);
    return rc;
}
