/* The self-probe: GET /readyz at the address the configuration names. */
#include "service/probe.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "http/client.h"

static rc_t read_port_file(const char *path, int64_t *ret)
{
    char text[16] = "";
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return E_NOTFOUND;
    size_t n = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f); /* only read */
    while (n > 0 && text[n - 1] == '\n')
        n--;
    return num_i64_in((struct str){text, n}, 1, 65535, ret);
}

/* The wildcard addresses are reached by loopback. */
static void make_url(const struct http_options *o, int64_t port, struct buf *to)
{
    const char *addr = strcmp(o->addr, "0.0.0.0") == 0 ? "127.0.0.1" : strcmp(o->addr, "::") == 0 ? "::1" : o->addr;
    bool six = strchr(addr, ':') != NULL;
    buf_addf(to, "%s://%s%s%s:%" PRId64 "/readyz", http_scheme(o), six ? "[" : "", addr, six ? "]" : "", port);
}

static int ask(const char *url, const char *own_cert)
{
    const struct http_client_options o = {.reach = HTTP_REACH_ANY,
                                          .plain_ok = true,
                                          .ca_file = own_cert,
                                          .any_name = true,
                                          .connect_us = 2 * USEC_PER_SEC,
                                          .total_us = 4 * USEC_PER_SEC};
    struct http_client *c = NULL;
    struct http_reply reply = {0};
    struct err e = {{0}};
    rc_t rc = http_client_new(&c, &o, &e);
    if (rc == OK)
        rc = http_client_call(c, &(struct http_call){.url = url}, &reply, &e);
    bool ready = rc == OK && reply.status == 200;
    if (rc != OK)
        (void)fprintf(stderr, "%s: %s\n", url, e.text);
    else if (!ready)
        (void)fprintf(stderr, "%s: %d %.*s\n", url, reply.status, STR_FMT(buf_str(&reply.body)));
    buf_done(&reply.body);
    http_client_free(c);
    return ready ? 0 : 1;
}

int probe_ready(const struct config_spec *spec, struct http_options *http)
{
    struct config_spec own = *spec;
    const struct config_table table = {"HTTP", http_keys, http_keys_n, http};
    struct config *cfg = NULL;
    struct buf faults = {0}, url = {0};
    char *no_flags[] = {NULL};
    own.tables = &table;
    own.table_count = 1;
    own.rule_count = 0; /* they are about options of other tables */
    int code = 1;
    int64_t port = 0;
    if (config_load(&cfg, &own, 0, no_flags, &faults) != OK) {
        (void)fputs(faults.data, stderr);
    } else if (http->port != 0 || read_port_file(http->port_file, &port) == OK) {
        make_url(http, http->port ? http->port : port, &url);
        code = ask(url.data, http->tls_cert);
    } else {
        (void)fprintf(stderr, "HTTP_PORT is 0 and HTTP_PORT_FILE does not say which port it became\n");
    }
    buf_done(&url);
    buf_done(&faults);
    config_free(cfg);
    return code;
}
