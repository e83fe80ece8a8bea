/* Which addresses a client may connect to, judged after the name was resolved. Pure; inside http/ only. */
#pragma once
#include <stdbool.h>
#include <sys/socket.h>
#include "http/client.h"

bool reach_allows(enum http_reach reach, const struct sockaddr *addr);
