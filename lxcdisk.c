/* SPDX-License-Identifier: ISC */
/*
 * The rows that change containers on disk; the table that they are in would be
 * too long for one file.
 */
#include <sys/file.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "erlxc.h"

#ifdef HAVE_LXC

/* The file that liblxc locks, and leaves. Its locks (fcntl(2)) are others, and
 * of one step each: of two creates the second would remove what the first has
 * half done, and a container can be started while it is destroyed. */
void
op_lock_open(struct erlxc *x)
{
	const char *run = geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");
	const char *home = run || !getenv("HOME") ? "" : getenv("HOME");
	AUTO_STRING file = format("%s%s/lxc/lock/%s/.%s", home,
	    run ? run : "/.cache/lxc/run", x->path, x->name);
	int fd;

	for (char *p = file; p != NULL && (p = strchr(p + 1, '/')) != NULL;) {
		*p = '\0';
		mkdir(file, 0755);
		*p = '/';
	}
	fd = file ? open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)
		  : -1;
	x->lock = fd > 0 ? fd : 0;
}

bool
op_lock(struct erlxc *x)
{
	bool ok;

	if (x->lock == 0)
		op_lock_open(x);
	op_deadline(LOCK_WAIT_MS, 0);
	ok = x->lock > 0 && flock(x->lock, LOCK_EX) == 0;
	op_deadline(-1, 0);
	return ok;
}

void
op_unlock(struct erlxc *x)
{
	if (x->lock > 0) {
		flock(x->lock, LOCK_UN);
		close(x->lock);
	}
	x->lock = 0;
}

enum partial
op_partial(const struct erlxc *x)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	AUTO_STRING file = op_file(x, "/partial");
	AUTO_FD fd = file ? open(file, O_RDWR | O_CLOEXEC | O_NONBLOCK) : -1;

	if (fd < 0)
		return PARTIAL_NONE;
	if (fcntl(fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
		return PARTIAL_LEFT;
	return PARTIAL_HELD;
}

void
op_destroy(struct call *call, struct lxc_container *c)
{
	struct erlxc *x = call->x;
	const enum partial p = op_partial(x);
	const bool defined = p != PARTIAL_NONE || c->is_defined(c);
	const char *why = p == PARTIAL_HELD ? "it is being created"
			  : !defined        ? "not defined"
					    : NULL;
	bool ok = why == NULL && op_discard(x);

	if (ok && x->c->is_defined(x->c)) /* liblxc is content with nothing */
		why = "lxc.rootfs.managed is 0";
	op_reply_bool(call, ok && why == NULL, why);
}

/* Templates write to the log pipe (1 and 2). One that removes its configuration
 * makes liblxc crash: this process, not the port. What liblxc takes for its own
 * failed attempt it removes, so it must not begin where something is. */
void
op_create(struct call *call, struct lxc_container *c)
{
	struct erlxc *x = call->x;
	const char *template = call->text[0], *bdevtype = call->text[1];
	const enum partial p = op_partial(x);
	const bool fresh = !op_file_exists(x, "");
	const bool old = op_file_exists(x, "/rootfs");
	const char *why;
	char *none[] = {NULL};
	bool ok = false;

	why = p == PARTIAL_HELD   ? "it is being created"
	      : p == PARTIAL_LEFT ? "half created: destroy it first"
	      : x->unread         ? "the configuration on disk cannot be loaded"
	      : *template && old && c->is_defined(c) ? "it exists"
	      : !op_is_stopped(c)                    ? "it is running"
						     : NULL;
	if (why == NULL) {
		x->ward->husk =
		    *template != '\0' && !old && !op_file_exists(x, "/config");
		ok = c->create(c, *template ? template : NULL,
		    *bdevtype ? bdevtype : NULL, NULL, call->number,
		    call->argv.n > 0 ? call->argv.v : none);
		x->ward->husk = false; /* liblxc has cleaned up by itself */
		if (!ok && fresh)
			op_dir_discard(x);
	}
	op_reply_bool(call, ok, why);
}

/* Without a rootfs liblxc would change the propagation of the host's mounts. */
void
op_rename(struct call *call, struct lxc_container *c)
{
	const struct erlxc other = {call->text[0], call->x->path};
	AUTO_STRING rootfs = op_fetch(c, c->get_config_item, "lxc.rootfs.path");
	const char *why = !c->is_defined(c) || !c->lxc_conf ? "not defined"
			  : !rootfs || !*rootfs             ? "it has no rootfs"
			  : op_file_exists(&other, "") ? "the name is taken"
			  : !op_is_stopped(c)          ? "it is running"
						       : NULL;

	op_reply_bool(call, !why && c->rename(c, other.name), why);
}

/* What a create left that was killed, or that killed itself, is a husk. */
bool
op_discard(struct erlxc *x)
{
	AUTO_STRING dir = NULL, *file = NULL, *rootfs = NULL;
	struct lxc_container *c;
	enum partial p;
	bool husk, ok;

	if (!op_open(x) || !op_lock(x) || (dir = op_file(x, "/")) == NULL ||
	    (file = op_file(x, "/config")) == NULL)
		return false;
	c = x->c;
	p = op_partial(x);
	husk = p == PARTIAL_LEFT || (x->ward && x->ward->husk);
	/* Without a configuration liblxc destroys nothing. */
	if (husk && !c->is_defined(c))
		mknod(file, S_IFREG | 0600, 0);
	/* A rootfs elsewhere was there before, and stays. */
	rootfs = op_fetch(c, c->get_config_item, "lxc.rootfs.path");
	if (husk && rootfs &&
	    (strncmp(rootfs, dir, strlen(dir)) != 0 ||
		strstr(rootfs, "/../") != NULL))
		c->clear_config_item(c, "lxc.rootfs.path");
	ok = !c->is_defined(c);
	/* STOPPED is announced before the monitor is done. */
	for (int i = 0; i < 5 && !ok && p != PARTIAL_HELD; i++) {
		usleep(i > 0 ? 100000 : 0);
		op_deadline(LOCK_WAIT_MS, 0);
		ok = c->destroy(c);
		op_deadline(-1, 0);
		if (!c->is_defined(c) || !op_is_stopped(c))
			break;
	}
	rmdir(dir); /* create had not come further */
	return ok;
}

#endif
