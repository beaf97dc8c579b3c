/* SPDX-License-Identifier: ISC */
/*
 * squat ADDRESS PID [INODE]: another user of the host, who listens at a container's
 * abstract address before its monitor does, and answers as that would: it runs,
 * and PID is its init. With an INODE it is silent, then gone, but for a socket whose name
 * makes a line of its own in /proc/net/unix, where that inode listens.
 */
#include <sys/socket.h>
#include <sys/un.h>

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int
bound(int type, const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	const size_t len = strlen(name);
	const int fd = socket(AF_UNIX, type, 0);

	if (len >= sizeof(a.sun_path))
		return -1;
	memcpy(a.sun_path + 1, name, len);
	return bind(fd, (struct sockaddr *)&a,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			       len)) == 0
		   ? fd
		   : -1;
}

int
main(int argc, char *argv[])
{
	struct {
		int number, len;
		uint64_t data;
	} m;
	char line[256];
	int s, c;

	if (argc < 3 || setgid(65534) < 0 || setuid(65534) < 0)
		return 64;
	s = bound(SOCK_STREAM, argv[1]);
	snprintf(line, sizeof(line), "\n0 0 0 10000 0 0 %s @%s",
	    argc > 3 ? argv[3] : "0", argv[1]);
	if (s < 0 || listen(s, 100) < 0 ||
	    (argc > 3 && bound(SOCK_DGRAM, line) < 0))
		return 1;
	puts("ready");
	fflush(stdout);
	if (argc > 3) {
		accept(s, NULL, NULL);
		close(s);
		pause();
	}
	while ((c = accept(s, NULL, NULL)) >= 0) {
		while (recv(c, &m, sizeof(m), 0) == (ssize_t)sizeof(m)) {
			m.data = m.number == 3 ? 2 : strtoul(argv[2], NULL, 10);
			m.number = 0;
			m.len = 0;
			send(c, &m, sizeof(m), MSG_NOSIGNAL);
		}
		close(c);
	}
	return 1;
}
