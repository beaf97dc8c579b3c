/* SPDX-License-Identifier: ISC */
/*
 * What a process was given, a line each: its working directory as the kernel has it,
 * its ids and session, its terminal, its descriptors (found without opening any), its
 * arguments and environment, which getenv could hide doubles of.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void
descriptor(int fd)
{
	char path[32], target[512];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target));
	printf("fd %d %.*s\n", fd, n < 0 ? 1 : (int)n, n < 0 ? "?" : target);
}

int
main(int argc, char *argv[], char *env[])
{
	char cwd[4096];
	struct stat root = {0};
	int tty;

	for (int fd = 0; fd < 4096; fd++)
		if (fcntl(fd, F_GETFD) != -1)
			descriptor(fd);
	printf(
	    "cwd %s\n", syscall(SYS_getcwd, cwd, sizeof(cwd)) < 0 ? "?" : cwd);
	stat("/", &root);
	printf("root %lu:%lu\n", (unsigned long)root.st_dev,
	    (unsigned long)root.st_ino);
	printf("ids %d %d\n", (int)getuid(), (int)getgid());
	printf("session %s\n", getsid(0) == getpid() ? "own" : "shared");
	tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
	printf("terminal %s\n", tty == -1 ? "none" : "controlling");
	printf("foreground %s\n", tcgetpgrp(tty) == getpgrp() ? "yes" : "no");
	printf("ttyname %s\n", ttyname(0) ? ttyname(0) : "none");
	printf("umask %03o\n", (unsigned)umask(0));
	printf("securebits %d\n", prctl(PR_GET_SECUREBITS));
	for (int i = 0; i < argc; i++)
		printf("arg %s\n", argv[i]);
	for (; *env; env++)
		printf("env %s\n", *env);
	return 0;
}
