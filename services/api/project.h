/* A project as MLRun's clients see it. */
#pragma once
#include "api.h"

struct json *project_show(const struct project *p); /* json_free */
/* Makes or changes the project of that name, and answers it; body is changed. */
rc_t project_store(struct call *c, struct str name, struct json *body, struct err *e) MUST_CHECK;
/* Takes an update into the project as it is now (object_merge), and answers it. Own transaction. */
rc_t project_patch(struct call *c, const struct project *p, const struct json *update, struct err *e) MUST_CHECK;
