/* SPDX-License-Identifier: ISC */
/*
 * spy: what a process inside can learn of those that come: reads the descriptors and
 * the environment of every other process, over and over, and says what it should not
 * see: a fourth descriptor, or a variable that an Erlang node has.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void
look(int pid)
{
	char path[64], text[4096];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/environ", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd == -1 ? -1 : read(fd, text, sizeof(text));
	if (n > 0 && memmem(text, (size_t)n, "BINDIR=", 7) != NULL)
		dprintf(1, "environ\n");
	for (int i = 3; fd != -1 && i < 64; i++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, i);
		n = readlink(path, text, sizeof(text));
		if (n > 0)
			dprintf(1, "fd %d %.*s\n", i, (int)n, text);
	}
	close(fd);
}

int
main(void)
{
	dprintf(1, "ready\n");
	for (int pid = 2;; pid = pid < 4096 ? pid + 1 : 2)
		if (pid != getpid())
			look(pid);
}
