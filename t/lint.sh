#!/bin/sh
# SPDX-License-Identifier: ISC
# What a machine can say about the sources, one line a check, the findings below
# it. Environment: BUILD, where the variants that this builds go.
set -u

BUILD=${BUILD:-build}/lint
unset MAKEFLAGS MFLAGS MAKELEVEL CFLAGS
mkdir -p "$BUILD"
passed=0
failed=0

# lint NAME COMMAND...: fails when the command does, or prints something.
lint() {
	name=$1
	shift
	if "$@" >"$BUILD/log" 2>&1 </dev/null && [ ! -s "$BUILD/log" ]; then
		echo "ok $name"
		passed=$((passed + 1))
	else
		echo "FAILED $name"
		sed 's/^/    /' "$BUILD/log" | head -n 60
		failed=$((failed + 1))
	fi
}

compiles() {
	make -s CC="$1" BUILD="$BUILD/$2" PORT="$BUILD/$2/erlxc" WERROR=1 \
	    port tests ${3:-}
}

analysed() {
	cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 \
	    --enable=warning,performance,portability -D_GNU_SOURCE -DHAVE_LXC \
	    -I. --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches \
	    ./*.c t/*.c t/*/*.c
}

formatted() {
	find . -name '*.[ch]' ! -path './build*' ! -path './.git/*' \
	    ! -path '*/_build/*' -exec clang-format --dry-run -Werror {} +
}

# What can be audited: no file of more than 2000 lines, comments and all.
budgets() {
	wc -l ./*.c ./*.h | awk '$2 != "total" { n += $1 }
	    $2 != "total" && $1 > 2000 { print $2 ": " $1 " lines, of 2000" }
	    END { if (n > 13500) print n " lines of C, of 13500" }'
	cat erl/*.erl | awk 'END { if (NR > 2400)
	    print NR " lines of Erlang, of 2400" }'
	wc -l Makefile | awk '$1 > 160 { print "Makefile: " $1 " lines" }'
}

# A function of two lines is its name's and the closing brace's.
functions() {
	ctags -x --kinds-c=f --fields=+e --_xformat='%{end} %n %N %F' ./*.c |
	    awk '{ n = $1 - $2 + 1; print n; if (n > 60)
		print $4 ": " $3 " has " n " lines, of 60" >"/dev/stderr" }' |
	    sort -n | awk '{ n[NR] = $1 } END { m = n[int((NR + 1) / 2)]
		if (m > 15) print "functions: median " m " lines, of 15" }'
}

# Every file of ours says its licence once, in its first three lines.
licensed() {
	find . -type f ! -path './build*' ! -path './.git/*' ! -path './doc/*' \
	    ! -path './ebin/*' ! -path './priv/*' ! -path '*/_build/*' \
	    ! -path './t/corpus/*' ! -name .git ! -name LICENSE ! -name '*.md' \
	    ! -name rebar.lock ! -name erl_crash.dump -exec awk '
		FNR == 1 { if (f != "" && n != 1) print f ": SPDX lines: " n
		    f = FILENAME; n = 0 }
		/^[^a-z]*SPDX-License-Identifier: ISC/ { n++; if (FNR > 3)
		    print f ": SPDX line at " FNR }
		END { if (n != 1) print f ": SPDX lines: " n }' {} +
}

# In a header, what precedes a prototype without an empty line is a comment.
headers() {
	awk 'BEGIN { RS = "" } /^#/ || /^(static inline|(struct|enum) [a-z_]+ \{)/ { next }
	    /\);/ && !/^\/\*/ { print FILENAME ": no comment: " $0 }' ./*.h
}

versions() {
	c=$(sed -n 's/^.define ERLXC_VERSION "\(.*\)"/\1/p' erlxc.h)
	grep -q "{vsn, *\"$c\"}" erl/erlxc.app.src ||
	    echo "erl/erlxc.app.src: vsn is not erlxc.h's $c"
}

# Warnings are errors; the PLT of OTP is made once.
erlang() {
	mkdir -p "$BUILD/ebin"
	erlc +debug_info -Werror -o "$BUILD/ebin" erl/*.erl
}

dialysed() {
	plt=$BUILD/otp.plt
	[ -e "$plt" ] || dialyzer --quiet --build_plt --output_plt "$plt" \
	    --apps erts kernel stdlib || rm -f "$plt"
	dialyzer --quiet --plt "$plt" -Wunknown -Werror_handling \
	    "$BUILD"/ebin/*.beam
}

lint 'functions: at most 60 lines, median 15' functions
lint 'budgets of the files' budgets
lint 'one SPDX line a file' licensed
lint 'clang-format' formatted
lint 'every prototype is described' headers
lint 'one version' versions
lint 'gcc -Werror' compiles gcc gcc
lint 'gcc -Werror, without liblxc' compiles gcc nolxc LXC=0
lint 'clang -Werror' compiles clang clang
lint 'cppcheck' analysed
lint 'erlc -Werror' erlang
lint 'every export is described and has a spec' \
    escript t/undocumented.escript erl/*.erl
lint 'dialyzer' dialysed
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
