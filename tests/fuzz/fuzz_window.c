/* The decoder of window events: what it takes it can write and take again. */
#include <string.h>

#include "event/names.h"
#include "event/window.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena a = {0};
    struct buf out = {0};
    struct window_event ev, got;
    struct reject why = {0};
    if (window_decode((const char *)data, n, &a, &ev, &why) != OK) {
        MUST(why.code != REJECT_NONE && why.position <= n && strlen(why.text) > 0);
    } else {
        MUST(ev.start_us < ev.end_us && name_is_uid(ev.endpoint_id) && name_is_app(ev.application_name));
        window_encode(&ev, &out);
        MUST(window_decode(out.data, out.len, &a, &got, &why) == OK);
        MUST(got.start_us == ev.start_us && got.end_us == ev.end_us && got.revision == ev.revision && got.is_exact);
        MUST(str_eq(got.endpoint_name, ev.endpoint_name) && str_eq(got.project, ev.project));
        MUST(str_eq(got.endpoint_updated, ev.endpoint_updated) && got.n_files == ev.n_files);
        for (size_t i = 0; i < ev.n_files; i++)
            MUST(str_eq(got.files[i], ev.files[i]));
    }
    buf_done(&out);
    arena_done(&a);
    return 0;
}
