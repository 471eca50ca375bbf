/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_TEST_TREE_H
#define LATIDO_TEST_TREE_H

#include <stddef.h>

/* A folder for one test, for programs that read files: made under $TMPDIR, removed as a whole. */
struct tree {
	char root[256];
};

/** tree_init() - empty, or a copy of the folder @from (symbolic links stay links). */
void tree_init(struct tree *t, const char *from);
void tree_fini(struct tree *t);

/** tree_path() - "<root>/<path>", in one of a few static buffers. */
const char *tree_path(const struct tree *t, const char *path);
/** tree_write() - (over)write a file in place; makes its folders. */
void tree_write(const struct tree *t, const char *path, const void *data, size_t size);
void tree_print(const struct tree *t, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/** tree_read() - whole file, heap, NUL-terminated. */
char *tree_read(const struct tree *t, const char *path, size_t *size);
/** tree_remove() - a file or a folder with all in it; nothing there is fine. */
void tree_remove(const struct tree *t, const char *path);
/** tree_each_file() - call @fn with the path (below root) of every regular file. */
void tree_each_file(const struct tree *t, void (*fn)(void *arg, const char *path), void *arg);

#endif
