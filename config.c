/* SPDX-License-Identifier: ISC */
/*
 * Configuration text, lxc.container.conf(5): the names that keys had before LXC
 * 2.1, in calls and in files, with the files that those include.
 */
#include <sys/mman.h>
#include <sys/stat.h>

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "erlxc.h"

#define CONFIG_MAX (1L << 20) /* bytes of a file */
#define INCLUDE_DEPTH 8       /* files that include files */

char *
format(const char *template, ...)
{
	va_list args;
	char *s;
	int n;

	va_start(args, template);
	n = vasprintf(&s, template, args);
	va_end(args);
	return n < 0 ? NULL : s;
}

/* Without their "lxc."; NULL: ignored. One that ends in a dot is a prefix. The
 * rootfs' backend is found by liblxc itself or named in the rootfs' path. */
static const struct {
	const char *old, *new;
} renamed[] = {{"utsname", "uts.name"}, {"rootfs", "rootfs.path"},
    {"rootfs.backend", NULL}, {"mount", "mount.fstab"}, {"pts", "pty.max"},
    {"tty", "tty.max"}, {"devttydir", "tty.dir"}, {"console", "console.path"},
    {"aa_profile", "apparmor.profile"},
    {"aa_allow_incomplete", "apparmor.allow_incomplete"},
    {"se_context", "selinux.context"}, {"seccomp", "seccomp.profile"},
    {"id_map", "idmap"}, {"init_cmd", "init.cmd"}, {"init_uid", "init.uid"},
    {"init_gid", "init.gid"}, {"haltsignal", "signal.halt"},
    {"rebootsignal", "signal.reboot"}, {"stopsignal", "signal.stop"},
    {"syslog", "log.syslog"}, {"loglevel", "log.level"},
    {"logfile", "log.file"}, {"limit", "prlimit"}, {"limit.", "prlimit."},
    {"network", "net"}, {"kmsg", NULL}, {"pivotdir", NULL}};

/* lxc.network.KEY is about the device started last, whose index is *nic (-1:
 * none); setting its type starts the next one. lxc.network.N.KEY names one. */
static bool
network_today(const char *key, int *nic, bool set, char **today)
{
	long n = *nic;
	char *end;

	if (isdigit((unsigned char)*key)) {
		n = strtol(key, &end, 10);
		key = end + (*end == '.');
	} else if (set && strcmp(key, "type") == 0) {
		n = ++*nic;
	}
	errno = EINVAL;
	if (n < 0 || n > INT_MAX)
		return false;
	*today = format("lxc.net.%ld%s%s%s", n, *key ? "." : "", key,
	    strcmp(key, "ipv4") && strcmp(key, "ipv6") ? "" : ".address");
	return *today != NULL;
}

bool
config_key(const char *key, int *nic, bool set, char **today)
{
	const char *const tail = key + 4, *old;
	size_t len;

	if (strncmp(key, "lxc.network.", 12) == 0 && key[12] != '\0')
		return network_today(key + 12, nic, set, today);
	for (size_t i = 0; i < sizeof(renamed) / sizeof(*renamed); i++) {
		old = renamed[i].old;
		len = strlen(old);
		if (strncmp(key, "lxc.", 4) != 0 ||
		    strncmp(tail, old, len) != 0 ||
		    (old[len - 1] != '.' && tail[len] != '\0'))
			continue;
		if (renamed[i].new == NULL)
			return true;
		*today = format("lxc.%s%s", renamed[i].new, tail + len);
		return *today != NULL;
	}
	return (*today = strdup(key)) != NULL;
}

FILE *
config_out(void)
{
	const int fd = memfd_create("config", MFD_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w+");

	if (f == NULL && fd >= 0)
		close(fd);
	return f;
}

/* The key and value of a line, malloc'd, the value without the blanks and the
 * quotes around it. False: it has none, a comment or what liblxc skips. */
static bool
line_split(const char *line, char **key, char **value)
{
	int at = 0;
	size_t len;

	if (sscanf(line, " %m[^= \t\r] =%n", key, &at) != 1 || at == 0 ||
	    strncmp(*key, "lxc.", 4) != 0)
		return false;
	line += at + (int)strspn(line + at, " \t\r");
	for (len = strlen(line); len > 0 && strchr(" \t\r", line[len - 1]);)
		len--;
	if (len > 1 && strchr("'\"", *line) && line[len - 1] == *line)
		return (*value = strndup(line + 1, len - 2)) != NULL;
	return (*value = strndup(line, len)) != NULL;
}

static bool
dir_translate(struct config *t, const char *path, int depth)
{
	struct dirent **list = NULL;
	const int n = scandir(path, &list, NULL, alphasort);
	bool ok = n >= 0;

	for (int i = 0; i < n; i++) {
		AUTO_STRING file = format("%s/%s", path, list[i]->d_name);

		if (ok && fnmatch("?*.conf", list[i]->d_name, 0) == 0)
			ok = file != NULL && config_translate(t, file, depth);
		free(list[i]);
	}
	free(list);
	return ok;
}

bool
config_include(struct config *t, const char *path, int depth)
{
	const long at = ftell(t->out);
	const bool used = t->used;
	struct stat st;

	t->used = false;
	if (stat(path, &st) == 0 &&
	    !(S_ISDIR(st.st_mode) ? dir_translate(t, path, depth + 1)
				  : config_translate(t, path, depth + 1)))
		return false;
	if (!t->used && (fseek(t->out, at, SEEK_SET) < 0 ||
			    ftruncate(fileno(t->out), at) < 0 ||
			    fprintf(t->out, "lxc.include = %s\n", path) < 0))
		return false;
	t->used = t->used || used;
	return true;
}

static bool
line_translate(struct config *t, const char *line, int depth)
{
	AUTO_STRING key = NULL, *value = NULL, *today = NULL;
	int n;

	if (!line_split(line, &key, &value))
		return fprintf(t->out, "%s\n", line) > 0;
	if (strcmp(key, "lxc.include") == 0 && *value != '\0')
		return config_include(t, value, depth);
	if (sscanf(key, "lxc.net.%d", &n) == 1 && n > t->nic)
		t->nic = n;
	if (!config_key(key, &t->nic, true, &today))
		return false;
	if (today != NULL && strcmp(today, key) == 0)
		return fprintf(t->out, "%s\n", line) > 0;
	t->used = true;
	return today == NULL || fprintf(t->out, "%s = %s\n", today, value) > 0;
}

bool
config_translate(struct config *t, const char *path, int depth)
{
	AUTO_STRING line = NULL;
	AUTO_FILE f = NULL;
	struct stat st;
	size_t size = 0;

	if (stat(path, &st) < 0)
		return false;
	errno = EINVAL;
	if (depth > INCLUDE_DEPTH || !S_ISREG(st.st_mode) ||
	    st.st_size > CONFIG_MAX || (f = fopen(path, "re")) == NULL)
		return false;
	while (getline(&line, &size, f) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (ftell(t->out) > 4 * CONFIG_MAX ||
		    !line_translate(t, line, depth))
			return false;
	}
	return !ferror(f);
}
