/* SPDX-License-Identifier: ISC */
/*
 * The rows that change containers on disk; the table that they are in would be
 * too long for one file.
 */
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "erlxc.h"

#ifdef HAVE_LXC

/* In the directory of what is being copied to, until that is whole. Not liblxc's
 * own `partial`: some of its versions would destroy, with the rootfs that the
 * configuration has at the time, which may be the original's. */
#define MARK "/.erlxc-partial"
#define WHY_HELD "it is being created or copied"
#define WHY_HALF "half created or copied: destroy it first"
#define WHY_UNREAD "the configuration on disk cannot be loaded"
#define TELL_US 100000 /* between two looks at what copies */

/* --- The lock ------------------------------------------------------------ */
/* The file that liblxc locks, and leaves. Its locks (fcntl(2)) are others, and
 * of one step each: of two creates the second would remove what the first has
 * half done, and a container can be started while it is destroyed. */
void
op_lock_open(struct erlxc *x)
{
	const char *run = geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");
	const char *home = run || !getenv("HOME") ? "" : getenv("HOME");
	AUTO_STRING file = format("%s%s/lxc/lock/%s/.%s", home,
	    run ? run : "/.cache/lxc/run", x->path, x->name);
	int fd;

	if (file == NULL)
		return;
	for (char *p = strchr(file + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		mkdir(file, 0755);
		*p = '/';
	}
	fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	x->lock = fd > 0 ? fd : 0;
}

bool
op_lock(struct erlxc *x)
{
	bool ok;

	if (x->lock == 0)
		op_lock_open(x);
	op_deadline(LOCK_WAIT_MS, 0);
	ok = x->lock > 0 && flock(x->lock, LOCK_EX) == 0;
	op_deadline(-1, 0);
	return ok;
}

void
op_unlock(struct erlxc *x)
{
	if (x->lock > 0) {
		flock(x->lock, LOCK_UN);
		close(x->lock);
	}
	x->lock = 0;
}

/* --- What there is ------------------------------------------------------- */
/* A file that marks: its lock is held by whoever is at work. */
static enum partial
marked(const struct erlxc *x, const char *tail)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	AUTO_STRING file = op_file(x, tail);
	AUTO_FD fd = file ? open(file, O_RDWR | O_CLOEXEC | O_NONBLOCK) : -1;

	if (fd < 0)
		return PARTIAL_NONE;
	if (fcntl(fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
		return PARTIAL_LEFT;
	return PARTIAL_HELD;
}

enum partial
op_partial(const struct erlxc *x)
{
	const enum partial p = marked(x, "/partial");

	return p != PARTIAL_NONE ? p : marked(x, MARK);
}

/* Another container, without a handle as yet. */
static struct erlxc
other(const struct erlxc *x, char *name, char *path)
{
	struct erlxc o = *x;

	o.name = name;
	o.path = path;
	o.c = NULL;
	o.ward = NULL;
	return o;
}

/* A monitor that does not answer must not hold what is never killed. */
static bool
stopped(struct lxc_container *c)
{
	bool ok;

	op_deadline(QUERY_TIMEOUT_MS, WORKER_TIMEOUT);
	ok = op_is_stopped(c);
	op_deadline(-1, 0);
	return ok;
}

/* The lxcpath of the snapshots, malloc'd. The first is from before LXC 1.0. */
static char *
snaps_path(const struct erlxc *x)
{
	AUTO_STRING old = format("%ssnaps", x->path);

	return old && access(old, F_OK) == 0 ? format("%s/%s", old, x->name)
					     : op_file(x, "/snaps");
}

static int
snaps_filter(const struct dirent *d)
{
	return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

/* Calls `each` with every snapshot, half made ones too. False: one call was. */
static bool
snaps_each(struct erlxc *x, bool (*each)(struct erlxc *snap, void *), void *arg)
{
	AUTO_STRING path = snaps_path(x);
	struct dirent **list = NULL;
	const int n =
	    path ? scandir(path, &list, snaps_filter, versionsort) : 0;
	struct erlxc snap;
	bool ok = path != NULL;

	for (int i = 0; i < n; i++) {
		snap = other(x, list[i]->d_name, path);
		ok = each(&snap, arg) && ok;
		op_close(&snap);
		free(list[i]);
	}
	free(list);
	return ok;
}

/* Adds to a list for people. */
static void
words_add(char **words, const char *word)
{
	AUTO_STRING old = *words;

	*words = old ? format("%s, %s", old, word) : strdup(word);
}

static bool
snap_name(struct erlxc *snap, void *names)
{
	words_add(names, snap->name);
	return true;
}

/* liblxc's list of the clones that share the rootfs: a path and a name, a line
 * each, or once only their number. Malloc'd, NULL: there are none. */
static char *
dependents(const struct erlxc *x)
{
	AUTO_STRING file = op_file(x, "/lxc_snapshots");
	AUTO_FILE f = file ? fopen(file, "re") : NULL;
	AUTO_STRING path = NULL, *name = NULL;
	size_t psize = 0, nsize = 0;
	char *names = NULL;

	while (f && getline(&path, &psize, f) > 0) {
		AUTO_STRING both = NULL;

		path[strcspn(path, "\n")] = '\0';
		if (getline(&name, &nsize, f) < 0) {
			if (strcmp(path, "0") != 0)
				words_add(&names, path);
			break;
		}
		name[strcspn(name, "\n")] = '\0';
		both = format("%s/%s", path, name);
		words_add(&names, both ? both : name);
	}
	return names;
}

/* Why the rootfs must stay, malloc'd, or NULL. */
static char *
needed(struct erlxc *x, bool snapshots)
{
	AUTO_STRING clones = dependents(x), *snaps = NULL;

	if (clones != NULL)
		return format("clones depend on it: %s", clones);
	if (snapshots)
		snaps_each(x, snap_name, &snaps);
	return snaps ? format("it has snapshots: %s", snaps) : NULL;
}

static const char *
because(int number, const char *why)
{
	errno = number;
	return why;
}

/* Why it cannot be copied, with errno, or NULL: liblxc would say nothing, crash,
 * or without a rootfs change the propagation of the host's mounts. */
static const char *
copy_refuse(struct erlxc *x, bool running)
{
	struct lxc_container *c = x->c;
	const enum partial p = op_partial(x);
	AUTO_STRING rootfs = NULL;

	if (p == PARTIAL_HELD)
		return because(EBUSY, WHY_HELD);
	if (p == PARTIAL_LEFT)
		return because(EINVAL, WHY_HALF);
	if (x->unread)
		return because(EINVAL, WHY_UNREAD);
	if (!c->is_defined(c) || c->lxc_conf == NULL)
		return because(ENOENT, "not defined");
	rootfs = op_fetch(c, c->get_config_item, "lxc.rootfs.path");
	if (rootfs == NULL || *rootfs == '\0')
		return because(EINVAL, "it has no rootfs");
	if (!stopped(c) && !running)
		return because(EBUSY, "it is running");
	return NULL;
}

/* --- Copies --------------------------------------------------------------- */
struct busy {
	pid_t pid;
	unsigned long long bytes; /* that it has written */
	char comm[32];
};

/* Of the programs that run below `pid`, the one that has written most. */
static void
busiest(pid_t pid, struct busy *most)
{
	char text[1024], *p = text, *end, io[512], *wchar;
	struct busy b;

	snprintf(io, sizeof(io), "task/%d/children", pid);
	ns_proc_read(pid, io, text, sizeof(text));
	for (; (b.pid = (pid_t)strtol(p, &end, 10)) > 0; p = end) {
		if (b.pid == getpid())
			continue;
		ns_proc_read(b.pid, "io", io, sizeof(io));
		wchar = strstr(io, "wchar: ");
		b.bytes = wchar ? strtoull(wchar + 7, NULL, 10) : 0;
		ns_proc_read(b.pid, "comm", b.comm, sizeof(b.comm));
		b.comm[strcspn(b.comm, "\n")] = '\0';
		if (strncmp(b.comm, "erlxc-", 6) != 0 && *b.comm != '\0' &&
		    (most->pid == 0 || b.bytes > most->bytes))
			*most = b;
		busiest(b.pid, most);
	}
}

/*
 * A process beside a copy whose progress is wanted. liblxc keeps what its
 * programs print to itself, and rsync prints nothing: so it tells which of them
 * is at work, and how much that has written. It has none of the job's locks, is
 * killed when the copy is done, and ends with the job. Returns its pid, or -1.
 */
static pid_t
teller_fork(void)
{
	const pid_t job = getpid(), pid = fork();
	struct busy b, last = {.pid = 0};

	if (pid != 0)
		return pid;
	prctl(PR_SET_NAME, "erlxc-teller");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	syscall(SYS_close_range, 3u, ~0u, 0u);
	for (; getppid() == job; usleep(TELL_US)) {
		b = (struct busy){.pid = 0};
		busiest(job, &b);
		if (b.pid == 0 || (b.pid == last.pid && b.bytes == last.bytes))
			continue;
		last = b;
		dprintf(STDOUT_FILENO, "%s: %llu bytes\n", b.comm, b.bytes);
	}
	_exit(0);
}

static void
teller_end(pid_t teller)
{
	if (teller <= 0)
		return;
	kill(teller, SIGKILL);
	while (waitpid(teller, NULL, 0) < 0 && errno == EINTR)
		;
}

/* Takes the place for a copy, and marks it. Returns the mark, or -1 with errno.
 * It is inherited by all that copy, rsync too: while one of them lives, nobody
 * else begins with what they work at. `again`: in what hollow() has left. */
static int
copy_begin(const struct erlxc *to, bool again)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	AUTO_STRING dir = op_file(to, ""), *file = op_file(to, MARK);
	int mark;

	if (dir == NULL || file == NULL ||
	    (mkdir(dir, 0770) < 0 && !(again && errno == EEXIST)))
		return -1;
	mark = open(file, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (mark >= 0)
		fcntl(mark, F_OFD_SETLK, &lock);
	return mark;
}

static bool
copy_make(struct call *call, struct lxc_container *c, struct erlxc *to,
    int flags, const char *type)
{
	const char *data = call->text[3];
	const pid_t teller = call->x->progress ? teller_fork() : -1;

	to->c = c->clone(c, to->name, to->path, flags,
	    type && *type ? type : NULL, data && *data ? data : NULL,
	    call->options.size, call->argv.n > 0 ? call->argv.v : NULL);
	teller_end(teller);
	return to->c != NULL;
}

static void
copy_end(struct erlxc *to, int mark, bool ok)
{
	AUTO_STRING file = op_file(to, MARK);

	op_close(to);
	if (ok && file != NULL)
		unlink(file);
	close(mark);
	if (!ok)
		op_discard(to);
}

/* All of a copy; false for a reason stated, or in the log. */
static bool
copy(struct call *call, struct lxc_container *c, struct erlxc *to, int flags,
    const char *type, bool again)
{
	const struct erlxc *x = call->x;
	AUTO_STRING why = NULL;
	int mark;
	bool ok;

	/* Nobody creates what is copied to; its lock is another, or x's. */
	if (strcmp(to->name, x->name) != 0 || strcmp(to->path, x->path) != 0)
		to->lock = 0;
	if (!op_lock(to)) {
		op_fail(call, "another process is changing the other one");
		return false;
	}
	mark = copy_begin(to, again);
	if (mark < 0) {
		why = errno != EEXIST ? format("%s - %s/%s", strerror(errno),
					    to->path, to->name)
				      : strdup(op_partial(to) == PARTIAL_LEFT
						   ? WHY_HALF
						   : "the name is taken");
		op_fail(call, why);
		return false;
	}
	ok = copy_make(call, c, to, flags, type);
	copy_end(to, mark, ok);
	return ok;
}

void
op_clone(struct call *call, struct lxc_container *c)
{
	struct erlxc *x = call->x;
	char *const path = *call->text[1] ? call->text[1] : x->path;
	struct erlxc to = other(x, call->text[0], path);
	const int flags = call->number;
	const char *why = copy_refuse(x, flags & LXC_CLONE_ALLOW_RUNNING);

	if (flags & LXC_CLONE_MAXFLAGS)
		op_raise(call, "badarg"); /* no flag */
	else
		op_reply_bool(call,
		    !why && copy(call, c, &to, flags, call->text[2], false),
		    why);
}

/* A copy and a destruction, as liblxc's own is: but while both are there, the
 * new one is whole. */
void
op_rename(struct call *call, struct lxc_container *c)
{
	struct erlxc *x = call->x;
	struct erlxc to = other(x, call->text[0], x->path);
	const char *why = copy_refuse(x, false);
	AUTO_STRING used = why ? NULL : needed(x, true);
	AUTO_STRING managed =
	    op_fetch(c, c->get_config_item, "lxc.rootfs.managed");

	if (why == NULL && managed != NULL && strcmp(managed, "0") == 0)
		why = "lxc.rootfs.managed is 0";
	why = why ? why : used;
	op_reply_bool(call,
	    !why && copy(call, c, &to, LXC_CLONE_KEEPMACADDR, NULL, false) &&
		op_discard(x),
	    why);
}

/* The same kind of storage, by sharing where it can. */
#define SNAPSHOT_FLAGS \
	(LXC_CLONE_SNAPSHOT | LXC_CLONE_MAYBE_SNAPSHOT | LXC_CLONE_KEEPBDEVTYPE)

/* --- Snapshots ------------------------------------------------------------ */
/* When it was made, and what is to be remembered of it: its files `ts` and
 * `comment`, as liblxc writes them. */
static bool
snap_notes(const struct erlxc *snap, int comment)
{
	AUTO_STRING ts = op_file(snap, "/ts"),
		    *text = op_file(snap, "/comment");
	AUTO_FILE f = ts ? fopen(ts, "we") : NULL;
	const time_t now = time(NULL);
	char stamp[32];
	struct tm tm;
	struct stat st;
	AUTO_FD out = -1;
	off_t at = 0;

	strftime(
	    stamp, sizeof(stamp), "%Y:%m:%d %H:%M:%S", localtime_r(&now, &tm));
	if (f == NULL || fputs(stamp, f) < 0 || fflush(f) != 0)
		return false;
	if (comment < 0)
		return true;
	out = text ? open(text, O_WRONLY | O_CREAT | O_CLOEXEC, 0644) : -1;
	if (out < 0 || fstat(comment, &st) < 0)
		return false;
	while (at < st.st_size)
		if (sendfile(out, comment, &at, (size_t)(st.st_size - at)) <= 0)
			return false;
	return true;
}

/* The comment's file, -1 for none. False: it cannot be read, with errno. */
static bool
comment_open(const char *path, int *fd)
{
	struct stat st;

	*fd = *path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
	if (*path == '\0' ||
	    (*fd >= 0 && fstat(*fd, &st) == 0 && S_ISREG(st.st_mode)))
		return true;
	errno = *fd >= 0 ? EINVAL : errno;
	return false;
}

/* The first free name, taken. Returns the mark, or -1 with errno. */
static int
snap_begin(struct erlxc *snap, char *name, size_t size)
{
	int mark;

	if (snap->path == NULL ||
	    (mkdir(snap->path, 0755) < 0 && errno != EEXIST))
		return -1;
	for (int i = 0;; i++) {
		snprintf(name, size, "snap%d", i);
		mark = copy_begin(snap, false);
		if (mark >= 0 || errno != EEXIST)
			return mark;
	}
}

/* liblxc's own leaves no trace that would tell a half made one from a whole one,
 * and is -1 for a whole one when there is no such comment. */
void
op_snapshot(struct call *call, struct lxc_container *c)
{
	const int flags =
	    SNAPSHOT_FLAGS | LXC_CLONE_KEEPMACADDR | LXC_CLONE_KEEPNAME;
	AUTO_STRING path = snaps_path(call->x);
	char name[32];
	struct erlxc snap = other(call->x, name, path);
	const char *why = copy_refuse(call->x, false);
	AUTO_FD comment = -1;
	int mark = -1, number = 0;
	bool ok;

	if (why == NULL &&
	    (!comment_open(call->text[0], &comment) ||
		(mark = snap_begin(&snap, name, sizeof(name))) < 0))
		why = strerror(errno);
	if (why != NULL) {
		op_reply_errno(call, errno, why);
		return;
	}
	ok = copy_make(call, c, &snap, flags, NULL);
	if (ok && !snap_notes(&snap, comment)) {
		number = errno;
		ok = false;
	}
	copy_end(&snap, mark, ok);
	if (!ok) {
		rmdir(path); /* when it was the first */
		op_reply_errno(call, number, number ? strerror(number) : NULL);
		return;
	}
	etf_put_tuple(&call->result, 2);
	etf_put_atom(&call->result, "ok");
	etf_put_string(&call->result, name);
}

static int
snap_compare(const void *a, const void *b)
{
	return strverscmp(((const struct lxc_snapshot *)a)->name,
	    ((const struct lxc_snapshot *)b)->name);
}

static void
put_pair(struct etf_writer *w, const char *key, const char *value)
{
	etf_put_atom(w, key);
	etf_put_string(w, value ? value : "");
}

/* Half made ones are none. */
void
op_snapshot_list(struct call *call, struct lxc_container *c)
{
	struct lxc_snapshot *snaps = NULL, *s;
	const int n = c->snapshot_list(c, &snaps);
	struct etf_writer *w = &call->result;
	struct erlxc snap;

	if (n < 0)
		op_fail(call, c->is_defined(c) ? NULL : "not defined");
	if (n > 0)
		qsort(snaps, (size_t)n, sizeof(*snaps), snap_compare);
	for (s = snaps; s < snaps + (n > 0 ? n : 0); s++) {
		const char *comment = s->comment_pathname;

		snap = other(call->x, s->name, s->lxcpath);
		if (op_partial(&snap) == PARTIAL_NONE) {
			etf_put_list(w, 1);
			etf_put_map(w, 4);
			put_pair(w, "name", s->name);
			put_pair(w, "comment",
			    comment && !access(comment, F_OK) ? comment : "");
			put_pair(w, "timestamp", s->timestamp);
			put_pair(w, "lxcpath", s->lxcpath);
		}
		s->free(s);
	}
	etf_put_nil(w);
	free(snaps);
}

/* True for a rootfs that is a directory within the container's own, not another
 * kind of storage there: all of it is gone when the directory is. */
static bool
rootfs_plain(struct erlxc *x)
{
	AUTO_STRING rootfs =
	    op_fetch(x->c, x->c->get_config_item, "lxc.rootfs.path");
	AUTO_STRING dir = op_file(x, "/");
	struct stat top, st;

	if (rootfs == NULL || *rootfs == '\0')
		return true;
	return dir != NULL && strncmp(rootfs, dir, strlen(dir)) == 0 &&
	       strstr(rootfs, "/../") == NULL && stat(dir, &top) == 0 &&
	       (stat(rootfs, &st) < 0
		       ? strchr(rootfs, ':') == NULL
		       : S_ISDIR(st.st_mode) && st.st_dev == top.st_dev);
}

/* Removes all that is in a container's directory but its snapshots, and nothing
 * elsewhere: without a configuration liblxc knows of no rootfs. */
static bool
hollow(struct erlxc *x)
{
	AUTO_STRING file = op_file(x, "/config");

	if (file == NULL || (!op_file_exists(x, "") && errno == ENOENT))
		return file != NULL;
	mknod(file, S_IFREG | 0600, 0);
	if (!op_open(x))
		return false;
	x->c->clear_config(x->c);
	return x->c->destroy(x->c);
}

/* In its own place. For storage that is more than a directory liblxc's, which
 * knows what to leave of an overlay. It begins by destroying, and so do we: cut
 * short, by a kill or a full disk, that leaves no container, and the call after
 * it goes on here. */
static bool
restore_own(struct call *call, struct erlxc *snap, struct erlxc *to)
{
	struct erlxc *x = call->x;
	const bool plain = op_open(x) && rootfs_plain(x) && rootfs_plain(snap);

	if (plain)
		return hollow(x) &&
		       copy(call, snap->c, to, SNAPSHOT_FLAGS, NULL, true);
	if (x->c != NULL && copy_refuse(x, false) == NULL)
		return x->c->snapshot_restore(x->c, snap->name, NULL);
	op_fail(call, "half restored: restore it by another name");
	return false;
}

void
op_snapshot_restore(struct call *call, struct lxc_container *c)
{
	struct erlxc *x = call->x;
	AUTO_STRING path = snaps_path(x), *used = NULL;
	struct erlxc snap = other(x, call->text[0], path);
	char *const name = *call->text[1] ? call->text[1] : x->name;
	const bool own = strcmp(name, x->name) == 0;
	struct erlxc to = other(x, name, x->path);
	const char *why = NULL;
	bool ok = false;

	if (path == NULL || !op_file_exists(&snap, "/config"))
		why = "no such snapshot";
	else if (own && op_partial(x) == PARTIAL_HELD)
		why = WHY_HELD;
	else if (own && !stopped(c))
		why = "it is running";
	else if (own && (used = needed(x, false)) != NULL)
		why = used;
	else if (op_open(&snap))
		why = copy_refuse(&snap, false);
	if (why == NULL && snap.c != NULL)
		ok = own ? restore_own(call, &snap, &to)
			 : copy(call, snap.c, &to, SNAPSHOT_FLAGS, NULL, false);
	op_reply_bool(call, ok, why);
	op_close(&snap);
}

/* --- The end --------------------------------------------------------------- */
static bool
snap_destroy(struct erlxc *snap, void *arg)
{
	(void)arg;
	return op_discard(snap);
}

static bool
snaps_destroy(struct erlxc *x)
{
	AUTO_STRING path = snaps_path(x);
	const bool ok = snaps_each(x, snap_destroy, NULL);

	if (path != NULL)
		rmdir(path);
	return ok;
}

bool
op_remove(struct erlxc *x)
{
	AUTO_STRING used = op_open(x) ? needed(x, false) : NULL;

	if (used == NULL)
		snaps_destroy(x);
	return op_discard(x);
}

/* Whoever is at work has the container's lock, too, which is ours: so what is
 * held belongs to what was killed, and is dying, or whose keeper is gone. */
static enum partial
settled(const struct erlxc *x)
{
	enum partial p = op_partial(x);

	for (int i = 0; p == PARTIAL_HELD && i < LOCK_WAIT_MS / 10; i++) {
		usleep(10000);
		p = op_partial(x);
	}
	return p;
}

/* With its snapshots, or not at all when it has some. What liblxc would refuse
 * only after they are gone, it refuses here before. */
static void
destroy(struct call *call, struct erlxc *x, bool snapshots)
{
	const enum partial p = settled(x);
	const bool defined = p != PARTIAL_NONE || op_file_exists(x, "/config");
	AUTO_STRING dir = op_file(x, "");
	AUTO_STRING used = needed(x, !snapshots), *managed = NULL;
	const char *why = p == PARTIAL_HELD ? WHY_HELD
			  : !defined        ? "not defined"
					    : NULL;

	if (why == NULL && op_open(x)) {
		managed =
		    op_fetch(x->c, x->c->get_config_item, "lxc.rootfs.managed");
		why = !stopped(x->c) ? "it is running"
		      : p == PARTIAL_NONE && managed && !strcmp(managed, "0")
			  ? "lxc.rootfs.managed is 0"
			  : used;
	}
	if (!defined && dir != NULL && rmdir(dir) == 0)
		op_reply_bool(call, true, NULL); /* no copy has come further */
	else
		op_reply_bool(call,
		    !why && (!snapshots || snaps_destroy(x)) && op_discard(x),
		    why);
}

void
op_destroy(struct call *call, struct lxc_container *c)
{
	(void)c;
	destroy(call, call->x, false);
}

void
op_destroy_with_snapshots(struct call *call, struct lxc_container *c)
{
	(void)c;
	destroy(call, call->x, true);
}

void
op_snapshot_destroy(struct call *call, struct lxc_container *c)
{
	AUTO_STRING path = snaps_path(call->x);
	struct erlxc snap = other(call->x, call->text[0], path);

	(void)c;
	if (path == NULL || !op_file_exists(&snap, "")) {
		op_reply_bool(call, false, "no such snapshot");
		return;
	}
	destroy(call, &snap, false);
	op_close(&snap);
	rmdir(path); /* that was the last */
}

void
op_snapshot_destroy_all(struct call *call, struct lxc_container *c)
{
	(void)c;
	op_reply_bool(call, snaps_destroy(call->x), NULL);
}

/* --- Create --------------------------------------------------------------- */
/* What a create or a copy left that was killed, or that killed itself, is a
 * husk: its configuration may have another's rootfs. */
bool
op_discard(struct erlxc *x)
{
	AUTO_STRING dir = NULL, *file = NULL, *rootfs = NULL;
	struct lxc_container *c;
	enum partial p;
	bool husk, ok;

	if (!op_open(x) || !op_lock(x) || (dir = op_file(x, "/")) == NULL ||
	    (file = op_file(x, "/config")) == NULL)
		return false;
	c = x->c;
	p = op_partial(x);
	husk = p == PARTIAL_LEFT || (x->ward && x->ward->husk);
	/* Without a configuration liblxc destroys nothing. */
	if (husk && !c->is_defined(c))
		mknod(file, S_IFREG | 0600, 0);
	/* A rootfs elsewhere was there before, and stays. */
	rootfs = op_fetch(c, c->get_config_item, "lxc.rootfs.path");
	if (husk && rootfs &&
	    (strncmp(rootfs, dir, strlen(dir)) != 0 ||
		strstr(rootfs, "/../") != NULL))
		c->clear_config_item(c, "lxc.rootfs.path");
	if (husk && op_file_exists(x, "/snaps"))
		c->clear_config(c); /* which stay, see hollow() */
	else if (husk)
		c->set_config_item(c, "lxc.rootfs.managed", "1");
	ok = !c->is_defined(c);
	/* STOPPED is announced before the monitor is done. */
	for (int i = 0; i < 5 && !ok && p != PARTIAL_HELD; i++) {
		usleep(i > 0 ? 100000 : 0);
		op_deadline(LOCK_WAIT_MS, 0);
		ok = c->destroy(c);
		op_deadline(-1, 0);
		if (!c->is_defined(c) || !op_is_stopped(c))
			break;
	}
	rmdir(dir); /* create had not come further */
	return ok;
}

/* Larger than liblxc's structure is today: 6.0.6 has added a member to it. */
union specs {
	struct bdev_specs bdev;
	char room[1024];
};

static void
specs_get(union specs *specs, const struct options *o)
{
	struct bdev_specs *s = &specs->bdev;
	char *const *t = o->text;

	memset(specs, 0, sizeof(*specs));
	s->fstype = t[0];
	s->dir = t[1];
	s->zfs.zfsroot = t[2];
	s->lvm.vg = t[3];
	s->lvm.lv = t[4];
	s->lvm.thinpool = t[5];
	s->rbd.rbdname = t[6];
	s->rbd.rbdpool = t[7];
	s->fssize = o->size;
}

/* Why it cannot be created, by the configuration on disk, or NULL: another port
 * may have written that since x->c was opened, which then knows of no rootfs. */
static const char *
create_refuse(struct erlxc *x, bool template)
{
	struct erlxc now = other(x, x->name, x->path);
	AUTO_STRING there = NULL, *mine = NULL;
	const char *why = NULL;

	if (!x->c->is_defined(x->c))
		return NULL;
	if (op_open(&now) && !now.unread)
		there =
		    op_fetch(now.c, now.c->get_config_item, "lxc.rootfs.path");
	else
		why = WHY_UNREAD;
	op_close(&now);
	mine = op_fetch(x->c, x->c->get_config_item, "lxc.rootfs.path");
	if (there != NULL && *there != '\0' &&
	    (template || mine == NULL || *mine == '\0'))
		why = "it exists";
	return why;
}

/* Templates write to the log pipe (1 and 2). One that removes its configuration
 * makes liblxc crash: this process, not the port. What liblxc takes for its own
 * failed attempt it removes, so it must not begin where something is. */
void
op_create(struct call *call, struct lxc_container *c)
{
	struct erlxc *x = call->x;
	const char *template = call->text[0], *bdevtype = call->text[1];
	const enum partial p = op_partial(x);
	const bool fresh = !op_file_exists(x, "");
	const bool old = op_file_exists(x, "/rootfs");
	const char *why;
	char *none[] = {NULL};
	union specs specs;
	bool ok = false;

	why = p == PARTIAL_HELD                      ? WHY_HELD
	      : p == PARTIAL_LEFT                    ? WHY_HALF
	      : x->unread                            ? WHY_UNREAD
	      : *template && old && c->is_defined(c) ? "it exists"
	      : !op_is_stopped(c)                    ? "it is running"
				  : create_refuse(x, *template != '\0');
	specs_get(&specs, &call->options);
	if (x->unread && op_path_why(x) != NULL)
		why = op_path_why(x);
	if (why == NULL) {
		x->ward->husk =
		    *template != '\0' && !old && !op_file_exists(x, "/config");
		ok = c->create(c, *template ? template : NULL,
		    *bdevtype ? bdevtype : NULL, &specs.bdev, call->number,
		    call->argv.n > 0 ? call->argv.v : none);
		x->ward->husk = false; /* liblxc has cleaned up by itself */
		if (!ok && fresh)
			op_dir_discard(x);
		if (!ok)
			why = op_path_why(x);
	}
	op_reply_bool(call, ok, why);
}

/* --- Checkpoints ----------------------------------------------------------- */
/* What criu says of why, in the log that liblxc has it write: the lines there
 * that tell of errors. Malloc'd; NULL: there is none of after `since`. */
static char *
criu_why(const char *dir, int command, const struct timespec *since)
{
	const char *action = command == MIGRATE_RESTORE    ? "restore"
			     : command == MIGRATE_PRE_DUMP ? "pre-dump"
							   : "dump";
	AUTO_STRING file = format("%s/%s.log", dir, action), *line = NULL;
	AUTO_FILE f = file ? fopen(file, "re") : NULL;
	char *why = NULL, *text;
	struct stat st;
	size_t size = 0;

	if (f == NULL || fstat(fileno(f), &st) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_mtim.tv_sec < since->tv_sec ||
	    (st.st_mtim.tv_sec == since->tv_sec &&
		st.st_mtim.tv_nsec < since->tv_nsec))
		return NULL;
	while (getline(&line, &size, f) > 0)
		if ((text = strstr(line, "Error (")) != NULL) {
			line[strcspn(line, "\n")] = '\0';
			words_add(&why, text);
		}
	return why;
}

/* checkpoint, restore, migrate: by criu, which liblxc runs. What is restored has
 * a monitor that this process has forked, and that stays when it exits. */
void
op_migrate(struct call *call, struct lxc_container *c)
{
	const struct options *o = &call->options;
	const char *name = call->op->name;
	const bool map = *name == 'm';
	const int command = map            ? call->number
			    : *name == 'c' ? MIGRATE_DUMP
					   : MIGRATE_RESTORE;
	const bool restores = command == MIGRATE_RESTORE;
	struct migrate_opts opts = {
	    .directory = map ? o->text[0] : call->text[0],
	    .predump_dir = o->text[1],
	    .pageserver_address = o->text[2],
	    .pageserver_port = o->text[3],
	    .action_script = o->text[4],
	    .ghost_limit = o->size,
	    .stop = o->flag[0] && !restores,
	    .verbose = o->flag[*name != 'r'],
	    .preserves_inodes = o->flag[2],
	    .disable_skip_in_flight = o->flag[3]};
	AUTO_STRING criu = NULL;
	const char *why = NULL;
	struct timespec since;
	bool ok;

	if (opts.directory == NULL || *opts.directory != '/') {
		op_raise(call, "badarg");
		return;
	}
	if (!c->is_defined(c) || c->lxc_conf == NULL)
		why = "not defined";
	else if (op_partial(call->x) != PARTIAL_NONE)
		why = WHY_HALF;
	else if (stopped(c) != restores)
		why = restores ? "it is running" : "not running";
	clock_gettime(CLOCK_REALTIME_COARSE, &since);
	ok = !why && c->migrate(c, (unsigned)command, &opts, sizeof(opts)) == 0;
	if (!ok && !why)
		why = criu = criu_why(opts.directory, command, &since);
	op_reply_bool(call, ok, why);
}

#endif
