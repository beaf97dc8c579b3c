/* SPDX-License-Identifier: ISC */
/*
 * What a container has used, read from directories with files as the kernel
 * writes them: version 2, version 1, both, none. Real ones are the suites'.
 */
#include "../cgroup.c"

#include <inttypes.h>

static int passed, failed;

/* The container's lines of /proc/PID/cgroup are not needed here. */
size_t
ns_proc_read(pid_t pid, const char *name, char *text, size_t size)
{
	(void)pid, (void)name, (void)size;
	*text = '\0';
	return 0;
}

struct file {
	const char *name, *text;
};

static const struct file v2[] = {
    {"cpu.stat", "usage_usec 5000001\nuser_usec 3000000\nsystem_usec 2000001\n"
		 "core_sched.force_idle_usec 0\nnr_periods 7\nnr_throttled 3\n"
		 "throttled_usec 123456\nnr_bursts 0\nburst_usec 0\n"},
    {"memory.current", "52428800\n"}, {"memory.peak", "62914560\n"},
    {"memory.max", "max\n"},
    {"memory.stat", "anon 1000\nfile 2000\nkernel 3000\nfile_mapped 4000\n"
		    "inactive_anon 5000\nactive_file 6000\n"},
    {"memory.events", "low 0\nhigh 0\nmax 0\noom 2\noom_kill 1\n"
		      "oom_group_kill 0\n"},
    {"memory.swap.current", "4096\n"}, {"memory.swap.max", "8192\n"},
    {"pids.current", "12\n"}, {"pids.max", "max\n"},
    {"io.stat", "8:0 rbytes=100 wbytes=200 rios=3 wios=4 dbytes=5 dios=6\n"
		"259:1 rbytes=1000 wbytes=2000 rios=30 wios=40 dbytes=0 "
		"dios=0\n"},
    {"cpu.pressure", "some avg10=1.50 avg60=2.25 avg300=0.00 total=77\n"
		     "full avg10=0.50 avg60=0.00 avg300=0.00 total=7\n"},
    {"io.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"}, {0}};

static const struct file v1[] = {{"cpuacct.usage", "5000001999\n"},
    {"cpuacct.usage_user", "3000000000\n"},
    {"cpuacct.usage_sys", "2000001000\n"},
    {"cpu.stat", "nr_periods 7\nnr_throttled 3\nthrottled_time 123456000\n"
		 "nr_bursts 0\nburst_time 0\n"},
    {"memory.usage_in_bytes", "52428800\n"},
    {"memory.max_usage_in_bytes", "62914560\n"},
    {"memory.limit_in_bytes", "9223372036854771712\n"},
    {"memory.memsw.limit_in_bytes", "9223372036854771712\n"},
    {"memory.stat", "cache 1\nrss 2\nswap 3\ntotal_cache 2000\ntotal_rss 1000\n"
		    "total_rss_huge 9\ntotal_swap 4096\n"},
    {"memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"},
    {"pids.current", "12\n"}, {"pids.max", "max\n"},
    {"blkio.throttle.io_service_bytes_recursive",
	"8:0 Read 100\n8:0 Write 200\n8:0 Sync 1\n8:0 Total 300\n"
	"259:1 Read 1000\n259:1 Write 2000\nTotal 3300\n"},
    {"blkio.throttle.io_serviced_recursive",
	"8:0 Read 3\n8:0 Write 4\n259:1 Read 30\n259:1 Write 40\nTotal 77\n"},
    {0}};

static const struct file v1_limited[] = {{"memory.limit_in_bytes", "65536\n"},
    {"memory.memsw.limit_in_bytes", "98304\n"}, {"pids.max", "50\n"}, {0}};

static const struct file v2_idle[] = {{"io.stat", ""},
    {"cpu.stat", "usage_usec 1\nuser_usec 1\nsystem_usec 0\n"}, {0}};

/* A directory with the files, opened and gone. */
static int
dir_of(const struct file *files)
{
	char name[] = "/tmp/cgroup_test.XXXXXX";
	const int dir = mkdtemp(name) ? open(name, DIR_FLAGS) : -1;

	for (; files->name != NULL; files++) {
		const int fd =
		    openat(dir, files->name, O_WRONLY | O_CREAT | O_EXCL, 0600);

		if (fd < 0 || write(fd, files->text, strlen(files->text)) < 0)
			abort();
		close(fd);
	}
	return dir;
}

static void
dir_free(int dir, const struct file *files)
{
	char link[64], path[PATH_MAX];
	ssize_t n;

	for (; files->name != NULL; files++)
		unlinkat(dir, files->name, 0);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", dir);
	n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	rmdir(path);
	close(dir);
}

/* A term as text: maps as K V K V with a dot behind. */
static void
print(struct etf_reader *r, FILE *out)
{
	char atom[32];
	uint32_t n;

	if (etf_peek(r) == ETF_ATOM) {
		etf_get_atom(r, atom, sizeof(atom));
		fprintf(out, "%s ", atom);
	} else if (etf_peek(r) == ETF_INTEGER) {
		fprintf(out, "%" PRIu64 " ", etf_get_uint(r, UINT64_MAX));
	} else if (etf_peek(r) == ETF_FLOAT) {
		fprintf(out, "%.2f ", etf_get_float(r));
	} else {
		for (n = 2 * etf_get_map(r, 64); n > 0; n--)
			print(r, out);
		fprintf(out, ". ");
	}
}

static void
check(const char *what, const struct usage *u, const char *expected)
{
	struct etf_writer w;
	struct etf_reader r;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	etf_init(&w, 1u << 20);
	etf_put_version(&w);
	etf_put_map(&w, 6);
	put_usage(&w, u);
	etf_open(&r, w.data, w.len);
	print(&r, out);
	fclose(out);
	if (w.error == ETF_OK && etf_done(&r) && strstr(text, expected)) {
		passed++;
	} else {
		failed++;
		printf("%s:\n got %s\n not %s\n", what, text, expected);
	}
	free(text);
	etf_free(&w);
}

#define USED                                                              \
	"cpu usage_us 5000001 user_us 3000000 system_us 2000001 periods " \
	"7 throttled 3 throttled_us 123456 . memory usage 52428800 peak " \
	"62914560 limit infinity anon 1000 file 2000 oom_kills 1 . "
#define IO                                                     \
	"pids current 12 limit infinity . io read_bytes 1100 " \
	"write_bytes 2200 reads 33 writes 44 . "
#define NO "avg10 undefined avg60 undefined avg300 undefined "
#define NOTHING \
	"some " NO "total_us undefined . full " NO "total_us undefined . . "

int
main(void)
{
	const int two = dir_of(v2), one = dir_of(v1), idle = dir_of(v2_idle),
		  limited = dir_of(v1_limited);
	struct usage u = {.dirs = {two, -1, -1, -1, -1, -1}};

	check("version 2", &u, USED "swap usage 4096 limit 8192 . " IO);
	check("pressure", &u,
	    "pressure cpu some avg10 1.50 avg60 2.25 avg300 0.00 total_us 77 . "
	    "full avg10 0.50 avg60 0.00 avg300 0.00 total_us 7 . . "
	    "memory " NOTHING
	    "io some avg10 0.00 avg60 0.00 avg300 0.00 total_us 1 . "
	    "full " NO "total_us undefined . . . ");
	u = (struct usage){.dirs = {-1, one, one, one, one, one}};
	check("version 1", &u, USED "swap usage 4096 limit infinity . " IO);
	check("no pressure", &u,
	    "pressure cpu " NOTHING "memory " NOTHING "io " NOTHING ". . ");
	u = (struct usage){.dirs = {two, limited, limited, limited, -1, one}};
	check("limits of version 1", &u, "limit 65536 anon undefined ");
	check("its swap", &u, "swap usage undefined limit 32768 . ");
	check("version 2 for what is not in 1", &u, IO);
	u = (struct usage){.dirs = {idle, -1, -1, -1, -1, -1}};
	check("no controllers", &u,
	    "periods undefined throttled undefined throttled_us undefined . "
	    "memory usage undefined ");
	check("no device used", &u, "io read_bytes 0 write_bytes 0 reads 0 ");
	u = (struct usage){.dirs = {-1, -1, -1, -1, -1, -1}};
	check("no cgroup", &u, "cpu usage_us undefined ");
	dir_free(two, v2);
	dir_free(one, v1);
	dir_free(idle, v2_idle);
	dir_free(limited, v1_limited);
	printf("%d passed, %d failed\n", passed, failed);
	return failed > 0;
}
