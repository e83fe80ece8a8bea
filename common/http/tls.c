/* Certificate and key by GnuTLS, which libmicrohttpd speaks TLS with. A handshake looks at the files, once a second at most: when they
 * have changed and are right, it and those after it get the new ones; when they are wrong, the old ones stay. What is replaced is
 * kept to the server's end: handshakes may be using it. */
#include "http/tls.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "http/request.h"
#include "log/log.h"

#define CHAIN_MAX 16
#define LOOK_US USEC_PER_SEC

struct pair {
    struct pair *before;
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned n;
    gnutls_privkey_t key;
};

struct tls {
    const char *cert_file, *key_file;
    pthread_mutex_t lock;
    struct pair *newest;
    struct stat cert, key; /* of the files when they were last looked at */
    int64_t looked_us;
};

static void pair_free(struct pair *p)
{
    for (unsigned i = 0; i < p->n; i++)
        gnutls_pcert_deinit(&p->chain[i]);
    if (p->key)
        gnutls_privkey_deinit(p->key);
    mem_free(p);
}

static rc_t wrong(const char *file, int code, struct err *e)
{
    return err_set(e, E_INVALID, "%s: %s", file, gnutls_strerror(code));
}

/* That the key is the certificate's, by the library's own check. */
static rc_t check_match(const struct tls *t, struct err *e)
{
    gnutls_certificate_credentials_t both = NULL;
    int code = gnutls_certificate_allocate_credentials(&both);
    if (code == 0)
        code = gnutls_certificate_set_x509_key_file2(both, t->cert_file, t->key_file, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (both)
        gnutls_certificate_free_credentials(both);
    return code < 0 ? err_set(e, E_INVALID, "HTTP_TLS_CERT %s and HTTP_TLS_KEY: %s", t->cert_file, gnutls_strerror(code))
                    : OK;
}

static rc_t read_pair(const struct tls *t, struct pair *p, struct err *e)
{
    gnutls_datum_t text = {0};
    unsigned n = CHAIN_MAX;
    int code = gnutls_pcert_list_import_x509_file(p->chain, &n, t->cert_file, GNUTLS_X509_FMT_PEM, NULL, NULL, 0);
    if (code < 0)
        return wrong(t->cert_file, code, e);
    p->n = n;
    code = gnutls_privkey_init(&p->key);
    if (code == 0)
        code = gnutls_load_file(t->key_file, &text);
    if (code == 0)
        code = gnutls_privkey_import_x509_raw(p->key, &text, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (text.data)
        explicit_bzero(text.data, text.size);
    gnutls_free(text.data);
    return code < 0 ? wrong(t->key_file, code, e) : OK;
}

static rc_t stat_both(const struct tls *t, struct stat *cert, struct stat *key, struct err *e)
{
    if (stat(t->cert_file, cert) != 0)
        return err_set(e, E_INVALID, "HTTP_TLS_CERT: %s: %s", t->cert_file, strerror(errno));
    if (stat(t->key_file, key) != 0)
        return err_set(e, E_INVALID, "HTTP_TLS_KEY: %s: %s", t->key_file, strerror(errno));
    if (key->st_mode & 0137)
        return err_set(e, E_INVALID,
                       "HTTP_TLS_KEY: %s may be read or changed by others; its mode must be 0440, 0400 or 0600",
                       t->key_file);
    return OK;
}

/* The lock is held, or nobody else is there. */
static rc_t load(struct tls *t, struct err *e)
{
    rc_t rc = stat_both(t, &t->cert, &t->key, e);
    if (rc == OK)
        rc = check_match(t, e);
    if (rc)
        return rc;
    struct pair *p = mem_alloc(sizeof *p);
    rc = read_pair(t, p, e);
    if (rc) {
        pair_free(p);
        return rc;
    }
    p->before = t->newest;
    t->newest = p;
    return OK;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* The lock is held. */
static void look(struct tls *t)
{
    struct stat cert, key;
    struct err e;
    int64_t now = clock_mono_us();
    if (now - t->looked_us < LOOK_US)
        return;
    t->looked_us = now;
    bool there = stat(t->cert_file, &cert) == 0 && stat(t->key_file, &key) == 0;
    if (there && is_same(&cert, &t->cert) && is_same(&key, &t->key))
        return;
    if (load(t, &e) == OK)
        log_info("certificate", LF_STR("file", t->cert_file));
    else
        log_error("certificate", LF_STR("words", "the one that was read before stays in use"), LF_ERR(&e));
}

int tls_retrieve(gnutls_session_t session, const gnutls_datum_t *ca, int n_ca, const gnutls_pk_algorithm_t *algorithms,
                 int n_algorithms, gnutls_pcert_st **ret_chain, unsigned *ret_n, gnutls_privkey_t *ret_key)
{
    (void)ca, (void)n_ca, (void)algorithms, (void)n_algorithms;
    struct MHD_Connection *mhd = gnutls_session_get_ptr(session);
    const union MHD_ConnectionInfo *info = mhd ? MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT) : NULL;
    const struct connection *c = info ? info->socket_context : NULL;
    if (c == NULL)
        return -1; /* no such connection: there is no handshake */
    struct tls *t = c->server->tls;
    (void)pthread_mutex_lock(&t->lock); /* a plain mutex fails only by misuse */
    look(t);
    *ret_chain = t->newest->chain;
    *ret_n = t->newest->n;
    *ret_key = t->newest->key;
    (void)pthread_mutex_unlock(&t->lock);
    return 0;
}

rc_t tls_open(struct tls **ret, const struct http_options *o, struct err *e)
{
    struct tls *t = mem_alloc(sizeof *t);
    t->cert_file = o->tls_cert;
    t->key_file = o->tls_key;
    (void)pthread_mutex_init(&t->lock, NULL); /* cannot fail without attributes */
    rc_t rc = load(t, e);
    if (rc) {
        tls_free(t);
        return rc;
    }
    *ret = t;
    return OK;
}

void tls_free(struct tls *t)
{
    if (t == NULL)
        return;
    for (struct pair *p = t->newest, *before; p; p = before) {
        before = p->before;
        pair_free(p);
    }
    (void)pthread_mutex_destroy(&t->lock);
    mem_free(t);
}
