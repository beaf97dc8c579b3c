/* SPDX-License-Identifier: ISC */
/*
 * Runs a fuzz target over the files named: each one whole, cut at every byte,
 * and with every byte changed in turn. Without libFuzzer, so with any compiler.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (64u << 10)
#define CHANGE_MAX 4096u /* a larger file is only run whole */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* On the heap and no byte too long, so that AddressSanitizer sees its end. */
static void
run(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	if (copy == NULL)
		abort();
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static void
change(uint8_t *data, size_t size)
{
	static const uint8_t masks[] = {0x01, 0x80, 0xff};

	for (size_t i = 0; i < size; i++) {
		run(data, i);
		for (size_t m = 0; m < sizeof(masks); m++) {
			data[i] ^= masks[m];
			run(data, size);
			data[i] ^= masks[m];
		}
	}
}

int
main(int argc, char **argv)
{
	static uint8_t data[FILE_MAX];

	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");
		size_t size;

		if (f == NULL) {
			perror(argv[i]);
			return 1;
		}
		size = fread(data, 1, sizeof(data), f);
		fclose(f);
		run(data, size);
		if (size <= CHANGE_MAX)
			change(data, size);
	}
	printf("%d inputs\n", argc - 1);
	return argc > 1 ? 0 : 1;
}
