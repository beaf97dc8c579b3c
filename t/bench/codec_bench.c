/* SPDX-License-Identifier: ISC */
/*
 * The codec against erl_interface's ei, on the same terms and the same bytes.
 * Both read every element and check its type, range and length, each in its own
 * way: of a binary ei_decode_binary() makes a copy, for which its size has to be
 * asked first, while etf_get_binary() points into the frame. ei cannot be told
 * where its input ends; ours is, and checks it. Both write into a buffer that is
 * kept.
 *
 * A line: codec decode|encode TERM: ours NS ei NS ratio R
 * Nanoseconds a term: medians of short rounds that take turns; the ratio is the
 * median of each round's own, for the processor's speed changes meanwhile.
 */
#include <ei.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec.h"

#define ROUNDS 401
#define ROUND_NS 3e5
#define FRAME_MAX (16u << 20)
#define TEXT_MAX 256
#define LIST_MAX 10000

struct side {
	struct etf_writer w;
	ei_x_buff x;
	const char *frame;
	size_t len;
	char text[TEXT_MAX]; /* ei's copy of a binary */
	size_t sum;          /* of what was read: both must have the same */
};

/* --- Texts ------------------------------------------------------------- */

struct text {
	int len;
	char s[28];
};

static struct text names[LIST_MAX];

#define TEXT(string)                       \
	(struct text)                      \
	{                                  \
		sizeof(string) - 1, string \
	}

static void
make_names(void)
{
	for (size_t i = 0; i < LIST_MAX; i++)
		names[i].len = snprintf(names[i].s, sizeof(names[i].s),
		    "container-%zu-%zu", i, i * i % 1000000);
}

static void
need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "codec_bench: %s\n", what);
	exit(1);
}

/* --- A command: {17, set_config_item, [<<"lxc.uts.name">>, <<"bb">>]} --- */

static void
our_put(struct etf_writer *w, const struct text *t)
{
	etf_put_binary(w, t->s, (size_t)t->len);
}

static void
our_encode_command(struct side *s)
{
	etf_rewind(&s->w, 0);
	etf_put_version(&s->w);
	etf_put_tuple(&s->w, 3);
	etf_put_uint(&s->w, 17);
	etf_put_atom(&s->w, "set_config_item");
	etf_put_list(&s->w, 2);
	our_put(&s->w, &TEXT("lxc.uts.name"));
	our_put(&s->w, &TEXT("bb"));
	etf_put_nil(&s->w);
	need(s->w.error == ETF_OK, "our encode");
}

static void
ei_put(ei_x_buff *x, const struct text *t, int *bad)
{
	*bad |= ei_x_encode_binary(x, t->s, t->len);
}

static void
ei_encode_command(struct side *s)
{
	ei_x_buff *x = &s->x;
	int bad = 0;

	x->index = 0;
	bad |= ei_x_encode_version(x);
	bad |= ei_x_encode_tuple_header(x, 3);
	bad |= ei_x_encode_ulong(x, 17);
	bad |= ei_x_encode_atom(x, "set_config_item");
	bad |= ei_x_encode_list_header(x, 2);
	ei_put(x, &TEXT("lxc.uts.name"), &bad);
	ei_put(x, &TEXT("bb"), &bad);
	bad |= ei_x_encode_empty_list(x);
	need(!bad, "ei encode");
}

static inline void
our_text(struct etf_reader *r, struct side *s)
{
	struct etf_bytes b = etf_get_binary(r);

	if (b.len > TEXT_MAX)
		etf_fail(r, ETF_RANGE);
	s->sum += b.len > 0 ? b.len + b.data[b.len - 1] : 0;
}

static inline bool
ei_text(struct side *s, int *index)
{
	char *text = s->text;
	int type, size;
	long len;

	if (ei_get_type(s->frame, index, &type, &size) != 0 ||
	    type != ERL_BINARY_EXT || size < 0 ||
	    (size_t)size > sizeof(s->text))
		return false;
	if (ei_decode_binary(s->frame, index, text, &len) != 0)
		return false;
	s->sum += len > 0 ? (size_t)len + (uint8_t)text[len - 1] : 0;
	return true;
}

static __attribute__((noinline)) void
our_atom(struct etf_reader *r, struct side *s)
{
	char atom[MAXATOMLEN_UTF8];

	etf_get_atom(r, atom, sizeof(atom));
	s->sum += (uint8_t)atom[0];
}

static void
our_decode_command(struct side *s)
{
	struct etf_reader r;

	etf_open(&r, s->frame, s->len);
	etf_get_tuple(&r, 3);
	s->sum += etf_get_uint(&r, UINT32_MAX - 1);
	our_atom(&r, s);
	for (uint32_t n = etf_get_list(&r, 2); n > 0; n--)
		our_text(&r, s);
	etf_get_nil(&r);
	need(etf_done(&r), "our decode");
}

/* Not to be inlined, or every term would pay for the room on the stack. */
static __attribute__((noinline)) bool
ei_atom(struct side *s, int *index)
{
	char atom[MAXATOMLEN_UTF8];

	if (ei_decode_atom_as(s->frame, index, atom, sizeof(atom), ERLANG_UTF8,
		NULL, NULL) != 0)
		return false;
	s->sum += (uint8_t)atom[0];
	return true;
}

static bool
ei_list(struct side *s, int *index, int max, int *n)
{
	return ei_decode_list_header(s->frame, index, n) == 0 && *n <= max;
}

static void
ei_decode_command(struct side *s)
{
	int index = 0, version, arity, n = 0;
	unsigned long id;
	bool ok = ei_decode_version(s->frame, &index, &version) == 0;

	ok = ok && ei_decode_tuple_header(s->frame, &index, &arity) == 0 &&
	     arity == 3;
	ok = ok && ei_decode_ulong(s->frame, &index, &id) == 0 &&
	     id < UINT32_MAX;
	s->sum += ok ? id : 0;
	ok = ok && ei_atom(s, &index) && ei_list(s, &index, 2, &n);
	for (; ok && n > 0; n--)
		ok = ei_text(s, &index);
	ok = ok && ei_list(s, &index, 0, &n) && (size_t)index == s->len;
	need(ok, "ei decode");
}

/* --- A list of 10,000 binaries ----------------------------------------- */

static void
our_encode_list(struct side *s)
{
	etf_rewind(&s->w, 0);
	etf_put_version(&s->w);
	etf_put_list(&s->w, LIST_MAX);
	for (size_t i = 0; i < LIST_MAX; i++)
		our_put(&s->w, &names[i]);
	etf_put_nil(&s->w);
	need(s->w.error == ETF_OK, "our encode");
}

static void
ei_encode_list(struct side *s)
{
	int bad = 0;

	s->x.index = 0;
	bad |= ei_x_encode_version(&s->x);
	bad |= ei_x_encode_list_header(&s->x, LIST_MAX);
	for (size_t i = 0; i < LIST_MAX; i++)
		ei_put(&s->x, &names[i], &bad);
	bad |= ei_x_encode_empty_list(&s->x);
	need(!bad, "ei encode");
}

static void
our_decode_list(struct side *s)
{
	struct etf_reader r;

	etf_open(&r, s->frame, s->len);
	for (uint32_t n = etf_get_list(&r, LIST_MAX); n > 0; n--)
		our_text(&r, s);
	etf_get_nil(&r);
	need(etf_done(&r), "our decode");
}

static void
ei_decode_list(struct side *s)
{
	int index = 0, version, n = 0;
	bool ok = ei_decode_version(s->frame, &index, &version) == 0;

	ok = ok && ei_list(s, &index, LIST_MAX, &n);
	for (; ok && n > 0; n--)
		ok = ei_text(s, &index);
	ok = ok && ei_list(s, &index, 0, &n) && (size_t)index == s->len;
	need(ok, "ei decode");
}

/* --- A configuration --------------------------------------------------- */

#define ENTRIES 40 /* {Key, Value}, and now and then a list, tuple or map */

static void
our_encode_entry(struct etf_writer *w, size_t i)
{
	etf_put_tuple(w, 2);
	our_put(w, &names[i]);
	switch (i % 8) {
	case 1:
	case 5:
		etf_put_list(w, 3);
		for (size_t k = 1; k <= 3; k++)
			our_put(w, &names[i + k]);
		etf_put_nil(w);
		break;
	case 3:
		etf_put_tuple(w, 4);
		etf_put_atom(w, "idmap");
		etf_put_int(w, 0);
		etf_put_int(w, 100000);
		etf_put_int(w, 65536);
		break;
	case 7:
		etf_put_map(w, 2);
		etf_put_atom(w, "memory");
		etf_put_int(w, 8589934592);
		our_put(w, &TEXT("pids.max"));
		etf_put_int(w, 1024);
		break;
	default:
		our_put(w, &TEXT("proc proc nosuid,nodev 0 0"));
		break;
	}
}

static void
ei_encode_entry(ei_x_buff *x, size_t i, int *bad)
{
	*bad |= ei_x_encode_tuple_header(x, 2);
	ei_put(x, &names[i], bad);
	switch (i % 8) {
	case 1:
	case 5:
		*bad |= ei_x_encode_list_header(x, 3);
		for (size_t k = 1; k <= 3; k++)
			ei_put(x, &names[i + k], bad);
		*bad |= ei_x_encode_empty_list(x);
		break;
	case 3:
		*bad |= ei_x_encode_tuple_header(x, 4);
		*bad |= ei_x_encode_atom(x, "idmap");
		*bad |= ei_x_encode_longlong(x, 0);
		*bad |= ei_x_encode_longlong(x, 100000);
		*bad |= ei_x_encode_longlong(x, 65536);
		break;
	case 7:
		*bad |= ei_x_encode_map_header(x, 2);
		*bad |= ei_x_encode_atom(x, "memory");
		*bad |= ei_x_encode_longlong(x, 8589934592);
		ei_put(x, &TEXT("pids.max"), bad);
		*bad |= ei_x_encode_longlong(x, 1024);
		break;
	default:
		ei_put(x, &TEXT("proc proc nosuid,nodev 0 0"), bad);
		break;
	}
}

static void
our_encode_config(struct side *s)
{
	etf_rewind(&s->w, 0);
	etf_put_version(&s->w);
	etf_put_list(&s->w, ENTRIES);
	for (size_t i = 0; i < ENTRIES; i++)
		our_encode_entry(&s->w, i);
	etf_put_nil(&s->w);
	need(s->w.error == ETF_OK, "our encode");
}

static void
ei_encode_config(struct side *s)
{
	int bad = 0;

	s->x.index = 0;
	bad |= ei_x_encode_version(&s->x);
	bad |= ei_x_encode_list_header(&s->x, ENTRIES);
	for (size_t i = 0; i < ENTRIES; i++)
		ei_encode_entry(&s->x, i, &bad);
	bad |= ei_x_encode_empty_list(&s->x);
	need(!bad, "ei encode");
}

/* Reads one term's head, or a whole scalar; how many terms belong to it. */
static uint32_t
our_read_term(struct etf_reader *r, struct side *s)
{
	uint32_t n;

	switch (etf_peek(r)) {
	case ETF_INTEGER:
		s->sum += (size_t)etf_get_int(r, INT64_MIN, INT64_MAX);
		return 0;
	case ETF_ATOM:
		our_atom(r, s);
		return 0;
	case ETF_TUPLE:
		return etf_get_tuple_any(r, 16);
	case ETF_MAP:
		return 2 * etf_get_map(r, 16);
	case ETF_LIST:
		n = etf_get_list(r, LIST_MAX);
		if (n > 0)
			return n + 1;
		etf_get_nil(r);
		return 0;
	case ETF_BINARY:
		our_text(r, s);
		return 0;
	case ETF_NONE:
	case ETF_FLOAT:
		break;
	}
	etf_fail(r, ETF_TYPE);
	return 0;
}

static void
our_decode_config(struct side *s)
{
	struct etf_reader r;

	etf_open(&r, s->frame, s->len);
	for (uint32_t todo = 1; todo > 0 && r.error == ETF_OK; todo--)
		todo += our_read_term(&r, s);
	need(etf_done(&r), "our decode");
}

static int
ei_read_term(struct side *s, int *index, bool *ok)
{
	long long number = 0;
	int n = 0, type, size;

	*ok = ei_get_type(s->frame, index, &type, &size) == 0;
	switch (*ok ? type : 0) {
	case ERL_SMALL_INTEGER_EXT:
	case ERL_INTEGER_EXT:
	case ERL_SMALL_BIG_EXT:
		*ok = ei_decode_longlong(s->frame, index, &number) == 0;
		s->sum += (size_t)number;
		return 0;
	case ERL_ATOM_EXT: /* what ei_get_type() says of any atom */
		*ok = ei_atom(s, index);
		return 0;
	case ERL_SMALL_TUPLE_EXT:
	case ERL_LARGE_TUPLE_EXT:
		*ok =
		    ei_decode_tuple_header(s->frame, index, &n) == 0 && n <= 16;
		return n;
	case ERL_MAP_EXT:
		*ok = ei_decode_map_header(s->frame, index, &n) == 0 && n <= 16;
		return 2 * n;
	case ERL_LIST_EXT:
	case ERL_NIL_EXT:
		*ok = ei_list(s, index, LIST_MAX, &n);
		return n > 0 ? n + 1 : 0;
	case ERL_BINARY_EXT:
		*ok = ei_text(s, index);
		return 0;
	default:
		*ok = false;
		return 0;
	}
}

static void
ei_decode_config(struct side *s)
{
	int index = 0, version;
	bool ok = ei_decode_version(s->frame, &index, &version) == 0;

	for (int todo = 1; ok && todo > 0; todo--)
		todo += ei_read_term(s, &index, &ok);
	need(ok && (size_t)index == s->len, "ei decode");
}

/* --- Rounds ------------------------------------------------------------ */

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double
time_of(void (*run)(struct side *), struct side *s, size_t times)
{
	double start = now();

	for (size_t i = 0; i < times; i++)
		run(s);
	return (now() - start) / (double)times;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double
median(double *ns)
{
	qsort(ns, ROUNDS, sizeof(ns[0]), compare);
	return ns[ROUNDS / 2];
}

static void
measure(const char *what, void (*ours)(struct side *),
    void (*theirs)(struct side *), struct side *a, struct side *b)
{
	double our_ns[ROUNDS], ei_ns[ROUNDS], ratio[ROUNDS];
	size_t times = 1;

	while (time_of(theirs, b, times) * (double)times < ROUND_NS)
		times *= 2;
	for (size_t i = 0; i < ROUNDS; i++) {
		our_ns[i] = time_of(ours, a, times);
		ei_ns[i] = time_of(theirs, b, times);
		ratio[i] = ei_ns[i] / our_ns[i];
	}
	printf("codec %s: ours %.1f ei %.1f ratio %.2f\n", what, median(our_ns),
	    median(ei_ns), median(ratio));
	fflush(stdout);
}

struct row {
	const char *name;
	void (*encode[2])(struct side *); /* ours, ei's */
	void (*decode[2])(struct side *);
};

static const struct row rows[] = {
    {"command", {our_encode_command, ei_encode_command},
	{our_decode_command, ei_decode_command}},
    {"list", {our_encode_list, ei_encode_list},
	{our_decode_list, ei_decode_list}},
    {"config", {our_encode_config, ei_encode_config},
	{our_decode_config, ei_decode_config}},
};

/* Both read ours; ei writes the bytes that it would. */
static void
run_row(const struct row *row, struct side *a, struct side *b)
{
	char what[32];

	row->encode[0](a);
	need(etf_check(a->w.data, a->w.len), "check");
	a->frame = b->frame = (const char *)a->w.data;
	a->len = b->len = a->w.len;
	a->sum = b->sum = 0;
	row->decode[0](a);
	row->decode[1](b);
	need(a->sum == b->sum, "not the same was read");
	snprintf(what, sizeof(what), "decode %s", row->name);
	measure(what, row->decode[0], row->decode[1], a, b);
	snprintf(what, sizeof(what), "encode %s", row->name);
	measure(what, row->encode[0], row->encode[1], a, b);
}

int
main(void)
{
	struct side a = {.sum = 0}, b = {.sum = 0};

	make_names();
	etf_init(&a.w, FRAME_MAX);
	need(ei_init() == 0 && ei_x_new(&b.x) == 0, "no memory");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		run_row(&rows[i], &a, &b);
	etf_free(&a.w);
	ei_x_free(&b.x);
	return 0;
}
