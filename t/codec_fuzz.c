/* SPDX-License-Identifier: ISC */
/*
 * What etf_check() accepts, the getters read, and what the writer makes of it
 * is accepted again (but for the limits, which a STRING written as a LIST may
 * reach when it is long) and comes out the same. Nothing is read beyond the end,
 * which AddressSanitizer watches.
 */
#include <stdlib.h>
#include <string.h>

#include "transcode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct etf_writer w, again;
	struct etf_reader r;
	size_t len;
	bool ok = etf_check(data, size);

	etf_init(&w, 2 * size + 16);
	etf_init(&again, 2 * size + 16);
	if (!transcode(data, size, &w) && ok)
		abort();
	if (ok && size <= 1024 &&
	    (!etf_check(w.data, w.len) || !transcode(w.data, w.len, &again) ||
		w.len != again.len || memcmp(w.data, again.data, w.len) != 0))
		abort();
	etf_open(&r, data, size);
	free(etf_get_iodata(&r, size, &len));
	if (len > size || (r.error != ETF_OK && r.pos != r.end))
		abort();
	etf_free(&w);
	etf_free(&again);
	return 0;
}
