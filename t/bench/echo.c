/* SPDX-License-Identifier: ISC */
/*
 * What a port cannot be faster than: sends every {packet,4} frame back as it is,
 * with one read and one write for a frame that arrives whole.
 */
#include <stdint.h>
#include <string.h>
#include <unistd.h>

static uint8_t buf[4 + (64u << 10)];

static size_t
frame_size(void)
{
	return 4 + ((size_t)buf[0] << 24 | (size_t)buf[1] << 16 |
		       (size_t)buf[2] << 8 | (size_t)buf[3]);
}

int
main(void)
{
	size_t len = 0;

	for (;;) {
		ssize_t n = read(0, buf + len, sizeof(buf) - len);

		if (n <= 0)
			return n < 0;
		len += (size_t)n;
		while (len >= 4 && len >= frame_size()) {
			size_t size = frame_size();

			if (write(1, buf, size) != (ssize_t)size)
				return 1;
			len -= size;
			memmove(buf, buf + size, len);
		}
	}
}
