/* SPDX-License-Identifier: ISC */
/*
 * What the C files share. The arrows go one way: erlxc.c (the port) calls
 * lxcops.c (the command table), which calls liblxc and ns.c.
 */
#ifndef ERLXC_H
#define ERLXC_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "codec.h"

#ifdef HAVE_LXC
#include <lxc/lxccontainer.h>
#else
struct lxc_container;
#endif

/* Released when the variable's scope is left. */
#define AUTO(release) __attribute__((cleanup(release)))
#define AUTO_STRING AUTO(string_free) char *
#define AUTO_FD AUTO(fd_free) int
#define AUTO_FILE AUTO(file_free) FILE *

static inline void
string_free(char **s)
{
	free(*s);
}

static inline void
fd_free(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline void
file_free(FILE **f)
{
	if (*f != NULL)
		fclose(*f);
}

#define ERLXC_VERSION "0.1.0"
#define ERLXC_PROTOCOL 1
#define NAME_MAX_LEN 255u
#define QUERY_TIMEOUT_MS 5000 /* the most that a monitor may take to answer */

/* What happens to the container when the Erlang side is gone. */
enum lifetime {
	TEMPORARY, /* stop, then destroy */
	TRANSIENT, /* stop */
	PERMANENT  /* leave it running */
};

/* A page that the port, a guardian and its children share: what each found, for
 * the others to read when it has ended or was killed. By whom it is written: */
struct ward {
	pid_t monitor; /* guardian: its child, running the row */
	pid_t init; /* watcher, or monitor when init's life was short: its pid
			  on the host, once it runs its program; 0 before */
	int status; /* monitor: init's wait status when `ended` */
	bool ended; /* monitor: the container ran and came to an end */
	bool husk;  /* creator: what is half done is ours to remove */
	/* watcher: the monitor's /proc/PID/cgroup, then init's */
	char cgroups[3072];
};

/* The container that this port serves. One per process. */
struct erlxc {
	char *name;
	char *path;              /* lxcpath; NULL: the default */
	struct lxc_container *c; /* NULL until op_open() */
	struct ward *ward;       /* NULL outside of a guarded row */
	enum lifetime type;
	bool daemonize;    /* start detached from the port */
	int grace_ms;      /* for a clean shutdown; 0: kill at once */
	const char *level; /* liblxc's log level: "error", "debug", ... */
};

/* How a row runs; see design.md, section 3. */
enum {
	OP_INLINE = 0,      /* in the port: memory or one small file */
	OP_QUERY = 1 << 0,  /* in the query worker, QUERY_TIMEOUT_MS */
	OP_JOB = 1 << 1,    /* in a worker of its own */
	OP_EXCL = 1 << 2,   /* with OP_JOB: one at a time */
	OP_RELOAD = 1 << 3, /* after success the handle is opened anew */
	OP_CONFIG = 1 << 4, /* changes the handle: the query worker retires */
	OP_GUARD = 1 << 5,  /* with OP_JOB: below a guardian */
	OP_KEEP = 1 << 6,   /* with OP_JOB: never killed half-way; finishes */
	OP_BARE = 1 << 7    /* needs no handle */
};

/* How a process ends when its row's deadline passes inside liblxc, which
 * restarts interrupted calls: only _exit gets out of them. */
enum {
	WORKER_TIMEOUT = 75, /* the monitor does not answer: raise timeout */
	WORKER_FALSE = 76,   /* what was waited for did not come: false */
	WORKER_LIMIT = 77    /* no process, no descriptor: raise system_limit */
};

enum verdict {
	OP_OK,
	OP_FAILED, /* the result says failure, the reason why */
	OP_RAISE,  /* the result is the class: badarg, notsup, ... */
	OP_EVENT   /* no row's: the result is what has happened */
};

struct strings {
	char **v; /* malloc'd, a NULL behind the last; NULL: never was one */
	size_t n;
};

/* One call: what a row reads and what it leaves. */
struct call {
	struct erlxc *x;
	const struct op *op;
	struct etf_reader *in;
	char *text[3]; /* the arguments, by their kinds: see op->args */
	int number;
	struct strings argv;
	enum verdict verdict;
	struct etf_writer result; /* one term */
	struct etf_writer why;    /* text, no term; for OP_FAILED */
};

struct op {
	const char *name;
	const char *args; /* a letter each: args_read() */
	uint8_t flags;
	void (*run)(struct call *call, struct lxc_container *c); /* x->c */
	/* Runs in the port after a success: what the port must know of it. */
	void (*after)(struct erlxc *x, struct etf_reader *in);
};

/* --- lxcops.c ---------------------------------------------------------- */

/* The row, or NULL; *known says whether the name has a row of any arity. */
const struct op *op_find(const char *name, uint32_t arity, bool *known);

/*
 * Runs a row in this process and leaves verdict, result and reason in `call`,
 * whose writers the caller frees. `in` stands before the first of the row's
 * arguments, behind the list's header. Opens the handle when the row needs one.
 */
void op_run(struct call *call, struct erlxc *x, const struct op *op,
    struct etf_reader *in);

/*
 * Opens x->c by x->name and x->path, translating a configuration from before
 * LXC 2.1. False: there is no handle; the reason is in the log captured. Waits
 * for another process's lock for a second at most.
 */
bool op_open(struct erlxc *x);
void op_close(struct erlxc *x);

/*
 * After a fork: this process captures liblxc's log (the source of all reasons)
 * apart from its parent's.
 */
void op_forked(struct erlxc *x);

/* True for a name of 1..255 bytes of [A-Za-z0-9._-], not "." or "..". */
bool op_valid_name(const char *name);

/* Fills x->path with the default lxcpath when it is NULL. */
bool op_default_path(struct erlxc *x);

/* liblxc's version as text, "" without liblxc. */
const char *op_lxc_version(void);

/*
 * A guardian's child: waits until the monitor's container runs its init's
 * program, and leaves init and cgroups in x->ward. False: it came to nothing.
 */
bool op_watch(struct erlxc *x);

/*
 * A guardian's child: takes the container down, by a clean shutdown of at most
 * x->grace_ms first. False: it could not be done. May hang: run with a
 * deadline.
 */
bool op_down(struct erlxc *x);

/* A guardian's child: destroys the container if it is defined and stopped, a
 * half-created one too. */
bool op_discard(struct erlxc *x);

/* --- ns.c --------------------------------------------------------------- */

/* Kills what is left in the cgroups that `cgroups` names (the /proc/PID/cgroup
 * of an init and its monitor, one after the other) and removes them. */
void ns_cgroup_purge(const char *cgroups);

/* Removes the empty cgroups that liblxc makes for a container of that name: for
 * one whose monitor was killed before it was in them. */
void ns_cgroup_sweep(const char *name);

/* The parent of a process, or -1: there is no such process. */
pid_t ns_parent(pid_t pid);

/* True when this init executes its program, or is liblxc's own (UseInit 1). */
bool ns_init_executed(pid_t pid);

/* True when no process can write the file that this process executes. */
bool ns_program_sealed(void);

/* A descriptor of this program that can be executed and never written: a clone
 * of its mount, read-only, or a sealed copy in memory. -1 with errno. */
int ns_program_seal(void);

/* /proc/PID/cgroup as text of less than `size` bytes; "" when there is none. */
void ns_cgroup_read(pid_t pid, char *text, size_t size);

#endif
