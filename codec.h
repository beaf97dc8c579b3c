/* SPDX-License-Identifier: ISC */
/*
 * Erlang's External Term Format (ETF): a bounded reader and a growing writer.
 * Pure: no system calls, no globals; memory only for what the writer holds.
 *
 * Errors are sticky, in both directions. The first one is kept, the reader is
 * emptied, and every later getter returns zero, so that a caller reads all it
 * expects in a straight line and asks once, at the end:
 *
 *	etf_get_tuple(&r, 2);
 *	signo = etf_get_int(&r, 1, 64);
 *	name = etf_get_binary(&r);
 *	if (!etf_done(&r))
 *		return badarg(call);
 *
 * The tags read are the fifteen that OTP sends; every other one is ETF_TYPE.
 */
#ifndef CODEC_H
#define CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum etf_error {
	ETF_OK,
	ETF_TRUNCATED, /* the term goes on where the bytes end */
	ETF_TYPE,      /* another type than asked for, or an unknown tag */
	ETF_RANGE,    /* the right type, out of the range or over the maximum */
	ETF_INVALID,  /* a term that OTP refuses: bad UTF-8, NaN, equal keys */
	ETF_TRAILING, /* bytes after the term */
	ETF_NOMEM,    /* malloc failed */
	ETF_TOOBIG    /* the writer's maximum is reached */
};

enum etf_type {
	ETF_NONE, /* no bytes left, an error, or an unknown tag */
	ETF_INTEGER,
	ETF_FLOAT,
	ETF_ATOM,
	ETF_BINARY,
	ETF_TUPLE,
	ETF_LIST, /* NIL, LIST or STRING */
	ETF_MAP
};

/* Limits of what etf_check() and etf_skip() accept; over them: ETF_RANGE. */
#define ETF_TERMS_MAX 65536u /* terms in a frame; a STRING counts as one */
#define ETF_PAIRS_MAX 1024u  /* pairs in a map of more than one */
#define ETF_KEY_DEPTH_MAX 32 /* nesting in the keys of such a map */
#define ETF_KEY_WORK_MAX (16 * ETF_TERMS_MAX) /* see etf_check() */

/* Bytes inside a frame: pointer and length never travel apart. */
struct etf_bytes {
	const uint8_t *data;
	size_t len;
};

struct etf_reader {
	const uint8_t *pos, *end;
	enum etf_error error;
	uint32_t chars; /* of an open STRING: bytes left, and 1 for its end */
};

/* Opens a frame, which begins with the byte 131 and must outlive the reader. */
void etf_open(struct etf_reader *r, const void *frame, size_t len);

/*
 * True when the frame holds the version byte, one well-formed term within our
 * tag set and limits, and nothing else: what binary_to_term/1 accepts. Keys of
 * a map must differ, however each is encoded: 97 1 and 98 0 0 0 1 are the same,
 * as are 0.0 and -0.0 (OTP 27 tells these apart). They are compared by a hash
 * of 64 bits: one chance in 2^64 that two different ones are refused.
 *
 * Iterative, no allocation, 12 KiB of stack. The work for keys is bounded, too:
 * ETF_KEY_WORK_MAX terms or 16 bytes of them, and within a map the comparison
 * of each key's hash with those before it. etf_skip() checks a term likewise.
 */
bool etf_check(const void *frame, size_t len);
void etf_skip(struct etf_reader *r);

/* True when there was no error and no byte is left; else ETF_TRAILING. */
bool etf_done(struct etf_reader *r);

/* Sets an error from outside (a value that the caller refuses); is false. */
bool etf_fail(struct etf_reader *r, enum etf_error error);

/* The type of the next term, of which only the tag is looked at. */
enum etf_type etf_peek(const struct etf_reader *r);

/* An integer min..max or 0..max; a finite float; a binary in the frame. */
int64_t etf_get_int(struct etf_reader *r, int64_t min, int64_t max);
uint64_t etf_get_uint(struct etf_reader *r, uint64_t max);
double etf_get_float(struct etf_reader *r);
struct etf_bytes etf_get_binary(struct etf_reader *r);

/*
 * An atom, as UTF-8 with a NUL at the end, into `dst` of `size` bytes; returns
 * its length. One that does not fit, or has a NUL in it: ETF_RANGE.
 */
size_t etf_get_atom(struct etf_reader *r, char *dst, size_t size);
bool etf_get_bool(struct etf_reader *r); /* the atom true or false */

/*
 * The header of a tuple of `arity`, or of up to `max`, which is returned; of a
 * map, whose number of pairs is returned. The elements follow.
 */
void etf_get_tuple(struct etf_reader *r, uint32_t arity);
uint32_t etf_get_tuple_any(struct etf_reader *r, uint32_t max);
uint32_t etf_get_map(struct etf_reader *r, uint32_t max);

/*
 * A list's header: the number of elements, up to `max`. They follow, those of a
 * STRING as integers, and after the last one etf_get_nil(), for the empty list,
 * too. A list cut into several, which OTP never sends: ETF_TYPE at a cut.
 */
uint32_t etf_get_list(struct etf_reader *r, uint32_t max);
void etf_get_nil(struct etf_reader *r);

/*
 * Iodata of any depth, flattened as by iolist_to_binary/1, at most `max` bytes.
 * Returns malloc'd bytes with a NUL after the last one, the caller frees; NULL
 * on an error. Integers over 255, improper tails that are no binary: ETF_TYPE;
 * a NUL among the bytes of etf_get_string(), a C string: ETF_RANGE.
 */
char *etf_get_iodata(struct etf_reader *r, size_t max, size_t *len);
char *etf_get_string(struct etf_reader *r, size_t max);

struct etf_writer {
	uint8_t *data; /* malloc'd, or NULL */
	size_t len, cap;
	size_t max; /* the most that `len` may reach */
	enum etf_error error;
};

/* A writer of at most `max` bytes, nothing allocated; etf_free(): so again. */
void etf_init(struct etf_writer *w, size_t max);
void etf_free(struct etf_writer *w);

/* Forgets what was written after the first `len` bytes, and the error. */
void etf_rewind(struct etf_writer *w, size_t len);

/*
 * Each writes the smallest encoding, the bytes of term_to_binary/1 (OTP 26:
 * atoms as UTF-8), but for a list of bytes: that is a LIST like any other. What
 * OTP would refuse (an atom of no UTF-8 or over 255 characters, a float that is
 * not finite) is an error. After an error they do nothing. Raw bytes are
 * appended as they are: a term encoded elsewhere, or no term at all.
 */
void etf_put_raw(struct etf_writer *w, const void *data, size_t len);
void etf_put_version(struct etf_writer *w);
void etf_put_int(struct etf_writer *w, int64_t n);
void etf_put_uint(struct etf_writer *w, uint64_t n);
void etf_put_float(struct etf_writer *w, double d);
void etf_put_atom(struct etf_writer *w, const char *utf8);
void etf_put_bool(struct etf_writer *w, bool b);
void etf_put_binary(struct etf_writer *w, const void *data, size_t len);
void etf_put_string(struct etf_writer *w, const char *s); /* as a binary */
void etf_put_tuple(struct etf_writer *w, uint32_t arity);
void etf_put_list(struct etf_writer *w, uint32_t n); /* 0: writes nothing */
void etf_put_nil(struct etf_writer *w);              /* ends every list */
void etf_put_map(struct etf_writer *w, uint32_t pairs);

#endif
