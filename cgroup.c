/* SPDX-License-Identifier: ISC */
/*
 * Control groups, version 1 and 2: what a container has used, and what is left
 * of one.
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
#include <stdio.h>
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
cgroup_sweep(const char *name, bool busy)
{
	for (int turn = 0; turn < PURGE_TURNS && sweep_once(name) && busy;
	     turn++)
		usleep(TURN_US);
}

/* --- What a container has used ------------------------------------------ */

#define UNKNOWN UINT64_MAX               /* this kernel does not count it */
#define UNLIMITED (UINT64_MAX - 1)       /* version 2 says "max" */
#define V1_UNLIMITED 0x7fffffffffff0000u /* bytes, in the largest of pages */

/* Where a number is: a hierarchy of version 1, or if there is none that of
 * version 2. */
enum place { V2, CPU, CPUACCT, MEMORY, PIDS, BLKIO, PLACES };

struct usage {
	char cgroups[16384]; /* init's /proc/PID/cgroup */
	int dirs[PLACES];    /* -1: there is none */
};

/* The numbers, in the order of the answer. A file's number is the sum of those
 * behind each word `field`, "": its first; `per` of them are one of version 2.
 * A limit of version 1 is that of memory and swap, `less` that of memory. */
static const struct counter {
	const char *group, *key;
	enum place place;
	unsigned per;
	const char *file, *field;
	const char *file2, *field2;
	const char *less;
} counters[] = {
    {"cpu", "usage_us", CPUACCT, 1000, "cpuacct.usage", "", "cpu.stat",
	"usage_usec "},
    {"cpu", "user_us", CPUACCT, 1000, "cpuacct.usage_user", "", "cpu.stat",
	"user_usec "},
    {"cpu", "system_us", CPUACCT, 1000, "cpuacct.usage_sys", "", "cpu.stat",
	"system_usec "},
    {"cpu", "periods", CPU, 1, "cpu.stat", "nr_periods ", "cpu.stat",
	"nr_periods "},
    {"cpu", "throttled", CPU, 1, "cpu.stat", "nr_throttled ", "cpu.stat",
	"nr_throttled "},
    {"cpu", "throttled_us", CPU, 1000, "cpu.stat", "throttled_time ",
	"cpu.stat", "throttled_usec "},
    {"memory", "usage", MEMORY, 1, "memory.usage_in_bytes", "",
	"memory.current", ""},
    {"memory", "peak", MEMORY, 1, "memory.max_usage_in_bytes", "",
	"memory.peak", ""},
    {"memory", "limit", MEMORY, 1, "memory.limit_in_bytes", "", "memory.max",
	""},
    {"memory", "anon", MEMORY, 1, "memory.stat", "total_rss ", "memory.stat",
	"anon "},
    {"memory", "file", MEMORY, 1, "memory.stat", "total_cache ", "memory.stat",
	"file "},
    {"memory", "oom_kills", MEMORY, 1, "memory.oom_control", "oom_kill ",
	"memory.events", "oom_kill "},
    {"swap", "usage", MEMORY, 1, "memory.stat", "total_swap ",
	"memory.swap.current", ""},
    {"swap", "limit", MEMORY, 1, "memory.memsw.limit_in_bytes", "",
	"memory.swap.max", "", "memory.limit_in_bytes"},
    {"pids", "current", PIDS, 1, "pids.current", "", "pids.current", ""},
    {"pids", "limit", PIDS, 1, "pids.max", "", "pids.max", ""},
    {"io", "read_bytes", BLKIO, 1, "blkio.throttle.io_service_bytes_recursive",
	"Read ", "io.stat", "rbytes="},
    {"io", "write_bytes", BLKIO, 1, "blkio.throttle.io_service_bytes_recursive",
	"Write ", "io.stat", "wbytes="},
    {"io", "reads", BLKIO, 1, "blkio.throttle.io_serviced_recursive", "Read ",
	"io.stat", "rios="},
    {"io", "writes", BLKIO, 1, "blkio.throttle.io_serviced_recursive", "Write ",
	"io.stat", "wios="},
};
#define COUNTERS (sizeof(counters) / sizeof(*counters))

/* The container's directory in the hierarchy of `controller`, "": version 2; or
 * -1, also where it has none of its own. Init itself may be further down. */
static int
usage_dir(const char *cgroups, const char *controller)
{
	AUTO_STRING text = strdup(cgroups);
	char *rest = text, *line, *list, *path;
	size_t len;

	while ((line = strsep(&rest, "\n")) != NULL) {
		list = cgroup_line(line, &path);
		if (list == NULL || (*list == '\0') != (*controller == '\0') ||
		    (*list != '\0' && !cgroup_has(list, controller)))
			continue;
		len = container_part(list, path);
		if (len == 0 && path[1] != '\0' &&
		    !is_ours(list, path, strlen(path)))
			len = strlen(path);
		path[len] = '\0';
		return len > 0 ? hierarchy_open(list, path) : -1;
	}
	return -1;
}

static void
usage_open(struct usage *u, pid_t init)
{
	static const char *const names[PLACES] = {
	    "", "cpu", "cpuacct", "memory", "pids", "blkio"};

	cgroup_read(init, u->cgroups, sizeof(u->cgroups));
	for (int i = 0; i < PLACES; i++)
		u->dirs[i] = usage_dir(u->cgroups, names[i]);
}

static void
usage_close(struct usage *u)
{
	for (int i = 0; i < PLACES; i++)
		fd_free(&u->dirs[i]);
}

/* A cgroup's file as text of less than `size` bytes; false: it has none. */
static bool
file_read(int dir, const char *file, char *text, size_t size)
{
	AUTO_FD fd = openat(dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = -1;

	while (fd >= 0 && len < size - 1 &&
	       (n = read(fd, text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	return n >= 0;
}

static uint64_t
number_parse(const char *text)
{
	char *end;
	const uint64_t n = strtoull(text, &end, 10);

	if (strncmp(text, "max", 3) == 0 || n >= V1_UNLIMITED)
		return UNLIMITED;
	return end == text ? UNKNOWN : n;
}

/* The sum of the numbers behind the word `field`, `none` if there is none. */
static uint64_t
field_sum(const char *text, const char *field, uint64_t none)
{
	uint64_t sum = 0;
	bool found = false;

	if (*field == '\0')
		return number_parse(text);
	for (const char *p = text; (p = strstr(p, field)) != NULL; p++)
		if (p == text || p[-1] == ' ' || p[-1] == '\n') {
			sum += number_parse(p + strlen(field));
			found = true;
		}
	return found ? sum : none;
}

static uint64_t
counter_read(const struct usage *u, const struct counter *c)
{
	const bool v1 = u->dirs[c->place] >= 0;
	const int dir = u->dirs[v1 ? c->place : V2];
	/* A device is listed once it was used. */
	const uint64_t none = c->place == BLKIO ? 0 : UNKNOWN;
	char text[16384];
	uint64_t n, less;

	if (!file_read(dir, v1 ? c->file : c->file2, text, sizeof(text)))
		return UNKNOWN;
	n = field_sum(text, v1 ? c->field : c->field2, none);
	if (!v1 || n >= UNLIMITED)
		return n;
	n /= c->per;
	if (c->less == NULL)
		return n;
	if (!file_read(dir, c->less, text, sizeof(text)))
		return UNKNOWN;
	less = number_parse(text);
	return n > less ? n - less : 0;
}

static void
put_number(struct etf_writer *w, uint64_t n)
{
	if (n >= UNLIMITED)
		etf_put_atom(w, n == UNKNOWN ? "undefined" : "infinity");
	else
		etf_put_uint(w, n);
}

/* Pressure stall information: #{some => #{avg10, ...}, full => ...}. */
static void
put_pressure(struct etf_writer *w, int dir, const char *file)
{
	static const char *const keys[] = {"avg10", "avg60", "avg300"};
	static const char *const kinds[] = {"some", "full"};
	unsigned long long total = 0;
	char text[1024];
	const char *line;
	double avg[3];
	bool known;

	file_read(dir, file, text, sizeof(text));
	etf_put_map(w, 2);
	for (int k = 0; k < 2; k++) {
		line = strstr(text, kinds[k]);
		known = line != NULL &&
			sscanf(line + 4,
			    " avg10=%lf avg60=%lf avg300=%lf total=%llu",
			    &avg[0], &avg[1], &avg[2], &total) == 4;
		etf_put_atom(w, kinds[k]);
		etf_put_map(w, 4);
		for (int i = 0; i < 3; i++) {
			etf_put_atom(w, keys[i]);
			if (known)
				etf_put_float(w, avg[i]);
			else
				etf_put_atom(w, "undefined");
		}
		etf_put_atom(w, "total_us");
		put_number(w, known ? total : UNKNOWN);
	}
}

/* The pairs of the six groups. */
static void
put_usage(struct etf_writer *w, const struct usage *u)
{
	static const char *const files[] = {
	    "cpu.pressure", "memory.pressure", "io.pressure"};
	static const char *const keys[] = {"cpu", "memory", "io"};
	size_t end;

	for (size_t i = 0; i < COUNTERS; i = end) {
		for (end = i; end < COUNTERS && strcmp(counters[end].group,
						    counters[i].group) == 0;)
			end++;
		etf_put_atom(w, counters[i].group);
		etf_put_map(w, (uint32_t)(end - i));
		for (size_t k = i; k < end; k++) {
			etf_put_atom(w, counters[k].key);
			put_number(w, counter_read(u, &counters[k]));
		}
	}
	etf_put_atom(w, "pressure");
	etf_put_map(w, 3);
	for (int i = 0; i < 3; i++) {
		etf_put_atom(w, keys[i]);
		put_pressure(w, u->dirs[V2], files[i]);
	}
}

void
cgroup_put_stats(struct etf_writer *w, pid_t init)
{
	struct usage u;

	usage_open(&u, init);
	put_usage(w, &u);
	usage_close(&u);
}

/* The number alone. */
static void
put_counter(struct etf_writer *w, const struct usage *u, const char *group,
    const char *key)
{
	for (size_t i = 0; i < COUNTERS; i++)
		if (strcmp(counters[i].group, group) == 0 &&
		    strcmp(counters[i].key, key) == 0)
			put_number(w, counter_read(u, &counters[i]));
}

void
cgroup_put_usage(struct etf_writer *w, pid_t init)
{
	struct usage u = {.dirs = {-1, -1, -1, -1, -1, -1}};

	if (init > 0)
		usage_open(&u, init);
	etf_put_atom(w, "cpu_us");
	put_counter(w, &u, "cpu", "usage_us");
	etf_put_atom(w, "memory");
	put_counter(w, &u, "memory", "usage");
	usage_close(&u);
}
