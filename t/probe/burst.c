/* SPDX-License-Identifier: ISC */
/*
 * burst BYTES [wait]: writes so many bytes, as fast as they are taken, and ends at
 * once; with wait not before a byte came in. Each eight bytes are the hexadecimal
 * number of their place in their MiB, so that nothing lost or moved looks right.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char block[1 << 20];

static void
number(char *s, unsigned long n)
{
	for (int i = 7; i >= 0; i--, n >>= 4)
		s[i] = "0123456789abcdef"[n & 15];
}

int
main(int argc, char *argv[])
{
	unsigned long left, len, n;
	ssize_t out;
	char c;

	if (argc < 2)
		return 64;
	for (n = 0; n < sizeof(block) / 8; n++)
		number(block + 8 * n, n);
	if (argc > 2 && read(0, &c, 1) != 1)
		return 65;
	left = strtoul(argv[1], NULL, 10);
	for (n = 0; left > 0; n = (n + (size_t)out) % sizeof(block)) {
		len = sizeof(block) - n < left ? sizeof(block) - n : left;
		out = write(1, block + n, len);
		if (out <= 0)
			return 74;
		left -= (size_t)out;
	}
	return 0;
}
