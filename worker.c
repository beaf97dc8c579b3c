/* SPDX-License-Identifier: ISC */
/*
 * The port's processes: each is a fork of it, without exec, that inherits the
 * configuration in memory and has a socket to the port, its lifeline. Which run,
 * what they are asked and what they answer. README.md, "How it works".
 */
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "port.h"

#define QUERY_MAX (64u << 10) /* bytes in a query's frame: fits a socket */
#define WORKERS_MAX 1024u     /* processes; one more is system_limit */
#define UNBORN_MS 20000       /* longer than one can take to begin */

static void worker_ready(struct source *src);
static void request_run(struct request *req);

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

/* For the job that is forked next. For want of descriptors it prints to the
 * log. */
static void
output_give(void)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return;
	port.print = output_new(p[0], &port.log_to);
	if (port.print == NULL) {
		close(p[1]);
		return;
	}
	port.printw = p[1];
	source_want(&port.print->src, port.throttled ? 0 : EPOLLIN);
}

/* It is the job's that was forked, or nobody's. */
static void
output_given(struct worker *w)
{
	if (w == NULL)
		output_free(port.print);
	else if ((w->out = port.print) != NULL)
		w->out->req = &w->req;
	fd_free(&port.printw);
	port.print = NULL;
}

/* --- Processes --------------------------------------------------------- */

static void
unblock_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/*
 * As at the start of a program. Erlang ignores SIGPIPE, and whoever started it
 * may have left more: with SIGCHLD ignored liblxc's own waitpid fails, and its
 * daemonized monitor misses its init's death.
 */
void
clean_signals(void)
{
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	unblock_signals();
}

/* The signals that the port and a guardian live with, as a descriptor or -1. */
int
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
 * have died before PDEATHSIG was set. Since clean_signals() nobody has set
 * another signal than these: signals_open(), and a row its deadline's.
 */
void
child_begin(const char *comm, pid_t parent, bool die_with_parent)
{
	const int out = port.printw >= 0 ? port.printw : port.logw;

	signal(SIGPIPE, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
	signal(SIGALRM, SIG_DFL);
	unblock_signals();
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	setrlimit(RLIMIT_NOFILE, &port.nofile);
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
	    &port.log.src.fd, &port.signals.fd, &port.log_to.file,
	    &port.log_to.errfd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		fd_free(fds[i]);
	for (struct worker *w = port.workers; w != NULL; w = w->next) {
		fd_free(&w->src.fd);
		if (w->out != NULL)
			fd_free(&w->out->src.fd);
	}
	if (port.print != NULL)
		fd_free(&port.print->src.fd);
	streams_forked();
	watch_forked();
}

static void
call_free(struct call *call)
{
	etf_free(&call->result);
	etf_free(&call->why);
}

void
call_send(int fd, struct call *call)
{
	const struct message m = {
	    call->verdict, (uint32_t)call->result.len, (uint32_t)call->why.len};
	struct iovec iov[] = {{(void *)&m, sizeof(m)},
	    {call->result.data, m.result}, {call->why.data, m.why}};
	ssize_t n;
	int i = 0;

	/* At once, if it fits: the port would be woken for each. */
	while (i < 3 &&
	       ((n = writev(fd, iov + i, 3 - i)) >= 0 || errno == EINTR)) {
		for (; i < 3 && n >= (ssize_t)iov[i].iov_len; i++)
			n -= (ssize_t)iov[i].iov_len;
		if (i < 3 && n > 0) {
			iov[i].iov_base = (char *)iov[i].iov_base + n;
			iov[i].iov_len -= (size_t)n;
		}
	}
	call_free(call);
}

void
call_init(struct call *call, enum verdict verdict)
{
	call->verdict = verdict;
	etf_init(&call->result, FRAME_MAX);
	etf_init(&call->why, FRAME_MAX);
}

/* What a call that left no answer comes to, by its process's wait status. */
void
call_lost(struct call *call, int status)
{
	const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;

	call_init(call, OP_RAISE);
	if (code == WORKER_FALSE) {
		call->verdict = OP_FAILED;
		etf_put_bool(&call->result, false);
		etf_put_raw(&call->why, "timeout", 7);
	} else if (code >= WORKER_TIMEOUT && code <= WORKER_FORCE) {
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
void
call_run(struct erlxc *x, int fd, const struct request *req)
{
	struct etf_reader args;
	struct call call;

	request_args(&args, req->frame, req->len);
	x->port = fd;
	x->stream = req->stream;
	x->force = req->force;
	x->progress = req->progress;
	op_run(&call, x, req->op, &args);
	call_send(fd, &call);
}

#define BORN_FDS 4 /* three of a stream, and x->init's */

/* What goes before the descriptors of a process that was born. */
struct born {
	enum stream_kind kind;
	pid_t pid;
	struct ns_init init;
	bool has[BORN_FDS];
};

/* A message of a worker's to the port, with `n` descriptors. The socket is
 * empty: at once or not at all. */
static void
worker_tell(const struct erlxc *x, enum verdict verdict, const void *data,
    size_t len, const int *fds, size_t n)
{
	struct message m = {verdict, (uint32_t)len, 0};
	struct iovec iov[] = {{&m, sizeof(m)}, {(void *)(uintptr_t)data, len}};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(BORN_FDS * sizeof(int))];
	} control = {
	    .head = {CMSG_LEN(n * sizeof(*fds)), SOL_SOCKET, SCM_RIGHTS}};
	struct msghdr msg = {.msg_iov = iov,
	    .msg_iovlen = 2,
	    .msg_control = &control,
	    .msg_controllen = CMSG_SPACE(n * sizeof(*fds))};

	memcpy(CMSG_DATA(&control.head), fds, n * sizeof(*fds));
	if (sendmsg(x->port, &msg, MSG_NOSIGNAL) < 0)
		_exit(WORKER_LIMIT);
}

void
worker_born(
    const struct erlxc *x, enum stream_kind kind, pid_t pid, const int fds[3])
{
	const int all[BORN_FDS] = {fds[0], fds[1], fds[2], x->init.pidfd};
	struct born born = {.kind = kind, .pid = pid, .init = x->init};
	int there[BORN_FDS];
	size_t n = 0;

	for (int i = 0; i < BORN_FDS; i++) {
		born.has[i] = (i < 3 || x->init.pid > 0) && all[i] >= 0;
		if (born.has[i])
			there[n++] = all[i];
	}
	worker_tell(x, OP_BORN, &born, sizeof(born), there, n);
}

void
worker_notifies(const struct erlxc *x, int fd)
{
	worker_tell(x, OP_NOTIFY, NULL, 0, &fd, 1);
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
	output_begin();
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
		if (op == NULL || !(op->flags & OP_KEPT))
			ns_forget();
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

/* --- Workers, seen from the port --------------------------------------- */

void
stdio_free(struct erlxc *x)
{
	for (int i = 0; i < 3; i++)
		fd_free(&x->stdio[i]);
}

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
		guardian_main(&port.x, fd, req);
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
void
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
	watch_renew();
	for (struct worker *w = port.workers; w != NULL; w = w->next)
		w->former = true;
	if (port.x.init.pid > 0) /* another container's now */
		fd_free(&port.x.init.pidfd);
	port.x.init.pid = 0;
	if (port.x.type == TEMPORARY)
		guard_tell(guardian_fork(NULL), TELL_RELEASE);
}

/* Without a listener the container's calls would wait for ever. */
static void
listen_unasked(void)
{
	static const uint8_t frame[] = "\203h\3a\0w\16seccomp_listenj";
	bool known;

	port.x.notify = false;
	dispatch(
	    op_find("seccomp_listen", 0, &known), 0, frame, sizeof(frame) - 1);
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
	if (port.x.notify)
		listen_unasked();
	if (op->flags & OP_RELOAD) {
		op_close(&port.x);
		op_open(&port.x);
	}
	if (!(op->flags & (OP_RELOAD | OP_CONFIG)))
		return;
	if (port.query != NULL) {
		port.query->stale = true;
		shutdown(port.query->src.fd, SHUT_WR);
	}
	if (port.spare != NULL)
		shutdown(port.spare->src.fd, SHUT_WR);
	port.spare = NULL;
}

/* Answers the worker's request. A stream that it opened begins with that, or
 * comes to nothing, for want of success or of somebody who would read it. */
static void
worker_reply(struct worker *w, const struct call *call)
{
	struct stream *s = w->stream;
	struct request *req;
	bool wanted;

	if (w->out != NULL)
		output_drain(w->out);
	req = request_take(&w->req);
	wanted = call->verdict == OP_OK && req->id != 0;
	if (req->cancelled && req->op->flags & OP_KEEP)
		send_finished(req->op, call);
	send_call(req->id, call);
	if (req->op->flags & OP_EXCL)
		port.exclusive = false;
	free(req);
	if (s == NULL)
		return;
	if (wanted)
		stream_begin(s, w->ward ? w->ward->init : 0);
	else
		stream_close(s);
	if (w->role != ROLE_GUARDIAN || call->verdict != OP_OK)
		w->stream = NULL;
}

struct source *
watcher_fork(void)
{
	static const struct op op = {.name = "", .flags = OP_JOB};
	struct worker *w;
	int fd;

	w = worker_fork(ROLE_JOB, "erlxc-watcher", &op, NULL, &fd);
	if (fd >= 0) {
		op_forked(&port.x);
		watcher_main(&port.x, fd);
	}
	return w ? &w->src : NULL;
}

static bool
ward_had(const struct ward *ward, int64_t at)
{
	return ward->tried != 0 && ward->tried <= at &&
	       (ward->over == 0 || at <= ward->over);
}

struct ward *
port_ward(pid_t init, int64_t at)
{
	const pid_t parent = init > 0 ? ns_parent(init) : -1;

	for (struct worker *w = port.workers; w != NULL; w = w->next)
		if (w->ward != NULL &&
		    (init == 0 ? ward_had(w->ward, at)
			       : !w->ended && (w->ward->init == init ||
						  w->ward->monitor == parent)))
			return w->ward;
	return NULL;
}

/* The keeper of sessions, or NULL: a process that outlives the port, by which
 * nothing that a command has left running does. */
static struct worker *
keeper_fork(void)
{
	static const struct op op = {.name = "", .flags = OP_JOB | OP_KEEP};
	struct worker *w;
	int fd;

	w = worker_fork(ROLE_JOB, "erlxc-sessions", &op, NULL, &fd);
	if (fd >= 0) {
		signals_open();
		ns_sessions_keep(fd, streams_sessions());
		_exit(0);
	}
	return w;
}

/* One by one: a word is taken whole or not at all. A keeper that is gone has
 * done what it could. */
void
keeper_flush(void)
{
	const int fd = port.keeper ? port.keeper->src.fd : -1;
	const size_t size = sizeof(struct session_word);
	struct etf_writer *words = &port.words;
	ssize_t n = 0;
	size_t at = 0;

	while (at < words->len && (n = send(fd, words->data + at, size,
				       MSG_NOSIGNAL | MSG_DONTWAIT)) > 0)
		at += size;
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		at = words->len;
	if (at > 0)
		memmove(words->data, words->data + at, words->len - at);
	etf_rewind(words, words->len - at);
	if (port.halting && words->len == 0 && fd >= 0)
		shutdown(fd, SHUT_WR);
}

void
port_session(pid_t id, enum session what)
{
	const struct session_word word = {id, what};

	if (port.keeper == NULL && what != SESSION_LEFT)
		port.keeper = keeper_fork();
	etf_put_raw(&port.words, &word, sizeof(word));
	keeper_flush();
}

/* The command of a stream that was just made: it may have ended before. */
static void
stream_held(struct stream *s, pid_t pid)
{
	port_session(pid, SESSION_HELD);
	for (struct unborn *u = port.unborn; u < port.unborn + UNBORN_MAX; u++)
		if (u->pid == pid && now_ms() - u->since < UNBORN_MS) {
			u->pid = 0;
			stream_ended(s, true, u->status);
		}
}

/* A process that a worker has forked for us, with its descriptors: all, or the
 * kernel has kept some, as we have too many. */
static void
worker_bore(struct worker *w, const void *data)
{
	int fds[BORN_FDS] = {-1, -1, -1, -1}, n = 0;
	struct born born;

	memcpy(&born, data, sizeof(born));
	for (int i = 0; i < BORN_FDS; i++)
		if (born.has[i])
			fds[i] = n < w->nfds ? w->fds[n++] : BORN_FDS;
	w->nfds = 0;
	for (int i = 0; i < BORN_FDS; i++)
		if (fds[i] == BORN_FDS)
			n = fds[i] = -1;
	if (fds[3] >= 0 && w->former)
		fd_free(&fds[3]); /* another container's */
	if (fds[3] >= 0) {
		if (port.x.init.pid > 0)
			fd_free(&port.x.init.pidfd);
		port.x.init = born.init;
		port.x.init.pidfd = fds[3];
	}
	if (watch_is(&w->src)) {
		if (fds[3] >= 0)
			watch_init(&port.x.init);
		return;
	}
	if (w->req != NULL && n >= 0)
		w->stream =
		    stream_new(w->req->stream, born.kind, born.pid, fds);
	if (w->stream != NULL && born.pid > 0)
		stream_held(w->stream, born.pid);
	if (w->stream != NULL)
		return;
	for (int i = 0; i < 3; i++)
		fd_free(&fds[i]);
	if (w->req != NULL)
		port_raise(w->req->id, "system_limit");
	if (w->req != NULL)
		w->req->id = 0;
	if (born.pid > 0) {
		kill(born.pid, SIGKILL);
		port_session(born.pid, SESSION_KILLED);
	}
	group_kill(w->pid);
}

/* Of a guardian: init has ended. Of the listener: a call waits. */
static void
worker_event(struct worker *w, const struct call *call)
{
	if (w->ward == NULL || watch_ended(w->ward))
		send_call(0, call);
	if (w->stream != NULL)
		stream_ended(w->stream, w->ward->ended, w->ward->status);
	w->stream = NULL;
}

/* A command that a worker has entered notifies: the listener, which may have to
 * be made for it, takes it over. */
static void
listener_add(struct worker *w)
{
	static const struct op op = {
	    .name = "", .flags = OP_JOB | OP_KEEP | OP_LISTEN};
	int fd = -1, socket = -1;

	if (w->nfds == 1)
		fd = w->fds[--w->nfds];
	if (fd >= 0 && port.listener == NULL && notify_prepare()) {
		port.listener = worker_fork(
		    ROLE_LISTENER, "erlxc-seccomp", &op, NULL, &socket);
		if (socket >= 0) {
			notify_also(fd);
			notify_serve(&port.x, socket);
		}
	} else if (fd >= 0 && port.listener != NULL) {
		notify_pass(port.listener->src.fd, fd);
	}
	fd_free(&fd);
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
		if (call.verdict == OP_BORN)
			worker_bore(w, call.result.data);
		else if (call.verdict == OP_NOTIFY)
			listener_add(w);
		else if (call.verdict == OP_EVENT)
			worker_event(w, &call);
		else if (call.verdict == OP_STATE && watch_is(&w->src))
			watch_state(call.result.data, m.result);
		else if (w->req != NULL)
			worker_reply(w, &call);
	}
	if (at == 0)
		return;
	memmove(in->data, in->data + at, in->len - at);
	etf_rewind(in, in->len - at);
}

/* Bytes, and the descriptors that come with them. */
static ssize_t
worker_read(struct worker *w, void *buf, size_t size)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(w->fds))];
	} control;
	struct iovec iov = {buf, size};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control)};
	const ssize_t n = recvmsg(w->src.fd, &msg, MSG_CMSG_CLOEXEC);
	const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	if (c != NULL && c->cmsg_type == SCM_RIGHTS && w->nfds == 0) {
		w->nfds = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(w->fds, CMSG_DATA(c), (size_t)w->nfds * sizeof(int));
	}
	return n;
}

static void
worker_ready(struct source *src)
{
	struct worker *w = (struct worker *)src;
	uint8_t buf[16384];
	const ssize_t n = worker_read(w, buf, sizeof(buf));

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
worker_recover(struct worker *w, int status)
{
	struct worker *r;
	int fd;

	r = worker_fork(ROLE_GUARDIAN, "erlxc-recover", w->op, w->ward, &fd);
	if (fd >= 0)
		guardian_recover(&port.x, fd, port.halting, status);
	if (r == NULL)
		return;
	w->ward = NULL;
	r->stream = w->stream;
	w->stream = NULL;
	r->req = w->req; /* answered, and others let in, when all is clean */
	w->req = NULL;
}

/* Of its own accord, when there was nothing to listen to any more: it has not
 * seen what it was asked then. Else another takes its place. */
static void
listener_ended(struct worker *w, int status)
{
	const struct request *req = w->req;

	/* Not again, when it was this that killed it. */
	if (WIFSIGNALED(status) &&
	    (req == NULL || strcmp(req->op->name, "seccomp_listen") != 0))
		listen_unasked();
	while (status == 0 && w->req != NULL)
		request_run(request_take(&w->req));
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
	if (port.spare == w)
		port.spare = NULL;
	if (port.keeper == w)
		port.keeper = NULL;
	if (port.listener == w)
		port.listener = NULL;
	while (polled(w->src.fd, POLLIN, 0))
		worker_ready(&w->src);
	if (watch_is(&w->src))
		watch_lost(status != 0);
	source_close(&w->src);
	if (WIFSIGNALED(status)) /* a hook that it waited for is nobody's now */
		kill(-w->pid, SIGKILL);
	if (WIFSIGNALED(status) && w->role == ROLE_GUARDIAN &&
	    w->ward != NULL && (w->ward->monitor > 0 || port.halting))
		worker_recover(w, status);
	if (w->req != NULL && WIFEXITED(status) &&
	    WEXITSTATUS(status) == WORKER_FORCE && !w->req->cancelled) {
		w->req->force = true;
		request_run(request_take(&w->req));
	}
	if (w->role == ROLE_LISTENER && !port.halting)
		listener_ended(w, status);
	while (w->req != NULL) {
		call_lost(&call, status);
		worker_reply(w, &call);
		call_free(&call);
	}
	if (w->out != NULL)
		output_drain(w->out);
	if (w->stream != NULL)
		stream_ended(w->stream, false, 0);
	while (w->nfds > 0)
		close(w->fds[--w->nfds]);
}

/* Frees the workers that ended in this turn of the loop, when no event that is
 * still to be handled can point to them. */
void
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
		watch_forget(w->ward);
		if (w->ward != NULL)
			munmap(w->ward, sizeof(*w->ward));
		etf_free(&w->inbox);
		output_free(w->out);
		free(w);
		port.nworkers--;
	}
	if (port.nworkers == before || port.halting)
		return;
	guard_update();
	requests_pump();
}

/* --- Requests at work -------------------------------------------------- */

/* A worker that is there before it is asked: for all queries, or for one command
 * in the container, since to fork it takes as long as to enter. */
static struct worker *
kept_fork(enum role role, const char *comm, const struct op *op)
{
	struct request *req;
	struct worker *w;
	int fd;

	if (role != ROLE_QUERY)
		ns_prepare(&port.x.init);
	w = worker_fork(role, comm, op, NULL, &fd);
	if (fd < 0)
		return w;
	if (role == ROLE_QUERY) {
		op_forked(&port.x);
	} else {
		op_spare(&port.x);
		ns_rehearse(&port.x.init);
	}
	req = malloc(sizeof(*req) + QUERY_MAX);
	while (req != NULL &&
	       recv(fd, req, sizeof(*req), MSG_WAITALL) == sizeof(*req) &&
	       req->len <= QUERY_MAX &&
	       recv(fd, req + 1, req->len, MSG_WAITALL) == (ssize_t)req->len) {
		call_run(&port.x, fd, req);
		if (role != ROLE_QUERY)
			break;
	}
	_exit(0);
}

/* The socket is empty and takes QUERY_MAX at once. */
static void
kept_ask(struct worker *w, const struct request *req)
{
	const ssize_t len = (ssize_t)(sizeof(*req) + req->len);

	if (w != NULL && send(w->src.fd, req, (size_t)len, MSG_NOSIGNAL) != len)
		group_kill(w->pid);
}

/* An init's descriptors: our ends are a stream's, the others port.x.stdio. */
static struct stream *
init_stream(uint32_t number)
{
	int ours[] = {-1, -1, -1}, p[2];
	struct stream *s = NULL;

	for (int i = 0; i < 3; i++)
		if (pipe2(p, O_CLOEXEC) == 0) {
			port.x.stdio[i] = p[i > 0];
			ours[i] = p[i == 0];
			fcntl(ours[i], F_SETFL, O_NONBLOCK);
		}
	if (ours[0] >= 0 && ours[1] >= 0 && ours[2] >= 0)
		s = stream_new(number, STREAM_INIT, 0, ours);
	for (int i = 0; i < 3 && s == NULL; i++)
		fd_free(&ours[i]);
	return s;
}

/* A guardian for a request, which may open a stream to the init. */
static struct worker *
guarded_run(const struct request *req)
{
	struct stream *s = req->stream ? init_stream(req->stream) : NULL;
	struct worker *w = NULL;

	if (s != NULL || req->stream == 0)
		w = guardian_fork(req);
	stdio_free(&port.x);
	if (w != NULL)
		w->stream = s;
	else if (s != NULL)
		stream_close(s);
	return w;
}

/* A job has a worker of its own, or a guardian, but for a start that is to
 * outlive the port. */
static struct worker *
job_fork(const struct request *req)
{
	const struct op *op = req->op;
	const bool detached = req->stream == 0 &&
			      strcmp(op->name, "start") == 0 &&
			      (port.x.daemonize || port.x.type == PERMANENT);
	struct worker *w;
	int fd;

	if ((op->flags & OP_GUARD) && !detached)
		return guarded_run(req);
	w = worker_fork(ROLE_JOB, "erlxc-job", op, NULL, &fd);
	if (fd >= 0) {
		op_forked(&port.x);
		if (detached)
			starter_main(&port.x, fd, req);
		call_run(&port.x, fd, req);
		_exit(0);
	}
	return w;
}

/* Into the container, by the spare worker, in whose place comes another. */
static struct worker *
attach_run(const struct request *req)
{
	struct worker *w = port.spare;

	if (w == NULL)
		w = kept_fork(ROLE_JOB, "erlxc-attach", req->op);
	kept_ask(w, req);
	port.spare = kept_fork(ROLE_JOB, "erlxc-attach", req->op);
	return w;
}

/* Listens to the container's notifications until it ends, whatever the port's
 * end is. */
static struct worker *
listener_fork(const struct request *req)
{
	struct worker *w;
	int fd = -1;

	if (!notify_prepare())
		return NULL;
	w = worker_fork(ROLE_LISTENER, "erlxc-seccomp", req->op, NULL, &fd);
	if (fd >= 0) {
		op_forked(&port.x);
		call_run(&port.x, fd, req);
		notify_serve(&port.x, fd);
	}
	port.listener = w;
	return w;
}

/* An answer for the listener; NULL: it has too many. */
static struct worker *
listener_ask(const struct request *req)
{
	struct worker *w = port.listener;
	const ssize_t len = (ssize_t)(sizeof(*req) + req->len);

	return send(w->src.fd, req, (size_t)len, MSG_NOSIGNAL) == len ? w
								      : NULL;
}

/* Takes over `req`. */
static void
request_run(struct request *req)
{
	const struct op *op = req->op;
	struct worker *w;

	if (op->flags & OP_STREAM)
		req->stream = ++port.streams;
	if (op->flags & OP_QUERY) {
		if (port.query == NULL)
			port.query = kept_fork(ROLE_QUERY, "erlxc-query", NULL);
		w = port.query;
		kept_ask(w, req);
	} else if (op->flags & OP_KEPT && req->len <= QUERY_MAX) {
		w = attach_run(req);
	} else if (op->flags & OP_LISTEN && port.listener != NULL &&
		   req->len <= ANSWER_MAX) {
		w = listener_ask(req);
	} else if (op->flags & OP_LISTEN && *op->args != 'i') {
		w = listener_fork(req);
	} else {
		if (req->progress)
			output_give();
		w = job_fork(req);
		output_given(w);
	}
	if (w == NULL) {
		port_raise(req->id, "system_limit");
		free(req);
		return;
	}
	request_append(&w->req, req);
	if (op->flags & OP_GUARD)
		watch_hint();
	if (op->flags & OP_EXCL)
		port.exclusive = true;
	if (w->role == ROLE_GUARDIAN)
		guard_tell(w, TELL_RELEASE);
}

/* The monitor is done with: the question is answered, too old, or liblxc's. */
static void
monitor_free(struct worker *w)
{
	source_close(&w->src);
	w->ended = true;
	free(w->req);
	w->req = NULL;
	port.monitor = NULL;
}

/* As op_answered(); sends the answer that there is. */
static int
monitor_answered(const struct request *req, int fd)
{
	struct call call = {.op = req->op};
	int done;

	call_init(&call, OP_OK);
	done = op_answered(&call, fd);
	if (done > 0)
		send_call(req->id, &call);
	call_free(&call);
	return done;
}

static void
monitor_ready(struct source *src)
{
	struct worker *w = (struct worker *)src;
	struct request *req = w->req;
	const int done = monitor_answered(req, src->fd);

	if (done == 0)
		return;
	if (done < 0) {
		req->asked = true;
		req->next = port.queries;
		port.queries = req;
		w->req = NULL;
	}
	monitor_free(w);
	requests_pump();
}

/*
 * The monitor takes a worker's place: no process of ours, it has no pid, but it
 * holds a request, until its deadline, and answers it by a socket. On a busy
 * machine it has done so by the time it was asked. False: liblxc has to ask.
 */
static bool
monitor_ask(struct request *req)
{
	const int fd = op_ask(&port.x);
	const int done = fd < 0 ? -1 : monitor_answered(req, fd);
	struct worker *w = done == 0 ? malloc(sizeof(*w)) : NULL;

	if (w != NULL) {
		*w = (struct worker){.src.fd = fd,
		    .role = ROLE_MONITOR,
		    .req = req,
		    .next = port.workers};
		if (source_add(&w->src, EPOLLIN, monitor_ready)) {
			port.workers = port.monitor = w;
			port.nworkers++;
			return true;
		}
		free(w);
	}
	if (fd >= 0)
		close(fd);
	if (done > 0)
		free(req);
	return done > 0;
}

static bool
query_possible(const struct request *req)
{
	if (req->op->flags & OP_ASK && !req->asked)
		return port.monitor == NULL;
	return port.query == NULL || !(port.query->req || port.query->stale);
}

static void
query_run(struct request *req)
{
	if (req->op->flags & OP_ASK && !req->asked && monitor_ask(req))
		return;
	req->asked = true;
	if (query_possible(req)) {
		request_run(req);
		return;
	}
	req->next = port.queries;
	port.queries = req;
}

/* Runs what waited; called when a worker has answered or ended. */
void
requests_pump(void)
{
	while (port.queries != NULL && !port.halting &&
	       query_possible(port.queries))
		query_run(request_take(&port.queries));
	while (port.waiting != NULL && !port.halting && !port.exclusive)
		request_run(request_take(&port.waiting));
}

/* A query worker that is at work has its end, and makes way for another. */
static void
query_kill(void)
{
	group_kill(port.query->pid);
	port.query = NULL;
}

/* Questions that have waited too long get their timeout, the one being asked
 * with its worker: the monitor does not answer. Returns ms to the next, or -1.
 */
int
query_deadlines(void)
{
	const int64_t now = now_ms();
	struct request *req = port.monitor ? port.monitor->req : NULL;

	if (req != NULL && req->deadline <= now) {
		port_raise(req->id, "timeout");
		monitor_free(port.monitor);
	}
	req = port.query ? port.query->req : NULL;
	if (req != NULL && req->deadline <= now) {
		port_raise(req->id, "timeout");
		req->id = 0;
		query_kill();
	}
	while (port.queries != NULL && port.queries->deadline <= now) {
		port_raise(port.queries->id, "timeout");
		free(request_take(&port.queries));
	}
	requests_pump();
	/* The older one is at work, but two may be. */
	req = port.query && port.query->req ? port.query->req : port.queries;
	if (port.monitor &&
	    (!req || port.monitor->req->deadline < req->deadline))
		req = port.monitor->req;
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

/* The caller has died or waits no longer. What may be killed is; what may not,
 * finishes, and whoever has subscribed is told. */
void
cancel(uint32_t id)
{
	if (id == 0 || cancel_waiting(&port.queries, id) ||
	    cancel_waiting(&port.waiting, id))
		return;
	for (struct worker *w = port.workers; w != NULL; w = w->next) {
		struct request *req = w->req;

		while (req != NULL && req->id != id)
			req = req->next;
		if (req == NULL)
			continue;
		req->id = 0;
		req->cancelled = true;
		if (w->role == ROLE_GUARDIAN)
			guardian_tell(w, TELL_CANCEL);
		else if (w == port.query)
			query_kill();
		else if (w->role == ROLE_JOB && !(w->op->flags & OP_KEEP))
			group_kill(w->pid);
	}
}

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
		output_lines(&port.log.src); /* before the pipe is full */
	send_call(id, &call);
	call_free(&call);
	if (port.x.type != old.type || port.x.daemonize != old.daemonize) {
		guard_tell(NULL, port.x.daemonize ? PERMANENT : port.x.type);
		guard_update();
	}
	if (port.x.path != old.path)
		guard_renew();
}

void
dispatch(const struct op *op, uint32_t id, const void *frame, size_t len)
{
	struct request *req;

	if (!(op->flags & (OP_QUERY | OP_JOB))) {
		run_inline(op, id, frame, len);
		return;
	}
	if ((op->flags & OP_QUERY) && len > QUERY_MAX) {
		port_raise(id, "badarg");
		return;
	}
	req = malloc(sizeof(*req) + len);
	if (req == NULL) {
		port_raise(id, "system_limit");
		return;
	}
	*req = (struct request){.op = op, .id = id, .len = len};
	req->progress = id != 0 && id == port.progress;
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

/* --- Their ends ------------------------------------------------------- */

/* A command that ended before we read that it was born, or before that was
 * written: it is remembered. */
static void
unknown_reaped(pid_t pid, int status)
{
	for (struct worker *w = port.workers; w != NULL; w = w->next)
		if (w->op != NULL && w->op->flags & OP_STREAM &&
		    polled(w->src.fd, POLLIN, 0))
			worker_ready(&w->src);
	if (!stream_reaped(pid, status))
		port.unborn[port.nunborn++ % UNBORN_MAX] =
		    (struct unborn){pid, status, now_ms()};
}

/* What liblxc forks in this process it has reaped by now; what a killed worker
 * has forked for us may come to us without a word. */
void
children_reap(void)
{
	struct worker *w;
	siginfo_t si;
	int status;

	for (;;) {
		si.si_pid = 0;
		if (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) < 0 ||
		    si.si_pid == 0 || waitpid(si.si_pid, &status, 0) < 0)
			return;
		w = port.workers;
		while (w != NULL && (w->ended || w->pid != si.si_pid))
			w = w->next;
		if (w != NULL)
			worker_ended(w, status);
		else if (!stream_reaped(si.si_pid, status))
			unknown_reaped(si.si_pid, status);
	}
}

void
port_stream_gone(const struct stream *s)
{
	for (struct worker *w = port.workers; w != NULL; w = w->next)
		if (w->stream == s)
			w->stream = NULL;
}

void
port_stop_init(const struct stream *s)
{
	for (struct worker *w = port.workers; w != NULL; w = w->next)
		if (w->stream == s)
			guardian_tell(w, TELL_CANCEL);
}
