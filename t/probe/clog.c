/* SPDX-License-Identifier: ISC */
/*
 * clog FRAMES [hold]: writes the file FRAMES to standard output, over and over,
 * until nothing more is taken for half a second; says on standard error how many
 * bytes were, and ends, or with hold keeps the pipe open.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

/* False once the pipe stays full for half a second, or is broken. */
static int
taken(void)
{
	struct pollfd p = {.fd = 1, .events = POLLOUT};

	return poll(&p, 1, 500) == 1 && p.revents == POLLOUT;
}

int
main(int argc, char *argv[])
{
	static char frames[65536];
	size_t len, sent = 0;
	ssize_t n = 1;
	int fd;

	fd = argc > 1 ? open(argv[1], O_RDONLY) : -1;
	n = read(fd, frames, sizeof(frames));
	if (n <= 0 || fcntl(1, F_SETFL, O_NONBLOCK) == -1)
		return 64;
	/* Short writes go on where they ended: the frames stay whole. */
	for (len = (size_t)n; n > 0 && sent < 256u << 20 && taken();
	     sent += n > 0 ? (size_t)n : 0)
		n = write(1, frames + sent % len, len - sent % len);
	fprintf(stderr, "%zu\n", sent);
	return argc > 2 ? pause() : 0;
}
