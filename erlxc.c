/* SPDX-License-Identifier: ISC */
/*
 * erlxc: the port. One poll loop between Erlang and Linux containers.
 *
 * Frames of {packet,4} with one ETF term each come in on standard input and go
 * out on standard output; README.md has the protocol. The loop waits for epoll
 * and nothing else: what may block runs in a worker, a fork without exec.
 *
 * Errors have three tiers:
 *
 *  1. A frame is malformed: a message on stderr, status 2; the next frame could
 *     not be found. Only there, and before `ready`, the port may give up.
 *  2. A request is wrong, or what it asked for failed: a reply, and on.
 *  3. Between fork and exec, or in a worker: the process reports to the one
 *     that forked it and calls _exit, never exit, never a return to the loop.
 */
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "erlxc.h"

#define FRAME_MAX (16u << 20) /* bytes in a frame, either direction */
#define QUERY_MAX (64u << 10) /* bytes in a query's frame: fits a socket */
#define INPUT_MIN (64u << 10) /* bytes of the input buffer between frames */
#define HIGH_WATER (1u << 20) /* bytes for Erlang above which we stop reading */
#define OUTPUT_MAX (256u << 20) /* bytes for Erlang, at the very most */
#define WORKERS_MAX 1024u       /* processes; one more is system_limit */
#define LOG_LINE_MAX 4096u      /* bytes in a log line; a longer one is cut */
#define MARGIN_MS 10000         /* beyond the grace, for what must come down */
#define DISCARD_MS 60000        /* for destroying a container unattended */
#define NOFILE_MIN 1024u        /* descriptors that a process must be allowed */
#define OP_NAME_MAX 64          /* bytes of a row's name, with the NUL */
#define EX_PROTOCOL 2           /* exit status: a malformed frame */
#define EX_USAGE_ 64            /* exit status: EX_USAGE of sysexits.h */

/* --- What the loop holds ----------------------------------------------- */

/* A descriptor that the loop polls, first member of what it belongs to. */
struct source {
	int fd;
	uint32_t events;
	void (*ready)(struct source *src);
};

/* A request that waits for a worker. */
struct request {
	struct request *next;
	const struct op *op;
	uint32_t id; /* 0: nobody wants the answer (any more) */
	int64_t deadline;
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

enum role { ROLE_QUERY, ROLE_JOB, ROLE_GUARDIAN };

struct worker {
	struct source src; /* our end of the socket; the worker's lifeline */
	struct worker *next;
	enum role role;
	pid_t pid;
	struct request *req; /* what it is at; NULL once that is answered */
	const struct op *op;
	struct ward *ward;       /* a guardian's */
	struct etf_writer inbox; /* a message not yet complete */
	bool released;           /* a guardian without duties: may end */
	bool stale;              /* retired: ends after the call it is in */
	bool ended;              /* reaped; freed at the end of the turn */
};

/* The port. One per process, so a static: callbacks need no context. */
static struct {
	struct erlxc x;
	struct source in, out, log, signals;
	int epoll;
	int errfd; /* the standard error that we were started with */
	int logfd; /* -o, or -1 */
	int logw;  /* the log pipe's writing end, for workers: it blocks */
	size_t want_log; /* lines of this level and above go to Erlang */
	bool verbose;
	uint8_t *inbuf; /* bytes of frames not yet complete */
	size_t inlen, incap;
	struct etf_writer outq; /* for Erlang; `outpos` bytes are out */
	size_t outpos;
	bool throttled;
	char line[LOG_LINE_MAX];
	size_t linelen;
	struct worker *workers, *query;
	unsigned int nworkers;
	struct request *queries; /* that wait for the query worker */
	struct request *waiting; /* exclusive jobs behind the one at work */
	bool exclusive;          /* there is one */
	bool halting;
	int64_t halt_deadline;
} port = {.x = {.type = TRANSIENT, .grace_ms = 5000, .level = "error"},
    .errfd = STDERR_FILENO,
    .logfd = -1,
    .want_log = SIZE_MAX,
    .outq.max = OUTPUT_MAX};

static void worker_ready(struct source *src);
static void requests_pump(void);
static void guard_update(void);

static void __attribute__((format(printf, 2, 3), noreturn))
die(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	dprintf(port.errfd, "erlxc: ");
	vdprintf(port.errfd, fmt, ap);
	dprintf(port.errfd, "\n");
	va_end(ap);
	_exit(status);
}

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Kills a process and what it started; it may not have come to setsid yet. */
static void
group_kill(pid_t pid)
{
	if (kill(-pid, SIGKILL) < 0)
		kill(pid, SIGKILL);
}

static bool
write_all(int fd, const void *data, size_t len)
{
	const char *p = data;
	ssize_t n;

	for (; len > 0; p += n, len -= (size_t)n) {
		while ((n = write(fd, p, len)) < 0 && errno == EINTR)
			;
		if (n <= 0)
			return false;
	}
	return true;
}

static bool
polled(int fd, short events, int ms)
{
	return poll(&(struct pollfd){fd, events, 0}, 1, ms) > 0;
}

/* Polls src->fd. */
static bool
source_add(struct source *src, uint32_t events, void (*ready)(struct source *))
{
	struct epoll_event ev = {.events = events, .data.ptr = src};

	src->events = events;
	src->ready = ready;
	/* EPERM: a file or /dev/null, always ready; right for output only. */
	return epoll_ctl(port.epoll, EPOLL_CTL_ADD, src->fd, &ev) == 0 ||
	       (errno == EPERM && events == 0);
}

static void
source_want(struct source *src, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = src};

	if (src->fd < 0 || src->events == events)
		return;
	src->events = events;
	epoll_ctl(port.epoll, EPOLL_CTL_MOD, src->fd, &ev);
}

/* Explicitly, since a forked worker may still hold the open description. */
static void
source_close(struct source *src)
{
	if (src->fd >= 0)
		epoll_ctl(port.epoll, EPOLL_CTL_DEL, src->fd, NULL);
	fd_free(&src->fd);
}

/* --- Frames to Erlang -------------------------------------------------- */

/* While Erlang does not read, neither do we: not its requests, not the workers,
 * not the log. End-of-file is still seen, as EPOLLHUP. */
static void
throttle(void)
{
	const bool on = port.outq.len - port.outpos > HIGH_WATER;
	const uint32_t events = on ? 0 : EPOLLIN;

	if (port.throttled == on)
		return;
	port.throttled = on;
	source_want(&port.in, events);
	source_want(&port.log, port.halting ? EPOLLIN : events);
	for (struct worker *w = port.workers; w != NULL; w = w->next)
		source_want(&w->src, events);
}

static void
halt_begin(void)
{
	if (port.halting)
		return;
	guard_update(); /* for want of a process it may have failed before */
	port.halting = true;
	port.halt_deadline = now_ms() + port.x.grace_ms + MARGIN_MS;
	source_close(&port.in);
	source_want(&port.log, EPOLLIN); /* what cleans up must not wait */
	for (struct worker *w = port.workers; w != NULL; w = w->next) {
		if (w->ended)
			continue;
		if (w->role == ROLE_GUARDIAN)
			shutdown(w->src.fd, SHUT_WR);
		else if (w->role == ROLE_QUERY || !(w->op->flags & OP_KEEP))
			group_kill(w->pid);
	}
}

/* Erlang has closed its end: nothing can be said any more. */
static void
output_lost(void)
{
	source_close(&port.out);
	etf_free(&port.outq);
	port.outpos = 0;
	throttle();
	halt_begin();
}

static void
output_flush(struct source *src)
{
	struct etf_writer *q = &port.outq;
	const ssize_t n =
	    write(src->fd, q->data + port.outpos, q->len - port.outpos);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		output_lost();
		return;
	}
	if (n > 0)
		port.outpos += (size_t)n;
	if (port.outpos == q->len || port.outpos > HIGH_WATER) {
		memmove(q->data, q->data + port.outpos, q->len - port.outpos);
		etf_rewind(q, q->len - port.outpos);
		port.outpos = 0;
	}
	if (q->len == 0 && q->cap > HIGH_WATER)
		etf_free(q);
	source_want(src, q->len ? EPOLLOUT : 0);
	throttle();
}

/* With nothing to write, only an error is reported: Erlang has closed it. */
static void
output_ready(struct source *src)
{
	if (port.outq.len == 0)
		output_lost();
	else
		output_flush(src);
}

/* Begins {Tag, ...} in the queue; frame_end() takes what this returns. */
static size_t
frame_begin(const char *tag, uint32_t arity)
{
	const size_t at = port.outq.len;

	etf_put_raw(&port.outq, "\0\0\0", 4);
	etf_put_version(&port.outq);
	etf_put_tuple(&port.outq, arity);
	etf_put_atom(&port.outq, tag);
	return at;
}

/* False: there is no room for the frame, or nobody to read it. */
static bool
frame_end(size_t at)
{
	struct etf_writer *q = &port.outq;
	const size_t len = q->len - at - 4;

	if (port.out.fd < 0 || q->error != ETF_OK || len > FRAME_MAX) {
		etf_rewind(q, at);
		return false;
	}
	for (size_t i = 0; i < 4; i++)
		q->data[at + i] = (uint8_t)(len >> (24 - 8 * i));
	if (at == 0)
		output_flush(&port.out);
	else
		throttle();
	return true;
}

static void
send_raise(uint32_t id, const char *class)
{
	size_t at;

	if (id == 0)
		return;
	at = frame_begin("raise", 3);
	etf_put_uint(&port.outq, id);
	etf_put_atom(&port.outq, class);
	frame_end(at);
}

/* {reply, Id, Result, Why} or {raise, Id, Class}; nobody wants it when `id` is
 * 0. Or {event, Result}. */
static void
send_call(uint32_t id, const struct call *call)
{
	const bool event = call->verdict == OP_EVENT;
	const bool reply = !event && call->verdict != OP_RAISE;
	const char *tag = event ? "event" : reply ? "reply" : "raise";
	size_t at;

	if (id == 0 && !event)
		return;
	at = frame_begin(tag, 2u + !event + reply);
	if (!event)
		etf_put_uint(&port.outq, id);
	etf_put_raw(&port.outq, call->result.data, call->result.len);
	if (reply)
		etf_put_binary(&port.outq, call->why.data, call->why.len);
	if (!frame_end(at))
		send_raise(id, "system_limit");
}

static void
send_ready(void)
{
	const size_t at = frame_begin("ready", 2);
	struct etf_writer *w = &port.outq;

	etf_put_map(w, 5);
	etf_put_atom(w, "version");
	etf_put_string(w, ERLXC_VERSION);
	etf_put_atom(w, "protocol");
	etf_put_int(w, ERLXC_PROTOCOL);
	etf_put_atom(w, "engines");
	if (*op_lxc_version() != '\0') {
		etf_put_list(w, 1);
		etf_put_atom(w, "lxc");
	}
	etf_put_nil(w);
	etf_put_atom(w, "liblxc");
	etf_put_string(w, op_lxc_version());
	etf_put_atom(w, "os_pid");
	etf_put_int(w, getpid());
	frame_end(at);
}

/* --- Log --------------------------------------------------------------- */

static const char *const levels[] = {"trace", "debug", "info", "notice", "warn",
    "error", "crit", "alert", "fatal"};
#define LEVELS (sizeof(levels) / sizeof(*levels))
enum { LOG_NOTICE = 3, LOG_ERROR = 5 };

/* The place in `levels` of a line: liblxc's have it as fourth word, or are
 * errors that it prints; others' lines are notices. */
static size_t
log_level(const char *line)
{
	char word[16];

	if (sscanf(line, "lxc %*s %*s %15s", word) == 1)
		for (size_t i = 0; i < LEVELS; i++)
			if (strcasecmp(word, levels[i]) == 0)
				return i;
	return strncmp(line, "lxc: ", 5) == 0 ? LOG_ERROR : LOG_NOTICE;
}

/* One line of what liblxc, templates and hooks print. It may hold a container's
 * bytes, so control bytes are shown, not passed on. */
static void
log_line(char *line, size_t len)
{
	size_t at, level;

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 127)
			line[i] = line[i] == '\t' ? ' ' : '?';
	if (port.logfd >= 0)
		dprintf(port.logfd, "%.*s\n", (int)len, line);
	/* Standard error is not ours: a line that would block is lost. */
	if (port.verbose && polled(port.errfd, POLLOUT, 0))
		dprintf(port.errfd, "%.*s\n", (int)len, line);
	line[len] = '\0';
	level = log_level(line);
	if (level < port.want_log || port.throttled)
		return;
	at = frame_begin("log", 3);
	etf_put_atom(&port.outq, levels[level]);
	etf_put_binary(&port.outq, line, len);
	frame_end(at);
}

static void
log_ready(struct source *src)
{
	const ssize_t n = read(src->fd, port.line + port.linelen,
	    sizeof(port.line) - 1 - port.linelen);
	size_t used;
	char *nl;

	if (n <= 0)
		return;
	port.linelen += (size_t)n;
	while ((nl = memchr(port.line, '\n', port.linelen)) != NULL ||
	       port.linelen == sizeof(port.line) - 1) {
		used = nl ? (size_t)(nl - port.line) : port.linelen;
		log_line(port.line, used);
		used += nl != NULL;
		port.linelen -= used;
		memmove(port.line, port.line + used, port.linelen);
	}
}

/* A reader that stands before the first argument of a request's frame. */
static void
request_args(struct etf_reader *r, const void *frame, size_t len)
{
	etf_open(r, frame, len);
	etf_get_tuple(r, 3);
	etf_skip(r);
	etf_skip(r);
	etf_get_list(r, UINT32_MAX);
}

static void
request_append(struct request **list, struct request *req)
{
	while (*list != NULL)
		list = &(*list)->next;
	*list = req;
}

static struct request *
request_take(struct request **list)
{
	struct request *req = *list;

	*list = req->next;
	req->next = NULL;
	return req;
}

/* --- Processes --------------------------------------------------------- */

/*
 * As at the start of a program. Erlang ignores SIGPIPE, and whoever started it
 * may have left more: with SIGCHLD ignored liblxc's own waitpid fails, and its
 * daemonized monitor misses its init's death.
 */
static void
clean_signals(void)
{
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The signals that the port and a guardian live with, as a descriptor or -1. */
static int
signals_open(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a log file at its limit */
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/*
 * Every process that the port forks begins here. A session of its own: a signal
 * to the port's process group does not reach it, liblxc finds no controlling
 * terminal, and it can be killed together with what it started. The parent may
 * have died before PDEATHSIG was set.
 */
static void
child_begin(const char *comm, pid_t parent, bool die_with_parent)
{
	clean_signals();
	dup2(port.logw, STDOUT_FILENO);
	dup2(port.logw, STDERR_FILENO);
	setsid();
	prctl(PR_SET_NAME, comm);
	if (!die_with_parent)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
}

/* In a worker before all else: a copy of the protocol would hide the port's end
 * from Erlang, a copy of another worker's socket from that worker. */
static void
child_close_port(void)
{
	int *const fds[] = {&port.epoll, &port.in.fd, &port.out.fd,
	    &port.log.fd, &port.signals.fd, &port.logfd, &port.errfd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		fd_free(fds[i]);
	for (struct worker *w = port.workers; w != NULL; w = w->next)
		fd_free(&w->src.fd);
}

static void
call_free(struct call *call)
{
	etf_free(&call->result);
	etf_free(&call->why);
}

static void
call_send(int fd, struct call *call)
{
	const struct message m = {
	    call->verdict, (uint32_t)call->result.len, (uint32_t)call->why.len};

	if (write_all(fd, &m, sizeof(m)) &&
	    write_all(fd, call->result.data, m.result))
		write_all(fd, call->why.data, m.why);
	call_free(call);
}

static void
call_init(struct call *call, enum verdict verdict)
{
	call->verdict = verdict;
	etf_init(&call->result, FRAME_MAX);
	etf_init(&call->why, FRAME_MAX);
}

/* What a call that left no answer comes to, by its process's wait status. */
static void
call_lost(struct call *call, int status)
{
	const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;

	call_init(call, OP_RAISE);
	if (code == WORKER_FALSE) {
		call->verdict = OP_FAILED;
		etf_put_bool(&call->result, false);
		etf_put_raw(&call->why, "timeout", 7);
	} else if (code == WORKER_TIMEOUT || code == WORKER_LIMIT) {
		etf_put_atom(&call->result,
		    code == WORKER_LIMIT ? "system_limit" : "timeout");
	} else {
		etf_put_tuple(&call->result, 2);
		etf_put_atom(&call->result, "crashed");
		etf_put_int(
		    &call->result, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	}
}

/* Runs a request's row in this process and sends the answer. */
static void
call_run(int fd, const struct request *req)
{
	struct etf_reader args;
	struct call call;

	request_args(&args, req->frame, req->len);
	op_run(&call, &port.x, req->op, &args);
	call_send(fd, &call);
}

/*
 * In the port: the worker, or NULL when there can be none. In the worker: NULL,
 * and *fd is its end of the socket pair. Jobs that are kept and guardians
 * outlive the port; a line that liblxc prints then must not kill them.
 */
static struct worker *
worker_fork(enum role role, const char *comm, const struct op *op,
    struct ward *ward, int *fd)
{
	const bool lasting =
	    role == ROLE_GUARDIAN || (op != NULL && (op->flags & OP_KEEP));
	const uint32_t events = port.throttled ? 0 : EPOLLIN;
	const pid_t self = getpid();
	struct worker *w;
	int sv[2];

	*fd = -1;
	if (port.nworkers >= WORKERS_MAX ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return NULL;
	fcntl(sv[0], F_SETFL, O_NONBLOCK);
	w = malloc(sizeof(*w));
	if (w != NULL)
		*w = (struct worker){.src.fd = sv[0],
		    .role = role,
		    .op = op,
		    .ward = ward,
		    .next = port.workers};
	if (w == NULL || !source_add(&w->src, events, worker_ready) ||
	    (w->pid = fork()) < 0) {
		close(sv[0]);
		close(sv[1]);
		free(w);
		return NULL;
	}
	if (w->pid == 0) {
		close(sv[0]);
		child_close_port();
		child_begin(comm, self, !lasting);
		if (lasting)
			signal(SIGPIPE, SIG_IGN);
		port.x.ward = ward;
		*fd = sv[1];
		return NULL;
	}
	close(sv[1]);
	etf_init(&w->inbox, 2 * FRAME_MAX);
	port.workers = w;
	port.nworkers++;
	return w;
}

/* --- Guardian ---------------------------------------------------------- */

/*
 * The process that owns what must not outlive the Erlang side: an attached
 * container, a create in progress, or only the duty to destroy a temporary
 * container. Child of the port, but without PDEATHSIG: it lives until its task
 * has come to an end (with a temporary container, until it is released), or its
 * socket has (the port is gone, SIGKILL included), and then cleans up first. It
 * calls liblxc only through children that it can kill, and that die with it:
 *
 *	TASK	runs the row: for `start` that is liblxc's foreground start, and
 *		the process the container's monitor and init's parent
 *	WATCH	finds out when init runs its program; ends with that
 *	DOWN	takes the container down
 */
enum { TASK, WATCH, DOWN, CHILDREN };

struct guardian {
	int signals;         /* SIGCHLD */
	int port;            /* the lifeline, -1 when the port is gone */
	int output;          /* what a create's template prints, or -1 */
	pid_t pid[CHILDREN]; /* 0: there is no such child */
	int answer;          /* a file in memory for the task's message */
	enum lifetime policy;
	bool starts;      /* the row is `start` */
	bool running;     /* the watch has seen init */
	bool leave;       /* the container must come down */
	bool done;        /* nothing is left to guard */
	int64_t deadline; /* for what is under way; 0: none */
	size_t taillen;
	char tail[1024]; /* the end of the output */
};

/* Forks a child. In the child: true. */
static bool
guardian_child(struct guardian *g, int which, const char *comm)
{
	const pid_t self = getpid(), pid = fork();

	if (pid == 0) {
		fd_free(&g->port);
		child_begin(comm, self, true);
		op_forked(&port.x);
		return true;
	}
	g->pid[which] = pid > 0 ? pid : 0;
	return false;
}

/* With its process group: a create's template, a start's hooks. Killing a
 * monitor kills init (PDEATHSIG) and leaves cgroups, which are found by the
 * monitor's own while it lives. */
static void
guardian_force(struct guardian *g)
{
	struct ward *ward = port.x.ward;

	g->deadline = 0;
	if (g->pid[TASK] > 0 && ward->cgroups[0] == '\0')
		ns_cgroup_read(
		    g->pid[TASK], ward->cgroups, sizeof(ward->cgroups));
	for (int i = 0; i < CHILDREN; i++)
		if (g->pid[i] > 0)
			group_kill(g->pid[i]);
}

static void
guardian_begin(struct guardian *g, const struct request *req)
{
	int out[2] = {-1, -1};

	g->starts = strcmp(req->op->name, "start") == 0;
	g->answer = memfd_create("answer", MFD_CLOEXEC);
	if (g->signals < 0 || g->answer < 0 ||
	    (!g->starts && pipe2(out, O_CLOEXEC) < 0))
		_exit(WORKER_LIMIT);
	if (guardian_child(g, TASK, "erlxc-monitor")) {
		if (!g->starts) {
			dup2(out[1], STDOUT_FILENO);
			dup2(out[1], STDERR_FILENO);
		}
		call_run(g->answer, req);
		_exit(0);
	}
	if (g->pid[TASK] == 0)
		_exit(WORKER_LIMIT);
	fd_free(&out[1]);
	g->output = out[0];
	port.x.ward->monitor = g->pid[TASK];
	if (g->starts && guardian_child(g, WATCH, "erlxc-watch"))
		_exit(op_watch(&port.x) ? 0 : 1);
	if (g->starts && g->pid[WATCH] == 0)
		guardian_force(g); /* nobody would tell that init runs */
}

/* {exited, {exit_status, N} | {signal, N} | unknown}: an event. */
static void
guardian_exited(int fd)
{
	const struct ward *ward = port.x.ward;
	const bool sig = WIFSIGNALED(ward->status);
	struct call call;

	call_init(&call, OP_EVENT);
	etf_put_tuple(&call.result, 2);
	etf_put_atom(&call.result, "exited");
	if (ward->ended) {
		etf_put_tuple(&call.result, 2);
		etf_put_atom(&call.result, sig ? "signal" : "exit_status");
		etf_put_int(&call.result,
		    sig ? WTERMSIG(ward->status) : WEXITSTATUS(ward->status));
	} else {
		etf_put_atom(&call.result, "unknown");
	}
	call_send(fd, &call);
}

/* The container must come down. One that is still starting gets the grace to
 * come up, since only a running one can be stopped in good order. */
static void
guardian_leave(struct guardian *g)
{
	const int grace = port.x.grace_ms;

	g->leave = true;
	if (g->pid[TASK] == 0) {
		g->done = true;
	} else if (!g->starts || grace == 0) {
		guardian_force(g);
	} else if (g->pid[WATCH] > 0) {
		g->deadline = now_ms() + grace;
	} else if (g->pid[DOWN] == 0) {
		g->deadline = now_ms() + grace + 1000;
		if (guardian_child(g, DOWN, "erlxc-down"))
			_exit(op_down(&port.x) ? 0 : 1);
	}
}

/* Bytes from the port, or its end. */
static void
guardian_told(struct guardian *g)
{
	uint8_t tell;
	const ssize_t n = read(g->port, &tell, 1);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		fd_free(&g->port);
		if (g->policy != PERMANENT || !g->starts)
			guardian_leave(g);
	} else if (tell <= PERMANENT) {
		g->policy = (enum lifetime)tell;
	} else if (tell == TELL_CANCEL) {
		guardian_leave(g);
	}
	if (n > 0 && g->pid[TASK] == 0 &&
	    (tell == TELL_RELEASE || g->policy != TEMPORARY))
		_exit(0);
}

/* What a template prints goes to the log, its end into the reason too. */
static void
guardian_output(struct guardian *g)
{
	char buf[512];
	const ssize_t n = read(g->output, buf, sizeof(buf));
	const size_t len = n > 0 ? (size_t)n : 0;
	const size_t room = sizeof(g->tail) - len;
	const size_t keep = g->taillen < room ? g->taillen : room;

	if (len == 0)
		fd_free(&g->output);
	write_all(STDERR_FILENO, buf, len);
	memmove(g->tail, g->tail + g->taillen - keep, keep);
	memcpy(g->tail + keep, buf, len);
	g->taillen = keep + len;
}

/* True when the child has ended, with *status. */
static bool
guardian_reap(struct guardian *g, int which, int *status)
{
	if (g->pid[which] == 0 ||
	    waitpid(g->pid[which], status, WNOHANG) != g->pid[which])
		return false;
	g->pid[which] = 0;
	return true;
}

/* Sends the task's own answer on, the output's end added to its reason. */
static bool
guardian_forward(struct guardian *g)
{
	const off_t end = lseek(g->answer, 0, SEEK_END);
	struct message m;
	off_t at = 0;

	if (pread(g->answer, &m, sizeof(m), 0) != sizeof(m) ||
	    (size_t)end - sizeof(m) != (size_t)m.result + m.why)
		return false;
	if (m.verdict == OP_FAILED && g->taillen > 0) {
		write_all(g->answer, "\n", m.why > 0);
		write_all(g->answer, g->tail, g->taillen);
		m.why += (uint32_t)g->taillen + (m.why > 0);
		if (pwrite(g->answer, &m, sizeof(m), 0) < 0)
			return false;
	}
	while (sendfile(g->port, g->answer, &at, FRAME_MAX) > 0)
		;
	return true;
}

/* Destroys what is defined, or half created, in a child that can be killed: a
 * hook or a storage tool may hang. A directory may take its time. */
static void
guardian_discard(void)
{
	const pid_t self = getpid();
	int p[2];
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		return;
	if (pid == 0) {
		child_begin("erlxc-discard", self, true);
		op_forked(&port.x);
		op_discard(&port.x);
		_exit(0);
	}
	close(p[1]);
	if (!polled(p[0], POLLIN, DISCARD_MS))
		group_kill(pid);
	close(p[0]);
	waitpid(pid, NULL, 0);
}

/* The task has ended, by itself, brought down or killed. What it left is
 * removed before anybody is told, so that an answer finds a clean house. */
static void
guardian_ended(struct guardian *g, int status)
{
	struct ward *ward = port.x.ward;
	struct call call;

	guardian_force(g);
	if (WIFSIGNALED(status)) {
		kill(-ward->monitor, SIGKILL);
		ns_cgroup_purge(ward->cgroups);
		if (g->starts && !g->running)
			ns_cgroup_sweep(port.x.name);
		if (ward->husk)
			guardian_discard();
	}
	ward->monitor = 0;
	if (!g->running && !guardian_forward(g)) {
		call_lost(&call, status);
		call_send(g->port, &call);
	}
	if (g->running || ward->ended)
		guardian_exited(g->port);
	g->done = g->port < 0 || g->policy != TEMPORARY;
}

/* Children that have ended: SIGCHLD tells, not the end of a pipe, which what a
 * killed monitor has forked may hold. */
static void
guardian_children(struct guardian *g)
{
	struct call call;
	int status;

	if (guardian_reap(g, WATCH, &status)) {
		if (status == 0) { /* {ok, Pid}: the answer to start */
			call_init(&call, OP_OK);
			etf_put_tuple(&call.result, 2);
			etf_put_atom(&call.result, "ok");
			etf_put_int(&call.result, port.x.ward->init);
			call_send(g->port, &call);
			g->running = true;
		}
		if (g->leave)
			guardian_leave(g);
		else if (WIFSIGNALED(status) && g->pid[TASK] > 0)
			guardian_force(g);
	}
	if (guardian_reap(g, DOWN, &status) && status != 0)
		guardian_force(g);
	if (guardian_reap(g, TASK, &status)) {
		for (int i = 0; i < 128 && polled(g->output, POLLIN, 0); i++)
			guardian_output(g);
		fd_free(&g->output);
		guardian_ended(g, status);
	}
}

/* The signals that a terminal or a service manager sends to all of a service's
 * processes do not end it: its clean-up is what they wait for. */
static void __attribute__((noreturn))
guardian_main(int fd, const struct request *req)
{
	struct guardian g = {
	    .signals = signals_open(), .port = fd, .output = -1};
	struct signalfd_siginfo si;
	int64_t left;

	g.policy = port.x.daemonize ? PERMANENT : port.x.type;
	if (req != NULL)
		guardian_begin(&g, req);
	while (!g.done) {
		struct pollfd fds[] = {{g.signals, POLLIN, 0},
		    {g.port, POLLIN, 0}, {g.output, POLLIN, 0}};

		left = g.deadline - now_ms();
		left = g.deadline == 0 ? -1 : left > 0 ? left : 0;
		if (poll(fds, sizeof(fds) / sizeof(*fds), (int)left) == 0)
			guardian_force(&g);
		if (fds[1].revents)
			guardian_told(&g);
		if (fds[2].revents)
			guardian_output(&g);
		while (read(g.signals, &si, sizeof(si)) > 0)
			; /* before looking: who ends later signals anew */
		guardian_children(&g);
	}
	if (g.port < 0 && g.policy == TEMPORARY)
		guardian_discard();
	_exit(0);
}

/* In place of a guardian that was killed: its task was killed with it
 * (PDEATHSIG), the container's init with the task. What is left is removed. */
static void __attribute__((noreturn)) guardian_recover(int fd)
{
	struct ward *ward = port.x.ward;
	struct call call;

	if (ward->cgroups[0] == '\0' && ward->monitor > 0)
		ns_cgroup_read(
		    ward->monitor, ward->cgroups, sizeof(ward->cgroups));
	if (ward->monitor > 0)
		kill(-ward->monitor, SIGKILL);
	ns_cgroup_purge(ward->cgroups);
	if (ward->init == 0)
		ns_cgroup_sweep(port.x.name);
	if (ward->husk || (port.halting && port.x.type == TEMPORARY))
		guardian_discard();
	if (ward->init > 0)
		guardian_exited(fd);
	call_lost(&call, SIGKILL);
	call_send(fd, &call);
	_exit(0);
}

/* --- Workers, seen from the port --------------------------------------- */

/* A guardian for `req`, or an idle one for NULL. */
static struct worker *
guardian_fork(const struct request *req)
{
	const struct op *op = req ? req->op : NULL;
	struct ward *ward = mmap(NULL, sizeof(*ward), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct worker *w;
	int fd;

	if (ward == MAP_FAILED)
		return NULL;
	w = worker_fork(ROLE_GUARDIAN, "erlxc-guardian", op, ward, &fd);
	if (fd >= 0)
		guardian_main(fd, req);
	if (w == NULL)
		munmap(ward, sizeof(*ward));
	return w;
}

static void
guardian_tell(struct worker *w, uint8_t tell)
{
	if (w->src.fd >= 0)
		send(w->src.fd, &tell, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* To all guardians but one. An idle one ends when it is released, or when the
 * container is temporary no more. */
static void
guard_tell(const struct worker *keep, uint8_t tell)
{
	for (struct worker *w = port.workers; w != NULL; w = w->next) {
		if (w == keep || w->role != ROLE_GUARDIAN || w->ended)
			continue;
		w->released = w->op == NULL && tell != TEMPORARY;
		guardian_tell(w, tell);
	}
}

/* A temporary container has a guardian at every time: the one of its start or
 * create, otherwise an idle one. */
static void
guard_update(void)
{
	if (port.x.type != TEMPORARY || port.halting)
		return;
	for (struct worker *w = port.workers; w != NULL; w = w->next)
		if (w->role == ROLE_GUARDIAN && !w->ended && !w->released)
			return;
	guardian_fork(NULL);
}

/* The container has another name or path: what guards it must know. */
static void
guard_renew(void)
{
	if (port.x.type == TEMPORARY)
		guard_tell(guardian_fork(NULL), TELL_RELEASE);
}

/* A call has succeeded; before its answer is sent. */
static void
call_after(const struct op *op, const void *frame, size_t len)
{
	const char *const name = port.x.name;
	struct etf_reader args;

	if (op->after != NULL) {
		request_args(&args, frame, len);
		op->after(&port.x, &args);
	}
	if (port.x.name != name)
		guard_renew();
	if (op->flags & OP_RELOAD) {
		op_close(&port.x);
		op_open(&port.x);
	}
	if (port.query != NULL && op->flags & (OP_RELOAD | OP_CONFIG)) {
		port.query->stale = true;
		shutdown(port.query->src.fd, SHUT_WR);
	}
}

/* Answers the worker's request. */
static void
worker_reply(struct worker *w, const struct call *call)
{
	send_call(w->req->id, call);
	if (w->req->op->flags & OP_EXCL)
		port.exclusive = false;
	free(w->req);
	w->req = NULL;
}

/* Takes the complete messages out of a worker's inbox. */
static void
worker_messages(struct worker *w)
{
	struct etf_writer *in = &w->inbox;
	size_t at = 0, size;
	struct message m;
	struct call call;

	for (; in->len - at >= sizeof(m); at += size) {
		memcpy(&m, in->data + at, sizeof(m));
		size = sizeof(m) + m.result + m.why;
		if (in->len - at < size)
			break;
		call = (struct call){.verdict = (enum verdict)m.verdict};
		call.result.data = in->data + at + sizeof(m);
		call.result.len = m.result;
		call.why.data = call.result.data + m.result;
		call.why.len = m.why;
		if (call.verdict == OP_OK && w->req != NULL)
			call_after(w->req->op, w->req->frame, w->req->len);
		if (call.verdict == OP_EVENT)
			send_call(0, &call);
		else if (w->req != NULL)
			worker_reply(w, &call);
	}
	if (at == 0)
		return;
	memmove(in->data, in->data + at, in->len - at);
	etf_rewind(in, in->len - at);
}

static void
worker_ready(struct source *src)
{
	struct worker *w = (struct worker *)src;
	uint8_t buf[16384];
	const ssize_t n = read(src->fd, buf, sizeof(buf));

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		source_close(src); /* the rest comes with SIGCHLD */
	if (n <= 0)
		return;
	etf_put_raw(&w->inbox, buf, (size_t)n);
	worker_messages(w);
	requests_pump();
}

/* A guardian was killed: another process does what it would have done. */
static void
worker_recover(struct worker *w)
{
	struct worker *r;
	int fd;

	r = worker_fork(ROLE_GUARDIAN, "erlxc-recover", w->op, w->ward, &fd);
	if (fd >= 0)
		guardian_recover(fd);
	if (r == NULL)
		return;
	w->ward = NULL;
	r->req = w->req; /* answered, and others let in, when all is clean */
	w->req = NULL;
}

/* The worker has been reaped. What it has sent is read first; a call that it
 * left unanswered ends by its status. */
static void
worker_ended(struct worker *w, int status)
{
	struct call call;

	w->ended = true;
	if (port.query == w)
		port.query = NULL;
	while (polled(w->src.fd, POLLIN, 0))
		worker_ready(&w->src);
	source_close(&w->src);
	if (WIFSIGNALED(status) && w->role == ROLE_GUARDIAN &&
	    w->ward != NULL && (w->ward->monitor > 0 || port.halting))
		worker_recover(w);
	if (w->req != NULL) {
		call_lost(&call, status);
		worker_reply(w, &call);
		call_free(&call);
	}
}

/* Frees the workers that ended in this turn of the loop, when no event that is
 * still to be handled can point to them. */
static void
workers_sweep(void)
{
	struct worker **link = &port.workers, *w;
	const unsigned int before = port.nworkers;

	while ((w = *link) != NULL) {
		if (!w->ended) {
			link = &w->next;
			continue;
		}
		*link = w->next;
		if (w->ward != NULL)
			munmap(w->ward, sizeof(*w->ward));
		etf_free(&w->inbox);
		free(w);
		port.nworkers--;
	}
	if (port.nworkers == before || port.halting)
		return;
	guard_update();
	requests_pump();
}

/* --- Requests at work -------------------------------------------------- */

static void __attribute__((noreturn)) query_main(int fd)
{
	struct request *req = malloc(sizeof(*req) + QUERY_MAX);

	op_forked(&port.x);
	while (req != NULL &&
	       recv(fd, req, sizeof(*req), MSG_WAITALL) == sizeof(*req) &&
	       req->len <= QUERY_MAX &&
	       recv(fd, req + 1, req->len, MSG_WAITALL) == (ssize_t)req->len)
		call_run(fd, req);
	_exit(0);
}

/* Takes over `req`. Queries have one worker that is kept, one at a time; jobs
 * have one each, or a guardian, but for a start that is to outlive the port. */
static void
request_run(struct request *req)
{
	const struct op *op = req->op;
	const bool stays = port.x.daemonize || port.x.type == PERMANENT;
	const ssize_t len = (ssize_t)(sizeof(*req) + req->len);
	struct worker *w = NULL;
	int fd = -1;

	if (op->flags & OP_QUERY) {
		if (port.query == NULL)
			port.query = worker_fork(
			    ROLE_QUERY, "erlxc-query", NULL, NULL, &fd);
		if (fd >= 0)
			query_main(fd);
		w = port.query;
	} else if ((op->flags & OP_GUARD) &&
		   !(stays && strcmp(op->name, "start") == 0)) {
		w = guardian_fork(req);
	} else {
		w = worker_fork(ROLE_JOB, "erlxc-job", op, NULL, &fd);
		if (fd >= 0) {
			op_forked(&port.x);
			call_run(fd, req);
			_exit(0);
		}
	}
	if (w == NULL) {
		send_raise(req->id, "system_limit");
		free(req);
		return;
	}
	w->req = req;
	if (op->flags & OP_EXCL)
		port.exclusive = true;
	if (w->role == ROLE_GUARDIAN)
		guard_tell(w, TELL_RELEASE);
	/* The socket is empty and takes QUERY_MAX at once. */
	if (w->role == ROLE_QUERY &&
	    send(w->src.fd, req, (size_t)len, MSG_NOSIGNAL) != len)
		group_kill(w->pid);
}

/* Runs what waited; called when a worker has answered or ended. */
static void
requests_pump(void)
{
	while (port.queries != NULL && !port.halting &&
	       (port.query == NULL || !(port.query->req || port.query->stale)))
		request_run(request_take(&port.queries));
	while (port.waiting != NULL && !port.halting && !port.exclusive)
		request_run(request_take(&port.waiting));
}

/* Questions that have waited too long get their timeout, the one being asked
 * with its worker: the monitor does not answer. Returns ms to the next, or -1.
 */
static int
query_deadlines(void)
{
	const int64_t now = now_ms();
	struct request *req = port.query ? port.query->req : NULL;

	if (req != NULL && req->deadline <= now) {
		send_raise(req->id, "timeout");
		req->id = 0;
		group_kill(port.query->pid);
		port.query = NULL;
	}
	while (port.queries != NULL && port.queries->deadline <= now) {
		send_raise(port.queries->id, "timeout");
		free(request_take(&port.queries));
	}
	requests_pump();
	req = port.query && port.query->req ? port.query->req : port.queries;
	return req ? (int)(req->deadline - now) : -1;
}

/* Removes a request that no worker has begun. */
static bool
cancel_waiting(struct request **list, uint32_t id)
{
	for (; *list != NULL; list = &(*list)->next)
		if ((*list)->id == id) {
			free(request_take(list));
			return true;
		}
	return false;
}

/* The caller has died. Nobody is told; what may be killed is. */
static void
cancel(uint32_t id)
{
	if (id == 0 || cancel_waiting(&port.queries, id) ||
	    cancel_waiting(&port.waiting, id))
		return;
	for (struct worker *w = port.workers; w != NULL; w = w->next) {
		if (w->req == NULL || w->req->id != id)
			continue;
		w->req->id = 0;
		if (w->role == ROLE_GUARDIAN)
			guardian_tell(w, TELL_CANCEL);
		else if (w->role == ROLE_JOB && !(w->op->flags & OP_KEEP))
			group_kill(w->pid);
	}
}

/* --- Frames from Erlang ------------------------------------------------ */

static void
run_inline(const struct op *op, uint32_t id, const void *frame, size_t len)
{
	const struct erlxc old = port.x;
	struct etf_reader args;
	struct call call;

	request_args(&args, frame, len);
	op_run(&call, &port.x, op, &args);
	if (call.verdict == OP_OK)
		call_after(op, frame, len);
	else
		log_ready(&port.log); /* before the pipe is full */
	send_call(id, &call);
	call_free(&call);
	if (port.x.type != old.type || port.x.daemonize != old.daemonize) {
		guard_tell(NULL, port.x.daemonize ? PERMANENT : port.x.type);
		guard_update();
	}
	if (port.x.path != old.path)
		guard_renew();
}

static void
dispatch(const struct op *op, uint32_t id, const void *frame, size_t len)
{
	struct request *req;

	if (!(op->flags & (OP_QUERY | OP_JOB))) {
		run_inline(op, id, frame, len);
		return;
	}
	if ((op->flags & OP_QUERY) && len > QUERY_MAX) {
		send_raise(id, "badarg");
		return;
	}
	req = malloc(sizeof(*req) + len);
	if (req == NULL) {
		send_raise(id, "system_limit");
		return;
	}
	*req = (struct request){.op = op, .id = id, .len = len};
	req->deadline = now_ms() + QUERY_TIMEOUT_MS;
	memcpy(req->frame, frame, len);
	if (op->flags & OP_QUERY)
		request_append(&port.queries, req);
	else if (op->flags & OP_EXCL)
		request_append(&port.waiting, req);
	else
		request_run(req);
	requests_pump();
}

/* The control words, which are not the container's business: no rows. */
static bool
control(const char *name, struct etf_reader *r, uint32_t argc)
{
	uint32_t id;

	if (strcmp(name, "halt") == 0 && argc == 0) {
		halt_begin();
	} else if (strcmp(name, "cancel") == 0 && argc == 1) {
		id = (uint32_t)etf_get_uint(r, UINT32_MAX);
		etf_get_nil(r);
		if (etf_done(r))
			cancel(id);
	} else {
		return false;
	}
	return true;
}

static void
frame_handle(const uint8_t *frame, size_t len)
{
	struct etf_reader r;
	const struct op *op;
	char name[OP_NAME_MAX];
	uint32_t id, argc;
	bool known = false, atom;

	if (!etf_check(frame, len))
		die(EX_PROTOCOL, "malformed frame of %zu bytes", len);
	etf_open(&r, frame, len);
	etf_get_tuple(&r, 3);
	id = (uint32_t)etf_get_uint(&r, UINT32_MAX);
	atom = etf_peek(&r) == ETF_ATOM;
	etf_get_atom(&r, name, sizeof(name));
	argc = etf_get_list(&r, UINT32_MAX);
	/* ETF_RANGE: a longer name than any row's. */
	if (!atom || (r.error != ETF_OK && r.error != ETF_RANGE))
		die(EX_PROTOCOL, "a frame that is no {Id, Command, Args}");
	op = r.error == ETF_OK ? op_find(name, argc, &known) : NULL;
	if (op != NULL)
		dispatch(op, id, frame, len);
	else if (r.error != ETF_OK || !control(name, &r, argc))
		send_raise(id, known ? "badarg" : "undef");
}

/* The length of the frame that begins at `p`, four bytes at least. */
static size_t
frame_length(const uint8_t *p)
{
	const size_t len =
	    (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];

	if (len > FRAME_MAX)
		die(EX_PROTOCOL, "a frame of %zu bytes", len);
	return len;
}

/* Room for the frame that begins the buffer; no more than INPUT_MIN else. */
static void
input_reserve(void)
{
	size_t need = port.inlen >= 4 ? frame_length(port.inbuf) + 4 : 0;

	if (need < INPUT_MIN)
		need = INPUT_MIN;
	if (need == port.incap)
		return;
	port.inbuf = realloc(port.inbuf, need);
	if (port.inbuf == NULL)
		die(EX_PROTOCOL, "no memory for a frame of %zu bytes", need);
	port.incap = need;
}

static void
input_frames(void)
{
	const uint8_t *p = port.inbuf;
	size_t left = port.inlen, len;

	while (left >= 4 && !port.throttled && !port.halting) {
		len = frame_length(p);
		if (len > left - 4)
			break;
		frame_handle(p + 4, len);
		p += 4 + len;
		left -= 4 + len;
	}
	if (p == port.inbuf)
		return;
	memmove(port.inbuf, p, left);
	port.inlen = left;
}

static void
input_ready(struct source *src)
{
	ssize_t n;

	if (port.throttled) { /* only a hang-up is of interest now */
		if (polled(src->fd, 0, 0))
			halt_begin();
		return;
	}
	input_reserve();
	n = read(src->fd, port.inbuf + port.inlen, port.incap - port.inlen);
	if (n > 0)
		port.inlen += (size_t)n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		halt_begin();
}

/* --- The loop ---------------------------------------------------------- */

/* Children by pid, since what liblxc forks in this process is liblxc's. */
static void
signals_ready(struct source *src)
{
	struct signalfd_siginfo si;
	int status;

	while (read(src->fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo != SIGCHLD)
			halt_begin();
		for (struct worker *w = port.workers; w != NULL; w = w->next)
			if (!w->ended &&
			    waitpid(w->pid, &status, WNOHANG) == w->pid)
				worker_ended(w, status);
	}
}

/* True when nothing is at work that the port ends after. A container that is to
 * be left running keeps its guardian: init's parent is the guardian's child. */
static bool
halted(void)
{
	const bool stays = port.x.daemonize || port.x.type == PERMANENT;

	if (!port.halting)
		return false;
	for (struct worker *w = port.workers; w != NULL; w = w->next)
		if (w->role == ROLE_GUARDIAN
			? !(stays && w->src.fd < 0 && w->op != NULL &&
			      w->ward->init > 0)
			: w->role == ROLE_JOB && (w->op->flags & OP_KEEP))
			return now_ms() >= port.halt_deadline;
	return true;
}

static void
loop(void)
{
	struct epoll_event events[64];
	struct source *src;
	int64_t left;
	int n;

	while (!halted()) {
		left = port.halting ? port.halt_deadline - now_ms()
				    : query_deadlines();
		if (port.halting && left < 0)
			left = 0;
		n = epoll_wait(port.epoll, events,
		    sizeof(events) / sizeof(*events), (int)left);
		for (int i = 0; i < n; i++) {
			src = events[i].data.ptr;
			if (src->fd >= 0)
				src->ready(src);
		}
		input_frames(); /* read just now, or left while throttled */
		workers_sweep();
	}
}

/* --- Start-up ---------------------------------------------------------- */

static const char usage[] =
    "usage: erlxc -n NAME [-P LXCPATH] [-t temporary|transient|permanent]\n"
    "             [-e lxc] [-o LOGFILE] [-l LEVEL] [-s SHUTDOWN_MS] [-v]\n"
    "       erlxc -h | --version\n"
    "The port program of erlxc, started by erlxc_drv: serves one container on\n"
    "standard input and output. README.md has the options and the protocol.\n";

/* The word's place in a list of words. */
static size_t
word_parse(const char *opt, const char *s, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(s, words[i]) == 0)
			return i;
	die(EX_USAGE_, "%s: '%s' is not one of its words; see -h", opt, s);
}

static void
option(int c, char *arg)
{
	static const char *const words[] = {
	    "temporary", "transient", "permanent", "lxc"};
	struct erlxc *x = &port.x;
	char *end;
	long ms;

	switch (c) {
	case 'n':
		x->name = arg;
		break;
	case 'P':
		x->path = arg;
		break;
	case 't':
		x->type = (enum lifetime)word_parse("-t", arg, words, 3);
		break;
	case 'e':
		word_parse("-e", arg, words + 3, 1);
		break;
	case 'o':
		port.logfd = open(arg,
		    O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW |
			O_NOCTTY | O_NONBLOCK,
		    0600);
		if (port.logfd < 0)
			die(1, "-o: %s: %m", arg);
		break;
	case 'l':
		port.want_log = word_parse("-l", arg, levels, LEVELS);
		x->level = levels[port.want_log];
		break;
	case 's':
		ms = strtol(arg, &end, 10);
		if (*arg < '0' || *arg > '9' || *end || ms > INT_MAX / 2)
			die(EX_USAGE_, "-s: '%s' is no number of ms", arg);
		x->grace_ms = (int)ms;
		break;
	case 'v':
		port.verbose = true;
		break;
	case 'h':
		write_all(STDOUT_FILENO, usage, sizeof(usage) - 1);
		_exit(0);
	case 'V':
		dprintf(STDOUT_FILENO, "erlxc %s (protocol %d, liblxc %s)\n",
		    ERLXC_VERSION, ERLXC_PROTOCOL,
		    *op_lxc_version() ? op_lxc_version() : "none");
		_exit(0);
	default:
		die(EX_USAGE_, "unknown option or missing argument; see -h");
	}
}

static void
options(int argc, char *argv[])
{
	static const struct option longs[] = {
	    {"help", 0, NULL, 'h'}, {"version", 0, NULL, 'V'}, {0}};
	struct erlxc *x = &port.x;
	int c;

	opterr = 0;
	while ((c = getopt_long(
		    argc, argv, "+n:P:t:e:o:l:s:vh", longs, NULL)) != -1)
		option(c, optarg);
	if (optind < argc)
		die(EX_USAGE_, "unexpected argument '%s'", argv[optind]);
	if (x->name == NULL)
		die(EX_USAGE_, "-n NAME is missing; see -h");
	if (!op_valid_name(x->name))
		die(EX_USAGE_, "-n: not a container's name");
	if (x->path != NULL && x->path[0] != '/')
		die(EX_USAGE_, "-P: '%s' is no absolute path", x->path);
	/* They may be set anew later, when the old value is freed. */
	x->name = strdup(x->name);
	x->path = x->path ? strdup(x->path) : NULL;
	if (x->name == NULL || (x->path == NULL && !op_default_path(x)))
		die(1, "no memory, or no default lxcpath");
}

/* With few descriptors allowed, starting a container would fail half-way. */
static void
raise_descriptors(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_cur >= NOFILE_MIN)
		return;
	lim.rlim_cur = lim.rlim_max < NOFILE_MIN ? lim.rlim_max : NOFILE_MIN;
	setrlimit(RLIMIT_NOFILE, &lim);
}

/* The caller's descriptors are not ours: 0 to 2 are there, none is beyond. */
static void
clean_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (syscall(SYS_close_range, 3u, ~0u, 0u) == 0)
		return;
	for (fd = 3; fd < (int)sysconf(_SC_OPEN_MAX); fd++)
		close(fd);
}

/*
 * Fixed, but for what an ordinary user's liblxc needs to find its files, and
 * proxies, for templates. Neither the loader's variables nor LXC_MEMFD_REXEC
 * nor LISTEN_FDS get through.
 */
static char **
clean_environment(void)
{
	static const char *const kept[] = {
	    "HOME", "XDG_RUNTIME_DIR", "http_proxy", "https_proxy", "no_proxy"};
	static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:"
			     "/usr/bin:/sbin:/bin";
	static char mark[] = "ERLXC_REEXECUTED=1";
	static char *env[8] = {path, mark};
	const char *value;
	size_t n = 2;

	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++) {
		value = i == 0 && geteuid() == 0 ? "/root" : getenv(kept[i]);
		if (value != NULL && (i > 1 || value[0] == '/') &&
		    asprintf(&env[n], "%s=%s", kept[i], value) >= 0)
			n++;
	}
	return env;
}

/*
 * A container that opens the program for writing, through /proc/PID/exe of a
 * process of ours inside it, owns the host's. So the program executes itself
 * once more, from a file that cannot be written, and with the clean environment
 * that the loader and liblxc's constructors read before main. That it has
 * happened is not believed but seen.
 */
static void
reexecute(char *argv[])
{
	char **env = clean_environment();
	size_t n = 0;
	int fd;

	while (env[n] && environ[n] && strcmp(env[n], environ[n]) == 0)
		n++;
	if (env[n] == NULL && environ[n] == NULL && ns_program_sealed())
		return;
	if (getenv("ERLXC_REEXECUTED") != NULL)
		die(1, "cannot run from a file that nobody can write");
	fd = ns_program_seal();
	if (fd < 0)
		die(1, "cannot seal the program: %m");
	syscall(SYS_execveat, fd, "", argv, env, AT_EMPTY_PATH);
	die(1, "cannot execute the sealed program: %m");
}

/* The protocol moves to descriptors that no library prints to and no child
 * inherits; 0 is /dev/null, 1 and 2 are the log pipe. */
static void
private_descriptors(void)
{
	int log[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char path[32];

	port.in.fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	port.out.fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	port.errfd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (null < 0 || port.in.fd < 0 || port.out.fd < 0 || port.errfd < 0 ||
	    pipe2(log, O_CLOEXEC | O_NONBLOCK) < 0)
		die(1, "no descriptors: %m");
	/* The port reads this pipe: it must not wait for itself to do so. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", log[1]);
	port.logw = open(path, O_WRONLY | O_CLOEXEC);
	if (port.logw < 0)
		die(1, "no log pipe: %m");
	dup2(null, STDIN_FILENO);
	dup2(log[1], STDOUT_FILENO);
	dup2(log[1], STDERR_FILENO);
	close(null);
	close(log[1]);
	port.log.fd = log[0];
	fcntl(port.in.fd, F_SETFL, O_NONBLOCK);
	fcntl(port.out.fd, F_SETFL, O_NONBLOCK);
}

int
main(int argc, char *argv[])
{
	clean_signals();
	raise_descriptors();
	clean_descriptors();
	umask(022);
	reexecute(argv);
	prctl(PR_SET_NAME, "erlxc");
	options(argc, argv);
	private_descriptors();
	port.signals.fd = signals_open();
	port.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (port.epoll < 0)
		die(1, "epoll_create1: %m");
	if (!source_add(&port.signals, EPOLLIN, signals_ready) ||
	    !source_add(&port.log, EPOLLIN, log_ready) ||
	    !source_add(&port.out, 0, output_ready) ||
	    !source_add(&port.in, EPOLLIN, input_ready))
		die(1, "epoll_ctl: %m");
	send_ready(); /* what follows takes its time while Erlang reads it */
	op_forked(&port.x);
	op_open(&port.x);
	guard_update();
	loop();
	return 0;
}
