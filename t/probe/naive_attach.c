/* SPDX-License-Identifier: ISC */
/*
 * naive_attach PID COMMAND: how not to enter a container: as a program that can be
 * reached from there. When the command is a script of #!/proc/self/exe this program is
 * run again, inside; it stays there for a moment, as every program does.
 */
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int
main(int argc, char *argv[])
{
	int all = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
		  CLONE_NEWUTS;
	int fd, status;
	pid_t pid;

	if (argc < 3)
		return (int)sleep(1);
	fd = (int)syscall(SYS_pidfd_open, atoi(argv[1]), 0);
	if (fd == -1 || setns(fd, all) == -1)
		return 1;
	pid = fork();
	if (pid == 0) {
		execv(argv[2], argv + 2);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid)
		return 1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
