/* What a logged model means to the endpoints that serve it: its training statistics are their reference, its inputs and outputs name
 * their columns. Whichever is stored first, the artifact or the endpoint. */
#pragma once
#include "object.h"

/* An endpoint whose model_uri names a stored artifact takes that one's statistics, unless a person has given it others. */
rc_t model_of_endpoint(struct call *c, const struct project *p, const struct endpoint *ep, struct err *e) MUST_CHECK;
/* A version of an artifact was stored under these tags: the endpoints that serve it take it over; what a person gave one stays when
 * the version is no new one. What is no model, or has no statistics, changes nothing. */
rc_t model_stored(struct call *c, const struct project *p, const struct object *o, const struct str *tags,
                  size_t n_tags, struct err *e) MUST_CHECK;

/* store://models/PROJECT/KEY[#ITER][:TAG][@TREE][^UID]; the parts borrow. false: it is none. */
struct model_uri {
    struct str project, key, iter, tag, tree, uid;
};
bool model_uri_parse(struct str s, struct model_uri *ret);
