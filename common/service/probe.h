/* Inside service/: --check-ready, the health check of a container without a shell. */
#pragma once
#include "config/config.h"
#include "http/server.h"

/* Reads the HTTP options alone, asks /readyz there, says on stderr what is wrong. 0: ready, 1: not. */
int probe_ready(const struct config_spec *spec, struct http_options *http);
