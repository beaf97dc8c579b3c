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
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "port.h"

#define INPUT_MIN (64u << 10) /* bytes of the input buffer between frames */
#define INPUT_EVENTS (EPOLLIN | EPOLLRDHUP | EPOLLET)
#define FLUSH_MIN 4096u       /* bytes in a frame that does not wait */
#define HIGH_WATER (1u << 20) /* bytes for Erlang above which we stop reading */
#define OUTPUT_MAX (256u << 20) /* bytes for Erlang, at the very most */
#define KEEPER_MS 10            /* until its socket is looked at again */
#define MARGIN_MS 10000         /* beyond the grace, for what must come down */
#define OP_NAME_MAX 64          /* bytes of a row's name, with the NUL */
#define EX_PROTOCOL 2           /* exit status: a malformed frame */

/* --- What the loop holds ----------------------------------------------- */

struct port port = {.x = {.stdio = {-1, -1, -1},
			.type = TRANSIENT,
			.grace_ms = 5000,
			.level = "error"},
    .log_to = {.file = -1, .errfd = STDERR_FILENO, .level = SIZE_MAX},
    .printw = -1,
    .words.max = SIZE_MAX,
    .outq.max = OUTPUT_MAX};

void
die(int status, const char *fmt, ...)
{
	const size_t left = port.outq.len - port.outpos;
	va_list ap;

	if (left > 0) /* the answers to what came before */
		write_all(port.out.fd, port.outq.data + port.outpos, left);
	va_start(ap, fmt);
	dprintf(port.log_to.errfd, "erlxc: ");
	vdprintf(port.log_to.errfd, fmt, ap);
	dprintf(port.log_to.errfd, "\n");
	va_end(ap);
	_exit(status);
}

int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Kills a process and what it started; it may not have come to setsid yet. */
void
group_kill(pid_t pid)
{
	if (kill(-pid, SIGKILL) < 0)
		kill(pid, SIGKILL);
}

bool
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

bool
polled(int fd, short events, int ms)
{
	return poll(&(struct pollfd){fd, events, 0}, 1, ms) > 0;
}

bool
fd_send(int socket, const void *data, size_t len, int fd)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(fd))];
	} control = {.head = {CMSG_LEN(sizeof(fd)), SOL_SOCKET, SCM_RIGHTS}};
	struct iovec iov = {(void *)(uintptr_t)data, len};
	const struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control)};

	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	return sendmsg(socket, &msg, MSG_NOSIGNAL) == (ssize_t)len;
}

bool
fd_receive(int socket, void *data, size_t len, int *fd)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(*fd))];
	} control;
	struct iovec iov = {data, len};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control)};
	const ssize_t n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC | MSG_WAITALL);

	if (n > 0 && CMSG_FIRSTHDR(&msg) != NULL)
		memcpy(fd, CMSG_DATA(&control.head), sizeof(*fd));
	return n == (ssize_t)len;
}

bool
source_add(struct source *src, uint32_t events, void (*ready)(struct source *))
{
	struct epoll_event ev = {.events = events, .data.ptr = src};

	src->events = events;
	src->ready = ready;
	/* EPERM: a file or /dev/null, always ready; right for output only. */
	return epoll_ctl(port.epoll, EPOLL_CTL_ADD, src->fd, &ev) == 0 ||
	       (errno == EPERM && events == 0);
}

void
source_want(struct source *src, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = src};

	if (src->fd < 0 || src->events == events)
		return;
	src->events = events;
	epoll_ctl(port.epoll, EPOLL_CTL_MOD, src->fd, &ev);
}

/* Explicitly, since a forked worker may still hold the open description. */
void
source_close(struct source *src)
{
	if (src->fd >= 0)
		epoll_ctl(port.epoll, EPOLL_CTL_DEL, src->fd, NULL);
	fd_free(&src->fd);
}

/* --- Frames to Erlang -------------------------------------------------- */

static void
outputs_want(uint32_t events)
{
	source_want(&port.log.src, events);
	for (struct worker *w = port.workers; w != NULL; w = w->next)
		if (w->out != NULL)
			source_want(&w->out->src, events);
}

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
	source_want(&port.in, on ? 0 : INPUT_EVENTS);
	outputs_want(port.halting ? EPOLLIN : events);
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
	streams_close_all();
	port.halt_deadline = now_ms() + port.x.grace_ms + MARGIN_MS;
	source_close(&port.in);
	outputs_want(EPOLLIN); /* what cleans up must not wait */
	for (struct worker *w = port.workers; w != NULL; w = w->next) {
		if (w->ended || w->role == ROLE_MONITOR)
			continue;
		/* One that has answered, as a starter, is about to end. */
		if (w->role == ROLE_GUARDIAN)
			shutdown(w->src.fd, SHUT_WR);
		else if (w->role == ROLE_QUERY ||
			 (w->req != NULL && !(w->op->flags & OP_KEEP)))
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
	if (q->len == 0 && q->cap > HIGH_WATER / 4)
		etf_free(q);
	source_want(src, q->len ? EPOLLOUT : 0);
	throttle();
}

/* The frames of a turn of the loop go together, before it waits or forks. While
 * Erlang does not read, epoll tells when they can. */
void
output_begin(void)
{
	if (port.outq.len > 0 && port.out.events == 0 && port.out.fd >= 0)
		output_flush(&port.out);
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

struct etf_writer *
frame_begin(const char *tag, uint32_t arity)
{
	struct etf_writer *q = &port.outq;

	port.frame = q->len;
	etf_put_raw(q, "\0\0\0", 4);
	etf_put_version(q);
	etf_put_tuple(q, arity);
	etf_put_atom(q, tag);
	return q;
}

bool
frame_end(void)
{
	struct etf_writer *q = &port.outq;
	const size_t at = port.frame, len = q->len - at - 4;

	if (port.out.fd < 0 || q->error != ETF_OK || len > FRAME_MAX) {
		etf_rewind(q, at);
		return false;
	}
	for (size_t i = 0; i < 4; i++)
		q->data[at + i] = (uint8_t)(len >> (24 - 8 * i));
	if (len >= FLUSH_MIN)
		output_begin();
	throttle();
	return true;
}

void
port_raise(uint32_t id, const char *class)
{
	struct etf_writer *w;

	if (id == 0)
		return;
	w = frame_begin("raise", 3);
	etf_put_uint(w, id);
	etf_put_atom(w, class);
	frame_end();
}

void
port_answer(uint32_t id, const char *error)
{
	struct etf_writer *w;

	if (id == 0)
		return;
	w = frame_begin("reply", 4);
	etf_put_uint(w, id);
	if (error != NULL) {
		etf_put_tuple(w, 2);
		etf_put_atom(w, "error");
	}
	etf_put_atom(w, error ? error : "ok");
	etf_put_string(w, error ? error : "");
	frame_end();
}

bool
port_throttled(void)
{
	return port.throttled;
}

void
put_status(struct etf_writer *w, bool known, int status)
{
	const bool sig = WIFSIGNALED(status);

	if (!known) {
		etf_put_atom(w, "unknown");
		return;
	}
	etf_put_tuple(w, 2);
	etf_put_atom(w, sig ? "signal" : "exit_status");
	etf_put_int(w, sig ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* {reply, Id, Result, Why}, {raise, Id, Class} or, with a reason, {raise, Id,
 * Class, Why}; nobody wants it when `id` is 0. Or {event, Result}. */
void
send_call(uint32_t id, const struct call *call)
{
	const bool event = call->verdict == OP_EVENT;
	const bool raise = call->verdict == OP_RAISE;
	const bool why = !event && (!raise || call->why.len > 0);
	const char *tag = event ? "event" : raise ? "raise" : "reply";
	struct etf_writer *w;

	if (id == 0 && !event)
		return;
	w = frame_begin(tag, 2u + !event + why);
	if (!event)
		etf_put_uint(w, id);
	etf_put_raw(w, call->result.data, call->result.len);
	if (why)
		etf_put_binary(w, call->why.data, call->why.len);
	if (!frame_end())
		port_raise(id, "system_limit");
}

/* {event, {finished, Command, Result, Why}}: nobody waits for it any more, but
 * half of it would have been worse. Result: {raise, Class} as well. */
void
send_finished(const struct op *op, const struct call *call)
{
	struct etf_writer *w = frame_begin("event", 2);

	etf_put_tuple(w, 4);
	etf_put_atom(w, "finished");
	etf_put_atom(w, op->name);
	if (call->verdict == OP_RAISE) {
		etf_put_tuple(w, 2);
		etf_put_atom(w, "raise");
	}
	etf_put_raw(w, call->result.data, call->result.len);
	etf_put_binary(w, call->why.data, call->why.len);
	frame_end();
}

static void
send_ready(void)
{
	struct etf_writer *w = frame_begin("ready", 2);

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
	frame_end();
	output_begin();
}

/* --- Frames from Erlang ------------------------------------------------ */

/* The control words, which are not the container's business: no rows. */
static bool
control(uint32_t cmd, const char *name, struct etf_reader *r, uint32_t argc)
{
	uint32_t id;

	if (strcmp(name, "halt") == 0 && argc == 0) {
		halt_begin();
	} else if (strcmp(name, "cancel") == 0 && argc == 1) {
		id = (uint32_t)etf_get_uint(r, UINT32_MAX);
		etf_get_nil(r);
		if (etf_done(r))
			cancel(id);
	} else if (strcmp(name, "progress") == 0 && argc == 1) {
		port.progress = (uint32_t)etf_get_uint(r, UINT32_MAX);
	} else {
		return (argc == 0 && watch_command(cmd, name)) ||
		       stream_command(cmd, name, r);
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
	else if (r.error != ETF_OK || !control(id, name, &r, argc))
		port_raise(id, known ? "badarg" : "undef");
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

/* Edge-triggered: the kernel looks once. What is left it is asked for anew. */
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
	if (port.inlen < port.incap && !(src->got & (EPOLLHUP | EPOLLRDHUP)))
		return;
	src->events = 0; /* it is armed anew */
	source_want(src, INPUT_EVENTS);
}

/* --- The loop ---------------------------------------------------------- */

static void
signals_ready(struct source *src)
{
	struct signalfd_siginfo si;

	while (read(src->fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		if (si.ssi_signo != SIGCHLD)
			halt_begin();
	children_reap();
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

static int
loop_timeout(void)
{
	const bool asked =
	    port.queries || port.monitor || (port.query && port.query->req);
	const int query = asked && !port.halting ? query_deadlines() : -1;
	const int stream = streams_timeout();
	int64_t left;
	int ms;

	if (port.words.len > 0)
		return KEEPER_MS;
	if (port.halting) {
		left = port.halt_deadline - now_ms();
		return left > 0 ? (int)left : 0;
	}
	ms = watch_timeout();
	ms = ms < 0 || (stream >= 0 && stream < ms) ? stream : ms;
	return query < 0 || (ms >= 0 && ms < query) ? ms : query;
}

static void
loop(void)
{
	struct epoll_event events[64];
	bool throttled = false, halting;
	struct source *src;
	int n = -1, timeout;

	while (!halted()) {
		halting = port.halting;
		timeout = start_settle(n == 0, loop_timeout());
		output_begin();
		if (port.halting != halting)
			continue; /* nobody reads: all has changed */
		n = epoll_wait(port.epoll, events,
		    sizeof(events) / sizeof(*events), timeout);
		for (int i = 0; i < n; i++) {
			src = events[i].data.ptr;
			src->got = events[i].events;
			if (src->fd >= 0)
				src->ready(src);
		}
		input_frames(); /* read just now, or left while throttled */
		if (port.throttled != throttled)
			streams_throttle();
		throttled = port.throttled;
		keeper_flush();
		streams_sweep();
		workers_sweep();
	}
	output_begin();
}

/* --- Start-up ---------------------------------------------------------- */

/* A stream has three, and there may be thousands: all that we may have, but not
 * for what we start. */
static void
many_descriptors(void)
{
	struct rlimit lim;

	getrlimit(RLIMIT_NOFILE, &port.nofile);
	lim = port.nofile;
	lim.rlim_cur = lim.rlim_max;
	setrlimit(RLIMIT_NOFILE, &lim);
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
	port.log_to.errfd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (null < 0 || port.in.fd < 0 || port.out.fd < 0 ||
	    port.log_to.errfd < 0 || pipe2(log, O_CLOEXEC | O_NONBLOCK) < 0)
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
	port.log.src.fd = log[0];
	port.log.log = &port.log_to;
	fcntl(port.in.fd, F_SETFL, O_NONBLOCK);
	fcntl(port.out.fd, F_SETFL, O_NONBLOCK);
}

int
main(int argc, char *argv[])
{
	clean_signals();
	start_clean(argv);
	many_descriptors();
	prctl(PR_SET_NAME, "erlxc");
	start_options(argc, argv, &port.x, &port.log_to);
	private_descriptors();
	port.signals.fd = signals_open();
	port.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (port.epoll < 0)
		die(1, "epoll_create1: %m");
	if (!source_add(&port.signals, EPOLLIN, signals_ready) ||
	    !source_add(&port.log.src, EPOLLIN, output_lines) ||
	    !source_add(&port.out, 0, output_ready) ||
	    !source_add(&port.in, INPUT_EVENTS, input_ready))
		die(1, "epoll_ctl: %m");
	send_ready(); /* what follows takes its time while Erlang reads it */
	op_forked(&port.x);
	op_open(&port.x);
	guard_update();
	loop();
	return 0;
}
