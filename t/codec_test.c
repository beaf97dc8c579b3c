/* SPDX-License-Identifier: ISC */
/*
 * The codec's vectors. Prints TAP, one line a case, and a closing line.
 * Linked with -Wl,--wrap=realloc, so that the n-th allocation can be refused.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1
#define TEXT_SIZE 1200
#define DEEP 100000u

/* Tags, to be put together with what follows. */
#define FLT "\x46"
#define INT8 "\x61"
#define INT32 "\x62"
#define ATOM "\x64"
#define TUPLE "\x68"
#define TUPLE4 "\x69"
#define NIL "\x6a"
#define STR "\x6b"
#define LIST "\x6c"
#define BIN "\x6d"
#define BIG "\x6e"
#define SATOM "\x73"
#define MAP "\x74"
#define UATOM "\x76"
#define SUATOM "\x77"

static const uint8_t tags[] = {
    70, 97, 98, 100, 104, 105, 106, 107, 108, 109, 110, 115, 116, 118, 119};

static unsigned passed, failed;

static bool __attribute__((format(printf, 2, 3)))
ok(bool good, const char *format, ...)
{
	va_list args;

	printf("%sok %u - ", good ? "" : "not ", passed + failed + 1);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	passed += good;
	failed += !good;
	return good;
}

/* --- Allocations that fail --------------------------------------------- */

/* Weak: without --wrap the test fails, and says so, rather than the linker. */
void *__real_realloc(void *p, size_t size) __attribute__((weak));
void *__wrap_realloc(void *p, size_t size);

static unsigned allocations;
static unsigned refused_one; /* the number of the one that fails; 0: none */

void *
__wrap_realloc(void *p, size_t size)
{
	if (++allocations == refused_one)
		return NULL;
	return __real_realloc(p, size);
}

static void
refuse(unsigned n)
{
	allocations = 0;
	refused_one = n;
}

/* A copy that ends where its memory ends, for AddressSanitizer to watch. */
static uint8_t *
copy(const void *data, size_t len)
{
	uint8_t *p = malloc(len > 0 ? len : 1);

	if (p == NULL)
		abort();
	memcpy(p, data, len);
	return p;
}

/* --- Getters: what they read, as text ---------------------------------- */

typedef void get_fn(struct etf_reader *r, char *text);

static void
get_int(struct etf_reader *r, char *text)
{
	snprintf(text, TEXT_SIZE, "%lld",
	    (long long)etf_get_int(r, INT64_MIN, INT64_MAX));
}

static void
get_small(struct etf_reader *r, char *text)
{
	snprintf(text, TEXT_SIZE, "%lld", (long long)etf_get_int(r, -2, 300));
}

static void
get_positive(struct etf_reader *r, char *text)
{
	snprintf(text, TEXT_SIZE, "%lld", (long long)etf_get_int(r, 10, 20));
}

static void
get_uint(struct etf_reader *r, char *text)
{
	snprintf(text, TEXT_SIZE, "%llu",
	    (unsigned long long)etf_get_uint(r, UINT64_MAX));
}

static void
get_id(struct etf_reader *r, char *text)
{
	snprintf(text, TEXT_SIZE, "%llu",
	    (unsigned long long)etf_get_uint(r, UINT32_MAX - 1));
}

static void
get_float(struct etf_reader *r, char *text)
{
	snprintf(text, TEXT_SIZE, "%.17g", etf_get_float(r));
}

/* The length that is returned must be the text's, which must fit. */
static void
get_sized_atom(struct etf_reader *r, char *text, size_t size)
{
	char *atom = (char *)copy(text, size);

	memset(atom, 'x', size);
	if (etf_get_atom(r, atom, size) != (size > 0 ? strnlen(atom, size) : 0))
		abort();
	snprintf(text, TEXT_SIZE, "%s", size > 0 ? atom : "");
	free(atom);
}

static void
get_atom(struct etf_reader *r, char *text)
{
	get_sized_atom(r, text, 255 * 4 + 1);
}

static void
get_atom_8(struct etf_reader *r, char *text)
{
	get_sized_atom(r, text, 8);
}

static void
get_atom_0(struct etf_reader *r, char *text)
{
	get_sized_atom(r, text, 0);
}

static void
get_bool(struct etf_reader *r, char *text)
{
	snprintf(text, TEXT_SIZE, "%d", etf_get_bool(r));
}

static void
get_binary(struct etf_reader *r, char *text)
{
	struct etf_bytes b = etf_get_binary(r);

	if ((b.data == NULL) != (r->error != ETF_OK))
		abort();
	snprintf(text, TEXT_SIZE, "%.*s", (int)b.len, (const char *)b.data);
}

static void
get_elements(struct etf_reader *r, uint32_t n, char *text)
{
	size_t len = (size_t)snprintf(text, TEXT_SIZE, "%u:", n);

	for (; n > 0; n--)
		len += (size_t)snprintf(text + len, TEXT_SIZE - len, " %lld",
		    (long long)etf_get_int(r, INT64_MIN, INT64_MAX));
}

static void
get_pair(struct etf_reader *r, char *text)
{
	etf_get_tuple(r, 2);
	get_elements(r, r->error == ETF_OK ? 2 : 0, text);
}

static void
get_tuple_any(struct etf_reader *r, char *text)
{
	get_elements(r, etf_get_tuple_any(r, 300), text);
}

static void
get_list(struct etf_reader *r, char *text)
{
	get_elements(r, etf_get_list(r, 5), text);
	etf_get_nil(r);
}

static void
get_nil(struct etf_reader *r, char *text)
{
	etf_get_nil(r);
	text[0] = '\0';
}

static void
get_map(struct etf_reader *r, char *text)
{
	get_elements(r, 2 * etf_get_map(r, 2), text);
}

static void
get_iodata(struct etf_reader *r, char *text)
{
	size_t len;
	char *s = etf_get_iodata(r, 16, &len);

	if ((s == NULL) != (r->error != ETF_OK) || (s == NULL && len > 0))
		abort();
	snprintf(text, TEXT_SIZE, "%s", s == NULL ? "" : s);
	if (s != NULL && s[len] != '\0')
		abort();
	free(s);
}

static void
get_string(struct etf_reader *r, char *text)
{
	char *s = etf_get_string(r, 16);

	if ((s == NULL) != (r->error != ETF_OK))
		abort();
	snprintf(text, TEXT_SIZE, "%s", s == NULL ? "" : s);
	free(s);
}

static void
get_skip(struct etf_reader *r, char *text)
{
	etf_skip(r);
	text[0] = '\0';
}

/* What each gives on an error, and the types that it takes. */
struct getter {
	get_fn *get;
	const char *name;
	const char *zero;
	unsigned types;
};

#define T(type) (1u << ETF_##type)

static const struct getter getters[] = {
    {get_int, "int", "0", T(INTEGER)},
    {get_small, "int -2..300", "0", T(INTEGER)},
    {get_positive, "int 10..20", "0", T(INTEGER)},
    {get_uint, "uint", "0", T(INTEGER)},
    {get_id, "uint below 2^32-1", "0", T(INTEGER)},
    {get_float, "float", "0", T(FLOAT)},
    {get_atom, "atom", "", T(ATOM)},
    {get_atom_8, "atom in 8 bytes", "", T(ATOM)},
    {get_atom_0, "atom in 0 bytes", "", T(ATOM)},
    {get_bool, "bool", "0", T(ATOM)},
    {get_binary, "binary", "", T(BINARY)},
    {get_pair, "tuple of 2", "0:", T(TUPLE)},
    {get_tuple_any, "tuple", "0:", T(TUPLE)},
    {get_list, "list", "0:", T(LIST)},
    {get_nil, "nil", "", T(LIST)},
    {get_map, "map", "0:", T(MAP)},
    {get_iodata, "iodata", "", T(BINARY) | T(LIST)},
    {get_string, "string", "", T(BINARY) | T(LIST)},
    {get_skip, "skip", "", ~0u},
};

static const struct getter *
getter_of(get_fn *get)
{
	for (size_t i = 0; i < COUNT(getters); i++)
		if (getters[i].get == get)
			return &getters[i];
	abort();
}

/* --- Getters: vectors -------------------------------------------------- */

struct vector {
	get_fn *get;
	const uint8_t *data;
	size_t len;
	const char *text;     /* what is read, even before an error */
	enum etf_error error; /* ETF_OK: nothing is left either */
};

#define GOOD(get, bytes, text)                  \
	{                                       \
		get, BYTES(bytes), text, ETF_OK \
	}
#define WRONG(get, bytes, text, error)               \
	{                                            \
		get, BYTES(bytes), text, ETF_##error \
	}
#define BAD(get, bytes, error)                       \
	{                                            \
		get, BYTES(bytes), NULL, ETF_##error \
	}

#define A16 "aaaaaaaaaaaaaaaa"
#define A240 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16
#define E16 "\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9"
#define U8 "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"

static const struct vector vectors[] = {
    GOOD(get_int, INT8 "\x00", "0"),
    GOOD(get_int, INT8 "\xff", "255"),
    GOOD(get_int, INT32 "\x00\x00\x01\x00", "256"),
    GOOD(get_int, INT32 "\x00\x00\x00\x05", "5"),
    GOOD(get_int, INT32 "\xff\xff\xff\xff", "-1"),
    GOOD(get_int, INT32 "\x7f\xff\xff\xff", "2147483647"),
    GOOD(get_int, INT32 "\x80\x00\x00\x00", "-2147483648"),
    GOOD(get_int, BIG "\x00\x00", "0"),
    GOOD(get_int, BIG "\x00\x01", "0"),
    GOOD(get_int, BIG "\x01\x01\x00", "0"),
    GOOD(get_int, BIG "\x01\x07\x05", "-5"),
    GOOD(get_int, BIG "\x04\x00\x05\x00\x00\x00", "5"),
    GOOD(get_int, BIG "\x0a\x01\x05\0\0\0\0\0\0\0\0\0", "-5"),
    GOOD(get_int, BIG "\x04\x00\x00\x00\x00\x80", "2147483648"),
    GOOD(get_int, BIG "\x08\x00\xff\xff\xff\xff\xff\xff\xff\x7f",
	"9223372036854775807"),
    GOOD(get_int, BIG "\x08\x01\0\0\0\0\0\0\0\x80", "-9223372036854775808"),
    BAD(get_int, BIG "\x08\x00\0\0\0\0\0\0\0\x80", RANGE),
    BAD(get_int, BIG "\x08\x01\1\0\0\0\0\0\0\x80", RANGE),
    BAD(get_int, BIG "\x08\x01\xff\xff\xff\xff\xff\xff\xff\xff", RANGE),
    BAD(get_int, BIG "\x09\x00\0\0\0\0\0\0\0\0\1", RANGE),
    BAD(get_int, BIG "\x09\x01\0\0\0\0\0\0\0\0\1", RANGE),
    GOOD(get_small, INT32 "\xff\xff\xff\xfe", "-2"),
    BAD(get_small, INT32 "\xff\xff\xff\xfd", RANGE),
    GOOD(get_small, INT32 "\x00\x00\x01\x2c", "300"),
    BAD(get_small, INT32 "\x00\x00\x01\x2d", RANGE),
    BAD(get_small, BIG "\x02\x00\x2d\x01", RANGE),
    GOOD(get_positive, INT8 "\x0a", "10"),
    GOOD(get_positive, INT8 "\x14", "20"),
    BAD(get_positive, INT8 "\x09", RANGE),
    BAD(get_positive, INT8 "\x15", RANGE),
    BAD(get_positive, INT32 "\xff\xff\xff\xf6", RANGE),
    GOOD(get_uint, INT8 "\x07", "7"),
    GOOD(get_uint, BIG "\x08\x00\xff\xff\xff\xff\xff\xff\xff\xff",
	"18446744073709551615"),
    BAD(get_uint, BIG "\x01\x01\x01", RANGE),
    BAD(get_uint, INT32 "\xff\xff\xff\xff", RANGE),
    BAD(get_uint, BIG "\x09\x00\0\0\0\0\0\0\0\0\1", RANGE),
    GOOD(get_id, BIG "\x04\x00\xfe\xff\xff\xff", "4294967294"),
    BAD(get_id, BIG "\x04\x00\xff\xff\xff\xff", RANGE),
    BAD(get_id, BIG "\x05\x00\x00\x00\x00\x00\x01", RANGE),
    BAD(get_id, INT32 "\xff\xff\xff\xff", RANGE),
    GOOD(get_float, FLT "\x3f\xf8\0\0\0\0\0\0", "1.5"),
    GOOD(get_float, FLT "\x80\0\0\0\0\0\0\0", "-0"),
    GOOD(get_float, FLT "\0\0\0\0\0\0\0\1", "4.9406564584124654e-324"),
    GOOD(get_float, FLT "\xff\xef\xff\xff\xff\xff\xff\xff",
	"-1.7976931348623157e+308"),
    BAD(get_float, FLT "\x7f\xf0\0\0\0\0\0\0", INVALID),
    BAD(get_float, FLT "\xff\xf0\0\0\0\0\0\0", INVALID),
    BAD(get_float, FLT "\x7f\xf8\0\0\0\0\0\0", INVALID),
    GOOD(get_atom, SUATOM "\x00", ""),
    GOOD(get_atom, SUATOM "\x0fset_config_item", "set_config_item"),
    GOOD(get_atom, ATOM "\x00\x0fset_config_item", "set_config_item"),
    GOOD(get_atom,
	SUATOM "\x08"
	       "12345678",
	"12345678"),
    GOOD(get_atom, UATOM "\x00\x02ok", "ok"),
    GOOD(get_atom, SATOM "\x02ok", "ok"),
    GOOD(get_atom, SATOM "\x02\xe9x", "\xc3\xa9x"),
    GOOD(get_atom, ATOM "\x00\x02\xff\x80", "\xc3\xbf\xc2\x80"),
    GOOD(get_atom, SUATOM "\x02\xc3\xa9", "\xc3\xa9"),
    GOOD(get_atom, SUATOM "\x03\xef\xbf\xbe", "\xef\xbf\xbe"),
    GOOD(get_atom, SUATOM "\x04\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"),
    GOOD(get_atom, ATOM "\x00\xff" A240 "aaaaaaaaaaaaaaa",
	A240 "aaaaaaaaaaaaaaa"),
    GOOD(get_atom, ATOM "\x00\x10" E16, U8 U8),
    BAD(get_atom, ATOM "\x01\x00" A240 A16, RANGE),
    BAD(get_atom, UATOM "\x01\x00" A240 A16, RANGE),
    BAD(get_atom, SUATOM "\x01\xff", INVALID),
    BAD(get_atom, SUATOM "\x01\x80", INVALID),
    BAD(get_atom, SUATOM "\x01\xc3", INVALID),
    BAD(get_atom, SUATOM "\x02\xc3\x28", INVALID),
    BAD(get_atom, SUATOM "\x02\xc0\x80", INVALID),
    BAD(get_atom, SUATOM "\x02\xc1\xbf", INVALID),
    BAD(get_atom, SUATOM "\x03\xe0\x9f\xbf", INVALID),
    BAD(get_atom, SUATOM "\x03\xed\xa0\x80", INVALID),
    BAD(get_atom, SUATOM "\x03\xed\xbf\xbf", INVALID),
    BAD(get_atom, SUATOM "\x04\xf0\x8f\xbf\xbf", INVALID),
    BAD(get_atom, SUATOM "\x04\xf4\x90\x80\x80", INVALID),
    BAD(get_atom, SUATOM "\x04\xf5\x80\x80\x80", INVALID),
    BAD(get_atom,
	SUATOM "\x03"
	       "a\0b",
	RANGE),
    BAD(get_atom, SATOM "\x01\x00", RANGE),
    BAD(get_atom,
	ATOM "\x00\x09"
	     "12345678\0",
	RANGE),
    GOOD(get_atom_8,
	SUATOM "\x07"
	       "1234567",
	"1234567"),
    BAD(get_atom_8,
	SUATOM "\x08"
	       "12345678",
	RANGE),
    BAD(get_atom_8,
	ATOM "\x00\x08"
	     "12345678",
	RANGE),
    GOOD(get_atom_8, SATOM "\x04\xe9\xe9\xe9x", "\xc3\xa9\xc3\xa9\xc3\xa9x"),
    BAD(get_atom_8, SATOM "\x04\xe9\xe9\xe9\xe9", RANGE),
    BAD(get_atom_0, SUATOM "\x00", RANGE),
    BAD(get_atom_0,
	SUATOM "\x01"
	       "a",
	RANGE),
    GOOD(get_bool, SUATOM "\x04true", "1"),
    GOOD(get_bool,
	ATOM "\x00\x05"
	     "false",
	"0"),
    BAD(get_bool, SUATOM "\x03yes", RANGE),
    BAD(get_bool, SUATOM "\x05true\0", RANGE),
    BAD(get_bool,
	SUATOM "\x09"
	       "undefined",
	RANGE),
    GOOD(get_binary, BIN "\0\0\0\0", ""),
    GOOD(get_binary, BIN "\0\0\0\3abc", "abc"),
    BAD(get_binary,
	BIN "\xff\xff\xff\xff"
	    "abc",
	TRUNCATED),
    GOOD(get_pair, TUPLE "\2" INT8 "\1" INT8 "\2", "2: 1 2"),
    GOOD(get_pair, TUPLE4 "\0\0\0\2" INT8 "\1" INT8 "\2", "2: 1 2"),
    BAD(get_pair, TUPLE "\1" INT8 "\1", RANGE),
    BAD(get_pair, TUPLE "\3" INT8 "\1" INT8 "\1" INT8 "\1", RANGE),
    BAD(get_pair, TUPLE4 "\0\0\0\0", RANGE),
    GOOD(get_tuple_any, TUPLE "\0", "0:"),
    GOOD(get_tuple_any, TUPLE "\1" INT8 "\7", "1: 7"),
    GOOD(get_tuple_any, TUPLE4 "\0\0\0\1" INT8 "\7", "1: 7"),
    BAD(get_tuple_any, TUPLE4 "\xff\xff\xff\xff" NIL, TRUNCATED),
    GOOD(get_list, NIL, "0:"),
    GOOD(get_list, LIST "\0\0\0\2" INT8 "\1" INT32 "\0\0\0\2" NIL, "2: 1 2"),
    GOOD(get_list, LIST "\0\0\0\0" NIL, "0:"),
    GOOD(get_list, STR "\0\3\1\2\xff", "3: 1 2 255"),
    GOOD(get_list, STR "\0\0", "0:"),
    BAD(get_list, STR "\0\6\1\2\3\4\5\6", RANGE),
    BAD(get_list, LIST "\0\0\0\6" NIL NIL NIL NIL NIL NIL NIL, RANGE),
    BAD(get_list, LIST "\xff\xff\xff\xff" NIL, TRUNCATED),
    WRONG(get_list, LIST "\0\0\0\1" INT8 "\1" INT8 "\2", "1: 1", TYPE),
    WRONG(get_list, LIST "\0\0\0\1" INT8 "\1" BIN "\0\0\0\0", "1: 1", TYPE),
    WRONG(
	get_list, LIST "\0\0\0\1" INT8 "\1" LIST "\0\0\0\0" NIL, "1: 1", TYPE),
    GOOD(get_nil, NIL, ""),
    BAD(get_nil, STR "\0\0", TYPE),
    BAD(get_nil, LIST "\0\0\0\0" NIL, TYPE),
    GOOD(get_map, MAP "\0\0\0\0", "0:"),
    GOOD(get_map, MAP "\0\0\0\1" INT8 "\1" INT8 "\2", "2: 1 2"),
    BAD(get_map, MAP "\0\0\0\3" NIL NIL NIL NIL NIL NIL, RANGE),
    BAD(get_map, MAP "\xff\xff\xff\xff" NIL, TRUNCATED),
    BAD(get_map, MAP "\x80\0\0\0" NIL, TRUNCATED),
    GOOD(get_iodata, BIN "\0\0\0\3abc", "abc"),
    GOOD(get_iodata, BIN "\0\0\0\0", ""),
    GOOD(get_iodata, NIL, ""),
    GOOD(get_iodata, STR "\0\3abc", "abc"),
    GOOD(get_iodata, LIST "\0\0\0\2" INT8 "a" BIN "\0\0\0\1b" NIL, "ab"),
    GOOD(get_iodata, LIST "\0\0\0\1" INT8 "a" BIN "\0\0\0\1b", "ab"),
    GOOD(get_iodata, LIST "\0\0\0\1" INT8 "a" STR "\0\1b", "ab"),
    GOOD(get_iodata, LIST "\0\0\0\1" INT8 "a" LIST "\0\0\0\1" INT8 "b" NIL,
	"ab"),
    GOOD(get_iodata,
	LIST "\0\0\0\3" INT8 "a" LIST "\0\0\0\2" STR "\0\2bc" INT8 "d" NIL INT8
	     "e" NIL,
	"abcde"),
    GOOD(get_iodata,
	LIST "\0\0\0\2" LIST "\0\0\0\1" INT8 "a" BIN "\0\0\0\1b" INT8 "c" NIL,
	"abc"),
    GOOD(get_iodata, LIST "\0\0\0\1" INT32 "\0\0\0a" NIL, "a"),
    GOOD(get_iodata, LIST "\0\0\0\1" BIG "\2\0a\0" NIL, "a"),
    GOOD(get_iodata, LIST "\0\0\0\1" LIST "\0\0\0\0" INT8 "a" NIL, "a"),
    GOOD(get_iodata, LIST "\0\0\0\0" BIN "\0\0\0\1a", "a"),
    GOOD(get_iodata, BIN "\0\0\0\x10" A16, A16),
    BAD(get_iodata, BIN "\0\0\0\x11" A16 "a", RANGE),
    BAD(get_iodata, LIST "\0\0\0\2" BIN "\0\0\0\x10" A16 INT8 "a" NIL, RANGE),
    BAD(get_iodata, INT8 "a", TYPE),
    BAD(get_iodata, LIST "\0\0\0\0" INT8 "a", TYPE),
    BAD(get_iodata, LIST "\0\0\0\1" INT32 "\0\0\1\0" NIL, TYPE),
    BAD(get_iodata, LIST "\0\0\0\1" INT32 "\xff\xff\xff\xff" NIL, TYPE),
    BAD(get_iodata, LIST "\0\0\0\1" BIG "\1\1a" NIL, TYPE),
    BAD(get_iodata, LIST "\0\0\0\1" BIG "\x09\0a\0\0\0\0\0\0\0\1" NIL, TYPE),
    BAD(get_iodata, LIST "\0\0\0\1" INT8 "a" INT8 "b", TYPE),
    BAD(get_iodata,
	LIST "\0\0\0\2" LIST "\0\0\0\1" INT8 "a" INT8 "b" INT8 "c" NIL, TYPE),
    BAD(get_iodata, LIST "\0\0\0\1" INT8 "a" SUATOM "\1b", TYPE),
    BAD(get_iodata, LIST "\0\0\0\1" TUPLE "\0" NIL, TYPE),
    BAD(get_iodata, LIST "\0\0\0\1" FLT "\0\0\0\0\0\0\0\0" NIL, TYPE),
    GOOD(get_string, BIN "\0\0\0\3abc", "abc"),
    GOOD(get_string, LIST "\0\0\0\1" STR "\0\2ab" NIL, "ab"),
    BAD(get_string, BIN "\0\0\0\1\0", RANGE),
    BAD(get_string, BIN "\0\0\0\5/bin\0", RANGE),
    BAD(get_string, STR "\0\3a\0b", RANGE),
    BAD(get_string, LIST "\0\0\0\2" INT8 "a" INT8 "\0" NIL, RANGE),
    GOOD(get_skip, BIN "\0\0\0\3abc", ""),
    GOOD(get_skip, TUPLE "\2" NIL LIST "\0\0\0\1" NIL INT8 "\1", ""),
    GOOD(get_skip, MAP "\0\0\0\2" INT8 "\1" NIL INT8 "\2" STR "\0\1a", ""),
    BAD(get_skip, MAP "\0\0\0\2" INT8 "\1" NIL INT8 "\1" NIL, INVALID),
    BAD(get_skip, SUATOM "\x01\xff", INVALID),
    BAD(get_skip,
	"\x50"
	"abcd",
	TYPE),
};

/* Every later getter gives zero, and the first error stays. */
static bool
is_sticky(struct etf_reader *r, enum etf_error error)
{
	char text[TEXT_SIZE];
	bool good = r->error == error && r->pos == r->end && r->chars == 0;

	for (size_t i = 0; i < COUNT(getters); i++) {
		getters[i].get(r, text);
		good &= strcmp(text, getters[i].zero) == 0;
		good &= r->error == error && r->pos == r->end;
	}
	etf_fail(r, ETF_NOMEM);
	return good && !etf_done(r) && r->error == error &&
	       etf_peek(r) == ETF_NONE;
}

/* Reads `len` bytes of which a getter reads all, or fails. */
static bool
reads(get_fn *get, const uint8_t *data, size_t len, const char *text,
    enum etf_error error)
{
	uint8_t *bytes = copy(data, len);
	char got[TEXT_SIZE];
	struct etf_reader r = {.pos = bytes, .end = bytes + len};
	bool good;

	get(&r, got);
	good = strcmp(got, text != NULL ? text : getter_of(get)->zero) == 0;
	good &= error == ETF_OK ? etf_done(&r) : is_sticky(&r, error);
	if (!good)
		printf("# got %s, error %d, %zu left\n", got, r.error,
		    (size_t)(r.end - r.pos));
	free(bytes);
	return good;
}

/*
 * A header whose elements are missing is an error at once, or when they are
 * read; then what was read is no matter.
 */
static bool
fails_when_cut(const struct vector *v, size_t len)
{
	uint8_t *bytes = copy(v->data, len);
	char got[TEXT_SIZE];
	struct etf_reader r = {.pos = bytes, .end = bytes + len};
	bool good;

	v->get(&r, got);
	good = r.error == ETF_TRUNCATED && is_sticky(&r, ETF_TRUNCATED);
	free(bytes);
	return good;
}

static void
hex(const uint8_t *data, size_t len, char *text)
{
	for (size_t i = 0; i < len && i < 24; i++)
		text += sprintf(text, "%02x", data[i]);
	strcpy(text, len > 24 ? "..." : "");
}

static void
test_vectors(void)
{
	char bytes[64];

	for (size_t i = 0; i < COUNT(vectors); i++) {
		const struct vector *v = &vectors[i];
		bool good = true;

		hex(v->data, v->len, bytes);
		ok(reads(v->get, v->data, v->len, v->text, v->error),
		    "get %s of %s: %s", getter_of(v->get)->name, bytes,
		    v->error == ETF_OK ? v->text : "refused");
		if (v->error != ETF_OK)
			continue;
		for (size_t len = 0; len < v->len; len++)
			good &= fails_when_cut(v, len);
		ok(good, "get %s of %s, cut at every byte",
		    getter_of(v->get)->name, bytes);
	}
}

/* One good term of each type and tag. */
static const struct vector samples[] = {
    GOOD(get_int, INT8 "\1", "1"),
    GOOD(get_int, INT32 "\0\0\1\1", "257"),
    GOOD(get_int, BIG "\1\0\1", "1"),
    GOOD(get_float, FLT "\0\0\0\0\0\0\0\0", "0"),
    GOOD(get_atom, ATOM "\0\1a", "a"),
    GOOD(get_atom, SATOM "\1a", "a"),
    GOOD(get_atom, UATOM "\0\1a", "a"),
    GOOD(get_atom, SUATOM "\1a", "a"),
    GOOD(get_binary, BIN "\0\0\0\1a", "a"),
    GOOD(get_tuple_any, TUPLE "\1" INT8 "\1", "1: 1"),
    GOOD(get_tuple_any, TUPLE4 "\0\0\0\1" INT8 "\1", "1: 1"),
    GOOD(get_list, NIL, "0:"),
    GOOD(get_list, STR "\0\1a", "1: 97"),
    GOOD(get_list, LIST "\0\0\0\1" INT8 "a" NIL, "1: 97"),
    GOOD(get_map, MAP "\0\0\0\0", "0:"),
};

static void
test_types(void)
{
	for (size_t g = 0; g < COUNT(getters); g++) {
		bool good = true;

		for (size_t i = 0; i < COUNT(samples); i++) {
			const struct vector *v = &samples[i];

			if ((getter_of(v->get)->types & getters[g].types) == 0)
				good &= reads(getters[g].get, v->data, v->len,
				    NULL, ETF_TYPE);
		}
		ok(good, "get %s of any other type", getters[g].name);
	}
}

static void
test_tags(void)
{
	uint8_t bytes[16] = {0};
	bool good = true, peeked = true;

	for (unsigned tag = 0; tag < 256; tag++) {
		struct etf_reader r = {.pos = bytes, .end = bytes + 16};

		bytes[0] = (uint8_t)tag;
		if (memchr(tags, (int)tag, sizeof(tags)) != NULL)
			continue;
		peeked &= etf_peek(&r) == ETF_NONE;
		for (size_t g = 0; g < COUNT(getters); g++)
			good &= reads(getters[g].get, bytes, sizeof(bytes),
			    NULL, ETF_TYPE);
	}
	ok(good, "every getter refuses each of the 241 other tags");
	ok(peeked, "peek at each of the 241 other tags: none");
	for (size_t i = 0; i < COUNT(samples); i++) {
		struct etf_reader r = {.pos = samples[i].data,
		    .end = samples[i].data + samples[i].len};

		peeked &=
		    (getter_of(samples[i].get)->types >> etf_peek(&r) & 1) != 0;
		peeked &= r.pos == samples[i].data;
	}
	ok(peeked, "peek at each tag of ours");
}

static void
test_open(void)
{
	struct etf_reader r;

	etf_open(&r, NULL, 0);
	ok(r.error == ETF_TRUNCATED && is_sticky(&r, ETF_TRUNCATED),
	    "open: no bytes");
	etf_open(&r, "\x82" NIL, 2);
	ok(is_sticky(&r, ETF_INVALID), "open: another version");
	etf_open(&r, "\x83" NIL NIL, 3);
	etf_get_nil(&r);
	ok(r.error == ETF_OK && !etf_done(&r) && is_sticky(&r, ETF_TRAILING),
	    "done: bytes are left");
	etf_open(&r, "\x83" NIL, 2);
	etf_get_nil(&r);
	ok(etf_done(&r) && etf_done(&r), "done: none is left");
	etf_open(&r, "\x83" NIL, 2);
	etf_fail(&r, ETF_RANGE);
	ok(is_sticky(&r, ETF_RANGE), "fail: an error from outside");
}

/* A STRING is a list whose elements have no tags. */
static void
test_string_elements(void)
{
	static const char frame[] = "\x83" TUPLE "\2" STR "\0\3abc" INT8 "\7";
	struct etf_reader r, again;
	size_t len;
	bool good;

	etf_open(&r, frame, sizeof(frame) - 1);
	etf_get_tuple(&r, 2);
	etf_get_list(&r, 3);
	again = r;
	good = etf_peek(&r) == ETF_INTEGER && etf_get_int(&r, 0, 255) == 'a';
	etf_skip(&r);
	good &= etf_get_uint(&r, UINT64_MAX) == 'c' && etf_peek(&r) == ETF_LIST;
	good &= etf_get_list(&r, 0) == 0;
	etf_get_nil(&r);
	ok(good && etf_get_int(&r, 7, 7) == 7 && etf_done(&r),
	    "string: its elements, its end, what follows");
	r = again;
	etf_get_nil(&r);
	ok(is_sticky(&r, ETF_TYPE), "string: nil before its end");
	for (size_t g = 0; g < COUNT(getters); g++) {
		char text[TEXT_SIZE];

		if (getters[g].types & T(INTEGER))
			continue;
		r = again;
		getters[g].get(&r, text);
		good &= strcmp(text, getters[g].zero) == 0 &&
			is_sticky(&r, ETF_TYPE);
	}
	ok(good, "string: an element is an integer only");
	r = again;
	etf_skip(&r);
	etf_skip(&r);
	etf_skip(&r);
	good = r.error == ETF_OK && etf_peek(&r) == ETF_LIST;
	ok(good && etf_get_int(&r, 0, 255) == 0 && is_sticky(&r, ETF_TYPE),
	    "string: an integer at its end");
	r = again;
	r.pos = r.end;
	ok(!etf_done(&r) && r.error == ETF_TRAILING, "done: within a string");
	r = again;
	for (size_t i = 0; i < 3; i++)
		etf_skip(&r);
	free(etf_get_iodata(&r, 9, &len));
	ok(len == 0 && etf_get_int(&r, 7, 7) == 7 && etf_done(&r),
	    "string: its end is iodata");
}

/* --- Check ------------------------------------------------------------- */

struct frame {
	const uint8_t *data;
	size_t len;
	const char *why;
};

static const struct frame refused[] = {
    {BYTES(""), "no bytes"},
    {BYTES("\x83"), "a version alone"},
    {BYTES("\x84" NIL), "another version"},
    {BYTES("\x83\x83" NIL), "the version twice"},
    {BYTES("\x83" NIL NIL), "a byte after the term"},
    {BYTES("\x83\x50\0\0\0\2\x78\x9c\x4b\x64\x04\0\0\xc4\0\x62"), "compressed"},
    {BYTES("\x83\x63"
	   "1.00000000000000000000e+00\0\0\0\0\0"),
	"a float as text"},
    {BYTES("\x83\x6f\0\0\0\1\0\1"), "a large big"},
    {BYTES("\x83\x4d\0\0\0\1\1\x80"), "a bitstring"},
    {BYTES("\x83" INT8), "a small integer without its byte"},
    {BYTES("\x83" INT32 "\0\0\0"), "an integer of three bytes"},
    {BYTES("\x83" BIG "\2\0\1"), "a big that is cut"},
    {BYTES("\x83" BIG "\0"), "a big without a sign"},
    {BYTES("\x83" FLT "\x7f\xf8\0\0\0\0\0\0"), "not a number"},
    {BYTES("\x83" FLT "\xff\xf0\0\0\0\0\0\0"), "minus infinity"},
    {BYTES("\x83" SUATOM "\2\xc3"), "an atom that is cut"},
    {BYTES("\x83" SUATOM "\2\xc3\x28"), "an atom of no UTF-8"},
    {BYTES("\x83" ATOM "\1\0" A240 A16), "an atom of 256 bytes"},
    {BYTES("\x83" UATOM "\1\0" A240 A16), "an atom of 256 characters"},
    {BYTES("\x83" BIN "\0\0\0\2a"), "a binary that is cut"},
    {BYTES("\x83" BIN "\xff\xff\xff\xff"), "a binary of 4 GiB"},
    {BYTES("\x83" STR "\0\2a"), "a string that is cut"},
    {BYTES("\x83" TUPLE "\1"), "a tuple without its element"},
    {BYTES("\x83" TUPLE4 "\xff\xff\xff\xff"), "a tuple of 2^32-1"},
    {BYTES("\x83" LIST "\0\0\0\1" NIL), "a list without its tail"},
    {BYTES("\x83" LIST "\0\0\0\0"), "an empty list without its tail"},
    {BYTES("\x83" LIST "\xff\xff\xff\xff" NIL), "a list of 2^32-1"},
    {BYTES("\x83" MAP "\0\0\0\1" NIL), "a key without a value"},
    {BYTES("\x83" MAP "\x80\0\0\0" NIL), "a map of 2^31"},
    {BYTES("\x83" MAP "\xff\xff\xff\xff" NIL), "a map of 2^32-1"},
    {BYTES("\x83" TUPLE "\2" NIL "\x51"), "an unknown tag within"},
    {BYTES("\x83" MAP "\0\0\0\1" NIL MAP "\0\0\0\2" NIL NIL NIL NIL),
	"equal keys in a value"},
    {BYTES("\x83" MAP "\0\0\0\1" MAP "\0\0\0\2" NIL NIL NIL NIL NIL),
	"equal keys in a key"},
    {BYTES("\x83" MAP "\0\0\0\2" NIL NIL SUATOM "\1\xff" NIL),
	"a key that is none"},
};

static const struct frame accepted[] = {
    {BYTES("\x83" BIG "\0\0"), "a big of no bytes"},
    {BYTES("\x83" BIG "\1\7\5"), "a big with sign 7"},
    {BYTES("\x83" BIG "\x0c\0\0\0\0\0\0\0\0\0\0\0\0\0"), "a big zero"},
    {BYTES("\x83" SUATOM "\0"), "the empty atom"},
    {BYTES("\x83" SUATOM "\1\0"), "an atom of a NUL"},
    {BYTES("\x83" STR "\0\0"), "a string of no bytes"},
    {BYTES("\x83" LIST "\0\0\0\0" INT8 "\5"), "a list of a tail only"},
    {BYTES("\x83" LIST "\0\0\0\1" NIL INT8 "\5"), "an improper list"},
    {BYTES("\x83" TUPLE4 "\0\0\0\0"), "a large tuple of none"},
    {BYTES("\x83" MAP "\0\0\0\0"), "an empty map"},
    {BYTES("\x83" MAP "\0\0\0\2" INT8 "\1" NIL FLT "\x3f\xf0\0\0\0\0\0\0" NIL),
	"keys 1 and 1.0"},
};

static bool
checks(const void *data, size_t len)
{
	uint8_t *bytes = copy(data, len);
	bool good = etf_check(bytes, len);

	free(bytes);
	return good;
}

static void
test_check(void)
{
	for (size_t i = 0; i < COUNT(refused); i++)
		ok(!checks(refused[i].data, refused[i].len), "check refuses %s",
		    refused[i].why);
	for (size_t i = 0; i < COUNT(accepted); i++)
		ok(checks(accepted[i].data, accepted[i].len),
		    "check accepts %s", accepted[i].why);
	for (size_t i = 0; i < COUNT(samples); i++) {
		uint8_t frame[32] = {131};
		bool good;

		memcpy(frame + 1, samples[i].data, samples[i].len);
		good = checks(frame, samples[i].len + 1);
		for (size_t len = 0; len <= samples[i].len; len++)
			good &= !checks(frame, len);
		ok(good, "check of tag %u, cut at every byte", frame[1]);
	}
}

/* --- Equal keys -------------------------------------------------------- */

/* Encodings of as many different terms as there are lines. */
#define E(bytes)             \
	{                    \
		BYTES(bytes) \
	}
#define ONE INT8 "\1"
#define TWO INT8 "\2"

static const struct etf_bytes keys[][6] = {
    {E(ONE), E(INT32 "\0\0\0\1"), E(BIG "\1\0\1"), E(BIG "\3\0\1\0\0"),
	E(LIST "\0\0\0\0" ONE)},
    {E(INT32 "\xff\xff\xff\xff"), E(BIG "\1\1\1"), E(BIG "\2\7\1\0")},
    {E(INT8 "\0"), E(INT32 "\0\0\0\0"), E(BIG "\0\0"), E(BIG "\0\1"),
	E(BIG "\1\1\0"), E(BIG "\x0c\1\0\0\0\0\0\0\0\0\0\0\0\0")},
    {E(BIG "\x09\0\0\0\0\0\0\0\0\0\1"), E(BIG "\x0b\0\0\0\0\0\0\0\0\0\1\0\0")},
    {E(BIG "\x09\1\0\0\0\0\0\0\0\0\1"), E(BIG "\x0a\2\0\0\0\0\0\0\0\0\1\0")},
    {E(BIG "\x08\0\0\0\0\0\0\0\0\x80")},
    {E(FLT "\0\0\0\0\0\0\0\0"), E(FLT "\x80\0\0\0\0\0\0\0")},
    {E(FLT "\x3f\xf0\0\0\0\0\0\0")},
    {E(SUATOM "\2\xc3\xa9"), E(UATOM "\0\2\xc3\xa9"), E(SATOM "\1\xe9"),
	E(ATOM "\0\1\xe9")},
    {E(SUATOM "\1a"), E(UATOM "\0\1a"), E(SATOM "\1a"), E(ATOM "\0\1a")},
    {E(SUATOM "\0"), E(UATOM "\0\0"), E(SATOM "\0"), E(ATOM "\0\0")},
    {E(SUATOM "\1\0")},
    {E(BIN "\0\0\0\0")},
    {E(BIN "\0\0\0\1a")},
    {E(BIN "\0\0\0\2\xc3\xa9")},
    {E(NIL), E(STR "\0\0"), E(LIST "\0\0\0\0" NIL),
	E(LIST "\0\0\0\0" STR "\0\0")},
    {E(STR "\0\2\1\2"), E(LIST "\0\0\0\2" ONE TWO NIL),
	E(LIST "\0\0\0\1" ONE STR "\0\1\2"),
	E(LIST "\0\0\0\1" ONE LIST "\0\0\0\1" TWO NIL),
	E(LIST "\0\0\0\2" ONE TWO LIST "\0\0\0\0" NIL),
	E(LIST "\0\0\0\0" LIST "\0\0\0\1" ONE STR "\0\1\2")},
    {E(STR "\0\1\1"), E(LIST "\0\0\0\1" ONE NIL),
	E(LIST "\0\0\0\1" ONE STR "\0\0")},
    {E(LIST "\0\0\0\1" ONE TWO), E(LIST "\0\0\0\1" ONE LIST "\0\0\0\0" TWO)},
    {E(LIST "\0\0\0\2" ONE TWO TWO),
	E(LIST "\0\0\0\1" ONE LIST "\0\0\0\1" TWO TWO)},
    {E(LIST "\0\0\0\1" STR "\0\2\1\2" NIL),
	E(LIST "\0\0\0\1" LIST "\0\0\0\2" ONE TWO NIL NIL)},
    {E(LIST "\0\0\0\2" ONE STR "\0\1\2" NIL)},
    {E(LIST "\0\0\0\2" STR "\0\1\1" TWO NIL)},
    {E(LIST "\0\0\0\1" NIL NIL), E(LIST "\0\0\0\1" STR "\0\0" NIL)},
    {E(LIST "\0\0\0\2" NIL NIL NIL)},
    {E(TUPLE "\0"), E(TUPLE4 "\0\0\0\0")},
    {E(TUPLE "\2" ONE TWO), E(TUPLE4 "\0\0\0\2" BIG "\1\0\1" TWO),
	E(TUPLE "\2" ONE LIST "\0\0\0\0" TWO)},
    {E(TUPLE "\2" TWO ONE)},
    {E(TUPLE "\1" TUPLE "\2" ONE TWO)},
    {E(TUPLE "\2" TUPLE "\1" ONE TWO)},
    {E(TUPLE "\2" ONE TUPLE "\1" TWO)},
    {E(TUPLE "\1" LIST "\0\0\0\2" ONE TWO NIL), E(TUPLE "\1" STR "\0\2\1\2")},
    {E(MAP "\0\0\0\0")},
    {E(MAP "\0\0\0\2" ONE NIL TWO NIL), E(MAP "\0\0\0\2" TWO NIL ONE NIL),
	E(MAP "\0\0\0\2" BIG "\1\0\2" STR "\0\0" ONE NIL)},
    {E(MAP "\0\0\0\2" ONE ONE TWO TWO), E(MAP "\0\0\0\2" TWO TWO ONE ONE)},
    {E(MAP "\0\0\0\2" ONE TWO TWO ONE), E(MAP "\0\0\0\2" TWO ONE ONE TWO)},
    {E(MAP "\0\0\0\1" MAP "\0\0\0\2" ONE NIL TWO NIL NIL),
	E(MAP "\0\0\0\1" MAP "\0\0\0\2" TWO NIL ONE NIL NIL)},
    {E(MAP "\0\0\0\1" NIL MAP "\0\0\0\2" ONE NIL TWO NIL),
	E(MAP "\0\0\0\1" NIL MAP "\0\0\0\2" TWO NIL ONE NIL)},
};

static bool
both_keys(struct etf_bytes a, struct etf_bytes b)
{
	struct etf_writer w;
	bool good;

	etf_init(&w, 1000);
	etf_put_version(&w);
	etf_put_map(&w, 3);
	etf_put_raw(&w, a.data, a.len);
	etf_put_nil(&w);
	etf_put_string(&w, "in between");
	etf_put_map(&w, 1);
	etf_put_raw(&w, a.data, a.len);
	etf_put_raw(&w, a.data, a.len);
	etf_put_raw(&w, b.data, b.len);
	etf_put_nil(&w);
	good = checks(w.data, w.len);
	etf_free(&w);
	return good;
}

static void
test_keys(void)
{
	const size_t per = COUNT(keys[0]);

	for (size_t i = 0; i < COUNT(keys); i++) {
		bool equal = true, other = true;

		for (size_t j = 0; j < COUNT(keys) * per; j++) {
			const struct etf_bytes *key = &keys[j / per][j % per];

			for (size_t k = 0; k < per && key->len > 0; k++) {
				if (keys[i][k].len == 0)
					continue;
				if (j / per == i)
					equal &= !both_keys(keys[i][k], *key);
				else
					other &= both_keys(keys[i][k], *key);
			}
		}
		ok(equal, "key %zu equals itself, however encoded", i);
		ok(other, "key %zu equals no other", i);
	}
}

/* --- Limits ------------------------------------------------------------ */

/* n terms, the last in the depths of the first. */
static void
put_nested(struct etf_writer *w, uint32_t n)
{
	while (--n > 0)
		etf_put_tuple(w, 1);
	etf_put_nil(w);
}

static void
put_flat(struct etf_writer *w, uint32_t n)
{
	etf_put_tuple(w, n - 1);
	while (--n > 0)
		etf_put_nil(w);
}

static void
put_pairs(struct etf_writer *w, uint32_t n)
{
	etf_put_map(w, n);
	for (; n > 0; n--) {
		etf_put_uint(w, n);
		etf_put_nil(w);
	}
}

static void
put_deep_key(struct etf_writer *w, uint32_t n)
{
	etf_put_map(w, 2);
	etf_put_nil(w);
	etf_put_nil(w);
	put_nested(w, n + 1);
	etf_put_nil(w);
}

/* Maps in the values of maps: each looks through all that are below it. */
static void
put_maps(struct etf_writer *w, uint32_t n)
{
	for (; n > 0; n--) {
		etf_put_map(w, 2);
		etf_put_uint(w, 0);
		etf_put_nil(w);
		etf_put_uint(w, 1);
	}
	etf_put_nil(w);
}

/* Lists within lists, each the first element of the one around it. */
static void
put_heads(struct etf_writer *w, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		etf_put_list(w, 1);
	for (uint32_t i = 0; i <= n; i++)
		etf_put_nil(w);
}

static void
put_tails(struct etf_writer *w, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		etf_put_list(w, 1);
		etf_put_uint(w, 'a');
	}
	etf_put_nil(w);
}

static bool
checks_put(void (*put)(struct etf_writer *w, uint32_t n), uint32_t n)
{
	struct etf_writer w;
	bool good;

	etf_init(&w, 64u << 20);
	etf_put_version(&w);
	put(&w, n);
	good = w.error == ETF_OK && checks(w.data, w.len);
	etf_free(&w);
	return good;
}

static void
test_limits(void)
{
	ok(checks_put(put_flat, ETF_TERMS_MAX), "terms: the most, flat");
	ok(!checks_put(put_flat, ETF_TERMS_MAX + 1), "terms: one more");
	ok(checks_put(put_nested, ETF_TERMS_MAX), "terms: the most, nested");
	ok(!checks_put(put_nested, ETF_TERMS_MAX + 1), "nested: one more");
	ok(!checks_put(put_nested, 10000000), "nested: ten millions");
	ok(checks_put(put_pairs, ETF_PAIRS_MAX), "pairs: the most");
	ok(!checks_put(put_pairs, ETF_PAIRS_MAX + 1), "pairs: one more");
	ok(checks_put(put_deep_key, ETF_KEY_DEPTH_MAX), "key: the deepest");
	ok(!checks_put(put_deep_key, ETF_KEY_DEPTH_MAX + 1), "key: deeper");
	ok(checks_put(put_maps, 500), "maps in maps: 500");
	ok(!checks_put(put_maps, 16000), "maps in maps: too much work");
	ok(checks_put(put_heads, 30000), "lists in lists: 30,000");
	ok(checks_put(put_tails, 30000), "lists as tails: 30,000");
}

/* --- Iodata ------------------------------------------------------------ */

static void
test_deep_iodata(void)
{
	struct etf_writer w;
	struct etf_reader r;
	size_t len;
	char *s;

	etf_init(&w, 64u << 20);
	put_heads(&w, DEEP);
	r = (struct etf_reader){.pos = w.data, .end = w.data + w.len};
	s = etf_get_iodata(&r, 0, &len);
	ok(s != NULL && len == 0 && etf_done(&r), "iodata %u deep", DEEP);
	free(s);
	etf_rewind(&w, 0);
	put_tails(&w, DEEP);
	r = (struct etf_reader){.pos = w.data, .end = w.data + w.len};
	refuse(0);
	s = etf_get_iodata(&r, DEEP, &len);
	ok(s != NULL && len == DEEP && strlen(s) == DEEP && etf_done(&r),
	    "iodata of %u tails", DEEP);
	ok(allocations < 20, "iodata: a tail is not nested");
	free(s);
	r = (struct etf_reader){.pos = w.data, .end = w.data + w.len};
	s = etf_get_iodata(&r, DEEP - 1, &len);
	ok(s == NULL && len == 0 && is_sticky(&r, ETF_RANGE),
	    "iodata: a byte over the maximum");
	r = (struct etf_reader){.pos = w.data, .end = w.data + w.len};
	s = etf_get_iodata(&r, SIZE_MAX, &len);
	ok(s != NULL && len == DEEP, "iodata: no maximum");
	free(s);
	etf_free(&w);
}

static void
test_iodata_memory(void)
{
	struct etf_writer w;
	bool good = true;
	unsigned n = 0;
	char *s = NULL;

	etf_init(&w, 1u << 20);
	put_heads(&w, 100);
	w.len = 5 * 100; /* the innermost is now <<"0...9">>, 200 bytes */
	etf_put_binary(&w, vectors, 200);
	for (unsigned i = 0; i < 100; i++)
		etf_put_nil(&w);
	while (s == NULL && n < 100) {
		struct etf_reader r = {.pos = w.data, .end = w.data + w.len};
		size_t len;

		refuse(++n);
		s = etf_get_iodata(&r, 1000, &len);
		if (s == NULL)
			good &= len == 0 && is_sticky(&r, ETF_NOMEM);
		else
			good &= len == 200 && etf_done(&r);
	}
	refuse(0);
	ok(good && s != NULL && n > 4, "iodata: allocation 1..%u fails", n - 1);
	free(s);
	etf_free(&w);
}

/* --- Writer ------------------------------------------------------------ */

typedef void put_fn(struct etf_writer *w);

#define PUT(name, call)                              \
	static void put_##name(struct etf_writer *w) \
	{                                            \
		call;                                \
	}

PUT(version, etf_put_version(w))
PUT(int_0, etf_put_int(w, 0))
PUT(int_255, etf_put_int(w, 255))
PUT(int_256, etf_put_int(w, 256))
PUT(int_minus, etf_put_int(w, -1))
PUT(int_31, etf_put_int(w, INT32_MAX))
PUT(int_32, etf_put_int(w, (int64_t)INT32_MAX + 1))
PUT(int_minus_31, etf_put_int(w, INT32_MIN))
PUT(int_minus_32, etf_put_int(w, (int64_t)INT32_MIN - 1))
PUT(int_40, etf_put_int(w, INT64_C(1) << 40))
PUT(int_max, etf_put_int(w, INT64_MAX))
PUT(int_min, etf_put_int(w, INT64_MIN))
PUT(uint_0, etf_put_uint(w, 0))
PUT(uint_31, etf_put_uint(w, INT32_MAX))
PUT(uint_32, etf_put_uint(w, UINT32_MAX))
PUT(uint_max, etf_put_uint(w, UINT64_MAX))
PUT(float, etf_put_float(w, 1.5))
PUT(float_zero, etf_put_float(w, -0.0))
PUT(atom, etf_put_atom(w, "ok"))
PUT(atom_0, etf_put_atom(w, ""))
PUT(atom_255, etf_put_atom(w, A240 "aaaaaaaaaaaaaaa"))
PUT(atom_256, etf_put_atom(w, A240 U8))
PUT(true, etf_put_bool(w, true))
PUT(false, etf_put_bool(w, false))
PUT(binary, etf_put_binary(w, "a\0b", 3))
PUT(binary_0, etf_put_binary(w, NULL, 0))
PUT(string, etf_put_string(w, "abc"))
PUT(tuple_0, etf_put_tuple(w, 0))
PUT(tuple_255, etf_put_tuple(w, 255))
PUT(tuple_256, etf_put_tuple(w, 256))
PUT(list_0, etf_put_list(w, 0))
PUT(list, etf_put_list(w, 65536))
PUT(nil, etf_put_nil(w))
PUT(map, etf_put_map(w, 1))
PUT(raw, etf_put_raw(w, "abc", 3))
PUT(raw_0, etf_put_raw(w, NULL, 0))

static void
put_all(struct etf_writer *w)
{
	etf_put_tuple(w, 3);
	etf_put_list(w, 40);
	for (int64_t i = 0; i < 40; i++)
		etf_put_int(w, i * i * i * i * i * i);
	etf_put_nil(w);
	etf_put_atom(w, "ok");
	etf_put_string(w, A240 A240 A240 A240);
}

struct written {
	put_fn *put;
	const char *name;
	const uint8_t *data; /* what term_to_binary/1 gives; NULL: put_all */
	size_t len;
};

#define WRITES(name, bytes)                     \
	{                                       \
		put_##name, #name, BYTES(bytes) \
	}

static const struct written written[] = {
    WRITES(version, "\x83"),
    WRITES(int_0, INT8 "\0"),
    WRITES(int_255, INT8 "\xff"),
    WRITES(int_256, INT32 "\0\0\1\0"),
    WRITES(int_minus, INT32 "\xff\xff\xff\xff"),
    WRITES(int_31, INT32 "\x7f\xff\xff\xff"),
    WRITES(int_32, BIG "\4\0\0\0\0\x80"),
    WRITES(int_minus_31, INT32 "\x80\0\0\0"),
    WRITES(int_minus_32, BIG "\4\1\1\0\0\x80"),
    WRITES(int_40, BIG "\6\0\0\0\0\0\0\1"),
    WRITES(int_max, BIG "\x08\0\xff\xff\xff\xff\xff\xff\xff\x7f"),
    WRITES(int_min, BIG "\x08\1\0\0\0\0\0\0\0\x80"),
    WRITES(uint_0, INT8 "\0"),
    WRITES(uint_31, INT32 "\x7f\xff\xff\xff"),
    WRITES(uint_32, BIG "\4\0\xff\xff\xff\xff"),
    WRITES(uint_max, BIG "\x08\0\xff\xff\xff\xff\xff\xff\xff\xff"),
    WRITES(float, FLT "\x3f\xf8\0\0\0\0\0\0"),
    WRITES(float_zero, FLT "\x80\0\0\0\0\0\0\0"),
    WRITES(atom, SUATOM "\2ok"),
    WRITES(atom_0, SUATOM "\0"),
    WRITES(atom_255, SUATOM "\xff" A240 "aaaaaaaaaaaaaaa"),
    WRITES(atom_256, UATOM "\1\0" A240 U8),
    WRITES(true, SUATOM "\4true"),
    WRITES(false, SUATOM "\5"
			 "false"),
    WRITES(binary, BIN "\0\0\0\3a\0b"),
    WRITES(binary_0, BIN "\0\0\0\0"),
    WRITES(string, BIN "\0\0\0\3abc"),
    WRITES(tuple_0, TUPLE "\0"),
    WRITES(tuple_255, TUPLE "\xff"),
    WRITES(tuple_256, TUPLE4 "\0\0\1\0"),
    WRITES(list_0, ""),
    WRITES(list, LIST "\0\1\0\0"),
    WRITES(nil, NIL),
    WRITES(map, MAP "\0\0\0\1"),
    WRITES(raw, "abc"),
    WRITES(raw_0, ""),
    {put_all, "all", NULL, 0},
};

/* After an error nothing is written, and the first error stays. */
static bool
is_stuck(struct etf_writer *w, enum etf_error error)
{
	size_t len = w->len;
	bool good = w->error == error && len <= w->max && len <= w->cap;

	for (size_t i = 0; i < COUNT(written); i++)
		written[i].put(w);
	etf_put_float(w, __builtin_nan(""));
	return good && w->error == error && w->len == len;
}

/* Every maximum that is too small, then the one that is not. */
static bool
keeps_maximum(const struct written *v, const uint8_t *data, size_t len)
{
	bool good = true;

	for (size_t max = 0; max <= len; max++) {
		struct etf_writer w;

		etf_init(&w, max);
		v->put(&w);
		if (max < len)
			good &=
			    is_stuck(&w, ETF_TOOBIG) &&
			    (w.len == 0 || memcmp(w.data, data, w.len) == 0);
		else
			good &= w.error == ETF_OK && w.len == len &&
				w.cap <= max && w.max == max;
		etf_free(&w);
		good &= w.data == NULL && w.len == 0 && w.cap == 0 &&
			w.max == max && w.error == ETF_OK;
	}
	return good;
}

/* Each allocation in turn is refused; the writer can be used again. */
static bool
keeps_without_memory(const struct written *v, const uint8_t *data, size_t len)
{
	struct etf_writer w;
	enum etf_error error = ETF_NOMEM;
	bool good = true;

	for (unsigned n = 1; error != ETF_OK; n++) {
		etf_init(&w, len + 9);
		refuse(n);
		v->put(&w);
		error = w.error;
		if (error != ETF_OK)
			good &= is_stuck(&w, ETF_NOMEM);
		refuse(0);
		etf_rewind(&w, 0);
		v->put(&w);
		good &= w.error == ETF_OK && w.len == len &&
			(len == 0 || memcmp(w.data, data, len) == 0);
		etf_free(&w);
	}
	return good;
}

static void
test_written(void)
{
	for (size_t i = 0; i < COUNT(written); i++) {
		const struct written *v = &written[i];
		struct etf_writer w;

		etf_init(&w, 1u << 20);
		v->put(&w);
		ok(w.error == ETF_OK &&
			(v->data == NULL ||
			    (w.len == v->len &&
				(w.len == 0 ||
				    memcmp(w.data, v->data, w.len) == 0))),
		    "put %s", v->name);
		ok(keeps_maximum(v, w.data, w.len), "put %s: any maximum",
		    v->name);
		ok(keeps_without_memory(v, w.data, w.len),
		    "put %s: no allocation succeeds", v->name);
		etf_free(&w);
	}
}

PUT(nan, etf_put_float(w, __builtin_nan("")))
PUT(infinity, etf_put_float(w, -__builtin_inf()))
PUT(latin1, etf_put_atom(w, "\xe9"))
PUT(surrogate, etf_put_atom(w, "\xed\xa0\x80"))
PUT(long_atom, etf_put_atom(w, A240 A16))
#if SIZE_MAX > UINT32_MAX
PUT(huge, etf_put_binary(w, "", UINT32_MAX))
#endif

static const struct {
	put_fn *put;
	const char *why;
	enum etf_error error;
} unwritable[] = {
    {put_nan, "not a number", ETF_INVALID},
    {put_infinity, "minus infinity", ETF_INVALID},
    {put_latin1, "an atom of no UTF-8", ETF_INVALID},
    {put_surrogate, "an atom of a surrogate", ETF_INVALID},
    {put_long_atom, "an atom of 256 characters", ETF_RANGE},
#if SIZE_MAX > UINT32_MAX
    {put_huge, "a binary of 4 GiB", ETF_TOOBIG},
#endif
};

static void
test_writer(void)
{
	struct etf_writer w;
	bool good;

	for (size_t i = 0; i < COUNT(unwritable); i++) {
		etf_init(&w, SIZE_MAX);
		etf_put_nil(&w);
		unwritable[i].put(&w);
		ok(w.len == 1 && is_stuck(&w, unwritable[i].error), "put: %s",
		    unwritable[i].why);
		etf_free(&w);
	}
	etf_init(&w, 2000000);
	refuse(0);
	for (good = true; w.len < 1500000;) {
		etf_put_int(&w, (int64_t)w.len);
		good &= w.cap >= w.len && w.cap <= 2 * w.len + 64;
	}
	ok(good && w.error == ETF_OK && allocations < 20,
	    "the writer grows by doubling: %u times", allocations);
	etf_rewind(&w, 7);
	etf_put_nil(&w);
	ok(w.len == 8 && w.error == ETF_OK, "rewind forgets the rest");
	etf_rewind(&w, 9);
	ok(w.len == 8, "rewind goes back only");
	etf_free(&w);
}

int
main(void)
{
	struct etf_writer w;

	etf_init(&w, 1);
	refuse(1);
	etf_put_nil(&w);
	if (!ok(w.error == ETF_NOMEM, "linked with -Wl,--wrap=realloc"))
		return 1;
	refuse(0);
	test_vectors();
	test_types();
	test_tags();
	test_open();
	test_string_elements();
	test_check();
	test_keys();
	test_limits();
	test_deep_iodata();
	test_iodata_memory();
	test_written();
	test_writer();
	printf("1..%u\n%u passed, %u failed, 0 skipped\n", passed + failed,
	    passed, failed);
	return failed > 0;
}
