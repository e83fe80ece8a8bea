/* What a request has to show. Not for other folders. */
#pragma once
#include "base/str.h"
#include "http/server.h"

/* The token: `Authorization: Bearer`, or Basic, whose password it is (or its user, when there is no password), or the cookie that
 * MLRun's client has made of it, or, to read, the cookie of the pages. False: there is none. In the request or its arena. */
bool credential_of(struct http_request *r, struct str *ret);
