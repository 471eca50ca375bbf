#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Does it work on a fresh machine? Bootstraps a Debian 12 into a folder, clones this repository's
# HEAD into a copy of it, and runs README's commands there, as root and as an ordinary user with
# sudo. Needs root, debootstrap and about 5 GB; the host's own packages and services are not used.
#
#	infra/ci/fresh.sh [FOLDER]		default: a temporary one, removed at the end
#
#	AS="root user"		as whom
#	TARGETS="demo test"	which make targets
#
# A given FOLDER is kept; the bootstrapped system in it (FOLDER/base) is used again by the next run.

set -eu

die() { printf 'fresh: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" -eq 0 ] || die "run it as root: it makes a chroot"
command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap"
repository=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
as=${AS-root user}
targets=${TARGETS-demo test}

if [ $# -gt 0 ]; then
	mkdir -p "$1"
	folder=$(cd "$1" && pwd)
else
	folder=$(mktemp -d /var/tmp/latido-fresh-XXXXXX)
	trap 'rm -rf "$folder"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
fi
base=$folder/base

# The mirror and the suites that this machine itself uses.
# shellcheck disable=SC2016	# apt-get's own format
apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Identifier: Packages' 'Origin: Debian' |
	sort -u | grep '^[^ ]* bookworm' >"$folder/suites" ||
	die "no Debian 12 among the package sources of this machine (apt-get update?)"
mirror=$(awk '$2 == "bookworm" { print $1; exit }' "$folder/suites")
[ -n "$mirror" ] || die "no suite bookworm among the package sources of this machine"

if [ ! -e "$base/.complete" ]; then
	rm -rf "$base"
	echo "fresh: bootstrapping Debian 12"
	# git and make are what README asks for; sudo is there for the ordinary user.
	debootstrap --variant=minbase --include=ca-certificates,git,make,sudo bookworm "$base" "$mirror" \
		>"$folder/debootstrap.log" 2>&1 || die "debootstrap failed, see $folder/debootstrap.log"
	awk '{ print "deb", $1, $2, $3 }' "$folder/suites" >"$base/etc/apt/sources.list"
	chroot "$base" useradd --create-home --shell /bin/bash tester
	echo 'tester ALL=(ALL) NOPASSWD: ALL' >"$base/etc/sudoers.d/tester"
	touch "$base/.complete"
fi

failed=
for user in $as; do
	case $user in
	root) home=/root name=root ;;
	user) home=/home/tester name=tester ;;
	*) die "AS is root, user or both, not $user" ;;
	esac
	system=$folder/$user
	rm -rf "$system"
	cp -a "$base" "$system"
	cp -L /etc/resolv.conf /etc/hosts "$system/etc/"
	git clone -q "$repository" "$system$home/latido"
	chroot "$system" chown -R "$name:" "$home/latido"
	for target in $targets; do
		log=$folder/$user-$target.log
		echo "fresh: make $target as $user (log: $log)"
		# shellcheck disable=SC2016	# expanded by the inner shell
		# Own mounts and processes: whatever is left goes with the namespace, and is reported.
		if unshare --mount-proc --pid --fork --kill-child sh -eu -c '
			mount --make-rprivate /
			mount -t proc proc "$1/proc"
			mount --rbind /sys "$1/sys"
			mount --rbind /dev "$1/dev"
			mount -t tmpfs tmpfs "$1/dev/shm"
			code=0
			chroot "$1" su - "$2" -c "cd latido && DEMO_SECONDS=10 make $3" </dev/null || code=$?
			left=$(ps -e -o pid=,args= | grep -v -e "^ *$$ " -e " ps -e" -e " grep " || true)
			[ -z "$left" ] || { echo "left running:"; echo "$left"; code=1; }
			left=$(ls -d "$1"/tmp/latido* 2>/dev/null || true)
			[ -z "$left" ] || { echo "left in /tmp: $left"; code=1; }
			exit $code
		' sh "$system" "$name" "$target" >"$log" 2>&1; then
			echo "fresh: make $target as $user: passed: $(tail -n 1 "$log")"
		else
			echo "fresh: make $target as $user: FAILED; the log ends:"
			tail -n 40 "$log"
			rm -rf "${log%.log}"
			cp -a "$system$home/latido/build/test" "${log%.log}" 2>/dev/null || true
			failed=1
		fi
	done
	rm -rf "$system"
done
[ -z "$failed" ] || exit 1
