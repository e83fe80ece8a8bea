/* The event loop of one thread: file descriptors, timers, and work posted from other threads.
 * The thread that calls loop_run owns the loop and all that is registered with it; only loop_post and loop_stop
 * may be called from elsewhere. Times are clock_mono_us. */
#pragma once
#include <stdint.h>
#include "base/rc.h"

struct loop;
struct loop_fd;
struct loop_timer;

rc_t loop_new(struct loop **ret, struct err *e) MUST_CHECK;
void loop_free(struct loop *l); /* runs nothing that is still posted; frees sources and timers */

rc_t loop_run(struct loop *l, struct err *e) MUST_CHECK; /* until loop_stop */
void loop_stop(struct loop *l);                          /* any thread; loop_run returns after the current round */

/* events: EPOLLIN, EPOLLOUT …, level-triggered. fn gets those that are there. The descriptor stays the caller's; remove
 * it before closing it. Removing any source or timer inside a callback is fine. */
rc_t loop_add_fd(struct loop *l, int fd, uint32_t events, void (*fn)(void *arg, uint32_t events), void *arg,
                 struct loop_fd **ret, struct err *e) MUST_CHECK;
rc_t loop_set_fd(struct loop_fd *f, uint32_t events, struct err *e) MUST_CHECK;
void loop_del_fd(struct loop_fd *f); /* NULL is fine */

/* Not armed yet. A timer that is late fires once, and a period counts on from when it was due. */
struct loop_timer *loop_timer_new(struct loop *l, void (*fn)(void *arg), void *arg);
void loop_timer_at(struct loop_timer *t, int64_t mono_us);
void loop_timer_after(struct loop_timer *t, int64_t us);
void loop_timer_every(struct loop_timer *t, int64_t us); /* first one period from now */
void loop_timer_cancel(struct loop_timer *t);
void loop_timer_free(struct loop_timer *t); /* NULL is fine */

void loop_post(struct loop *l, void (*fn)(void *arg), void *arg); /* any thread: fn(arg) runs in the loop, in order */
