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
	int64_t tried; /* monitor: when liblxc's start was called, or 0 */
	int64_t over;  /* guardian: when the monitor was no more, or 0 */
	bool ended;    /* monitor: the container ran and came to an end, and */
	pid_t last;    /* whose end that was; 0: not known */
	bool husk;     /* creator: what is half done is ours to remove */
	pid_t told;    /* port: the init whose end was told, or 0 */
	/* watcher: the monitor's /proc/PID/cgroup, then init's */
	char cgroups[3072];
};

/* An init that is known: while this is held, its pid is nobody else's. */
struct ns_init {
	pid_t pid;
	int pidfd;                /* -1: before Linux 5.3 */
	unsigned long long start; /* clock ticks since boot */
};

/* The container that this port serves. One per process. */
struct erlxc {
	char *name;
	char *path;              /* lxcpath; NULL: the default */
	struct lxc_container *c; /* NULL until op_open() */
	bool unread;       /* its configuration on disk could not be loaded */
	struct ward *ward; /* NULL outside of a guarded row */
	int lock;          /* op_lock(), or 0 */
	/* An init's, while it is started to be a stream; or -1. */
	int stdio[3];
	struct ns_init init; /* that was entered last; pid 0: none */
	uint32_t stream;     /* the number of the one that a row opens, or 0 */
	int port;            /* in a worker: its socket */
	bool force;          /* in a worker: the monitor is not to be asked */
	bool progress;       /* in a worker: its progress is wanted */
	enum lifetime type;
	bool daemonize;    /* start detached from the port */
	bool failed;       /* the last start that was tried */
	bool notify;       /* it has a filter now that must be listened to */
	int grace_ms;      /* for a clean shutdown; 0: kill at once */
	const char *level; /* liblxc's log level: "error", "debug", ... */
};

/* How a row runs; see design.md, section 3. */
enum {
	OP_INLINE = 0,       /* in the port: memory or one small file */
	OP_QUERY = 1 << 0,   /* in the query worker, QUERY_TIMEOUT_MS */
	OP_JOB = 1 << 1,     /* in a worker of its own */
	OP_EXCL = 1 << 2,    /* with OP_JOB: one at a time */
	OP_RELOAD = 1 << 3,  /* after success the handle is opened anew */
	OP_CONFIG = 1 << 4,  /* changes the handle: the query worker retires */
	OP_GUARD = 1 << 5,   /* with OP_JOB: below a guardian */
	OP_KEEP = 1 << 6,    /* with OP_JOB: never killed half-way; finishes */
	OP_BARE = 1 << 7,    /* needs no handle */
	OP_STREAM = 1 << 8,  /* with OP_JOB: opens a stream */
	OP_KEPT = 1 << 9,    /* with OP_JOB: by a worker forked before */
	OP_LISTEN = 1 << 10, /* with OP_JOB: in the listener */
	OP_STILL = 1 << 11,  /* with OP_JOB: only if the monitor answers */
	OP_ASK = 1 << 12     /* with OP_QUERY: by op_ask() where that can */
};

/* How a process ends when its row's deadline passes inside liblxc, which
 * restarts interrupted calls: only _exit gets out of them. */
enum {
	WORKER_TIMEOUT = 75, /* the monitor does not answer: raise timeout */
	WORKER_FALSE = 76,   /* what was waited for did not come: false */
	WORKER_LIMIT = 77,   /* no process, no descriptor: raise system_limit */
	WORKER_FORCE = 78    /* to be run once more, with request->force */
};

enum verdict {
	OP_OK,
	OP_FAILED, /* the result says failure, the reason why */
	OP_RAISE,  /* the result is the class: badarg, notsup, ... */
	OP_EVENT,  /* no row's: the result is what has happened */
	OP_BORN,   /* no row's: see worker_born() */
	OP_NOTIFY, /* no row's: see worker_notifies() */
	OP_STATE   /* no row's: the result is a state's name, no term */
};

struct strings {
	char **v; /* malloc'd, a NULL behind the last; NULL: never was one */
	size_t n;
};

/* A command, and where its standard descriptors lead. */
struct ns_command {
	char **argv; /* looked up in the container's PATH without a slash */
	char **env;  /* "K=V", over the defaults; a NULL at the end, or NULL */
	const char *cwd;   /* NULL: the user's home, else / */
	const char *user;  /* name or decimal id; NULL: the container's root */
	const char *group; /* NULL: the user's */
	char **groups;     /* supplementary; as env */
	bool pty;          /* a terminal of that size, else pipes */
	unsigned short rows, cols;
	enum ns_err {
		NS_ERR_SEPARATE,
		NS_ERR_STDOUT,
		NS_ERR_NULL
	} err; /* of pipes */
};

/* What becomes of a system call: it returns `value`, fails with `error`, or is
 * done by the kernel as if there were no filter. */
struct notify_answer {
	uint64_t id;
	int64_t value;
	int error;
	bool go_on;
};

#define OPTION_TEXTS 8

/* What a row may be told beside its arguments, in the order of get_options(). */
struct options {
	char *text[OPTION_TEXTS]; /* NULL: not given */
	uint64_t size;            /* bytes; 0: not given */
	bool flag[4];
};

/* One call: what a row reads and what it leaves. */
struct call {
	struct erlxc *x;
	const struct op *op;
	struct etf_reader *in;
	char *text[4]; /* the arguments, by their kinds: see op->args */
	int number;
	struct {
		bool read, clear;
		uint64_t max; /* bytes; 0: all */
	} log;
	struct strings argv, env, groups;
	struct notify_answer answer;
	struct etf_bytes data;
	struct ns_command cmd;
	struct options options;
	pid_t pid; /* of the process that was born */
	enum verdict verdict;
	struct etf_writer result; /* one term */
	struct etf_writer why;    /* text, no term; for OP_FAILED */
};

struct op {
	const char *name;
	const char *args; /* a letter each: args_read() */
	uint16_t flags;
	void (*run)(struct call *call, struct lxc_container *c); /* x->c */
	/* Runs in the port after a success: what the port must know of it. */
	void (*after)(struct erlxc *x, struct etf_reader *in);
};

/* --- erlxc.c, for all -------------------------------------------------- */

/* Sends Erlang what is left for it, says so on standard error, and exits. */
void die(int status, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), noreturn));

/* Bytes, all or none, and one descriptor, through a Unix socket. *fd stays what
 * it was when none came along. */
bool fd_send(int socket, const void *data, size_t len, int fd);
bool fd_receive(int socket, void *data, size_t len, int *fd);

/* --- erlxc.c, for guardians -------------------------------------------- */

#define FRAME_MAX (16u << 20) /* bytes in a frame, either direction */

/* A request that waits for a worker, or is at work in one. */
struct request {
	struct request *next;
	const struct op *op;
	uint32_t id;     /* 0: nobody wants the answer (any more) */
	uint32_t stream; /* the number of the one that it opens, or 0 */
	int64_t deadline;
	bool progress;  /* what it prints is wanted, too */
	bool cancelled; /* its caller is gone, it goes on */
	bool force;     /* the monitor has not answered it */
	bool asked;     /* of the monitor, to no end: liblxc is to ask it */
	size_t len;
	uint8_t frame[];
};

/* Worker to port: a header, then `result` and `why` bytes. One machine, one
 * program: native byte order. */
struct message {
	uint32_t verdict; /* enum verdict */
	uint32_t result;
	uint32_t why;
};

/* Port to guardian: one byte each. The first three are enum lifetime. */
enum tell { TELL_CANCEL = 3, TELL_RELEASE = 4 };

/* Kills a process and what it started: SIGKILL to its group. */
void group_kill(pid_t pid);

/* Writes all, however often that takes. False: errno. */
bool write_all(int fd, const void *data, size_t len);

/* True when one of poll(2)'s events, or an end, comes within `ms`; -1: ever. */
bool polled(int fd, short events, int ms);

/* What is left of x->stdio is closed. */
void stdio_free(struct erlxc *x);

/* The signals that the port and a guardian live with, as a descriptor or -1. */
int signals_open(void);

/* Every process that the port forks begins with this. */
void child_begin(const char *comm, pid_t parent, bool die_with_parent);

/* A call's answer: made empty; sent; made up, when its process has left none;
 * had by running the request's row in this process, and sent. */
void call_init(struct call *call, enum verdict verdict);
void call_send(int fd, struct call *call);
void call_lost(struct call *call, int status);
void call_run(struct erlxc *x, int fd, const struct request *req);

/* --- guardian.c -------------------------------------------------------- */

/* The whole life of a guardian, for a request, or an idle one for NULL; `fd` is
 * its socket to the port. */
void guardian_main(struct erlxc *x, int fd, const struct request *req)
    __attribute__((noreturn));

/* In a job: starts a container that outlives the port. */
void starter_main(struct erlxc *x, int fd, const struct request *req)
    __attribute__((noreturn));

/* In place of a guardian that was killed: does what that would have done. */
void guardian_recover(struct erlxc *x, int fd, bool halting, int status)
    __attribute__((noreturn));

/* --- erlxc.c, for streams ---------------------------------------------- */

/* A descriptor that the loop polls, first member of what it belongs to. */
struct source {
	int fd;
	uint32_t events;
	uint32_t got; /* those that it is ready for */
	void (*ready)(struct source *src);
};

/* Milliseconds of the monotonic clock. */
int64_t now_ms(void);

/* Begins and ends the polling of src->fd, for epoll's `events`; the latter
 * closes it. False: it cannot be polled. */
bool source_add(
    struct source *src, uint32_t events, void (*ready)(struct source *src));
void source_want(struct source *src, uint32_t events);
void source_close(struct source *src);

/* Begins the frame {Tag, ...}, whose other elements are put into what this
 * returns. False at its end: it is not sent, for want of room or of a reader. */
struct etf_writer *frame_begin(const char *tag, uint32_t arity);
bool frame_end(void);

/* {reply, Id, ok | {error, Error}, <<>>}, {raise, Id, Class}; not for id 0. */
void port_answer(uint32_t id, const char *error);
void port_raise(uint32_t id, const char *class);

/* Erlang does not read: nothing more for it should be made. */
bool port_throttled(void);

/* Takes the container down whose init the stream is. */
struct stream;
void port_stop_init(const struct stream *s);

/* It is about to be freed: no worker opens it or is its init's guardian. */
void port_stream_gone(const struct stream *s);

/* What becomes of a command's session. */
enum session {
	SESSION_HELD, /* it ends with the port */
	SESSION_LEFT, /* its command has ended by itself: it may stay */
	SESSION_KILLED
};

/* To the keeper of sessions. */
struct session_word {
	pid_t id;
	enum session what;
};

/* Tells the keeper of sessions, ns_sessions_keep(). */
void port_session(pid_t id, enum session what);

/* {exit_status, N} | {signal, N}, or unknown. */
void put_status(struct etf_writer *w, bool known, int status);

enum stream_kind { STREAM_PIPES, STREAM_TTY, STREAM_INIT, STREAM_CONSOLE };

/*
 * In a worker: the command's process, which waits to be let go (0: none), and
 * our ends of its descriptors (-1: none) become the port's, as a stream. So does
 * x->init.
 */
void worker_born(
    const struct erlxc *x, enum stream_kind kind, pid_t pid, const int fds[3]);

/* In a worker: what listens to its command's notifications becomes the port's,
 * for the listener. */
void worker_notifies(const struct erlxc *x, int fd);

/* --- stream.c ---------------------------------------------------------- */

/*
 * Takes over the descriptors of a command: stdin, stdout, stderr (-1: none); of
 * a terminal or a console only the first. Without a command the last keeps its
 * place, and ends with the container. NULL: no memory; they are the caller's.
 */
struct stream *
stream_new(uint32_t id, enum stream_kind kind, pid_t pid, const int fds[3]);

/* Erlang has been told of it: bytes may come. `init`: of a STREAM_INIT. */
void stream_begin(struct stream *s, pid_t init);

/* Its command has ended, with a wait status if that is known. */
void stream_ended(struct stream *s, bool known, int status);

/* Nobody wants it any more: kills the command and its session. */
void stream_close(struct stream *s);
void streams_close_all(void);

/* A child was reaped; false: it was no stream's command. */
bool stream_reaped(pid_t pid, int status);

/* Runs a request of the streams' own: write, eof, resize, signal, ack, close.
 * False: it is none of them. `r` stands before the arguments. */
bool stream_command(uint32_t id, const char *name, struct etf_reader *r);

/* After port_throttled() has changed. */
void streams_throttle(void);

/* What time asks for; returns the ms to the next, or -1. */
int streams_timeout(void);

/* In a fork of the port: closes what is the port's. */
void streams_forked(void);

/* At the end of a turn of the loop: frees those that are over. */
void streams_sweep(void);

/* The sessions of all commands, pid_t each, malloc'd. */
struct etf_bytes streams_sessions(void);

/* --- notify.c ---------------------------------------------------------- */

#define NOTIFY_MS 5000   /* for what Erlang decides of a call */
#define ANSWER_MAX 4096u /* bytes of an answer's frame */

/* In the listener: answers a call that waits. Returns 0 or errno: ENOENT when it
 * does not wait (any more), EINVAL for what the kernel does not take. */
int notify_answer(const struct notify_answer *answer);

/* In the port, before a listener is forked. False: no memory. */
bool notify_prepare(void);

/* This process becomes the listener at the descriptor of init's filter; a call
 * waits for `wait_ms` at most. */
void notify_listen(int fd, int wait_ms);

/* The same at one of a command that was entered; closed by this. */
void notify_also(int fd);

/* In the port: has the listener at the other end of `socket` do that. False: it
 * cannot take it. */
bool notify_pass(int socket, int fd);

/* The life of the listener, if this process is one; `port`: its socket. */
void notify_serve(struct erlxc *x, int port) __attribute__((noreturn));

/* --- erlxc.c, for events ----------------------------------------------- */

/* A watcher that runs watcher_main(): its socket, or NULL when there can be
 * none. */
struct source *watcher_fork(void);

/* The ward of the guardian above this init, for 0 of that whose container was
 * there at that time; or NULL. */
struct ward *port_ward(pid_t init, int64_t at);

/* --- watch.c ------------------------------------------------------------ */

/* The whole life of a watcher; `fd` is its socket to the port. */
void watcher_main(struct erlxc *x, int fd) __attribute__((noreturn));

/* The control words `watch` and `unwatch`. False: it is neither. */
bool watch_command(uint32_t id, const char *name);

/* True for the watcher's socket. It has told a state; it has found init, which
 * stays the caller's; it has ended. */
bool watch_is(const struct source *worker);
void watch_state(const void *data, size_t len);
void watch_init(const struct ns_init *init);
void watch_lost(bool failed);

/* The container may be about to start. */
void watch_hint(void);

/* The container has another name or path. */
void watch_renew(void);

/* A guardian tells that its container has ended. False: that was told. */
bool watch_ended(const struct ward *ward);

/* The page is about to be unmapped. */
void watch_forget(const struct ward *ward);

/* In a fork of the port: closes what is the port's. */
void watch_forked(void);

/* What time asks for; returns the ms to the next, or -1. */
int watch_timeout(void);

/* --- log.c --------------------------------------------------------------- */

#define LOG_LINE_MAX 4096 /* bytes in a line; a longer one comes in parts */
#define LOG_LEVELS 9

/* liblxc's names of levels, from the lowest on. */
extern const char *const log_levels[LOG_LEVELS];

/* Where log lines go, beside Erlang. */
struct log {
	int file;     /* -o, or -1 */
	int errfd;    /* the standard error that the port was started with */
	bool verbose; /* there, too */
	size_t level; /* lines of this level and above go to Erlang */
};

/* A pipe that liblxc and the programs that it runs print to: the log's, or that
 * of a job whose caller wants the lines, too. */
struct output {
	struct source src;
	const struct log *log;
	struct request **req; /* the job's; NULL: it is the log's */
	size_t len;
	char line[LOG_LINE_MAX + 1];
};

/* Of a pipe's reading end, which it takes over; NULL: it cannot be. */
struct output *output_new(int fd, const struct log *log);
void output_free(struct output *o);

/* Lines have come. */
void output_lines(struct source *src);

/* What a job has printed, before its answer. */
void output_drain(struct output *o);

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

/* The same, but not before liblxc is called, which may never be. */
void op_spare(struct erlxc *x);

/* For a row with OP_ASK: a socket by which the monitor has been asked, without
 * waiting; -1 when only liblxc can. */
int op_ask(struct erlxc *x);

/* The monitor's answer, by op_ask()'s socket: 1, and the call is complete; 0:
 * not yet; -1: none, liblxc is to ask. */
int op_answered(struct call *call, int fd);

/* Fills x->path with the default lxcpath when it is NULL. */
bool op_default_path(struct erlxc *x);

/* The answer to start: {ok, Pid}, or {ok, Stream, Pid} with x->stream. */
void op_put_started(struct etf_writer *w, const struct erlxc *x, pid_t pid);

/* liblxc's version as text, "" without liblxc. */
const char *op_lxc_version(void);

/* The descriptor of the notifications that init's seccomp filter makes, from the
 * monitor, and in x->init the init; waits for one that reboots. -1: it does not
 * run. */
int op_notify_fd(struct erlxc *x);

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

/* --- lxcops.c, for lxclist.c, lxcdisk.c and lxclive.c -------------------- */

/* The call raises a class; it failed, for this reason or (NULL) for one that
 * the log has; its result is true, or false for that reason. */
void op_raise(struct call *call, const char *class);
void op_fail(struct call *call, const char *why);
void op_reply_bool(struct call *call, bool ok, const char *why);

/* Its result is {error, Posix}: for a reason, or (NULL) by what the log says. */
void op_reply_errno(struct call *call, int number, const char *why);

#define LOCK_WAIT_MS 1000 /* for another process's lock on a container */

/*
 * This process has `ms` for what it does, then ends with `status`: exiting is
 * the only way out of liblxc, whose receive loops go on after a signal. With 0
 * it is only interrupted (no SA_RESTART), as a wait for another process's lock
 * on the container can be. -1: no deadline.
 */
void op_deadline(int64_t ms, int status);

/* NULL: the monitor will not tell. */
const char *op_state_of(struct lxc_container *c);

/* True when the monitor says so, or there is none. */
bool op_is_stopped(struct lxc_container *c);

/* The text that one of liblxc's ask-for-the-length getters has; malloc'd. */
typedef int op_getter(struct lxc_container *, const char *, char *, int);
char *op_fetch(struct lxc_container *c, op_getter *get, const char *key);

/* lxcpath/name, with `tail` behind it; malloc'd. */
char *op_file(const struct erlxc *x, const char *tail);

/* True when that is there, or no memory. */
bool op_file_exists(const struct erlxc *x, const char *tail);

/* Why nothing can be made in the lxcpath, which liblxc does not say; NULL: it can. */
const char *op_path_why(const struct erlxc *x);

/* Removes the container's directory when it is empty: liblxc makes it whether
 * or not it comes to put something there. */
void op_dir_discard(const struct erlxc *x);

/* x->init becomes the container's: the one that was entered last, while it lives;
 * else the one that the monitor names. Returns 0 or errno. */
int op_init_identify(struct erlxc *x, int ms);

/* The result is a list of texts. */
void op_reply_strings(struct call *call, const struct strings *l);

/* A handle that has no configuration and waits for no lock; or NULL. */
struct lxc_container *op_bare_new(const char *name, const char *path);

/* --- lxclist.c ----------------------------------------------------------- */

/* Rows. */
void op_list(struct call *call, struct lxc_container *c);
void op_survey(struct call *call, struct lxc_container *c);

/* --- lxclive.c ----------------------------------------------------------- */

/* Rows. */
void op_device_node(struct call *call, struct lxc_container *c);
void op_interface(struct call *call, struct lxc_container *c);
void op_mount(struct call *call, struct lxc_container *c);
void op_umount(struct call *call, struct lxc_container *c);

/* --- lxcdisk.c ----------------------------------------------------------- */

/* A file marks a container that is being created or copied to, by a process that
 * holds a lock on it. Without the lock its maker was killed. */
enum partial { PARTIAL_NONE, PARTIAL_HELD, PARTIAL_LEFT };
enum partial op_partial(const struct erlxc *x);

/*
 * x->lock, by which one process at a time changes a container on disk or starts
 * it. op_lock() waits for LOCK_WAIT_MS at most. Between processes that share the
 * descriptor it is one lock, which any of them lets go. flock(2).
 */
void op_lock_open(struct erlxc *x);
bool op_lock(struct erlxc *x);
void op_unlock(struct erlxc *x);

/* A guardian's child: destroys the container if it is defined and stopped, a
 * half-created one too. */
bool op_discard(struct erlxc *x);

/* The same with its snapshots, unless clones depend on it. */
bool op_remove(struct erlxc *x);

/* For a watcher: true when the container has a monitor. Waits until the state
 * is another than `last` ("": for any); it may be `last` when it cannot be had.
 * `at`: when it was asked for.
 * Finds the init of a container in that state: true when x->init is another. */
bool op_monitored(const struct erlxc *x);
const char *op_next_state(struct erlxc *x, const char *last, int64_t *at);
bool op_find_init(struct erlxc *x, const char *state);

/* Rows. */
void op_clone(struct call *call, struct lxc_container *c);
void op_create(struct call *call, struct lxc_container *c);
void op_destroy(struct call *call, struct lxc_container *c);
void op_destroy_with_snapshots(struct call *call, struct lxc_container *c);
void op_migrate(struct call *call, struct lxc_container *c);
void op_rename(struct call *call, struct lxc_container *c);
void op_snapshot(struct call *call, struct lxc_container *c);
void op_snapshot_destroy(struct call *call, struct lxc_container *c);
void op_snapshot_destroy_all(struct call *call, struct lxc_container *c);
void op_snapshot_list(struct call *call, struct lxc_container *c);
void op_snapshot_restore(struct call *call, struct lxc_container *c);

/* --- config.c ----------------------------------------------------------- */

/* As by printf(3), malloc'd, or NULL. */
char *format(const char *template, ...) __attribute__((format(printf, 1, 2)));

/* What `key` is called today, malloc'd; NULL: it is of no effect. `nic` is the
 * network device started last, -1 for none. False: it is refused, of a network
 * device before any was started. */
bool config_key(const char *key, int *nic, bool set, char **today);

/* Text that is being translated, with the files that it includes. */
struct config {
	FILE *out; /* config_out() */
	int nic;   /* as of config_key() */
	bool used; /* there was something to translate */
};

/* A file in memory, or NULL. memfd_create(2). */
FILE *config_out(void);

/* Adds what a file says, in today's keys; only a regular one of a sane size: a
 * FIFO would block. `depth`: of inclusion, 0. False: it cannot be read, with
 * errno, or has a line that is refused. */
bool config_translate(struct config *t, const char *path, int depth);

/* Adds what a file or a directory says, that is included. One with nothing to
 * translate stays included by name, so that a saved configuration goes on
 * following it. What is not there, is for the reader of the text to report. */
bool config_include(struct config *t, const char *path, int depth);

/* --- cgroup.c ----------------------------------------------------------- */

/* /proc/PID/cgroup as text of less than `size` bytes; "" when there is none. */
void cgroup_read(pid_t pid, char *text, size_t size);

/* Kills what is left in the cgroups that `cgroups` names (the /proc/PID/cgroup
 * of an init and its monitor, one after the other) and removes them. */
void cgroup_purge(const char *cgroups);

/* Removes the cgroups that liblxc makes for a container of that name, when they
 * are empty: for one whose monitor was killed before it was in them. Nobody may
 * start it meanwhile. `busy`: waits for those that something is dying in. */
void cgroup_sweep(const char *name, bool busy);

/* Cuts "ID:CONTROLLERS:PATH" up, a line of that. Returns the controllers, NULL:
 * it is none. */
char *cgroup_line(char *line, char **path);

/* The cgroup file systems in /proc/self/mountinfo, a line each; malloc'd. */
char *cgroup_mounts(void);

/* True when `list`, with commas between, has the first word of `words`. */
bool cgroup_has(const char *list, const char *words);

/*
 * Where the cgroup `path` of the hierarchy with `controllers` ("": version 2)
 * is: the mount's place into `point`, PATH_MAX bytes, and below that what is
 * returned, a part of `path`. NULL: nowhere.
 */
char *cgroup_find(
    const char *mounts, const char *controllers, char *path, char *point);

/* Puts six pairs of a map: cpu, memory, swap, pids, io and pressure, what the
 * container of an init has used. Not known: undefined; no limit: infinity. */
void cgroup_put_stats(struct etf_writer *w, pid_t init);

/* Two of those numbers, as the pairs cpu_us and memory; `init` 0: there is none. */
void cgroup_put_usage(struct etf_writer *w, pid_t init);

/* --- args.c -------------------------------------------------------------- */

/* The words for enum lifetime. */
extern const char *const op_lifetimes[3];

/* Frees all; adds one, which it takes over in every case, false: no memory; for
 * qsort(3). */
void strings_free(struct strings *l);
bool strings_add(struct strings *l, char *s);
int strings_cmp(const void *a, const void *b);

/* True when `name`, `len` bytes of it, is one of "A|B|C". */
bool op_one_of(const char *states, const char *name, size_t len);

/* True for a name of 1..255 bytes of [A-Za-z0-9._-], not "." or "..". */
bool op_valid_name(const char *name);

/* Erlang's name for an errno, "eio" for one that has none. Of the last errno that
 * a reason of liblxc's names: those before it may be of things that were optional. */
const char *op_posix_name(int number);
const char *op_posix_in(const struct etf_writer *why);

/* Reads the arguments of call->op, a letter each; false: call->in has an error. */
bool op_args_read(struct call *call);

/* --- monitor.c ---------------------------------------------------------- */

/* The address that a container's monitor listens at: liblxc hashes a path that is
 * too long. Returns its length, 0: no memory. unix(7), abstract. */
struct sockaddr_un;
unsigned
monitor_address(const char *path, const char *name, struct sockaddr_un *a);

/* The container in `path` that listens at `sock`, one of `defined` when it is
 * known only by its hash; malloc'd, or NULL. */
char *monitor_owner(
    const char *path, const char *sock, const struct strings *defined);

/*
 * True when what is connected to, in a container's monitor's place, may be its
 * monitor: any user of the host can listen there before the container is
 * started, and answer with any pid. unix(7), SO_PEERCRED.
 */
bool monitor_trusted(int fd, const char *path);

/* True when somebody listens in the place of x's monitor who is not trusted.
 * Blocks as the monitor does. */
bool monitor_foreign(const struct erlxc *x);

/* The inode of the socket that x's monitor listens at, or 0. */
unsigned long monitor_socket(struct erlxc *x);

/*
 * In the place of the container's monitor: as long as the descriptor is open
 * nobody starts it. -1: it runs, or what holds its monitor's socket did not die
 * within `ms`.
 */
int monitor_claim(struct erlxc *x, int ms);

/*
 * Kills the container whose monitor listens at the socket of that inode, and the
 * monitor if it does not end then. False: there is none, or none of our user's.
 * May take as long as the monitor's hooks: run with a deadline.
 */
bool monitor_force(unsigned long inode);

/* --- ns.c --------------------------------------------------------------- */

/* A file of /proc/PID as text of less than `size` bytes. Returns its length. */
size_t ns_proc_read(pid_t pid, const char *name, char *text, size_t size);

/* The parent of a process, or -1: there is no such process. */
pid_t ns_parent(pid_t pid);

/* True when this init executes its program, or is liblxc's own (UseInit 1). */
bool ns_init_executed(pid_t pid);

/* Returns 0, or errno: there is no such process. pidfd_open(2). */
int ns_identify(pid_t pid, struct ns_init *init);

/* True while the init that was identified lives. */
bool ns_same(const struct ns_init *init);

/* The wait status of an init that has ended. False: it is not known, or not yet,
 * before its parent has reaped it. */
bool ns_exit_status(const struct ns_init *init, int *status);

/* The first process of a pid namespace among the children of a monitor, or 0. */
pid_t ns_init_of(pid_t monitor);

/* Seconds since a process began, or -1. */
int64_t ns_uptime(pid_t pid);

/* Of a process's network namespace, from /proc, where nobody is asked: a list of
 * its addresses, without those of the host itself and of the link; and a map of
 * its interfaces' counters. */
void ns_put_addresses(struct etf_writer *w, pid_t pid);
void ns_put_interfaces(struct etf_writer *w, pid_t pid);

/* What ns_attach() needs to know and to open beforehand, in the parent of those
 * that enter and before each is made: of the host, and of the init that was
 * entered last, if there is one. Not kept longer, or by others. */
void ns_prepare(const struct ns_init *init);
void ns_forget(void);

/* In a process that will enter a container, likely that of `init`, before it is
 * told. */
void ns_rehearse(const struct ns_init *init);

/* Whom ns_attach() tells, with `arg`: that the child exists and waits, with its
 * pid and our ends of its descriptors, see worker_born(); where the calls are
 * decided that its filters notify of, seccomp_unotify(2), if they do. */
struct ns_teller {
	void (*born)(void *arg, pid_t pid, const int fds[3]);
	void (*notifies)(void *arg, int fd);
	void *arg;
};

/*
 * Runs a command inside the container of `init`, as a child of this process's
 * parent (CLONE_PARENT), with no more privileges than init has. Returns 0 when the command was executed, else
 * errno, and in *stage what failed (NULL: exec itself). This process is not
 * what it was then: it can only report and exit. setns(2).
 */
int ns_attach(const struct ns_init *init, const struct ns_command *cmd,
    const char **stage, const struct ns_teller *tell);

/*
 * Reads struct session_word from `fd` until its end, then kills all processes
 * of the sessions that are held; `held`, pid_t each, are from the beginning.
 * setsid(2).
 */
void ns_sessions_keep(int fd, struct etf_bytes held);

/* What is put into a rootfs: the bytes, a copy of `source`, or a directory. */
struct ns_file {
	mode_t mode;
	const char *source;    /* a file of the host, or NULL */
	struct etf_bytes data; /* NULL without a source: a directory */
};

/*
 * Puts a file or directory at `path` below `rootfs`, with the directories that
 * are missing, all owned as the rootfs is. Takes the place of a file; no link
 * leads out. Returns 0 or errno. openat2(2), RESOLVE_IN_ROOT.
 */
int ns_put(const char *rootfs, const char *path, const struct ns_file *file);

/*
 * Makes the device `node` (its mode and number count) at `path` of the init's
 * root, in the place of what is there, or removes it, and nothing else, from
 * there. Returns 0 or errno. mknod(2).
 */
struct stat;
int ns_node(const struct ns_init *init, const char *path,
    const struct stat *node, bool make);

/* --- start.c ------------------------------------------------------------ */

/* First thing in main, after the signals: descriptors 0 to 2 and none beyond, a
 * sane limit and umask, a fixed environment, and the program executes itself
 * once more from a file that no process can write: a read-only clone of its
 * mount or a sealed copy in memory. */
void start_clean(char *argv[]);

/* Reads the command line into those two; exits when it is wrong. */
void start_options(int argc, char *argv[], struct erlxc *x, struct log *log);

/* Before the loop waits: gives back the memory that was for starting only, once
 * all was quiet for a moment; before, that is a nearer timeout. */
int start_settle(bool quiet, int timeout);

#endif
