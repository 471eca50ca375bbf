#!/bin/sh
# SPDX-License-Identifier: MIT
#
# tests/kmod/lint.sh KDIR OUT: the modules under sparse, W=1, gcc's analyzer, coccinelle and, where Debian's
# linux-source is installed, the kernel's own coccinelle rules and checkpatch. One line each; fails
# with what was found.

set -eu
unset MAKEFLAGS MFLAGS MAKELEVEL # of the make that calls: its job server is not ours
kdir=$1
mkdir -p "$2"
out=$(cd "$2" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$here")")
work=$out/lint
failed=

report() { # NAME LOG: the log is empty when all is well
	if [ -s "$2" ]; then
		echo "$1: found"
		cat "$2"
		failed=1
	else
		echo "$1: clean"
	fi
}

compile() { # NAME ARG...: warnings and errors into $work/NAME.found
	name=$1
	shift
	rm -rf "${work:?}/$name"
	mkdir -p "$work/$name"
	cp "$root"/kmod/*.[ch] "$root/kmod/Kbuild" "$work/$name/"
	if ! make -C "$kdir" M="$work/$name" "$@" modules >"$work/$name.log" 2>&1; then
		cp "$work/$name.log" "$work/$name.found"
	else
		grep -E '(warning|error):' "$work/$name.log" >"$work/$name.found" || true
	fi
	report "$name" "$work/$name.found"
}

mkdir -p "$work"
compile warnings W=1
compile sparse C=2 CF=-Wsparse-error
compile analyzer KCFLAGS=-fanalyzer

cocci() { # NAME RULES
	spatch --very-quiet --no-show-diff -D report --sp-file "$2" "$root"/kmod/*.c \
		>>"$work/$1.found" 2>>"$work/$1.log" || echo "$2: spatch failed" >>"$work/$1.found"
}
: >"$work/coccinelle.found"
cocci coccinelle "$here/cocci/rules.cocci"
report coccinelle "$work/coccinelle.found"

tarball=$(find /usr/src -maxdepth 1 -name 'linux-source-*.tar.xz' | sort -V | tail -n 1)
if [ -z "$tarball" ]; then
	echo "checkpatch, the kernel's coccinelle rules: not run, linux-source is not installed"
else
	name=$(basename "$tarball" .tar.xz)
	if [ ! -e "$out/$name-scripts/complete" ]; then
		rm -rf "$out/$name-scripts"
		mkdir -p "$out/$name-scripts"
		tar -x -C "$out/$name-scripts" --strip-components=1 -f "$tarball" --wildcards \
			"$name/scripts/checkpatch.pl" "$name/scripts/spelling.txt" \
			"$name/scripts/const_structs.checkpatch" "$name/scripts/coccinelle/*"
		: >"$out/$name-scripts/complete"
	fi
	: >"$work/checkpatch.found"
	# A module of its own asks for the kernel's version (compat.h), and exports a pure file's functions.
	for f in "$root"/kmod/*.[ch]; do
		perl "$out/$name-scripts/scripts/checkpatch.pl" --no-tree --terse --no-summary --max-line-length=100 \
			--ignore LINUX_VERSION_CODE,CONSTANT_COMPARISON,EXPORT_SYMBOL \
			-f "$f" >>"$work/checkpatch.found" || true
	done
	report checkpatch "$work/checkpatch.found"
	: >"$work/kernel-rules.found"
	for rule in api/alloc api/kvmalloc api/memdup free/kfree free/ifnullfree locks/double_lock \
		locks/call_kern locks/mini_lock misc/returnvar misc/semicolon null/eno null/deref_null \
		misc/array_size iterators/itnull tests/unsigned_lesser_than_zero; do
		path=$out/$name-scripts/scripts/coccinelle/$rule.cocci
		[ ! -e "$path" ] || cocci kernel-rules "$path"
	done
	report "the kernel's coccinelle rules" "$work/kernel-rules.found"
fi
[ -z "$failed" ]
