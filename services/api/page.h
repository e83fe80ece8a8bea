/* The frame that all pages share. */
#pragma once
#include "base/buf.h"
#include "base/str.h"
#include "api.h"
#include "store.h"

struct crumb {
    const char *text, *href; /* href NULL: where one is */
};
/* refresh_s 0: the page stays as it is. crumbs end with one whose text is NULL. */
void page_open(struct buf *b, const char *title, const struct crumb *crumbs, int refresh_s);
void page_close(struct buf *b);
void page_error(struct buf *b, int status, const char *title, const char *detail);
/* A box that says what is missing and what to do; command may be NULL. title and words are ours, not from outside. */
void page_empty(struct buf *b, const char *title, const char *words, const char *command);
void page_caller(struct buf *b, const char *name); /* who has signed in, and the way out */
void page_badge(struct buf *b, int status);
void page_badge_with(struct buf *b, int status, const char *words); /* our words behind those of the status */
void page_badge_partly(struct buf *b, int status, size_t lost); /* not green when so many features are not compared */
void page_words(struct buf *b, struct str code); /* an app's code for a reason or an outcome; others as they are */
void page_refused(struct buf *b, const struct refused *r, int64_t now_us); /* nothing when none was */
const char *page_origin(struct call *c); /* how this server is reached; no / at the end */
