/* SPDX-License-Identifier: ISC */
/*
 * exewrite PID: keeps the program of a process open, as a container could that
 * sees it in /proc, and when it is told that nobody runs it any more (a line, or
 * end-of-file), says whether it can be written now. Writes nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int
main(int argc, char *argv[])
{
	char path[64], c;
	int exe, fd, seals;
	bool sealed;

	if (argc != 2)
		return 64;
	snprintf(path, sizeof(path), "/proc/%.20s/exe", argv[1]);
	exe = open(path, O_RDONLY | O_CLOEXEC);
	printf("%s\n", exe == -1 ? strerror(errno) : "open");
	fflush(stdout);
	if (read(0, &c, 1) == -1)
		return 1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", exe);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd == -1) {
		printf("%s\n", errno == ETXTBSY ? "busy" : "refused");
		return 0;
	}
	seals = fcntl(fd, F_GET_SEALS);
	sealed = seals != -1 && (seals & F_SEAL_WRITE) != 0;
	printf("%s\n", sealed ? "sealed" : "writable");
	return 0;
}
