/* SPDX-License-Identifier: ISC */
/*
 * deaf [mute]: reads nothing and ignores every signal that it may; with mute it closes
 * its standard descriptors too. SIGUSR1 ends it, with status 3.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static void
end(int sig)
{
	(void)sig;
	_exit(3);
}

int
main(int argc, char *argv[])
{
	(void)argv;
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_IGN);
	signal(SIGUSR1, end);
	dprintf(1, "ready\n");
	for (int fd = 0; argc > 1 && fd < 3; fd++)
		close(fd);
	for (;;)
		pause();
}
