/* SPDX-License-Identifier: ISC */
/*
 * The rows that are about all containers of a lxcpath: lists, which ask no
 * monitor, and the survey, which asks each for a second at most.
 */
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <search.h>
#include <string.h>

#include "erlxc.h"

#ifdef HAVE_LXC

#define SURVEY_MS 1000 /* for a monitor's answer to a survey */
#define SURVEY_MAX 256 /* monitors that are asked at once */

/* --- Rows: lists ------------------------------------------------------- */
/* liblxc's own sorts its list anew for each name in it. */
static bool
list_defined(const char *path, struct strings *l)
{
	char file[NAME_MAX + sizeof("/config")];
	const struct dirent *e;
	DIR *d = opendir(path);
	bool ok = d != NULL;

	while (ok && (e = readdir(d)) != NULL) {
		snprintf(file, sizeof(file), "%s/config", e->d_name);
		if (strcmp(e->d_name, ".") != 0 &&
		    strcmp(e->d_name, "..") != 0 &&
		    faccessat(dirfd(d), file, F_OK, 0) == 0)
			ok = strings_add(l, strdup(e->d_name));
	}
	if (d != NULL)
		closedir(d);
	return ok;
}

/* By the command sockets. liblxc's own list takes a space in the path for its
 * end, and asks the monitor of every container with a hashed socket. */
static bool
list_active(const char *path, struct strings *l)
{
	AUTO_FILE f = fopen("/proc/net/unix", "re");
	AUTO(strings_free) struct strings defined = {0};
	AUTO_STRING line = NULL;
	size_t size = 0;
	char *sock, *name;
	bool ok = f != NULL;

	list_defined(path, &defined); /* an unreadable path has none */
	while (ok && getline(&line, &size, f) > 0) {
		if ((sock = strchr(line, '@')) == NULL)
			continue;
		sock[strcspn(sock, "\n")] = '\0';
		name = monitor_owner(path, sock + 1, &defined);
		/* A socket is there once for each of its connections. */
		if (name != NULL &&
		    lfind(&name, l->v, &l->n, sizeof(*l->v), strings_cmp))
			free(name);
		else if (name != NULL)
			ok = strings_add(l, name);
	}
	return ok;
}

/* list_defined_containers, list_active_containers, list_all_containers */
void
op_list(struct call *call, struct lxc_container *c)
{
	const char *name = call->op->name, *path = call->text[0];
	const bool defined = strncmp(name, "list_ac", 7) != 0;
	const bool active = strncmp(name, "list_de", 7) != 0;
	AUTO(strings_free) struct strings l = {0};

	(void)c;
	if (*path == '\0')
		path = op_default_path(call->x) ? call->x->path : "";
	if ((defined && !list_defined(path, &l)) ||
	    (active && !list_active(path, &l)))
		op_fail(call, NULL);
	if (l.n > 0)
		qsort(l.v, l.n, sizeof(*l.v), strings_cmp);
	op_reply_strings(call, &l);
}

/* --- Rows: a survey ----------------------------------------------------- */
/* What a container's monitor says, of nothing but that. */
struct surveyed {
	char state[16]; /* "": it does not say */
	pid_t monitor, init;
};

/* A container's monitor, or 0: there is none, or another user listens there. It
 * need not accept for that. unix(7), SO_PEERCRED. */
static pid_t
monitor_pid(const char *path, const char *name)
{
	AUTO_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a;
	const socklen_t len = monitor_address(path, name, &a);
	struct ucred peer = {0};

	if (fd >= 0 && len > 0 &&
	    connect(fd, (const struct sockaddr *)&a, len) == 0 &&
	    monitor_trusted(fd, path))
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer,
		    &(socklen_t){sizeof(peer)});
	return peer.pid;
}

/*
 * A process for each container, since a monitor may never answer: it leaves what
 * it has learnt in `s` and ends, after SURVEY_MS at the latest, and with this
 * one. A bare handle asks as well as any, and waits for no lock.
 */
static pid_t
survey_fork(const char *path, const char *name, struct surveyed *s)
{
	const pid_t self = getpid(), pid = fork();
	struct lxc_container *c;
	const char *text;

	if (pid != 0)
		return pid;
	child_begin("erlxc-survey", self, true);
	op_deadline(SURVEY_MS, WORKER_TIMEOUT);
	s->monitor = monitor_pid(path, name);
	c = s->monitor > 0 ? op_bare_new(name, path) : NULL;
	text = c ? op_state_of(c) : NULL;
	if (text != NULL && strcmp(text, "STOPPED") != 0)
		s->init = c->init_pid(c);
	if (text != NULL)
		snprintf(s->state, sizeof(s->state), "%s", text);
	_exit(0);
}

static void
survey_ask(const char *path, const struct strings *l, struct surveyed *s)
{
	pid_t pids[SURVEY_MAX];
	size_t n;

	for (size_t i = 0; i < l->n; i += n) {
		for (n = 0; n < SURVEY_MAX && i + n < l->n; n++)
			pids[n] = survey_fork(path, l->v[i + n], &s[i + n]);
		for (size_t k = 0; k < n; k++)
			while (pids[k] > 0 && waitpid(pids[k], NULL, 0) < 0 &&
			       errno == EINTR)
				;
	}
}

/* A number, or undefined when it is none. */
static void
put_known(struct etf_writer *w, const char *key, int64_t n, int64_t least)
{
	etf_put_atom(w, key);
	if (n >= least)
		etf_put_int(w, n);
	else
		etf_put_atom(w, "undefined");
}

/* What a monitor that does not answer would have said, its child tells. */
static void
put_surveyed(struct etf_writer *w, const char *name, const struct surveyed *s)
{
	pid_t init = s && s->init > 1 ? s->init : 0;

	if (s != NULL && *s->state == '\0' && s->monitor > 1)
		init = ns_init_of(s->monitor);
	etf_put_map(w, 7);
	etf_put_atom(w, "name");
	etf_put_string(w, name);
	etf_put_atom(w, "state");
	if (s != NULL && *s->state == '\0')
		etf_put_atom(w, "unknown");
	else
		etf_put_string(w, s ? s->state : "STOPPED");
	put_known(w, "pid", init, 2);
	put_known(w, "uptime", init > 0 ? ns_uptime(init) : -1, 0);
	etf_put_atom(w, "addresses");
	ns_put_addresses(w, init);
	cgroup_put_usage(w, init);
}

/* All containers of a path. Only those are asked that have a monitor. */
void
op_survey(struct call *call, struct lxc_container *c)
{
	const char *path = call->text[0];
	AUTO(strings_free) struct strings all = {0}, active = {0};
	struct surveyed *s;
	char **at;

	(void)c;
	if (*path == '\0')
		path = op_default_path(call->x) ? call->x->path : "";
	list_defined(path, &all);
	list_active(path, &active);
	s = mmap(NULL, (active.n + 1) * sizeof(*s), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED) {
		op_raise(call, "system_limit");
		return;
	}
	survey_ask(path, &active, s);
	for (size_t i = 0; i < active.n; i++)
		if (lfind(&active.v[i], all.v, &all.n, sizeof(*all.v),
			strings_cmp) == NULL)
			strings_add(&all, strdup(active.v[i]));
	if (all.n > 0)
		qsort(all.v, all.n, sizeof(*all.v), strings_cmp);
	etf_put_list(&call->result, (uint32_t)all.n);
	for (size_t i = 0; i < all.n; i++) {
		at = lfind(&all.v[i], active.v, &active.n, sizeof(*active.v),
		    strings_cmp);
		put_surveyed(
		    &call->result, all.v[i], at ? s + (at - active.v) : NULL);
	}
	etf_put_nil(&call->result);
}

#endif
