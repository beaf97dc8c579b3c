/* SPDX-License-Identifier: ISC */
/*
 * What liblxc, templates and hooks print comes in by pipes, and goes out line by
 * line: to a file, to Erlang's logger, and to the caller of a job who wants it.
 * A pipe that is not read, while Erlang does not read, holds up its writers.
 */
#include <sys/epoll.h>

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <strings.h>

#include "erlxc.h"

#define DRAIN_MAX 128 /* reads of what a job has left in its pipe */

enum { LOG_NOTICE = 3, LOG_ERROR = 5 };

const char *const log_levels[LOG_LEVELS] = {"trace", "debug", "info", "notice",
    "warn", "error", "crit", "alert", "fatal"};

/* The place in log_levels of a line: liblxc's have it as fourth word, or are
 * errors that it prints; others' lines are notices. */
static size_t
log_level(const char *line)
{
	char word[16];

	if (sscanf(line, "lxc %*s %*s %15s", word) == 1)
		for (size_t i = 0; i < LOG_LEVELS; i++)
			if (strcasecmp(word, log_levels[i]) == 0)
				return i;
	return strncmp(line, "lxc: ", 5) == 0 ? LOG_ERROR : LOG_NOTICE;
}

/* One line of what liblxc, templates and hooks print. It may hold a container's
 * bytes, so control bytes are shown, not passed on. */
static void
log_line(const struct log *log, char *line, size_t len)
{
	struct etf_writer *w;
	size_t level;

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 127)
			line[i] = line[i] == '\t' ? ' ' : '?';
	if (log->file >= 0)
		dprintf(log->file, "%.*s\n", (int)len, line);
	/* Standard error is not ours: a line that would block is lost. */
	if (log->verbose && polled(log->errfd, POLLOUT, 0))
		dprintf(log->errfd, "%.*s\n", (int)len, line);
	line[len] = '\0';
	level = log_level(line);
	if (level < log->level || port_throttled())
		return;
	w = frame_begin("log", 3);
	etf_put_atom(w, log_levels[level]);
	etf_put_binary(w, line, len);
	frame_end();
}

/* {progress, Id, Line}, while somebody waits for the job; and to the log. */
static void
output_line(struct output *o, size_t len)
{
	const struct request *req = o->req ? *o->req : NULL;
	struct etf_writer *w;

	if (req != NULL && req->id != 0) {
		w = frame_begin("progress", 3);
		etf_put_uint(w, req->id);
		etf_put_binary(w, o->line, len);
		frame_end();
	}
	log_line(o->log, o->line, len);
}

void
output_lines(struct source *src)
{
	struct output *o = (struct output *)src;
	const ssize_t n =
	    read(src->fd, o->line + o->len, LOG_LINE_MAX - o->len);
	size_t used;
	char *nl;

	if (n == 0)
		source_close(src);
	if (n <= 0)
		return;
	o->len += (size_t)n;
	while ((nl = memchr(o->line, '\n', o->len)) != NULL ||
	       o->len == LOG_LINE_MAX) {
		used = nl ? (size_t)(nl - o->line) : o->len;
		output_line(o, used);
		used += nl != NULL;
		o->len -= used;
		memmove(o->line, o->line + used, o->len);
	}
}

void
output_drain(struct output *o)
{
	for (int i = 0; i < DRAIN_MAX && polled(o->src.fd, POLLIN, 0); i++)
		output_lines(&o->src);
	if (o->len > 0)
		output_line(o, o->len);
	o->len = 0;
}

void
output_free(struct output *o)
{
	if (o != NULL)
		source_close(&o->src);
	free(o);
}

struct output *
output_new(int fd, const struct log *log)
{
	struct output *o = malloc(sizeof(*o));

	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (o != NULL)
		*o = (struct output){.src.fd = fd, .log = log};
	if (o != NULL && source_add(&o->src, EPOLLIN, output_lines))
		return o;
	close(fd);
	free(o);
	return NULL;
}
