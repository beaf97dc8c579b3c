/* SPDX-License-Identifier: ISC */
/*
 * What a process must be before it is the port: with no descriptor, limit or
 * variable of its caller's, executing a file that nobody can write, and told what
 * it is to do.
 */
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <link.h>
#include <string.h>

#include "erlxc.h"

#define NOFILE_MIN 1024u /* descriptors that a process must be allowed */
#define EX_USAGE_ 64     /* exit status: EX_USAGE of sysexits.h */
#define SETTLE_MS 5      /* of quiet */
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

int
start_settle(bool quiet, int timeout)
{
	static bool settled;

	if (quiet && !settled)
		dl_iterate_phdr(pages_drop, NULL);
	settled = settled || quiet;
	return settled || (timeout >= 0 && timeout < SETTLE_MS) ? timeout
								: SETTLE_MS;
}

/* --- Options ----------------------------------------------------------- */

static const char usage[] =
    "usage: erlxc -n NAME [-P LXCPATH] [-t temporary|transient|permanent]\n"
    "             [-e lxc] [-o LOGFILE] [-l LEVEL] [-s SHUTDOWN_MS] [-v]\n"
    "       erlxc -h | --version\n"
    "The port program of erlxc, started by erlxc_drv: serves one container on\n"
    "standard input and output. README.md has the options and the protocol.\n";

/* The word's place in a list of words. */
static size_t
word_parse(const char *opt, const char *s, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(s, words[i]) == 0)
			return i;
	die(EX_USAGE_, "%s: '%s' is not one of its words; see -h", opt, s);
}

static void
option(int c, char *arg, struct erlxc *x, struct log *log)
{
	static const char *const words[] = {
	    "temporary", "transient", "permanent", "lxc"};
	char *end;
	long ms;

	switch (c) {
	case 'n':
		x->name = arg;
		break;
	case 'P':
		x->path = arg;
		break;
	case 't':
		x->type = (enum lifetime)word_parse("-t", arg, words, 3);
		break;
	case 'e':
		word_parse("-e", arg, words + 3, 1);
		break;
	case 'o':
		log->file = open(arg,
		    O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW |
			O_NOCTTY | O_NONBLOCK,
		    0600);
		if (log->file < 0)
			die(1, "-o: %s: %m", arg);
		break;
	case 'l':
		log->level = word_parse("-l", arg, log_levels, LOG_LEVELS);
		x->level = log_levels[log->level];
		break;
	case 's':
		ms = strtol(arg, &end, 10);
		if (*arg < '0' || *arg > '9' || *end || ms > INT_MAX / 2)
			die(EX_USAGE_, "-s: '%s' is no number of ms", arg);
		x->grace_ms = (int)ms;
		break;
	case 'v':
		log->verbose = true;
		break;
	case 'h':
		write_all(STDOUT_FILENO, usage, sizeof(usage) - 1);
		_exit(0);
	case 'V':
		dprintf(STDOUT_FILENO, "erlxc %s (protocol %d, liblxc %s)\n",
		    ERLXC_VERSION, ERLXC_PROTOCOL,
		    *op_lxc_version() ? op_lxc_version() : "none");
		_exit(0);
	default:
		die(EX_USAGE_, "unknown option or missing argument; see -h");
	}
}

void
start_options(int argc, char *argv[], struct erlxc *x, struct log *log)
{
	static const struct option longs[] = {
	    {"help", 0, NULL, 'h'}, {"version", 0, NULL, 'V'}, {0}};
	int c;

	opterr = 0;
	while ((c = getopt_long(
		    argc, argv, "+n:P:t:e:o:l:s:vh", longs, NULL)) != -1)
		option(c, optarg, x, log);
	if (optind < argc)
		die(EX_USAGE_, "unexpected argument '%s'", argv[optind]);
	if (x->name == NULL)
		die(EX_USAGE_, "-n NAME is missing; see -h");
	if (!op_valid_name(x->name))
		die(EX_USAGE_, "-n: not a container's name");
	if (x->path != NULL && x->path[0] != '/')
		die(EX_USAGE_, "-P: '%s' is no absolute path", x->path);
	/* They may be set anew later, when the old value is freed. */
	x->name = strdup(x->name);
	x->path = x->path ? strdup(x->path) : NULL;
	if (x->name == NULL || (x->path == NULL && !op_default_path(x)))
		die(1, "no memory, or no default lxcpath");
}
