/* What of an alert that a client stores is right. */
#pragma once
#include "api.h"

#define ALERT_NAME_MAX 255
#define ALERT_TEXT_MAX 4096
#define ALERT_COUNT_MAX 99             /* of its criteria */
bool alert_name_fits(struct str name); /* letters, digits, - and _ */
/* Makes body what is stored: its own fields alone, with their defaults. E_INVALID names the field. */
rc_t alert_check(const struct project *p, struct str name, struct json *body, struct err *e) MUST_CHECK;
/* An object with kind, project and one id. */
rc_t alert_entity(const struct project *p, const struct json *entity, struct str *ret_kind, struct str *ret_id,
                  struct err *e) MUST_CHECK;
