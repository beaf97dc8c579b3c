/* SPDX-License-Identifier: ISC */
/*
 * daemon keep | drop: forks twice and leaves its session for one of its own, so that
 * no signal to its group or session finds it; keeps its standard descriptors, or
 * gives them up. The first process says the daemon's pid, and ends with status 7.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void
live(int keep)
{
	setsid();
	signal(SIGHUP, SIG_IGN);
	for (int fd = 0; !keep && fd < 3; fd++)
		close(fd);
	for (;;)
		pause();
}

int
main(int argc, char *argv[])
{
	int keep = argc == 2 && strcmp(argv[1], "keep") == 0, status;
	pid_t child = fork(), daemon;

	if (child == 0) {
		setsid();
		daemon = fork();
		if (daemon == 0)
			live(keep);
		dprintf(1, "%d\n", daemon);
		_exit(daemon == -1);
	}
	if (waitpid(child, &status, 0) != child || status != 0)
		return 71;
	return 7;
}
