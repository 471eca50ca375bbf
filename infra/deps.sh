#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Installs the Debian 12 packages that are missing, and says which. Does nothing when all are there.
#
#	infra/deps.sh [--check] [GROUP...]	groups: build demo test kafka kmod; default all of these
#
# Two more are installed only when they are named: kmod-debug (make test-kmod-debug) and bench (make bench).
#
# --check: install nothing, fail with the list and the remedy when something is missing.
# Not root: by sudo. Servers that get installed are neither started nor enabled: the demo and the
# tests start private ones. LATIDO_DEPS=skip: do nothing (other systems, packages under other names).

set -eu

build="gcc libc6-dev make git pkg-config scdoc
	libpaho-mqtt-dev libhiredis-dev libpq-dev librdkafka-dev libyaml-dev libevent-dev
	libxxhash-dev libsodium-dev libssl-dev libpcre2-dev libcurl4-openssl-dev"
# The page of the live view is built with them. Node from elsewhere is as good, and has npm inside.
command -v node >/dev/null && command -v npm >/dev/null || build="$build nodejs npm"
demo="mosquitto mosquitto-clients redis-server postgresql-15 python3"
test="libcmocka-dev zlib1g-dev clang-14 libclang-rt-14-dev clang-format-14 clang-tidy-14 shellcheck yamllint
	prometheus prometheus-alertmanager prometheus-node-exporter protobuf-compiler
	python3-pytest python3-psycopg2 python3-redis python3-paho-mqtt python3-protobuf python3-jsonschema
	python3-yaml pyflakes3 procps openssl jq tmux systemd chromium"
# Apache Kafka itself comes as jars: make kafka-jars.
kafka="openjdk-17-jre-headless maven"
# Headers to build the modules against, a machine to try them in, linters. The kernel is not installed.
kmod="linux-headers-amd64 qemu-system-x86 kmod sparse coccinelle"
# What the agent is compared with.
bench="collectd-core libmosquitto1"
kmod_debug="linux-source flex bison bc libelf-dev xz-utils"
# Services that come with these packages.
services="mosquitto redis-server postgresql prometheus prometheus-alertmanager prometheus-node-exporter collectd"

say() { printf 'deps: %s\n' "$*"; }
die() { printf 'deps: %s\n' "$*" >&2; exit 1; }

check=
[ "${1-}" != --check ] || { check=1; shift; }
[ "${LATIDO_DEPS-}" != skip ] || exit 0
[ $# -gt 0 ] || set -- build demo test kafka kmod
wanted=
for group in "$@"; do
	case $group in
	build) wanted="$wanted $build" ;;
	demo) wanted="$wanted $demo" ;;
	test) wanted="$wanted $test" ;;
	kafka) wanted="$wanted $kafka" ;;
	kmod) wanted="$wanted $kmod" ;;
	kmod-debug) wanted="$wanted $kmod_debug" ;;
	bench) wanted="$wanted $bench" ;;
	*) die "no such group: $group (build, demo, test, kafka, kmod, kmod-debug or bench)" ;;
	esac
done

find_missing() {
	# shellcheck disable=SC2086	# a list of words
	command -v dpkg-query >/dev/null || { printf '%s\n' $wanted; return; }
	# shellcheck disable=SC2016,SC2086	# dpkg-query's own format; a list of words
	have=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $wanted 2>/dev/null || true)
	for package in $wanted; do
		case "
$have
" in
		*"
$package installed
"*) ;;
		*) printf '%s\n' "$package" ;;
		esac
	done
}

missing=$(find_missing | tr '\n' ' ')
[ -n "$missing" ] || exit 0

system=unknown
codename=
if [ -r /etc/os-release ]; then
	# shellcheck source=/dev/null
	system=$(. /etc/os-release && printf '%s' "${PRETTY_NAME-$ID}")
	# shellcheck source=/dev/null
	codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME-}")
fi
if [ "$codename" != bookworm ]; then
	die "Latido is built and tested on Debian 12 (bookworm); this is $system.
These Debian 12 packages or their equivalents are missing: $missing
Install them by hand and set LATIDO_DEPS=skip, or use a Debian 12 container."
fi
[ -z "$check" ] || die "missing Debian packages: $missing
Remedy: make deps"

if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null ||
		die "missing Debian packages, and no sudo to install them; as root: apt-get install --no-install-recommends $missing"
	say "installing by sudo: $missing"
	if [ ! -t 0 ] && ! sudo -n true 2>/dev/null; then
		die "sudo wants a password and there is no terminal; as root: apt-get install --no-install-recommends $missing"
	fi
	exec sudo -- env CI="${CI-}" sh "$0" "$@"
fi

say "installing (Debian packages, once): $missing"

# What must not start or be enabled while it is installed. Both files are gone afterwards; a policy
# that is there already (containers have one) is left alone.
policy=/usr/sbin/policy-rc.d
preset=/run/systemd/system-preset/00-latido.preset
ours=
cleanup() {
	[ -z "$ours" ] || rm -f "$policy"
	rm -f "$preset"
	rmdir -p --ignore-fail-on-non-empty "${preset%/*}" 2>/dev/null || true
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
new=
for service in $services; do
	[ -e "/lib/systemd/system/$service.service" ] || new="$new $service"
done
if [ -n "$new" ]; then
	if [ ! -e "$policy" ]; then
		ours=1
		{
			echo '#!/bin/sh'
			# shellcheck disable=SC2016,SC2086	# $1 is the policy's own; a list of words
			printf 'case ${1%%.service} in %s) exit 101 ;; esac\nexit 0\n' \
				"$(printf '%s|' $new | sed 's/|$//')"
		} >"$policy"
		chmod 755 "$policy"
	fi
	mkdir -p "${preset%/*}"
	# shellcheck disable=SC2086	# a list of words
	printf 'disable %s.service\n' $new >"$preset"
fi

export DEBIAN_FRONTEND=noninteractive
apt_install() {
	# shellcheck disable=SC2086	# a list of words
	apt-get install -q -y --no-install-recommends --no-upgrade -o DPkg::Lock::Timeout=300 \
		-o Dpkg::Use-Pty=0 $missing
}
# An old package list names versions that the mirror no longer has: refresh and try once more.
# shellcheck disable=SC2086	# a list of words
if ! apt-cache show $missing >/dev/null 2>&1 || ! apt_install; then
	say "refreshing the package lists"
	apt-get update -q
	apt_install || die "apt-get could not install: $missing"
fi
missing=$(find_missing | tr '\n' ' ')
[ -z "$missing" ] || die "still missing after installation: $missing"
installed=
for service in $new; do
	[ ! -e "/lib/systemd/system/$service.service" ] || installed="$installed $service"
done
if [ -n "$installed" ]; then
	say "not started and not enabled, Latido does not need them as services:$installed"
fi
