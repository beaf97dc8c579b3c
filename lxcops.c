/* SPDX-License-Identifier: ISC */
/*
 * The command table: one row a command, and the row's function. A row has its
 * arguments read and found right (op_args_read), acts and replies; a wrong request
 * has cost nothing by then. This file alone calls liblxc. What its rows avoid
 * is named at each.
 */
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "erlxc.h"

#define RESULT_MAX ((16u << 20) - (64u << 10)) /* a frame, less its why */
#define WHY_MAX (64u << 10)

/* --- liblxc ------------------------------------------------------------ */

#ifdef HAVE_LXC
#include <lxc/version.h>

#define LXC_BUILT                                              \
	(LXC_VERSION_MAJOR * 10000 + LXC_VERSION_MINOR * 100 + \
	    LXC_VERSION_MICRO)

#define SYMBOLS(X)                      \
	X(lxc_config_item_is_supported) \
	X(lxc_container_new)            \
	X(lxc_container_put)            \
	X(lxc_get_global_config_item)   \
	X(lxc_get_version)              \
	X(lxc_get_wait_states)          \
	X(lxc_has_api_extension)        \
	X(lxc_log_close)                \
	X(lxc_log_init)

static struct {
	void *handle;
#define POINTER(name) __typeof__(name) *name;
	SYMBOLS(POINTER)
#undef POINTER
} lxc;

/* Not linked but loaded, once the program has executed itself again: that is
 * most of what starting costs. Without liblxc a port starts and says notsup. */
static bool
lxc_load(void)
{
	void *h = lxc.handle ? NULL : dlopen("liblxc.so.1", RTLD_LAZY);
	bool ok = h != NULL;

#define LOAD(name) ok = ok && (*(void **)&lxc.name = dlsym(h, #name)) != NULL;
	SYMBOLS(LOAD)
#undef LOAD
	if (ok)
		lxc.handle = h;
	return lxc.handle != NULL;
}

#else
#define lxc_load() false
#endif

/* --- Arguments and replies --------------------------------------------- */
void
op_raise(struct call *call, const char *class)
{
	call->verdict = OP_RAISE;
	etf_rewind(&call->result, 0);
	etf_put_atom(&call->result, class);
}

void
op_fail(struct call *call, const char *why)
{
	call->verdict = OP_FAILED;
	if (why != NULL)
		etf_put_raw(&call->why, why, strlen(why));
}

/* A row that asks or does one thing. */
#define ROW(name, reply)                                             \
	static void name(struct call *call, struct lxc_container *c) \
	{                                                            \
		(void)c;                                             \
		reply;                                               \
	}

ROW(op_name, etf_put_string(&call->result, call->x->name))
ROW(op_type, etf_put_atom(&call->result, op_lifetimes[call->x->type]))
ROW(op_set_type, call->x->type = (enum lifetime)call->number;
    etf_put_bool(&call->result, true))

const char *
op_lxc_version(void)
{
#ifdef HAVE_LXC
	if (lxc_load())
		return lxc.lxc_get_version();
#endif
	return "";
}

void
op_put_started(struct etf_writer *w, const struct erlxc *x, pid_t pid)
{
	etf_put_tuple(w, 2u + (x->stream != 0));
	etf_put_atom(w, "ok");
	if (x->stream != 0)
		etf_put_uint(w, x->stream);
	etf_put_int(w, pid);
}

ROW(op_version, etf_put_string(&call->result, op_lxc_version()))

bool
op_default_path(struct erlxc *x)
{
	const char *path = NULL;

	if (x->path != NULL)
		return true;
#ifdef HAVE_LXC
	if (lxc_load())
		path = lxc.lxc_get_global_config_item("lxc.lxcpath");
#endif
	x->path = strdup(path ? path : "/var/lib/lxc");
	return x->path != NULL;
}

/* The old handle keeps the old name: the port opens another one. */
static void
renamed_to(struct erlxc *x, struct etf_reader *in)
{
	char *name = etf_get_string(in, NAME_MAX_LEN);

	if (name == NULL)
		return;
	free(x->name);
	x->name = name;
}

/* In its own place: the handle has the configuration from before. */
static void
restored_to(struct erlxc *x, struct etf_reader *in)
{
	AUTO_STRING name = NULL;

	free(etf_get_string(in, NAME_MAX_LEN)); /* the snapshot */
	name = etf_get_string(in, NAME_MAX_LEN);
	if (name == NULL || (*name != '\0' && strcmp(name, x->name) != 0))
		return;
	op_close(x);
	op_open(x);
}

#ifdef HAVE_LXC

#define FD_FILE "/proc/self/fd/%d" /* liblxc takes names only */
#define LOG_MAX (15u << 20)        /* of a console: fits a frame */
#define ASK_AGAIN_MS 200           /* a monitor that gave no answer */
#define WAIT_MAX_S 64              /* that a monitor is waited for at once */
#define WAIT_STEP_US 20000      /* between two looks at a stopped container */
#define ATTACH_TIMEOUT_MS 10000 /* for entering a container */
#define STOP_TIMEOUT_MS 30000   /* for what liblxc does not bound */
#define STOP_ASK_MS 5000        /* for a container to end by its monitor */

static int log_fd;  /* the memfd that liblxc's log goes to, or 0 */
static bool shared; /* it is another process's still */

void
op_reply_bool(struct call *call, bool ok, const char *why)
{
	etf_put_bool(&call->result, ok);
	if (!ok)
		op_fail(call, why);
}

/* A getter's answer, or none for the reason stated. */
static void
reply_item(struct call *call, const char *value, const char *why)
{
	const size_t len = value ? strlen(value) : 0;
	const bool line = len > 0 && value[len - 1] == '\n';

	if (value != NULL) {
		etf_put_binary(&call->result, value, len - line);
	} else {
		etf_put_atom(&call->result, "none");
		op_fail(call, why);
	}
}

void
op_reply_strings(struct call *call, const struct strings *l)
{
	etf_put_list(&call->result, (uint32_t)l->n);
	for (size_t i = 0; i < l->n; i++)
		etf_put_string(&call->result, l->v[i]);
	etf_put_nil(&call->result);
}

static void
reply_error(struct call *call, const char *name, const char *why)
{
	etf_put_tuple(&call->result, 2);
	etf_put_atom(&call->result, "error");
	etf_put_atom(&call->result, name);
	op_fail(call, why);
}

/* --- The log, liblxc's only account of its reasons --------------------- */
/* From notice on: init's pid is one (log_end), and liblxc's level is set once
 * and for all. An open log is never opened again, and two processes that write
 * to one would find each other's reasons. */
void
op_forked(struct erlxc *x)
{
	struct lxc_log log = {.quiet = true};
	AUTO_STRING file = NULL;

	shared = false;
	if (!lxc_load())
		return;
	lxc.lxc_log_close();
	if (log_fd > 0)
		close(log_fd);
	log_fd = memfd_create("liblxc.log", MFD_CLOEXEC);
	if (log_fd < 0)
		return;
	log.file = file = format(FD_FILE, log_fd);
	log.level =
	    strstr("trace debug info notice", x->level) ? x->level : "notice";
	lxc.lxc_log_init(&log);
}

void
op_spare(struct erlxc *x)
{
	(void)x;
	shared = true;
}

/* Before liblxc is called in a process that may have been a spare one. */
static void
log_own(struct erlxc *x)
{
	if (shared)
		op_forked(x);
}

/* What is in the log from there on goes. */
static void
log_cut(off_t at)
{
	if (log_fd > 0 && !shared && ftruncate(log_fd, at) < 0)
		errno = 0;
}

/* Lines of rows that succeeded are no reasons for the next failure. */
static void
log_clear(void)
{
	log_cut(0);
}

/* The message of a line that tells of an error, else NULL. It is
 * "lxc NAME DATE LEVEL CATEGORY - FILE:FUNCTION:LINE - MESSAGE". */
static const char *
log_message(const char *line)
{
	const char *head = strstr(line, " - ");
	const char *text = head ? strstr(head + 3, " - ") : NULL;
	size_t len;

	for (; text != NULL && line < head; line += len + 1) {
		len = strcspn(line, " ");
		if (op_one_of("ERROR|CRIT|ALERT|FATAL", line, len))
			return text + 3;
	}
	return NULL;
}

/* After a row: the reason of a failure that stated none; with `init`, the pid
 * logged for one. Lines that only a lower level asked for go to the log pipe;
 * errors, liblxc wrote there. */
static void
log_end(struct call *call, pid_t *init)
{
	const bool more = strcmp(call->x->level, "error") != 0;
	const bool want = call->verdict == OP_FAILED && call->why.len == 0;
	AUTO_STRING file = NULL, *line = NULL;
	AUTO_FILE f = NULL;
	const char *text;
	size_t size = 0;

	if (log_fd <= 0 || shared ||
	    (call->verdict == OP_OK && !more && !init) ||
	    (file = format(FD_FILE, log_fd)) == NULL)
		return;
	f = fopen(file, "re");
	while (f != NULL && getline(&line, &size, f) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (init != NULL && strstr(line, "Started \"") &&
		    (text = strstr(line, "\" with pid \"")) != NULL)
			sscanf(text, "\" with pid \"%d", init);
		text = log_message(line);
		if (text == NULL && more)
			dprintf(STDERR_FILENO, "%s\n", line);
		if (text == NULL || !want)
			continue;
		etf_put_raw(&call->why, "\n", call->why.len > 0);
		etf_put_raw(&call->why, text, strlen(text));
	}
	log_clear();
}

static int expired; /* the status to exit with, or 0 */

static void
on_alarm(int signo)
{
	(void)signo;
	if (expired == 0)
		return;
	/* What liblxc has forked for the row would do it later. */
	signal(SIGTERM, SIG_IGN);
	kill(0, SIGTERM);
	_exit(expired);
}

void
op_deadline(int64_t ms, int status)
{
	const struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = 0};
	struct itimerval t = {0};

	if (ms >= 0)
		t.it_value = (struct timeval){ms / 1000, ms % 1000 * 1000 + 1};
	expired = status;
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
}

/* --- The handle -------------------------------------------------------- */
/* Loads what was translated of `path`. A file without old keys is loaded by its
 * own name, which hooks are told, with one more slash: for its own spelling
 * liblxc would wait for the disk lock. */
static bool
translation_load(struct config *t, struct lxc_container *c, const char *path)
{
	AUTO_STRING file = t->used
			       ? format(FD_FILE, fileno(t->out))
			       : format("%s%s", *path == '/' ? "/" : "", path);

	return fflush(t->out) == 0 && file && c->load_config(c, file);
}

char *
op_file(const struct erlxc *x, const char *tail)
{
	return format("%s/%s%s", x->path, x->name, tail);
}

bool
op_file_exists(const struct erlxc *x, const char *tail)
{
	AUTO_STRING file = op_file(x, tail);

	return file == NULL || access(file, F_OK) == 0;
}

const char *
op_path_why(const struct erlxc *x)
{
	static char why[PATH_MAX + 64];

	if (access(x->path, W_OK) == 0)
		return NULL;
	snprintf(why, sizeof(why), "%s: %s", x->path, strerror(errno));
	return why;
}

void
op_dir_discard(const struct erlxc *x)
{
	AUTO_STRING dir = op_file(x, "");

	if (dir != NULL)
		rmdir(dir); /* only an empty one */
}

/* liblxc gives no handle for a configuration that it cannot parse; here there
 * is a bare one, by which the container can be stopped or destroyed: ".." in
 * its path leads to the same lock, but through a directory that does not exist
 * no configuration is found. */
struct lxc_container *
op_bare_new(const char *name, const char *path)
{
	AUTO_STRING bare = format("/.erlxc-none/..%s", path);
	struct lxc_container *c =
	    bare ? lxc.lxc_container_new(name, bare) : NULL;

	if (c == NULL || c->set_config_path(c, path))
		return c;
	lxc.lxc_container_put(c);
	return NULL;
}

/* A configuration with old keys is never shown to liblxc. */
bool
op_open(struct erlxc *x)
{
	AUTO_FILE out = config_out();
	struct config t = {.out = out, .nic = -1};
	AUTO_STRING file = NULL;
	bool read, absent;

	if (!lxc_load())
		return false;
	log_own(x);
	op_close(x);
	if (out == NULL || !op_valid_name(x->name) || !op_default_path(x) ||
	    x->path[0] != '/' || (file = op_file(x, "/config")) == NULL)
		return false;
	read = config_translate(&t, file, 0);
	absent = !read && (errno == ENOENT || errno == ENOTDIR);
	if (absent || (read && !t.used)) {
		op_deadline(LOCK_WAIT_MS, 0);
		x->c = lxc.lxc_container_new(x->name, x->path);
		op_deadline(-1, 0);
	}
	if (x->c != NULL)
		return true;
	x->c = op_bare_new(x->name, x->path);
	if (x->c != NULL && !absent &&
	    !(read && translation_load(&t, x->c, file))) {
		x->c->clear_config(x->c);
		x->unread = true;
	}
	return x->c != NULL;
}

void
op_close(struct erlxc *x)
{
	if (x->c != NULL)
		lxc.lxc_container_put(x->c);
	x->c = NULL;
	x->unread = false;
}

/* A monitor that is going away drops the question; asked again, it is gone:
 * STOPPED. */
const char *
op_state_of(struct lxc_container *c)
{
	const int64_t until = now_ms() + ASK_AGAIN_MS;
	const char *s;

	for (; now_ms() <= until; usleep(5000)) {
		s = c->state(c);
		if (s != NULL && strcmp(s, "INVALID STATE") != 0)
			return s;
	}
	return NULL;
}

/* In what is not killed half-way and must not hang: that its monitor, if there
 * is one, answers now. */
static bool
answers(struct lxc_container *c)
{
	bool ok;

	op_deadline(QUERY_TIMEOUT_MS, WORKER_TIMEOUT);
	ok = op_state_of(c) != NULL;
	op_deadline(-1, 0);
	return ok;
}

bool
op_is_stopped(struct lxc_container *c)
{
	const char *s = op_state_of(c);

	return s != NULL && strcmp(s, "STOPPED") == 0;
}

/* --- Rows: the configuration ------------------------------------------- */

/* Most fit at once: to ask for the length first is to ask the monitor twice. */
char *
op_fetch(struct lxc_container *c, op_getter *get, const char *key)
{
	char text[4096], *s;
	int len = get(c, key, text, sizeof(text));
	struct stat st = {.st_size = 0};

	if (len >= 0 && (size_t)len < sizeof(text))
		return strndup(text, (size_t)len);
	if (log_fd > 0)
		fstat(log_fd, &st);
	len = get(c, key, NULL, 0);
	s = len < 0 ? NULL : calloc(1, (size_t)len + 1);
	if (s != NULL)
		log_clear(); /* it was for want of room only */
	else
		log_cut(st.st_size); /* told once */
	if (s != NULL && len > 0 && get(c, key, s, len + 1) < 0) {
		free(s);
		return NULL;
	}
	return s;
}

/* The index of the last network device, -1: none. There may be gaps. */
static int
nic_last(struct lxc_container *c)
{
	AUTO_STRING types = op_fetch(c, c->get_config_item, "lxc.net");
	char key[32];
	int left = 0, i = -1;

	for (const char *p = types; p != NULL && *p != '\0'; p++)
		left += *p == '\n';
	while (left > 0 && i < 4095) {
		snprintf(key, sizeof(key), "lxc.net.%d.type", ++i);
		left -= c->get_config_item(c, key, NULL, 0) >= 0;
	}
	return i;
}

/* Puts config_key() of the first argument in its place. */
static bool
key_current(struct call *call, bool set)
{
	AUTO_STRING key = call->text[0];
	int nic = strncmp(key, "lxc.network.", 12) ? -1 : nic_last(call->x->c);

	errno = 0;
	call->text[0] = NULL;
	return config_key(key, &nic, set, &call->text[0]);
}

static void
op_config_file_name(struct call *call, struct lxc_container *c)
{
	AUTO_STRING name = c->config_file_name(c);

	etf_put_string(&call->result, name ? name : "");
}

ROW(op_get_config_path, etf_put_string(&call->result, c->get_config_path(c)))

/* Neither the handle's configuration nor its lock moves along. */
static void
op_set_config_path(struct call *call, struct lxc_container *c)
{
	struct erlxc *x = call->x;
	const bool ok = c->set_config_path(c, call->text[0]);

	if (ok) {
		free(x->path);
		x->path = call->text[0];
		call->text[0] = NULL;
	}
	op_reply_bool(call, ok, NULL);
}

/* No configuration, as after clear_config, is an answer and no crash. */
#define WHY_NONE(c) ((c)->lxc_conf ? "no such key" : "no configuration")

static void
op_get_config_item(struct call *call, struct lxc_container *c)
{
	AUTO_STRING value = NULL;

	if (key_current(call, false))
		value = call->text[0]
			    ? op_fetch(c, c->get_config_item, call->text[0])
			    : strdup("");
	reply_item(call, value, WHY_NONE(c));
}

static void
op_get_keys(struct call *call, struct lxc_container *c)
{
	AUTO_STRING keys = NULL;
	const bool all = *call->text[0] == '\0';

	if (key_current(call, false) && call->text[0])
		keys = op_fetch(c, c->get_keys, all ? NULL : call->text[0]);
	etf_put_string(&call->result, keys ? keys : "");
	if (keys == NULL)
		op_fail(call, WHY_NONE(c));
}

/* An included file may have old keys, or be a FIFO that nobody writes to. */
static bool
include_set(struct lxc_container *c, const char *path)
{
	AUTO_FILE out = config_out();
	struct config t = {.out = out, .nic = nic_last(c)};

	if (out == NULL || !config_include(&t, path, 0))
		return false;
	return t.used ? translation_load(&t, c, path)
		      : c->set_config_item(c, "lxc.include", path);
}

/* set_config_item, clear_config_item */
static void
op_config_item(struct call *call, struct lxc_container *c)
{
	const char *value = call->text[1]; /* NULL: to be cleared */
	bool ok = key_current(call, value != NULL);
	const char *key = call->text[0];
	AUTO_STRING why = NULL;

	if (!ok || key == NULL)
		; /* of no effect */
	else if (value == NULL)
		ok = c->clear_config_item(c, key);
	else if (strcmp(key, "lxc.include") == 0 && *value != '\0')
		ok = include_set(c, value);
	else
		ok = c->set_config_item(c, key, value);
	if (!ok)
		why = format("%s = %.200s: %s", key ? key : "no such device",
		    value ? value : "", strerror(errno ? errno : EINVAL));
	op_reply_bool(call, ok, NULL);
	log_end(call, NULL);
	if (call->why.len == 0 && why != NULL)
		op_fail(call, why);
}

ROW(op_clear_config, c->clear_config(c); op_reply_bool(call, true, NULL))

/* Loading adds to what there is, and lists grow: a hook would run twice. The
 * container's own file therefore takes the place of what was loaded. */
static void
op_load_config(struct call *call, struct lxc_container *c)
{
	AUTO_FILE out = config_out();
	struct config t = {.out = out, .nic = -1};
	AUTO_STRING own = c->config_file_name(c);
	const char *file = *call->text[0] ? call->text[0] : own;
	bool ok = own && out && config_translate(&t, file, 0);

	if (ok && strcmp(file, own) == 0)
		c->clear_config(c);
	ok = ok && translation_load(&t, c, file);
	call->x->unread = call->x->unread && !ok;
	op_reply_bool(call, ok, NULL);
}

/* liblxc would wait for a FIFO's reader, and the little that a handle knows of
 * a configuration never loaded would take its place. */
static void
op_save_config(struct call *call, struct lxc_container *c)
{
	const char *path = call->text[0], *why = NULL;
	AUTO_STRING own = c->config_file_name(c);
	const char *file = *path ? path : own;
	const bool fresh = !op_file_exists(call->x, "");
	struct stat st;
	bool ok = false;

	if (own != NULL && stat(file, &st) == 0 && !S_ISREG(st.st_mode)) {
		why = "not a regular file";
	} else if (own && call->x->unread && strcmp(file, own) == 0) {
		why = op_path_why(call->x);
		why = why ? why : "the configuration on disk was never loaded";
	} else if (own != NULL) {
		op_deadline(LOCK_WAIT_MS, 0);
		ok = c->save_config(c, *path ? path : NULL);
		if (!ok && *path == '\0')
			why = op_path_why(call->x);
	}
	if (fresh)
		op_dir_discard(call->x);
	op_reply_bool(call, ok, why);
}

/* liblxc would wait for the disk lock. */
ROW(op_defined, etf_put_bool(&call->result, op_file_exists(call->x, "/config")))
ROW(op_daemonize, call->x->daemonize = call->number;
    op_reply_bool(call, true, NULL))

/* Nothing that the port has open stays so in a container, with or without it. */
ROW(op_close_all_fds,
    op_reply_bool(call, c->want_close_all_fds(c, call->number), WHY_NONE(c)))

/* --- Rows: the library ------------------------------------------------- */
/* The call raises notsup: `what` of that version has no such function. */
static void
too_old(struct call *call, const char *what, const char *version,
    const char *needed)
{
	char why[128];

	snprintf(why, sizeof(why), "%s %s has no %s: it needs %s", what,
	    version, call->op->name, needed);
	op_fail(call, why);
	op_raise(call, "notsup");
}

/* True when the call can be: the liblxc that runs is of that version at least,
 * as its handle has no such member else, and so is the one built for. */
static bool
member_since(struct call *call, bool built, const char *needed)
{
	const char *version = lxc.lxc_get_version();

	if (strverscmp(version, needed) < 0)
		too_old(call, "liblxc", version, needed);
	else if (!built)
		too_old(call, "lxccontainer.h", LXC_VERSION, needed);
	else
		return true;
	return false;
}

/* It bounds what liblxc itself asks for a state; 0 is none to it. */
static void
op_set_timeout(struct call *call, struct lxc_container *c)
{
	bool ok = false;

	(void)c;
	if (!member_since(call, LXC_BUILT >= 60000, "6.0"))
		return;
#if LXC_BUILT >= 60000
	ok = c->set_timeout(c, call->number);
#endif
	op_reply_bool(call, ok, "0 is no timeout");
}

ROW(op_get_global,
    reply_item(
	call, lxc.lxc_get_global_config_item(call->text[0]), "no such key"))
ROW(op_has_extension,
    op_reply_bool(call, lxc.lxc_has_api_extension(call->text[0]),
	"liblxc has no such extension"))

static void
op_key_known(struct call *call, struct lxc_container *c)
{
	AUTO_STRING key = NULL;
	int nic = 0;

	(void)c;
	op_reply_bool(call,
	    config_key(call->text[0], &nic, false, &key) && key != NULL &&
		lxc.lxc_config_item_is_supported(key),
	    "no such key");
}

static void
op_get_wait_states(struct call *call, struct lxc_container *c)
{
	const int n = lxc.lxc_get_wait_states(NULL);
	const char **names = calloc((size_t)n, sizeof(*names));

	(void)c;
	if (names == NULL) {
		op_raise(call, "system_limit");
		return;
	}
	lxc.lxc_get_wait_states(names);
	etf_put_list(&call->result, (uint32_t)n);
	for (int i = 0; i < n; i++)
		etf_put_string(&call->result, names[i]);
	etf_put_nil(&call->result);
	free(names);
}

/* --- Rows: a running container ----------------------------------------- */
/* state, running */
static void
put_state(struct call *call, const char *s)
{
	if (strcmp(call->op->name, "state") == 0)
		etf_put_string(&call->result, s);
	else
		etf_put_bool(&call->result, strcmp(s, "STOPPED") != 0);
}

/* liblxc's is_running is true when its question failed. */
static void
op_state(struct call *call, struct lxc_container *c)
{
	const char *s = op_state_of(c);

	if (s == NULL)
		op_raise(call, "timeout");
	else
		put_state(call, s);
}

/*
 * What liblxc's state() asks a monitor and is answered; the monitor may be
 * another version's, so that this is the same from 1.0 to 7.0. By the port
 * itself it costs none of the worker's process, socket and switches. Whatever
 * is not as expected, liblxc is left to deal with, in the worker.
 */
struct question {
	int command; /* 3: LXC_CMD_GET_STATE */
	int len;
	const void *data;
};

struct answer {
	int error;
	int len;
	uintptr_t state;
};

/* The monitor wants the asker's credentials. Its queue may be full: EAGAIN. */
int
op_ask(struct erlxc *x)
{
	struct question q = {.command = 3};
	const struct ucred self = {getpid(), getuid(), getgid()};
	struct sockaddr_un a;
	const socklen_t len = monitor_address(x->path, x->name, &a);
	const int fd =
	    socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(self))];
	} control = {.head = {.cmsg_len = CMSG_LEN(sizeof(self)),
			 .cmsg_level = SOL_SOCKET,
			 .cmsg_type = SCM_CREDENTIALS}};
	struct iovec iov = {&q, sizeof(q)};
	const struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control)};

	memcpy(CMSG_DATA(&control.head), &self, sizeof(self));
	if (x->c != NULL && len > 0 && fd >= 0 &&
	    connect(fd, (const struct sockaddr *)&a, len) == 0 &&
	    monitor_trusted(fd, x->path) &&
	    sendmsg(fd, &msg, MSG_NOSIGNAL) == (ssize_t)sizeof(q))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

int
op_answered(struct call *call, int fd)
{
	static const char *const states[] = {"STOPPED", "STARTING", "RUNNING",
	    "STOPPING", "ABORTING", "FREEZING", "FROZEN", "THAWED"};
	struct answer a;
	const ssize_t n = recv(fd, &a, sizeof(a), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n != (ssize_t)sizeof(a) || a.error != 0 || a.len != 0 ||
	    a.state >= sizeof(states) / sizeof(*states))
		return -1;
	put_state(call, states[a.state]);
	return 1;
}

ROW(op_init_pid, etf_put_int(&call->result, c->init_pid(c)))

static void
op_reboot(struct call *call, struct lxc_container *c)
{
	const char *why = op_is_stopped(c) ? "not running" : NULL;

	op_reply_bool(call, !why && c->reboot(c), why);
}

ROW(op_may_control, op_reply_bool(call, c->may_control(c),
			"its monitor takes no commands of ours"))

/* Of the configuration that the container was started with. liblxc asks only
 * with one in memory, and gives NULL for all that is no value. */
static void
op_get_running(struct call *call, struct lxc_container *c)
{
	AUTO_STRING value = NULL;
	const char *why = WHY_NONE(c);

	if (key_current(call, false) && call->text[0] != NULL) {
		value = c->get_running_config_item(c, call->text[0]);
		if (c->get_config_item(c, call->text[0], NULL, 0) >= 0)
			why = "it has no value";
	}
	if (value == NULL && op_is_stopped(c))
		why = "not running";
	reply_item(call, value, why);
}

/* What is read is gone from the log. liblxc wants `read_max` in every case. */
static void
op_console_log(struct call *call, struct lxc_container *c)
{
	uint64_t size = call->log.max;
	struct lxc_console_log log = {
	    .clear = call->log.clear, .read = call->log.read};
	int number;

	log.read_max = &size;
	if (log.read && (size == 0 || size > LOG_MAX))
		size = LOG_MAX;
	number = c->console_log(c, &log);
	if (number == 0 || number == -ENODATA)
		etf_put_binary(&call->result, log.data, log.data ? size : 0);
	else
		reply_item(call, NULL,
		    number == -EFAULT  ? "lxc.console.buffer.size is not set"
		    : op_is_stopped(c) ? "not running"
				       : NULL);
	free(log.data);
}

/* freeze, unfreeze: both need a configuration, and the latter is true for a
 * stopped container. */
static void
op_freeze(struct call *call, struct lxc_container *c)
{
	const bool on = strcmp(call->op->name, "freeze") == 0;
	const char *why;

	op_deadline(QUERY_TIMEOUT_MS, WORKER_TIMEOUT);
	why = op_is_stopped(c)      ? "not running"
	      : c->lxc_conf == NULL ? "no configuration"
				    : NULL;
	op_deadline(STOP_TIMEOUT_MS, WORKER_TIMEOUT);
	op_reply_bool(call, !why && (on ? c->freeze(c) : c->unfreeze(c)), why);
}

/* An array of liblxc's, NULL for none and for errors alike. */
static void
reply_array(struct call *call, char **v)
{
	AUTO(strings_free) struct strings l = {.v = v};

	while (v != NULL && v[l.n] != NULL)
		l.n++;
	op_reply_strings(call, &l);
	if (v == NULL && op_is_stopped(call->x->c))
		op_fail(call, "not running");
}

ROW(op_get_interfaces, reply_array(call, c->get_interfaces(c)))
ROW(op_get_ips,
    reply_array(call, c->get_ips(c, *call->text[0] ? call->text[0] : NULL,
			  *call->text[1] ? call->text[1] : NULL, call->number)))

static void
op_get_cgroup_item(struct call *call, struct lxc_container *c)
{
	AUTO_STRING value = op_fetch(c, c->get_cgroup_item, call->text[0]);

	reply_item(
	    call, value, !value && op_is_stopped(c) ? "not running" : NULL);
}

static void
op_set_cgroup_item(struct call *call, struct lxc_container *c)
{
	const char *why = op_is_stopped(c) ? "not running" : NULL;

	op_reply_bool(call,
	    !why && c->set_cgroup_item(c, call->text[0], call->text[1]), why);
}

/* Returns in one of the states or never: the caller has a deadline. liblxc's
 * wait looks for a stopped container's monitor once a second and fails when the
 * container stops; here it only waits for what a monitor says. A client that gives
 * up stays in the monitor's list, with a descriptor that is somebody else's by
 * then: it does so ever less often. Not never: when the monitor ends between
 * question and wait, liblxc looks for the next one for ever. */
static void
await(struct lxc_container *c, const char *states)
{
	const char *s;

	for (int seconds = 1;; usleep(WAIT_STEP_US)) {
		s = op_state_of(c);
		if (s != NULL && op_one_of(states, s, strlen(s)))
			return;
		if (s == NULL || strcmp(s, "STOPPED") == 0)
			continue;
		if (c->wait(c, states, seconds))
			return;
		if (seconds < WAIT_MAX_S)
			seconds *= 2;
	}
}

/* For what waits `seconds`, below 0: for ever, or only looks. */
static void
deadline_for(int seconds)
{
	op_deadline(seconds ? seconds * INT64_C(1000) : QUERY_TIMEOUT_MS,
	    seconds ? WORKER_FALSE : WORKER_TIMEOUT);
}

/* liblxc's wait with timeout 0 waits for ever. */
static void
op_wait(struct call *call, struct lxc_container *c)
{
	const char *states = call->text[0], *s;

	deadline_for(call->number);
	if (call->number != 0) {
		await(c, states);
		op_reply_bool(call, true, NULL);
	} else if ((s = op_state_of(c)) == NULL) {
		op_raise(call, "timeout");
	} else {
		op_reply_bool(call, op_one_of(states, s, strlen(s)), s);
	}
}

/* liblxc's takes its timeout up to twice, so it only sends the signal. */
static void
op_shutdown(struct call *call, struct lxc_container *c)
{
	bool ok;

	deadline_for(call->number);
	ok = op_is_stopped(c) || c->shutdown(c, 0);
	if (ok && call->number != 0)
		await(c, "STOPPED");
	op_reply_bool(call, ok, NULL);
}

/* liblxc is content with one that does not run. It waits for RUNNING, told by
 * the monitor, which reboots within itself. */
static void
op_reboot2(struct call *call, struct lxc_container *c)
{
	const char *why;
	bool ok;

	deadline_for(call->number);
	why = op_is_stopped(c) ? "not running" : NULL;
	ok = !why && c->reboot2(c, call->number ? -1 : 0);
	if (!ok && !why && op_is_stopped(c))
		why = "it has stopped";
	op_reply_bool(call, ok, why);
}

/* liblxc returns when the monitor has let go of the socket that asked it: never,
 * if the monitor is stuck, or init ignores lxc.signal.stop. */
static void
op_stop(struct call *call, struct lxc_container *c)
{
	const bool force = call->x->force;
	const unsigned long inode = force ? monitor_socket(call->x) : 0;
	bool ok;

	op_deadline(force ? STOP_TIMEOUT_MS : STOP_ASK_MS,
	    force ? WORKER_TIMEOUT : WORKER_FORCE);
	if (force)
		ok = inode == 0 || monitor_force(inode);
	else
		ok = c->stop(c);
	for (int i = 0; ok && i < 50 && !op_is_stopped(c); i++)
		usleep(WAIT_STEP_US);
	op_reply_bool(call, ok, force ? "its monitor is another user's" : NULL);
}

/* --- Rows: start ------------------------------------------------------- */
/* liblxc would tell the first two by nothing but false. */
static void
start_refuse(struct call *call)
{
	struct erlxc *x = call->x;
	AUTO_STRING rootfs = NULL;
	const char *s;

	if (x->unread && (!op_open(x) || x->unread)) {
		reply_error(call, "einval", NULL);
		return;
	}
	rootfs = op_fetch(x->c, x->c->get_config_item, "lxc.rootfs.path");
	if (!x->c->is_defined(x->c) && (rootfs == NULL || *rootfs == '\0'))
		reply_error(call, "enoent", "not defined");
	else if (x->c->lxc_conf == NULL)
		reply_error(call, "enoent", "no configuration");
	else if (op_partial(x) != PARTIAL_NONE)
		reply_error(call, "ebusy", "its creation is not finished");
	else if ((s = op_state_of(x->c)) == NULL)
		op_raise(call, "timeout");
	else if (strcmp(s, "STOPPED") != 0)
		reply_error(call, "ebusy", "it is running");
}

void
op_reply_errno(struct call *call, int number, const char *why)
{
	op_fail(call, why);
	log_end(call, NULL);
	reply_error(
	    call, why ? op_posix_name(number) : op_posix_in(&call->why), NULL);
}

/* Init gets this process's descriptors for its own, which the port made. */
static void
stdio_set(struct lxc_container *c, enum ns_err err)
{
	const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	c->set_config_item(c, "lxc.console.path", "none");
	if (err != NS_ERR_SEPARATE)
		dup2(
		    err == NS_ERR_STDOUT ? STDOUT_FILENO : null, STDERR_FILENO);
	close(null);
}

/* Attached (there is a ward), this process becomes the container's monitor. It
 * has no other children: a start that fails reaps all there are. `error_num` is
 * 1 until init's end is known; then a wait status, but for a signal written the
 * other way round. Of a life too short for the watch only the log has a pid. */
static void
op_start(struct call *call, struct lxc_container *c)
{
	struct ward *ward = call->x->ward;
	pid_t init = 0;
	int place;
	bool ok;

	op_deadline(QUERY_TIMEOUT_MS, WORKER_TIMEOUT);
	start_refuse(call);
	op_deadline(-1, 0); /* what follows may take a container's life */
	if (call->verdict != OP_OK)
		return;
	c = call->x->c; /* it may have been opened anew */
	log_clear();    /* of what a monitor did that was going away */
	if (call->x->stream != 0)
		stdio_set(c, call->cmd.err);
	c->want_daemonize(c, ward == NULL);
	if (ward != NULL) /* it would close our answer; all close in exec */
		c->want_close_all_fds(c, false);
	/* Of a container that has just stopped the monitor may be there still. */
	place = monitor_claim(call->x, LOCK_WAIT_MS);
	if (place >= 0)
		close(place);
	if (ward != NULL)
		ward->tried = now_ms();
	ok = c->start(c, call->number, call->argv.v);
	if (ward != NULL) {
		ok = ok || c->error_num != 1;
		ward->status = c->error_num;
		if ((ward->status & 0x7f) == 0x7f)
			ward->status >>= 8;
		ward->ended = ok;
	} else if (ok) {
		op_deadline(QUERY_TIMEOUT_MS, WORKER_TIMEOUT);
		init = c->init_pid(c);
	}
	call->x->failed = !ok;
	if (!ok)
		op_fail(call, NULL);
	log_end(call, ward && ok ? &init : NULL);
	if (ward != NULL)
		ward->last = init;
	if (!ok) {
		reply_error(call, op_posix_in(&call->why), NULL);
	} else if (init <= 0) {
		reply_error(call, "esrch", "it ended at once");
	} else {
		op_put_started(&call->result, call->x, init);
	}
}

/* --- Rows: streams ----------------------------------------------------- */
/* The monitor names it both before and after it was identified: then the pid is
 * not somebody else's by now. */
int
op_init_identify(struct erlxc *x, int ms)
{
	pid_t pid;
	int number;

	if (x->init.pid > 0 && ns_same(&x->init))
		return 0;
	if (x->init.pid > 0)
		fd_free(&x->init.pidfd);
	x->init.pid = 0;
	log_own(x);
	op_deadline(ms, WORKER_TIMEOUT);
	if (monitor_foreign(x))
		return EACCES;
	pid = x->c->init_pid(x->c);
	number = pid > 1 ? ns_identify(pid, &x->init) : ESRCH;
	if (number == 0 && x->c->init_pid(x->c) != pid) {
		fd_free(&x->init.pidfd);
		number = ESRCH;
	}
	if (number != 0)
		x->init.pid = 0;
	return number;
}

/* What the container has used, of an init that lived before and after. */
static void
op_stats(struct call *call, struct lxc_container *c)
{
	struct erlxc *x = call->x;
	int number = op_init_identify(x, QUERY_TIMEOUT_MS);

	(void)c;
	op_deadline(-1, 0); /* this worker is kept */
	if (number == 0) {
		etf_put_map(&call->result, 7);
		cgroup_put_stats(&call->result, x->init.pid);
		etf_put_atom(&call->result, "network");
		ns_put_interfaces(&call->result, x->init.pid);
		number = ns_same(&x->init) ? 0 : ESRCH;
	}
	if (number != 0) {
		etf_rewind(&call->result, 0);
		reply_error(call, op_posix_name(number), "not running");
	}
}

static void
attach_born(void *arg, pid_t pid, const int fds[3])
{
	struct call *call = arg;

	call->pid = pid;
	worker_born(
	    call->x, call->cmd.pty ? STREAM_TTY : STREAM_PIPES, pid, fds);
}

static void
attach_notifies(void *arg, int fd)
{
	worker_notifies(((struct call *)arg)->x, fd);
}

/* By ns.c, not by liblxc's attach: that enters with this process's memory and
 * descriptors, changes the handle's configuration, and may block. */
static void
op_attach(struct call *call, struct lxc_container *c)
{
	const struct ns_teller tell = {attach_born, attach_notifies, call};
	const char *stage = "init";
	int number;

	(void)c;
	if (call->argv.n == 0) {
		op_raise(call, "badarg");
		return;
	}
	number = op_init_identify(call->x, QUERY_TIMEOUT_MS);
	if (number != 0) {
		reply_error(call, op_posix_name(number), "not running");
		return;
	}
	op_deadline(ATTACH_TIMEOUT_MS, WORKER_TIMEOUT);
	number = ns_attach(&call->x->init, &call->cmd, &stage, &tell);
	op_deadline(-1, 0);
	if (number == 0) {
		op_put_started(&call->result, call->x, call->pid);
		return;
	}
	if (stage == NULL || (number == EBUSY && !strcmp(stage, "cgroup"))) {
		reply_error(call, op_posix_name(number),
		    stage ? "it is frozen" : strerror(number));
		return;
	}
	etf_put_tuple(&call->result, 2);
	etf_put_atom(&call->result, "error");
	etf_put_tuple(&call->result, 2);
	etf_put_atom(&call->result, stage);
	etf_put_atom(&call->result, op_posix_name(number));
	op_fail(call, strerror(number));
}

/* The console (tty 0, a proxy of it) has one client, who must read: the monitor
 * waits for him. A tty is a terminal as any. The descriptor that is returned
 * keeps the place, and lives as long as the monitor. */
static void
op_console(struct call *call, struct lxc_container *c)
{
	int tty = call->number, fds[3] = {-1, -1, -1};

	log_own(call->x);
	op_deadline(QUERY_TIMEOUT_MS, WORKER_TIMEOUT);
	fds[2] = c->console_getfd(c, &tty, &fds[0]);
	if (fds[2] < 0 && op_is_stopped(c)) {
		reply_error(call, "esrch", "not running");
	} else if (fds[2] < 0) {
		reply_error(call, "ebusy", NULL);
	} else {
		fcntl(fds[0], F_SETFL, O_NONBLOCK);
		worker_born(call->x, tty ? STREAM_TTY : STREAM_CONSOLE, 0, fds);
		op_put_started(&call->result, call->x, tty);
	}
}

/* --- Rows: seccomp notifications --------------------------------------- */
/* A container that reboots is STOPPED for a while, but has its monitor. */
int
op_notify_fd(struct erlxc *x)
{
	static struct ns_init monitor;
	struct lxc_container *c = x->c;
	int fd = -1;

	for (int i = 0; i < NOTIFY_MS * 1000 / WAIT_STEP_US && fd < 0; i++) {
		usleep(i > 0 ? WAIT_STEP_US : 0);
		op_deadline(QUERY_TIMEOUT_MS, WORKER_TIMEOUT);
		if (c == NULL || (op_is_stopped(c) &&
				     (monitor.pid <= 0 || !ns_same(&monitor))))
			break;
#if LXC_BUILT >= 40005
		if (op_init_identify(x, QUERY_TIMEOUT_MS) == 0 &&
		    strverscmp(lxc.lxc_get_version(), "4.0.5") >= 0)
			fd = c->seccomp_notify_fd_active(c);
#endif
		/* Its profile does not, unless it reboots: then it has. */
		if (fd < 0 && i >= 5 && monitor.pid <= 0 && x->init.pid > 0 &&
		    ns_same(&x->init))
			break;
	}
	op_deadline(-1, 0);
	if (monitor.pid > 0)
		fd_free(&monitor.pidfd);
	if (fd < 0 || ns_identify(ns_parent(x->init.pid), &monitor) != 0)
		monitor.pid = 0;
	return fd;
}

static void
op_seccomp_listen(struct call *call, struct lxc_container *c)
{
	AUTO_STRING proxy =
	    op_fetch(c, c->get_config_item, "lxc.seccomp.notify.proxy");
	const char *why = "lxc.seccomp.notify.proxy is set";
	int fd = -1;

	if (!member_since(call, LXC_BUILT >= 40005, "4.0.5"))
		return;
	if (proxy == NULL || *proxy == '\0') {
		fd = op_notify_fd(call->x);
		why = "not running, or its profile does not notify";
	}
	if (fd >= 0)
		notify_listen(fd, *call->op->args ? call->number : NOTIFY_MS);
	op_reply_bool(call, fd >= 0, why);
}

static void
op_seccomp_respond(struct call *call, struct lxc_container *c)
{
	const int number = notify_answer(&call->answer);

	(void)c;
	op_reply_bool(call, number == 0,
	    number == ENOENT ? "no such call waits" : strerror(number));
}

/* Of a start that has succeeded. */
static void
started(struct erlxc *x, struct etf_reader *in)
{
	AUTO_STRING proxy =
	    op_fetch(x->c, x->c->get_config_item, "lxc.seccomp.notify.proxy");
	AUTO_STRING profile =
	    op_fetch(x->c, x->c->get_config_item, "lxc.seccomp.profile");
	AUTO_STRING line = NULL;
	AUTO_FILE f = NULL;
	struct stat st;
	size_t size = 0;

	(void)in;
	if (profile && *profile && !(proxy && *proxy) &&
	    stat(profile, &st) == 0 && S_ISREG(st.st_mode))
		f = fopen(profile, "re");
	while (f != NULL && !x->notify && getline(&line, &size, f) > 0)
		x->notify = strstr(line, " notify") != NULL;
}

/* chroot_dir, chroot_file, chroot_copy: what is put into the rootfs. */
static void
op_chroot(struct call *call, struct lxc_container *c)
{
	const bool copy = strcmp(call->op->name, "chroot_copy") == 0;
	const struct ns_file file = {.mode = (mode_t)call->number & 07777,
	    .source = copy ? call->text[0] : NULL,
	    .data = call->data};
	AUTO_STRING rootfs = op_fetch(c, c->get_config_item, "lxc.rootfs.path");
	const char *dir = rootfs ? rootfs : "";
	int number;

	if (strncmp(dir, "dir:", 4) == 0)
		dir += 4;
	number = *dir == '/' ? ns_put(dir, call->text[copy], &file) : ENOTDIR;
	if (number == 0)
		op_reply_bool(call, true, NULL);
	else
		reply_error(call, op_posix_name(number), strerror(number));
}

/* Another process is changing the container. */
static void
reply_busy(struct call *call)
{
	static const char why[] = "another process is changing it";
	const char *name = call->op->name;

	if (strcmp(name, "start") == 0 || strcmp(name, "snapshot") == 0 ||
	    strncmp(name, "chroot_", 7) == 0)
		reply_error(call, "ebusy", why);
	else
		op_reply_bool(call, false,
		    op_partial(call->x) == PARTIAL_HELD ? "it is being created"
							: why);
}

/* --- A guardian's children --------------------------------------------- */
/* The question for init's pid is refused while the monitor does not listen yet,
 * and then answered when init runs: no polling for the longer part. Another
 * port's container of that name has another monitor. */
bool
op_watch(struct erlxc *x)
{
	struct ward *ward = x->ward;
	const size_t size = sizeof(ward->cgroups);
	pid_t init;
	size_t len;

	if (x->c == NULL)
		return false;
	while ((init = x->c->init_pid(x->c)) <= 1 ||
	       ns_parent(init) != ward->monitor)
		usleep(500);
	while (!ns_init_executed(init)) {
		if (ns_parent(init) != ward->monitor)
			return false;
		usleep(100);
	}
	cgroup_read(ward->monitor, ward->cgroups, size);
	len = strlen(ward->cgroups);
	cgroup_read(init, ward->cgroups + len, size - len);
	ward->init = init;
	return true;
}

/* By the handle that the container was started with, if there is one: its
 * configuration, with the halt signal, may never have been on disk. While our
 * monitor runs its last hook it may be another's that runs by now. */
bool
op_down(struct erlxc *x)
{
	const char *s;
	int left = x->grace_ms;
	pid_t init;

	if ((x->c == NULL && !op_open(x)) || (s = op_state_of(x->c)) == NULL)
		return false;
	init = x->c->init_pid(x->c);
	if (init > 0 && ns_parent(init) != x->ward->monitor)
		return true;
	if (strcmp(s, "FROZEN") == 0 || strcmp(s, "FREEZING") == 0)
		x->c->unfreeze(x->c);
	if (left > 0 && !op_is_stopped(x->c) && x->c->shutdown(x->c, 0))
		for (; left > 0 && !op_is_stopped(x->c); left -= 10)
			usleep(10000);
	return op_is_stopped(x->c) || (x->c->stop(x->c) && op_is_stopped(x->c));
}

/* --- A watcher's questions --------------------------------------------- */
/* Asks no monitor: a connection that is refused says that there is none. */
bool
op_monitored(const struct erlxc *x)
{
	struct sockaddr_un a;
	const socklen_t len = monitor_address(x->path, x->name, &a);
	AUTO_FD fd =
	    socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return connect(fd, (const struct sockaddr *)&a, len) == 0 ||
	       errno != ECONNREFUSED;
}

/* Of a monitor's client, that is told of the next change at once: what changed
 * before it asks again, it is told when it asks. No timeout, as a client that
 * gives up is one that leaves. Which of the states has come, liblxc's wait does
 * not say; the question for it is not answered while a monitor cleans up, but
 * then init is dead. THAWED is no state, RUNNING follows. */
const char *
op_next_state(struct erlxc *x, const char *last, int64_t *at)
{
	static const char *const states[] = {"STOPPED", "STARTING", "RUNNING",
	    "STOPPING", "ABORTING", "FREEZING", "FROZEN"};
	char others[sizeof(states) / sizeof(*states) * 9] = "";
	const char *s;

	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
		if (strcmp(states[i], last) != 0) {
			strcat(others, *others ? "|" : "");
			strcat(others, states[i]);
		}
	log_clear();
	x->c->wait(x->c, others, -1);
	*at = now_ms();
	if (x->init.pid > 0 && polled(x->init.pidfd, POLLIN, 0)) {
		fd_free(&x->init.pidfd);
		x->init.pid = 0;
		if (strcmp(last, "STOPPING") != 0)
			return "STOPPING";
	}
	s = op_state_of(x->c);
	if (s == NULL || strcmp(s, last) == 0)
		sleep(1); /* it cannot be asked */
	return s ? s : last;
}

bool
op_find_init(struct erlxc *x, const char *state)
{
	const pid_t old = x->init.pid;

	return op_one_of("RUNNING|FREEZING|FROZEN", state, strlen(state)) &&
	       op_init_identify(x, -1) == 0 && x->init.pid != old;
}

#define LXC(row) row

#else /* no liblxc */
#define LXC(row) NULL

#define NOTHING(type, name, value) \
	type name(struct erlxc *x) \
	{                          \
		(void)x;           \
		return value;      \
	}

NOTHING(bool, op_open, true) /* no row asks for a handle */
NOTHING(void, op_close, )
NOTHING(void, op_forked, )
NOTHING(void, op_spare, )
NOTHING(bool, op_watch, false)
NOTHING(int, op_notify_fd, -1)
NOTHING(bool, op_down, false)
NOTHING(bool, op_discard, false)
NOTHING(bool, op_remove, false)
NOTHING(bool, op_lock, false)
NOTHING(void, op_lock_open, )
NOTHING(void, op_unlock, )
NOTHING(int, op_ask, -1)

int
op_answered(struct call *call, int fd)
{
	(void)call;
	(void)fd;
	return -1;
}

#define op_deadline(ms, status) (void)0
#define log_clear() (void)0
#define answers(c) true
#define monitor_foreign(x) ((void)(x), false)
#define reply_busy(call) (void)(call)
#define log_end(call, init) (void)(call)

#endif

/* --- The table --------------------------------------------------------- */
static void op_commands(struct call *call, struct lxc_container *c);

#define DISK (OP_JOB | OP_EXCL)
#define STILL (DISK | OP_STILL)
/* clang-format off */
static const struct op ops[] = {
	{"add_device_node", "PA", OP_JOB, LXC(op_device_node), NULL},
	{"attach", "ac", OP_JOB | OP_STREAM | OP_KEPT, LXC(op_attach), NULL},
	{"attach_interface", "IJ", OP_JOB, LXC(op_interface), NULL},
	{"checkpoint", "Pff", DISK, LXC(op_migrate), NULL},
	{"chroot_copy", "pPn", DISK, LXC(op_chroot), NULL},
	{"chroot_dir", "Pn", DISK, LXC(op_chroot), NULL},
	{"chroot_file", "Pdn", DISK, LXC(op_chroot), NULL},
	{"clear_config", "", OP_CONFIG, LXC(op_clear_config), NULL},
	{"clear_config_item", "t", OP_CONFIG, LXC(op_config_item), NULL},
	{"clone", "NAkttua", STILL | OP_KEEP, LXC(op_clone), NULL},
	{"commands", "", OP_BARE, op_commands, NULL},
	{"config_file_name", "", OP_INLINE, LXC(op_config_file_name), NULL},
	{"config_item_is_supported", "t", OP_BARE, LXC(op_key_known), NULL},
	{"console", "", OP_JOB | OP_STREAM | OP_KEPT, LXC(op_console), NULL},
	{"console", "y", OP_JOB | OP_STREAM | OP_KEPT, LXC(op_console), NULL},
	{"console_log", "o", OP_QUERY, LXC(op_console_log), NULL},
	{"create", "TtBba", STILL | OP_GUARD | OP_RELOAD, LXC(op_create), NULL},
	{"daemonize", "b", OP_BARE, LXC(op_daemonize), NULL},
	{"defined", "", OP_INLINE, LXC(op_defined), NULL},
	{"destroy", "", STILL | OP_KEEP | OP_RELOAD, LXC(op_destroy), NULL},
	{"destroy_with_snapshots", "", STILL | OP_KEEP | OP_RELOAD,
	    LXC(op_destroy_with_snapshots), NULL},
	{"detach_interface", "IJ", OP_JOB, LXC(op_interface), NULL},
	{"freeze", "", OP_JOB, LXC(op_freeze), NULL},
	{"get_cgroup_item", "G", OP_QUERY, LXC(op_get_cgroup_item), NULL},
	{"get_config_item", "t", OP_INLINE, LXC(op_get_config_item), NULL},
	{"get_config_path", "", OP_INLINE, LXC(op_get_config_path), NULL},
	{"get_global_config_item", "t", OP_BARE, LXC(op_get_global), NULL},
	{"get_interfaces", "", OP_QUERY, LXC(op_get_interfaces), NULL},
	{"get_ips", "tFn", OP_QUERY, LXC(op_get_ips), NULL},
	{"get_keys", "t", OP_INLINE, LXC(op_get_keys), NULL},
	{"get_running_config_item", "t", OP_QUERY, LXC(op_get_running), NULL},
	{"get_wait_states", "", OP_BARE, LXC(op_get_wait_states), NULL},
	{"has_api_extension", "t", OP_BARE, LXC(op_has_extension), NULL},
	{"init_pid", "", OP_QUERY, LXC(op_init_pid), NULL},
	{"list_active_containers", "p", OP_JOB | OP_BARE, LXC(op_list), NULL},
	{"list_all_containers", "p", OP_JOB | OP_BARE, LXC(op_list), NULL},
	{"list_defined_containers", "p", OP_JOB | OP_BARE, LXC(op_list), NULL},
	{"load_config", "p", OP_CONFIG, LXC(op_load_config), NULL},
	{"may_control", "", OP_QUERY, LXC(op_may_control), NULL},
	{"migrate", "wm", DISK, LXC(op_migrate), NULL},
	{"mount", "pPtnt", OP_JOB | OP_KEEP, LXC(op_mount), NULL},
	{"name", "", OP_BARE, op_name, NULL},
	{"reboot", "", OP_QUERY, LXC(op_reboot), NULL},
	{"reboot2", "s", OP_JOB, LXC(op_reboot2), NULL},
	{"remove_device_node", "PA", OP_JOB, LXC(op_device_node), NULL},
	{"rename", "N", STILL | OP_KEEP | OP_RELOAD, LXC(op_rename), renamed_to},
	{"restore", "Pf", DISK, LXC(op_migrate), NULL},
	{"running", "", OP_QUERY | OP_ASK, LXC(op_state), NULL},
	{"save_config", "p", DISK | OP_KEEP, LXC(op_save_config), NULL},
	{"seccomp_listen", "", OP_JOB | OP_KEEP | OP_LISTEN, LXC(op_seccomp_listen), NULL},
	{"seccomp_listen", "n", OP_JOB | OP_KEEP | OP_LISTEN, LXC(op_seccomp_listen), NULL},
	{"seccomp_respond", "ir", OP_JOB | OP_LISTEN, LXC(op_seccomp_respond), NULL},
	{"set_cgroup_item", "Gt", OP_QUERY, LXC(op_set_cgroup_item), NULL},
	{"set_config_item", "tt", OP_CONFIG, LXC(op_config_item), NULL},
	{"set_config_path", "P", OP_CONFIG, LXC(op_set_config_path), NULL},
	{"set_timeout", "s", OP_CONFIG, LXC(op_set_timeout), NULL},
	{"shutdown", "n", OP_JOB, LXC(op_shutdown), NULL},
	{"snapshot", "p", STILL | OP_KEEP, LXC(op_snapshot), NULL},
	{"snapshot_destroy", "N", STILL | OP_KEEP, LXC(op_snapshot_destroy), NULL},
	{"snapshot_destroy_all", "", STILL | OP_KEEP,
	    LXC(op_snapshot_destroy_all), NULL},
	{"snapshot_list", "", OP_JOB, LXC(op_snapshot_list), NULL},
	{"snapshot_restore", "NO", STILL | OP_KEEP | OP_CONFIG,
	    LXC(op_snapshot_restore), restored_to},
	{"start", "ba", DISK | OP_GUARD, LXC(op_start), LXC(started)},
	{"start", "bac", DISK | OP_GUARD | OP_STREAM, LXC(op_start), LXC(started)},
	{"state", "", OP_QUERY | OP_ASK, LXC(op_state), NULL},
	{"stats", "", OP_QUERY, LXC(op_stats), NULL},
	{"stop", "", OP_JOB, LXC(op_stop), NULL},
	{"survey", "p", OP_JOB | OP_BARE, LXC(op_survey), NULL},
	{"type", "", OP_BARE, op_type, NULL},
	{"type", "l", OP_BARE, op_set_type, NULL},
	{"umount", "Pn", OP_JOB, LXC(op_umount), NULL},
	{"unfreeze", "", OP_JOB, LXC(op_freeze), NULL},
	{"version", "", OP_BARE, op_version, NULL},
	{"wait", "Ss", OP_JOB, LXC(op_wait), NULL},
	{"want_close_all_fds", "b", OP_CONFIG, LXC(op_close_all_fds), NULL},
};
/* clang-format on */
#define OPS_LEN (sizeof(ops) / sizeof(*ops))

static void
op_commands(struct call *call, struct lxc_container *c)
{
	(void)c;
	etf_put_list(&call->result, OPS_LEN);
	for (size_t i = 0; i < OPS_LEN; i++) {
		etf_put_tuple(&call->result, 2);
		etf_put_atom(&call->result, ops[i].name);
		etf_put_int(&call->result, (int)strlen(ops[i].args));
	}
	etf_put_nil(&call->result);
}

const struct op *
op_find(const char *name, uint32_t arity, bool *known)
{
	*known = false;
	for (size_t i = 0; i < OPS_LEN; i++) {
		if (*ops[i].name != *name || strcmp(ops[i].name, name) != 0)
			continue;
		*known = true;
		if (strlen(ops[i].args) == arity)
			return &ops[i];
	}
	return NULL;
}

/* What may ask the monitor asks no other user's process: liblxc would believe it
 * whom to signal and where to write. `stop` asks to be stopped, no more. */
static bool
believed(const struct erlxc *x, const struct op *op)
{
	bool foreign;

	if (op->flags & OP_BARE || !(op->flags & (OP_QUERY | OP_JOB)) ||
	    strcmp(op->name, "stop") == 0)
		return true;
	if (op->flags & OP_JOB)
		op_deadline(QUERY_TIMEOUT_MS, WORKER_TIMEOUT);
	foreign = monitor_foreign(x);
	if (op->flags & OP_JOB)
		op_deadline(-1, 0);
	return !foreign;
}

void
op_run(struct call *call, struct erlxc *x, const struct op *op,
    struct etf_reader *in)
{
	const bool handle = !(op->flags & OP_BARE);
	int number;

	*call = (struct call){.x = x, .op = op, .in = in, .verdict = OP_OK};
	etf_init(&call->result, RESULT_MAX);
	etf_init(&call->why, WHY_MAX);
	/* A row that only reads memory costs no system call here: what it
	 * logs, it logs in failing, and that is taken at its end. */
	if (op->flags & (OP_QUERY | OP_JOB | OP_CONFIG))
		log_clear();
	if ((op->run == NULL || handle || op->flags & OP_JOB) && !lxc_load()) {
		op_raise(call, "notsup");
	} else if (!op_args_read(call)) {
		op_raise(
		    call, in->error == ETF_NOMEM ? "system_limit" : "badarg");
	} else if (handle && x->c == NULL && !op_open(x)) {
		op_raise(call, "system_limit");
	} else if (!believed(x, op)) {
		op_fail(call, "another user listens in its monitor's place");
		op_raise(call, "timeout");
	} else if (op->flags & OP_STILL && !answers(x->c)) {
		op_raise(call, "timeout");
	} else if (op->flags & OP_EXCL && !op_lock(x)) {
		reply_busy(call);
	} else {
		errno = 0;
		op->run(call, x->c);
	}
	number = errno;
	if (op->flags & OP_EXCL && x->ward == NULL) /* a guardian lets go */
		op_unlock(x);
	if (op->flags & OP_JOB)
		op_deadline(-1, 0);
	log_end(call, NULL);
	for (size_t i = 0; i < sizeof(call->text) / sizeof(*call->text); i++)
		free(call->text[i]);
	strings_free(&call->argv);
	strings_free(&call->env);
	strings_free(&call->groups);
	for (size_t i = 0; i < OPTION_TEXTS; i++)
		free(call->options.text[i]);
	if (call->verdict == OP_FAILED && call->why.len == 0 && number != 0)
		op_fail(call, strerror(number));
	if (call->result.error != ETF_OK)
		op_raise(call, "system_limit");
}
