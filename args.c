/* SPDX-License-Identifier: ISC */
/*
 * The arguments of commands: read, and found right or refused, before the row of
 * the table runs. Only the codec is asked; no row reads a term itself.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <string.h>

#include "erlxc.h"

#define TEXT_MAX (1u << 20) /* a configuration value */
#define ARGV_MAX 65536u     /* words of a command */

const char *const op_lifetimes[] = {"temporary", "transient", "permanent"};

void
strings_free(struct strings *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
}

/* Takes `s` over, in every case. */
bool
strings_add(struct strings *l, char *s)
{
	char **v = s ? realloc(l->v, (l->n + 2) * sizeof(*v)) : NULL;

	if (v == NULL) {
		free(s);
		return false;
	}
	l->v = v;
	v[l->n++] = s;
	v[l->n] = NULL;
	return true;
}

int
strings_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

bool
op_one_of(const char *states, const char *name, size_t len)
{
	for (const char *p = states; p != NULL; p = strchr(p, '|')) {
		p += *p == '|';
		if (strcspn(p, "|") == len && strncmp(p, name, len) == 0)
			return true;
	}
	return false;
}

/* True when every one of "A|B|C" is the name of a state. */
static bool
states_valid(const char *states)
{
	static const char all[] = "STOPPED|STARTING|RUNNING|STOPPING|ABORTING|"
				  "FREEZING|FROZEN|THAWED";
	size_t len;

	for (;; states += len + 1) {
		len = strcspn(states, "|");
		if (!op_one_of(all, states, len))
			return false;
		if (states[len] == '\0')
			return true;
	}
}

bool
op_valid_name(const char *name)
{
	const size_t len = strspn(name,
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	    "._-");

	return len > 0 && len <= NAME_MAX_LEN && name[len] == '\0' &&
	       strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* Of a timeout, -1 and the atom infinity are for ever. */
static int
get_number(struct etf_reader *in, char kind)
{
	char atom[16];
	int i = 0;

	if (kind == 'b' || kind == 'n' || kind == 'k')
		return (int)etf_get_int(in, 0,
		    kind == 'b'   ? 1
		    : kind == 'k' ? 0x7f
				  : INT_MAX);
	if (kind == 'y' || (kind == 's' && etf_peek(in) != ETF_ATOM))
		return (int)etf_get_int(in, -1, INT_MAX);
	etf_get_atom(in, atom, sizeof(atom));
	if (kind == 's' && strcmp(atom, "infinity") == 0)
		return -1;
	while (i <= PERMANENT && strcmp(atom, op_lifetimes[i]) != 0)
		i++;
	if (kind == 's' || i > PERMANENT)
		etf_fail(in, ETF_RANGE);
	return i;
}

/* [iodata()] */
static void
get_strings(struct etf_reader *in, struct strings *l)
{
	for (uint32_t n = etf_get_list(in, ARGV_MAX); n > 0; n--)
		if (!strings_add(l, etf_get_string(in, TEXT_MAX)))
			etf_fail(in, ETF_NOMEM); /* the first error stays */
	etf_get_nil(in);
}

/* A command: [iodata()], or one iodata() as its only word; <<>>: no word. */
static void
get_argv(struct etf_reader *in, struct strings *argv)
{
	struct etf_reader ahead = *in;

	if (etf_peek(in) == ETF_LIST &&
	    (etf_get_list(&ahead, UINT32_MAX) == 0 ||
		etf_peek(&ahead) != ETF_INTEGER))
		get_strings(in, argv);
	else if (!strings_add(argv, etf_get_string(in, TEXT_MAX)))
		etf_fail(in, ETF_NOMEM);
	else if (argv->n == 1 && *argv->v[0] == '\0')
		free(argv->v[--argv->n]), argv->v[0] = NULL;
}

static bool
interface_valid(const char *s)
{
	const size_t len = strcspn(s, "/: \t");

	return len > 0 && len < IF_NAMESIZE && s[len] == '\0' &&
	       strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

/* True when `s` is what the letter says, see op_args_read(). */
static bool
text_valid(char kind, const char *s)
{
	switch (kind) {
	case 'F':
		return op_one_of("inet|inet6|", s, strlen(s));
	case 'I':
	case 'J':
		return interface_valid(s) || (kind == 'J' && *s == '\0');
	case 'G': /* with a slash it would be a file anywhere */
		return *s != '\0' && strchr(s, '/') == NULL;
	case 'N':
	case 'O':
		return op_valid_name(s) || (kind == 'O' && *s == '\0');
	case 'A':
	case 'P':
		return *s == '/' || (kind == 'A' && *s == '\0');
	case 'S':
		return states_valid(s);
	case 'T': /* a name with a slash leads out of the templates' directory */
		return *s == '/' || strchr(s, '/') == NULL;
	default:
		return true;
	}
}

static char *
get_text(struct etf_reader *in, char kind)
{
	const bool path = strchr("APp", kind) != NULL;
	char *s = etf_get_string(in, path ? PATH_MAX - 1 : TEXT_MAX);
	size_t n = s ? strlen(s) : 0;

	/* "/a/" is another path than "/a" to liblxc's sockets and locks. */
	for (; path && n > 1 && s[n - 1] == '/'; n--)
		s[n - 1] = '\0';
	/* A newline in a configuration's key or value would be a key of its own
	 * when that is saved and read again. */
	for (size_t i = 0; !path && i < n; i++)
		if (iscntrl((unsigned char)s[i]) && s[i] != '\t')
			etf_fail(in, ETF_INVALID);
	if (s != NULL && !text_valid(kind, s))
		etf_fail(in, ETF_RANGE);
	return s;
}

/* false, or {Rows, Columns}. */
static void
get_pty(struct etf_reader *in, struct ns_command *cmd)
{
	cmd->pty = etf_peek(in) != ETF_ATOM;
	if (!cmd->pty) {
		if (etf_get_bool(in))
			etf_fail(in, ETF_RANGE);
		return;
	}
	etf_get_tuple(in, 2);
	cmd->rows = (unsigned short)etf_get_int(in, 1, USHRT_MAX);
	cmd->cols = (unsigned short)etf_get_int(in, 1, USHRT_MAX);
}

/* The place of an atom in a list of words that ends with NULL. */
static int
get_word(struct etf_reader *in, const char *const *words)
{
	char atom[32];
	int i = 0;

	etf_get_atom(in, atom, sizeof(atom));
	while (words[i] != NULL && strcmp(words[i], atom) != 0)
		i++;
	if (words[i] == NULL)
		etf_fail(in, ETF_RANGE);
	return i;
}

/* A map, whose keys are different: how a command is run. */
static void
get_command(struct call *call)
{
	static const char *const keys[] = {
	    "cd", "user", "group", "env", "groups", "pty", "stderr", NULL};
	static const char *const errs[] = {"separate", "stdout", "null", NULL};
	struct etf_reader *in = call->in;
	int key;

	for (uint32_t n = etf_get_map(in, 16); n > 0; n--) {
		key = get_word(in, keys);
		if (key < 3)
			call->text[key] = etf_get_string(in, PATH_MAX - 1);
		else if (key < 5)
			get_strings(in, key == 3 ? &call->env : &call->groups);
		else if (key == 5)
			get_pty(in, &call->cmd);
		else if (in->error == ETF_OK)
			call->cmd.err = (enum ns_err)get_word(in, errs);
	}
	call->cmd.cwd = call->text[0];
	call->cmd.user = call->text[1];
	call->cmd.group = call->text[2];
	call->cmd.argv = call->argv.v;
	call->cmd.env = call->env.v;
	call->cmd.groups = call->groups.v;
}

static const struct {
	int number;
	const char *name;
} posix[] = {{EIO, "eio"}, {ENOENT, "enoent"}, {EACCES, "eacces"},
    {EPERM, "eperm"}, {EBUSY, "ebusy"}, {ENOEXEC, "enoexec"},
    {EINVAL, "einval"}, {ENOTDIR, "enotdir"}, {EISDIR, "eisdir"},
    {ELOOP, "eloop"}, {ENOMEM, "enomem"}, {ENOSPC, "enospc"},
    {EMFILE, "emfile"}, {ENFILE, "enfile"}, {ENODEV, "enodev"},
    {ENXIO, "enxio"}, {EEXIST, "eexist"}, {EAGAIN, "eagain"}, {EROFS, "erofs"},
    {ESRCH, "esrch"}, {E2BIG, "e2big"}, {ENAMETOOLONG, "enametoolong"},
    {EOPNOTSUPP, "enotsup"}, {EADDRINUSE, "ebusy"}, {ENOSYS, "enosys"},
    {EFAULT, "efault"}, {EINTR, "eintr"}};

const char *
op_posix_name(int number)
{
	size_t i = sizeof(posix) / sizeof(*posix);

	while (--i > 0)
		if (posix[i].number == number)
			break;
	return posix[i].name;
}

/* 0: it is none of them. */
static int
op_posix_number(const char *name)
{
	for (size_t i = 0; i < sizeof(posix) / sizeof(*posix); i++)
		if (strcmp(posix[i].name, name) == 0)
			return posix[i].number;
	return 0;
}

/* {value, V} | {errno, E} | continue: what becomes of a system call. */
static void
get_answer(struct etf_reader *in, struct notify_answer *answer)
{
	static const char *const go_on[] = {"continue", NULL};
	static const char *const kinds[] = {"value", "errno", NULL};
	char name[16];

	answer->go_on = etf_peek(in) == ETF_ATOM;
	if (answer->go_on) {
		get_word(in, go_on);
		return;
	}
	etf_get_tuple(in, 2);
	if (get_word(in, kinds) == 0) {
		answer->value = etf_get_int(in, INT64_MIN, INT64_MAX);
	} else if (etf_peek(in) != ETF_ATOM) {
		answer->error = (int)etf_get_int(in, 1, 4095);
	} else {
		etf_get_atom(in, name, sizeof(name));
		answer->error = op_posix_number(name);
		if (answer->error == 0)
			etf_fail(in, ETF_RANGE);
	}
}

/* A map: what is wanted of the console's log. */
static void
get_log(struct call *call)
{
	static const char *const keys[] = {"read", "clear", "max", NULL};
	int key;

	call->log.read = true;
	for (uint32_t n = etf_get_map(call->in, 16); n > 0; n--) {
		key = get_word(call->in, keys);
		if (key == 2)
			call->log.max = etf_get_uint(call->in, UINT64_MAX);
		else
			*(key ? &call->log.clear : &call->log.read) =
			    etf_get_bool(call->in);
	}
}

/* <<>>, or a map of what the row may be told beside its arguments. */
static void
get_options(struct etf_reader *in, char kind, struct options *o)
{
	static const char *const keys[][14] = {
	    {"fstype", "dir", "zfsroot", "vg", "lv", "thinpool", "rbdname",
		"rbdpool", "fssize", NULL},
	    {"directory", "predump_dir", "pageserver_address",
		"pageserver_port", "action_script", "ghost_limit", "stop",
		"verbose", "preserves_inodes", "disable_skip_in_flight", NULL}};
	static const int texts[] = {8, 5};
	const int which = kind == 'm';
	int key;

	if (etf_peek(in) != ETF_MAP) {
		if (etf_get_binary(in).len > 0)
			etf_fail(in, ETF_TYPE);
		return;
	}
	for (uint32_t n = etf_get_map(in, 16); n > 0; n--) {
		key = get_word(in, keys[which]);
		if (in->error != ETF_OK)
			return;
		if (key < texts[which]) {
			o->text[key] = get_text(in, 't');
		} else if (key == texts[which]) {
			o->size = etf_get_uint(in, INT64_MAX);
		} else {
			o->flag[key - texts[which] - 1] = etf_get_bool(in);
		}
	}
}

/* The arguments, a letter each in the table. In call->number: b 0 or 1, n 0 and
 * up, k flags of a clone, l a lifetime, s a timeout, w a migration's command, y a
 * tty. In call->argv: a. In call->cmd: c, which is the only one beside a. In
 * call->data: d. In call->answer: i whose, r which. In call->log: o. In
 * call->options: B a backing store's, m a migration's, u the size, f the next
 * flag. The next of call->text: t any text, p a path, P an absolute one, A that
 * or none, F an address family or none, G a cgroup's file, I a network
 * interface, J that or none, N a container's name, O that or none, S states, T a
 * template. */
bool
op_args_read(struct call *call)
{
	struct etf_reader *in = call->in;
	static const char *const commands[] = {
	    "pre_dump", "dump", "restore", NULL};
	char **text = call->text;
	bool *flag = call->options.flag;

	for (const char *kind = call->op->args; *kind != '\0'; kind++)
		if (*kind == 'a')
			get_argv(in, &call->argv);
		else if (*kind == 'c')
			get_command(call);
		else if (*kind == 'i')
			call->answer.id = etf_get_uint(in, UINT64_MAX);
		else if (*kind == 'r')
			get_answer(in, &call->answer);
		else if (*kind == 'd')
			call->data = etf_get_binary(in);
		else if (*kind == 'o')
			get_log(call);
		else if (*kind == 'B' || *kind == 'm')
			get_options(in, *kind, &call->options);
		else if (*kind == 'u')
			call->options.size = etf_get_uint(in, INT64_MAX);
		else if (*kind == 'f')
			*flag++ = etf_get_bool(in);
		else if (*kind == 'w')
			call->number = get_word(in, commands);
		else if (strchr("bklnsy", *kind) != NULL)
			call->number = get_number(in, *kind);
		else
			*text++ = get_text(in, *kind);
	etf_get_nil(in);
	return etf_done(in);
}

const char *
op_posix_in(const struct etf_writer *why)
{
	const uint8_t *from = why->data, *at;
	const uint8_t *const end = from + why->len;
	const char *name = "eio";
	char text[64];
	size_t len;

	for (size_t i = 0; i < sizeof(posix) / sizeof(*posix); i++) {
		len = (size_t)snprintf(
		    text, sizeof(text), "%s - ", strerror(posix[i].number));
		while (from < end && (at = memmem(from, (size_t)(end - from),
					  text, len)) != NULL) {
			name = posix[i].name;
			from = at + 1;
		}
	}
	return name;
}
