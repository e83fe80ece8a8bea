/* The decoder of writer events: JSON in JSON in JSON; what it takes it can write and take again. */
#include <math.h>
#include <string.h>

#include "event/names.h"
#include "event/result.h"
#include "fuzz.h"

static void again(const struct result_event *ev, struct arena *a)
{
    struct buf out = {0};
    struct result_event got;
    struct reject why;
    result_encode(ev, &out);
    MUST(result_decode(out.data, out.len, a, &got, &why) == OK);
    MUST(got.start_us == ev->start_us && got.end_us == ev->end_us && got.revision == ev->revision);
    MUST(got.event_kind == ev->event_kind && got.kind == ev->kind && got.status == ev->status);
    MUST(got.value == ev->value || (isnan(got.value) && isnan(ev->value)));
    MUST(str_eq(got.name, ev->name) && str_eq(got.extra_data, ev->extra_data) && str_eq(got.stats, ev->stats));
    MUST(str_eq(got.endpoint_name, ev->endpoint_name) && str_eq(got.application_name, ev->application_name));
    MUST(ev->event_kind != RESULT_STATS || got.timestamp_us == ev->timestamp_us);
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena a = {0};
    struct result_event ev;
    struct reject why = {0};
    if (result_decode((const char *)data, n, &a, &ev, &why) != OK) {
        MUST(why.code != REJECT_NONE && strlen(why.text) > 0);
    } else {
        MUST(ev.start_us < ev.end_us && name_is_uid(ev.endpoint_id) && name_is_metric(ev.name));
        again(&ev, &a);
    }
    arena_done(&a);
    return 0;
}
