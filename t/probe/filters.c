/* SPDX-License-Identifier: ISC */
/*
 * filters PID: the instructions of every seccomp filter of a process, a line a filter,
 * as the kernel gives them to a tracer. Runs on the host.
 */
#include <errno.h>
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#ifndef PTRACE_SECCOMP_GET_FILTER
#define PTRACE_SECCOMP_GET_FILTER 0x420c
#endif

int
main(int argc, char *argv[])
{
	static struct sock_filter insn[BPF_MAXINSNS];
	pid_t pid = argc == 2 ? atoi(argv[1]) : 0;
	long n = 0;

	if (pid < 2 || ptrace(PTRACE_ATTACH, pid, 0, 0) == -1 ||
	    waitpid(pid, NULL, __WALL) != pid) {
		perror("attach");
		return 1;
	}
	for (long i = 0; n >= 0; i++) {
		n = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, (void *)i, insn);
		for (long j = 0; j < n; j++)
			printf("%04x%02x%02x%08x", insn[j].code, insn[j].jt,
			    insn[j].jf, insn[j].k);
		printf(n > 0 ? "\n" : "");
	}
	/* The end of the filters, or of a process that has none. */
	n = errno == ENOENT || errno == EINVAL ? 0 : 1;
	if (n != 0)
		perror("filter");
	ptrace(PTRACE_DETACH, pid, 0, 0);
	return (int)n;
}
