/* The server's certificate, from files that may change while it runs. Inside http/ only. */
#pragma once
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include "base/rc.h"
#include "http/server.h"

#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

struct tls;
/* E_INVALID: a file cannot be read, is not what it must be, or the two do not belong together. */
rc_t tls_open(struct tls **ret, const struct http_options *o, struct err *e) MUST_CHECK;
void tls_free(struct tls *t); /* no handshake runs any more; NULL is fine */
/* A gnutls_certificate_retrieve_function2, which finds its server by the session. */
int tls_retrieve(gnutls_session_t session, const gnutls_datum_t *ca, int n_ca, const gnutls_pk_algorithm_t *algorithms,
                 int n_algorithms, gnutls_pcert_st **ret_chain, unsigned *ret_n, gnutls_privkey_t *ret_key);
