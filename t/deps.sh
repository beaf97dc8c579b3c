#!/bin/sh
# SPDX-License-Identifier: ISC
# Installs what is missing for the groups named, with the distribution's package
# manager: build, run (containers), check, lint, bench. Does nothing when all is
# there, whoever installed it: it looks for commands and files, not packages.
set -u

for m in apt-get apk dnf none; do
	command -v $m >/dev/null 2>&1 && break
done
missing=
unpackaged=

# want TEST APT APK DNF: the package of each; -: this distribution has none.
want() {
	eval "$1" >/dev/null 2>&1 && return
	case $m in
	apt-get) p=$2 ;;
	apk) p=$3 ;;
	dnf) p=$4 ;;
	*) p=$2 ;;
	esac
	case $p in
	-) unpackaged="$unpackaged ${2#-}" ;;
	*) missing="$missing $p" ;;
	esac
}

has() { command -v "$1"; }

# An application of Erlang/OTP's: where `erl` looks for it.
otp() {
	: "${otp_lib:=$(erl -noshell -eval \
	    'io:put_chars(code:lib_dir()), halt().' 2>/dev/null)}"
	ls -d "${otp_lib:-/nowhere}/$1"-*
}

build() {
	want 'has cc' gcc gcc gcc
	want 'echo "#include <stdio.h>" | cc -E -' libc6-dev musl-dev glibc-devel
	want 'echo "#include <linux/sched.h>" | cc -E -' \
	    linux-libc-dev linux-headers kernel-headers
	want 'has make' make make make
	want 'has pkg-config' pkg-config pkgconf pkgconf-pkg-config
	want 'pkg-config --exists lxc' lxc-dev lxc-dev lxc-devel
	want 'has erlc' erlang-base erlang erlang-erts
	want 'otp compiler' erlang-base erlang erlang-compiler
}

run() {
	want 'has lxc-start' lxc lxc lxc
	want 'test -e /usr/share/lxc/templates/lxc-busybox' \
	    liblxc-common lxc-templates lxc-templates
	want 'has rsync' rsync rsync rsync # liblxc copies with it, for rename too
	# Only a busybox that needs no libraries runs in the template's rootfs.
	want 'has busybox && ! ldd "$(command -v busybox)"' \
	    busybox-static busybox-static busybox
}

check() {
	want 'otp common_test' erlang-common-test erlang erlang-common_test
	want 'otp eunit' erlang-eunit erlang erlang-eunit
	want 'otp tools' erlang-tools erlang erlang-tools
	want 'otp proper' erlang-proper - erlang-proper
	want 'test -e "$(otp proper)/include/proper.hrl"' \
	    erlang-proper-dev - erlang-proper
	want 'has rebar3' rebar3 rebar3 erlang-rebar3
	want 'has elixir' elixir elixir elixir
	want 'has strace' strace strace strace
	want 'has ip' iproute2 iproute2 iproute
	want 'has ps' procps procps procps-ng
	want 'has timeout' coreutils coreutils coreutils
	want 'has unshare' util-linux util-linux util-linux
	want 'has debootstrap' debootstrap debootstrap debootstrap
	want 'has mkfs.ext4' e2fsprogs e2fsprogs e2fsprogs
	want 'has blkid' util-linux blkid util-linux
	want 'find . -maxdepth 0 -printf ""' findutils findutils findutils
	libcstatic
}

# The probes that run inside of containers are static.
libcstatic() {
	want 'echo "int main(void){return 0;}" |
	    cc -static -x c -o /dev/null -' libc6-dev musl-dev glibc-static
}

lint() {
	want 'has gcc' gcc gcc gcc
	want 'has clang' clang clang clang
	want 'echo "int x;" | clang -fsanitize=fuzzer -x c -c -o /dev/null - &&
	    ls "$(clang -print-resource-dir)"/lib/*/*fuzzer*' \
	    libclang-rt-dev compiler-rt compiler-rt
	want 'has clang-format' clang-format clang-extra-tools clang-tools-extra
	want 'has cppcheck' cppcheck cppcheck cppcheck
	want 'ctags --version | grep -q Universal' universal-ctags ctags ctags
	want 'otp dialyzer' erlang-dialyzer erlang erlang-dialyzer
	want 'otp edoc' erlang-edoc erlang erlang-edoc
	check
}

bench() {
	want '/usr/bin/python3 -c "import lxc"' python3-lxc py3-lxc python3-lxc
	want lua_lxc lua-lxc - lua-lxc
	want 'otp erl_interface' erlang-dev erlang-dev erlang-erl_interface
}

lua_lxc() {
	for l in lua5.4 lua5.3 lua5.2 lua5.1 lua; do
		"$l" -e 'require "lxc"' && return
	done
	false
}

install() {
	case $m in
	apt-get)
		DEBIAN_FRONTEND=noninteractive
		export DEBIAN_FRONTEND
		# A stale list may do; the installation will tell.
		as_root apt-get update || :
		as_root apt-get install -y --no-install-recommends "$@"
		;;
	apk) as_root apk add "$@" ;;
	dnf) as_root dnf install -y "$@" ;;
	none)
		echo "deps: no apt-get, apk or dnf here; install by hand" >&2
		return 1
		;;
	esac
}

as_root() {
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null || {
			echo "deps: needs root, or sudo, for: $*" >&2
			return 1
		}
		set -- sudo ${DEBIAN_FRONTEND:+DEBIAN_FRONTEND=noninteractive} "$@"
	fi
	echo "deps: $*"
	"$@" </dev/null
}

look() {
	missing=
	unpackaged=
	for group; do
		case $group in
		build | run | check | lint | bench) $group ;;
		*)
			echo "usage: $0 [build|run|check|lint|bench]..." >&2
			exit 64
			;;
		esac
	done
	missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
	missing=${missing% }
}

[ $# -gt 0 ] || set -- build
look "$@"
[ -z "$missing" ] || {
	echo "deps: missing: $missing"
	# shellcheck disable=SC2086 # words on purpose
	install $missing || exit 1
	look "$@"
}
[ -z "$unpackaged" ] ||
	echo "deps: no package here for:$unpackaged; what needs it is skipped"
[ -z "$missing" ] || {
	echo "deps: still missing: $missing" >&2
	exit 1
}
