/* SPDX-License-Identifier: ISC */
/*
 * pipe COMMAND: what a port cannot be faster than: runs a command, reads its output
 * and sends it in {packet,4} frames of at most 64 KiB, with no window and nobody
 * else to look after. Begins when a frame arrives.
 */
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

static uint8_t buf[4 + (64u << 10)];

static int
send_frame(size_t len)
{
	size_t sent = 0;

	for (int i = 0; i < 4; i++)
		buf[i] = (uint8_t)(len >> (24 - 8 * i));
	while (sent < len + 4) {
		ssize_t n = write(1, buf + sent, len + 4 - sent);

		if (n <= 0)
			return -1;
		sent += (size_t)n;
	}
	return 0;
}

int
main(int argc, char *argv[])
{
	ssize_t n;
	int fd[2];

	if (argc < 2 || read(0, buf, sizeof(buf)) <= 0 || pipe(fd) == -1)
		return 1;
	if (fork() == 0) {
		dup2(fd[1], 1);
		close(fd[0]);
		execv(argv[1], argv + 1);
		_exit(127);
	}
	close(fd[1]);
	while ((n = read(fd[0], buf + 4, sizeof(buf) - 4)) > 0)
		if (send_frame((size_t)n) == -1)
			return 1;
	wait(NULL);
	return (int)(read(0, buf, 1) < 0);
}
