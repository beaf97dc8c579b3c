/* SPDX-License-Identifier: ISC */
/*
 * Taking a container down without its monitor's help: one that is stopped, hangs
 * or waits for an init that ignores it does not answer, and liblxc knows nobody
 * else to ask.
 *
 * Names prove nothing: a cgroup or a process title may be another container's.
 * The monitor is who holds the command socket that the kernel knows, and init is
 * its child. Both are held by descriptor before they are looked at once more.
 */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <dirent.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "erlxc.h"

#define MONITOR_MS 2000  /* for a monitor to end after its init */
#define GUARDIAN_MS 2000 /* for its guardian to clean up after it */
#define STEP_US 10000
#define CGROUPS_MAX sizeof(((struct ward *)NULL)->cgroups)

/* --- Its socket ---------------------------------------------------------- */

/* FNV-1a of the path: what is behind "@" for one that is too long; malloc'd. */
static char *
monitor_hashed(const char *path, const char *name)
{
	AUTO_STRING s = format("%s/%s", path, name);
	unsigned long long hash = 0xcbf29ce484222325;

	for (const char *p = s; p != NULL && *p != '\0'; p++)
		hash = (hash ^ (uint8_t)*p) * 0x100000001b3;
	return format("lxc/%016llx/command", hash);
}

unsigned
monitor_address(const char *path, const char *name, struct sockaddr_un *a)
{
	AUTO_STRING hashed = monitor_hashed(path, name);
	AUTO_STRING plain = format("%s/%s/command", path, name);
	const size_t max = sizeof(a->sun_path) - 3; /* liblxc's */
	const char *const s = plain && strlen(plain) <= max ? plain : hashed;
	const size_t len = s ? strlen(s) : 0;

	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(a->sun_path + 1, s ? s : "", len);
	return len > 0 ? (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
				     1 + len)
		       : 0;
}

char *
monitor_owner(const char *path, const char *sock, const struct strings *defined)
{
	const size_t len = strlen(path);
	char *name = NULL;
	int end = 0;

	for (size_t i = 0; i < defined->n && sock[0] != '/'; i++) {
		AUTO_STRING hashed = monitor_hashed(path, defined->v[i]);

		if (hashed != NULL && strcmp(sock, hashed) == 0)
			return strdup(defined->v[i]);
	}
	if (strncmp(sock, path, len) == 0 &&
	    sscanf(sock + len, "/%m[^/]/command%n", &name, &end) == 1 &&
	    end > 0 && sock[len + (size_t)end] == '\0' && op_valid_name(name))
		return name;
	free(name);
	return NULL;
}

/* Until it runs its program an init has its monitor's socket. */
int
monitor_claim(struct erlxc *x, int ms)
{
	struct sockaddr_un a;
	const socklen_t len = monitor_address(x->path, x->name, &a);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	for (; fd >= 0 && len > 0; ms -= 10) {
		if (bind(fd, (const struct sockaddr *)&a, len) == 0)
			return fd;
		if (ms <= 0)
			break;
		usleep(10000);
	}
	fd_free(&fd);
	return -1;
}

/* Root's, our own user's, or that of the lxcpath's owner, who could as well have
 * written the container's configuration. */
bool
monitor_trusted(int fd, const char *path)
{
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t len = sizeof(peer);
	struct stat st;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	return peer.uid == 0 || peer.uid == geteuid() ||
	       (stat(path, &st) == 0 && peer.uid == st.st_uid);
}

/* A monitor with a full queue is waited for. */
bool
monitor_foreign(const struct erlxc *x)
{
	AUTO_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a;
	const socklen_t len = monitor_address(x->path, x->name, &a);

	return fd >= 0 && len > 0 &&
	       connect(fd, (const struct sockaddr *)&a, len) == 0 &&
	       !monitor_trusted(fd, x->path);
}

/* The socket's inode when a message of the kernel's is about one that is bound to
 * the address, else 0. */
static unsigned long
socket_at(
    const struct nlmsghdr *head, const struct sockaddr_un *a, size_t address)
{
	const struct unix_diag_msg *m = NLMSG_DATA(head);
	const size_t fixed = NLMSG_ALIGN(sizeof(*m));
	const char *at = (const char *)m + fixed;
	long left = (long)head->nlmsg_len - (long)NLMSG_LENGTH(fixed);
	const struct rtattr *attr = (const void *)at;

	for (; RTA_OK(attr, left); left -= RTA_ALIGN(attr->rta_len),
	     at += RTA_ALIGN(attr->rta_len), attr = (const void *)at)
		if (attr->rta_type == UNIX_DIAG_NAME &&
		    RTA_PAYLOAD(attr) == address &&
		    memcmp(RTA_DATA(attr), a->sun_path, address) == 0)
			return m->udiag_ino;
	return 0;
}

/* The inode of the container's command socket; 0: no monitor listens. Not from
 * /proc/net/unix, where a name with a newline makes lines of its own.
 * sock_diag(7) */
unsigned long
monitor_socket(struct erlxc *x)
{
	struct {
		struct nlmsghdr head;
		struct unix_diag_req req;
	} ask = {{.nlmsg_len = sizeof(ask),
		     .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		     .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
	    {.sdiag_family = AF_UNIX,
		.udiag_states = 1 << TCP_LISTEN,
		.udiag_show = UDIAG_SHOW_NAME}};
	AUTO_FD fd =
	    socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	struct sockaddr_un a;
	const size_t len = monitor_address(x->path, x->name, &a);
	const size_t address = len - offsetof(struct sockaddr_un, sun_path);
	struct nlmsghdr answer[2048];
	unsigned long inode = 0;
	ssize_t n;

	if (len == 0 || send(fd, &ask, sizeof(ask), 0) != sizeof(ask))
		return 0;
	while (inode == 0 && (n = recv(fd, answer, sizeof(answer), 0)) > 0)
		for (const char *at = (const char *)answer; inode == 0;) {
			const struct nlmsghdr *head = (const void *)at;
			const size_t size = NLMSG_OK(head, n)
						? NLMSG_ALIGN(head->nlmsg_len)
						: 0;

			if (size == 0)
				break;
			if (head->nlmsg_type != SOCK_DIAG_BY_FAMILY)
				return 0; /* the end, or an error */
			inode = socket_at(head, &a, address);
			at += size;
			n -= (ssize_t)size;
		}
	return inode;
}

/* --- Without its help ---------------------------------------------------- */

/* The next process in /proc, 0 after the last. */
static pid_t
next_process(DIR *proc)
{
	struct dirent *e;

	while (proc != NULL && (e = readdir(proc)) != NULL)
		if (*e->d_name >= '1' && *e->d_name <= '9')
			return (pid_t)atoi(e->d_name);
	return 0;
}

static void
dir_free(DIR **dir)
{
	if (*dir != NULL)
		closedir(*dir);
}

/* True when a process has this socket, which our own user made: another's may
 * listen at the same name, and have handed it to anybody. */
static bool
holds(pid_t pid, unsigned long inode)
{
	char path[32], want[48], have[48];
	AUTO(dir_free) DIR *dir = NULL;
	struct dirent *e;
	struct stat st;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	snprintf(want, sizeof(want), "socket:[%lu]", inode);
	dir = opendir(path);
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		n = readlinkat(dirfd(dir), e->d_name, have, sizeof(have) - 1);
		have[n > 0 ? n : 0] = '\0';
		if (strcmp(have, want) == 0)
			return fstatat(dirfd(dir), e->d_name, &st, 0) == 0 &&
			       st.st_uid == geteuid();
	}
	return false;
}

/* What a holder has forked holds the socket too, until it executes. */
static bool
monitor_find(unsigned long inode, struct ns_init *monitor)
{
	AUTO(dir_free) DIR *proc = opendir("/proc");
	pid_t pid;

	while ((pid = next_process(proc)) > 0) {
		if (!holds(pid, inode) || holds(ns_parent(pid), inode) ||
		    ns_identify(pid, monitor) != 0)
			continue;
		if (holds(pid, inode))
			return true;
		fd_free(&monitor->pidfd);
	}
	return false;
}

/* The letter that proc(5) has for what a process does, 'X': it is gone. */
static char
process_state(pid_t pid)
{
	char text[512], *p;

	ns_proc_read(pid, "stat", text, sizeof(text));
	p = strrchr(text, ')');
	return p != NULL && p[1] == ' ' ? p[2] : 'X';
}

/* True when it has ended, reaped or not. */
static bool
ended(const struct ns_init *process)
{
	return process->pidfd < 0 ? strchr("ZX", process_state(process->pid)) ||
					!ns_same(process)
				  : polled(process->pidfd, POLLIN, 0);
}

static void
process_kill(const struct ns_init *process)
{
	if (process->pidfd >= 0)
		syscall(
		    SYS_pidfd_send_signal, process->pidfd, SIGKILL, NULL, 0);
	else if (ns_same(process))
		kill(process->pid, SIGKILL);
}

/* Kills the child of a monitor that is in other cgroups than it: its init, whose
 * cgroups are put into `cgroups`. The others are hooks. True: it had a child. */
static bool
init_kill(const struct ns_init *monitor, char *cgroups, size_t size)
{
	AUTO(dir_free) DIR *proc = opendir("/proc");
	char own[CGROUPS_MAX];
	struct ns_init child;
	bool any = false, init = false;
	pid_t pid;

	cgroup_read(monitor->pid, own, sizeof(own));
	while (!init && (pid = next_process(proc)) > 0) {
		if (ns_parent(pid) != monitor->pid ||
		    strchr("ZX", process_state(pid)) != NULL ||
		    ns_identify(pid, &child) != 0)
			continue;
		any = true;
		cgroup_read(pid, cgroups, size);
		init = ns_parent(pid) == monitor->pid && *cgroups != '\0' &&
		       strcmp(cgroups, own) != 0;
		if (init)
			process_kill(&child);
		else
			*cgroups = '\0';
		fd_free(&child.pidfd);
	}
	return any;
}

/* A monitor that is not stuck does the rest itself, hooks and all, and may take
 * as long for that as the caller has. */
static void
monitor_wait(const struct ns_init *monitor)
{
	char cgroups[CGROUPS_MAX];
	int64_t since = now_ms();

	while (!ended(monitor) && now_ms() - since < MONITOR_MS &&
	       strchr("Tt", process_state(monitor->pid)) == NULL) {
		if (init_kill(monitor, cgroups, sizeof(cgroups)) > 0)
			since = now_ms();
		usleep(STEP_US);
	}
}

/* A guardian finds its monitor killed, and removes what bears the container's
 * name: nobody may make that anew meanwhile. An idle one does not end. */
static void
guardian_wait(const struct ns_init *guardian)
{
	const int64_t end = now_ms() + GUARDIAN_MS;
	char comm[16];

	ns_proc_read(guardian->pid, "comm", comm, sizeof(comm));
	while (strcmp(comm, "erlxc-guardian\n") == 0 && !ended(guardian) &&
	       now_ms() < end)
		usleep(STEP_US);
}

bool
monitor_force(unsigned long inode)
{
	char cgroups[2][CGROUPS_MAX] = {"", ""};
	struct ns_init monitor, parent = {.pidfd = -1};

	if (!monitor_find(inode, &monitor))
		return false;
	ns_identify(ns_parent(monitor.pid), &parent);
	cgroup_read(monitor.pid, cgroups[0], sizeof(cgroups[0]));
	init_kill(&monitor, cgroups[1], sizeof(cgroups[1]));
	cgroup_purge(cgroups[1]); /* thaws, too: a frozen init would not die */
	monitor_wait(&monitor);
	if (!ended(&monitor)) {
		process_kill(&monitor);
		cgroup_purge(cgroups[0]);
		dprintf(STDERR_FILENO,
		    "monitor %d did not answer: it was "
		    "killed, and runs no hook\n",
		    (int)monitor.pid);
		while (!ended(&monitor))
			usleep(STEP_US);
		guardian_wait(&parent);
	}
	fd_free(&monitor.pidfd);
	fd_free(&parent.pidfd);
	return true;
}
