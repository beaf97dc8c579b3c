/* SPDX-License-Identifier: ISC */
/*
 * What the port's own two files share: erlxc.c, its loop and its frames, and
 * worker.c, its processes and what they are asked.
 */
#ifndef PORT_H
#define PORT_H

#include <sys/resource.h>

#include "erlxc.h"

#define UNBORN_MAX 64u /* commands killed before they began */

enum role { ROLE_QUERY, ROLE_JOB, ROLE_GUARDIAN, ROLE_LISTENER, ROLE_MONITOR };

struct worker {
	struct source src; /* our end of the socket; the worker's lifeline */
	struct worker *next;
	enum role role;
	pid_t pid;
	struct request *req; /* what it is at, a listener what comes after it
				too; NULL once that is answered */
	const struct op *op;
	struct ward *ward;       /* a guardian's */
	struct stream *stream;   /* that it opens; a guardian's: init's */
	struct etf_writer inbox; /* a message not yet complete */
	struct output *out;      /* NULL: it prints to the log */
	int fds[4];              /* that have come with the message */
	int nfds;
	bool released; /* a guardian without duties: may end */
	bool former;   /* of the container's name or path before */
	bool stale;    /* retired: ends after the call it is in */
	bool ended;    /* reaped; freed at the end of the turn */
};

/* The port. One per process, so a global: callbacks need no context. */
extern struct port {
	struct erlxc x;
	struct source in, out, signals;
	struct output log; /* of all that has no other */
	int epoll;
	struct log log_to;
	struct rlimit nofile; /* for all but the port itself */
	uint32_t streams;     /* opened so far: the last one's number */
	int logw;       /* the log pipe's writing end, for workers: it blocks */
	uint8_t *inbuf; /* bytes of frames not yet complete */
	size_t inlen, incap;
	struct etf_writer outq; /* for Erlang; `outpos` bytes are out */
	size_t outpos;
	size_t frame; /* where the one that is being written begins */
	bool throttled;
	struct output *print; /* of the job that is being forked, or NULL */
	int printw;           /* its writing end, or -1; then as `logw` */
	uint32_t progress;    /* the request whose output is wanted */
	struct worker *workers, *query;
	struct worker *monitor;  /* that is asked something, or NULL */
	struct worker *spare;    /* to be sent into the container, or NULL */
	struct worker *keeper;   /* of sessions, or NULL */
	struct worker *listener; /* to seccomp notifications, or NULL */
	struct etf_writer
	    words; /* for it: it may be at work, with a full socket */
	struct unborn {
		pid_t pid;
		int status;
		int64_t since;
	} unborn[UNBORN_MAX]; /* the last that were reaped and not known */
	unsigned int nunborn;
	unsigned int nworkers;
	struct request *queries; /* that wait for the query worker */
	struct request *waiting; /* exclusive jobs behind the one at work */
	bool exclusive;          /* there is one */
	bool halting;
	int64_t halt_deadline;
} port;

/* --- erlxc.c ------------------------------------------------------------- */

/* What waits for Erlang is written, if it can be: before the loop waits, and
 * before a fork, whose copy of it would be written again. */
void output_begin(void);

/* {reply, Id, Result, Why}, {raise, Id, Class} or, with a reason, {raise, Id,
 * Class, Why}; nobody wants it when `id` is 0. Or {event, Result}. */
void send_call(uint32_t id, const struct call *call);

/* {event, {finished, Command, Result, Why}}: nobody waits for it any more, but
 * half of it would have been worse. Result: {raise, Class} as well. */
void send_finished(const struct op *op, const struct call *call);

/* --- worker.c ------------------------------------------------------------ */

/* The dispositions and the mask of signals that a program starts with. */
void clean_signals(void);

/* Runs a request's row: here, or in a worker, now or when its turn comes. */
void dispatch(const struct op *op, uint32_t id, const void *frame, size_t len);

/* The caller of a request has died or waits no longer. */
void cancel(uint32_t id);

/* Runs what waited; called when a worker has answered or ended. */
void requests_pump(void);

/* Questions that have waited too long get their timeout. Returns ms to the next,
 * or -1. */
int query_deadlines(void);

/* A temporary container has a guardian at every time. */
void guard_update(void);

/* Writes what is left for the keeper of sessions. */
void keeper_flush(void);

/* Processes that have ended: reaped, and freed at the end of a turn. */
void children_reap(void);
void workers_sweep(void);

#endif
