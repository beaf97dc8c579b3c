/* SPDX-License-Identifier: ISC */
/*
 * Streams: the bytes of a command inside the container, of an init, of the
 * console.
 *
 * The port holds its ends of a command's terminal or pipes, and the command is
 * its child. What that writes goes to Erlang as it comes, while Erlang takes
 * it: of one stream at most WINDOW bytes are on the way, so that a slow reader
 * stops its own stream and no other. What is written to a stream queues here
 * until the kernel takes it, and is answered then.
 */
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>

#include "erlxc.h"

#define WINDOW (256u << 10)   /* bytes on the way to Erlang */
#define CHUNK (64u << 10)     /* bytes in a data frame */
#define QUEUE_MAX (32u << 20) /* bytes that wait to be written */
#define RING (256u << 10)     /* bytes of a console that wait for the window */
#define TTY_MUCH 1024         /* bytes of a terminal: there may be more */
#define GRACE_MS 500 /* for who holds the output of a command that has ended */
#define LINGER_MAX (1u << 20) /* bytes read of that: no pipe holds more */

enum { IN, OUT, ERR, ENDS };

/* Our end of one of a command's descriptors; of a terminal, IN is both ways. */
struct end {
	struct source src; /* fd -1: closed */
	struct stream *stream;
};

/* Bytes to be written, or the order to close. */
struct chunk {
	struct chunk *next;
	uint32_t id; /* the request to be answered, or 0 */
	bool close;
	size_t pos, len;
	uint8_t data[];
};

struct stream {
	struct stream *next;
	uint32_t id;
	enum stream_kind kind;
	enum {
		BORN,   /* Erlang does not know of it yet */
		OPEN,   /* it does */
		CLOSED, /* not any more; a command that was killed is reaped */
		GONE    /* freed at the end of the loop's turn */
	} state;
	struct end ends[ENDS];
	bool locks; /* ERR keeps the place of a console, a tty */
	pid_t pid;  /* the command; an init is not our child */
	bool hung;  /* a terminal that no program has open */
	bool ended, known;
	int status;    /* when `known` */
	int64_t grace; /* when `ended`: for who holds its output */
	size_t lingered;
	uint32_t unacked;
	size_t queued;
	bool closing; /* the last of the chunks is the order to close */
	struct chunk *chunks, **last;
	uint8_t *ring; /* the console's, from `ringpos` on, and round */
	size_t ringpos, ringlen, dropped;
};

static struct stream *streams;
static unsigned int lingering; /* streams that are OPEN and have ended */

static bool
is_tty(const struct stream *s)
{
	return s->kind == STREAM_TTY || s->kind == STREAM_CONSOLE;
}

/* No bytes come from it but its end, when the monitor is gone. */
static bool
is_lock(const struct end *e)
{
	return e->stream->locks && e == &e->stream->ends[ERR];
}

/* The ends that bytes come from: the first and the one behind the last. */
static int
first_out(const struct stream *s)
{
	return is_tty(s) ? IN : OUT;
}

static struct stream *
find(uint32_t id)
{
	struct stream *s = streams;

	while (s != NULL && (s->id != id || s->state != OPEN))
		s = s->next;
	return s;
}

static bool
has_room(const struct stream *s)
{
	return s->unacked < WINDOW && !port_throttled();
}

/*
 * EPOLLET alone is for an end that is not to be read now: a hang-up is reported
 * whether it is asked for or not, so once instead of always. On a terminal that
 * nobody has open an edge tells that somebody has opened it again.
 */
static uint32_t
wanted(const struct stream *s, int i)
{
	const bool read = s->kind == STREAM_CONSOLE || has_room(s);
	uint32_t events = read && i >= first_out(s) ? EPOLLIN : EPOLLET;

	if (s->hung)
		events |= EPOLLET;
	if (i == IN && s->chunks != NULL)
		events = (events & ~(uint32_t)EPOLLET) | EPOLLOUT;
	return events;
}

static void
want(struct stream *s)
{
	for (int i = IN; s->state == OPEN && i < ENDS; i++)
		source_want(&s->ends[i].src, wanted(s, i));
}

/* --- From the command to Erlang ---------------------------------------- */

static struct etf_writer *
frame(const struct stream *s, const char *tag, uint32_t arity)
{
	struct etf_writer *w = frame_begin(tag, arity);

	etf_put_uint(w, s->id);
	return w;
}

static void
data_send(struct stream *s, int from, const void *data, size_t len)
{
	struct etf_writer *w = frame(s, "data", 4);

	etf_put_atom(w, from == ERR ? "stderr" : "stdout");
	etf_put_binary(w, data, len);
	frame_end();
	s->unacked += (uint32_t)len;
}

static void
finish(struct stream *s)
{
	put_status(frame(s, "exit", 3), s->known, s->status);
	frame_end();
	stream_close(s);
}

/*
 * The end is told after all output: when its ends are closed, or when the grace
 * is over in which what is left comes. Who else holds the output may write for
 * ever, so that what is read of it is bounded too.
 */
static void
check(struct stream *s)
{
	bool open = false, more = s->unacked >= WINDOW || s->ringlen > 0;

	if (s->state != OPEN || !s->ended)
		return;
	for (int i = first_out(s); i < ENDS; i++) {
		struct pollfd p = {s->ends[i].src.fd, POLLIN, 0};

		open = open || p.fd >= 0;
		more = more || (p.fd >= 0 && s->lingered < LINGER_MAX &&
				   poll(&p, 1, 0) > 0 && p.revents & POLLIN);
	}
	if (!more && (!open || now_ms() >= s->grace))
		finish(s);
}

/*
 * Reads at most `max` bytes; a terminal gives no more than 4 KiB at once, and
 * has no more when it gives few. *over: no more will come.
 */
static size_t
end_read(struct end *e, uint8_t *buf, size_t max, bool *over)
{
	struct stream *s = e->stream;
	size_t len = 0;
	ssize_t n;

	do {
		n = read(e->src.fd, buf + len, max - len);
		len += n > 0 ? (size_t)n : 0;
	} while (n >= TTY_MUCH && len < max && is_tty(s));
	*over = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
	s->hung = *over && s->kind == STREAM_TTY && !s->ended && !is_lock(e);
	*over = *over && !s->hung;
	return len;
}

/* Sends what the ring holds, as far as the window is open. */
static void
ring_send(struct stream *s)
{
	size_t n;

	while (s->ringlen > 0 && has_room(s)) {
		if (s->dropped > 0) {
			etf_put_uint(frame(s, "dropped", 3), s->dropped);
			frame_end();
			s->dropped = 0;
		}
		n = RING - s->ringpos;
		n = n < s->ringlen ? n : s->ringlen;
		n = n < CHUNK ? n : CHUNK;
		data_send(s, OUT, s->ring + s->ringpos, n);
		s->ringpos = (s->ringpos + n) % RING;
		s->ringlen -= n;
	}
}

/* A console is read in every case, since its monitor waits for us: what has no
 * room takes the place of the oldest. */
static void
ring_add(struct stream *s, const uint8_t *data, size_t len)
{
	const size_t over =
	    s->ringlen + len > RING ? s->ringlen + len - RING : 0;
	size_t at, n;

	s->ringpos = (s->ringpos + over) % RING;
	s->ringlen -= over;
	s->dropped += over;
	for (; len > 0; len -= n, data += n) {
		at = (s->ringpos + s->ringlen) % RING;
		n = len < RING - at ? len : RING - at;
		memcpy(s->ring + at, data, n);
		s->ringlen += n;
	}
	ring_send(s);
}

static void
output(struct stream *s, int from)
{
	static uint8_t buf[CHUNK];
	struct end *e = &s->ends[from];
	const size_t room = WINDOW - s->unacked;
	size_t len;
	bool over;

	if (s->kind == STREAM_CONSOLE) {
		len = end_read(e, buf, CHUNK, &over);
		ring_add(s, buf, len);
	} else {
		len = end_read(e, buf, room < CHUNK ? room : CHUNK, &over);
		if (len > 0)
			data_send(s, from, buf, len);
	}
	s->lingered += s->ended ? len : 0;
	if (!over)
		return;
	source_close(&e->src);
	if (s->kind == STREAM_CONSOLE || s->locks)
		stream_ended(s, false, 0);
}

/* --- From Erlang to the command ---------------------------------------- */

static void
chunk_done(struct stream *s, const char *error)
{
	struct chunk *c = s->chunks;

	port_answer(c->id, error);
	s->queued -= c->len;
	s->chunks = c->next;
	if (s->chunks == NULL)
		s->last = &s->chunks;
	free(c);
}

/* Nothing can be written any more. */
static void
input_lost(struct stream *s, const char *error)
{
	while (s->chunks != NULL)
		chunk_done(s, error);
	if (!is_tty(s))
		source_close(&s->ends[IN].src);
}

/* Writes what the kernel takes: false when that is an error. */
static bool
write_some(int fd, const uint8_t *data, size_t len, size_t *done)
{
	const ssize_t n = write(fd, data, len);

	*done = n > 0 ? (size_t)n : 0;
	return n >= 0 || errno == EAGAIN || errno == EINTR;
}

static void
flush(struct stream *s)
{
	struct chunk *c;
	size_t n;

	while ((c = s->chunks) != NULL) {
		if (c->close) {
			source_close(&s->ends[IN].src);
		} else if (!write_some(s->ends[IN].src.fd, c->data + c->pos,
			       c->len - c->pos, &n)) {
			input_lost(s, s->ended ? "closed" : "epipe");
			return;
		} else if ((c->pos += n) < c->len) {
			return;
		}
		chunk_done(s, NULL);
	}
}

static bool
chunk_add(struct stream *s, uint32_t id, bool close, const void *data, size_t n)
{
	struct chunk *c = malloc(sizeof(*c) + n);

	if (c == NULL)
		return false;
	*c = (struct chunk){.id = id, .close = close, .len = n};
	if (n > 0)
		memcpy(c->data, data, n);
	*s->last = c;
	s->last = &c->next;
	s->queued += n;
	return true;
}

/* The reason why nothing can be written, or NULL. */
static const char *
write_refusal(const struct stream *s, size_t len)
{
	if (s == NULL || s->ended)
		return "closed";
	if (s->closing || s->ends[IN].src.fd < 0)
		return "epipe";
	return len > QUEUE_MAX - s->queued ? "enobufs" : NULL;
}

/* The end of a command's arguments: false when they were wrong. */
static bool
args_done(uint32_t id, struct etf_reader *r)
{
	etf_get_nil(r);
	if (!etf_done(r))
		port_raise(id, "badarg");
	return r->error == ETF_OK;
}

static void
queue(uint32_t id, struct stream *s, const void *data, size_t len)
{
	const char *error = write_refusal(s, len);
	size_t done = 0;

	if (error == NULL && s->chunks == NULL &&
	    !write_some(s->ends[IN].src.fd, data, len, &done)) {
		error = "epipe";
		input_lost(s, error);
	}
	if (error == NULL && done < len &&
	    !chunk_add(s, id, false, (const char *)data + done, len - done))
		error = "enobufs";
	if (error != NULL || done == len)
		port_answer(id, error);
	else
		want(s);
}

static void
cmd_write(uint32_t id, struct stream *s, struct etf_reader *r)
{
	const struct etf_bytes b = etf_get_binary(r);

	if (args_done(id, r))
		queue(id, s, b.data, b.len);
}

/* A terminal's end-of-file is a character, and the terminal stays open. */
static void
cmd_eof(uint32_t id, struct stream *s, struct etf_reader *r)
{
	const char *error;
	struct termios t = {.c_cc = {[VEOF] = 4}};

	if (!args_done(id, r))
		return;
	if (s != NULL && is_tty(s)) {
		tcgetattr(s->ends[IN].src.fd, &t);
		queue(id, s, &t.c_cc[VEOF], 1);
		return;
	}
	if ((error = write_refusal(s, 0)) == NULL &&
	    !chunk_add(s, id, true, NULL, 0))
		error = "enobufs";
	if (error != NULL) {
		port_answer(id, error);
		return;
	}
	s->closing = true;
	flush(s);
	want(s);
}

static void
cmd_resize(uint32_t id, struct stream *s, struct etf_reader *r)
{
	const struct winsize size = {
	    .ws_row = (unsigned short)etf_get_int(r, 1, USHRT_MAX),
	    .ws_col = (unsigned short)etf_get_int(r, 1, USHRT_MAX)};

	if (!args_done(id, r))
		return;
	if (s == NULL || s->ended)
		port_answer(id, "closed");
	else if (!is_tty(s) || ioctl(s->ends[IN].src.fd, TIOCSWINSZ, &size) < 0)
		port_answer(id, "enotty");
	else
		port_answer(id, NULL);
}

/* A child that was not reaped yet keeps its pid: no other is hit. */
static void
cmd_signal(uint32_t id, struct stream *s, struct etf_reader *r)
{
	const int signo = (int)etf_get_int(r, 1, 64);

	if (args_done(id, r))
		port_answer(
		    id, s && !s->ended && s->pid > 0 && kill(s->pid, signo) == 0
			    ? NULL
			    : "closed");
}

static void
cmd_ack(uint32_t id, struct stream *s, struct etf_reader *r)
{
	const uint32_t n = (uint32_t)etf_get_uint(r, UINT32_MAX);

	if (!args_done(id, r) || s == NULL)
		return;
	s->unacked -= n < s->unacked ? n : s->unacked;
	ring_send(s);
	want(s);
	check(s);
}

static void
cmd_close(uint32_t id, struct stream *s, struct etf_reader *r)
{
	if (!args_done(id, r))
		return;
	if (s != NULL)
		stream_close(s);
	port_answer(id, NULL);
}

bool
stream_command(uint32_t id, const char *name, struct etf_reader *r)
{
	static const struct {
		const char *name;
		void (*run)(uint32_t, struct stream *, struct etf_reader *);
	} words[] = {{"ack", cmd_ack}, {"close", cmd_close}, {"eof", cmd_eof},
	    {"resize", cmd_resize}, {"signal", cmd_signal},
	    {"write", cmd_write}};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strcmp(name, words[i].name) == 0) {
			const uint64_t n = etf_get_uint(r, UINT32_MAX);

			words[i].run(id, find((uint32_t)n), r);
			return true;
		}
	return false;
}

/* --- Life --------------------------------------------------------------- */

static void
ready(struct source *src)
{
	struct end *e = (struct end *)src;
	struct stream *s = e->stream;
	const int i = (int)(e - s->ends);

	if (s->chunks != NULL && i == IN) {
		flush(s);
		want(s);
	}
	if (src->fd >= 0 && i >= first_out(s) &&
	    (s->kind == STREAM_CONSOLE || has_room(s))) {
		output(s, i);
		want(s);
		check(s);
	}
}

struct stream *
stream_new(uint32_t id, enum stream_kind kind, pid_t pid, const int fds[3])
{
	struct stream *s = calloc(1, sizeof(*s));

	if (s == NULL ||
	    (kind == STREAM_CONSOLE && (s->ring = malloc(RING)) == NULL)) {
		free(s);
		return NULL;
	}
	s->id = id;
	s->kind = kind;
	s->pid = pid;
	s->last = &s->chunks;
	s->locks = is_tty(s) && pid == 0;
	for (int i = IN; i < ENDS; i++) {
		s->ends[i].stream = s;
		s->ends[i].src.fd = fds[i];
	}
	s->next = streams;
	streams = s;
	return s;
}

void
stream_begin(struct stream *s, pid_t init)
{
	if (s->state != BORN)
		return; /* closed meanwhile, with all the others */
	if (s->kind == STREAM_INIT)
		s->pid = init;
	s->state = OPEN;
	for (int i = IN; i < ENDS; i++)
		if (s->ends[i].src.fd >= 0 &&
		    !source_add(&s->ends[i].src, wanted(s, i), ready))
			source_close(&s->ends[i].src);
	lingering += s->ended;
	check(s);
}

void
stream_ended(struct stream *s, bool known, int status)
{
	if (s->ended)
		return;
	s->ended = true;
	s->known = known;
	s->status = status;
	if (s->pid > 0 && s->kind != STREAM_INIT)
		port_session(s->pid, SESSION_LEFT);
	s->pid = 0;
	s->hung = false;
	if (s->locks)
		source_close(&s->ends[ERR].src);
	s->grace = now_ms() + GRACE_MS;
	lingering += s->state == OPEN;
	input_lost(s, "closed");
	if (s->state == CLOSED)
		s->state = GONE;
	want(s);
	check(s);
}

/* The command's session is killed with it, but for what is left of the session
 * of one that has ended: that was let go. */
void
stream_close(struct stream *s)
{
	const bool child = !s->ended && s->pid > 0 && s->kind != STREAM_INIT;

	if (s->state == CLOSED || s->state == GONE)
		return;
	lingering -= s->state == OPEN && s->ended;
	input_lost(s, "closed");
	for (int i = IN; i < ENDS; i++)
		source_close(&s->ends[i].src);
	if (child) {
		kill(s->pid, SIGKILL);
		port_session(s->pid, SESSION_KILLED);
	}
	s->state = s->ended || s->pid == 0 ? GONE : CLOSED;
	if (s->kind == STREAM_INIT && !s->ended)
		port_stop_init(s);
}

bool
stream_reaped(pid_t pid, int status)
{
	for (struct stream *s = streams; s != NULL; s = s->next)
		if (s->pid == pid && s->kind != STREAM_INIT) {
			stream_ended(s, true, status);
			return true;
		}
	return false;
}

void
streams_throttle(void)
{
	for (struct stream *s = streams; s != NULL; s = s->next) {
		ring_send(s);
		want(s);
		check(s);
	}
}

int
streams_timeout(void)
{
	int64_t left, least = INT_MAX;

	if (lingering == 0)
		return -1;
	for (struct stream *s = streams; s != NULL; s = s->next) {
		if (s->state != OPEN || !s->ended || !has_room(s))
			continue;
		check(s);
		left = s->grace - now_ms();
		if (left > 0 && left < least)
			least = left;
	}
	return least < INT_MAX ? (int)least : -1;
}

void
streams_close_all(void)
{
	for (struct stream *s = streams; s != NULL; s = s->next)
		stream_close(s);
}

void
streams_forked(void)
{
	for (struct stream *s = streams; s != NULL; s = s->next)
		for (int i = IN; i < ENDS; i++)
			if (s->ends[i].src.fd >= 0)
				close(s->ends[i].src.fd);
}

void
streams_sweep(void)
{
	struct stream **link = &streams, *s;

	while ((s = *link) != NULL) {
		if (s->state != GONE) {
			link = &s->next;
			continue;
		}
		*link = s->next;
		port_stream_gone(s);
		free(s->ring);
		free(s);
	}
}

struct etf_bytes
streams_sessions(void)
{
	struct etf_writer w;

	etf_init(&w, SIZE_MAX);
	for (const struct stream *s = streams; s != NULL; s = s->next)
		if (s->pid > 0 && s->kind != STREAM_INIT && s->state != CLOSED)
			etf_put_raw(&w, &s->pid, sizeof(s->pid));
	return (struct etf_bytes){w.data, w.len};
}
