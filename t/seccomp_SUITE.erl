%% SPDX-License-Identifier: ISC
%% System calls that a container's seccomp profile marks `notify': an Erlang process
%% decides them, and one that nobody decides fails; none waits for ever.
-module(seccomp_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlxc_test, [container/2, rootfs/2, tmp/2, driver/2, driver/3, eventually/2, children/1,
    child/2, processes/1, comm/1, alive/1, signal/2, soak/2]).

-define(NULL, 16#103). % makedev(1, 3)
-define(ZERO, 16#105).

suite() ->
    [{timetrap, {minutes, 2}}].

all() ->
    [{group, lxc}].

groups() ->
    [{lxc, [parallel], [decided, no_such_call, too_slow, nobody_subscribed, many_at_once, of_commands, listen_false,
        process_killed, listener_killed, port_killed, rebooted, ended]}].

init_per_suite(Config) ->
    Config1 = erlxc_test:setup(Config),
    ok = file:write_file(tmp(Config1, "profile"),
        "2\ndenylist\n[all]\nmknod notify\nmknodat notify\n"),
    Config1.

end_per_suite(Config) ->
    erlxc_test:teardown(Config).

init_per_group(lxc, Config) ->
    erlxc_test:engine(lxc, Config).

end_per_group(_, _) ->
    ok.

%% --- Helpers ------------------------------------------------------------------------

%% A running container whose init is a shell that runs the lines of the fifo /run/do, and
%% its driver, which we are subscribed to.
notifying(Config) -> notifying(Config, []).
notifying(Config, Opts) ->
    Name = container(Config, ["lxc.seccomp.profile = " ++ tmp(Config, "profile"),
        "lxc.init.cmd = /bin/sh /init.sh"]),
    Root = rootfs(Config, Name),
    ok = file:write_file(filename:join(Root, "init.sh"),
            "while :; do while read l; do eval \"$l\" </dev/null; done </do; done\n"),
    "" = erlxc_test:sh("mkfifo ~s/do", [Root]),
    C = driver(Config, Name, [{shutdown, brutal_kill} | Opts]),
    ok = erlxc_drv:subscribe(C),
    {ok, _} = liblxc:start(C),
    {C, Name, Root}.

%% Has the container's init run a line of shell; what that prints is in /out.N.
do(Root, Line) ->
    N = integer_to_list(erlang:unique_integer([positive])),
    Out = filename:join(Root, "out." ++ N),
    {ok, Fifo} = file:open(filename:join(Root, "do"), [write, raw]),
    ok = file:write(Fifo, ["{ ", Line, "; } >/out.", N, ".tmp 2>&1; mv /out.", N, ".tmp /out.", N, "\n"]),
    ok = file:close(Fifo),
    Out.

%% What it has printed, when it is done.
done(Out) ->
    ok = eventually(fun() -> filelib:is_file(Out) end, 10000),
    {ok, Bytes} = file:read_file(Out),
    Bytes.

notification(C) ->
    receive {erlxc, C, {seccomp, Id, Call}} -> {Id, Call}
    after 10000 -> error(no_notification)
    end.

no_notification(C) ->
    receive {erlxc, C, {seccomp, _, _} = Event} -> error(Event) after 0 -> ok end.

listener(C) -> child(os_pid(C), <<"erlxc-seccomp">>).
no_listener(C) -> [] =:= [P || P <- children(os_pid(C)), comm(P) =:= <<"erlxc-seccomp">>].
os_pid(C) -> maps:get(os_pid, erlxc_drv:info(C)).

%% --- Cases --------------------------------------------------------------------------

%% A process decides by the arguments: carried out, refused with an error of its own
%% choice, or told a lie.
decided(Config) ->
    {C, _, Root} = notifying(Config),
    Made = do(Root, "mknod /null c 1 3; echo $?; test -c /null; echo $?"),
    {Id1, #{pid := Pid, nr := Nr, arch := Arch, args := Args}} = notification(C),
    ?assert(alive(Pid)),
    ?assert(lists:member(?NULL, Args)),
    ?assert(is_integer(Nr) andalso Arch > 0),
    ?assertEqual(6, length(Args)),
    ?assert(liblxc:seccomp_respond(C, Id1, continue)),
    ?assertEqual(<<"0\n0\n">>, done(Made)),
    Refused = do(Root, "mknod /zero c 1 5; echo $?"),
    {Id2, #{args := Args2}} = notification(C),
    ?assert(lists:member(?ZERO, Args2)),
    ?assert(liblxc:seccomp_respond(C, Id2, {errno, enospc})),
    ?assertMatch({match, _}, re:run(done(Refused), "No space left on device")),
    Lie = do(Root, "mknod /lie c 1 5; echo $?; test -e /lie; echo $?"),
    {Id3, _} = notification(C),
    ?assert(liblxc:seccomp_respond(C, Id3, {value, 0})),
    ?assertEqual(<<"0\n1\n">>, done(Lie)),
    Number = do(Root, "mknod /e c 1 5"),
    {Id4, _} = notification(C),
    ?assert(liblxc:seccomp_respond(C, Id4, {errno, 17})),
    ?assertMatch({match, _}, re:run(done(Number), "File exists")),
    no_notification(C),
    ok = erlxc_drv:stop(C).

%% An answer to no call, to one that was answered, or that is none, changes nothing.
no_such_call(Config) ->
    {C, _, Root} = notifying(Config),
    ?assertNot(liblxc:seccomp_respond(C, 12345, continue)),
    ?assertEqual(<<"no such call waits">>, liblxc:last_error(C)),
    Out = do(Root, "mknod /null c 1 3; echo $?"),
    {Id, _} = notification(C),
    [?assertError(badarg, liblxc:seccomp_respond(C, Id, Bad)) || Bad <- [
        yes, {errno, 0}, {errno, 4096}, {errno, 'no such error'}, {value, a}, {other, 1}]],
    ?assertError(badarg, liblxc:seccomp_respond(C, -1, continue)),
    ?assert(liblxc:seccomp_respond(C, Id, continue)),
    ?assertEqual(<<"0\n">>, done(Out)),
    ?assertNot(liblxc:seccomp_respond(C, Id, continue)),
    ok = erlxc_drv:stop(C).

%% A call that is not decided in time fails with ENOSYS, and cannot be decided then.
too_slow(Config) ->
    {C, _, Root} = notifying(Config),
    ?assert(liblxc:seccomp_listen(C, 200)),
    Out = do(Root, "mknod /null c 1 3"),
    {Id, _} = notification(C),
    ?assertMatch({match, _}, re:run(done(Out), "Function not implemented")),
    ?assertNot(liblxc:seccomp_respond(C, Id, continue)),
    ok = erlxc_drv:stop(C).

%% Without a subscriber a call fails at once, not after the time for an answer.
nobody_subscribed(Config) ->
    {C, _, Root} = notifying(Config),
    ?assert(liblxc:seccomp_listen(C, 60000)),
    ok = erlxc_drv:unsubscribe(C),
    Out = do(Root, "mknod /null c 1 3"),
    ?assertMatch({match, _}, re:run(done(Out), "Function not implemented")),
    no_notification(C),
    ok = erlxc_drv:stop(C).

%% Calls wait side by side and are answered in any order, each its own.
many_at_once(Config) ->
    {C, _, Root} = notifying(Config),
    N = soak(20, 100),
    Minors = lists:seq(1, N),
    Outs = do(Root, ["for i in ", [[integer_to_list(I), " "] || I <- Minors],
        "; do (mknod /n$i c 200 $i; echo $i $?) & done; wait"]),
    Calls = [notification(C) || _ <- Minors],
    ?assertEqual(N, length(lists:usort([Pid || {_, #{pid := Pid}} <- Calls]))),
    [?assert(liblxc:seccomp_respond(C, Id, {value, 0})) || {Id, _} <- lists:reverse(Calls)],
    ?assertEqual([<<(integer_to_binary(I))/binary, " 0">> || I <- Minors],
        lists:sort(fun(A, B) -> number(A) =< number(B) end,
            binary:split(done(Outs), <<"\n">>, [global, trim]))),
    ok = erlxc_drv:stop(C).

number(Line) -> binary_to_integer(hd(binary:split(Line, <<" ">>))).

%% A command that is entered has init's filter, and is decided for as init is; with the
%% last of its processes its descriptors are gone.
of_commands(Config) ->
    {C, _, _} = notifying(Config),
    Fds = fun() -> erlxc_test:descriptors(listener(C)) end,
    ?assert(liblxc:seccomp_listen(C)),
    Before = Fds(),
    Runs = [erlxc_test:async(fun() ->
        erlxc:run(C, ["sh", "-c", io_lib:format("mknod /run~b c 1 3; echo $?", [I])])
    end) || I <- lists:seq(1, soak(10, 100))],
    Ids = [Id || _ <- Runs, {Id, _} <- [notification(C)]],
    ?assertEqual(length(Runs), Fds() - Before),
    [?assert(liblxc:seccomp_respond(C, Id, continue)) || Id <- lists:reverse(Ids)],
    [?assertMatch({ok, #{stdout := <<"0\n">>}}, erlxc_test:await(R, 10000)) || R <- Runs],
    ok = eventually(fun() -> Fds() =:= Before end, 5000),
    {ok, Sh} = erlxc:spawn(C),
    ok = erlxc:send(Sh, "mknod /made c 1 3; echo st''atus $?\n"),
    {Id, _} = notification(C),
    ?assert(liblxc:seccomp_respond(C, Id, {errno, eacces})),
    erlxc_test:expect(Sh, <<"status 1">>),
    ok = erlxc:stop(Sh),
    ok = eventually(fun() -> Fds() =:= Before end, 5000),
    %% The container is another driver's: the first command has its driver listen.
    Other = driver(Config, liblxc:name(C)),
    ok = erlxc_drv:subscribe(Other),
    Run = erlxc_test:async(fun() -> erlxc:run(Other, ["mknod", "/other", "c", "1", "3"]) end),
    {Id2, _} = notification(Other),
    ?assert(liblxc:seccomp_respond(Other, Id2, {value, 0})),
    ?assertMatch({ok, #{status := {exit_status, 0}}}, erlxc_test:await(Run, 10000)),
    ok = eventually(fun() -> no_listener(Other) end, 5000),
    ok = erlxc_drv:stop(Other),
    no_notification(C),
    ok = erlxc_drv:stop(C).

%% Nothing to listen to is false, with its reason.
listen_false(Config) ->
    Name = container(Config, []),
    C = driver(Config, Name, [{shutdown, brutal_kill}]),
    ?assertNot(liblxc:seccomp_listen(C)),
    ?assertMatch({match, _}, re:run(liblxc:last_error(C), "not running")),
    true = liblxc:set_config_item(C, "lxc.init.cmd", "/bin/sleep 1000"),
    {ok, _} = liblxc:start(C),
    ?assertNot(liblxc:seccomp_listen(C)),
    ?assertMatch({match, _}, re:run(liblxc:last_error(C), "does not notify")),
    ok = eventually(fun() -> no_listener(C) end, 5000),
    ok = erlxc_drv:stop(C).

%% A process that is killed while it waits takes its call along.
process_killed(Config) ->
    {C, _, Root} = notifying(Config),
    Out = do(Root, "mknod /null c 1 3"),
    {Id, #{pid := Pid}} = notification(C),
    signal(Pid, "KILL"),
    _ = done(Out),
    ?assertNot(liblxc:seccomp_respond(C, Id, continue)),
    Next = do(Root, "mknod /null c 1 3; echo $?"),
    {Id2, _} = notification(C),
    ?assert(liblxc:seccomp_respond(C, Id2, continue)),
    ?assertEqual(<<"0\n">>, done(Next)),
    ok = erlxc_drv:stop(C).

%% In place of a listener that is killed comes another, which knows what waits.
listener_killed(Config) ->
    {C, _, Root} = notifying(Config),
    Out = do(Root, "mknod /null c 1 3; echo $?"),
    {Id, _} = notification(C),
    Old = listener(C),
    signal(Old, "KILL"),
    ok = eventually(fun() ->
        try liblxc:seccomp_respond(C, Id, continue) catch error:_ -> false end
    end, 5000),
    ?assertEqual(<<"0\n">>, done(Out)),
    ?assertNotEqual(Old, listener(C)),
    ok = erlxc_drv:stop(C).

%% With the port dead a detached container's calls fail, and a new driver takes over.
port_killed(Config) ->
    {C, Name, Root} = notifying(Config, [{type, permanent}]),
    Listener = listener(C),
    Waits = do(Root, "mknod /null c 1 3"),
    {_, _} = notification(C),
    signal(os_pid(C), "KILL"),
    ?assertMatch({match, _}, re:run(done(Waits), "Function not implemented")),
    ?assertMatch({match, _},
        re:run(done(do(Root, "mknod /null c 1 3")), "Function not implemented")),
    ?assert(alive(Listener)),
    New = driver(Config, Name),
    ok = erlxc_drv:subscribe(New),
    ?assert(liblxc:seccomp_listen(New)),
    Out = do(Root, "mknod /null c 1 3; echo $?"),
    {Id, _} = notification(New),
    ?assert(liblxc:seccomp_respond(New, Id, continue)),
    ?assertEqual(<<"0\n">>, done(Out)),
    ok = eventually(fun() -> not alive(Listener) end, 5000),
    ?assert(liblxc:stop(New)),
    ok = erlxc_drv:stop(New),
    ok = eventually(fun() -> processes(Name) =:= [] end, 5000).

%% Init's next life has another filter, which is listened to as well.
rebooted(Config) ->
    {C, _, Root} = notifying(Config),
    Init = liblxc:init_pid(C),
    _ = do(Root, "reboot -f"),
    ok = eventually(fun() ->
        try liblxc:init_pid(C) of Pid -> Pid > 1 andalso Pid =/= Init catch error:timeout -> false end
    end, 10000),
    Out = do(Root, "mknod /null c 1 3; echo $?"),
    {Id, _} = notification(C),
    ?assert(liblxc:seccomp_respond(C, Id, continue)),
    ?assertEqual(<<"0\n">>, done(Out)),
    ok = erlxc_drv:stop(C).

%% The listener ends with its container, with a call waiting or not, however that ends.
ended(Config) ->
    {C, Name, Root} = notifying(Config),
    Old = listener(C),
    ?assert(liblxc:stop(C)),
    ok = eventually(fun() -> not alive(Old) end, 5000),
    {ok, _} = liblxc:start(C),
    _ = do(Root, "mknod /null c 1 3"),
    {Id, _} = notification(C),
    New = listener(C),
    ?assert(liblxc:stop(C)),
    ?assertNot(liblxc:seccomp_respond(C, Id, continue)),
    ok = eventually(fun() -> not alive(New) end, 5000),
    {ok, _} = liblxc:start(C),
    ok = erlxc_drv:stop(C),
    ok = eventually(fun() -> processes(Name) =:= [] end, 5000).
