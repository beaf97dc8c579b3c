/* SPDX-License-Identifier: ISC */
/*
 * pty read COMMAND: runs a command on a pty, sends it a line, and reads what comes,
 * doing nothing else: prints the nanoseconds from the line to the end.
 * pty echo TIMES: the median of the nanoseconds from a byte written to a pty to its echo.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static char buf[64 << 10];

static long
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000L + ts.tv_nsec;
}

static void
child(int tty, int master, char *argv[])
{
	close(master);
	setsid();
	for (int fd = 0; fd < 3; fd++)
		dup2(tty, fd);
	close(tty);
	execv(argv[0], argv);
	_exit(127);
}

/* The end of a pty is EIO. */
static long
drain(int tty, int master, char *argv[])
{
	long begin;

	if (fork() == 0)
		child(tty, master, argv);
	close(tty);
	begin = now();
	if (write(master, "\n", 1) != 1)
		return -1;
	while (read(master, buf, sizeof(buf)) > 0)
		continue;
	begin = now() - begin;
	wait(NULL);
	return begin;
}

static int
by_value(const void *a, const void *b)
{
	long d = *(const long *)a - *(const long *)b;

	return d < 0 ? -1 : d > 0;
}

/* Nobody reads the line, which must not get too long. */
static long
echo(int tty, int master, size_t n)
{
	static long took[10000];

	if (n == 0 || n > sizeof(took) / sizeof(took[0]))
		return -1;
	for (size_t i = 0; i < n; i++) {
		long begin = now();

		if (write(master, "x", 1) != 1 || read(master, buf, 1) != 1)
			return -1;
		took[i] = now() - begin;
		if (i % 1000 == 999)
			tcflush(tty, TCIFLUSH);
	}
	qsort(took, n, sizeof(took[0]), by_value);
	return took[n / 2];
}

int
main(int argc, char *argv[])
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), tty;
	long ns;

	if (argc < 3 || grantpt(master) == -1 || unlockpt(master) == -1)
		return 1;
	tty = open(ptsname(master), O_RDWR | O_NOCTTY);
	if (strcmp(argv[1], "read") == 0)
		ns = drain(tty, master, argv + 2);
	else
		ns = echo(tty, master, strtoul(argv[2], NULL, 10));
	printf("%ld\n", ns);
	return ns > 0 ? 0 : 1;
}
