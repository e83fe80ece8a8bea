/* Handing functions over to Nuclio's dashboard API. */
#pragma once
#include "object.h"

extern const struct config_key nuclio_keys[];
extern const size_t nuclio_keys_n;

static inline bool nuclio_is_there(const struct nuclio_options *o)
{
    return *o->url;
}

/* The function as Nuclio's configuration, made there or changed; it builds it afterwards. E_AGAIN: Nuclio does not answer. E_INVALID: it
 * does not take it; its words are for the log. */
rc_t nuclio_deploy(struct call *c, const struct project *p, const struct object *function, struct str tag,
                   struct err *e) MUST_CHECK;
/* What Nuclio says of it, as the headers and the log that MLRun's clients read: log lines after since_ms. E_NOTFOUND: it has no such. */
rc_t nuclio_answer_state(struct call *c, const struct project *p, const char *name, struct str tag, double since_ms,
                         struct err *e) MUST_CHECK;
