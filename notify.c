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

static struct {
	int fd;      /* the filter's */
	int port;    /* the socket to the port, -1: it is gone */
	int wait_ms; /* for what Erlang decides */
	bool others; /* another process listens now: no new calls are ours */
} listener = {.fd = -1, .port = -1};

/* What waits. Shared with the port, for the listener that takes the place of one
 * that was killed. */
static struct waiting {
	size_t n;
	struct pending {
		uint64_t id;
		int64_t deadline;
	} v[PENDING_MAX];
} * waiting;

bool
notify_prepare(bool fresh)
{
	void *page;

	if (fresh && waiting != NULL) {
		munmap(waiting, sizeof(*waiting));
		waiting = NULL;
	}
	page = waiting;
	if (waiting == NULL)
		page = mmap(NULL, sizeof(*waiting), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page != MAP_FAILED)
		waiting = page;
	return waiting != NULL;
}

/* To the kernel, which knows whether the call is still the one that it was. */
static int
notify_send(const struct notify_answer *answer)
{
	uint64_t id = answer->id;
	struct seccomp_notif_resp resp = {.id = id,
	    .val = answer->value,
	    .error = -answer->error,
	    .flags = answer->go_on ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0};

	if (ioctl(listener.fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) < 0)
		return errno;
	while (ioctl(listener.fd, SECCOMP_IOCTL_NOTIF_SEND, &resp) < 0)
		if (errno != EINTR)
			return errno;
	return 0;
}

static void
notify_refuse(uint64_t id)
{
	notify_send(&(struct notify_answer){.id = id, .error = ENOSYS});
}

int
notify_answer(const struct notify_answer *answer)
{
	int number;

	for (size_t i = 0; waiting && i < waiting->n; i++) {
		if (waiting->v[i].id != answer->id)
			continue;
		number = notify_send(answer);
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

/* The next call. The kernel may know more of it than we do. A port that does
 * not read, as Erlang does not, is not waited for. */
static void
notify_receive(void)
{
	union {
		struct seccomp_notif notif;
		uint8_t bytes[1024];
	} u;

	memset(&u, 0, sizeof(u)); /* demanded */
	listener.others = fcntl(listener.fd, F_GETOWN) != getpid();
	if (listener.others ||
	    ioctl(listener.fd, SECCOMP_IOCTL_NOTIF_RECV, &u) < 0)
		return; /* ENOENT: its process was killed */
	if (waiting->n == PENDING_MAX || !polled(listener.port, POLLOUT, 0)) {
		notify_refuse(u.notif.id);
		return;
	}
	waiting->v[waiting->n++] =
	    (struct pending){u.notif.id, now_ms() + listener.wait_ms};
	notify_tell(&u.notif);
}

/* What has waited too long is refused. Returns ms to the next, or -1. */
static int
notify_deadlines(void)
{
	const int64_t now = now_ms();
	int64_t next = -1;

	for (size_t i = waiting->n; i-- > 0;) {
		struct pending *p = &waiting->v[i];

		if (p->deadline <= now) {
			notify_refuse(p->id);
			*p = waiting->v[--waiting->n];
		} else if (next < 0 || p->deadline - now < next) {
			next = p->deadline - now;
		}
	}
	return (int)next;
}

/* An answer of Erlang's, a request for the row seccomp_respond; or the port's
 * end: nobody will decide what waits. */
static void
notify_request(struct erlxc *x)
{
	union {
		struct request req;
		uint8_t bytes[sizeof(struct request) + ANSWER_MAX];
	} u;
	struct request *req = &u.req;

	if (recv(listener.port, req, sizeof(*req), MSG_WAITALL) ==
		sizeof(*req) &&
	    req->len <= ANSWER_MAX &&
	    recv(listener.port, req + 1, req->len, MSG_WAITALL) ==
		(ssize_t)req->len) {
		call_run(x, listener.port, req);
		return;
	}
	fd_free(&listener.port);
	while (waiting->n > 0)
		notify_refuse(waiting->v[--waiting->n].id);
}

/* Until nobody has the filter any more, init is gone (before Linux 5.9 only that
 * tells), or another process listens and nothing waits for us. */
static void
notify_loop(struct erlxc *x)
{
	bool room, over = false;

	while (!over && !(listener.others && waiting->n == 0)) {
		room = polled(listener.port, POLLOUT, 0);
		struct pollfd fds[] = {{listener.fd, POLLIN, 0},
		    {listener.port, room ? POLLIN : POLLOUT, 0},
		    {x->init.pidfd, POLLIN, 0}};

		if (listener.others)
			fds[0].fd = -1;
		poll(fds, 3, notify_deadlines());
		if (fds[0].revents & POLLIN)
			notify_receive();
		if (fds[1].revents & (POLLIN | POLLHUP))
			notify_request(x);
		over = fds[2].revents || fds[0].revents & ~POLLIN;
	}
}

void
notify_listen(int fd, int wait_ms)
{
	listener.fd = fd;
	listener.wait_ms = wait_ms;
	/* Of the descriptor, which all who have it share: the last one listens. */
	fcntl(fd, F_SETOWN, getpid());
	fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* A container that reboots has another filter. */
void
notify_serve(struct erlxc *x, int port)
{
	listener.port = port;
	while (listener.fd >= 0) {
		notify_loop(x);
		if (listener.others)
			break;
		waiting->n = 0;
		fd_free(&listener.fd);
		listener.fd = op_notify_fd(x);
		if (listener.fd >= 0)
			notify_listen(listener.fd, listener.wait_ms);
	}
	_exit(0);
}
