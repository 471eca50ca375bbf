/* SPDX-License-Identifier: MIT */
#include "latido/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int lt_fail(struct lt_err *err, int code, enum lt_class cls, const char *op, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	if (err) {
		err->code = code;
		err->cls = cls;
		err->op = op;
		va_start(ap, fmt);
		vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
		va_end(ap);
	}
	errno = saved;
	return code;
}

void lt_err_prefix(struct lt_err *err, const char *fmt, ...)
{
	char old[sizeof(err->msg)];
	size_t n;
	va_list ap;

	if (!err)
		return;
	memcpy(old, err->msg, sizeof(old));
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	n = strlen(err->msg);
	snprintf(err->msg + n, sizeof(err->msg) - n, ": %s", old);
}

const char *lt_code_name(int code)
{
	switch (code) {
	case LT_OK:
		return "LT_OK";
	case LT_EINVAL:
		return "LT_EINVAL";
	case LT_EIO:
		return "LT_EIO";
	case LT_EAGAIN:
		return "LT_EAGAIN";
	case LT_EFULL:
		return "LT_EFULL";
	case LT_EDATA:
		return "LT_EDATA";
	case LT_EAUTH:
		return "LT_EAUTH";
	case LT_ESTOPPED:
		return "LT_ESTOPPED";
	case LT_ESHAPE:
		return "LT_ESHAPE";
	case LT_ECONF:
		return "LT_ECONF";
	case LT_ETIMEOUT:
		return "LT_ETIMEOUT";
	case LT_ECONFLICT:
		return "LT_ECONFLICT";
	default:
		return "LT_E?";
	}
}
