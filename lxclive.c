/* SPDX-License-Identifier: ISC */
/*
 * The rows by which a running container is given something from outside, or has
 * it taken away: devices, interfaces, mounts.
 */
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "erlxc.h"

#ifdef HAVE_LXC

#define LIVE_TIMEOUT_MS 10000 /* for what is but a moment's work */

/* The reason why a container cannot be asked to do something, or NULL. What is
 * forked then must not find that the monitor does not answer. */
static const char *
refusal(struct lxc_container *c)
{
	const char *s;

	op_deadline(QUERY_TIMEOUT_MS, WORKER_TIMEOUT);
	s = op_state_of(c);
	if (s == NULL)
		_exit(WORKER_TIMEOUT);
	op_deadline(LIVE_TIMEOUT_MS, WORKER_TIMEOUT);
	return strcmp(s, "STOPPED") == 0 ? "not running" : NULL;
}

static bool
has_interface(struct lxc_container *c, const char *name)
{
	char **names = c->get_interfaces(c);
	bool found = false;

	for (int i = 0; names != NULL && names[i] != NULL; i++) {
		found = found || strcmp(names[i], name) == 0;
		free(names[i]);
	}
	free(names);
	return found;
}

/* attach_interface, detach_interface. liblxc sets the interface down before it
 * finds out that the container does not run, and the kernel moves it before it
 * finds out that the name is taken. */
void
op_interface(struct call *call, struct lxc_container *c)
{
	const bool in = *call->op->name == 'a';
	const char *dev = call->text[0];
	const char *to = *call->text[1] ? call->text[1] : NULL;
	const char *why = refusal(c);
	bool ok;

	if (in && why == NULL && if_nametoindex(dev) == 0)
		why = strerror(errno);
	if (why == NULL && (in ? has_interface(c, to ? to : dev)
			       : if_nametoindex(to ? to : dev) != 0))
		why = "an interface of that name exists";
	ok = !why && (in ? c->attach_interface(c, dev, to)
			 : c->detach_interface(c, dev, to));
	op_reply_bool(call, ok, why);
}

/* add_device_node, remove_device_node: not by liblxc, which looks on the host
 * for what the node is called in the container. The node comes first: who has
 * the right but not the node has nothing. */
void
op_device_node(struct call *call, struct lxc_container *c)
{
	struct erlxc *x = call->x;
	const bool add = *call->op->name == 'a';
	const char *host = call->text[0];
	const char *path = *call->text[1] ? call->text[1] : host;
	AUTO_STRING rule = NULL;
	struct stat st;
	int number = stat(host, &st) < 0                          ? errno
		     : S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode) ? 0
								  : ENODEV;
	bool ok = false;

	number = number ? number : op_init_identify(x, QUERY_TIMEOUT_MS);
	number = number ? number : ns_node(&x->init, path, &st, add);
	if (number == 0) {
		rule = format("%c %u:%u rwm", S_ISCHR(st.st_mode) ? 'c' : 'b',
		    major(st.st_rdev), minor(st.st_rdev));
		ok = rule && c->set_cgroup_item(c,
				 add ? "devices.allow" : "devices.deny", rule);
	}
	if (add && number == 0 && !ok)
		ns_node(&x->init, path, &st, false);
	op_reply_bool(call, ok,
	    number == 0       ? NULL
	    : number == ESRCH ? "not running"
			      : strerror(number));
}

/* liblxc mounts on the host first, in the directory that is shared with the
 * container: what is half-way must not be left there. */
void
op_mount(struct call *call, struct lxc_container *c)
{
	struct lxc_mount api = {.version = LXC_MOUNT_API_V1};
	char **text = call->text;
	const char *why = refusal(c);
	bool ok;

	op_deadline(-1, 0);
	ok = !why && c->mount(c, *text[0] ? text[0] : NULL, text[1],
			 *text[2] ? text[2] : NULL, (unsigned)call->number,
			 *text[3] ? text[3] : NULL, &api) == 0;
	op_reply_bool(call, ok, why);
}

/* A failure is not below 0 here. */
void
op_umount(struct call *call, struct lxc_container *c)
{
	struct lxc_mount api = {.version = LXC_MOUNT_API_V1};
	const char *why = refusal(c);

	op_reply_bool(call,
	    !why &&
		c->umount(c, call->text[0], (unsigned)call->number, &api) == 0,
	    why);
}

#endif
