/* SPDX-License-Identifier: MIT */
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static _Noreturn void die(const char *what, const char *path)
{
	fprintf(stderr, "tree: %s %s: %s\n", what, path, strerror(errno));
	abort();
}

const char *tree_path(const struct tree *t, const char *path)
{
	static char buf[4][4096];
	static unsigned next;
	char *out = buf[next++ % 4];

	snprintf(out, sizeof(buf[0]), "%s/%s", t->root, path);
	return out;
}

static void make_folders(const char *path)
{
	char part[4096];

	snprintf(part, sizeof(part), "%s", path);
	for (char *p = strchr(part + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			die("mkdir", part);
		*p = '/';
	}
}

void tree_write(const struct tree *t, const char *path, const void *data, size_t size)
{
	const char *full = tree_path(t, path);
	int fd;

	make_folders(full);
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		die("write", full);
	close(fd);
}

void tree_print(const struct tree *t, const char *path, const char *fmt, ...)
{
	char *text;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		die("format", path);
	tree_write(t, path, text, (size_t)n);
	free(text);
}

char *tree_read(const struct tree *t, const char *path, size_t *size)
{
	const char *full = tree_path(t, path);
	int fd = open(full, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *text;

	if (fd < 0 || fstat(fd, &st) < 0)
		die("open", full);
	text = malloc((size_t)st.st_size + 1);
	if (!text || read(fd, text, (size_t)st.st_size) != st.st_size)
		die("read", full);
	close(fd);
	text[st.st_size] = '\0';
	*size = (size_t)st.st_size;
	return text;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	if (remove(path) < 0)
		die("remove", path);
	return 0;
}

void tree_remove(const struct tree *t, const char *path)
{
	(void)nftw(tree_path(t, path), remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* nftw(3) has no argument for its function */
static struct {
	const struct tree *to;
	size_t skip;
	void (*fn)(void *arg, const char *path);
	void *arg;
} walk;

static int copy_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	/* the folder itself has nothing behind it */
	const char *rest = strlen(path) < walk.skip ? "" : path + walk.skip;
	const char *to = tree_path(walk.to, rest);
	char target[4096];
	ssize_t n;

	(void)ftw;
	if (flag == FTW_D) {
		if (mkdir(to, 0755) < 0 && errno != EEXIST)
			die("mkdir", to);
	} else if (flag == FTW_SL) {
		n = readlink(path, target, sizeof(target) - 1);
		if (n < 0)
			die("readlink", path);
		target[n] = '\0';
		if (symlink(target, to) < 0)
			die("symlink", to);
	} else if (S_ISREG(st->st_mode)) {
		char *data = malloc((size_t)st->st_size + 1);
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (!data || fd < 0 || read(fd, data, (size_t)st->st_size) != st->st_size)
			die("read", path);
		close(fd);
		tree_write(walk.to, rest, data, (size_t)st->st_size);
		free(data);
	}
	return 0;
}

void tree_init(struct tree *t, const char *from)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(t->root, sizeof(t->root), "%s/latido-tree-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(t->root))
		die("mkdtemp", t->root);
	if (!from)
		return;
	walk.to = t;
	walk.skip = strlen(from) + 1;
	if (nftw(from, copy_one, 16, FTW_PHYS) < 0)
		die("copy", from);
}

void tree_fini(struct tree *t)
{
	(void)nftw(t->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int file_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (flag == FTW_F)
		walk.fn(walk.arg, path + walk.skip);
	return 0;
}

void tree_each_file(const struct tree *t, void (*fn)(void *arg, const char *path), void *arg)
{
	walk.skip = strlen(t->root) + 1;
	walk.fn = fn;
	walk.arg = arg;
	if (nftw(t->root, file_one, 16, FTW_PHYS) < 0)
		die("walk", t->root);
}
