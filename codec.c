/* SPDX-License-Identifier: ISC */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"

#define VERSION 131
#define ATOM_CHARS_MAX 255
#define ATOM_SIZE (4 * ATOM_CHARS_MAX)   /* as UTF-8 */
#define EXPONENT (UINT64_C(0x7ff) << 52) /* all ones: no finite float */
#define WORK_BYTES 16                    /* as much work as a term */
#define GROWTH_MIN 64                    /* the first allocation of a writer */
#define SLOW __attribute__((noinline, cold))

/* The tags, by kind. */
enum { SMALL_INTEGER = 97, INTEGER = 98, SMALL_BIG = 110, NEW_FLOAT = 70 };
enum { ATOM = 100, SMALL_ATOM = 115, ATOM_UTF8 = 118, SMALL_ATOM_UTF8 = 119 };
enum { NIL = 106, STRING = 107, LIST = 108, BINARY = 109 };
enum { SMALL_TUPLE = 104, LARGE_TUPLE = 105, MAP = 116 };

/*
 * How a tag's bytes are laid out: `width` bytes of a number n; then n terms
 * `kids` times over and `fixed` ones, or, with kids 0, n + `fixed` bytes.
 */
static const struct form {
	uint8_t type, width, fixed, kids;
} forms[UINT8_MAX + 1] = {
    [NEW_FLOAT] = {ETF_FLOAT, 0, 8, 0},
    [SMALL_INTEGER] = {ETF_INTEGER, 0, 1, 0},
    [INTEGER] = {ETF_INTEGER, 0, 4, 0},
    [ATOM] = {ETF_ATOM, 2, 0, 0},
    [SMALL_TUPLE] = {ETF_TUPLE, 1, 0, 1},
    [LARGE_TUPLE] = {ETF_TUPLE, 4, 0, 1},
    [NIL] = {ETF_LIST, 0, 0, 0},
    [STRING] = {ETF_LIST, 2, 0, 0},
    [LIST] = {ETF_LIST, 4, 1, 1},
    [BINARY] = {ETF_BINARY, 4, 0, 0},
    [SMALL_BIG] = {ETF_INTEGER, 1, 1, 0},
    [SMALL_ATOM] = {ETF_ATOM, 1, 0, 0},
    [MAP] = {ETF_MAP, 4, 0, 2},
    [ATOM_UTF8] = {ETF_ATOM, 2, 0, 0},
    [SMALL_ATOM_UTF8] = {ETF_ATOM, 1, 0, 0},
};

/* A term's head, read and checked; of a scalar, the whole term. */
struct term {
	enum etf_type type;
	uint8_t tag;
	bool negative;
	uint32_t n;      /* elements, pairs, bytes of what `number` is not */
	uint64_t number; /* an integer's magnitude, a float's bits */
	uint64_t kids;   /* terms that follow and belong to it */
	const uint8_t *data, *end; /* a scalar's bytes */
};

static size_t
left(const struct etf_reader *r)
{
	return (size_t)(r->end - r->pos);
}

static inline uint64_t
big_endian(const uint8_t *p, size_t width)
{
	uint64_t n = 0;

#pragma GCC unroll 8
	while (width-- > 0)
		n = n << 8 | *p++;
	return n;
}

/* Overlong forms, surrogates and what is over U+10FFFF are no UTF-8. */
static enum etf_error
check_utf8_atom(const uint8_t *p, size_t size)
{
	static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
	const uint8_t *end = p + size;
	size_t chars = 0;

	for (; p < end; chars++) {
		uint8_t c = *p++;
		size_t more = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
		uint32_t code = c & (0x3fu >> more);

		if (c < 0x80)
			continue;
		if (c < 0xc0 || c > 0xf4 || more > (size_t)(end - p))
			return ETF_INVALID;
		for (size_t i = 0; i < more; i++, p++) {
			if ((*p & 0xc0) != 0x80)
				return ETF_INVALID;
			code = code << 6 | (*p & 0x3f);
		}
		if (code < least[more] || code > 0x10ffff ||
		    code >> 11 == 0xd800 >> 11)
			return ETF_INVALID;
	}
	return chars <= ATOM_CHARS_MAX ? ETF_OK : ETF_RANGE;
}

bool
etf_fail(struct etf_reader *r, enum etf_error error)
{
	if (r->error == ETF_OK)
		r->error = error;
	r->pos = r->end;
	r->chars = 0;
	return false;
}

void
etf_open(struct etf_reader *r, const void *frame, size_t len)
{
	*r = (struct etf_reader){.pos = frame};
	r->end = len > 0 ? r->pos + len : r->pos;
	if (len == 0)
		etf_fail(r, ETF_TRUNCATED);
	else if (*r->pos++ != VERSION)
		etf_fail(r, ETF_INVALID);
}

bool
etf_done(struct etf_reader *r)
{
	if (r->pos != r->end || r->chars > 0)
		etf_fail(r, ETF_TRAILING);
	return r->error == ETF_OK;
}

/* As OTP reads a SMALL_BIG, any sign byte but 0 is a minus, and -0 is 0. */
static enum etf_error
decode_scalar(struct term *t)
{
	switch (t->tag) {
	case SMALL_INTEGER:
		t->number = t->data[0];
		break;
	case INTEGER:
		t->number = big_endian(t->data, 4);
		t->negative = t->number >> 31;
		if (t->negative)
			t->number = (UINT64_C(1) << 32) - t->number;
		break;
	case SMALL_BIG:
		t->negative = *t->data++ != 0;
		while (t->n > 0 && t->data[t->n - 1] == 0)
			t->n--;
		for (; t->n <= 8 && t->n > 0; t->n--)
			t->number = t->number << 8 | t->data[t->n - 1];
		t->negative &= t->n > 0 || t->number > 0;
		break;
	case NEW_FLOAT:
		t->number = big_endian(t->data, 8);
		return ~t->number & EXPONENT ? ETF_OK : ETF_INVALID;
	case ATOM:
		return t->n <= ATOM_CHARS_MAX ? ETF_OK : ETF_RANGE;
	case ATOM_UTF8:
	case SMALL_ATOM_UTF8:
		return check_utf8_atom(t->data, t->n);
	}
	return ETF_OK;
}

/* A term is a byte at least: no count is believed without the bytes. */
static inline bool
decode_head(const struct etf_reader *r, uint8_t tag, struct term *t)
{
	const struct form *form = &forms[tag];
	size_t head = 1u + form->width, room = left(r);
	uint64_t more;

	if (room < head || *r->pos != tag)
		return false;
	t->n = (uint32_t)big_endian(r->pos + 1, form->width);
	t->data = r->pos + head;
	more = (uint64_t)t->n * (form->kids > 0 ? form->kids : 1) + form->fixed;
	if (more > room - head)
		return false;
	t->kids = form->kids > 0 ? more : 0;
	t->end = t->data + (more - t->kids);
	return true;
}

/* In a STRING that was opened, its bytes and its end are terms. */
static bool
get_term(struct etf_reader *r, struct term *t)
{
	enum etf_error error;

	if (r->chars > 0) {
		r->chars--;
		*t = (struct term){r->chars > 0 ? ETF_INTEGER : ETF_LIST};
		if (r->chars > 0)
			t->number = *r->pos++;
		return true;
	}
	if (left(r) == 0)
		return etf_fail(r, ETF_TRUNCATED);
	*t = (struct term){.type = forms[*r->pos].type, .tag = *r->pos};
	if (t->type == ETF_NONE)
		return etf_fail(r, ETF_TYPE);
	if (!decode_head(r, t->tag, t))
		return etf_fail(r, ETF_TRUNCATED);
	r->pos = t->end;
	error = decode_scalar(t);
	return error == ETF_OK || etf_fail(r, error);
}

/* A STRING's bytes are terms from here on, n of them and NIL. */
static void
open_string(struct etf_reader *r, struct term *t)
{
	r->pos = t->data;
	r->chars = t->n + 1;
	t->kids = r->chars;
}

static SLOW bool
expect(struct etf_reader *r, enum etf_type type, struct term *t)
{
	return get_term(r, t) && (t->type == type || etf_fail(r, ETF_TYPE));
}

/* The fast path; when it is false, the getter asks expect() what there is. */
static inline bool
quick(struct etf_reader *r, uint8_t tag, uint32_t max, struct term *t)
{
	if (r->chars > 0 || !decode_head(r, tag, t) || t->n > max)
		return false;
	r->pos = t->end;
	return true;
}

/* What was not quick() and is no rarer form: only its n can be out of range. */
static SLOW uint32_t
refuse(struct etf_reader *r, enum etf_type type)
{
	struct term t;

	return expect(r, type, &t) && etf_fail(r, ETF_RANGE);
}

/* An atom as UTF-8 into `dst`, which has room for any: get_term() saw it. */
static size_t
copy_atom(const struct term *t, char *dst)
{
	bool latin1 = t->tag == ATOM || t->tag == SMALL_ATOM;
	char *p = dst;

	for (uint32_t i = 0; i < t->n; i++) {
		uint8_t c = t->data[i];

		if (latin1 && c >= 0x80) {
			*p++ = (char)(0xc0 | c >> 6);
			c &= 0xbf;
		}
		*p++ = (char)c;
	}
	return (size_t)(p - dst);
}

/* --- Reader: check and skip -------------------------------------------- */

/* A term in a key. It is hashed by what it means, however it is encoded. */
struct nest {
	enum etf_type type;
	uint64_t todo;      /* terms still to come, a list's tail among them */
	uint64_t hash, key; /* a map's key whose value is next */
};

/* Not the same when the two change places. */
static uint64_t
mix(uint64_t hash, uint64_t n)
{
	hash = hash * UINT64_C(0x9e3779b97f4a7c15) ^ n;
	hash = (hash ^ hash >> 32) * UINT64_C(0xd6e8feb86659fd93);
	hash = (hash ^ hash >> 29) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 32;
}

/* Of a scalar, or a head. The zeros are equal, as until OTP 26. */
static uint64_t
hash_term(const struct term *t)
{
	char atom[ATOM_SIZE];
	bool zero = t->type == ETF_FLOAT && t->number << 1 == 0;
	uint64_t hash = mix(mix(t->type, t->negative), zero ? 0 : t->number);
	const uint8_t *p = t->data;
	size_t n = t->type == ETF_LIST ? 0 : t->n; /* it may be cut */

	if (t->type == ETF_ATOM) {
		n = copy_atom(t, atom);
		p = (const uint8_t *)atom;
	}
	for (size_t i = 0; t->kids == 0 && i < n; i++)
		hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
	return mix(hash, n);
}

/* Adds a whole term to the one it is in; a map's pairs in any order. */
static void
hash_add(struct nest *nest, uint64_t hash)
{
	nest->todo--;
	if (nest->type != ETF_MAP)
		nest->hash = mix(nest->hash, hash);
	else if (nest->todo % 2 == 1)
		nest->key = hash;
	else
		nest->hash += mix(nest->key, hash);
}

/* In a STRING, whose bytes were paid with it, the terms are free. */
static bool
visit(struct etf_reader *r, struct term *t, int64_t *budget)
{
	if (*budget <= 0)
		return etf_fail(r, ETF_RANGE);
	*budget -= r->chars == 0;
	return get_term(r, t);
}

/* A list that is another one's tail goes on in that one's place. */
static uint64_t
hash_key(struct etf_reader *r, int64_t *work)
{
	struct nest stack[ETF_KEY_DEPTH_MAX + 2] = {{.todo = 1}}, *top = stack;
	struct term t;

	while (stack->todo > 0 && visit(r, &t, work)) {
		*work -= t.n / WORK_BYTES;
		if (t.tag == LIST && t.n == 0)
			continue; /* its tail is all of it */
		if (t.tag == STRING && t.n > 0)
			open_string(r, &t);
		if (t.kids > 0 && top == stack + ETF_KEY_DEPTH_MAX)
			etf_fail(r, ETF_RANGE); /* nothing is read after it */
		if (t.type == ETF_LIST && t.kids > 0 && top->type == ETF_LIST &&
		    top->todo == 1)
			top->todo = t.kids;
		else
			*++top = (struct nest){t.type, t.kids, hash_term(&t)};
		for (; top > stack && top->todo == 0; top--)
			hash_add(top - 1, top->hash);
	}
	return stack->hash;
}

/* Of the `n` pairs that are next. Of a value only atoms are looked at. */
static void
check_keys(struct etf_reader *r, uint32_t n, int64_t *work)
{
	struct etf_reader ahead = *r;
	uint64_t hashes[ETF_PAIRS_MAX];
	struct term t;

	if (n > ETF_PAIRS_MAX)
		etf_fail(&ahead, ETF_RANGE);
	for (uint32_t i = 0; i < n && ahead.error == ETF_OK; i++) {
		hashes[i] = hash_key(&ahead, work);
		for (uint64_t todo = 1; todo > 0 && visit(&ahead, &t, work);
		     todo += t.kids - 1)
			*work -= t.type == ETF_ATOM ? t.n / WORK_BYTES : 0;
		for (uint32_t j = 0; j < i; j++)
			if (hashes[i] == hashes[j])
				etf_fail(&ahead, ETF_INVALID);
	}
	if (ahead.error != ETF_OK)
		etf_fail(r, ahead.error);
}

void
etf_skip(struct etf_reader *r)
{
	int64_t terms = ETF_TERMS_MAX, work = ETF_KEY_WORK_MAX;
	struct term t;

	for (uint64_t todo = 1; todo > 0 && visit(r, &t, &terms);
	     todo += t.kids - 1)
		if (t.tag == MAP && t.n > 1)
			check_keys(r, t.n, &work);
}

bool
etf_check(const void *frame, size_t len)
{
	struct etf_reader r;

	etf_open(&r, frame, len);
	etf_skip(&r);
	return etf_done(&r);
}

enum etf_type
etf_peek(const struct etf_reader *r)
{
	if (r->chars > 0)
		return r->chars > 1 ? ETF_INTEGER : ETF_LIST;
	return r->pos < r->end ? (enum etf_type)forms[*r->pos].type : ETF_NONE;
}

static SLOW int64_t
get_int(struct etf_reader *r, int64_t min, int64_t max)
{
	struct term t;
	int64_t n;

	if (!expect(r, ETF_INTEGER, &t))
		return 0;
	n = (int64_t)(t.negative ? 0 - t.number : t.number);
	if (t.n > 0 || (n < 0) != t.negative || n < min || n > max)
		return etf_fail(r, ETF_RANGE);
	return n;
}

int64_t
etf_get_int(struct etf_reader *r, int64_t min, int64_t max)
{
	struct term t;
	int64_t n;

	if (quick(r, SMALL_INTEGER, 0, &t))
		n = *t.data;
	else if (quick(r, INTEGER, 0, &t))
		n = (int32_t)big_endian(t.data, 4);
	else
		return get_int(r, min, max);
	return n >= min && n <= max ? n : etf_fail(r, ETF_RANGE);
}

uint64_t
etf_get_uint(struct etf_reader *r, uint64_t max)
{
	struct term t;

	if (max <= INT64_MAX)
		return (uint64_t)etf_get_int(r, 0, (int64_t)max);
	if (expect(r, ETF_INTEGER, &t) && t.n == 0 && !t.negative &&
	    t.number <= max)
		return t.number;
	return etf_fail(r, ETF_RANGE);
}

double
etf_get_float(struct etf_reader *r)
{
	struct term t;
	double d = 0;

	if (expect(r, ETF_FLOAT, &t))
		memcpy(&d, &t.number, sizeof d);
	return d;
}

static SLOW size_t
get_atom(struct etf_reader *r, char *dst, size_t size)
{
	char atom[ATOM_SIZE];
	struct term t;
	size_t len = expect(r, ETF_ATOM, &t) ? copy_atom(&t, atom) : 0;

	if (len >= size || memchr(atom, '\0', len) != NULL)
		len = etf_fail(r, ETF_RANGE);
	if (size > 0) {
		memcpy(dst, atom, len);
		dst[len] = '\0';
	}
	return len;
}

/* Copies eight bytes; 0 when all are ASCII and none is NUL. */
static inline uint64_t
copy_eight(char *dst, const uint8_t *src)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t word;

	memcpy(&word, src, 8);
	memcpy(dst, &word, 8);
	return (word | (word - ones)) & ones << 7;
}

static inline bool
copy_ascii(char *dst, const uint8_t *src, size_t n)
{
	uint64_t odd = 0;

	for (size_t i = 0; i + 8 < n; i += 8)
		odd |= copy_eight(dst + i, src + i);
	if (n >= 8)
		odd |= copy_eight(dst + n - 8, src + n - 8);
	for (size_t i = 0; n < 8 && i < n; i++) {
		dst[i] = (char)src[i];
		odd |= src[i] - 1u >= 0x7f;
	}
	return odd == 0;
}

size_t
etf_get_atom(struct etf_reader *r, char *dst, size_t size)
{
	const uint8_t *start = r->pos;
	struct term t;

	if ((quick(r, SMALL_ATOM_UTF8, ATOM_CHARS_MAX, &t) ||
		quick(r, ATOM, ATOM_CHARS_MAX, &t)) &&
	    t.n < size && copy_ascii(dst, t.data, t.n)) {
		dst[t.n] = '\0';
		return t.n;
	}
	r->pos = start;
	return get_atom(r, dst, size);
}

bool
etf_get_bool(struct etf_reader *r)
{
	char name[sizeof "false"];

	etf_get_atom(r, name, sizeof name);
	return strcmp(name, "true") == 0 ||
	       (strcmp(name, "false") != 0 && etf_fail(r, ETF_RANGE));
}

struct etf_bytes
etf_get_binary(struct etf_reader *r)
{
	struct term t;

	if (quick(r, BINARY, UINT32_MAX, &t))
		return (struct etf_bytes){t.data, t.n};
	return (struct etf_bytes){NULL, refuse(r, ETF_BINARY)};
}

void
etf_get_tuple(struct etf_reader *r, uint32_t arity)
{
	struct term t;

	if (!quick(r, SMALL_TUPLE, arity, &t) &&
	    !quick(r, LARGE_TUPLE, arity, &t))
		refuse(r, ETF_TUPLE);
	else if (t.n != arity)
		etf_fail(r, ETF_RANGE);
}

uint32_t
etf_get_tuple_any(struct etf_reader *r, uint32_t max)
{
	struct term t;

	if (quick(r, SMALL_TUPLE, max, &t) || quick(r, LARGE_TUPLE, max, &t))
		return t.n;
	return refuse(r, ETF_TUPLE);
}

uint32_t
etf_get_map(struct etf_reader *r, uint32_t max)
{
	struct term t;

	return quick(r, MAP, max, &t) ? t.n : refuse(r, ETF_MAP);
}

uint32_t
etf_get_list(struct etf_reader *r, uint32_t max)
{
	struct term t;

	if (quick(r, LIST, max, &t))
		return t.n;
	if (r->chars == 1 || (r->chars == 0 && left(r) > 0 && *r->pos == NIL))
		return 0;
	if (!quick(r, STRING, max, &t))
		return refuse(r, ETF_LIST);
	open_string(r, &t);
	return t.n;
}

void
etf_get_nil(struct etf_reader *r)
{
	struct term t;

	if (r->chars == 1)
		r->chars = 0;
	else if (!quick(r, NIL, 0, &t))
		etf_fail(r, left(r) > 0 ? ETF_TYPE : ETF_TRUNCATED);
}

/* Appends what is no LIST. An integer is a byte only as a list's element. */
static void
flatten_term(struct etf_reader *r, const struct term *t, bool element,
    struct etf_writer *out)
{
	uint8_t byte = (uint8_t)t->number;

	if (t->type == ETF_BINARY || t->type == ETF_LIST)
		etf_put_raw(out, t->data, t->n);
	else if (t->type == ETF_INTEGER && element && t->n == 0 &&
		 !t->negative && t->number == byte)
		etf_put_raw(out, &byte, 1);
	else
		etf_fail(r, ETF_TYPE);
}

/*
 * `todo` terms of the innermost list are still to come, its tail the last, and
 * of those around it `stack` has them. A list that is a tail takes its place.
 */
char *
etf_get_iodata(struct etf_reader *r, size_t max, size_t *len)
{
	struct etf_writer out = {.max = max < SIZE_MAX ? max + 1 : max};
	struct etf_writer stack = {.max = SIZE_MAX};
	uint64_t todo = 1;
	struct term t;

	while (todo > 0 && stack.error == ETF_OK && get_term(r, &t)) {
		if (t.tag != LIST) {
			flatten_term(r, &t, todo-- > 1, &out);
			if (todo == 0 && stack.len > 0) {
				stack.len -= sizeof todo;
				memcpy(
				    &todo, stack.data + stack.len, sizeof todo);
			}
		} else if (t.n > 0) {
			if (--todo > 0)
				etf_put_raw(&stack, &todo, sizeof todo);
			todo = t.kids;
		}
	}
	etf_put_raw(&out, "", 1);
	if (stack.error != ETF_OK || out.error == ETF_NOMEM)
		etf_fail(r, ETF_NOMEM);
	if (out.error != ETF_OK)
		etf_fail(r, ETF_RANGE);
	if (r->error != ETF_OK)
		etf_free(&out);
	etf_free(&stack);
	*len = out.len > 0 ? out.len - 1 : 0;
	return (char *)out.data;
}

char *
etf_get_string(struct etf_reader *r, size_t max)
{
	size_t len;
	char *s = etf_get_iodata(r, max, &len);

	if (s == NULL || memchr(s, '\0', len) == NULL)
		return s;
	etf_fail(r, ETF_RANGE);
	free(s);
	return NULL;
}

/* --- Writer ------------------------------------------------------------ */

void
etf_init(struct etf_writer *w, size_t max)
{
	*w = (struct etf_writer){.max = max};
}

void
etf_free(struct etf_writer *w)
{
	free(w->data);
	etf_init(w, w->max);
}

void
etf_rewind(struct etf_writer *w, size_t len)
{
	if (len <= w->len)
		w->len = len;
	w->error = ETF_OK;
}

/* No capacity is left after an error: room() need not ask for it. */
static bool
put_fail(struct etf_writer *w, enum etf_error error)
{
	if (w->error == ETF_OK)
		w->error = error;
	w->cap = w->len;
	return false;
}

static SLOW bool
grow(struct etf_writer *w, size_t n)
{
	size_t cap = w->len + n, more = cap < GROWTH_MIN ? GROWTH_MIN : cap;
	uint8_t *data;

	if (w->error != ETF_OK)
		return false;
	if (n > w->max - w->len)
		return put_fail(w, ETF_TOOBIG);
	cap += more < w->max - cap ? more : w->max - cap;
	data = realloc(w->data, cap);
	if (data == NULL)
		return put_fail(w, ETF_NOMEM);
	w->data = data;
	w->cap = cap;
	return true;
}

/* Room for `n` bytes, which are written then; NULL after an error. */
static inline uint8_t *
room(struct etf_writer *w, size_t n)
{
	if (n > w->cap - w->len && !grow(w, n))
		return NULL;
	w->len += n;
	return w->data + w->len - n;
}

/* A tag and a number of `width` bytes; room for `more`, where it points. */
static inline uint8_t *
put_head(
    struct etf_writer *w, uint8_t tag, uint64_t n, size_t width, size_t more)
{
	uint8_t *p = room(w, 1 + width + more);

	if (p == NULL)
		return NULL;
	*p++ = tag;
	n = htobe64(n << (64 - 8 * width));
	memcpy(p, &n, width);
	return p + width;
}

static void
put_big(struct etf_writer *w, uint64_t magnitude, bool negative)
{
	uint64_t bytes = htole64(magnitude);
	uint8_t n = 4;

	while (n < 8 && magnitude >> 8 * n != 0)
		n++;
	put_head(w, SMALL_BIG, (uint64_t)n << 8 | negative, 2, 0);
	etf_put_raw(w, &bytes, n);
}

void
etf_put_version(struct etf_writer *w)
{
	etf_put_raw(w, &(uint8_t){VERSION}, 1);
}

void
etf_put_uint(struct etf_writer *w, uint64_t n)
{
	if (n <= UINT8_MAX)
		put_head(w, SMALL_INTEGER, n, 1, 0);
	else if (n <= INT32_MAX)
		put_head(w, INTEGER, n, 4, 0);
	else
		put_big(w, n, false);
}

void
etf_put_int(struct etf_writer *w, int64_t n)
{
	if (n >= 0)
		etf_put_uint(w, (uint64_t)n);
	else if (n >= INT32_MIN)
		put_head(w, INTEGER, (uint64_t)n, 4, 0);
	else
		put_big(w, 0 - (uint64_t)n, true);
}

void
etf_put_float(struct etf_writer *w, double d)
{
	uint64_t bits;

	memcpy(&bits, &d, sizeof bits);
	if ((~bits & EXPONENT) == 0)
		put_fail(w, ETF_INVALID);
	put_head(w, NEW_FLOAT, bits, 8, 0);
}

void
etf_put_atom(struct etf_writer *w, const char *utf8)
{
	size_t len = strlen(utf8);
	enum etf_error error = check_utf8_atom((const uint8_t *)utf8, len);

	if (error != ETF_OK)
		put_fail(w, error);
	if (len <= UINT8_MAX)
		put_head(w, SMALL_ATOM_UTF8, len, 1, 0);
	else
		put_head(w, ATOM_UTF8, len, 2, 0);
	etf_put_raw(w, utf8, len);
}

void
etf_put_bool(struct etf_writer *w, bool b)
{
	etf_put_atom(w, b ? "true" : "false");
}

void
etf_put_raw(struct etf_writer *w, const void *data, size_t len)
{
	uint8_t *p = len > 0 ? room(w, len) : NULL;

	if (p != NULL)
		memcpy(p, data, len);
}

/* The length of a binary has 32 bits; 5 + len must not wrap a size_t. */
void
etf_put_binary(struct etf_writer *w, const void *data, size_t len)
{
	uint8_t *p = NULL;

	if (len > UINT32_MAX - 5)
		put_fail(w, ETF_TOOBIG);
	else
		p = put_head(w, BINARY, len, 4, len);
	if (p != NULL && len > 0)
		memcpy(p, data, len);
}

void
etf_put_string(struct etf_writer *w, const char *s)
{
	etf_put_binary(w, s, strlen(s));
}

void
etf_put_tuple(struct etf_writer *w, uint32_t arity)
{
	if (arity <= UINT8_MAX)
		put_head(w, SMALL_TUPLE, arity, 1, 0);
	else
		put_head(w, LARGE_TUPLE, arity, 4, 0);
}

void
etf_put_list(struct etf_writer *w, uint32_t n)
{
	if (n > 0)
		put_head(w, LIST, n, 4, 0);
}

void
etf_put_nil(struct etf_writer *w)
{
	etf_put_raw(w, &(uint8_t){NIL}, 1);
}

void
etf_put_map(struct etf_writer *w, uint32_t pairs)
{
	put_head(w, MAP, pairs, 4, 0);
}
