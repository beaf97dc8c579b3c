/* SPDX-License-Identifier: ISC */
/* Namespaces: processes, and entering a container with setns(2). */
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "erlxc.h"

#define TURN_US 10000 /* between two looks at what was killed */
#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

size_t
ns_proc_read(pid_t pid, const char *name, char *text, size_t size)
{
	AUTO_FD fd = -1;
	char path[64];
	size_t len = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && len < size - 1 &&
	       (n = read(fd, text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	return len;
}

/* --- Processes --------------------------------------------------------- */

#define PF_FORKNOEXEC 0x40 /* proc(5), stat: has not executed a program */

/* /proc/PID/stat's parent, or -1, and flags. */
static pid_t
proc_stat(pid_t pid, unsigned *flags)
{
	char text[512];
	const char *p;
	pid_t parent;

	/* The program's name may hold anything, parentheses too. */
	if (ns_proc_read(pid, "stat", text, sizeof(text)) == 0 ||
	    (p = strrchr(text, ')')) == NULL ||
	    sscanf(p, ") %*c %d %*d %*d %*d %*d %u", &parent, flags) != 2)
		return -1;
	return parent;
}

pid_t
ns_parent(pid_t pid)
{
	return proc_stat(pid, &(unsigned){0});
}

/*
 * liblxc's own init (UseInit 1) is a copy of the monitor, which executes
 * nothing itself and catches all signals before it starts the program.
 */
bool
ns_init_executed(pid_t pid)
{
	unsigned long long caught = 0;
	char text[4096];
	unsigned flags;
	const char *p;

	if (proc_stat(pid, &flags) < 0)
		return false;
	if (!(flags & PF_FORKNOEXEC))
		return true;
	ns_proc_read(pid, "status", text, sizeof(text));
	p = strstr(text, "\nSigCgt:");
	return p != NULL && sscanf(p, " SigCgt: %llx", &caught) == 1 &&
	       (caught >> (SIGUSR1 - 1) & 1) != 0;
}

enum { STAT_STATE = 3, STAT_THREADS = 20, STAT_START = 22, STAT_EXIT = 52 };

/* /proc/PID/stat by the numbers that proc(5) gives its fields. */
static bool
proc_fields(pid_t pid, unsigned long long v[STAT_EXIT + 1])
{
	char text[1024], *p, *save = NULL;
	int i = 2;

	if (!ns_proc_read(pid, "stat", text, sizeof(text)) ||
	    (p = strrchr(text, ')')) == NULL)
		return false;
	for (p = strtok_r(p, " ", &save); p != NULL && i <= STAT_EXIT; i++) {
		v[i] = i == STAT_STATE ? (uint8_t)*p : strtoull(p, NULL, 10);
		p = strtok_r(NULL, " ", &save);
	}
	return i > STAT_EXIT;
}

/* 0: there is no such process. */
static unsigned long long
proc_start(pid_t pid)
{
	unsigned long long v[STAT_EXIT + 1];

	return proc_fields(pid, v) ? v[STAT_START] : 0;
}

pid_t
ns_init_of(pid_t monitor)
{
	char name[64], text[4096], status[4096], *rest = text, *word;
	const char *p;
	pid_t pid;

	snprintf(name, sizeof(name), "task/%d/children", (int)monitor);
	ns_proc_read(monitor, name, text, sizeof(text));
	while ((word = strsep(&rest, " ")) != NULL) {
		pid = (pid_t)strtol(word, NULL, 10);
		if (pid <= 1)
			continue;
		ns_proc_read(pid, "status", status, sizeof(status));
		p = strstr(status, "\nNSpid:");
		if (p == NULL)
			continue;
		p += 7 + strcspn(p + 7, "0123456789\n"); /* the host's */
		p += strspn(p, "0123456789");
		if (strtol(p, NULL, 10) == 1)
			return pid;
	}
	return 0;
}

int64_t
ns_uptime(pid_t pid)
{
	const unsigned long long start = proc_start(pid);
	const long hz = sysconf(_SC_CLK_TCK);
	struct timespec now;

	if (start == 0 || hz <= 0 || clock_gettime(CLOCK_BOOTTIME, &now) < 0)
		return -1;
	return now.tv_sec - (int64_t)(start / (unsigned long long)hz);
}

/* --- A process's network -------------------------------------------------- */

#define NET_TEXT_MAX (256u << 10) /* what a container's /proc/net may cost */
#define ADDRESSES_MAX 32

typedef char address[INET6_ADDRSTRLEN];

static bool
address_add(address *list, uint32_t *n, const char *text)
{
	for (uint32_t i = 0; i < *n; i++)
		if (strcmp(list[i], text) == 0)
			return true;
	if (*n == ADDRESSES_MAX)
		return false;
	snprintf(list[(*n)++], sizeof(*list), "%s", text);
	return true;
}

/* The routing table has a leaf for each address: "|-- ADDRESS", and on the next
 * line "/32 host LOCAL". */
static void
addresses_v4(char *text, address *list, uint32_t *n)
{
	const char *ip = NULL, *leaf;
	char *line;

	while ((line = strsep(&text, "\n")) != NULL) {
		if ((leaf = strstr(line, "|-- ")) != NULL)
			ip = leaf + 4;
		else if (ip != NULL && strstr(line, "/32 host LOCAL") &&
			 strncmp(ip, "127.", 4) != 0)
			address_add(list, n, ip);
	}
}

/* if_inet6: 32 digits, the interface's index, the prefix, the scope, ... */
static void
addresses_v6(char *text, address *list, uint32_t *n)
{
	struct in6_addr in6;
	address ip;
	unsigned scope;
	char *line, hex[33];

	while ((line = strsep(&text, "\n")) != NULL) {
		if (sscanf(line, "%32[0-9a-f] %*x %*x %x", hex, &scope) != 2 ||
		    strlen(hex) != 32 || (scope & 0x30) != 0)
			continue;
		for (int i = 0; i < 16; i++)
			sscanf(hex + 2 * i, "%2hhx", &in6.s6_addr[i]);
		if (inet_ntop(AF_INET6, &in6, ip, sizeof(ip)) != NULL)
			address_add(list, n, ip);
	}
}

void
ns_put_addresses(struct etf_writer *w, pid_t pid)
{
	AUTO_STRING text = malloc(NET_TEXT_MAX);
	address list[ADDRESSES_MAX];
	uint32_t n = 0;

	if (text != NULL && pid > 0) {
		ns_proc_read(pid, "net/fib_trie", text, NET_TEXT_MAX);
		addresses_v4(text, list, &n);
		ns_proc_read(pid, "net/if_inet6", text, NET_TEXT_MAX);
		addresses_v6(text, list, &n);
	}
	etf_put_list(w, n);
	for (uint32_t i = 0; i < n; i++)
		etf_put_string(w, list[i]);
	etf_put_nil(w);
}

/* True when an interface's line before `line` begins as that does, up to and with
 * the colon. */
static bool
interface_told(const char *text, const char *line, size_t len)
{
	const char *at = text + 1;

	while (at < line &&
	       (at = memmem(at, (size_t)(line - at), line, len)) != NULL) {
		if (at[-1] == ' ' || at[-1] == '\n')
			return true;
		at++;
	}
	return false;
}

/* The interfaces of /proc/net/dev, after its two lines of heads: NAME, a colon
 * and 16 numbers. The pairs of a map to `w`, if that is one; their number. The
 * container may rename one while it is read, in pieces: a name comes twice then,
 * and a map with that is no term. */
static uint32_t
put_interfaces(struct etf_writer *w, const char *text)
{
	static const char *const keys[] = {"rx_bytes", "rx_packets",
	    "rx_errors", "rx_dropped", "tx_bytes", "tx_packets", "tx_errors",
	    "tx_dropped"};
	const char *line = text, *name, *colon;
	uint64_t v[16];
	uint32_t n = 0;
	char *p;

	/* The last line may be half of one, without its end. */
	for (; strchr(line, '\n') != NULL; line = strchr(line, '\n') + 1) {
		colon = line + strcspn(line, ":\n");
		name = line + strspn(line, " ");
		if (*colon != ':' ||
		    interface_told(text, name, (size_t)(colon - name) + 1))
			continue;
		n++;
		if (w == NULL)
			continue;
		p = (char *)colon + 1;
		for (int i = 0; i < 16; i++)
			v[i] = strtoull(p, &p, 10);
		etf_put_binary(w, name, (size_t)(colon - name));
		etf_put_map(w, 8);
		for (int i = 0; i < 8; i++) {
			etf_put_atom(w, keys[i]);
			etf_put_uint(w, v[i < 4 ? i : i + 4]);
		}
	}
	return n;
}

void
ns_put_interfaces(struct etf_writer *w, pid_t pid)
{
	AUTO_STRING text = malloc(NET_TEXT_MAX);

	if (text != NULL)
		ns_proc_read(pid, "net/dev", text, NET_TEXT_MAX);
	etf_put_map(w, text ? put_interfaces(NULL, text) : 0);
	if (text != NULL)
		put_interfaces(w, text);
}

/* --- Entering a container ------------------------------------------------ */

/*
 * Two processes do it. The worker, on the host, opens all that is to be opened,
 * becomes what init is and joins init's namespaces; there it makes the child,
 * which is the port's own, arranges itself, and executes the command. The
 * worker lives until the child has done that or failed; the child gives up when
 * the worker is gone, and dies with the port.
 *
 * The order is the point of it: outside() and inside(), at the end, say why.
 */
#define CGROUP_TEXT_MAX 65536  /* bytes of /proc/PID/cgroup */
#define HIERARCHIES_MAX 32     /* of cgroups; version 1 has 14 controllers */
#define DATABASE_MAX (1 << 20) /* bytes of the container's /etc/passwd */
#define IN_ROOT (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
#define CHILD_STACK 20480 /* bytes: a path, what prints it, and as much again */
#define SEIZE_US 1000
#define SEIZE_TURNS 5000         /* of SEIZE_US, less than entering may take */
#define INTO_CGROUP (1ULL << 33) /* CLONE_INTO_CGROUP of <linux/sched.h> */

struct entering {
	const struct ns_init *init;
	const struct ns_command *cmd;
	const char *stage; /* where it is; NULL: exec itself */

	/* What init is. */
	int namespaces; /* CLONE_NEW*: those that are not ours */
	uint64_t bounding, permitted, no_new_privs;
	uint64_t seccomp; /* 0 none, 1 strict, 2 filters */
	long oom_score_adj;
	unsigned long personality;
	char label[1024]; /* "": none, or ours */
	struct rlimit limits[RLIM_NLIMITS];
	struct sock_fprog *filters; /* the newest first */
	int n_filters;
	int notifies; /* the one that must be listened to, or -1 */

	/* What is opened for it. */
	int root, pts, null, cgroup_ns;
	int go[2], report[2];
	int listen[2]; /* a socket for the descriptor that this is done by */
	int theirs[3], ours[3];
	rlim_t files; /* our own limit of descriptors */

	/* Who the command is, found inside. */
	uint32_t uid, gid;
	gid_t *groups;
	size_t n_groups;
	char home[PATH_MAX + 5], user[NAME_MAX + 6]; /* "HOME=", "USER=" */
	char **env;
};

/* What the child says: this stage is no failure, it waits for another go. */
static const char ready[] = "ready";
struct word {
	const char *stage; /* the worker's address of it too: it was forked */
	int error;
};

static bool
at(struct entering *e, const char *stage)
{
	e->stage = stage;
	return true;
}

static bool
fail(int error)
{
	errno = error;
	return false;
}

/* --- Entering: what init is ---------------------------------------------- */

bool
ns_same(const struct ns_init *init)
{
	if (init->pidfd < 0)
		return proc_start(init->pid) == init->start || fail(ESRCH);
	return syscall(SYS_pidfd_send_signal, init->pidfd, 0, NULL, 0) == 0 ||
	       errno == EPERM;
}

/* The descriptor first: what is read after that is of whom it refers to. */
int
ns_identify(pid_t pid, struct ns_init *init)
{
	init->pid = pid;
	init->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (init->pidfd < 0 && errno != ENOSYS && errno != EPERM)
		return errno;
	init->start = proc_start(pid);
	if (init->start != 0 && ns_same(init))
		return 0;
	fd_free(&init->pidfd);
	init->pidfd = -1;
	return ESRCH;
}

/* <linux/pidfd.h>'s struct pidfd_info, as it was at first. */
struct pidfd_info_0 {
	uint64_t mask, cgroup;
	uint32_t ids[11]; /* processes', users', groups' */
	int32_t exit_code;
};
#define INFO_EXIT 8u /* PIDFD_INFO_EXIT, Linux 6.15 */
#define GET_INFO _IOWR(0xff, 11, struct pidfd_info_0)

/* Of a zombie /proc says it, unless it is just being reaped. That is exact, the
 * kernel's record then is init's first thread's: SIGKILL for a reboot. */
bool
ns_exit_status(const struct ns_init *init, int *status)
{
	struct pidfd_info_0 info = {.mask = INFO_EXIT};
	unsigned long long v[STAT_EXIT + 1];

	if (proc_fields(init->pid, v) && v[STAT_STATE] == 'Z' &&
	    v[STAT_THREADS] > 0 && v[STAT_START] == init->start) {
		*status = (int)v[STAT_EXIT];
		return true;
	}
	if (ioctl(init->pidfd, GET_INFO, &info) < 0 ||
	    (info.mask & INFO_EXIT) == 0)
		return false;
	*status = info.exit_code;
	return true;
}

/* The number behind `tag`. Without its line init is not known well enough. */
static bool
status_number(const char *text, const char *tag, int base, uint64_t *number)
{
	const char *p = strstr(text, tag);

	if (p != NULL)
		*number = strtoull(p + strlen(tag), NULL, base);
	return p != NULL || fail(ENODATA);
}

static rlim_t
limit_parse(const char *text)
{
	return *text == 'u' ? RLIM_INFINITY : (rlim_t)strtoull(text, NULL, 10);
}

/* prlimit(2) takes CAP_SYS_RESOURCE for another user's process; the text, with
 * a line each in the order of their numbers, behind a title, does not. */
static bool
limits_parse(struct entering *e)
{
	char text[4096], soft[32], hard[32], *rest = text, *line;

	if (!ns_proc_read(e->init->pid, "limits", text, sizeof(text)))
		return false;
	strsep(&rest, "\n");
	for (int r = 0; r < (int)RLIM_NLIMITS; r++) {
		line = strsep(&rest, "\n");
		if (line == NULL || strlen(line) < 26 ||
		    sscanf(line + 26, "%31s %31s", soft, hard) != 2)
			return fail(ENODATA);
		e->limits[r] =
		    (struct rlimit){limit_parse(soft), limit_parse(hard)};
	}
	return true;
}

static bool
status_read(struct entering *e)
{
	const pid_t pid = e->init->pid;
	char text[16384];

	if (!ns_proc_read(pid, "status", text, sizeof(text)) ||
	    !status_number(text, "\nCapBnd:", 16, &e->bounding) ||
	    !status_number(text, "\nCapPrm:", 16, &e->permitted) ||
	    !status_number(text, "\nNoNewPrivs:", 10, &e->no_new_privs))
		return false;
	status_number(text, "\nSeccomp:", 10, &e->seccomp); /* if there is */
	if (!ns_proc_read(pid, "oom_score_adj", text, sizeof(text)))
		return false;
	e->oom_score_adj = strtol(text, NULL, 10);
	if (!ns_proc_read(pid, "personality", text, sizeof(text)))
		return false;
	e->personality = strtoul(text, NULL, 16);
	for (int r = 0; r < (int)RLIM_NLIMITS; r++)
		if (prlimit(pid, r, NULL, &e->limits[r]) < 0)
			return errno == EPERM && limits_parse(e);
	return true;
}

/*
 * A security module's label. AppArmor's bears its mode in parentheses, which
 * its interface does not take back.
 */
static bool
label_read(struct entering *e)
{
	char its[sizeof(e->label) - 8], own[sizeof(e->label)], *mode;

	errno = 0;
	if (!ns_proc_read(e->init->pid, "attr/current", its, sizeof(its)))
		return errno == 0 || errno == EINVAL || errno == ENOENT;
	if (strlen(its) == sizeof(its) - 1)
		return fail(ENAMETOOLONG);
	ns_proc_read(getpid(), "attr/current", own, sizeof(own));
	if (strcmp(its, own) == 0 || strncmp(its, "unconfined", 10) == 0)
		return true;
	its[strcspn(its, "\n")] = '\0';
	if ((mode = strrchr(its, ' ')) != NULL && mode[1] == '(')
		*mode = '\0';
	else
		mode = NULL;
	snprintf(e->label, sizeof(e->label), "%s%s", mode ? "exec " : "", its);
	return true;
}

static const struct {
	const char *name;
	int flag;
} namespaces[] = {
    /* The user namespace gives the right to join those that it owns. */
    {"user", CLONE_NEWUSER}, {"ipc", CLONE_NEWIPC}, {"mnt", CLONE_NEWNS},
    {"net", CLONE_NEWNET}, {"pid", CLONE_NEWPID}, {"time", CLONE_NEWTIME},
    {"uts", CLONE_NEWUTS}, {"cgroup", CLONE_NEWCGROUP}};
#define NAMESPACES (sizeof(namespaces) / sizeof(namespaces[0]))

/* The file, opened, or with `text` the length of its name, as a link. */
static ssize_t
namespace_look(pid_t pid, const char *name, char text[64])
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, name);
	return text ? readlink(path, text, 64)
		    : open(path, O_RDONLY | O_CLOEXEC);
}

/* What changes less often than containers are entered: see ns_prepare(). */
static char own_namespaces[NAMESPACES][64];
static char *host_mounts;

/* A link's text tells which: one file system has all namespaces. */
static bool
namespaces_compare(struct entering *e)
{
	char its[64] = "";

	for (size_t i = 0; i < NAMESPACES; i++, memset(its, 0, sizeof(its))) {
		if (*own_namespaces[i] == '\0')
			continue; /* a kind that this kernel does not have */
		if (namespace_look(e->init->pid, namespaces[i].name, its) < 0)
			return false;
		if (memcmp(own_namespaces[i], its, sizeof(its)) != 0)
			e->namespaces |= namespaces[i].flag;
	}
	if (e->namespaces & CLONE_NEWCGROUP)
		e->cgroup_ns =
		    (int)namespace_look(e->init->pid, "cgroup", NULL);
	return e->cgroup_ns >= 0 || !(e->namespaces & CLONE_NEWCGROUP);
}

/* That mounts have changed, poll(2) tells of the file that lists them. */
static void
host_look(void)
{
	static int mounts = -1;

	for (size_t i = 0; i < NAMESPACES && mounts < 0; i++)
		namespace_look(getpid(), namespaces[i].name, own_namespaces[i]);
	if (mounts < 0)
		mounts = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	else if (host_mounts != NULL && !polled(mounts, POLLPRI, 0))
		return;
	free(host_mounts);
	host_mounts = cgroup_mounts();
}

/* --- Entering: cgroups ---------------------------------------------------- */

/* Of the init that is entered, or is likely to be: see ns_prepare(). */
static struct {
	struct ns_init init;
	char text[CGROUP_TEXT_MAX]; /* its /proc/PID/cgroup; "": not all open */
	bool ours;                  /* one of them is */
	int states[2];              /* what says that it is frozen */
	int unified;                /* its cgroup of version 2 */
	int tasks[HIERARCHIES_MAX + 1]; /* and those of version 1 */
	int n_tasks;
} cgroups = {.states = {-1, -1}, .unified = -1};

void
ns_forget(void)
{
	while (cgroups.n_tasks > 0)
		fd_free(&cgroups.tasks[--cgroups.n_tasks]);
	fd_free(&cgroups.unified);
	fd_free(&cgroups.states[0]);
	fd_free(&cgroups.states[1]);
	cgroups.text[0] = '\0';
}

/*
 * Opens what init's cgroup in a hierarchy is entered by. A lone thread's write
 * to version 1's `tasks` is like one to `cgroup.procs`, but for a lock of all
 * processes that costs milliseconds; version 2's directory is for clone3.
 */
static bool
cgroup_open(const char *controllers, char *path)
{
	const bool v2 = *controllers == '\0';
	char point[PATH_MAX], name[PATH_MAX + 16];
	int fd;

	path = cgroup_find(host_mounts, controllers, path, point);
	if (path == NULL || strlen(point) + strlen(path) >= sizeof(point))
		return fail(ENOENT);
	strcat(point, path);
	if (v2 || cgroup_has(controllers, "freezer")) {
		snprintf(name, sizeof(name), "%s/%s", point,
		    v2 ? "cgroup.events" : "freezer.state");
		cgroups.states[v2] = open(name, O_RDONLY | O_CLOEXEC);
	}
	snprintf(name, sizeof(name), "%s/tasks", point);
	fd = v2 ? open(point, DIR_FLAGS) : open(name, O_WRONLY | O_CLOEXEC);
	*(v2 ? &cgroups.unified : &cgroups.tasks[cgroups.n_tasks++]) = fd;
	return fd >= 0;
}

/* True when the text has this line: its number makes it one of them. */
static bool
has_line(const char *text, const char *line)
{
	const char *p = strstr(text, line);

	return p && p[strlen(line)] == '\n' && (p == text || p[-1] == '\n');
}

/* All of init's that are not ours already. */
static bool
cgroups_open_all(char *text)
{
	static char own[CGROUP_TEXT_MAX];
	char *save = NULL, *path, *controllers;

	cgroup_read(getpid(), own, CGROUP_TEXT_MAX);
	/* Of a text that was cut, a hierarchy may be missing. */
	if (strlen(text) > CGROUP_TEXT_MAX - PATH_MAX)
		return fail(E2BIG);
	for (char *line = strtok_r(text, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		if (has_line(own, line)) {
			cgroups.ours = true;
			continue;
		}
		if (strstr(line, "/../") != NULL ||
		    cgroups.n_tasks == HIERARCHIES_MAX ||
		    (controllers = cgroup_line(line, &path)) == NULL)
			return fail(E2BIG);
		if (!cgroup_open(controllers, path))
			return false;
	}
	return true;
}

static bool
cgroups_known(const struct ns_init *init)
{
	return cgroups.init.pid == init->pid &&
	       cgroups.init.start == init->start;
}

/* What was opened before is that still, while the same init is in the same: a
 * cgroup that a process is in is not removed. */
static bool
cgroups_open(struct entering *e)
{
	static char text[CGROUP_TEXT_MAX];

	cgroup_read(e->init->pid, text, CGROUP_TEXT_MAX);
	if (*text != '\0' && !cgroups.ours && cgroups_known(e->init) &&
	    strcmp(cgroups.text, text) == 0)
		return true;
	ns_forget();
	cgroups.ours = false;
	cgroups.init = *e->init;
	strcpy(cgroups.text, text);
	if (cgroups_open_all(text))
		return true;
	cgroups.text[0] = '\0';
	return false;
}

static bool
cgroups_thawed(void)
{
	char text[256];

	for (int v2 = 0; v2 < 2; v2++) {
		const ssize_t n =
		    pread(cgroups.states[v2], text, sizeof(text) - 1, 0);

		text[n > 0 ? n : 0] = '\0';
		if (v2 ? strstr(text, "frozen 1") != NULL : *text == 'F')
			return fail(EBUSY);
	}
	return true;
}

static bool
cgroups_join(void)
{
	for (int i = 0; i < cgroups.n_tasks; i++) {
		if (write(cgroups.tasks[i], "0", 1) != 1)
			return false;
		close(cgroups.tasks[i]);
	}
	return true;
}

/* --- Entering: init's seccomp filters ------------------------------------- */

/* A process has one tracer at a time, and others may be entering: init is had
 * in turns. Not for ever, for it may be a debugger that has it. */
static bool
init_seize(pid_t pid)
{
	for (int turn = 0; turn < SEIZE_TURNS; turn++) {
		if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0)
			return true;
		if (errno != EPERM)
			return false;
		usleep(SEIZE_US);
	}
	return fail(EPERM);
}

/* Stops init for the time of the reading. *sig: what was on its way to it. */
static bool
init_stop(pid_t pid, int *sig)
{
	int status;

	if (!init_seize(pid) || ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0)
		return false;
	while (waitpid(pid, &status, __WALL) < 0)
		if (errno != EINTR)
			return false;
	*sig = status >> 16 == PTRACE_EVENT_STOP ? 0 : WSTOPSIG(status);
	return WIFSTOPPED(status) || fail(ESRCH);
}

/* The next one, in size and then itself. ENOENT: there is none. */
static bool
filter_read(struct entering *e)
{
	const pid_t pid = e->init->pid;
	void *index = (void *)(intptr_t)e->n_filters;
	const long n = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, index, NULL);
	struct sock_fprog *more;

	if (n <= 0)
		return false;
	more =
	    reallocarray(e->filters, (size_t)e->n_filters + 1, sizeof(*more));
	if (more == NULL)
		return false;
	e->filters = more;
	more += e->n_filters++;
	more->len = (unsigned short)n;
	more->filter = calloc((size_t)n, sizeof(*more->filter));
	return more->filter != NULL &&
	       ptrace(PTRACE_SECCOMP_GET_FILTER, pid, index, more->filter) == n;
}

/* True when there is a call that the filter has somebody else decide. */
static bool
filter_notifies(const struct sock_fprog *prog)
{
	for (int i = 0; i < prog->len; i++)
		if (prog->filter[i].code == (BPF_RET | BPF_K) &&
		    (prog->filter[i].k & SECCOMP_RET_ACTION_FULL) ==
			SECCOMP_RET_USER_NOTIF)
			return true;
	return false;
}

/* The kernel lets no more than one filter be listened to. */
static bool
filters_listen(struct entering *e)
{
	e->notifies = e->n_filters;
	while (--e->notifies >= 0 && !filter_notifies(&e->filters[e->notifies]))
		;
	return e->notifies < 0 ||
	       socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, e->listen) ==
		   0;
}

/*
 * With our death the kernel lets go of init, so that the deadline of this
 * process is one for init's stop too. What cannot be read is not left out.
 */
static bool
filters_read(struct entering *e)
{
	int sig, error;

	e->notifies = -1;
	if (e->seccomp == 0)
		return true;
	if (e->seccomp != SECCOMP_MODE_FILTER)
		return fail(EACCES);
	if (!init_stop(e->init->pid, &sig))
		return false;
	while (filter_read(e))
		;
	error = errno;
	ptrace(PTRACE_DETACH, e->init->pid, NULL, (void *)(intptr_t)sig);
	return ((error == ENOENT && e->n_filters > 0) || fail(error)) &&
	       filters_listen(e);
}

/* --- Entering: descriptors ------------------------------------------------ */

/* openat2(2); without it, a name in that directory that is no link. */
static int
open_resolved(int dir, const char *path, int flags, uint64_t resolve)
{
	struct open_how how = {.flags = (unsigned)flags | O_CLOEXEC};
	int fd;

	how.resolve = resolve;
	fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
	if (fd < 0 && (errno == ENOSYS || errno == EPERM) &&
	    strchr(path, '/') == NULL)
		fd = openat(dir, path, flags | O_NOFOLLOW | O_CLOEXEC);
	return fd;
}

/* DIR/NAME of the container, whatever links it has made of them. */
static int
open_rooted(struct entering *e, const char *dir, const char *name, int flags)
{
	AUTO_FD parent = -1;
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open_resolved(e->root, path, flags, IN_ROOT);
	if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
		return fd;
	parent = open_resolved(e->root, dir, O_PATH | O_DIRECTORY, IN_ROOT);
	return parent < 0 ? -1 : open_resolved(parent, name, flags, IN_ROOT);
}

static bool
is_devpts(int fd)
{
	struct statfs fs;

	return (fstatfs(fd, &fs) == 0 &&
		   (unsigned long)fs.f_type == DEVPTS_SUPER_MAGIC) ||
	       fail(ENODEV);
}

static bool
is_device(int fd, unsigned major, unsigned minor)
{
	struct stat st;

	return (fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) &&
		   st.st_rdev == makedev(major, minor)) ||
	       fail(ENODEV);
}

/*
 * The container's own /dev/null when it is one, looked at before it is opened
 * for writing. The host's would be the container's to chmod.
 */
static bool
null_open(struct entering *e)
{
	AUTO_FD fd = open_rooted(e, "dev", "null", O_PATH);
	char path[32];

	if (fd < 0 || !is_device(fd, 1, 3))
		return false;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	e->null = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
	return e->null >= 0;
}

static bool
devices_open(struct entering *e)
{
	if (e->cmd->pty) {
		e->pts = open_rooted(e, "dev", "pts", O_PATH | O_DIRECTORY);
		return at(e, "pty") && e->pts >= 0 && is_devpts(e->pts);
	}
	return at(e, "stdio") && (e->cmd->err != NS_ERR_NULL || null_open(e));
}

/* A mount on top of `ptmx` is not crossed: this is the devpts's own. */
static bool
pty_open(struct entering *e)
{
	const struct winsize size = {
	    .ws_row = e->cmd->rows, .ws_col = e->cmd->cols};
	const int flags = O_RDWR | O_NOCTTY;
	int unlock = 0;
	int fd = open_resolved(e->pts, "ptmx", flags | O_NONBLOCK,
	    RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS);

	e->ours[0] = fd;
	if (fd < 0 || !is_device(fd, 5, 2) || !is_devpts(fd) ||
	    ioctl(fd, TIOCSPTLCK, &unlock) < 0 ||
	    ioctl(fd, TIOCSWINSZ, &size) < 0)
		return false;
	fd = ioctl(fd, TIOCGPTPEER, flags | O_CLOEXEC);
	for (int i = 0; i < 3; i++)
		e->theirs[i] = fd;
	return fd >= 0;
}

static bool
pipes_open(struct entering *e)
{
	const int n = e->cmd->err == NS_ERR_SEPARATE ? 3 : 2;
	int fds[2];

	for (int i = 0; i < n; i++) {
		if (pipe2(fds, O_CLOEXEC) < 0)
			return false;
		e->theirs[i] = fds[i != 0];
		e->ours[i] = fds[i == 0];
		if (fcntl(e->ours[i], F_SETFL, O_NONBLOCK) < 0)
			return false;
	}
	if (n == 2)
		e->theirs[2] =
		    e->cmd->err == NS_ERR_NULL ? e->null : e->theirs[1];
	return true;
}

/*
 * Made by the root of the container's map, so that they are its own: the
 * command can open its terminal, or /dev/stdout, by name. The ids are ours
 * again after it, which setfsuid(2) itself could not name in there.
 */
static bool
stdio_open(struct entering *e)
{
	const bool mapped = (e->namespaces & CLONE_NEWUSER) != 0;

	if (mapped) {
		setfsgid(0);
		setfsuid(0);
	}
	return (e->cmd->pty ? at(e, "pty") && pty_open(e)
			    : at(e, "stdio") && pipes_open(e)) &&
	       (!mapped || (setreuid((uid_t)-1, (uid_t)-1) == 0 &&
			       setregid((gid_t)-1, (gid_t)-1) == 0));
}

/* --- Entering: the worker ------------------------------------------------- */

static bool
self_write(const char *file, const char *text)
{
	AUTO_FD fd = open(file, O_WRONLY | O_CLOEXEC);

	return fd >= 0 &&
	       write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* More of it than init has is less of a privilege: that much may fail. */
static bool
oom_set(struct entering *e)
{
	char text[32];
	long own;

	if (!ns_proc_read(getpid(), "oom_score_adj", text, sizeof(text)))
		return false;
	if ((own = strtol(text, NULL, 10)) == e->oom_score_adj)
		return true;
	snprintf(text, sizeof(text), "%ld", e->oom_score_adj);
	return self_write("/proc/self/oom_score_adj", text) ||
	       (errno == EACCES && own > e->oom_score_adj);
}

/*
 * Descriptors may be above init's limit until they are closed: for those only
 * what takes a privilege is done here, and the rest by the child.
 */
static bool
limits_set(struct entering *e)
{
	struct rlimit l, own;

	if (getrlimit(RLIMIT_NOFILE, &own) < 0)
		return false;
	e->files = own.rlim_cur;
	for (int r = 0; r < (int)RLIM_NLIMITS; r++) {
		l = e->limits[r];
		if (r == RLIMIT_NOFILE) {
			l.rlim_cur = own.rlim_cur;
			if (own.rlim_max > l.rlim_max)
				l.rlim_max = own.rlim_max;
		}
		if (setrlimit(r, &l) < 0)
			return false;
	}
	return (unsigned long)personality(0xffffffff) == e->personality ||
	       personality(e->personality) >= 0;
}

/* For kernels before 5.8: one by one, all of one process, opened before. */
static bool
namespaces_each(struct entering *e, int flags)
{
	int fds[NAMESPACES];

	for (size_t i = 0; i < NAMESPACES; i++) {
		fds[i] = -1;
		if ((flags & namespaces[i].flag) &&
		    (fds[i] = (int)namespace_look(
			 e->init->pid, namespaces[i].name, NULL)) < 0)
			return false;
	}
	if (!ns_same(e->init))
		return false;
	for (size_t i = 0; i < NAMESPACES; i++) {
		if (fds[i] >= 0 && setns(fds[i], namespaces[i].flag) < 0)
			return false;
		fd_free(&fds[i]);
	}
	return true;
}

/* All, or the end of this process; it dies with the port again after it. */
static bool
namespaces_join(struct entering *e)
{
	const int flags = e->namespaces & ~CLONE_NEWCGROUP;
	const pid_t parent = getppid();

	if (flags != 0 && setns(e->init->pidfd, flags) < 0 &&
	    ((errno != EINVAL && errno != ENOSYS && errno != EBADF) ||
		!namespaces_each(e, flags)))
		return false;
	return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 &&
	       (getppid() == parent || fail(ESRCH));
}

/* --- Entering: the child -------------------------------------------------- */

static void
say(struct entering *e, const char *stage, int error)
{
	const struct word word = {stage, error};

	if (write(e->report[1], &word, sizeof(word)) != (ssize_t)sizeof(word))
		_exit(127); /* nobody listens */
}

/* Waits for a go of the worker's, and ends with it when it is gone. */
static bool
go_wait(struct entering *e)
{
	char byte;

	if (read(e->go[0], &byte, 1) != 1)
		_exit(127);
	return true;
}

/*
 * A session of its own, without a terminal, the port's umask and keyring. The
 * worker ignores no signal, which exec would leave so. Where keyctl is missing
 * or refused, by a filter that the command inherits, it has no way to a keyring
 * either.
 */
static bool
session_make(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(022);
	return setsid() >= 0 &&
	       (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) >= 0 ||
		   errno == ENOSYS || errno == EPERM);
}

static bool
stdio_take(struct entering *e)
{
	for (int i = 0; i < 3; i++)
		if (dup2(e->theirs[i], i) < 0)
			return false;
	return !e->cmd->pty || ioctl(0, TIOCSCTTY, 0) == 0;
}

/* A decimal id as it is written: no sign, no leading zero, not -1. */
static bool
id_parse(const char *s, uint32_t *id)
{
	const size_t len = strspn(s, "0123456789");
	const unsigned long long n = strtoull(s, NULL, 10);

	*id = (uint32_t)n;
	return len > 0 && len <= 10 && s[len] == '\0' && n < UINT32_MAX &&
	       (*s != '0' || len == 1);
}

/*
 * The entry of a name or an id in the container's user database, cut up into
 * its fields, for the caller to free. By our own means: getpwnam(3) would load
 * the container's libraries. The file may be a FIFO, a device, or without end.
 */
static char *
entry_find(struct entering *e, const char *file, const char *key, char *f[7])
{
	AUTO_FD fd =
	    open_rooted(e, "etc", file, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	AUTO_STRING text = NULL;
	struct stat st = {0};
	char *found, *line, *rest;
	uint32_t id;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_size > DATABASE_MAX ||
	    (text = calloc(1, (size_t)st.st_size + 1)) == NULL ||
	    read(fd, text, (size_t)st.st_size) != st.st_size) {
		errno = fd < 0                      ? errno
			: st.st_size > DATABASE_MAX ? EFBIG
						    : EINVAL;
		return NULL;
	}
	for (rest = text; (line = strsep(&rest, "\n")) != NULL;) {
		for (int i = 0; i < 7; i++)
			f[i] = strsep(&line, ":");
		if (f[2] && strcmp(f[id_parse(key, &id) ? 2 : 0], key) == 0) {
			found = text;
			text = NULL;
			return found;
		}
	}
	errno = ENOENT;
	return NULL;
}

/* An id needs no entry; it is its own group then, the least that it can be. */
static bool
user_find(struct entering *e)
{
	const char *key = e->cmd->user ? e->cmd->user : "0";
	const bool is_id = id_parse(key, &e->uid);
	char *f[7];
	AUTO_STRING text = *key ? entry_find(e, "passwd", key, f) : NULL;
	uint32_t uid;
	const bool found = text != NULL && id_parse(f[2], &uid) && f[3] &&
			   id_parse(f[3], &e->gid);

	/* An id needs no entry, and no heed is paid to a broken one. */
	if (!found && !is_id)
		return text || !*key ? fail(text ? EINVAL : ENOENT) : false;
	if (found)
		e->uid = uid;
	else
		e->gid = e->uid;
	snprintf(e->user, sizeof(e->user), "USER=%s",
	    found    ? f[0]
	    : e->uid ? key
		     : "root");
	snprintf(e->home, sizeof(e->home), "HOME=%s",
	    found && f[5] && *f[5] ? f[5] : "/");
	return true;
}

static bool
group_find(struct entering *e, const char *key, uint32_t *id)
{
	AUTO_STRING text = NULL;
	char *f[7];

	if (id_parse(key, id))
		return true;
	if (*key == '\0')
		return fail(ENOENT);
	text = entry_find(e, "group", key, f);
	return text != NULL && (id_parse(f[2], id) || fail(EINVAL));
}

static bool
groups_find(struct entering *e)
{
	char **keys = e->cmd->groups;
	uint32_t id;

	if (e->cmd->group != NULL && !group_find(e, e->cmd->group, &e->gid))
		return false;
	while (keys != NULL && keys[e->n_groups] != NULL)
		e->n_groups++;
	e->groups = calloc(e->n_groups + 1, sizeof(*e->groups));
	for (size_t i = 0; i < e->n_groups && e->groups != NULL; i++) {
		if (!group_find(e, keys[i], &id))
			return false;
		e->groups[i] = id;
	}
	return e->groups != NULL;
}

static bool
bounding_drop(struct entering *e)
{
	for (int cap = 0; cap < 64; cap++)
		if (!(e->bounding >> cap & 1) &&
		    prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return errno == EINVAL; /* behind the last one */
	return true;
}

/* What a map without setgroups(2) keeps us from dropping, we must not have. */
static bool
groups_set(struct entering *e)
{
	return (setgroups(e->n_groups, e->groups) == 0 ||
		   (errno == EPERM && e->n_groups == 0 &&
		       getgroups(0, NULL) == 0)) &&
	       setresgid(e->gid, e->gid, e->gid) == 0;
}

/*
 * The descriptors become the user's: it may open /dev/stderr by name. Without a
 * root in the map they are not the container's, and stay as they are.
 */
static bool
user_set(struct entering *e)
{
	const int n = e->cmd->err == NS_ERR_NULL ? 2 : 3;

	for (int i = 0; i < n && e->uid != 0; i++)
		if (fchown(i, e->uid, (gid_t)-1) < 0 && errno != EPERM)
			return false;
	return prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0 &&
	       setresuid(e->uid, e->uid, e->uid) == 0;
}

/*
 * Another user than before has no death signal. It is set again and then told:
 * had the port died earlier, the worker would be dead, and not give a go.
 */
static bool
owner_confirm(struct entering *e)
{
	int sig = 0;

	if (prctl(PR_GET_PDEATHSIG, &sig) == 0 && sig == SIGKILL)
		return true;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return false;
	say(e, ready, 0);
	return go_wait(e);
}

/* All but 0, 1, 2 and the pipe of the report, which exec closes. */
static bool
others_close(struct entering *e)
{
	const int keep = 3 + (e->notifies >= 0);
	int fd = e->listen[1];

	if (keep > 3 && (fd = fcntl(fd, F_DUPFD_CLOEXEC, keep + 1)) < 0)
		return false;
	if (e->report[1] != 3 && dup3(e->report[1], 3, O_CLOEXEC) < 0)
		return false;
	e->report[1] = 3;
	if (keep > 3 && dup3(fd, keep, O_CLOEXEC) < 0)
		return false;
	if (syscall(SYS_close_range, keep + 1, ~0u, 0) < 0)
		for (rlim_t i = (rlim_t)keep + 1; i < e->files; i++)
			close((int)i);
	return setrlimit(RLIMIT_NOFILE, &e->limits[RLIMIT_NOFILE]) == 0;
}

/*
 * exec(3) gives root all of the bounding set, unless it may gain nothing: then
 * what is permitted now is the limit, and that is init's. It leaves others
 * nothing, and would look up the program with what they have now. Without
 * no_new_privs filters are installed with CAP_SYS_ADMIN, the one exception;
 * where it is not in the bounding set it goes with exec too. The ambient set
 * goes with the inheritable one.
 */
static bool
caps_set(struct entering *e)
{
	struct __user_cap_header_struct head = {
	    .version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};
	uint64_t caps = e->no_new_privs ? e->permitted : e->bounding;

	if (e->uid != 0)
		caps = 0;
	if (e->n_filters > 0 && !e->no_new_privs)
		caps |= 1ULL << CAP_SYS_ADMIN;
	if (syscall(SYS_capget, &head, data) < 0)
		return false;
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(caps >> 32 * i);
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &head, data) == 0;
}

/* A directory that no path leads to is not the container's. */
static bool
cwd_set(struct entering *e)
{
	char path[PATH_MAX];

	if (e->cmd->cwd ? chdir(e->cmd->cwd) < 0
			: chdir(e->home + 5) < 0 && chdir("/") < 0)
		return false;
	return syscall(SYS_getcwd, path, sizeof(path)) > 0 &&
	       (path[0] == '/' || fail(ENOENT));
}

/* Puts "K=V" in place of another K, or last. */
static void
env_put(char **env, char *text)
{
	const size_t len = strcspn(text, "=") + 1;

	while (*env != NULL && strncmp(*env, text, len) != 0)
		env++;
	*env = text;
}

static bool
env_make(struct entering *e)
{
	static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:"
			     "/usr/bin:/sbin:/bin";
	static char container[] = "container=lxc", term[] = "TERM=xterm";
	char *own[] = {path, e->home, e->user, container, term};
	char **more = e->cmd->env;
	size_t n = 0;

	while (more != NULL && more[n] != NULL)
		n++;
	if ((e->env = calloc(n + 6, sizeof(*e->env))) == NULL)
		return false;
	for (int i = 0; i < 4 + e->cmd->pty; i++)
		env_put(e->env, own[i]);
	for (size_t i = 0; i < n; i++)
		env_put(e->env, more[i]);
	return true;
}

static bool
filters_install(struct entering *e)
{
	int fd, flags;

	for (int i = e->n_filters - 1; i >= 0; i--) {
		flags = i == e->notifies ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0;
		fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags,
		    &e->filters[i]);
		if (fd < 0 || (flags != 0 && !fd_send(4, "", 1, fd)))
			return false;
	}
	return true;
}

/* As execvp(3), with the command's PATH, and no shell for what is not one. */
static bool
command_exec(struct entering *e)
{
	char *const *argv = e->cmd->argv;
	char file[PATH_MAX];
	const char *dir = "";
	int len, error = ENOENT;

	if (strchr(argv[0], '/') != NULL || argv[0][0] == '\0')
		return execve(argv[0], argv, e->env) == 0;
	for (char **env = e->env; *env != NULL; env++)
		if (strncmp(*env, "PATH=", 5) == 0)
			dir = *env + 5;
	for (;; dir += len + 1) {
		len = (int)strcspn(dir, ":");
		errno = ENOENT;
		if (snprintf(file, sizeof(file), "%.*s%s%s", len, dir,
			len > 0 ? "/" : "", argv[0]) < (int)sizeof(file))
			execve(file, argv, e->env);
		if (errno == EACCES)
			error = EACCES;
		else if (errno != ENOENT && errno != ENOTDIR)
			return false;
		if (dir[len] == '\0')
			return fail(error);
	}
}

/* --- Entering: the order -------------------------------------------------- */

/* The worker, until it is inside. */
static bool
outside(struct entering *e)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/root", (int)e->init->pid);
	return
	    /* All is read and opened while /proc is the host's. */
	    at(e, "init") && status_read(e) && label_read(e) &&
	    namespaces_compare(e) &&
	    (e->root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC)) >= 0 &&
	    /* A frozen init would never stop for its filters to be read. */
	    at(e, "cgroup") && cgroups_open(e) && cgroups_thawed() &&
	    devices_open(e) && at(e, "seccomp") && filters_read(e) &&
	    /* Of one process all, unless its pid changed hands meanwhile. */
	    at(e, "init") && ns_same(e->init) &&
	    /* Pipes: a socket left inside would take descriptors along. */
	    at(e, "fork") && pipe2(e->go, O_CLOEXEC) == 0 &&
	    pipe2(e->report, O_CLOEXEC) == 0 &&
	    /* While /proc/self is ours: it is root's once not dumpable. */
	    at(e, "label") &&
	    (!*e->label || self_write("/proc/self/attr/exec", e->label)) &&
	    /* Raising one takes what the user namespace takes away. */
	    at(e, "limits") && oom_set(e) && limits_set(e) &&
	    /* Before the container can see the child: not to be traced. */
	    at(e, "setns") && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 &&
	    namespaces_join(e) &&
	    /* An init may have another root than its namespace. */
	    at(e, "root") && fchdir(e->root) == 0 && chroot(".") == 0 &&
	    chdir("/") == 0 && stdio_open(e);
}

/* The child, from its first go to the command. */
static bool
inside(struct entering *e)
{
	return go_wait(e) &&
	       /* First of all. Not the worker: a container that ends would find
		* a stranger in its cgroups, and could not remove them. */
	       at(e, "cgroup") && cgroups_join() &&
	       /* From within the cgroup: nsdelegate forbids a move into it. */
	       at(e, "setns") &&
	       (e->cgroup_ns < 0 ||
		   setns(e->cgroup_ns, CLONE_NEWCGROUP) == 0) &&
	       at(e, "session") && session_make() && at(e, "terminal") &&
	       stdio_take(e) && at(e, "user") && user_find(e) &&
	       at(e, "group") && groups_find(e) &&
	       /* These take CAP_SETPCAP and CAP_SETGID, which another user loses. */
	       at(e, "caps") && bounding_drop(e) && at(e, "group") &&
	       groups_set(e) && at(e, "user") && user_set(e) && at(e, "fork") &&
	       owner_confirm(e) &&
	       /* Before a path is resolved: /proc/self/fd must lead nowhere. */
	       at(e, "limits") && others_close(e) &&
	       /* Before a path is resolved: with the command's rights only. */
	       at(e, "caps") && caps_set(e) && at(e, "no_new_privs") &&
	       (!e->no_new_privs ||
		   prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) &&
	       at(e, "cd") && cwd_set(e) && at(e, NULL) && env_make(e) &&
	       /* Last: they may forbid anything but exec, which init has done. */
	       at(e, "seccomp") && filters_install(e) && at(e, NULL) &&
	       command_exec(e);
}

static void __attribute__((noreturn)) child_main(struct entering *e)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(e->go[1]);
	close(e->report[0]);
	inside(e);
	say(e, e->stage, errno);
	_exit(127);
}

/* clone(2) itself: the C library's fork has no flags. */
static pid_t
clone_raw(struct entering *e)
{
	const unsigned long flags = CLONE_PARENT | SIGCHLD;
#if defined(__s390__) || defined(__CRIS__)
	const long pid = syscall(SYS_clone, NULL, flags, NULL, NULL, NULL);
#else
	const long pid = syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
#endif

	if (pid == 0)
		child_main(e);
	return (pid_t)pid;
}

struct clone3 {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack,
	    stack_size, tls, set_tid, set_tid_size, cgroup;
};

/*
 * clone3(2), which no library has. In the worker's memory, on a stack of its
 * own, where that can be written down: to copy the memory, and to take it apart
 * again in exec, is most of what a child costs. All that the worker does there
 * until the child has executed or given up is to let it go and to wait for its
 * word, without the heap or a call that may fail and go on.
 */
static pid_t
clone3_raw(struct clone3 *args, struct entering *e, void *stack, size_t size)
{
#if defined(__x86_64__) && !defined(__ILP32__) && !defined(__SANITIZE_ADDRESS__)
	long pid = SYS_clone3;

	args->flags |= CLONE_VM;
	args->stack = (uintptr_t)stack;
	args->stack_size = size;
	__asm__ volatile(
	    "syscall\n\t"
	    "test %%rax, %%rax\n\t"
	    "jnz 1f\n\t"
	    "mov %[e], %%rdi\n\t"
	    "call *%[main]\n"
	    "1:"
	    : "+a"(pid)
	    : "D"(args), "S"(sizeof(*args)), [e] "r"(e), [main] "r"(child_main)
	    : "rcx", "r11", "memory");
	errno = pid < 0 ? (int)-pid : 0;
	return pid < 0 ? -1 : (pid_t)pid;
#else
	const pid_t pid = (pid_t)syscall(SYS_clone3, args, sizeof(*args));

	(void)stack;
	(void)size;
	if (pid == 0)
		child_main(e);
	return pid;
#endif
}

/*
 * The child is born in version 2's cgroup: a move there would wait for all
 * processes' readers, milliseconds. Kernels before 5.7 have only the move. Its
 * exit signal is the worker's by CLONE_PARENT, SIGCHLD.
 */
static pid_t
child_clone(struct entering *e, void *stack, size_t size)
{
	struct clone3 args = {.flags = CLONE_PARENT | INTO_CGROUP};
	pid_t pid;
	int fd;

	if (cgroups.unified < 0)
		return clone_raw(e);
	args.cgroup = (uint64_t)cgroups.unified;
	pid = clone3_raw(&args, e, stack, size);
	if (pid >= 0 || (errno != ENOSYS && errno != EINVAL && errno != E2BIG &&
			    errno != EPERM))
		return pid;
	e->stage = "cgroup";
	fd = openat(cgroups.unified, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	cgroups.tasks[cgroups.n_tasks++] = fd;
	return fd < 0 ? -1 : clone_raw(e);
}

/* To where the child's notifications are decided, before it waits for one; or
 * there is a word of it, or its end. */
static void
listen_pass(struct entering *e, const struct ns_teller *tell)
{
	struct pollfd fds[] = {
	    {e->listen[0], POLLIN, 0}, {e->report[0], POLLIN, 0}};
	int fd = -1;
	char byte = 0;

	while (poll(fds, 2, -1) < 0 && errno == EINTR)
		;
	if (fds[0].revents & POLLIN && fd_receive(e->listen[0], &byte, 1, &fd))
		tell->notifies(tell->arg, fd);
	fd_free(&fd);
}

/*
 * Gives the child its goes, until it has executed the command. False: it
 * failed, with errno. This end of `go` stays open for reading here, so that a
 * dead child is no SIGPIPE.
 */
static bool
child_await(struct entering *e, const struct ns_teller *tell)
{
	struct word word;
	ssize_t n;

	do {
		if (write(e->go[1], "", 1) != 1)
			return false;
		if (e->notifies >= 0)
			listen_pass(e, tell);
		while ((n = read(e->report[0], &word, sizeof(word))) < 0)
			if (errno != EINTR)
				return false;
	} while (n > 0 && word.stage == ready);
	if (n == 0)
		return true;
	e->stage = word.stage;
	return fail(word.error);
}

void
ns_prepare(const struct ns_init *init)
{
	struct entering e = {.init = init};

	host_look();
	if (init->pid <= 0 || !ns_same(init))
		ns_forget();
	else if (!cgroups_known(init))
		cgroups_open(&e);
}

/* All is read again when the container is entered, but then the memory that it
 * takes is there. */
void
ns_rehearse(const struct ns_init *init)
{
	static struct entering e;

	e = (struct entering){.init = init, .cgroup_ns = -1};
	if (init->pid > 0 && status_read(&e) && label_read(&e) &&
	    namespaces_compare(&e))
		cgroups_open(&e);
	fd_free(&e.cgroup_ns);
}

/* The stack is where that of outside() was: its pages are there. */
static bool __attribute__((noinline))
child_run(struct entering *e, const struct ns_teller *tell)
{
	_Alignas(16) char stack[CHILD_STACK];
	const pid_t pid = child_clone(e, stack, sizeof(stack));

	if (pid < 0)
		return false;
	close(e->report[1]);
	if (e->notifies >= 0)
		close(e->listen[1]);
	tell->born(tell->arg, pid, e->ours);
	return child_await(e, tell);
}

int
ns_attach(const struct ns_init *init, const struct ns_command *cmd,
    const char **stage, const struct ns_teller *tell)
{
	static struct entering e;
	int error;

	if (host_mounts == NULL)
		host_look();
	e = (struct entering){.init = init, .cmd = cmd};
	e.pts = e.null = e.cgroup_ns = -1;
	e.listen[0] = e.listen[1] = -1;
	e.ours[0] = e.ours[1] = e.ours[2] = -1;
	if (outside(&e) && at(&e, "fork") && child_run(&e, tell))
		return 0;
	error = errno;
	/* Whatever failed may have done so for that. */
	if (init->pidfd >= 0
		? !ns_same(init)
		: e.stage && !strcmp(e.stage, "init") && error == ENOENT) {
		e.stage = "init";
		error = ESRCH;
	}
	*stage = e.stage;
	return error;
}

/* --- Sessions ------------------------------------------------------------ */

#define SESSION_TURNS 20 /* of TURN_US: a shell forks while it is killed */

static void
dir_free(DIR **dir)
{
	if (*dir != NULL)
		closedir(*dir);
}

/* True for a process that lives in one of the sessions. */
static bool
session_has(pid_t pid, const pid_t *sessions, size_t n)
{
	char text[512], state;
	const char *p;
	pid_t session;

	if (ns_proc_read(pid, "stat", text, sizeof(text)) == 0 ||
	    (p = strrchr(text, ')')) == NULL ||
	    sscanf(p, ") %c %*d %*d %d", &state, &session) != 2 || state == 'Z')
		return false;
	for (size_t i = 0; i < n; i++)
		if (sessions[i] == session)
			return true;
	return false;
}

static void
sessions_kill(const struct etf_writer *list)
{
	const pid_t *sessions = (const pid_t *)(const void *)list->data;
	const size_t n = list->len / sizeof(pid_t);
	int killed = n > 0;

	for (int turn = 0; turn < SESSION_TURNS && killed > 0; turn++) {
		AUTO(dir_free) DIR *proc = opendir("/proc");
		const struct dirent *e;

		killed = 0;
		while (proc != NULL && (e = readdir(proc)) != NULL) {
			const pid_t pid = atoi(e->d_name);

			if (pid > 1 && session_has(pid, sessions, n))
				killed += kill(pid, SIGKILL) == 0;
		}
		if (killed > 0)
			usleep(TURN_US);
	}
}

/* Takes an id out of a list. */
static void
session_drop(struct etf_writer *list, pid_t id)
{
	pid_t *ids = (pid_t *)(void *)list->data;
	size_t n = list->len / sizeof(id);

	for (size_t i = 0; i < n; i++)
		if (ids[i] == id)
			ids[i--] = ids[--n];
	etf_rewind(list, n * sizeof(id));
}

/* Those that are to be killed at once are, when nothing more is to be read: one
 * look at all processes is for all. */
void
ns_sessions_keep(int fd, struct etf_bytes first)
{
	struct etf_writer held, doomed;
	struct session_word word;
	ssize_t n;

	etf_init(&held, SIZE_MAX);
	etf_init(&doomed, SIZE_MAX);
	etf_put_raw(&held, first.data, first.len);
	for (;;) {
		n = recv(fd, &word, sizeof(word),
		    doomed.len > 0 ? MSG_DONTWAIT : MSG_WAITALL);
		if (n == (ssize_t)sizeof(word)) {
			session_drop(&held, word.id);
			if (word.what != SESSION_LEFT)
				etf_put_raw(
				    word.what == SESSION_HELD ? &held : &doomed,
				    &word.id, sizeof(word.id));
			continue;
		}
		if (doomed.len == 0)
			break;
		sessions_kill(&doomed);
		etf_rewind(&doomed, 0);
	}
	sessions_kill(&held);
}

/* --- Files put into a rootfs ---------------------------------------------- */

/*
 * Opens the directory that `path` is in, as if `root` were /, making those that
 * are missing, with that owner, unless it is NULL. The last part of `path` in
 * *name.
 */
static int
parent_open(int root, char *path, const struct stat *owner, const char **name)
{
	int fd = fcntl(root, F_DUPFD_CLOEXEC, 0), next;
	char *part = path + strspn(path, "/"), *end;

	while (fd >= 0 && (end = strchr(part, '/')) != NULL) {
		*end = '\0';
		next = open_resolved(root, path, O_PATH | O_DIRECTORY, IN_ROOT);
		if (next < 0 && errno == ENOENT && owner != NULL &&
		    mkdirat(fd, part, 0755) == 0 &&
		    fchownat(fd, part, owner->st_uid, owner->st_gid,
			AT_SYMLINK_NOFOLLOW) == 0)
			next = open_resolved(
			    root, path, O_PATH | O_DIRECTORY, IN_ROOT);
		close(fd);
		fd = next;
		*end = '/';
		part = end + strspn(end, "/");
	}
	*name = part;
	if (fd >= 0 && (*part == '\0' || strcmp(part, ".") == 0 ||
			   strcmp(part, "..") == 0)) {
		close(fd);
		errno = EINVAL;
		return -1;
	}
	return fd;
}

static bool
fill_file(int fd, int from, const void *data, size_t len)
{
	const char *p = data;
	ssize_t n = 1;

	while (from >= 0 && n > 0)
		n = sendfile(fd, from, NULL, 1u << 20);
	for (; from < 0 && len > 0 && n > 0; p += n, len -= (size_t)n)
		n = write(fd, p, len);
	return n >= 0 && (from >= 0 || len == 0);
}

/* A new file takes the place of what is there: that may be a link to elsewhere,
 * or shared with other containers. */
static int
file_put(int dir, const char *name, const struct stat *owner, mode_t mode,
    int from, const void *data, size_t len)
{
	AUTO_FD fd = -1;
	int number;

	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return errno;
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0 && fill_file(fd, from, data, len) &&
	    fchown(fd, owner->st_uid, owner->st_gid) == 0 &&
	    fchmod(fd, mode) == 0)
		return 0;
	number = errno;
	if (fd >= 0)
		unlinkat(dir, name, 0);
	return number;
}

static int
dir_put(int dir, const char *name, const struct stat *owner, mode_t mode)
{
	AUTO_FD fd = -1;

	if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
		return errno;
	fd = openat(dir, name, DIR_FLAGS);
	return fd >= 0 && fchown(fd, owner->st_uid, owner->st_gid) == 0 &&
		       fchmod(fd, mode) == 0
		   ? 0
		   : errno;
}

int
ns_put(const char *rootfs, const char *path, const struct ns_file *file)
{
	AUTO_FD root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD from = -1;
	AUTO_FD dir = -1;
	char copy[PATH_MAX];
	struct stat owner, st;
	mode_t mode = file->mode;
	const char *name;

	if (root < 0 || fstat(root, &owner) < 0)
		return errno;
	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
		return ENAMETOOLONG;
	if (file->source != NULL) {
		from = open(file->source, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (from < 0 || fstat(from, &st) < 0)
			return errno;
		if (!S_ISREG(st.st_mode))
			return EINVAL;
		mode = mode ? mode : st.st_mode & 07777;
	}
	dir = parent_open(root, copy, &owner, &name);
	if (dir < 0)
		return errno;
	if (file->source == NULL && file->data.data == NULL)
		return dir_put(dir, name, &owner, mode);
	return file_put(
	    dir, name, &owner, mode, from, file->data.data, file->data.len);
}

/* By its descriptor: the container may put something else under the name, but
 * then that is no such device, or comes from another mount. */
static int
node_own(int dir, const char *name, const struct stat *node,
    const struct stat *owner)
{
	AUTO_FD fd = open_resolved(dir, name, O_PATH | O_NOFOLLOW,
	    RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return errno;
	if ((st.st_mode & S_IFMT) != (node->st_mode & S_IFMT) ||
	    st.st_rdev != node->st_rdev)
		return ENODEV;
	return owner == NULL || fchownat(fd, "", owner->st_uid, owner->st_gid,
				    AT_EMPTY_PATH) == 0
		   ? 0
		   : errno;
}

int
ns_node(const struct ns_init *init, const char *path, const struct stat *node,
    bool make)
{
	AUTO_FD root = -1;
	AUTO_FD dir = -1;
	char text[PATH_MAX];
	struct stat owner;
	const char *name;
	int number;

	snprintf(text, sizeof(text), "/proc/%d/root", (int)init->pid);
	root = open(text, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || fstat(root, &owner) < 0)
		return errno;
	if (!ns_same(init))
		return ESRCH;
	if (snprintf(text, sizeof(text), "%s", path) >= (int)sizeof(text))
		return ENAMETOOLONG;
	dir = parent_open(root, text, make ? &owner : NULL, &name);
	if (dir < 0)
		return errno;
	umask(0); /* the host's node says who may open it */
	if (make && ((unlinkat(dir, name, 0) < 0 && errno != ENOENT) ||
			mknodat(dir, name, node->st_mode, node->st_rdev) < 0))
		return errno;
	number = node_own(dir, name, node, make ? &owner : NULL);
	if (number == 0 && !make && unlinkat(dir, name, 0) < 0)
		number = errno;
	return number;
}
