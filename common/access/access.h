/* Access control of a process: who asks, and may they. Every service has a guard of this kind before its routes.
 *
 *   head ─▶ scope open? ─▶ credential ─▶ SHA-256 ─▶ table of tokens ─▶ scope, project ─▶ handler
 *                                          └ not in it: asked of the database first, then 401
 *
 * The table is read from the database when its version has changed, looked at each second: a token that was revoked is
 * refused a second later. A token that is new is known at its first use. While the database does not answer, what was read last holds. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/rc.h"
#include "base/sha.h"
#include "base/str.h"
#include "http/server.h"
#include "service/service.h"

#define ACCESS_TOKEN_TEXT 47 /* "mm_" and 43 characters for 256 bits, with its NUL */
#define ACCESS_COOKIE "modelmon_token"

/* A guard in the arena, for service_def.guard. */
const struct service_guard *access_guard(struct arena *a);

void access_token_make(char ret[ACCESS_TOKEN_TEXT]);
bool access_token_is(struct str s); /* looks like one */

/* "read,write" ⇒ a bit for each of http_scopes[]; E_INVALID for a scope that there is not, or none, or "open". */
rc_t access_scopes_parse(struct str text, unsigned *ret, struct err *e) MUST_CHECK;
/* "*", or names of projects with commas. */
rc_t access_projects_check(struct str text, struct err *e) MUST_CHECK;
bool access_scope_has(unsigned scopes, enum http_scope wanted); /* admin may all, write may read */
