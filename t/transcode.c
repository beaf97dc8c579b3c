/* SPDX-License-Identifier: ISC */
/*
 * The codec as a filter of {packet, 4} frames, for prop_codec.erl. A frame that
 * etf_check() refuses is answered with an empty one. Modes (the argument):
 *	term (default)	the frame, read and written again
 *	iodata		<<131, 109, ...>>: what etf_get_iodata() makes of it
 *	string		the same, by etf_get_string()
 * "!": etf_check() accepted a frame that the getters then refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transcode.h"

#define FRAME_MAX (64u << 20)

static void
answer(const void *data, size_t len)
{
	uint8_t head[4] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16),
	    (uint8_t)(len >> 8), (uint8_t)len};

	if (fwrite(head, 1, sizeof(head), stdout) != sizeof(head) ||
	    fwrite(data, 1, len, stdout) != len || fflush(stdout) != 0)
		exit(1);
}

/* Iodata may be refused, so "!" is not for it. */
static void
flatten(const uint8_t *frame, size_t len, bool string, struct etf_writer *w)
{
	struct etf_reader r;
	size_t n = 0;
	char *s;

	etf_open(&r, frame, len);
	if (string)
		s = etf_get_string(&r, FRAME_MAX);
	else
		s = etf_get_iodata(&r, FRAME_MAX, &n);
	if (etf_done(&r)) {
		etf_put_version(w);
		etf_put_binary(w, s, string ? strlen(s) : n);
	}
	free(s);
}

static void
serve(const uint8_t *frame, size_t len, const char *mode)
{
	struct etf_writer w;

	etf_init(&w, FRAME_MAX);
	if (!etf_check(frame, len))
		answer("", 0);
	else if (strcmp(mode, "term") == 0 && !transcode(frame, len, &w))
		answer("!", 1);
	else {
		if (strcmp(mode, "term") != 0)
			flatten(frame, len, strcmp(mode, "string") == 0, &w);
		answer(w.len > 0 ? w.data : (const uint8_t *)"", w.len);
	}
	etf_free(&w);
}

int
main(int argc, char **argv)
{
	uint8_t head[4];

	while (fread(head, 1, sizeof(head), stdin) == sizeof(head)) {
		size_t len = (size_t)head[0] << 24 | (size_t)head[1] << 16 |
			     (size_t)head[2] << 8 | head[3];
		/* Not a byte too long: a sanitizer sees who reads on. */
		uint8_t *frame = len <= FRAME_MAX ? malloc(len + !len) : NULL;

		if (frame == NULL || fread(frame, 1, len, stdin) != len)
			return 1;
		serve(frame, len, argc > 1 ? argv[1] : "term");
		free(frame);
	}
	return 0;
}
