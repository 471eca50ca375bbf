// SPDX-License-Identifier: MIT
// What must not be in a module; each match is a line on standard output (--mode report).
virtual report

@lock_left exists@
expression l;
position p;
@@
mutex_lock@p(l);
... when != mutex_unlock(l)
return ...;

@script:python depends on report@
p << lock_left.p;
@@
print("%s:%s: returns with the mutex held" % (p[0].file, p[0].line))

@rcu_left exists@
position p;
@@
rcu_read_lock@p();
... when != rcu_read_unlock()
return ...;

@script:python depends on report@
p << rcu_left.p;
@@
print("%s:%s: returns inside rcu_read_lock()" % (p[0].file, p[0].line))

@rcu_sleep exists@
position p;
@@
rcu_read_lock();
... when != rcu_read_unlock()
(
cond_resched@p();
|
mutex_lock@p(...);
|
mmput@p(...);
|
msleep@p(...);
|
kvcalloc@p(...)
)

@script:python depends on report@
p << rcu_sleep.p;
@@
print("%s:%s: may sleep inside rcu_read_lock()" % (p[0].file, p[0].line))

@task_left exists@
expression t;
position p;
@@
task_lock@p(t);
... when != task_unlock(t)
return ...;

@script:python depends on report@
p << task_left.p;
@@
print("%s:%s: returns with the task locked" % (p[0].file, p[0].line))

@floating@
position p;
@@
(
float@p
|
double@p
)

@script:python depends on report@
p << floating.p;
@@
print("%s:%s: floating point" % (p[0].file, p[0].line))
