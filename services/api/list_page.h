/* A page of a list: page and page-size, or page-token, which has the other parameters in it. */
#pragma once
#include "api.h"

struct list_page {
    int64_t number, size; /* number 0: no pages were asked for */
    size_t offset, limit; /* to be read: one more than the page holds, which says whether there is another */
    struct call_query query;
};
/* From here to list_page_close the call's query is the one that the token continues. *ret must stay where it is. */
rc_t list_page_open(struct call *c, struct list_page *ret, struct err *e) MUST_CHECK;
void list_page_close(struct call *c);
size_t list_page_shown(const struct list_page *p, size_t n);                      /* of n that were read */
void list_page_write(struct json_writer *w, const struct list_page *p, size_t n); /* "pagination": {…} */
