/* SPDX-License-Identifier: ISC */
/*
 * What a process must be before it is the port: with no descriptor, limit or
 * variable of its caller's, and executing a file that nobody can write.
 */
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include <fcntl.h>
#include <link.h>
#include <string.h>

#include "erlxc.h"

#define NOFILE_MIN 1024u /* descriptors that a process must be allowed */
#define CLONE 1u         /* OPEN_TREE_CLONE of <linux/mount.h> */
#define RDONLY 1u        /* MOUNT_ATTR_RDONLY */

/* True when no process can write the file that this process executes. */
static bool
program_sealed(void)
{
	AUTO_FD fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	const int seals = fcntl(fd, F_GET_SEALS);
	struct statvfs vfs;

	/* A file on tmpfs has seals too, but for its first: none can be set. */
	if (seals >= 0 && (seals & F_SEAL_WRITE) != 0)
		return true;
	return fstatvfs(fd, &vfs) == 0 && (vfs.f_flag & ST_RDONLY) != 0;
}

/* A sealed copy in memory: for older kernels and ordinary users. */
static int
program_copy(void)
{
	AUTO_FD from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int fd = memfd_create("erlxc", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ssize_t n = 1;

	while (from >= 0 && fd >= 0 && n > 0)
		n = sendfile(fd, from, NULL, 1u << 20);
	if (n != 0 ||
	    fcntl(fd, F_ADD_SEALS,
		F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		fd_free(&fd);
	return fd;
}

/*
 * A detached, read-only clone of the mount that the program is on. Nobody else
 * can reach that mount; the page cache stays shared.
 */
static int
program_seal(void)
{
	/* struct mount_attr, not in every libc: attr_set is the first. */
	const uint64_t attr[4] = {RDONLY};
	int fd = (int)syscall(
	    SYS_open_tree, AT_FDCWD, "/proc/self/exe", CLONE | O_CLOEXEC);

	if (fd >= 0 && syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, attr,
			   sizeof(attr)) == 0)
		return fd;
	fd_free(&fd);
	return program_copy();
}

/* With few descriptors allowed, starting a container would fail half-way. */
static void
raise_descriptors(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_cur >= NOFILE_MIN)
		return;
	lim.rlim_cur = lim.rlim_max < NOFILE_MIN ? lim.rlim_max : NOFILE_MIN;
	setrlimit(RLIMIT_NOFILE, &lim);
}

/* What the libraries' start-up has read of their code is not read again: a port
 * that idles does not hold it. Only what cannot have been written. */
static int
pages_drop(struct dl_phdr_info *info, size_t size, void *data)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	(void)data;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		const uintptr_t from = (info->dlpi_addr + p->p_vaddr) & -page;
		const uintptr_t to = info->dlpi_addr + p->p_vaddr + p->p_memsz;

		if (p->p_type == PT_LOAD && !(p->p_flags & PF_W))
			madvise((void *)from, to - from, MADV_DONTNEED);
	}
	return 0;
}

/* The caller's descriptors are not ours: 0 to 2 are there, none is beyond. */
static void
clean_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (syscall(SYS_close_range, 3u, ~0u, 0u) == 0)
		return;
	for (fd = 3; fd < (int)sysconf(_SC_OPEN_MAX); fd++)
		close(fd);
}

/*
 * Fixed, but for what an ordinary user's liblxc needs to find its files, and
 * proxies, for templates. Neither the loader's variables nor LXC_MEMFD_REXEC
 * nor LISTEN_FDS get through.
 */
static char **
clean_environment(void)
{
	static const char *const kept[] = {
	    "HOME", "XDG_RUNTIME_DIR", "http_proxy", "https_proxy", "no_proxy"};
	static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:"
			     "/usr/bin:/sbin:/bin";
	static char mark[] = "ERLXC_REEXECUTED=1";
	static char *env[8] = {path, mark};
	const char *value;
	size_t n = 2;

	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++) {
		value = i == 0 && geteuid() == 0 ? "/root" : getenv(kept[i]);
		if (value != NULL && (i > 1 || value[0] == '/') &&
		    asprintf(&env[n], "%s=%s", kept[i], value) >= 0)
			n++;
	}
	return env;
}

/*
 * A container that opens the program for writing, through /proc/PID/exe of a
 * process of ours inside it, owns the host's. So the program executes itself
 * once more, from a file that cannot be written, and with the clean environment
 * that the loader and liblxc's constructors read before main. That it has
 * happened is not believed but seen.
 */
static void
reexecute(char *argv[])
{
	char **env = clean_environment();
	size_t n = 0;
	int fd;

	while (env[n] && environ[n] && strcmp(env[n], environ[n]) == 0)
		n++;
	if (env[n] == NULL && environ[n] == NULL && program_sealed())
		return;
	if (getenv("ERLXC_REEXECUTED") != NULL)
		die(1, "cannot run from a file that nobody can write");
	fd = program_seal();
	if (fd < 0)
		die(1, "cannot seal the program: %m");
	syscall(SYS_execveat, fd, "", argv, env, AT_EMPTY_PATH);
	die(1, "cannot execute the sealed program: %m");
}

void
start_clean(char *argv[])
{
	raise_descriptors();
	clean_descriptors();
	umask(022);
	reexecute(argv);
}

void
start_settle(void)
{
	dl_iterate_phdr(pages_drop, NULL);
}
