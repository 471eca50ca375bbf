/* SPDX-License-Identifier: MIT */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool_int.h"

/*
 * One page: what never changes in an epoch, under one checksum, and figures that do, each beside
 * its complement. It is mapped: a store into it survives a kill of the process and waits for no
 * disk. What it says after the machine itself went down is not relied upon (LT_SPOOL_CRASHED).
 *
 *	"LTSPHEAD"  u32 crc of [12, 512)  u32 version  u64 inode  u64 birth  u64 machine  u64 epoch
 *	source
 *	at 512: u64 value, u64 ~value, for each enum head_field
 */

#define HEAD_NAME  "head"
#define HEAD_MAGIC "LTSPHEAD"
#define HEAD_BYTES 4096
#define FIXED_END  512
#define VERSION    1u
#define FIELDS     6

static _Atomic uint64_t *field(const struct head *h, enum head_field f)
{
	return (_Atomic uint64_t *)(void *)(h->map + FIXED_END + 16 * (size_t)f);
}

uint64_t head_get(const struct head *h, enum head_field f)
{
	return le64toh(atomic_load_explicit(field(h, f), memory_order_relaxed));
}

void head_set(struct head *h, enum head_field f, uint64_t v)
{
	atomic_store_explicit(field(h, f), htole64(v), memory_order_relaxed);
	atomic_store_explicit(field(h, f) + 1, htole64(~v), memory_order_relaxed);
}

static uint64_t hash_file(const char *path)
{
	char text[128];
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text));
	close(fd);
	if (n <= 0)
		return 0;
	/* Not a secret and not a key: two ids have to differ, no more. */
	return (uint64_t)lt_crc32c(0, text, (size_t)n) << 32 | lt_crc32c(~0u, text, (size_t)n / 2);
}

uint64_t machine_hash(const char *path)
{
	return hash_file(path ? path : "/etc/machine-id");
}

uint64_t boot_hash(void)
{
	return hash_file("/proc/sys/kernel/random/boot_id");
}

/* What a copy of the file does not have: its inode, and when that was made. */
static void identity(int fd, uint64_t out[2])
{
	struct statx st;

	out[0] = out[1] = 0;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st) < 0)
		return;
	out[0] = st.stx_ino;
	if (st.stx_mask & STATX_BTIME)
		out[1] = (uint64_t)st.stx_btime.tv_sec * 1000000000u + st.stx_btime.tv_nsec;
}

static bool parse(struct head *h, const uint8_t *p, uint64_t id[2])
{
	uint32_t crc, version;
	size_t len;

	memcpy(&crc, p + 8, 4);
	memcpy(&version, p + 12, 4);
	if (memcmp(p, HEAD_MAGIC, 8) != 0 || le32toh(crc) != lt_crc32c(0, p + 12, FIXED_END - 12) ||
		le32toh(version) != VERSION)
		return false;
	id[0] = get64(p + 16);
	id[1] = get64(p + 24);
	h->machine = get64(p + 32);
	h->epoch = get64(p + 40);
	len = strnlen((const char *)p + 48, sizeof(h->source) - 1);
	memcpy(h->source, p + 48, len);
	h->source[len] = '\0';
	for (int f = 0; f < FIELDS; f++)
		if (get64(p + FIXED_END + 16 * f) != ~get64(p + FIXED_END + 16 * f + 8))
			return false;
	return h->epoch > 0;
}

static void compose(const struct head *h, const uint64_t id[2], uint8_t *p)
{
	uint32_t crc, version = htole32(VERSION);

	memset(p, 0, FIXED_END);
	memcpy(p, HEAD_MAGIC, 8);
	memcpy(p + 12, &version, 4);
	put64(p + 16, id[0]);
	put64(p + 24, id[1]);
	put64(p + 32, h->machine);
	put64(p + 40, h->epoch);
	memcpy(p + 48, h->source, strlen(h->source));
	crc = htole32(lt_crc32c(0, p + 12, FIXED_END - 12));
	memcpy(p + 8, &crc, 4);
}

static int map(struct head *h, struct lt_err *err)
{
	h->map = mmap(NULL, HEAD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, h->fd, 0);
	if (h->map != MAP_FAILED)
		return LT_OK;
	h->map = NULL;
	return lt_fail(err, LT_EIO, LT_CLS_RETRY, "spool.open", "cannot map the spool's head: %s",
		strerror(errno));
}

int head_load(struct head *h, int dir_fd, bool *copied, struct lt_err *err)
{
	uint64_t was[2], is[2];
	struct stat st;
	int rc;

	h->fd = openat(dir_fd, HEAD_NAME, O_RDWR | O_CLOEXEC);
	if (h->fd < 0 && errno == ENOENT)
		return LT_EAGAIN;
	if (h->fd < 0 || fstat(h->fd, &st) < 0)
		return lt_fail(err, LT_EIO, LT_CLS_RETRY, "spool.open",
			"cannot open the spool's head: %s", strerror(errno));
	/* Bytes behind the end of the file could not be touched: SIGBUS. */
	if (st.st_size != HEAD_BYTES)
		return lt_fail(err, LT_EDATA, LT_CLS_POISON, "spool.open",
			"the spool's head has %lld bytes instead of %d", (long long)st.st_size,
			HEAD_BYTES);
	rc = map(h, err);
	if (rc != LT_OK)
		return rc;
	if (!parse(h, h->map, was))
		return lt_fail(
			err, LT_EDATA, LT_CLS_POISON, "spool.open", "the spool's head is damaged");
	identity(h->fd, is);
	*copied = was[0] != is[0] || was[1] != is[1];
	return LT_OK;
}

int head_read_only(struct head *h, int dir_fd, uint64_t fields[FIELDS], struct lt_err *err)
{
	uint8_t page[HEAD_BYTES];
	uint64_t id[2];
	ssize_t n;
	int fd = openat(dir_fd, HEAD_NAME, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return lt_fail(
			err, LT_EIO, LT_CLS_RETRY, "spool.inspect", "head: %s", strerror(errno));
	n = pread(fd, page, sizeof(page), 0);
	close(fd);
	if (n != HEAD_BYTES || !parse(h, page, id))
		return lt_fail(
			err, LT_EDATA, LT_CLS_POISON, "spool.inspect", "the head is damaged");
	for (int f = 0; f < FIELDS; f++)
		fields[f] = get64(page + FIXED_END + 16 * f);
	return LT_OK;
}

/* On a full disk there is no room for a second file: change the one that is there. */
static bool reuse(struct head *h)
{
	uint64_t id[2];

	if (!h->map)
		return false;
	identity(h->fd, id);
	for (int f = 0; f < FIELDS; f++)
		head_set(h, (enum head_field)f, 0);
	compose(h, id, h->map);
	return true;
}

int head_create(struct head *h, int dir_fd, struct lt_err *err)
{
	struct head fresh = *h;
	uint8_t page[HEAD_BYTES] = {0};
	uint64_t id[2];

	fresh.map = NULL;
	unlinkat(dir_fd, HEAD_NAME ".new", 0);
	fresh.fd = openat(dir_fd, HEAD_NAME ".new", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fresh.fd < 0)
		goto failed;
	identity(fresh.fd, id);
	compose(&fresh, id, page);
	for (int f = 0; f < FIELDS; f++)
		put64(page + FIXED_END + 16 * f + 8, ~UINT64_C(0));
	if (pwrite(fresh.fd, page, sizeof(page), 0) != HEAD_BYTES || fdatasync(fresh.fd) < 0 ||
		map(&fresh, err) != LT_OK ||
		renameat(dir_fd, HEAD_NAME ".new", dir_fd, HEAD_NAME) < 0)
		goto failed;
	fsync(dir_fd);
	head_close(h);
	*h = fresh;
	return LT_OK;
failed:
	lt_fail(err, LT_EIO, LT_CLS_RETRY, "spool.head", "cannot write the spool's head: %s",
		strerror(errno));
	head_close(&fresh);
	return reuse(h) ? LT_OK : LT_EIO;
}

void head_close(struct head *h)
{
	if (h->map)
		munmap(h->map, HEAD_BYTES);
	if (h->fd >= 0)
		close(h->fd);
	h->map = NULL;
	h->fd = -1;
}
