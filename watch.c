/* SPDX-License-Identifier: ISC */
/*
 * Events: what the container comes to, whoever caused it.
 *
 * The watcher is a fork of the port, there while somebody is subscribed, that
 * reports states: a running container's as its monitor tells them, a stopped
 * one's by a look at whether there is a monitor. It blocks inside liblxc for
 * as long as nothing happens or the monitor is stuck, and dies with the port.
 * When nobody is subscribed any more it is not killed but ends the next time
 * that it wakes: a client that leaves stays in a monitor's list, with the
 * number of a descriptor that is somebody else's by then.
 *
 * The port itself holds init's pidfd, which the watcher finds: a death is told
 * at once, with the status that the kernel keeps.
 */
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "erlxc.h"

#define STATE_MAX 16u  /* bytes of a state's name, with the NUL */
#define LOOK_MS 500    /* between two looks for a monitor */
#define LOOK_SOON_MS 5 /* the same, when there is a hint that one starts */
#define HINT_MS 1000   /* how long a hint is one */
#define STATUS_MS 40   /* for init's parent to reap it */
#define ANSWER_MS 5000 /* for the state to start from */
#define RETRY_MS 1000  /* to the next watcher, when one has failed */

/* In the port. */
static struct {
	bool *wanted;          /* somebody is subscribed; the watcher sees it */
	struct source *worker; /* the watcher's socket, or NULL */
	char state[STATE_MAX]; /* the last that is known, or "" */
	int64_t answer;        /* when subscribers are answered; 0: they are */
	bool late;             /* they were, without a state to start from */
	int64_t retry;         /* no other watcher before */
	struct source init;    /* its pidfd, or -1 */
	struct ns_init id;
	struct ward *ward; /* its guardian's, or NULL */
	int64_t died;      /* when it was seen dead; 0: it lives */
	bool runs;         /* one without a guardian, not found yet */
	bool anew;         /* it is another container's watch now */
	int64_t at;        /* when the last state was asked for */
	int64_t over;      /* until when guardians have told all ends */
} watch = {.init.fd = -1};

#ifndef HAVE_LXC
/* Without liblxc every container is stopped. */
#define op_monitored(x) ((void)(x), false)
#define op_next_state(x, last, at) ((void)(at), (last))
#define op_find_init(x, state) false
#endif

/* What the watcher tells. */
struct seen {
	int64_t at; /* when it has asked */
	char state[STATE_MAX];
};

/* --- The watcher ------------------------------------------------------- */

static bool
is_stopped(const char *state)
{
	return strcmp(state, "STOPPED") == 0;
}

/* Of a state other than these nothing is reached but through `before`. */
static const struct {
	const char *state, *after, *before;
} passed[] = {{"STARTING", "STOPPED", "STOPPED"},
    {"RUNNING", "STARTING FREEZING FROZEN", "STARTING"},
    {"FREEZING", "RUNNING", "RUNNING"}, {"FROZEN", "FREEZING", "FREEZING"},
    {"STOPPED", "STARTING STOPPING ABORTING", "STOPPING"}};

/* Tells a state, and first what the container has passed unseen. */
static void
watcher_tell(int fd, int64_t at, const char *state, const char *last)
{
	struct seen seen = {.at = at};
	struct call call;

	for (size_t i = 0; i < sizeof(passed) / sizeof(*passed); i++)
		if (*last != '\0' && strcmp(passed[i].state, state) == 0 &&
		    strstr(passed[i].after, last) == NULL)
			watcher_tell(fd, at, passed[i].before, last);
	call_init(&call, OP_STATE);
	snprintf(seen.state, sizeof(seen.state), "%s", state);
	etf_put_raw(&call.result, &seen, sizeof(seen));
	call_send(fd, &call);
}

/* Waits for a stopped container's next look: who starts it reads the
 * configuration first, or is the port, which says so. Else it only looks at
 * what has come meanwhile. True: there was a hint. */
static bool
watcher_pause(int fd, int hints, const char *config, int ms)
{
	struct pollfd fds[] = {{fd, POLLIN, 0}, {hints, POLLIN, 0}};
	char buf[4096];
	bool hint;

	/* Again each time: it may be another file by now. */
	if (config != NULL)
		inotify_add_watch(hints, config, IN_OPEN);
	hint = poll(fds, 2, ms) > 0;
	if (fds[1].revents && read(hints, buf, sizeof(buf)) < 0)
		hint = false;
	if ((fds[0].revents && read(fd, buf, sizeof(buf)) <= 0) ||
	    !*watch.wanted)
		_exit(0);
	return hint;
}

/* A container that is not stopped any more has been starting, whether or not
 * that was seen: its monitor does not answer before it runs. */
void
watcher_main(struct erlxc *x, int fd)
{
	const int hints = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	AUTO_STRING config = format("%s/%s/config", x->path, x->name);
	char last[STATE_MAX] = "";
	const char *now;
	bool found;
	int64_t at, soon = now_ms() + HINT_MS;
	int ms;

	if (x->init.pid > 0)
		fd_free(&x->init.pidfd);
	x->init.pid = 0;
	x->port = fd;
	if (x->c == NULL && !op_open(x))
		_exit(WORKER_LIMIT);
	if (!watch.anew || is_stopped(watch.state))
		memcpy(last, watch.state, sizeof(last));
	for (;;) {
		at = now_ms();
		if ((*last == '\0' || is_stopped(last)) && !op_monitored(x))
			now = "STOPPED";
		else
			now = is_stopped(last) ? "STARTING"
					       : op_next_state(x, last, &at);
		if (strcmp(now, last) != 0) {
			found = op_find_init(x, now);
			watcher_tell(fd, at, now, last);
			if (found)
				worker_born(
				    x, STREAM_CONSOLE, 0, (int[]){-1, -1, -1});
			soon = now_ms() + HINT_MS;
		}
		snprintf(last, sizeof(last), "%s", now);
		ms = now_ms() < soon ? LOOK_SOON_MS : LOOK_MS;
		if (watcher_pause(fd, hints, config, is_stopped(now) ? ms : 0))
			soon = now_ms() + HINT_MS;
	}
}

/* --- The port: states -------------------------------------------------- */

static void
tell_state(void)
{
	struct etf_writer *w = frame_begin("event", 2);

	etf_put_tuple(w, 2);
	etf_put_atom(w, "state");
	etf_put_string(w, watch.state);
	frame_end();
}

/* Subscribers are answered when there is a state to start from: what changes
 * from then on is an event. Not for ever, as a monitor may be stuck; then the
 * first state is one too. */
static void
tell_watching(void)
{
	struct etf_writer *w = frame_begin("event", 2);

	etf_put_atom(w, "watching");
	frame_end();
	watch.answer = 0;
	watch.late = watch.state[0] == '\0';
}

static void
watch_begin(void)
{
	watch.worker = watcher_fork();
	watch.retry = now_ms() + RETRY_MS;
}

/* The watcher, if it pauses, looks at once. */
static void
watch_wake(void)
{
	if (watch.worker != NULL)
		send(watch.worker->fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void
watch_hint(void)
{
	if (is_stopped(watch.state))
		watch_wake();
}

/* A guardian's init is known without its monitor, which may be stuck. */
static void
watch_guarded(void)
{
	const struct ward *ward = port_ward(0, now_ms());
	struct ns_init init;

	if (watch.init.fd >= 0 || ward == NULL || ward->init == 0 ||
	    ns_identify(ward->init, &init) != 0)
		return;
	if (ns_parent(init.pid) == ward->monitor)
		watch_init(&init);
	fd_free(&init.pidfd);
}

bool
watch_command(uint32_t id, const char *name)
{
	const bool on = strcmp(name, "watch") == 0;

	if (!on && strcmp(name, "unwatch") != 0)
		return false;
	if (watch.wanted == NULL)
		watch.wanted = mmap(NULL, sizeof(bool), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (watch.wanted == MAP_FAILED) {
		watch.wanted = NULL;
		port_raise(id, "system_limit");
		return true;
	}
	*watch.wanted = on;
	port_answer(id, NULL);
	if (on)
		watch_guarded();
	if (!on) {
		watch.answer = 0;
		watch_wake();
	} else if (watch.state[0] != '\0') {
		tell_watching();
	} else if (watch.answer == 0) {
		watch.answer = now_ms() + ANSWER_MS;
	}
	return true; /* watch_timeout() does the rest */
}

bool
watch_is(const struct source *worker)
{
	return worker == watch.worker;
}

static void
init_over(void)
{
	source_close(&watch.init);
	watch.died = 0;
	watch.runs = false;
}

/* It may be found again. */
static void
init_forget(void)
{
	init_over();
	watch.id.pid = 0;
}

static void
init_tell(bool known, int status)
{
	struct etf_writer *w = frame_begin("event", 2);

	etf_put_tuple(w, 2);
	etf_put_atom(w, "exited");
	put_status(w, known, status);
	frame_end();
	init_over();
	if (watch.ward != NULL)
		watch.ward->told = watch.id.pid;
}

/* Who has it from a guardian, or will have. */
static bool
guarded(int64_t at)
{
	return at <= watch.over || port_ward(0, at) != NULL;
}

/* The death that a state comes of is told before it, if it is known already; if
 * it was too early for init to be found, and there is no guardian, there is
 * nobody else to tell it. */
void
watch_state(const void *data, size_t len)
{
	const bool first = watch.state[0] == '\0';
	struct seen seen;

	if (len != sizeof(seen))
		return;
	memcpy(&seen, data, len);
	watch.at = seen.at;
	watch.anew = false;
	if (strcmp(seen.state, watch.state) == 0)
		return;
	if (watch.init.fd >= 0 && polled(watch.init.fd, POLLIN, 0))
		watch.init.ready(&watch.init);
	else if (watch.init.fd < 0 && watch.runs &&
		 strncmp(seen.state, "STOP", 4) == 0)
		init_tell(false, 0);
	if (strcmp(seen.state, "RUNNING") == 0 &&
	    (first || strcmp(watch.state, "STARTING") == 0))
		watch.runs = !guarded(seen.at);
	memcpy(watch.state, seen.state, sizeof(watch.state));
	if (!first || watch.late)
		tell_state();
	if (first && watch.answer != 0)
		tell_watching();
	watch.late = false;
}

void
watch_lost(bool failed)
{
	watch.worker = NULL;
	watch.retry = failed ? now_ms() + RETRY_MS : 0;
	if (!*watch.wanted) {
		watch.state[0] = '\0';
		init_forget();
	}
}

void
watch_renew(void)
{
	if (watch.worker != NULL)
		shutdown(watch.worker->fd, SHUT_WR);
	watch.worker = NULL;
	watch.retry = 0;
	watch.anew = true;
	init_forget();
}

/* --- The port: init's end ---------------------------------------------- */

/* Of an attached container the guardian knows, in the end. */
static void
init_settle(void)
{
	int status;

	if (ns_exit_status(&watch.id, &status))
		init_tell(true, status);
	else if (watch.ward == NULL && now_ms() - watch.died >= STATUS_MS)
		init_tell(false, 0);
}

/* It is dead, and then, by EPOLLHUP, reaped, which is when the kernel tells its
 * status; Linux 6.15. */
static void
init_ready(struct source *src)
{
	if (watch.died == 0)
		watch.died = now_ms();
	source_want(src, 0);
	init_settle();
}

/* One that is found when it is dead is its guardian's to tell, who may have done
 * so. Of two, the first has ended: if no guardian will, nobody else tells it. */
void
watch_init(const struct ns_init *init)
{
	struct ward *ward = port_ward(init->pid, 0);

	if ((watch.id.pid == init->pid && watch.id.start == init->start) ||
	    (ward != NULL && ward->told == init->pid))
		return;
	if (ward != NULL && ward->over != 0 && ward->over <= watch.over)
		ward = NULL;
	if (ward == NULL && guarded(watch.at) && polled(init->pidfd, POLLIN, 0))
		return;
	if (watch.init.fd >= 0)
		init_settle();
	if (watch.init.fd >= 0 && (watch.ward == NULL || watch.ward == ward))
		init_tell(false, 0);
	init_over();
	watch.id = *init;
	watch.ward = ward;
	if (ward != NULL)
		ward->told = 0;
	watch.init.fd = watch.id.pidfd = fcntl(init->pidfd, F_DUPFD_CLOEXEC, 3);
	if (!source_add(&watch.init, EPOLLIN, init_ready))
		source_close(&watch.init);
}

/* Of an end that was told already, or that the kernel knows and a monitor that
 * was killed does not. What is open may be one that has rebooted before. */
bool
watch_ended(const struct ward *ward)
{
	const bool open = watch.ward == ward && watch.init.fd >= 0;

	watch.over = ward->over;
	if (open && ward->last != watch.id.pid)
		init_settle();
	if (open && watch.init.fd >= 0 && ward->last != watch.id.pid &&
	    ward->last != 0)
		init_tell(false, 0);
	if (open)
		init_over();
	return ward->told == 0 || (ward->last != 0 && ward->last != ward->told);
}

void
watch_forget(const struct ward *ward)
{
	if (ward != NULL && ward->over > watch.over)
		watch.over = ward->over; /* of a start that has failed */
	if (watch.ward == ward)
		watch.ward = NULL;
}

void
watch_forked(void)
{
	fd_free(&watch.init.fd);
}

/* --- The port: time ---------------------------------------------------- */

static int
sooner(int ms, int64_t at)
{
	const int64_t left = at - now_ms();

	return ms >= 0 && ms < left ? ms : left > 0 ? (int)left : 0;
}

int
watch_timeout(void)
{
	const int64_t now = now_ms();
	int ms = -1;

	if (watch.wanted == NULL)
		return -1;
	if (*watch.wanted && watch.worker == NULL && watch.retry <= now)
		watch_begin();
	if (watch.answer != 0 && watch.answer <= now)
		tell_watching();
	if (watch.died != 0)
		init_settle();
	if (*watch.wanted && watch.worker == NULL)
		ms = sooner(ms, watch.retry);
	if (watch.answer != 0)
		ms = sooner(ms, watch.answer);
	if (watch.died != 0 && watch.ward == NULL)
		ms = sooner(ms, watch.died + STATUS_MS);
	return ms;
}
