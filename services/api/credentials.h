/* What a project's monitoring connects to: profiles, tried before they are set. */
#pragma once
#include "api.h"
#include "db/profile.h"

/* Connects to what the profile says, for some seconds at most. E_INVALID: it is of a type that monitoring does not use, or nobody lets us
 * in; the words begin with the field's. private_part: as it is kept, or empty. */
rc_t credentials_try(struct call *c, const struct profile *p, struct str private_part, const char *field,
                     struct err *e) MUST_CHECK;

/* A connection string of 1.7 (connection_text.c), made into a profile. */
struct connection_text {
    struct profile profile; /* name NULL: none was given, or it needs no connection */
    struct buf private_part;
    const char *as_is; /* "sqlite:///…": borrowed; NULL: it is the profile */
};
void connection_text_done(struct connection_text *t);
/* kafka://HOST:PORT,… */
rc_t connection_text_stream(struct call *c, struct str text, struct connection_text *ret, struct err *e) MUST_CHECK;
/* postgresql://USER:PASSWORD@HOST:PORT/DATABASE or sqlite:///PATH; field: for words. */
rc_t connection_text_store(struct call *c, struct str text, const char *field, struct connection_text *ret,
                           struct err *e) MUST_CHECK;
