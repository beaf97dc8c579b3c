%% SPDX-License-Identifier: ISC
%% Entering a container: a command is no more than the container's init is, gets
%% nothing of the host's, and when one step fails it never runs.
-module(attach_SUITE).

-include_lib("kernel/include/file.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlxc_test, [
    container/2, rootfs/2, tmp/2, path/1, driver/2, driver/3, program/0, script/3, up/1,
    up/2, expect/2, collect/1, inside/1, probe/1, eventually/2, timed/1, among/3, async/1,
    await/2, children/1, alive/1, signal/2, soak/1, sh/2
]).

-define(CONFINED, ["lxc.cap.drop =", "lxc.cap.keep = chown kill setgid setuid net_raw",
    "lxc.no_new_privs = 1", "lxc.prlimit.nofile = 100:200", "lxc.prlimit.core = 0:4096",
    "lxc.proc.oom_score_adj = 300", "lxc.arch = linux32",
    "lxc.cgroup.pids.max = 50", "lxc.cgroup2.pids.max = 50"]).
-define(SECCOMP, ["lxc.seccomp.profile = /usr/share/lxc/config/common.seccomp"]).

suite() ->
    [{timetrap, {minutes, 2}}].

all() ->
    [{group, lxc}].

groups() ->
    [{lxc, [], [like_init, like_init_confined, like_init_seccomp, many_with_filters,
            like_init_mapped,
            like_weak_init, root_of_init, errors, not_running, environment, descriptors,
            users, hostile_databases, ptys_run_out, descriptors_run_out, working_directory,
            program_overwritten, spied_upon, namespaces_fail, steps_fail, entering_stuck,
            container_restarts, other_path, {group, debian}]},
        {debian, [], [like_init_debian]}].

init_per_suite(Config) ->
    erlxc_test:probes(erlxc_test:setup(Config)).

end_per_suite(Config) ->
    erlxc_test:teardown(Config).

init_per_group(lxc, Config) ->
    erlxc_test:engine(lxc, Config);
init_per_group(debian, Config) ->
    case os:find_executable("debootstrap") of
        false -> {skip, "debootstrap is not installed"};
        _ -> debian(Config)
    end.

end_per_group(_, _) ->
    ok.

%% The template's packages are kept beside it, not in the host's cache.
debian(Config) ->
    ct:timetrap({minutes, 8}),
    Base = proplists:get_value(base, Config),
    Dir = filename:join(Base, "debian"),
    "" = sh("mkdir ~s && echo 'lxc.net.0.type = empty' >~s/config", [Dir, Dir]),
    Out = sh("LXC_CACHE_PATH=~s/cache /usr/share/lxc/templates/lxc-debian --path=~s "
        "--name=template --rootfs=~s/rootfs -r bookworm 2>&1; rm -rf ~s/cache",
        [Base, Dir, Dir, Base]),
    filelib:is_file(filename:join(Dir, "rootfs/bin/sleep")) orelse error({template, Out}),
    [{template, "debian"} | Config].

%% --- Helpers ------------------------------------------------------------------------

attach(C, Argv, Opts) ->
    element(1, erlxc_drv:open(C, attach, [[iolist_to_binary(A) || A <- Argv], Opts])).

%% A command's output, whatever it says; or the error.
output(C, Argv, Opts) ->
    case erlxc:run(C, Argv, [{timeout, 20000} | Opts]) of
        {ok, #{stdout := Out, status := {exit_status, 0}}} -> Out;
        Other -> Other
    end.

%% The values of a key in the probe self's report.
values(Report, Key) ->
    [V || L <- binary:split(Report, <<"\n">>, [global]),
        [K, V] <- [binary:split(L, <<" ">>)], K =:= list_to_binary(Key)].

is(X, X) -> true;
is(_, Y) -> Y.

%% --- What a command is ----------------------------------------------------------------

%% In a container of the template's a command is what init is.
like_init(Config) ->
    compare(up(Config)).

%% With dropped capabilities, no_new_privs, limits and a personality.
like_init_confined(Config) ->
    {_, _, Init} = Up = up(Config, ?CONFINED),
    ?assertMatch({match, _}, re:run(status(Init), "NoNewPrivs:\\s*1")),
    compare(Up).

%% Commands enter at once though init's filters are read by one at a time.
many_with_filters(Config) ->
    {C, _, _} = up(Config, ?SECCOMP),
    Runs = [async(fun() -> erlxc:run(C, ["true"]) end) || _ <- lists:seq(1, soak(30))],
    [?assertMatch({ok, #{status := {exit_status, 0}}}, await(R, 20000)) || R <- Runs].

%% With the filters of a seccomp profile, which are the very same.
like_init_seccomp(Config) ->
    {_, _, Init} = Up = up(Config, ?SECCOMP),
    ?assertMatch({match, _}, re:run(status(Init), "Seccomp:\\s*2")),
    compare(Up).

%% In the debian template's container, which has its filters and capabilities.
like_init_debian(Config) ->
    {C, _, Init} = Up = up(Config),
    ?assertMatch({match, _}, re:run(status(Init), "Seccomp:\\s*2")),
    compare(Up),
    Out = output(C, ["dpkg", "--print-architecture"], []),
    ?assertMatch({match, _}, re:run(Out, "^[a-z0-9]+\n$")).

%% In a user namespace a command is root of its map, and the host's somebody.
like_init_mapped(Config) ->
    {C, _, Init} = Up = mapped(Config, []),
    compare(Up),
    ?assertEqual([<<"0 0">>], values(output(C, ["/probe/self"], []), "ids")),
    ?assertMatch({match, _}, re:run(status(Init), "Uid:\\s100000\\s100000")),
    Other = output(C, ["/probe/self"], [{user, 1234}, {group, 56}]),
    ?assertEqual([<<"1234 56">>], values(Other, "ids")).

%% Of an init without capabilities, which may not gain any, root has none either.
like_weak_init(Config) ->
    {C, _, Init} = up(Config, ["lxc.init.uid = 1000", "lxc.init.gid = 1000",
        "lxc.no_new_privs = 1"]),
    {ok, _, Pid} = attach(C, ["/bin/cat"], #{}),
    [Its, Own] = [maps:with([<<"CapPrm">>, <<"CapEff">>, <<"CapBnd">>, <<"NoNewPrivs">>],
        facts(status(P))) || P <- [Init, Pid]],
    ?assertMatch(#{<<"CapPrm">> := [<<"\t0000000000000000">>]}, Its),
    ?assertEqual(Its, Own).

%% An init that has changed its root is entered where it is.
root_of_init(Config) ->
    Name = container(Config, []),
    Root = rootfs(Config, Name),
    "" = sh("mkdir -p ~s/sub/bin && cp ~s/bin/busybox ~s/sub/bin/", [Root, Root, Root]),
    C = driver(Config, Name, [{shutdown, 0}]),
    {ok, Init} = liblxc:start(C, 0, ["/bin/chroot", "/sub", "/bin/busybox", "sleep", "1000"]),
    eventually(fun() -> erlxc_test:comm(Init) =:= <<"busybox">> end, 5000),
    ?assertEqual(<<"bin\n">>, output(C, ["/bin/busybox", "ls", "/"], [])),
    {ok, _, Pid} = attach(C, ["/bin/busybox", "cat"], #{}),
    ?assertEqual(maps:get(root, identity(Init)), maps:get(root, identity(Pid))).

%% Where newuidmap(1) is installed it asks for the host's consent; the driver's port sees
%% it as not executable, in a mount namespace of its own.
mapped(Config, Lines) ->
    Name = container(Config, ["lxc.idmap = u 0 100000 65536", "lxc.idmap = g 0 100000 65536",
        "lxc.pty.max = 1024" | Lines]),
    Base = proplists:get_value(base, Config),
    Dir = filename:dirname(rootfs(Config, Name)),
    "" = sh("chmod 755 ~s ~s ~s && chown -Rh 100000:100000 ~s/rootfs",
        [Base, path(Config), Dir, Dir]),
    Plain = tmp(Config, "plain"),
    ok = file:write_file(Plain, ""),
    Wrapper = script(Config, "unmapped", ["for f in newuidmap newgidmap; do",
        "p=$(command -v $f) && mount --bind " ++ Plain ++ " $p", "done", "exec \"$@\""]),
    C = driver(Config, Name, [{shutdown, 0}, {exec, ["unshare", "-m", Wrapper]}]),
    {C, Name, erlxc_test:start(C)}.

%% A command on pipes and one on a pty, held against init, from the host and from inside.
compare({C, _, Init}) ->
    Expected = identity(Init),
    [begin
        {ok, S, Pid} = attach(C, ["/bin/cat"], #{pty => Pty}),
        ?assertEqual([], differences(Expected, identity(Pid))),
        ?assertMatch({match, _}, re:run(status(Pid), "Groups:\\s*\n")),
        ?assertEqual(#{}, clean(facts(status(Pid)))),
        ok = erlxc_drv:close(C, S)
    end || Pty <- [false, {24, 80}]],
    [One, Own] = [facts(output(C, ["/bin/sh", "-c", from_inside(P)], [])) || P <- ["1", "self"]],
    ?assertMatch(#{<<"CapBnd">> := _, <<"user">> := _}, Own),
    %% But for what the shell sets for itself, and while it forks.
    ?assertEqual([], [D || {K, _, _} = D <- differences(One, Own), K =/= <<"SigIgn">>,
        K =/= <<"SigBlk">>]).

%% What should be zero and is not. Signals 32 and 33 are the C library's own.
clean(Facts) ->
    maps:filter(fun(_, [Value]) ->
        binary_to_integer(string:trim(Value), 16) band bnot (3 bsl 31) =/= 0
    end, maps:with([<<"SigBlk">>, <<"SigIgn">>, <<"SigPnd">>, <<"CapInh">>, <<"CapAmb">>], Facts)).

differences(A, B) ->
    [{K, maps:get(K, A, none), maps:get(K, B, none)} || K <- maps:keys(maps:merge(A, B)),
        maps:get(K, A, none) =/= maps:get(K, B, none)].

from_inside(Pid) ->
    io_lib:format("cd /proc/~s; cat status attr/current cgroup limits uid_map oom_score_adj "
        "personality; for n in ns/*; do echo ${n##*/}: $(readlink $n); done 2>&1; true", [Pid]).

status(Pid) ->
    {ok, Text} = file:read_file(lists:concat(["/proc/", Pid, "/status"])),
    Text.

%% All of a process that is to be like init's.
identity(Pid) ->
    Dir = lists:concat(["/proc/", Pid]),
    Files = maps:from_list([{F, file:read_file(filename:join(Dir, F))} || F <- ["attr/current",
        "attr/exec", "cgroup", "limits", "uid_map", "gid_map", "setgroups", "oom_score_adj",
        "personality", "coredump_filter", "cpuset"]]),
    Names = filelib:wildcard(Dir ++ "/ns/*"),
    Namespaces = maps:from_list([{filename:basename(N), file:read_link(N)} || N <- Names]),
    {ok, #file_info{major_device = Dev, inode = Inode}} = file:read_file_info(Dir ++ "/root/."),
    Filters = sh("~s ~b", [probe("filters"), Pid]),
    ?assert(length(Names) > 5),
    ?assert(re:run(Filters, "^[0-9a-f\n]*$", [{capture, none}]) =:= match),
    maps:merge(maps:merge(Files, Namespaces),
        maps:merge(facts(status(Pid)), #{root => {Dev, Inode}, filters => Filters})).

%% What of a status is the same for all processes of a kind; of other files every line.
facts(Text) ->
    Skip = [<<K/binary>> || K <- [<<"Name">>, <<"State">>, <<"Tgid">>, <<"Pid">>, <<"PPid">>,
        <<"Ngid">>, <<"TracerPid">>, <<"FDSize">>, <<"NStgid">>, <<"NSpid">>, <<"NSpgid">>,
        <<"NSsid">>, <<"Kthread">>, <<"Threads">>, <<"SigQ">>, <<"SigCgt">>, <<"Groups">>,
        <<"voluntary_ctxt_switches">>, <<"nonvoluntary_ctxt_switches">>, <<"CoreDumping">>,
        <<"untag_mask">>, <<"x86_Thread_features">>, <<"x86_Thread_features_locked">>]],
    maps:from_list([{K, V} || L <- binary:split(Text, <<"\n">>, [global]), L =/= <<>>,
        [K | V] <- [binary:split(L, <<":">>)], not lists:member(K, Skip),
        binary:part(K, 0, min(2, byte_size(K))) =/= <<"Vm">>,
        binary:part(K, 0, min(3, byte_size(K))) =/= <<"Rss">>, K =/= <<"HugetlbPages">>]).

%% --- What it gets ---------------------------------------------------------------------

%% A command that cannot be run is an error, not a status, and what failed is named.
errors(Config) ->
    {C, Name, _} = up(Config),
    Root = rootfs(Config, Name),
    [begin
        ok = file:write_file(filename:join(Root, F), Text),
        ok = file:change_mode(filename:join(Root, F), 8#755)
    end || {F, Text} <- [{"noexec", "echo no\n"}, {"nointerp", "#!/nosuch\n"},
        {"ok", "#!/bin/sh\nexit 127\n"}]],
    [begin
        ?assertEqual({Argv, Opts, {error, Reason}}, {Argv, Opts, erlxc:run(C, Argv, Opts)}),
        ?assertEqual({Argv, {error, Reason}}, {Argv, erlxc:spawn(C, [{exec, Argv} | Opts])})
    end || {Argv, Opts, Reason} <- [
        {["nosuch"], [], enoent}, {["/nosuch"], [], enoent}, {["/etc/passwd"], [], eacces},
        {["/bin"], [], eacces}, {["/noexec"], [], enoexec}, {["/nointerp"], [], enoent},
        {["/bin/true/x"], [], enotdir}, {[""], [], enoent},
        {["true"], [{cd, "/nosuch"}], {cd, enoent}},
        {["true"], [{cd, "/etc/passwd"}], {cd, enotdir}},
        {["true"], [{user, "nosuch"}], {user, enoent}},
        {["true"], [{group, "nosuch"}], {group, enoent}},
        {["true"], [{groups, ["root", "nosuch"]}], {group, enoent}},
        {["true"], [{env, ["PATH=/nosuch"]}], enoent},
        {["true", binary:copy(<<"x">>, 200000)], [], e2big}]],
    ?assertMatch({ok, #{status := {exit_status, 127}}}, erlxc:run(C, ["/ok"])),
    ?assertEqual(<<>>, output(C, ["true"], [{env, ["PATH=/ok:/nosuch::/bin"]}])).

%% There is nothing to enter when nothing runs, and what is frozen would not answer.
not_running(Config) ->
    {C, _, _} = up(Config),
    ?assert(liblxc:freeze(C)),
    {Ms, Frozen} = timed(fun() -> attach(C, ["/bin/true"], #{}) end),
    ?assertEqual({error, ebusy}, Frozen),
    among(0, 2000, Ms),
    ?assert(liblxc:unfreeze(C)),
    ?assertMatch({ok, _, _}, attach(C, ["/bin/true"], #{})),
    ?assert(liblxc:stop(C)),
    ?assertEqual({error, esrch}, attach(C, ["/bin/true"], #{})).

%% The environment is what is documented and what was asked for, each name once, and
%% nothing of the node's or the port's.
environment(Config) ->
    {C, _, _} = up(Config),
    Env = fun(Opts) -> lists:sort(values(output(C, ["/probe/self"], Opts), "env")) end,
    Names = fun(L) -> [hd(binary:split(V, <<"=">>)) || V <- L] end,
    ?assertEqual([<<"HOME">>, <<"PATH">>, <<"USER">>, <<"container">>], Names(Env([]))),
    Own = Env([{env, [{"USER", "me"}, "A=1=2", {"A", <<"3">>}, "PATH=/x:/bin"]}]),
    ?assertEqual([<<"A">>, <<"HOME">>, <<"PATH">>, <<"USER">>, <<"container">>], Names(Own)),
    [?assert(lists:member(V, Own)) || V <- [<<"USER=me">>, <<"PATH=/x:/bin">>, <<"A=3">>]],
    {ok, P} = erlxc:spawn(C, [{exec, ["/probe/self"]}]),
    {Out, {exit_status, 0}} = collect(P),
    ?assertEqual([<<"HOME">>, <<"PATH">>, <<"TERM">>, <<"USER">>, <<"container">>],
        lists:sort(Names(values(binary:replace(Out, <<"\r">>, <<>>, [global]), "env")))).

%% Only descriptors 0, 1 and 2 arrive, however many the port has.
descriptors(Config) ->
    {C, _, _} = up(Config),
    [{ok, _} = erlxc:spawn(C, [{exec, ["/bin/cat"]}, {pty, N rem 2 =:= 0}])
        || N <- lists:seq(1, 40)],
    {ok, P} = erlxc:spawn(C, [{exec, ["/probe/self"]}]),
    {Pty, {exit_status, 0}} = collect(P),
    [?assertMatch([<<"0 ", _/binary>>, <<"1 ", _/binary>>, <<"2 ", _/binary>>],
        values(Out, "fd")) || Out <- [Pty | [output(C, ["/probe/self"], O)
            || O <- [[], [{user, 1000}], [{stderr, null}], [{stderr, stdout}], [{cd, "/proc"}]]]]],
    Out = output(C, ["/probe/self"], []),
    ?assertEqual([[<<"022">>], [<<"0">>]], [values(Out, K) || K <- ["umask", "securebits"]]).

%% Users and groups are the container's, by name or number, with nothing of root left.
users(Config) ->
    {C, Name, _} = up(Config),
    Etc = filename:join(rootfs(Config, Name), "etc"),
    ok = file:write_file(filename:join(Etc, "passwd"), "root:x:0:0:r:/root:/bin/sh\n"
        "me:x:1234:56:m:/tmp:/bin/sh\nnohome:x:7:8:n:/nosuch:/bin/sh\n"),
    ok = file:write_file(filename:join(Etc, "group"), "root:x:0:\nus:x:77:me\n"),
    Id = fun(Opts) ->
        Out = output(C, ["/bin/sh", "-c",
            "id -u; id -g; id -G; pwd; echo $USER; grep Cap /proc/self/status"], Opts),
        {Lines, Caps} = lists:split(5, binary:split(Out, <<"\n">>, [global, trim])),
        {Lines, [V || L <- Caps, [K, V] <- [string:lexemes(L, ":\t")],
            lists:member(K, [<<"CapPrm">>, <<"CapEff">>, <<"CapInh">>, <<"CapAmb">>])]}
    end,
    None = lists:duplicate(4, <<"0000000000000000">>),
    ?assertEqual({[<<"1234">>, <<"56">>, <<"56">>, <<"/tmp">>, <<"me">>], None},
        Id([{user, "me"}])),
    ?assertEqual({[<<"1234">>, <<"77">>, <<"77 0 5">>, <<"/tmp">>, <<"me">>], None},
        Id([{user, 1234}, {group, "us"}, {groups, ["root", 5]}])),
    ?assertEqual({[<<"7">>, <<"8">>, <<"8">>, <<"/">>, <<"nohome">>], None},
        Id([{user, <<"nohome">>}])),
    ?assertMatch({[<<"4000000000">>, _, _, <<"/">>, _], None}, Id([{user, 4000000000}])),
    ?assertMatch({[<<"0">>, <<"0">>, <<"0">>, _, <<"root">>], [_, Caps, Caps, _]}
        when Caps > <<"0000000000000000">>, Id([])),
    [?assertMatch({User, {error, {user, _}}}, {User, erlxc:run(C, ["true"], [{user, User}])})
        || User <- ["-1", "+0", "0x0", " 0", "00", "4294967295", "4294967296", "root:x", "m", ""]].

%% A container's user database is bytes of a stranger: a link out, a FIFO, a device, one
%% without an end or with nonsense is an error in bounded time, and never root.
hostile_databases(Config) ->
    {C, Name, _} = up(Config),
    File = filename:join(rootfs(Config, Name), "etc/passwd"),
    Outside = tmp(Config, "outside.passwd"),
    ok = file:write_file(Outside, "evil:x:0:0::/:/bin/sh\n"),
    Up = lists:append(lists:duplicate(20, "../")),
    Line = fun(Text) -> fun() -> ok = file:write_file(File, Text) end end,
    [begin
        _ = file:delete(File),
        _ = file:del_dir(File),
        Make(),
        {Ms, Result} = timed(fun() -> erlxc:run(C, ["id", "-u"], [{user, "evil"}]) end),
        among(0, 2000, Ms),
        ?assertMatch({N, {error, {user, _}}}, {N, Result}),
        ?assertMatch({N, {ok, #{status := {exit_status, 0}}}}, {N, erlxc:run(C, ["true"])})
    end || {N, Make} <- lists:enumerate([
        fun() -> ok = file:make_symlink(Outside, File) end,
        fun() -> ok = file:make_symlink(Up ++ Outside, File) end,
        fun() -> ok = file:make_symlink("/proc/self/fd/0", File) end,
        fun() -> ok = file:make_symlink("/dev/zero", File) end,
        fun() -> ok = file:make_dir(File) end,
        fun() -> "" = sh("mkfifo ~s", [File]) end,
        fun() -> "" = sh("truncate -s 8G ~s", [File]) end,
        fun() -> ok end] ++ [Line(T) || T <- ["evil:x:4294967296:0::/:\n", "evil:x:-1:0::/:\n",
            "evil:x::0::/:\n", "evil:x:0x0:0::/:\n", "evil", "evil:x:0",
            "evil:x:0:\n", " evil:x:0:0::/:\n",
            ["a:", binary:copy(<<"x">>, 1000000), "\n"], <<0, "evil:x:0:0::/:\n">>]])].

%% A container without a pty left says so, and what it had is free when it is closed.
ptys_run_out(Config) ->
    {C, _, _} = up(Config, ["lxc.pty.max = 3"]), % its console may be one of them
    Spawn = fun() -> erlxc:spawn(C, [{exec, ["/bin/cat"]}]) end,
    Spawned = [Spawn() || _ <- lists:seq(1, 4)],
    [{ok, P}, {ok, _} | _] = Spawned,
    ?assertEqual({error, {pty, enospc}}, lists:last(Spawned)),
    ok = erlxc:stop(P),
    {ok, _} = eventually(fun() -> case Spawn() of {ok, Q} -> {ok, {ok, Q}}; E -> E end end, 2000).

%% A port without a descriptor left says so, and serves the streams that it has.
descriptors_run_out(Config) ->
    Name = container(Config, ["lxc.pty.max = 1024"]),
    Few = script(Config, "few", ["ulimit -n 128", "exec \"$@\""]),
    C = driver(Config, Name, [{shutdown, 0}, {exec, [Few]}]),
    _ = erlxc_test:start(C),
    Full = fill(C),
    [?assertEqual({ok, <<"served">>}, served(P)) || P <- Full],
    [ok = erlxc:stop(P) || P <- Full],
    among(length(Full) - 1, length(Full) + 1, length(fill(C))).

fill(C) ->
    case erlxc:spawn(C, [{exec, ["/bin/cat"]}, {pty, false}]) of
        {ok, P} -> [P | fill(C)];
        {error, {Stage, emfile}} when is_atom(Stage) -> [];
        {error, Reason} -> ?assertMatch({attach, system_limit, _}, Reason), []
    end.

served(P) ->
    _ = erlxc:send(P, "served"),
    erlxc:recv(P, 6, 5000).

%% --- What it cannot reach ---------------------------------------------------------------

%% No path of /proc leads a command's working directory, or its program, out of the
%% container: it has none of the port's descriptors any more when they are resolved.
working_directory(Config) ->
    {C, Name, _} = up(Config),
    [Root] = values(output(C, ["/probe/self"], []), "root"),
    ok = file:make_symlink("/proc/self/fd", filename:join(rootfs(Config, Name), "fds")),
    Dirs = ["/proc/self/root", "/proc/self/cwd", "/proc/1/root", "/proc/1/cwd", "/..", "../.."]
        ++ [lists:concat([D, N]) || D <- ["/proc/self/fd/", "/proc/thread-self/fd/",
            "/fds/", "/dev/fd/"], N <- lists:seq(0, 40)],
    [case output(C, ["/probe/self"], [{cd, Dir}]) of
        {error, {cd, _}} ->
            ok;
        <<_/binary>> = Out ->
            ?assertEqual({Dir, [Root]}, {Dir, values(Out, "root")}),
            [?assertMatch({Dir, <<"/", _/binary>>}, {Dir, Cwd}) || Cwd <- values(Out, "cwd")],
            ?assertEqual({Dir, <<>>}, {Dir, output(C, ["/bin/sh", "-c",
                "cd -P ../../../../..; [ / -ef . ] || echo out"], [{cd, Dir}])})
    end || Dir <- Dirs],
    [?assertMatch({N, {error, E}} when is_atom(E), {N, erlxc:run(C, [lists:concat(
        ["/proc/self/fd/", N, "/bin/sh"])])}) || N <- lists:seq(0, 40)].

%% A container whose program is #!/proc/self/exe overwrites the host's program of an
%% attach that is deliberately naive, and not the port's.
program_overwritten(Config) ->
    {C, Name, Init} = up(Config),
    Trap = filename:join(rootfs(Config, Name), "bin/trap"),
    ok = file:write_file(Trap, "#!/proc/self/exe\n"),
    ok = file:change_mode(Trap, 8#755),
    Naive = copied(Config, probe("naive_attach")),
    ?assertEqual(<<"written">>, attacked(C, fun() ->
        sh("~s ~b /bin/trap", [Naive, Init])
    end, fun() -> ok end)),
    ?assertNotEqual(file:read_file(probe("naive_attach")), file:read_file(Naive)),
    Ours = copied(Config, program()),
    {ok, D} = erlxc_drv:start([{name, Name}, {path, path(Config)}, {progname, Ours}]),
    ?assertNotEqual(<<"written">>, attacked(C, fun() ->
        erlxc:run(D, ["/bin/trap"])
    end, fun() -> erlxc_drv:stop(D) end)),
    ?assertEqual(file:read_file(program()), file:read_file(Ours)).

copied(Config, File) ->
    Copy = tmp(Config, filename:basename(File)),
    {ok, _} = file:copy(File, Copy),
    ok = file:change_mode(Copy, 8#755),
    Copy.

%% What the attacker says once it has got hold of a program that is not its container's;
%% Attach is called until it has. A program that runs cannot be written: End ends it.
attacked(C, Attach, End) ->
    {ok, P} = erlxc:spawn(C, [{exec, ["/probe/overwrite"]}, {pty, false}]),
    expect(P, "ready\n"),
    Found = eventually(fun() ->
        Attach(),
        case erlxc:recv(P, 0, 10) of
            {ok, <<"found ", _/binary>>} = Ok -> Ok;
            Other -> Other
        end
    end, 30000),
    End(),
    {Rest, {exit_status, 0}} = collect(P),
    lists:last(string:lexemes(<<Found/binary, Rest/binary>>, "\n")).

%% A process of a mapped container that looks at each new one, as fast as it can, never
%% sees a descriptor or a variable of the port's, which it would see of lxc-attach's.
spied_upon(Config) ->
    {C, Name, _} = mapped(Config, []),
    {ok, P} = erlxc:spawn(C, [{exec, ["/probe/spy"]}, {pty, false}]),
    expect(P, "ready\n"),
    [?assertMatch({ok, #{status := {exit_status, 0}}}, erlxc:run(C, ["/bin/true"]))
        || _ <- lists:seq(1, soak(100))],
    ?assertEqual({error, timeout}, erlxc:recv(P, 0, 100)),
    "" = sh("BINDIR=x lxc-attach -P ~s -n ~s -- sleep 0.3", [path(Config), Name]),
    expect(P, "environ\n").

%% --- When a step fails -----------------------------------------------------------------

%% Runs Fun while system calls of the port and its children fail as strace's expression
%% says.
injected(C, Inject, Fun) ->
    Port = maps:get(os_pid, erlxc_drv:info(C)),
    Args = ["-e", "inject=" ++ Inject
        | lists:append([["-p", integer_to_list(P)] || P <- [Port | children(Port)]])],
    Trace = open_port({spawn_executable, os:find_executable("strace")},
        [{args, ["-f", "-q", "-o", "/dev/null" | Args]}, exit_status, stderr_to_stdout, binary]),
    {os_pid, Pid} = erlang:port_info(Trace, os_pid),
    try
        eventually(fun() -> traced(Port, Pid) end, 10000),
        Fun()
    after
        signal(Pid, "INT"),
        receive {Trace, {exit_status, _}} -> ok after 10000 -> error(strace) end
    end.

traced(Port, By) ->
    Line = ["TracerPid:\\s*", integer_to_list(By), "\n"],
    re:run(status(Port), Line, [{capture, none}]) =:= match.

%% A command that would leave a trace when it ran; {Result, Ran}.
canary(C, Config, Name, Opts) ->
    File = filename:join(rootfs(Config, Name), "canary"),
    _ = file:delete(File),
    Result = erlxc:run(C, ["/bin/sh", "-c", ": >/canary"], [{timeout, 20000} | Opts]),
    {Result, filelib:is_file(File)}.

%% Whichever namespace cannot be joined, by one descriptor for all or by one for each,
%% the command never runs, and the port goes on.
namespaces_fail(Config) ->
    {C, Name, Init} = up(Config),
    Canary = fun(Inject) ->
        injected(C, Inject, fun() -> canary(C, Config, Name, []) end)
    end,
    ?assertEqual({{error, {setns, eperm}}, false}, Canary("setns:error=EPERM:when=1")),
    %% EINVAL is what a kernel says that joins only one at a time; the step makes the
    %% call after so many fail as well.
    Each = [Canary("setns:error=EINVAL:when=1+" ++ integer_to_list(N)) || N <- lists:seq(1, 9)],
    {Failed, Ran} = lists:splitwith(fun({_, R}) -> not R end, Each),
    ?assert(length(Failed) >= 5),
    ?assertEqual([], [F || F <- Failed, F =/= {{error, {setns, einval}}, false}]),
    ?assertEqual([], [R || {{error, _}, true} = R <- Ran]),
    ?assertMatch({{ok, #{status := {exit_status, 0}}}, true}, canary(C, Config, Name, [])),
    ?assertEqual([], inside(Init)).

%% Whichever step before exec fails, the command does not run with more than it should
%% have: either it is an error that names the step, or the call did not matter.
steps_fail(Config) ->
    {C, _, Init} = up(Config, ?CONFINED ++ ?SECCOMP),
    Port = maps:get(os_pid, erlxc_drv:info(C)),
    <<>> = output(C, ["/bin/true"], []),
    Alone = length(children(Port)), % with the helpers that it keeps
    Calls = ["setgroups", "setresgid", "setresuid", "capset", "prctl", "setrlimit,prlimit64",
        "chdir", "fchdir", "chroot", "setsid", "dup2,dup3", "seccomp", "ptrace",
        "clone,clone3,fork", "close_range", "pidfd_open", "openat,openat2", "execve"],
    Results = [begin
        Inject = lists:concat([Call, ":error=EPERM:when=", N]),
        Result = injected(C, Inject, fun() ->
            try attach(C, ["/bin/cat"], #{}) catch error:system_limit -> {error, system_limit} end
        end),
        case Result of
            {ok, S, Pid} ->
                ?assertEqual({Inject, facts(status(Init))}, {Inject, facts(status(Pid))}),
                ok = erlxc_drv:close(C, S);
            {error, _} ->
                ok
        end,
        {Call, element(1, Result)}
    end || Call <- Calls, N <- lists:seq(1, 3)],
    Fatal = lists:usort([Call || {Call, error} <- Results]),
    ?assertEqual([], ["capset", "execve", "ptrace", "setsid"] -- Fatal),
    ?assertEqual(<<>>, output(C, ["/bin/true"], [])),
    eventually(fun() -> is([], inside(Init)) end, 5000),
    eventually(fun() -> length(children(Port)) =< Alone end, 5000).

%% An entering that takes too long is given up, and nothing of it runs later.
entering_stuck(Config) ->
    {C, Name, Init} = up(Config),
    {Ms, _} = timed(fun() ->
        injected(C, "setns:delay_enter=13000000", fun() ->
            ?assertError(timeout, attach(C, ["/bin/sh", "-c", ": >/late; sleep 1000"], #{})),
            ?assertEqual(<<"RUNNING">>, liblxc:state(C))
        end)
    end),
    among(9000, 20000, Ms),
    ?assertMatch({ok, _, _}, attach(C, ["/bin/true"], #{})),
    eventually(fun() -> is([], inside(Init)) end, 5000),
    ?assertNot(filelib:is_file(filename:join(rootfs(Config, Name), "late"))).

%% While a container is stopped and started again a command runs in it or not at all.
container_restarts(Config) ->
    {C, Name, _} = up(Config),
    Expected = values(output(C, ["/probe/self"], []), "root"),
    Comer = fun Comer(Seen) ->
        receive
            done -> Seen
        after 0 ->
            case erlxc:run(C, ["/probe/self"], [{timeout, 15000}]) of
                {ok, #{status := {exit_status, 0}, stdout := Out}} ->
                    ?assertEqual(Expected, values(Out, "root")),
                    Comer([ran | Seen]);
                {ok, #{status := {signal, 9}}} -> Comer(Seen);
                {error, R} when R =/= timeout -> Comer([error | Seen])
            end
        end
    end,
    {Pid, _} = Coming = async(fun() -> Comer([]) end),
    [begin
        ?assert(liblxc:stop(C)),
        ?assert(alive(erlxc_test:start(C)))
    end || _ <- lists:seq(1, soak(20))],
    Pid ! done,
    ?assertEqual([error, ran], lists:usort(await(Coming, 20000))),
    ?assertMatch({ok, _}, erlxc:run(C, ["true"])),
    ok = erlxc_drv:stop(C),
    eventually(fun() -> is([], erlxc_test:leftovers(Name, Config)) end, 5000).

%% When another lxcpath is set, commands are entered in the container there, though the
%% init of the one before was known, or is told of a little later.
other_path(Config) ->
    Name = container(Config, ["lxc.uts.name = one"]),
    Dir = tmp(Config, "other_path"),
    "" = sh("mkdir ~s && cp -a ~s/~s ~s/ && sed -i 's,~s/,~s/,; s/= one/= two/' ~s/~s/config",
        [Dir, path(Config), Name, Dir, path(Config), Dir, Dir, Name]),
    {ok, D} = erlxc_drv:start([{name, Name}, {path, Dir}, {progname, program()}]),
    C = driver(Config, Name),
    [Init, _] = [erlxc_test:start(X) || X <- [C, D]],
    Host = fun() -> output(C, ["/bin/cat", "/proc/sys/kernel/hostname"], []) end,
    ?assertEqual(<<"one\n">>, Host()),
    ?assert(liblxc:set_config_path(C, Dir)),
    ?assertEqual(<<"two\n">>, Host()),
    ?assert(liblxc:set_config_path(C, path(Config))),
    Monitor = erlxc_test:ppid(Init),
    signal(Monitor, "STOP"),
    {Pid, _} = Late = async(fun() -> attach(C, ["/bin/true"], #{}) end),
    eventually(fun() -> {status, waiting} =:= process_info(Pid, status) end, 2000),
    ?assert(liblxc:set_config_path(C, Dir)),
    signal(Monitor, "CONT"),
    ?assertMatch({ok, _, _}, await(Late, 10000)),
    ?assertEqual(<<"two\n">>, Host()),
    ?assert(liblxc:set_config_path(C, path(Config))),
    [ok = erlxc_drv:stop(X) || X <- [D, C]].
