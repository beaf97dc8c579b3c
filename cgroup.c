/* SPDX-License-Identifier: ISC */
/*
 * Control groups, version 1 and 2.
 *
 * What a killed LXC monitor leaves are its cgroups. Their names came from
 * /proc/PID/cgroup while it lived; nothing but a directory that bears liblxc's
 * own name, and that this process is not in, is ever touched.
 */
#include <sys/stat.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

#include "erlxc.h"

#define CGROUP_DEPTH 32  /* levels below a container's own cgroup */
#define PURGE_MAX 64     /* a monitor's and an init's, in 32 hierarchies */
#define PURGE_TURNS 1000 /* of TURN_US: what a kill may take to show */
#define SWEEP_MAX 20     /* names liblxc may have given, two kinds */
#define TURN_US 10000
#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

void
cgroup_read(pid_t pid, char *text, size_t size)
{
	size_t len = ns_proc_read(pid, "cgroup", text, size);

	/* Half a line would name another cgroup. */
	while (len > 0 && text[len - 1] != '\n')
		len--;
	text[len] = '\0';
}

char *
cgroup_line(char *line, char **path)
{
	char *controllers = strchr(line, ':');

	*path = controllers ? strchr(++controllers, ':') : NULL;
	if (*path == NULL)
		return NULL;
	*(*path)++ = '\0';
	return controllers;
}

/* mountinfo(5) writes space, tab, newline and backslash as \ooo. */
static void
unescape(char *s)
{
	char *d = s;
	unsigned c;
	int n;

	for (; *s != '\0'; s += n) {
		if (*s != '\\' || sscanf(s, "\\%3o%n", &c, &n) != 1) {
			c = (unsigned char)*s;
			n = 1;
		}
		*d++ = (char)c;
	}
	*d = '\0';
}

char *
cgroup_mounts(void)
{
	AUTO_FILE f = fopen("/proc/self/mountinfo", "re");
	AUTO_STRING line = NULL;
	char *text = NULL;
	size_t size = 0, len = 0;
	FILE *out = open_memstream(&text, &len);

	while (f != NULL && out != NULL && getline(&line, &size, f) > 0)
		if (strstr(line, " - cgroup") != NULL)
			fputs(line, out);
	if (out != NULL)
		fclose(out);
	return text;
}

bool
cgroup_has(const char *list, const char *words)
{
	const size_t len = strcspn(words, ",");

	for (; list != NULL; list = strchr(list, ',')) {
		list += *list == ',';
		if (strncmp(list, words, len) == 0 &&
		    (list[len] == ',' || list[len] == '\0'))
			return true;
	}
	return false;
}

char *
cgroup_find(
    const char *mounts, const char *controllers, char *path, char *point)
{
	char root[PATH_MAX], type[32], options[256];
	const char *line = mounts, *tail;
	size_t len;

	for (; line != NULL && *line != '\0'; line = strchr(line, '\n') + 1) {
		tail = strstr(line, " - ");
		if (tail == NULL ||
		    sscanf(tail, " - %31s %*s %255s", type, options) != 2 ||
		    strcmp(type, *controllers ? "cgroup" : "cgroup2") != 0 ||
		    (*controllers && !cgroup_has(options, controllers)) ||
		    sscanf(line, "%*d %*d %*s %4095s %4095s", root, point) != 2)
			continue;
		unescape(root);
		unescape(point);
		len = strcmp(root, "/") == 0 ? 0 : strlen(root);
		if (strncmp(path, root, len) == 0 &&
		    (path[len] == '/' || path[len] == '\0'))
			return path + len;
	}
	return NULL;
}

/* The directory `path` of a hierarchy, no symbolic link on the way, or -1. */
static int
hierarchy_open(const char *controllers, char *path)
{
	AUTO_STRING mounts = cgroup_mounts();
	char point[PATH_MAX], *name;
	int fd, next;

	path = cgroup_find(mounts, controllers, path, point);
	fd = path ? open(point, DIR_FLAGS) : -1;
	while (fd >= 0 && (name = strsep(&path, "/")) != NULL) {
		if (*name == '\0')
			continue;
		next = openat(fd, name, DIR_FLAGS);
		close(fd);
		fd = next;
	}
	return fd;
}

/* True when the cgroup `path`, `len` bytes of it, is ours or above ours. */
static bool
is_ours(const char *controllers, const char *path, size_t len)
{
	char own[16384], *rest = own, *line, *list, *at;

	cgroup_read(getpid(), own, sizeof(own));
	while ((line = strsep(&rest, "\n")) != NULL) {
		list = cgroup_line(line, &at);
		if (list != NULL && strcmp(list, controllers) == 0)
			return strncmp(at, path, len) == 0 &&
			       (at[len] == '/' || at[len] == '\0');
	}
	return true;
}

/*
 * The length of `path` up to and with liblxc's directory for the container, or
 * 0. One that the port itself is in does not count. Below the first that counts
 * all is the container's own, who may use any name.
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

	if (fd >= 0)
		dprintf(fd, "%s", text);
}

/* Kills all in this one cgroup. Frozen processes die when thawed. */
static void
cgroup_kill(int dir)
{
	int fd = openat(dir, "cgroup.procs", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	AUTO_FILE f = fd >= 0 ? fdopen(fd, "r") : NULL;
	int pid;

	if (f == NULL)
		fd_free(&fd);
	write_at(dir, "cgroup.kill", "1");
	while (f != NULL && fscanf(f, "%d", &pid) == 1)
		if (pid > 1 && pid != getpid())
			kill(pid, SIGKILL);
	write_at(dir, "freezer.state", "THAWED");
	write_at(dir, "cgroup.freeze", "0");
}

/* Kills what is in parent/name and below, and removes it. */
static bool
cgroup_remove(int parent, const char *name, int depth)
{
	int fd = openat(parent, name, DIR_FLAGS);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	if (fd >= 0)
		cgroup_kill(fd);
	while (dir != NULL && depth < CGROUP_DEPTH && (e = readdir(dir)))
		if (e->d_type == DT_DIR && strcmp(e->d_name, ".") != 0 &&
		    strcmp(e->d_name, "..") != 0)
			cgroup_remove(fd, e->d_name, depth + 1);
	if (dir != NULL)
		closedir(dir);
	else
		fd_free(&fd);
	return unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

struct cgroup {
	int parent; /* the directory that it is in; -1: no more to do */
	char name[NAME_MAX + 1];
};

/* The container's cgroup by a line of /proc/PID/cgroup; false: none. */
static bool
line_parse(char *line, struct cgroup *cg)
{
	char *path, *last;
	const char *controllers = cgroup_line(line, &path);
	const size_t len = controllers ? container_part(controllers, path) : 0;

	if (len == 0)
		return false;
	path[len] = '\0';
	last = strrchr(path, '/');
	*last = '\0';
	snprintf(cg->name, sizeof(cg->name), "%s", last + 1);
	cg->parent = hierarchy_open(controllers, path);
	return cg->parent >= 0;
}

/*
 * True when there is no more to do about it. A monitor that was killed before
 * its payload was `known` has one of the same number beside it. That may be
 * another container's by now: it is removed only when it is empty.
 */
static bool
cgroup_empty(struct cgroup *cg, bool known)
{
	char beside[sizeof(cg->name)] = "lxc.payload.";
	bool gone = cgroup_remove(cg->parent, cg->name, 0);

	strcpy(beside + 12, cg->name + 12);
	gone &= known || unlinkat(cg->parent, beside, AT_REMOVEDIR) == 0 ||
		errno != EBUSY;
	if (gone)
		fd_free(&cg->parent);
	return gone;
}

/*
 * Every turn is over all hierarchies, for a process leaves none of its cgroups
 * before the one that it is frozen in has thawed.
 */
void
cgroup_purge(const char *cgroups)
{
	const bool known = strstr(cgroups, "/lxc.payload.") != NULL;
	struct cgroup cg[PURGE_MAX];
	AUTO_STRING text = strdup(cgroups);
	char *rest = text, *line;
	int n = 0, left = 1;

	while (n < PURGE_MAX && (line = strsep(&rest, "\n")) != NULL)
		n += line_parse(line, &cg[n]);
	for (int turn = 0; turn < PURGE_TURNS && left > 0; turn++) {
		left = 0;
		for (int i = 0; i < n; i++)
			left +=
			    cg[i].parent >= 0 && !cgroup_empty(&cg[i], known);
		if (left > 0)
			usleep(TURN_US);
	}
	for (int i = 0; i < n; i++)
		fd_free(&cg[i].parent);
}

/* One look: true when there was one that something is still in. */
static bool
sweep_once(const char *name)
{
	static const char *const kinds[] = {"lxc.monitor", "lxc.payload"};
	char text[16384], dir[NAME_MAX + 32];
	char *rest = text, *line, *list, *path, *tail;
	bool busy = false;

	cgroup_read(1, text, sizeof(text));
	while ((line = strsep(&rest, "\n")) != NULL) {
		AUTO_FD fd = -1;

		list = cgroup_line(line, &path);
		if (list != NULL && (tail = strstr(path, "/init.scope")))
			*tail = '\0';
		if (list != NULL)
			fd = hierarchy_open(list, path);
		for (int i = 0; fd >= 0 && i < SWEEP_MAX; i++) {
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
 * A monitor killed before it is in the directories that it made leaves some
 * that nothing tells of, beside init's. What was killed with it may be in one
 * until the kernel is done with its mounts: seconds, when that is busy.
 */
void
cgroup_sweep(const char *name)
{
	for (int turn = 0; turn < PURGE_TURNS && sweep_once(name); turn++)
		usleep(TURN_US);
}
