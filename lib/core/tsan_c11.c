/* SPDX-License-Identifier: MIT */
/*
 * Only in builds with ThreadSanitizer. librdkafka uses C11's threads, of which the sanitizer of
 * gcc 12 knows nothing: a thread that it has not seen starting crashes it. Here the same functions
 * by pthreads, which it knows; glibc's types of both are the same.
 */
#ifdef __SANITIZE_THREAD__
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "mtx_t is a pthread_mutex_t");
_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "cnd_t is a pthread_cond_t");

struct start {
	thrd_start_t fn;
	void *arg;
};

static int result(int rc)
{
	return rc == 0           ? thrd_success
	       : rc == ENOMEM    ? thrd_nomem
	       : rc == EBUSY     ? thrd_busy
	       : rc == ETIMEDOUT ? thrd_timedout
				 : thrd_error;
}

static void *run(void *p)
{
	struct start s = *(struct start *)p;

	free(p);
	return (void *)(intptr_t)s.fn(s.arg);
}

int thrd_create(thrd_t *t, thrd_start_t fn, void *arg)
{
	struct start *s = malloc(sizeof(*s));
	int rc;

	if (!s)
		return thrd_nomem;
	*s = (struct start){fn, arg};
	rc = pthread_create(t, NULL, run, s);
	if (rc)
		free(s);
	return result(rc);
}

int thrd_join(thrd_t t, int *res)
{
	void *value = NULL;
	int rc = pthread_join(t, &value);

	if (res)
		*res = (int)(intptr_t)value;
	return result(rc);
}

int thrd_detach(thrd_t t)
{
	return result(pthread_detach(t));
}

int mtx_init(mtx_t *m, int type)
{
	pthread_mutexattr_t a;
	int rc;

	pthread_mutexattr_init(&a);
	pthread_mutexattr_settype(
		&a, type & mtx_recursive ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_NORMAL);
	rc = pthread_mutex_init((pthread_mutex_t *)m, &a);
	pthread_mutexattr_destroy(&a);
	return result(rc);
}

void mtx_destroy(mtx_t *m)
{
	pthread_mutex_destroy((pthread_mutex_t *)m);
}

int mtx_lock(mtx_t *m)
{
	return result(pthread_mutex_lock((pthread_mutex_t *)m));
}

int mtx_trylock(mtx_t *m)
{
	return result(pthread_mutex_trylock((pthread_mutex_t *)m));
}

int mtx_unlock(mtx_t *m)
{
	return result(pthread_mutex_unlock((pthread_mutex_t *)m));
}

int cnd_init(cnd_t *c)
{
	return result(pthread_cond_init((pthread_cond_t *)c, NULL));
}

void cnd_destroy(cnd_t *c)
{
	pthread_cond_destroy((pthread_cond_t *)c);
}

int cnd_signal(cnd_t *c)
{
	return result(pthread_cond_signal((pthread_cond_t *)c));
}

int cnd_broadcast(cnd_t *c)
{
	return result(pthread_cond_broadcast((pthread_cond_t *)c));
}

int cnd_wait(cnd_t *c, mtx_t *m)
{
	return result(pthread_cond_wait((pthread_cond_t *)c, (pthread_mutex_t *)m));
}

int cnd_timedwait(cnd_t *c, mtx_t *m, const struct timespec *until)
{
	return result(pthread_cond_timedwait((pthread_cond_t *)c, (pthread_mutex_t *)m, until));
}
#else
typedef int lt_tsan_c11_unused; /* a translation unit must not be empty */
#endif
