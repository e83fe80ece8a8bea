/* The tolerant reader of times: what it takes, printed in each form, reads as the same instant. */
#include <string.h>

#include "base/time.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str s = {(const char *)data, n};
    int64_t us, again;
    char text[TIME_TEXT];
    static size_t (*const forms[])(char[TIME_TEXT], int64_t) = {time_rfc3339, time_mlrun, time_iso_offset};
    if (time_parse(s, 0, &us) != OK)
        return 0;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        size_t len = forms[i](text, us);
        MUST(len < TIME_TEXT && strlen(text) == len);
        MUST(time_parse((struct str){text, len}, 1, &again) == OK && again == us);
    }
    struct civil c = time_civil(us);
    MUST(c.year >= 1 && c.year <= 9999 && c.month >= 1 && c.month <= 12 && c.day >= 1 && c.day <= 31);
    return 0;
}
