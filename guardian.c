/* SPDX-License-Identifier: ISC */
/*
 * The guardian: the process that owns what must not outlive the Erlang side: an
 * attached container, a create in progress, or only the duty to destroy a
 * temporary container.
 *
 * Child of the port, but without PDEATHSIG: it lives until its task has come to
 * an end (with a temporary container, until it is released), or its socket has
 * (the port is gone, SIGKILL included), and then cleans up first. It calls
 * liblxc only through children that it can kill, and that die with it:
 *
 *	TASK	runs the row: for `start` that is liblxc's foreground start, and
 *		the process the container's monitor and init's parent
 *	WATCH	finds out when init runs its program; ends with that
 *	DOWN	takes the container down
 */
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "erlxc.h"

#define CLAIM_MS 2000    /* for who died with a monitor */
#define STARTER_MS 10    /* to a look at whether the starter has ended */
#define DISCARD_MS 60000 /* for destroying a container unattended */

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

static struct erlxc *x; /* the port's, in this process */

/* Forks a child. In the child: true. */
static bool
guardian_child(struct guardian *g, int which, const char *comm)
{
	const pid_t self = getpid(), pid = fork();

	if (pid == 0) {
		fd_free(&g->port);
		child_begin(comm, self, true);
		op_forked(x);
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
	struct ward *ward = x->ward;

	g->deadline = 0;
	if (g->pid[TASK] > 0 && ward->cgroups[0] == '\0')
		cgroup_read(g->pid[TASK], ward->cgroups, sizeof(ward->cgroups));
	for (int i = 0; i < CHILDREN; i++)
		if (g->pid[i] > 0)
			group_kill(g->pid[i]);
}

/* Removes what a monitor has left, unless the container runs again: then
 * its cgroups have the same names. Who is about to start it waits for the lock.
 */
static void
guardian_clean(int ms)
{
	const bool locked = op_lock(x);
	const int place = monitor_claim(x, ms);

	if (place < 0) {
		if (locked) /* empty ones: nobody is about to enter them */
			cgroup_sweep(x->name, false);
		return;
	}
	if (x->ward != NULL)
		cgroup_purge(x->ward->cgroups);
	cgroup_sweep(x->name, true);
	close(place);
}

/* The guardian looks before this process is taken apart, which takes a while. */
static void __attribute__((noreturn)) guardian_watch(void)
{
	const pid_t guardian = getppid();
	const bool runs = op_watch(x);

	if (runs && getppid() == guardian)
		kill(guardian, SIGCHLD);
	_exit(runs ? 0 : 1);
}

static void
guardian_begin(struct guardian *g, const struct request *req)
{
	int out[2] = {-1, -1};

	x->stream = req->stream;
	g->starts = strcmp(req->op->name, "start") == 0;
	g->answer = memfd_create("answer", MFD_CLOEXEC);
	if (g->signals < 0 || g->answer < 0 ||
	    (!g->starts && pipe2(out, O_CLOEXEC) < 0))
		_exit(WORKER_LIMIT);
	op_lock_open(x); /* the task locks; the guardian lets go */
	if (guardian_child(g, TASK, "erlxc-monitor")) {
		if (!g->starts) {
			dup2(out[1], STDOUT_FILENO);
			dup2(out[1], STDERR_FILENO);
		}
		for (int i = 0; i < 3 && x->stdio[i] >= 0; i++)
			dup2(x->stdio[i], i);
		call_run(x, g->answer, req);
		_exit(0);
	}
	if (g->pid[TASK] == 0)
		_exit(WORKER_LIMIT);
	fd_free(&out[1]);
	stdio_free(x);
	g->output = out[0];
	x->ward->monitor = g->pid[TASK];
	if (g->starts && guardian_child(g, WATCH, "erlxc-watch"))
		guardian_watch();
	if (g->starts && g->pid[WATCH] == 0)
		guardian_force(g); /* nobody would tell that init runs */
}

/* {exited, {exit_status, N} | {signal, N} | unknown}: an event. */
static void
guardian_exited(int fd)
{
	const struct ward *ward = x->ward;
	struct call call;

	call_init(&call, OP_EVENT);
	etf_put_tuple(&call.result, 2);
	etf_put_atom(&call.result, "exited");
	put_status(&call.result, ward->ended, ward->status);
	call_send(fd, &call);
}

/* The container must come down. One that is still starting gets the grace to
 * come up, since only a running one can be stopped in good order. */
static void
guardian_leave(struct guardian *g)
{
	const int grace = x->grace_ms;

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
			_exit(op_down(x) ? 0 : 1);
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
guardian_discard(bool husk)
{
	const pid_t self = getpid();
	int p[2];
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		return;
	if (pid == 0) {
		child_begin("erlxc-discard", self, true);
		op_forked(x);
		husk ? op_discard(x) : op_remove(x);
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
	struct ward *ward = x->ward;
	struct call call;

	ward->over = now_ms();
	guardian_force(g);
	if (WIFSIGNALED(status)) {
		kill(-ward->monitor, SIGKILL);
		if (g->starts)
			guardian_clean(
			    x->ward->init > 0 ? CLAIM_MS / 10 : CLAIM_MS);
		if (ward->husk)
			guardian_discard(true);
	} else if (ward->tried && !g->running && !ward->ended) {
		guardian_clean(CLAIM_MS); /* liblxc leaves some */
	}
	op_unlock(x);
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

	if (!g->running && x->ward->init > 0) { /* the answer to start */
		op_unlock(x);
		call_init(&call, OP_OK);
		op_put_started(&call.result, x, x->ward->init);
		call_send(g->port, &call);
		g->running = true;
	}
	if (guardian_reap(g, WATCH, &status)) {
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
void
guardian_main(struct erlxc *erlxc, int fd, const struct request *req)
{
	struct guardian g = {
	    .signals = signals_open(), .port = fd, .output = -1};
	struct signalfd_siginfo si;
	int64_t left;

	x = erlxc;
	g.policy = x->daemonize ? PERMANENT : x->type;
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
		guardian_discard(false);
	_exit(0);
}

/*
 * The starter of a daemonized container: a job's process, which lives until the
 * container runs or has failed to, and another one below it that has liblxc
 * start it. That one liblxc puts into its monitor's cgroups, so that the monitor
 * of a start that fails cannot remove them.
 */
void
starter_main(struct erlxc *erlxc, int fd, const struct request *req)
{
	const pid_t pid = fork();
	int status = 0;

	x = erlxc;
	if (pid <= 0) { /* without a process more: as well as it goes */
		x->failed = true; /* until it has run */
		call_run(x, fd, req);
		_exit(x->failed);
	}
	prctl(PR_SET_PDEATHSIG, 0); /* the port may end once it has an answer */
	op_lock_open(x);
	while (waitpid(pid, &status, WNOHANG) == 0)
		if (polled(fd, 0, STARTER_MS))
			kill(pid, SIGKILL); /* it has ended before */
	if (WIFSIGNALED(status) && !polled(fd, 0, 0))
		kill(getpid(), WTERMSIG(status));
	if (status != 0)
		guardian_clean(CLAIM_MS);
	_exit(WEXITSTATUS(status));
}

/* In place of a guardian that was killed: its task was killed with it
 * (PDEATHSIG), the container's init with the task. What is left is removed. */
void
guardian_recover(struct erlxc *erlxc, int fd, bool halting, int status)
{
	struct ward *ward = erlxc->ward;
	struct call call;

	x = erlxc;
	if (ward->cgroups[0] == '\0' && ward->monitor > 0)
		cgroup_read(
		    ward->monitor, ward->cgroups, sizeof(ward->cgroups));
	if (ward->monitor > 0)
		kill(-ward->monitor, SIGKILL);
	guardian_clean(x->ward->init > 0 ? CLAIM_MS / 10 : CLAIM_MS);
	ward->over = now_ms();
	if (ward->husk || (halting && x->type == TEMPORARY))
		guardian_discard(ward->husk);
	if (ward->init > 0)
		guardian_exited(fd);
	call_lost(&call, status);
	call_send(fd, &call);
	_exit(0);
}
