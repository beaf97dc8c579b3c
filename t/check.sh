#!/bin/sh
# SPDX-License-Identifier: ISC
# Runs the tests and sums up in one closing line. Arguments: which parts (c, prop,
# ct, rebar3); default all. Environment: BUILD, the directory with the test
# programs; PORT, the port to be tested; SUITES, to restrict part ct; ERLXC_SLOW,
# a factor for its time limits; ERLXC_MUST_WORK=1: a skip is a failure.
set -u

BUILD=$(realpath "${BUILD:-build}")
ERLXC_BUILD=$BUILD
ERLXC_PORT=$(realpath -m "${PORT:-priv/erlxc}")
export ERLXC_BUILD ERLXC_PORT
# The makes below us build something else than the one above us.
unset MAKEFLAGS MFLAGS MAKELEVEL PORT

out=$BUILD/check
count=$out/count
rm -rf "$out" "$BUILD"/san.*
mkdir -p "$out"
: >"$count"

# One result: ok, FAILED or skipped; a name; a file with the reason.
result() {
	echo "$1" >>"$count"
	echo "$1 $2"
	[ "$1" = ok ] || tail -n 40 "$3" | sed 's/^/    /'
}

# A program that says how many cases passed and failed in its last line counts
# as so many, any other as one. Status 77: skipped.
program() {
	name=$1
	shift
	log=$out/$name.log
	"$@" >"$log" 2>&1 </dev/null
	status=$?
	sums=$(tail -n 1 "$log" |
	    sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed.*/\1 \2/p')
	case $status in
	0)
		result ok "$name${sums:+ (${sums% *} cases)}" /dev/null
		several ok $((${sums% *} - 1))
		;;
	77) result skipped "$name" "$log" ;;
	*)
		result FAILED "$name, status $status" "$log"
		several ok "${sums% *}"
		several FAILED $((${sums#* } - 1))
		;;
	esac
}

several() {
	[ "${2:-0}" -le 0 ] || yes "$1" | head -n "$2" >>"$count"
}

# node NAME SECONDS EXPRESSION: runs cases, which the node counts itself. One that
# ends otherwise than expected, or has counted nothing, is a failure of its own.
node() {
	name=$1
	limit=$2
	shift 2
	before=$(wc -l <"$count")
	log=$out/$name.log
	timeout -k 10 $((limit * ${ERLXC_SLOW:-1})) \
	    erl -noshell -pa "$PWD/ebin" "$BUILD/t" -eval "$*" \
	    3>&1 >"$log" 2>&1 </dev/null
	status=$?
	after=$(wc -l <"$count")
	[ $status = 0 ] && [ "$after" -gt "$before" ] ||
		result FAILED "$name, status $status" "$log"
}

# part_NAME are the parts of the tests.
part_c() {
	ASAN_OPTIONS=detect_leaks=1:log_path=stderr
	UBSAN_OPTIONS=log_path=stderr
	export ASAN_OPTIONS UBSAN_OPTIONS
	for f in t/*_test.c; do
		[ -e "$f" ] || continue
		f=${f#t/}
		program "${f%.c}" "$BUILD/${f%.c}"
	done
	for f in t/*_fuzz.c; do
		[ -e "$f" ] || continue
		f=${f#t/}
		f=${f%_fuzz.c}
		program "${f}_corpus" "$BUILD/${f}_replay" t/corpus/"$f"/*
	done
	unset ASAN_OPTIONS UBSAN_OPTIONS
}

modules() {
	ls "$@" 2>/dev/null | sed 's|^t/||; s|\.erl$||' | tr '\n' ' '
}

part_prop() {
	[ -n "$(ls t/prop_*.erl 2>/dev/null)" ] || return
	if [ -z "$(erl -noshell -eval 'io:put_chars(case code:lib_dir(proper) of
	    {error, _} -> ""; D -> D end), halt().')" ]; then
		echo 'PropEr is not installed' >"$out/reason"
		result skipped properties "$out/reason"
		return
	fi
	compile t/prop_*.erl || return
	list=$(modules t/prop_*.erl | sed 's/ $//; s/ /, /g')
	node properties 300 "erlxc_check:properties([$list], \"$count\")."
}

part_ct() {
	compile $(ls t/*.erl | grep -v '^t/prop_') || return
	: "${SUITES:=$(modules t/*_SUITE.erl)}"
	export SUITES
	node suites $((1400 + 100 * ${ERLXC_SOAK:-1})) "erlxc_check:suites(\"$BUILD\", \"$count\")."
}

part_rebar3() {
	program rebar3_project t/rebar3_project/run.sh
}

compile() {
	erlc +debug_info -pa ebin -o "$BUILD/t" "$@" >"$out/compile.log" 2>&1 ||
		{ result FAILED "compile $*" "$out/compile.log"; return 1; }
}

mkdir -p "$BUILD/t"
compile t/erlxc_check.erl
for part in ${*:-c prop ct rebar3}; do
	part_"$part"
done
for report in "$BUILD"/san.*; do
	[ ! -e "$report" ] || result FAILED "${report##*/}" "$report"
done

passed=$(grep -c '^ok' "$count")
failed=$(grep -c '^FAILED' "$count")
skipped=$(grep -c '^skipped' "$count")
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" != 0 ] || exit 1
[ "$skipped" = 0 ] || [ "${ERLXC_MUST_WORK:-0}" != 1 ]
