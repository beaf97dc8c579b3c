/* SPDX-License-Identifier: ISC */
/*
 * Linked into what is built with SAN=1. The sanitizers' options are compiled in
 * because the port clears its environment, and reports go to files because the
 * port's standard error is its log; t/check.sh takes each file for a failure.
 *
 * A segmentation fault stays one, so that a worker's end is what the suites
 * expect it to be. Forked workers leave by _exit with the port's memory in their
 * hands: leaks are looked for in the unit tests only.
 */
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *
__asan_default_options(void)
{
	return "log_path=" SAN_LOG ":abort_on_error=1:detect_leaks=0:"
	       "handle_segv=0:handle_sigbus=0:handle_abort=0:"
	       "detect_stack_use_after_return=1:strict_string_checks=1:"
	       "quarantine_size_mb=1:allocator_release_to_os_interval_ms=100";
}

const char *
__ubsan_default_options(void)
{
	return "log_path=" SAN_LOG ":print_stacktrace=1";
}
