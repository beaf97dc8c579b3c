/* SPDX-License-Identifier: ISC */
/*
 * Reads a frame with the getters and writes it again with the writer. An
 * encoding is in prefix order, so counting the terms still to come is enough.
 * What no getter gives, an integer of more than 64 bits and an atom with a NUL,
 * is copied as it is. Used by transcode.c and codec_fuzz.c.
 */
#ifndef TRANSCODE_H
#define TRANSCODE_H

#include "codec.h"

#define ATOM_SIZE (255 * 4 + 1)

static inline void
copy_raw(struct etf_reader *r, struct etf_reader start, struct etf_writer *w)
{
	*r = start;
	etf_skip(r);
	if (r->error == ETF_OK)
		etf_put_raw(w, start.pos, (size_t)(r->pos - start.pos));
}

static inline void
copy_integer(struct etf_reader *r, struct etf_writer *w)
{
	struct etf_reader start = *r;
	int64_t n = etf_get_int(r, INT64_MIN, INT64_MAX);
	uint64_t u;

	if (r->error == ETF_OK) {
		etf_put_int(w, n);
		return;
	}
	*r = start;
	u = etf_get_uint(r, UINT64_MAX);
	if (r->error == ETF_OK)
		etf_put_uint(w, u);
	else
		copy_raw(r, start, w);
}

static inline void
copy_name(struct etf_reader *r, struct etf_writer *w)
{
	struct etf_reader start = *r;
	char name[ATOM_SIZE];

	etf_get_atom(r, name, sizeof(name));
	if (r->error == ETF_OK)
		etf_put_atom(w, name);
	else
		copy_raw(r, start, w);
}

static inline uint64_t
copy_list(struct etf_reader *r, struct etf_writer *w)
{
	struct etf_reader start = *r;
	uint32_t n = etf_get_list(r, UINT32_MAX);

	if (r->pos != start.pos || r->chars != start.chars) {
		etf_put_list(w, n);
		return (uint64_t)n + 1;
	}
	etf_get_nil(r);
	etf_put_nil(w);
	return 0;
}

/* Copies a scalar or a head; how many terms follow that belong to it. */
static inline uint64_t
copy_term(struct etf_reader *r, struct etf_writer *w)
{
	uint32_t n;
	struct etf_bytes b;

	switch (etf_peek(r)) {
	case ETF_INTEGER:
		copy_integer(r, w);
		return 0;
	case ETF_FLOAT:
		etf_put_float(w, etf_get_float(r));
		return 0;
	case ETF_ATOM:
		copy_name(r, w);
		return 0;
	case ETF_BINARY:
		b = etf_get_binary(r);
		etf_put_binary(w, b.data, b.len);
		return 0;
	case ETF_TUPLE:
		n = etf_get_tuple_any(r, UINT32_MAX);
		etf_put_tuple(w, n);
		return n;
	case ETF_LIST:
		return copy_list(r, w);
	case ETF_MAP:
		n = etf_get_map(r, UINT32_MAX);
		etf_put_map(w, n);
		return 2 * (uint64_t)n;
	case ETF_NONE:
		break;
	}
	etf_fail(r, ETF_TYPE);
	return 0;
}

/* False when a getter refused something, or the writer is full. */
static inline bool
transcode(const void *frame, size_t len, struct etf_writer *w)
{
	struct etf_reader r;

	etf_open(&r, frame, len);
	etf_put_version(w);
	for (uint64_t todo = 1; todo > 0 && r.error == ETF_OK; todo--)
		todo += copy_term(&r, w);
	return etf_done(&r) && w->error == ETF_OK;
}

#endif
