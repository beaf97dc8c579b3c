/* SPDX-License-Identifier: ISC */
/*
 * Namespaces and cgroups, without liblxc.
 *
 * What a killed LXC monitor leaves are its cgroups. Their names came from
 * /proc/PID/cgroup while it lived; nothing but a directory that bears liblxc's
 * own name, and that this process is not in, is ever touched.
 */
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "erlxc.h"

#define CGROUP_DEPTH 32 /* levels below a container's own cgroup */
#define PURGE_MAX 64 /* cgroups: a monitor's and an init's, in 32 hierarchies */
#define SWEEP_MAX 20 /* names liblxc may have given, two kinds */
#define PURGE_TURNS 100 /* of 10 ms: what a kill may take to show */
#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static void
dir_free(DIR **d)
{
	if (*d != NULL)
		closedir(*d);
}

/* --- Finding a cgroup -------------------------------------------------- */

void
ns_cgroup_read(pid_t pid, char *text, size_t size)
{
	AUTO_FD fd = -1;
	char path[32];
	size_t len = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && len < size - 1 &&
	       (n = read(fd, text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	/* Half a line would name another cgroup. */
	while (len > 0 && text[len - 1] != '\n')
		len--;
	text[len] = '\0';
}

/* True when the comma-separated `list` has `word`. */
static bool
list_has(const char *list, const char *word)
{
	const size_t len = strcspn(word, ",");

	for (; *list != '\0'; list += *list == ',') {
		const size_t n = strcspn(list, ",\n");

		if (n == len && strncmp(list, word, len) == 0)
			return true;
		list += n;
		if (*list == '\n')
			break;
	}
	return false;
}

/* mountinfo(5) writes space, tab, newline and backslash as \ooo. */
static void
unescape(char *s)
{
	char *d = s;

	for (; *s != '\0'; s++, d++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] &&
		    s[3]) {
			*d = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 |
				    (s[3] - '0'));
			s += 3;
		} else {
			*d = *s;
		}
	}
	*d = '\0';
}

/*
 * Where the hierarchy with `controllers` ("" for version 2) is mounted: the
 * root that is mounted there into `root`, the place into `point`.
 */
static bool
hierarchy_find(const char *controllers, char *root, char *point)
{
	AUTO_FILE f = fopen("/proc/self/mountinfo", "re");
	AUTO_STRING line = NULL;
	char type[32], options[256];
	size_t size = 0;
	char *tail;

	while (f != NULL && getline(&line, &size, f) > 0) {
		if (sscanf(line, "%*d %*d %*s %4095s %4095s", root, point) !=
			2 ||
		    (tail = strstr(line, " - ")) == NULL ||
		    sscanf(tail, " - %31s %*s %255s", type, options) != 2)
			continue;
		if (*controllers == '\0' ? strcmp(type, "cgroup2") == 0
					 : strcmp(type, "cgroup") == 0 &&
					       list_has(options, controllers)) {
			unescape(root);
			unescape(point);
			return true;
		}
	}
	return false;
}

/* True when the cgroup `path`, `len` bytes of it, is ours or above ours. */
static bool
is_ours(const char *controllers, const char *path, size_t len)
{
	char own[16384], *line, *next;

	ns_cgroup_read(getpid(), own, sizeof(own));
	for (line = own; (next = strchr(line, '\n')) != NULL; line = next + 1) {
		char *list = strchr(line, ':');
		char *at = list ? strchr(list + 1, ':') : NULL;

		if (at == NULL || at > next)
			return true;
		*at++ = '\0';
		if (strcmp(list + 1, controllers) == 0)
			return strncmp(at, path, len) == 0 &&
			       (at[len] == '/' || at[len] == '\n');
	}
	return true;
}

/*
 * The length of `path` up to and with liblxc's directory for the container, or
 * 0. A port may itself live in a container: directories that it is in do not
 * count. Below the first one that counts all is the container's own, who may
 * use any name.
 */
static size_t
container_part(const char *controllers, const char *path)
{
	const char *part, *end;

	if (strstr(path, "/../") != NULL)
		return 0;
	for (part = path; *part == '/'; part = end) {
		end = part + 1 + strcspn(part + 1, "/");
		if ((strncmp(part, "/lxc.payload.", 13) == 0 ||
			strncmp(part, "/lxc.monitor.", 13) == 0) &&
		    !is_ours(controllers, path, (size_t)(end - path)))
			return (size_t)(end - path);
	}
	return 0;
}

/* --- Emptying a cgroup ------------------------------------------------- */

static void
write_at(int dir, const char *file, const char *text)
{
	AUTO_FD fd = openat(dir, file, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0 && write(fd, text, strlen(text)) < 0)
		return; /* the kill below is tried all the same */
}

/* Kills all in this one cgroup. Frozen processes die when thawed. */
static void
cgroup_kill(int dir)
{
	AUTO_FILE f = NULL;
	AUTO_FD fd =
	    openat(dir, "cgroup.procs", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int pid;

	write_at(dir, "cgroup.kill", "1");
	if (fd < 0 || (f = fdopen(fd, "r")) == NULL)
		return;
	fd = -1;
	while (fscanf(f, "%d", &pid) == 1)
		if (pid > 1 && pid != getpid())
			kill(pid, SIGKILL);
	write_at(dir, "freezer.state", "THAWED");
	write_at(dir, "cgroup.freeze", "0");
}

/* Kills what is in parent/name and below, and removes it. */
static bool
cgroup_remove(int parent, const char *name, int depth)
{
	AUTO_FD fd = openat(parent, name, DIR_FLAGS);
	AUTO(dir_free) DIR *dir = NULL;
	struct dirent *e;
	int self;

	if (fd < 0)
		return errno == ENOENT;
	cgroup_kill(fd);
	self = dup(fd);
	if (depth < CGROUP_DEPTH && self >= 0 &&
	    (dir = fdopendir(self)) != NULL) {
		while ((e = readdir(dir)) != NULL)
			if (e->d_type == DT_DIR &&
			    strcmp(e->d_name, ".") != 0 &&
			    strcmp(e->d_name, "..") != 0)
				cgroup_remove(fd, e->d_name, depth + 1);
	} else if (self >= 0) {
		close(self);
	}
	return unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

/* The directory `path` below `root`, no symbolic link on the way. */
static int
dir_open(const char *root, char *path)
{
	int fd = open(root, DIR_FLAGS), next;
	char *save = NULL;

	for (char *p = strtok_r(path, "/", &save); fd >= 0 && p != NULL;
	     p = strtok_r(NULL, "/", &save)) {
		next = openat(fd, p, DIR_FLAGS);
		close(fd);
		fd = next;
	}
	return fd;
}

struct cgroup {
	int parent; /* the directory that it is in */
	char name[NAME_MAX + 1];
	bool ours; /* what is in it is killed */
};

/* The container's cgroup by a line "ID:CONTROLLERS:PATH"; false: none. */
static bool
line_parse(char *line, struct cgroup *cg)
{
	char root[PATH_MAX], point[PATH_MAX];
	char *controllers = strchr(line, ':');
	char *path = controllers ? strchr(controllers + 1, ':') : NULL;
	char *last;
	size_t len;

	if (path == NULL)
		return false;
	*path++ = '\0';
	controllers++;
	if ((len = container_part(controllers, path)) == 0 ||
	    !hierarchy_find(controllers, root, point))
		return false;
	path[len] = '\0';
	len = strcmp(root, "/") == 0 ? 0 : strlen(root);
	last = strrchr(path, '/');
	if (strncmp(path, root, len) != 0 || path + len > last)
		return false;
	snprintf(cg->name, sizeof(cg->name), "%s", last + 1);
	*last = '\0';
	cg->ours = true;
	cg->parent = dir_open(point, path + len);
	return cg->parent >= 0;
}

/*
 * A monitor that was killed before its payload was known has one of the same
 * number beside it. That may be another container's by now: it is removed only
 * when it is empty.
 */
static bool
payload_beside(const struct cgroup *monitor, struct cgroup *cg)
{
	*cg = *monitor;
	cg->parent = fcntl(monitor->parent, F_DUPFD_CLOEXEC, 0);
	cg->ours = false;
	memcpy(cg->name, "lxc.payload.", 12);
	return cg->parent >= 0;
}

/* True when there is no more to do about it. */
static bool
cgroup_purge(struct cgroup *cg)
{
	if (cg->ours ? !cgroup_remove(cg->parent, cg->name, 0)
		     : unlinkat(cg->parent, cg->name, AT_REMOVEDIR) < 0 &&
			   errno == EBUSY)
		return false;
	close(cg->parent);
	cg->parent = -1;
	return true;
}

/*
 * Every turn is over all hierarchies, for a process leaves none of its cgroups
 * before the one that it is frozen in has thawed.
 */
void
ns_cgroup_purge(const char *cgroups)
{
	const struct timespec step = {.tv_nsec = 10000000};
	const bool known = strstr(cgroups, "/lxc.payload.") != NULL;
	struct cgroup cg[PURGE_MAX];
	AUTO_STRING text = strdup(cgroups);
	char *save = NULL;
	int n = 0, left = 1;

	for (char *line = text ? strtok_r(text, "\n", &save) : NULL;
	     line != NULL && n < PURGE_MAX - 1;
	     line = strtok_r(NULL, "\n", &save))
		if (line_parse(line, &cg[n]) && ++n > 0 && !known)
			n += payload_beside(&cg[n - 1], &cg[n]);
	for (int turn = 0; turn < PURGE_TURNS && left > 0; turn++) {
		left = 0;
		for (int i = 0; i < n; i++)
			left += cg[i].parent >= 0 && !cgroup_purge(&cg[i]);
		if (left > 0)
			nanosleep(&step, NULL);
	}
	for (int i = 0; i < n; i++)
		fd_free(&cg[i].parent);
}

/* One look: true when there was one that something is still in. */
static bool
sweep_once(const char *name)
{
	static const char *const kinds[] = {"lxc.monitor", "lxc.payload"};
	char text[16384], root[PATH_MAX], point[PATH_MAX], dir[NAME_MAX + 32];
	char *save = NULL, *path, *tail;
	bool busy = false;

	ns_cgroup_read(1, text, sizeof(text));
	for (char *line = strtok_r(text, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		AUTO_FD fd = -1;

		line = strchr(line, ':') + 1;
		path = strchr(line, ':');
		*path++ = '\0';
		if ((tail = strstr(path, "/init.scope")) != NULL)
			*tail = '\0';
		if (!hierarchy_find(line, root, point) ||
		    (fd = dir_open(point, path)) < 0)
			continue;
		for (int i = 0; i < SWEEP_MAX; i++) {
			snprintf(dir, sizeof(dir), i < 2 ? "%s.%s" : "%s.%s-%d",
			    kinds[i % 2], name, i / 2);
			if (unlinkat(fd, dir, AT_REMOVEDIR) < 0 &&
			    errno == EBUSY)
				busy = true;
		}
	}
	return busy;
}

/*
 * liblxc makes its directories before the monitor is in one, so that one killed
 * early has left some that nothing tells of. Empty ones only are removed,
 * beside init's, where liblxc makes them. What was killed just now may still be
 * in one, or come out of making another: there are three looks at least.
 */
void
ns_cgroup_sweep(const char *name)
{
	const struct timespec step = {.tv_nsec = 10000000};

	for (int turn = 0; turn < PURGE_TURNS / 2; turn++) {
		if (!sweep_once(name) && turn >= 2)
			return;
		nanosleep(&step, NULL);
	}
}

/* --- Processes --------------------------------------------------------- */

#define PF_FORKNOEXEC 0x40 /* proc(5), stat: has not executed a program */

/* A file of /proc/PID, of less than `size` bytes, as text; false: none. */
static bool
proc_read(pid_t pid, const char *name, char *text, size_t size)
{
	char file[64];
	AUTO_FD fd = -1;
	ssize_t n;

	snprintf(file, sizeof(file), "/proc/%d/%s", (int)pid, name);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, size - 1);
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* /proc/PID/stat's parent and flags. */
static bool
proc_stat(pid_t pid, pid_t *parent, unsigned *flags)
{
	char text[512];
	const char *p;

	/* The program's name may hold anything, parentheses too. */
	return proc_read(pid, "stat", text, sizeof(text)) &&
	       (p = strrchr(text, ')')) != NULL &&
	       sscanf(p, ") %*c %d %*d %*d %*d %*d %u", parent, flags) == 2;
}

/* What /proc/PID/status says behind `tag`; `text` is room for it. */
static const char *
proc_status(pid_t pid, const char *tag, char *text, size_t size)
{
	const char *p =
	    proc_read(pid, "status", text, size) ? strstr(text, tag) : NULL;

	return p ? p + strlen(tag) : "";
}

/*
 * True for liblxc's own init (UseInit 1): a copy of the monitor, which executes
 * nothing itself and catches all signals before it starts the program.
 */
static bool
is_lxc_init(pid_t pid)
{
	char text[4096];
	unsigned long long caught = 0;

	return sscanf(proc_status(pid, "\nSigCgt:", text, sizeof(text)), "%llx",
		   &caught) == 1 &&
	       (caught >> (SIGUSR1 - 1) & 1) != 0;
}

pid_t
ns_parent(pid_t pid)
{
	pid_t parent;
	unsigned flags;

	return proc_stat(pid, &parent, &flags) ? parent : -1;
}

bool
ns_init_executed(pid_t pid)
{
	pid_t parent;
	unsigned flags;

	return proc_stat(pid, &parent, &flags) &&
	       (!(flags & PF_FORKNOEXEC) || is_lxc_init(pid));
}

/* --- The program itself ------------------------------------------------ */

#define CLONE 1u  /* OPEN_TREE_CLONE of <linux/mount.h> */
#define RDONLY 1u /* MOUNT_ATTR_RDONLY */

bool
ns_program_sealed(void)
{
	AUTO_FD fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	const int seals = fcntl(fd, F_GET_SEALS);
	struct statvfs vfs;

	/* A file on tmpfs has seals too, but for its first: none can be set. */
	if (seals >= 0 && (seals & F_SEAL_WRITE) != 0)
		return true;
	return fstatvfs(fd, &vfs) == 0 && (vfs.f_flag & ST_RDONLY) != 0;
}

/*
 * A detached, read-only clone of the mount that the program is on. Nobody else
 * can reach that mount; the page cache stays shared.
 */
static int
program_clone(void)
{
	struct {
		uint64_t attr_set, attr_clr, propagation, userns_fd;
	} attr = {
	    .attr_set = RDONLY}; /* struct mount_attr, not in every libc */
	const int fd = (int)syscall(
	    SYS_open_tree, AT_FDCWD, "/proc/self/exe", CLONE | O_CLOEXEC);

	if (fd >= 0 && syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr,
			   sizeof(attr)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* A sealed copy in memory: for older kernels and ordinary users. */
static int
program_copy(void)
{
	AUTO_FD from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	const int fd = memfd_create("erlxc", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ssize_t n = 1;

	while (from >= 0 && fd >= 0 && n > 0)
		n = sendfile(fd, from, NULL, 1u << 20);
	if (n == 0 &&
	    fcntl(fd, F_ADD_SEALS,
		F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

int
ns_program_seal(void)
{
	const int fd = program_clone();

	return fd >= 0 ? fd : program_copy();
}
