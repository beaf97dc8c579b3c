/* SPDX-License-Identifier: ISC */
/* die SIGNAL: writes a line, and is killed by a signal. */
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

int
main(int argc, char *argv[])
{
	struct rlimit none = {0, 0};

	if (argc != 2 || setrlimit(RLIMIT_CORE, &none) == -1 ||
	    write(1, "out\n", 4) != 4)
		return 64;
	raise(atoi(argv[1]));
	return 65;
}
