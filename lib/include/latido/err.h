/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_ERR_H
#define LATIDO_ERR_H

#include <stddef.h>

#define LT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define LT_MUST_CHECK        __attribute__((warn_unused_result))
#define LT_ARRAY_LEN(a)      (sizeof(a) / sizeof((a)[0]))

/** enum lt_code - what went wrong; functions return LT_OK or one of the negative codes. */
enum lt_code {
	LT_OK = 0,
	LT_EINVAL = -1,   /* the caller's argument is wrong */
	LT_EIO = -2,      /* the peer or the system failed; may work later */
	LT_EAGAIN = -3,   /* nothing there now */
	LT_EFULL = -4,    /* a bounded thing is full; retry when it says so */
	LT_EDATA = -5,    /* this record can never be processed */
	LT_EAUTH = -6,    /* refused: credentials or permissions */
	LT_ESTOPPED = -7, /* shutting down */
	LT_ESHAPE = -8,   /* the event names a shape that is not known here (yet) */
	LT_ECONF = -9,    /* configuration is wrong */
	LT_ETIMEOUT = -10,
	LT_ECONFLICT = -11, /* somebody else changed it first; reload and redo */
};

/**
 * enum lt_class - what the runtime does about it
 *
 * RETRY: keep the work, back off, try again. POISON: one record is bad; dead-letter it and go on.
 * CONFIG: a human has to change something. FATAL: our own bug or an unusable system; exit.
 */
enum lt_class { LT_CLS_NONE = 0, LT_CLS_RETRY, LT_CLS_POISON, LT_CLS_CONFIG, LT_CLS_FATAL };

/**
 * struct lt_err - one error, filled by the first function that knows the reason
 * @op: static string that names the operation, e.g. "pg.commit".
 * @msg: one sentence for a human, with the remedy where there is one; no trailing newline.
 *
 * Passed as the last parameter, may be NULL. No allocation happens while failing.
 */
struct lt_err {
	int code;
	enum lt_class cls;
	const char *op;
	char msg[512];
};

/**
 * lt_fail() - fill @err and return @code
 * @err: may be NULL.
 *
 * errno is saved around formatting. Return: @code, so that callers write `return lt_fail(...)`.
 */
int lt_fail(struct lt_err *err, int code, enum lt_class cls, const char *op, const char *fmt, ...)
	LT_PRINTF(5, 6);

/** lt_err_prefix() - put "text: " in front of an error's message; NULL @err is fine. */
void lt_err_prefix(struct lt_err *err, const char *fmt, ...) LT_PRINTF(2, 3);

/** lt_code_name() - "LT_EIO" and so on; never NULL. */
const char *lt_code_name(int code);

#endif
