/* SPDX-License-Identifier: ISC */
/*
 * The listener: the process that hands a container's system calls, those that
 * its seccomp profile marks `notify`, to Erlang, and what that decides to the
 * kernel. seccomp_unotify(2).
 *
 * Child of the port, but without PDEATHSIG: a call waits for ever while somebody
 * has the filter's descriptor, and LXC's monitor has. So this process lives as
 * long as the container. It answers ENOSYS to what nobody decides: in time, or
 * any more, when the port is gone.
 */
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include <linux/seccomp.h>

#include "erlxc.h"

#define PENDING_MAX 1024u /* calls that wait; one more is ENOSYS */
#define FILTERS_MAX 256   /* of commands beside init's; one more is ENOSYS */

static struct {
	int fds[FILTERS_MAX]; /* of the filters; the first is init's, or -1 */
	int n;
	int port;    /* the socket to the port, -1: it is gone */
	int wait_ms; /* for what Erlang decides */
	bool others; /* another process has init's: no new calls are ours */
} listener = {.fds = {-1}, .n = 1, .port = -1, .wait_ms = NOTIFY_MS};

/* What waits, by the filter's descriptor. Shared with the port, for a listener
 * that takes the place of one that was killed; with that one, commands have lost
 * theirs, by which what they wait for has failed. */
static struct waiting {
	size_t n;
	struct pending {
		uint64_t id;
		int64_t deadline;
		bool init; /* init's */
		int fd;    /* else */
	} v[PENDING_MAX];
} * waiting;

bool
notify_prepare(void)
{
	void *page = waiting;

	if (waiting == NULL)
		page = mmap(NULL, sizeof(*waiting), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page != MAP_FAILED)
		waiting = page;
	return waiting != NULL;
}

/* To the kernel, which knows whether the call is still the one that it was. */
static int
notify_send(int fd, const struct notify_answer *answer)
{
	uint64_t id = answer->id;
	struct seccomp_notif_resp resp = {.id = id,
	    .val = answer->value,
	    .error = -answer->error,
	    .flags = answer->go_on ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0};

	if (ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) < 0)
		return errno;
	while (ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &resp) < 0)
		if (errno != EINTR)
			return errno;
	return 0;
}

static void
notify_refuse(int fd, uint64_t id)
{
	notify_send(fd, &(struct notify_answer){.id = id, .error = ENOSYS});
}

static int
pending_fd(const struct pending *p)
{
	return p->init ? listener.fds[0] : p->fd;
}

int
notify_answer(const struct notify_answer *answer)
{
	int number;

	for (size_t i = 0; listener.port >= 0 && i < waiting->n; i++) {
		if (waiting->v[i].id != answer->id)
			continue;
		number = notify_send(pending_fd(&waiting->v[i]), answer);
		if (number != EINVAL) /* that was no answer: it waits on */
			waiting->v[i] = waiting->v[--waiting->n];
		return number;
	}
	return ENOENT;
}

/* {seccomp, Id, #{pid, nr, arch, args}}: an event. */
static void
notify_tell(const struct seccomp_notif *notif)
{
	struct call call;
	struct etf_writer *w = &call.result;

	call_init(&call, OP_EVENT);
	etf_put_tuple(w, 3);
	etf_put_atom(w, "seccomp");
	etf_put_uint(w, notif->id);
	etf_put_map(w, 4);
	etf_put_atom(w, "pid");
	etf_put_uint(w, notif->pid);
	etf_put_atom(w, "nr");
	etf_put_int(w, notif->data.nr);
	etf_put_atom(w, "arch");
	etf_put_uint(w, notif->data.arch);
	etf_put_atom(w, "args");
	etf_put_list(w, 6);
	for (int i = 0; i < 6; i++)
		etf_put_uint(w, notif->data.args[i]);
	etf_put_nil(w);
	call_send(listener.port, &call);
}

/* True when another process listens to init's filter by now. */
static bool
listener_passed(void)
{
	if (listener.fds[0] >= 0)
		listener.others = fcntl(listener.fds[0], F_GETOWN) != getpid();
	return listener.others;
}

/* The next call. The kernel may know more of it than we do. A port that does
 * not read, as Erlang does not, is not waited for. */
static void
notify_receive(int fd)
{
	const bool init = fd == listener.fds[0];
	union {
		struct seccomp_notif notif;
		uint8_t bytes[1024];
	} u;

	memset(&u, 0, sizeof(u)); /* demanded */
	if ((init && listener_passed()) ||
	    ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &u) < 0)
		return; /* ENOENT: its process was killed */
	if (waiting->n == PENDING_MAX || !polled(listener.port, POLLOUT, 0)) {
		notify_refuse(fd, u.notif.id);
		return;
	}
	waiting->v[waiting->n++] =
	    (struct pending){u.notif.id, now_ms() + listener.wait_ms, init, fd};
	notify_tell(&u.notif);
}

/* What has waited too long is refused. Returns ms to the next, or -1; without a
 * port, to a look at whether there is another listener. */
static int
notify_deadlines(void)
{
	const int64_t now = now_ms();
	int64_t next = listener.port >= 0 ? -1 : listener_passed() ? 0 : 1000;

	for (size_t i = waiting->n; i-- > 0;) {
		struct pending *p = &waiting->v[i];

		if (p->deadline <= now) {
			notify_refuse(pending_fd(p), p->id);
			*p = waiting->v[--waiting->n];
		} else if (next < 0 || p->deadline - now < next) {
			next = p->deadline - now;
		}
	}
	return (int)next;
}

/* A request for a row of ours, or a descriptor that is to be listened at too; or
 * the port's end: nobody will decide what waits. */
static void
notify_request(struct erlxc *x)
{
	union {
		struct request req;
		uint8_t bytes[sizeof(struct request) + ANSWER_MAX];
	} u;
	struct request *req = &u.req;
	int fd = -1;

	req->len = 0;
	if (fd_receive(listener.port, req, sizeof(*req), &fd) && fd >= 0) {
		notify_also(fd);
		return;
	}
	if (req->len > 0 && req->len <= ANSWER_MAX &&
	    recv(listener.port, req + 1, req->len, MSG_WAITALL) ==
		(ssize_t)req->len) {
		call_run(x, listener.port, req);
		return;
	}
	fd_free(&listener.port);
	for (; waiting->n > 0; waiting->n--)
		notify_refuse(pending_fd(&waiting->v[waiting->n - 1]),
		    waiting->v[waiting->n - 1].id);
}

/* Nobody has the filter any more, and nothing waits for it. */
static void
notify_drop(int i)
{
	close(listener.fds[i]);
	listener.fds[i] = i > 0 ? listener.fds[--listener.n] : -1;
}

/* One turn. That init is gone tells, before Linux 5.9, that its filter is. */
static void
notify_turn(struct erlxc *x)
{
	const bool room = polled(listener.port, POLLOUT, 0);
	const int n = listener.n;
	struct pollfd fds[FILTERS_MAX + 2];

	for (int i = 0; i < n; i++)
		fds[i] = (struct pollfd){listener.fds[i], POLLIN, 0};
	if (listener.others)
		fds[0].fd = -1;
	fds[n] = (struct pollfd){listener.port, room ? POLLIN : POLLOUT, 0};
	fds[n + 1] = (struct pollfd){
	    listener.fds[0] >= 0 ? x->init.pidfd : -1, POLLIN, 0};
	poll(fds, (nfds_t)n + 2, notify_deadlines());
	for (int i = n - 1; i >= 0; i--)
		if (fds[i].revents & POLLIN)
			notify_receive(fds[i].fd);
		else if (fds[i].revents || (i == 0 && fds[n + 1].revents))
			notify_drop(i);
	if (fds[n].revents & (POLLIN | POLLHUP))
		notify_request(x);
}

void
notify_listen(int fd, int wait_ms)
{
	fd_free(&listener.fds[0]);
	listener.fds[0] = fd;
	listener.wait_ms = wait_ms;
	listener.others = false;
	/* Of the descriptor, which all who have it share: the last one listens. */
	fcntl(fd, F_SETOWN, getpid());
	fcntl(fd, F_SETFD, FD_CLOEXEC);
}

void
notify_also(int fd)
{
	if (listener.n < FILTERS_MAX)
		listener.fds[listener.n++] = fd;
	else
		close(fd);
}

bool
notify_pass(int socket, int fd)
{
	const struct request none = {0};

	return fd_send(socket, &none, sizeof(none), fd);
}

/* A container that reboots has another filter. Without one and without commands
 * there is nothing to do. */
void
notify_serve(struct erlxc *x, int port)
{
	bool init = listener.fds[0] >= 0;
	int fd;

	listener.port = port;
	while (listener.n > 1 || listener.fds[0] >= 0) {
		notify_turn(x);
		if (listener.others && waiting->n == 0)
			notify_drop(0);
		if (listener.fds[0] >= 0 || !init || listener.others)
			continue;
		fd = op_notify_fd(x);
		init = fd >= 0;
		if (init)
			notify_listen(fd, listener.wait_ms);
	}
	_exit(0);
}
