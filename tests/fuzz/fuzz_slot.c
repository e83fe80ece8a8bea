/* A slot's blob: any bytes give an answer; what is read can be written and read again, to the same bytes; a slot takes
 * its own bytes as an addition. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "stats/slot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slot *first = NULL, *second = NULL;
    struct buf one = {0}, two = {0};
    struct err e;
    if (slot_decode(&first, (struct str){(const char *)data, size}, &e))
        return 0;
    slot_encode(first, &one);
    assert(slot_decode(&second, buf_str(&one), &e) == OK);
    slot_encode(second, &two);
    assert(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
    assert(slot_add_blob(second, buf_str(&one), &e) == OK);
    assert(second->rows == 2 * first->rows && second->requests == 2 * first->requests);
    buf_done(&one);
    buf_done(&two);
    slot_free(first);
    slot_free(second);
    return 0;
}
