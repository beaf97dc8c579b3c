%% SPDX-License-Identifier: ISC
%% Streams and the high-level API: what a command in a container gets and gives, and
%% what is left of it. Where nothing else is said a case has a running container.
-module(stream_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlxc_test, [
    name/1, container/2, rootfs/2, tmp/2, path/1, driver/2, driver/3, drv_opts/1,
    script/3, up/1, up/2, expect/2, collect/1, inside/1, eventually/2, timed/1, among/3,
    async/1, await/2, owner/1, port_pid/1, children/1, comm/1, ppid/1, state_of/1,
    stat/1, alive/1, signal/2, leftovers/2, rss/1, descriptors/1, soak/1, soak/2, sh/2
]).

-define(BURST, 1048576). % what each probe of that name writes once around
-define(WINDOW, 262144).

suite() ->
    [{timetrap, {minutes, 3}}].

all() ->
    [{group, lxc}].

groups() ->
    [{lxc, [], [{group, G} || {G, _, _} <- parts()]} | parts()].

parts() ->
    [{ends, [], [conversation, terminal, pipes, standard_error, end_of_file, init_as_stream,
            init_ends, console, console_unread, requests, window, queue_bounded]},
        {api, [], [active_modes, passive_stderr, recv_lengths, controlling_process, waiting,
            run, spawn_from_every_state, spawn_in_a_rush, dies_on_the_way, bad_options,
            configured, put_into_rootfs, symlinks_out_of_rootfs, container_calls, linked,
            supervised, other_node]},
        {misbehaving, [], [ignores_stdin, closes_its_ends, opens_terminal_again,
            daemon_holds_output, daemon_escapes, burst_and_exit, killed_by_signals,
            two_cats, job_control]},
        {load, [], [transfer_out, transfer_in, slow_reader, many_commands]},
        {lifetime, [], [closed_with_session, adopted, container_ends, port_ends]}].

init_per_suite(Config) ->
    erlxc_test:probes(erlxc_test:setup(Config)).

end_per_suite(Config) ->
    erlxc_test:teardown(Config).

init_per_group(lxc, Config) ->
    erlxc_test:engine(lxc, Config);
init_per_group(_, Config) ->
    Config.

end_per_group(_, _) ->
    ok.

%% --- Helpers ---------------------------------------------------------------------

%% A command in a container: the argument vector, or a shell's script.
command(C, [Char | _] = Script, Opts) when is_integer(Char) ->
    command(C, ["/bin/sh", "-c", Script], Opts);
command(C, Argv, Opts) ->
    {ok, P} = erlxc:spawn(C, [{exec, Argv} | Opts]),
    P.

%% On three pipes.
piped(C, Argv) ->
    command(C, Argv, [{pty, false}]).

%% On a pty that leaves every byte as it is; its size is written when it is set.
raw(C, Script) ->
    P = command(C, "stty raw -echo; echo set; " ++ Script, [{pty, {24, 80}}]),
    {ok, <<"set\n">>} = erlxc:recv(P, 4, 5000),
    P.

%% The same command both ways.
both(C, Script) ->
    [raw(C, Script), piped(C, Script)].

ran(C, Argv) ->
    {ok, #{status := {exit_status, 0}, stdout := Out}} = erlxc:run(C, Argv),
    Out.

%% A container by its name, brought up by the call itself.
named(Config, Name, Opts) ->
    erlxc:spawn(Name, [{driver, [{shutdown, 0} | drv_opts(Config)]} | Opts]).

%% A name whose container is taken down whatever becomes of the case.
gone(Config, Name) ->
    eventually(fun() -> is([], leftovers(Name, Config)) end, 5000).

is(X, X) -> true;
is(_, Y) -> Y.

received(P) ->
    receive M when element(2, M) =:= P -> M after 5000 -> nothing end.

%% A process that was started by async/1 waits for the answer to its call.
calling({Pid, _}) ->
    eventually(fun() ->
        process_info(Pid, current_function) =:= {current_function, {gen, do_call, 4}}
    end, 2000).

%% The bytes of the probe `burst'.
burst() ->
    << <<(list_to_binary(io_lib:format("~8.16.0b", [N])))/binary>>
        || N <- lists:seq(0, ?BURST div 8 - 1) >>.

sha256(Bytes) ->
    string:lowercase(binary_to_list(binary:encode_hex(crypto:hash(sha256, Bytes)))).

%% That a figure has grown by no more than Max.
grown(Max, Before, Now) ->
    among(0, Max, max(0, Now - Before)).

port(C) ->
    maps:get(os_pid, erlxc_drv:info(C)).

%% --- Pty, pipes, init, console ------------------------------------------------------

%% The seed's calls hold a conversation with a shell; after its end all say closed.
conversation(Config) ->
    {C, _, _} = up(Config),
    {ok, P} = erlxc:spawn(C),
    ok = erlxc:send(P, <<"echo $((6 * 7))z\n">>),
    expect(P, "42z"),
    ok = erlxc:send(P, ["exit", $\s, <<"5">>, "\n"]),
    ?assertMatch({_, {exit_status, 5}}, collect(P)),
    [?assertEqual({error, closed}, F()) || F <- [fun() -> erlxc:recv(P) end,
        fun() -> erlxc:send(P, "x") end, fun() -> erlxc:eof(P) end,
        fun() -> erlxc:resize(P, 1, 1) end, fun() -> erlxc:signal(P, 15) end]],
    ok = erlxc:stop(P),
    ?assertEqual({error, closed}, erlxc:recv(P)),
    ?assertEqual(<<"RUNNING">>, liblxc:state(C)).

%% A pty is the container's own: controlling terminal of a session of its own, named
%% by tty, of the size that was asked for, and later of the one that it is given.
terminal(Config) ->
    {C, _, Init} = up(Config),
    {Out, {exit_status, 0}} = collect(command(C, ["/probe/self"], [{pty, {30, 100}}])),
    [?assertNotEqual(nomatch, binary:match(Out, L)) || L <- [<<"session own">>,
        <<"terminal controlling">>, <<"foreground yes">>, <<"ttyname /dev/pts/">>]],
    P = command(C, "trap 'stty size' WINCH; stty size; tty; echo up; while :; do sleep 1; done",
        [{pty, {30, 100}}]),
    {match, [Tty]} = re:run(expect(P, "up\r\n"), "30 100\r\n/dev/pts/([0-9]+)\r\n",
        [{capture, [1], list}]),
    Inside = lists:concat(["/proc/", Init, "/root/dev/pts/", Tty]),
    ?assertMatch({ok, _}, file:read_file_info(Inside)),
    ok = erlxc:resize(P, 50, 132),
    expect(P, "50 132\r\n"),
    [?assertError(badarg, erlxc_drv:call(C, resize, [0, R, Cols]))
        || {R, Cols} <- [{0, 80}, {24, 65536}]],
    ok = erlxc:stop(P).

%% On pipes there is no terminal, in the session or by name, and no size.
pipes(Config) ->
    {C, _, _} = up(Config),
    Out = ran(C, ["/probe/self"]),
    [?assertNotEqual(nomatch, binary:match(Out, L)) || L <- [<<"session own">>,
        <<"terminal none">>, <<"ttyname none">>, <<"fd 0 pipe:">>, <<"fd 2 pipe:">>]],
    P = piped(C, ["/bin/cat"]),
    ?assertEqual({error, enotty}, erlxc:resize(P, 24, 80)),
    ok = erlxc:send(P, <<0, 3, 4, 13, 10, 255>>),
    ?assertEqual({ok, <<0, 3, 4, 13, 10, 255>>}, erlxc:recv(P, 6)).

%% Standard error goes where it was told to go.
standard_error(Config) ->
    {C, _, _} = up(Config),
    Script = "echo one; echo two >&2; echo three",
    Run = fun(Opts) ->
        {ok, R} = erlxc:run(C, ["/bin/sh", "-c", Script], Opts),
        {maps:get(stdout, R), maps:get(stderr, R)}
    end,
    ?assertEqual({<<"one\nthree\n">>, <<"two\n">>}, Run([])),
    ?assertEqual({<<"one\nthree\n">>, <<"two\n">>}, Run([{stderr, separate}])),
    ?assertEqual({<<"one\ntwo\nthree\n">>, <<>>}, Run([{stderr, stdout}])),
    ?assertEqual({<<"one\nthree\n">>, <<>>}, Run([{stderr, null}])),
    P = command(C, Script ++ "; read x", [{pty, false}, {stderr, separate}]),
    ?assertEqual([{ok, <<"one\nthree\n">>}, {stderr, <<"two\n">>}],
        lists:sort([erlxc:recv(P, 10), erlxc:recv(P, 10)])),
    A = command(C, Script, [{pty, false}, {stderr, separate}]),
    ok = erlxc:setopts(A, [{active, true}]),
    Until = fun Until(Got) ->
        case received(A) of
            {erlxc_closed, _, _} = End -> lists:reverse([End | Got]);
            More -> Until([More | Got])
        end
    end,
    Got = Until([]),
    ?assertEqual(<<"one\nthree\n">>, << <<D/binary>> || {erlxc, _, D} <- Got >>),
    ?assertEqual(<<"two\n">>, << <<D/binary>> || {erlxc_stderr, _, D} <- Got >>),
    ?assertEqual({erlxc_closed, A, {exit_status, 0}}, lists:last(Got)).

%% The end of input arrives behind all that was sent; on a pty it is the terminal's
%% end-of-file character, after which the program goes on.
end_of_file(Config) ->
    {C, _, _} = up(Config),
    P = piped(C, "sleep 0.1; wc -c"),
    ?assertEqual({error, timeout}, erlxc:send(P, binary:copy(<<"x">>, 1000000), 0)),
    ?assertEqual(ok, erlxc:eof(P)),
    ?assertMatch({error, E} when E =:= epipe; E =:= closed, erlxc:send(P, "late")),
    ?assertEqual({<<"1000000\n">>, {exit_status, 0}}, collect(P)),
    T = command(C, "cat; echo next; cat", [{pty, {24, 80}}]),
    ok = erlxc:send(T, "a line\n"),
    ok = erlxc:eof(T),
    expect(T, "next\r\n"),
    ok = erlxc:send(T, "more\n"),
    ok = erlxc:eof(T),
    ?assertMatch({_, {exit_status, 0}}, collect(T)).

%% A container's own init is a stream: its input, output, error and status.
init_as_stream(Config) ->
    Name = container(Config, []),
    Script = "read x; echo got $x; echo bad >&2; cat >/dev/null; exit 9",
    {ok, P} = named(Config, Name, [{stderr, separate}, {start, ["/bin/sh", "-c", Script]}]),
    ok = erlxc:send(P, "this\n"),
    ?assertEqual({ok, <<"got this\n">>}, erlxc:recv(P, 9, 5000)),
    ?assertEqual({stderr, <<"bad\n">>}, erlxc:recv(P, 1, 5000)),
    ?assertEqual({error, ebusy}, erlxc:spawn(P, [{start, ["/bin/true"]}])),
    ?assertMatch({ok, #{stdout := <<"/proc/1\n">>}}, erlxc:run(P, ["ls", "-d", "/proc/1"])),
    ok = erlxc:eof(P),
    ?assertEqual({ok, {exit_status, 9}}, erlxc:wait(P, 5000)),
    ?assertEqual({error, closed}, erlxc:recv(P)),
    eventually(fun() -> is(<<"STOPPED">>, liblxc:state(erlxc:container(P))) end, 5000),
    ok = erlxc:stop(P),
    gone(Config, Name).

%% An init that is killed says so; one whose process is stopped takes its container
%% with it.
init_ends(Config) ->
    Name = container(Config, []),
    {ok, P} = named(Config, Name, [{start, ["/bin/sleep", "1000"]}]),
    ok = erlxc:signal(P, 9),
    ?assertEqual({ok, {signal, 9}}, erlxc:wait(P, 5000)),
    ok = erlxc:stop(P),
    {ok, Q} = named(Config, Name, [{start, [{useinit, 0}, {argv, ["/bin/sleep", "1000"]}]}]),
    Init = liblxc:init_pid(erlxc:container(Q)),
    ok = erlxc:stop(Q),
    ?assertNot(alive(Init)),
    gone(Config, Name).

%% The console is read and written; its end leaves the container as it is, and the
%% container's is its own.
console(Config) ->
    {C, _, _} = up(Config),
    {ok, P} = erlxc:spawn(C, [{exec, ["/bin/sh", "-c", "read x </dev/console; echo $x"]}]),
    {ok, K} = erlxc:console(P),
    ok = erlxc:send(K, "typed\n"),
    ?assertMatch({<<"typed", _/binary>>, {exit_status, 0}}, collect(P)),
    ?assertMatch({error, _}, erlxc:console(P)),
    ok = erlxc:stop(K),
    {ok, L} = erlxc:console(P),
    ran(C, ["/bin/sh", "-c", "echo shown >/dev/console"]),
    expect(L, "shown"),
    true = liblxc:stop(C),
    ?assertEqual({ok, unknown}, erlxc:wait(L, 5000)),
    {error, closed} = erlxc:recv(L).

%% A console that nobody reads holds up neither its writer nor the monitor, and says
%% how much it has lost.
console_unread(Config) ->
    {C, _, _} = up(Config),
    {ok, P} = erlxc:spawn(C, [{exec, ["/bin/cat"]}]),
    {ok, K} = erlxc:console(P),
    N = soak(4000000),
    Writer = async(fun() ->
        ran(C, ["/bin/sh", "-c", io_lib:format("yes | head -c ~b >/dev/console", [N])])
    end),
    States = watch(Writer, fun() -> timed(fun() -> liblxc:state(C) end) end),
    [begin ?assertEqual(<<"RUNNING">>, S), among(0, 1000, Ms) end || {Ms, S} <- States],
    Got = drained(K, 0),
    Lost = receive {erlxc_dropped, K, L} -> L after 5000 -> error(nothing_dropped) end,
    ?assert(Got < N),
    ?assert(Got + Lost + dropped(K) >= N),
    ran(C, ["/bin/sh", "-c", "echo fresh >/dev/console"]),
    expect(K, "fresh").

%% What Look gives, over and over, until a process has ended.
watch({Pid, Ref} = Async, Look) ->
    receive
        {'DOWN', Ref, process, Pid, {async, <<_/binary>>}} -> [];
        {'DOWN', Ref, process, Pid, Reason} -> error(Reason)
    after 20 -> [Look() | watch(Async, Look)]
    end.

drained(K, N) ->
    case erlxc:recv(K, 0, 500) of
        {ok, Data} -> drained(K, N + byte_size(Data));
        {error, timeout} -> N
    end.

dropped(K) ->
    receive {erlxc_dropped, K, N} -> N + dropped(K) after 0 -> 0 end.

%% Wrong requests are badarg, those for what has ended say closed, and the port goes on.
requests(Config) ->
    {C, _, _} = up(Config),
    True = [<<"/bin/true">>],
    [?assertError(badarg, erlxc_drv:open(C, attach, Args)) || Args <- [
        [[], #{}], [a, #{}], [True, []], [True, #{nosuch => 1}], [True, #{pty => true}],
        [True, #{pty => {0, 1}}], [True, #{pty => {1, 65536}}], [True, #{stderr => both}],
        [True, #{env => [<<"A=b", 0, "c">>]}], [True, #{env => [a]}], [True, #{cd => 1}],
        [[<<"a", 0>>], #{}], [True, #{user => root}], [True, #{groups => [1]}]]],
    [?assertError(badarg, erlxc_drv:call(C, F, A)) || {F, A} <- [{write, [0, a]},
        {signal, [0, 0]}, {signal, [0, 65]}, {ack, [0, -1]}, {close, [a]}, {eof, []}]],
    {{ok, S, _}, _} = erlxc_drv:open(C, attach, [[<<"/bin/cat">>], #{}]),
    {{ok, Other, _}, _} = erlxc_drv:open(C, attach, [[<<"/bin/cat">>], #{}]),
    ?assertNotEqual(S, Other),
    ?assertEqual({{error, closed}, true}, closed(erlxc_drv:call(C, write, [S + Other + 1, <<>>]))),
    ok = erlxc_drv:close(C, S),
    [?assertEqual({F, {error, closed}}, {F, element(1, erlxc_drv:call(C, F, [S | A]))})
        || {F, A} <- [{write, [<<"x">>]}, {eof, []}, {resize, [1, 1]}, {signal, [1]}]],
    [?assertMatch({ok, _}, erlxc_drv:call(C, close, [X])) || X <- [S, Other, Other, 4000000000]],
    ?assertEqual(<<"RUNNING">>, liblxc:state(C)).

closed({Result, Why}) -> {Result, is_binary(Why)}.

%% The port sends no more than its window ahead, in frames of 64 KiB at most, whatever
%% is acknowledged beyond that, and begins after its reply.
window(Config) ->
    {C, _, _} = up(Config),
    {{ok, S, Pid}, _} = erlxc_drv:open(C, attach, [[<<"/probe/burst">>, <<"1048576">>], #{}]),
    ?assert(alive(Pid)),
    First = ahead(C, S),
    ?assertEqual(?WINDOW, byte_size(First)),
    ok = erlxc_drv:tell(C, ack, [S, 100000000]),
    Second = ahead(C, S),
    ?assertEqual(?WINDOW, byte_size(Second)),
    ok = erlxc_drv:tell(C, ack, [S, 1000]),
    Third = ahead(C, S),
    ?assertEqual(1000, byte_size(Third)),
    [ok = erlxc_drv:tell(C, ack, [S, ?WINDOW]) || _ <- lists:seq(1, 4)],
    Seen = <<First/binary, Second/binary, Third/binary>>,
    ?assertEqual({burst(), {exit_status, 0}}, rest(C, S, Seen)).

%% What comes without an acknowledgement, until nothing more does.
ahead(C, S) ->
    receive
        {erlxc_drv, C, S, {stdout, Data}} ->
            ?assert(byte_size(Data) =< 65536),
            <<Data/binary, (ahead(C, S))/binary>>
    after 300 -> <<>>
    end.

rest(C, S, Seen) ->
    receive
        {erlxc_drv, C, S, {stdout, Data}} ->
            ok = erlxc_drv:tell(C, ack, [S, byte_size(Data)]),
            rest(C, S, <<Seen/binary, Data/binary>>);
        {erlxc_drv, C, S, {exit, Status}} ->
            {Seen, Status}
    after 5000 -> error({no_end, byte_size(Seen)})
    end.

%% What waits to be written is bounded: what would be too much is refused, and what
%% waits is answered when the command ends.
queue_bounded(Config) ->
    {C, _, _} = up(Config),
    Before = rss(port(C)),
    P = piped(C, ["/probe/deaf"]),
    expect(P, "ready"),
    Piece = binary:copy(<<"x">>, 1 bsl 20),
    Sends = [async(fun() -> erlxc:send(P, Piece) end) || _ <- lists:seq(1, 40)],
    eventually(fun() -> is({error, enobufs}, erlxc:send(P, Piece, 100)) end, 5000),
    grown(40 * 1024, Before, rss(port(C))),
    ok = erlxc:signal(P, usr1),
    Answers = [await(S, 5000) || S <- Sends],
    ?assertEqual([], [A || A <- Answers, A =/= {error, closed}, A =/= {error, enobufs},
        A =/= {error, epipe}]),
    eventually(fun() -> rss(port(C)) < Before + 4096 orelse rss(port(C)) end, 2000).

%% --- The API ------------------------------------------------------------------------

%% Messages come as the mode says, one, some or all, with the end after the data, and
%% a passive process keeps what comes.
active_modes(Config) ->
    {C, _, _} = up(Config),
    P = piped(C, ["/bin/cat"]),
    Echo = fun(Data) -> ok = erlxc:send(P, Data) end,
    ok = erlxc:setopts(P, [{active, once}]),
    Echo("a"),
    ?assertEqual({erlxc, P, <<"a">>}, received(P)),
    Echo("b"),
    ?assertEqual({ok, <<"b">>}, erlxc:recv(P, 1, 5000)),
    ok = erlxc:setopts(P, [{active, 2}]),
    [begin Echo(D), ?assertEqual({erlxc, P, D}, received(P)) end || D <- [<<"c">>, <<"d">>]],
    ?assertEqual({erlxc_passive, P}, received(P)),
    ok = erlxc:setopts(P, [{active, 3}]),
    ok = erlxc:setopts(P, [{active, -3}]),
    ?assertEqual({erlxc_passive, P}, received(P)),
    [?assertEqual({error, einval}, erlxc:setopts(P, O))
        || O <- [[{active, maybe}], [{nosuch, 1}], [active], [{active, 32768}]]],
    ok = erlxc:setopts(P, [{active, true}]),
    ?assertEqual({error, einval}, erlxc:recv(P)),
    [begin Echo(D), ?assertEqual({erlxc, P, D}, received(P)) end || D <- [<<"e">>, <<"f">>]],
    ok = erlxc:setopts(P, [{active, false}]),
    Echo("g"),
    ok = erlxc:eof(P),
    {ok, {exit_status, 0}} = erlxc:wait(P, 5000),
    ok = erlxc:setopts(P, [{active, true}]),
    ?assertEqual({erlxc, P, <<"g">>}, received(P)),
    ?assertEqual({erlxc_closed, P, {exit_status, 0}}, received(P)).

%% Standard error of its own fills nobody's memory either while its reader is passive.
passive_stderr(Config) ->
    {C, _, _} = up(Config),
    P = command(C, "exec yes >&2", [{pty, false}, {stderr, separate}]),
    ?assertMatch({stderr, <<"y\n", _/binary>>}, erlxc:recv(P, 1, 5000)),
    Memory = erlang:memory(binary),
    receive after 500 -> ok end,
    grown(8 bsl 20, Memory, erlang:memory(binary)),
    ?assertEqual(0, element(2, process_info(self(), message_queue_len))),
    ?assertMatch({stderr, _}, erlxc:recv(P, 1, 5000)),
    ok = erlxc:stop(P).

%% recv gives as many bytes as were asked for, more than a window too, or what there
%% is; a time-out loses nothing, and there is one reader at a time.
recv_lengths(Config) ->
    {C, _, _} = up(Config),
    P = piped(C, ["/bin/cat"]),
    ok = erlxc:send(P, "abcdef"),
    ?assertEqual({ok, <<"ab">>}, erlxc:recv(P, 2)),
    ?assertEqual({ok, <<"cde">>}, erlxc:recv(P, 3, 5000)),
    ?assertEqual({error, timeout}, erlxc:recv(P, 2, 50)),
    ok = erlxc:send(P, "g"),
    ?assertEqual({ok, <<"fg">>}, erlxc:recv(P, 2)),
    Reader = async(fun() -> erlxc:recv(P) end),
    calling(Reader),
    ?assertEqual({error, ealready}, erlxc:recv(P)),
    ok = erlxc:send(P, "h"),
    ?assertEqual({ok, <<"h">>}, await(Reader, 5000)),
    B = piped(C, ["/probe/burst", "1048581"]),
    ?assertEqual({ok, burst()}, erlxc:recv(B, ?BURST, 10000)),
    ?assertEqual({error, closed}, erlxc:recv(B, 6, 5000)).

%% The owner gives the process away with the messages that he has not taken; the new
%% owner's end is the command's, the old one's is not.
controlling_process(Config) ->
    {C, _, Init} = up(Config),
    Test = self(),
    {Old, P} = owner(fun() ->
        Cat = piped(C, ["/bin/cat"]),
        ok = erlxc:setopts(Cat, [{active, true}]),
        ok = erlxc:send(Cat, "first"),
        eventually(fun() ->
            process_info(self(), message_queue_len) =/= {message_queue_len, 0}
        end, 5000),
        ok = erlxc:controlling_process(Cat, Test),
        Cat
    end),
    ?assertEqual({erlxc, P, <<"first">>}, received(P)),
    exit(Old, kill),
    ok = erlxc:send(P, "second"),
    ?assertEqual({erlxc, P, <<"second">>}, received(P)),
    {New, _} = owner(fun() -> ok end),
    ?assertEqual({error, not_owner}, await(async(fun() ->
        erlxc:controlling_process(P, self())
    end), 5000)),
    ok = erlxc:controlling_process(P, New),
    exit(New, kill),
    eventually(fun() -> is([], inside(Init)) end, 5000).

%% All who wait get the status, at once when it is known; who cannot wait has a time.
waiting(Config) ->
    {C, _, _} = up(Config),
    P = piped(C, ["/bin/cat"]),
    Waiters = [async(fun() -> erlxc:wait(P) end) || _ <- lists:seq(1, 10)],
    ?assertEqual({error, timeout}, erlxc:wait(P, 10)),
    ok = erlxc:signal(P, term),
    [?assertEqual({ok, {signal, 15}}, await(W, 5000)) || W <- Waiters],
    ?assertEqual({ok, {signal, 15}}, erlxc:wait(P)),
    ?assertError(badarg, erlxc:signal(P, nosuch)).

%% run gives status, output and error of a command that got its input, within limits
%% of time and size that kill it.
run(Config) ->
    {C, Name, Init} = up(Config),
    Big = binary:copy(<<"0123456789">>, 300000),
    ?assertEqual({ok, #{status => {exit_status, 0}, stdout => Big, stderr => <<>>}},
        erlxc:run(C, ["cat"], [{input, Big}])),
    ?assertMatch({ok, #{status := {exit_status, 3}, stderr := <<"e\n">>}},
        erlxc:run(C, ["sh", "-c", "echo e >&2; exit 3"])),
    {Ms, Limited} = timed(fun() -> erlxc:run(C, ["yes"], [{max, 100000}]) end),
    {error, {limit, #{stdout := Output, stderr := <<>>}}} = Limited,
    among(0, 5000, Ms),
    among(1, 100000, byte_size(Output)),
    ?assertEqual(binary:copy(<<"y\n">>, byte_size(Output) div 2), Output),
    {Late, {error, timeout}} = timed(fun() ->
        erlxc:run(C, ["sh", "-c", "sleep 1000 & sleep 1000"], [{timeout, 200}])
    end),
    among(200, 2000, Late),
    ?assertEqual({error, enoent}, erlxc:run(C, ["nosuch"])),
    ?assertEqual({error, {badarg, {nosuch, 1}}}, erlxc:run(C, ["true"], [{nosuch, 1}])),
    eventually(fun() -> is([], inside(Init)) end, 2000),
    ?assertEqual([], [M || M <- element(2, process_info(self(), messages))]),
    true = liblxc:stop(C),
    ?assertEqual({error, esrch}, erlxc:run(C, ["true"])),
    _ = Name.

%% A name's container is brought up from whatever state it is in: nothing, stopped,
%% being started, running, frozen.
spawn_from_every_state(Config) ->
    [begin
        {Name, Stop} = Prepare(),
        {ok, P} = named(Config, Name, [{config, [{"lxc.net.0.type", "empty"}]}]),
        ok = erlxc:send(P, "echo $((6 * 7))z\n"),
        expect(P, "42z"),
        ok = erlxc:stop(P),
        Stop(),
        gone(Config, Name)
    end || Prepare <- [
        fun() -> {name(Config), fun() -> ok end} end,
        fun() -> {container(Config, []), fun() -> ok end} end,
        fun() -> elsewhere(Config, fun(C) -> {ok, _} = liblxc:start(C) end) end,
        fun() ->
            elsewhere(Config, fun(C) -> {ok, _} = liblxc:start(C), true = liblxc:freeze(C) end)
        end,
        fun() -> elsewhere(Config, fun(C) -> starting(Config, C) end) end]],
    {ok, T} = named(Config, <<>>, [{config, [{"lxc.net.0.type", "empty"}]}]),
    Temporary = liblxc:name(erlxc:container(T)),
    ok = erlxc:stop(T),
    ?assertNot(filelib:is_file(filename:join(path(Config), Temporary))).

%% A container of another driver's, and how to end that.
elsewhere(Config, Bring) ->
    Name = container(Config, []),
    C = driver(Config, Name, [{shutdown, 0}]),
    Bring(C),
    {Name, fun() -> erlxc_drv:stop(C) end}.

starting(Config, C) ->
    Mark = tmp(Config, [liblxc:name(C), ".mark"]),
    Hook = script(Config, [liblxc:name(C), ".hook"], [": >" ++ Mark, "sleep 1"]),
    true = liblxc:set_config_item(C, "lxc.hook.pre-start", Hook),
    spawn(fun() -> catch liblxc:start(C) end),
    eventually(fun() -> filelib:is_file(Mark) end, 5000).

%% Many who spawn the same stopped container at once all get in.
spawn_in_a_rush(Config) ->
    Name = container(Config, ["lxc.pty.max = 1024"]),
    C = driver(Config, Name, [{shutdown, 0}]),
    Spawns = [async(fun() ->
        {ok, P} = erlxc:spawn(C, [{exec, ["/bin/echo", "in"]}]),
        collect(P)
    end) || _ <- lists:seq(1, 10)],
    [?assertEqual({<<"in\r\n">>, {exit_status, 0}}, await(S, 20000)) || S <- Spawns].

%% A container that does not come up, or dies on the way, is an error with liblxc's
%% reason, in bounded time, and nothing stays.
dies_on_the_way(Config) ->
    Fail = script(Config, "fail.hook", ["exit 1"]),
    Hang = script(Config, "hang.hook", ["exec sleep 5"]),
    [begin
        Name = container(Config, Lines),
        {Ms, {error, Reason}} = timed(fun() -> named(Config, Name, Opts) end),
        among(0, 8000, Ms),
        ?assertEqual({Reason, true}, {Reason, Says(Reason)}),
        gone(Config, Name)
    end || {Lines, Opts, Says} <- [
        {[["lxc.hook.pre-start = ", Fail]], [], fun({start, _, Why}) -> Why =/= <<>> end},
        {["lxc.init.cmd = /nosuch"], [], fun({start, _, Why}) -> Why =/= <<>> end},
        {["lxc.init.cmd = /bin/false"], [], fun(R) -> R =/= <<>> end},
        {[["lxc.hook.pre-start = ", Hang]], [{timeout, 500}], fun(R) -> R =:= timeout end},
        {[], [{config, [{"lxc.bogus", "1"}]}],
            fun({set_config_item, false, Why}) ->
                binary:match(Why, <<"lxc.bogus">>) =/= nomatch
            end},
        {[], [{config, [{load, "/nosuch"}]}], fun({load_config, false, Why}) -> Why =/= <<>> end},
        {[], [{exec, ["nosuch"]}], fun(R) -> R =:= enoent end}]],
    Undefined = name(Config),
    ?assertMatch({error, {create, false, <<_, _/binary>>}},
        named(Config, Undefined, [{create, [{template, "/bin/false"}]}])),
    gone(Config, Undefined).

%% An option that is not known, or not of its kind, is named, and nothing is started.
bad_options(Config) ->
    Name = container(Config, []),
    [?assertEqual({error, {badarg, O}}, named(Config, Name, [O])) || O <- [nosuch, {nosuch, 1},
        {pty, 1}, {pty, {0, 80}}, {pty, {24, 65536}}, {stderr, both}, {exec, atom},
        {env, [atom]}, {timeout, -1}, {timeout, soon}, {cd, atom}, {user, {}},
        {groups, root}, {start, [{nosuch, 1}]}, {create, [{nosuch, 1}]}, {config, [atom]},
        {chroot, [{link, "a", "b"}]}, {cgroup, [key]}]],
    ?assertEqual({error, {badarg, {nosuch, 1}}},
        named(Config, Name, [{driver, [{nosuch, 1}]}])),
    ?assertMatch({error, _}, erlxc:spawn(Name, not_a_list)),
    ?assertEqual([], leftovers(Name, Config)).

%% Configuration in order, cgroup items, environment, directory, type and creation are
%% as spawn was told.
configured(Config) ->
    Name = name(Config),
    File = tmp(Config, [Name, ".conf"]),
    ok = file:write_file(File, "lxc.environment = L=2\n"),
    {ok, P} = named(Config, Name, [{create, [{template, "busybox"}]}, {type, temporary},
        {config, [{"lxc.net.0.type", "empty"}, {"lxc.environment", "X=1"}, "lxc.environment",
            {load, File}, {"lxc.environment", "Y=3"}]},
        {cgroup, [{"pids.max", "77"}]}, {env, [{"A", "b c"}, "D=e"]}, {cd, "/bin"},
        {exec, ["/bin/sh", "-c", "echo $A,$D; pwd; cat /proc/1/environ | tr '\\0' '\\n'; cat"]}]),
    C = erlxc:container(P),
    Out = expect(P, "Y=3"),
    [?assertNotEqual({X, nomatch}, {X, binary:match(Out, X)})
        || X <- [<<"b c,e\r\n/bin\r\n">>, <<"L=2">>]],
    ?assertEqual(nomatch, binary:match(Out, <<"X=1">>)),
    ?assertEqual(<<"77">>, string:trim(liblxc:get_cgroup_item(C, "pids.max"))),
    ?assertEqual(temporary, erlxc:type(P)),
    ok = erlxc:stop(P),
    ?assertNot(filelib:is_file(filename:join(path(Config), Name))),
    gone(Config, Name).

%% Directories, copies and files are put into the root file system before the start,
%% with their modes.
put_into_rootfs(Config) ->
    Name = container(Config, []),
    From = script(Config, [Name, ".tool"], ["echo a tool"]),
    {ok, P} = named(Config, Name, [{pty, false},
        {chroot, [{dir, "/srv/a"}, {dir, "/srv/a/b", 8#700}, {file, "/srv/a/f", ["da", <<"ta">>]},
            {file, "/srv/a/x", "#!/bin/sh\necho run\n", 8#755}, {copy, From, "/bin/tool"},
            {copy, From, "/bin/tool2", 8#711}]},
        {exec, ["/bin/sh", "-c", "cat /srv/a/f; /srv/a/x; tool; cd /; "
            "stat -c '%a %u' srv/a srv/a/b srv/a/f bin/tool bin/tool2"]}]),
    ?assertEqual({<<"datarun\na tool\n755 0\n700 0\n644 0\n755 0\n711 0\n">>, {exit_status, 0}},
        collect(P)),
    ok = erlxc:stop(P).

%% No entry goes through a link out of the root file system, nor through .., at its
%% end or on the way, for a directory, a file or a copy.
symlinks_out_of_rootfs(Config) ->
    Host = tmp(Config, "outside"),
    ok = filelib:ensure_dir(filename:join(Host, "x")),
    ok = file:write_file(filename:join(Host, "victim"), "untouched"),
    Up = lists:append(lists:duplicate(20, "../")),
    From = script(Config, "copied", []),
    Paths = ["/abs/new", "/rel/new", "/abs/victim", "/final", "/dangling", "/deep/abs/new",
        Up ++ Host ++ "/new", "/proc/1/root" ++ Host ++ "/new"],
    [begin
        Name = container(Config, []),
        Root = rootfs(Config, Name),
        ok = file:make_dir(filename:join(Root, "deep")),
        [ok = file:make_symlink(To, filename:join(Root, Link)) || {To, Link} <- [{Host, "abs"},
            {Up ++ Host, "rel"}, {Host ++ "/victim", "final"}, {Host ++ "/new", "dangling"},
            {Host, "deep/abs"}]],
        Result = named(Config, Name, [{chroot, [Entry(Path)]}, {exec, ["/bin/true"]}]),
        ?assertEqual({Entry(Path), {ok, ["victim"]}}, {Entry(Path), file:list_dir(Host)}),
        ?assertEqual({ok, <<"untouched">>}, file:read_file(filename:join(Host, "victim"))),
        case Result of
            {ok, P} -> ok = erlxc:stop(P);
            {error, {Step, _, _}} -> ?assertMatch("chroot_" ++ _, atom_to_list(Step))
        end
    end || Path <- Paths, Entry <- [fun(P) -> {dir, P} end, fun(P) -> {file, P, "new"} end,
        fun(P) -> {copy, From, P} end]].

%% What is asked of a stream's container: its driver, type, reboot, shutdown and stop.
container_calls(Config) ->
    {C, Name, Init} = up(Config),
    {ok, P} = erlxc:spawn(C, [{exec, ["/bin/cat"]}]),
    {ok, Q} = erlxc:spawn(P, [{exec, ["/bin/cat"]}]),
    ?assertEqual([C, C], [erlxc:container(X) || X <- [P, Q]]),
    ?assertEqual(transient, erlxc:type(P)),
    ?assertEqual(true, erlxc:type(P, permanent)),
    ?assertEqual(permanent, liblxc:type(C)),
    ?assertEqual(true, erlxc:type(P, transient)),
    ?assert(liblxc:stop(C)),
    [?assertMatch({ok, {signal, 9}}, erlxc:wait(X, 5000)) || X <- [P, Q]],
    ?assertNot(alive(Init)),
    Again = erlxc_test:start_clean(C, Config, Name),
    {ok, R} = erlxc:spawn(C, [{exec, ["/bin/cat"]}]),
    ?assert(erlxc:reboot(R)),
    ?assertMatch({ok, {signal, _}}, erlxc:wait(R, 10000)),
    eventually(fun() -> not lists:member(liblxc:init_pid(C), [-1, Again]) end, 10000),
    {ok, S} = erlxc:spawn(C),
    ?assert(erlxc:exit(S, kill)),
    erlxc_test:stopped(C),
    ok = file:delete(filename:join(rootfs(Config, Name), "ready")),
    _ = erlxc_test:start_clean(C, Config, Name),
    {ok, T} = erlxc:spawn(C),
    ?assert(erlxc:exit(T, normal)),
    erlxc_test:stopped(C).

%% A linked process and its owner end with each other; one that is not linked leaves
%% its owner alone.
linked(Config) ->
    {C, _, Init} = up(Config),
    {Owner, P} = owner(fun() -> {ok, P} = erlxc:spawn_link(C), P end),
    Ref = monitor(process, Owner),
    exit(P, kill),
    receive {'DOWN', Ref, process, Owner, killed} -> ok after 5000 -> error(owner_alive) end,
    {Second, _} = owner(fun() -> {ok, Q} = erlxc:spawn_link(C, [{exec, ["/bin/cat"]}]), Q end),
    exit(Second, shutdown),
    eventually(fun() -> is([], inside(Init)) end, 5000),
    {Third, R} = owner(fun() -> {ok, R} = erlxc:spawn(C), R end),
    exit(R, kill),
    eventually(fun() -> is([], inside(Init)) end, 5000),
    ?assert(is_process_alive(Third)),
    ?assertEqual({error, enoent}, await(async(fun() ->
        erlxc:spawn_link(C, [{exec, ["nosuch"]}])
    end), 5000)).

%% Under a supervisor a container comes back when its command, its init or its port is
%% killed, and ends with the supervisor.
supervised(Config) ->
    Name = container(Config, []),
    Spec = erlxc:child_spec(Name, [{exec, ["/bin/sleep", "1000"]},
        {driver, [{shutdown, 0} | drv_opts(Config)]}]),
    {Owner, Sup} = owner(fun() ->
        {ok, Sup} = supervisor:start_link(?MODULE, Spec),
        Sup
    end),
    Child = fun(Old) ->
        eventually(fun() ->
            case supervisor:which_children(Sup) of
                [{_, P, worker, _}] when is_pid(P), P =/= Old -> {ok, P};
                Other -> Other
            end
        end, 15000)
    end,
    lists:foldl(fun(Kill, P) ->
        Kill(P),
        Child(P)
    end, Child(none), [fun(P) -> exit(P, kill) end, fun(P) -> erlxc:signal(P, kill) end,
        fun(P) -> catch erlxc:exit(P, kill) end, fun(_) -> signal(port_pid(Name), "KILL") end]),
    Ref = monitor(process, Sup),
    exit(Owner, shutdown),
    receive {'DOWN', Ref, process, Sup, _} -> ok after 15000 -> error(supervisor) end,
    gone(Config, Name).

init(Spec) ->
    {ok, {#{strategy => one_for_one, intensity => 10, period => 60}, [Spec]}}.

%% A second node drives a container by its pid, bytes, messages and all; when that node
%% is killed its commands end.
other_node(Config) ->
    {C, _, Init} = up(Config),
    Epmd = open_port({spawn_executable, os:find_executable("epmd")}, [exit_status]),
    Host = lists:concat(["erlxc", os:getpid(), "@127.0.0.1"]),
    {ok, _} = eventually(fun() ->
        case net_kernel:start([list_to_atom(Host), longnames]) of
            {ok, _} = Ok -> {ok, Ok};
            Error -> Error
        end
    end, 5000),
    {ok, Peer, Node} = peer:start_link(#{name => peer:random_name(), host => "127.0.0.1",
        longnames => true, args => ["-pa", filename:dirname(code:which(erlxc)),
            filename:dirname(code:which(?MODULE)), "-setcookie",
            atom_to_list(erlang:get_cookie())]}),
    ?assertEqual(ok, erpc:call(Node, ?MODULE, from_there, [C])),
    {ok, P} = erpc:call(Node, ?MODULE, owned_there, [C]),
    ok = erlxc:send(P, "to there and back"),
    ?assertMatch({ok, <<"to there and back">>}, erlxc:recv(P, 17, 5000)),
    unlink(Peer),
    signal(erpc:call(Node, ?MODULE, os_pid, []), "KILL"),
    eventually(fun() -> is([], inside(Init)) end, 10000),
    ok = net_kernel:stop(),
    %% One that was there before is not ours to end.
    case erlang:port_info(Epmd, os_pid) of
        {os_pid, Pid} -> signal(Pid, "TERM");
        undefined -> ok
    end.

os_pid() ->
    list_to_integer(os:getpid()).

from_there(C) ->
    {ok, #{stdout := <<"there\n">>}} = erlxc:run(C, ["echo", "there"]),
    {ok, P} = erlxc:spawn(C, [{exec, ["/bin/cat"]}, {pty, false}]),
    ok = erlxc:setopts(P, [{active, true}]),
    ok = erlxc:send(P, "message"),
    {erlxc, P, <<"message">>} = received(P),
    ok = erlxc:eof(P),
    {erlxc_closed, P, {exit_status, 0}} = received(P),
    erlxc:stop(P).

owned_there(C) ->
    Self = self(),
    {Owner, Ref} = spawn_monitor(fun() ->
        Self ! {self(), erlxc:spawn(C, [{exec, ["/bin/cat"]}, {pty, false}])},
        receive after infinity -> ok end
    end),
    receive {Owner, Result} -> demonitor(Ref), Result end.

%% --- Commands that misbehave --------------------------------------------------------

%% A command that reads nothing while 10 MB are sent to it holds up its senders, and
%% nobody else.
ignores_stdin(Config) ->
    {C, _, _} = up(Config),
    [begin
        expect(P, "ready"),
        Send = async(fun() -> erlxc:send(P, binary:copy(<<"x">>, 10000000)) end),
        eventually(fun() -> is({error, timeout}, erlxc:send(P, "x", 50)) end, 5000),
        {Ms, _} = timed(fun() -> ran(C, ["/bin/true"]) end),
        among(0, 1000, Ms),
        ok = erlxc:signal(P, usr1),
        ?assertEqual({<<>>, {exit_status, 3}}, collect(P)),
        ?assertMatch({error, E} when E =:= closed; E =:= epipe, await(Send, 5000))
    end || P <- [raw(C, "exec /probe/deaf"), piped(C, ["/probe/deaf"])]].

%% One that closes its standard descriptors and lives has not ended, and costs nothing.
closes_its_ends(Config) ->
    {C, _, _} = up(Config),
    [begin
        expect(P, "ready"),
        ?assertEqual({error, timeout}, erlxc:recv(P, 0, 100)),
        ?assertEqual({error, timeout}, erlxc:wait(P, 0)),
        Before = ticks(port(C)),
        receive after 1000 -> ok end, % the time that is measured
        grown(2, Before, ticks(port(C))),
        ok = erlxc:signal(P, usr1),
        ?assertEqual({ok, {exit_status, 3}}, erlxc:wait(P, 5000)),
        ?assertEqual({error, closed}, erlxc:recv(P))
    end || P <- both(C, "exec /probe/deaf mute")].

%% Hundredths of a second of the CPU.
ticks(Pid) ->
    lists:sum([binary_to_integer(lists:nth(N, stat(Pid))) || N <- [12, 13]]).

%% A terminal that nobody had open for a while goes on when it is opened again.
opens_terminal_again(Config) ->
    {C, _, _} = up(Config),
    P = command(C, "exec </dev/null >/dev/null 2>&1; sleep 0.3; echo again >/dev/tty; "
        "sleep 0.3; read x </dev/tty; echo $x >/dev/tty; exit 4", [{pty, {24, 80}}]),
    expect(P, "again"),
    ok = erlxc:send(P, "typed\n"),
    {Out, {exit_status, 4}} = collect(P),
    ?assertNotEqual(nomatch, binary:match(Out, <<"typed">>)).

%% A daemon that holds the pipe or pty does not hold back the status.
daemon_holds_output(Config) ->
    {C, _, Init} = up(Config),
    [begin
        {Ms, {Out, Status}} = timed(fun() ->
            collect(command(C, ["/probe/daemon", "keep"], Opts))
        end),
        ?assertMatch({[_ | _], {exit_status, 7}}, {string:lexemes(Out, "\r\n"), Status}),
        among(0, 2500, Ms)
    end || Opts <- [[{pty, false}], [{pty, {24, 80}}]]],
    ?assert(length(inside(Init)) >= 1),
    {ok, P} = erlxc:spawn(C, [{exec, ["/bin/sh", "-c", "sleep 1000 & echo out; exit 6"]},
        {pty, false}]),
    ?assertEqual({<<"out\n">>, {exit_status, 6}}, collect(P)),
    ?assert(liblxc:stop(C)),
    ?assertEqual([], inside_any(Init)).

inside_any(Init) ->
    try inside(Init) catch error:{badmatch, {error, enoent}} -> [] end.

%% One that forks twice and leaves its session cannot leave its container, holds back
%% nothing, and is no child of the port's.
daemon_escapes(Config) ->
    {C, _, Init} = up(Config),
    {Ms, {_, {exit_status, 7}}} = timed(fun() -> collect(piped(C, ["/probe/daemon", "drop"])) end),
    among(0, 500, Ms),
    [Daemon] = eventually(fun() -> case inside(Init) of [_] = L -> {ok, L}; L -> L end end, 2000),
    Cgroup = fun(P) -> file:read_file(lists:concat(["/proc/", P, "/cgroup"])) end,
    ?assertEqual(Cgroup(Init), Cgroup(Daemon)),
    ?assertEqual(Init, ppid(Daemon)),
    ?assert(liblxc:stop(C)),
    ?assertNot(alive(Daemon)).

%% Of a command that writes 1 MB and ends at once every byte arrives, each time.
burst_and_exit(Config) ->
    {C, _, _} = up(Config),
    Expected = burst(),
    Argv = ["/probe/burst", integer_to_list(?BURST)],
    [begin
        {ok, #{stdout := Out, status := Status}} = erlxc:run(C, Argv),
        ?assertEqual({N, {exit_status, 0}, true}, {N, Status, Out =:= Expected}),
        N rem 10 =:= 0 andalso
            ?assertEqual({N, {Expected, {exit_status, 0}}}, {N, collect(command(C, Argv, []))})
    end || N <- lists:seq(1, soak(100, 1000))].

%% A command that a signal kills says which, by itself and by erlxc's, after its output.
killed_by_signals(Config) ->
    {C, _, _} = up(Config),
    [begin
        ?assertEqual({N, {ok, #{status => {signal, N}, stdout => <<"out\n">>, stderr => <<>>}}},
            {N, erlxc:run(C, ["/probe/die", integer_to_list(N)])}),
        P = piped(C, ["/bin/sleep", "1000"]),
        ok = erlxc:signal(P, N),
        ?assertEqual({N, {ok, {signal, N}}}, {N, erlxc:wait(P, 5000)})
    end || N <- lists:seq(1, 15)],
    [?assertMatch({N, {ok, #{status := {exit_status, N}}}},
        {N, erlxc:run(C, ["/bin/sh", "-c", io_lib:format("exit ~b", [N])])})
        || N <- [0, 1, 2, 126, 127, 128, 137, 255]].

%% Bytes of two streams never cross.
two_cats(Config) ->
    {C, _, _} = up(Config),
    Cats = both(C, "exec cat") ++ both(C, "exec cat"),
    Echoes = [async(fun() ->
        Data = crypto:strong_rand_bytes(soak(1000000)),
        Send = async(fun() -> erlxc:send(P, Data) end),
        Got = erlxc:recv(P, byte_size(Data), 30000),
        {await(Send, 5000), Got =:= {ok, Data}}
    end) || P <- Cats],
    [?assertEqual({ok, true}, await(E, 60000)) || E <- Echoes],
    [ok = erlxc:stop(P) || P <- Cats].

%% Of an interactive shell ^C reaches the job in the foreground, ^Z stops it, fg takes
%% it up again.
job_control(Config) ->
    {C, _, Init} = up(Config),
    P = command(C, ["/bin/sh", "-i"], [{pty, {24, 80}}]),
    Type = fun(Keys, Answer) -> ok = erlxc:send(P, Keys), expect(P, Answer) end,
    Sleep = fun() ->
        eventually(fun() ->
            [ok || Q <- inside(Init), comm(Q) =:= <<"sleep">>, state_of(Q) =:= "S",
                lists:nth(3, stat(Q)) =:= lists:nth(6, stat(Q))] =/= []
        end, 5000)
    end,
    Type("echo $((6 * 7))z\n", "42z"),
    ok = erlxc:send(P, "sleep 1000\n"),
    Sleep(),
    Type([3], "^C"),
    Type("echo st$?z\n", "st130z"),
    ok = erlxc:send(P, "sleep 1000\n"),
    Sleep(),
    Type([26], "Stopped"),
    Type("echo st$((140 + 8))z\n", "st148z"),
    ok = erlxc:send(P, "fg\n"),
    Sleep(),
    Type([3], "^C"),
    Type("echo st$?z\n", "st130z"),
    ok = erlxc:eof(P),
    ?assertMatch({_, {exit_status, _}}, collect(P)).

%% --- Load -----------------------------------------------------------------------------

%% 100 MB out of a pipe and out of a pty arrive whole; while nobody reads, the command
%% is stopped and neither port nor VM grows by more than a window.
transfer_out(Config) ->
    {C, Name, Init} = up(Config),
    Size = soak(20000000, 100000000),
    Hash = random_file(filename:join(rootfs(Config, Name), "data"), Size),
    [begin
        Cat = eventually(fun() -> the(Init, <<"cat">>) end, 5000),
        {Port, Vm} = {rss(port(C)), erlang:memory(binary)},
        At = stalled(Cat),
        among(1, 2000000, At),
        grown(4096, Port, rss(port(C))),
        grown(4 bsl 20, Vm, erlang:memory(binary)),
        ?assertEqual(Hash, hash_of(P, Size, crypto:hash_init(sha256))),
        ?assertEqual({<<>>, {exit_status, 0}}, collect(P)),
        grown(8192, Port, rss(port(C)))
    end || Way <- [fun raw/2, fun piped/2], P <- [Way(C, "exec cat /data")]].

the(Init, Comm) ->
    case [P || P <- inside(Init), comm(P) =:= Comm] of
        [P] -> {ok, P};
        Other -> Other
    end.

random_file(File, Size) ->
    sh("head -c ~b /dev/urandom >~s", [Size, File]),
    hd(string:lexemes(sh("sha256sum ~s", [File]), " ")).

%% How many bytes a process has read when it does not go on.
stalled(Pid) ->
    eventually(fun() ->
        case {bytes_read(Pid), receive after 100 -> bytes_read(Pid) end} of
            {N, N} -> {ok, N};
            Other -> Other
        end
    end, 10000).

bytes_read(Pid) ->
    {ok, Text} = file:read_file(lists:concat(["/proc/", Pid, "/io"])),
    {match, [N]} = re:run(Text, "rchar: ([0-9]+)", [{capture, [1], list}]),
    list_to_integer(N).

hash_of(_, 0, Hash) ->
    string:lowercase(binary_to_list(binary:encode_hex(crypto:hash_final(Hash))));
hash_of(P, Left, Hash) ->
    {ok, Data} = erlxc:recv(P, 0, 30000),
    hash_of(P, Left - byte_size(Data), crypto:hash_update(Hash, Data)).

%% 100 MB into a pipe and into a pty arrive whole; while the command does not read, its
%% sender waits and nothing grows.
transfer_in(Config) ->
    {C, _, Init} = up(Config),
    Block = crypto:strong_rand_bytes(1 bsl 20),
    Blocks = soak(20, 100),
    Hash = sha256(binary:copy(Block, Blocks)),
    [begin
        Head = eventually(fun() -> the(Init, <<"head">>) end, 5000),
        signal(Head, "STOP"),
        {Port, Vm} = {rss(port(C)), erlang:memory(binary)},
        Sender = async(fun() -> [ok = erlxc:send(P, Block) || _ <- lists:seq(1, Blocks)], sent end),
        eventually(fun() -> is({error, timeout}, erlxc:recv(P, 0, 500)) end, 5000),
        grown(4096, Port, rss(port(C))),
        grown(4 bsl 20, Vm, erlang:memory(binary)),
        signal(Head, "CONT"),
        {Out, {exit_status, 0}} = collect(P),
        ?assertEqual(sent, await(Sender, 5000)),
        ?assertEqual(Hash, hd(string:lexemes(binary_to_list(Out), " "))),
        grown(8192, Port, rss(port(C)))
    end || Way <- [fun raw/2, fun piped/2],
        P <- [Way(C, io_lib:format("head -c ~b | sha256sum", [Blocks bsl 20]))]].

%% While `yes' runs against a reader that takes a message a second, another stream of
%% the port answers within 50 ms, and nothing grows.
slow_reader(Config) ->
    {C, _, _} = up(Config),
    Seconds = soak(3, 10),
    Cat = raw(C, "exec cat"),
    Echo = fun() ->
        {Ms, {ok, <<"x">>}} = timed(fun() -> erlxc:send(Cat, "x"), erlxc:recv(Cat, 1, 5000) end),
        {Ms, <<"x">>}
    end,
    Echo(),
    {Port, Vm} = {rss(port(C)), erlang:memory(binary)},
    Reader = async(fun() ->
        [Yes, Pty] = [piped(C, ["/bin/yes"]), command(C, ["/bin/yes"], [])],
        [begin
            ok = erlxc:setopts(P, [{active, once}]),
            {erlxc, P, <<_, _/binary>>} = received(P),
            receive after 500 -> ok end
        end || _ <- lists:seq(1, Seconds), P <- [Yes, Pty]],
        <<>>
    end),
    Times = lists:sort([Ms || {Ms, _} <- watch(Reader, Echo)]),
    ?assert(length(Times) > 50),
    %% All but one in a hundred: this machine has other work, too.
    among(0, 50, lists:nth(length(Times) * 99 div 100, Times)),
    grown(4096, Port, rss(port(C))),
    grown(8 bsl 20, Vm, erlang:memory(binary)).

%% Of 10,000 short commands, 100 at a time, each status is right, and no process,
%% descriptor, pty or memory stays.
many_commands(Config) ->
    {C, _, Init} = up(Config),
    Port = port(C),
    Round = fun(Count) ->
        Workers = [async(fun() -> [short(C, W + N) || N <- lists:seq(1, Count div 100)] end)
            || W <- lists:seq(1, 100)],
        [?assertEqual([], [X || X <- await(W, 170000), X =/= ok]) || W <- Workers],
        eventually(fun() -> is([], inside(Init)) end, 5000),
        erlang:garbage_collect(C)
    end,
    Round(200),
    {Fds, Processes} = {descriptors(Port), length(processes())},
    {Rss, Vm, Ptys} = {rss(Port), erlang:memory(total), ran(C, ["ls", "/dev/pts"])},
    Round(soak(500, 10000)),
    ?assertEqual([], [P || P <- children(Port), not alive(P)]),
    ?assertEqual(Fds, descriptors(Port)),
    grown(2, Processes, length(processes())),
    ?assertEqual(Ptys, ran(C, ["ls", "/dev/pts"])),
    grown(2048, Rss, rss(Port)),
    grown(8 bsl 20, Vm, erlang:memory(total)).

short(C, N) ->
    Argv = ["/bin/sh", "-c", io_lib:format("echo ~b; exit ~b", [N, N rem 256])],
    Expected = {integer_to_binary(N), {exit_status, N rem 256}},
    Got = case N rem 4 of
        0 ->
            P = command(C, Argv, []),
            All = collect(P),
            ok = erlxc:stop(P),
            All;
        _ ->
            {ok, #{stdout := Out, status := Status}} = erlxc:run(C, Argv),
            {Out, Status}
    end,
    case {string:trim(element(1, Got)), element(2, Got)} of
        Expected -> ok;
        Other -> {N, Other}
    end.

%% --- What is left -----------------------------------------------------------------------

%% Commands that stay, on pipes and on ptys, with children.
residents(C) ->
    Script = "sleep 1000 & sleep 1000 & echo up; wait",
    All = both(C, Script) ++ [piped(C, ["/probe/deaf"]), command(C, ["/bin/sh", "-i"], [])],
    [expect(P, "up") || P <- lists:sublist(All, 2)],
    All.

%% A stream's end, however it comes, is that of its command's whole session, and of
%% nothing else.
closed_with_session(Config) ->
    {C, _, Init} = up(Config),
    Bystander = piped(C, ["/bin/cat"]),
    Others = inside(Init),
    [begin
        {Owner, Pids} = owner(fun() -> residents(C) end),
        ?assert(length(inside(Init)) >= 8),
        End(Owner, Pids),
        eventually(fun() -> is(Others, inside(Init)) end, 2000),
        exit(Owner, kill)
    end || End <- [fun(O, _) -> O ! exit end, fun(O, _) -> exit(O, kill) end,
        fun(_, Ps) -> [ok = erlxc:stop(P) || P <- Ps] end,
        fun(_, Ps) -> [exit(P, kill) || P <- Ps] end]],
    ok = erlxc:send(Bystander, "there"),
    ?assertEqual({ok, <<"there">>}, erlxc:recv(Bystander, 5, 5000)).

%% In a container that is not the port's to stop, nothing of a stream outlives the
%% port either, whoever ends it, and the container does not notice.
adopted(Config) ->
    Name = container(Config, ["lxc.pty.max = 1024"]),
    D = driver(Config, Name, [permanent]),
    Init = erlxc_test:start(D),
    ok = erlxc_drv:stop(D),
    [begin
        {Owner, C} = owner(fun() -> C = driver(Config, Name), residents(C), C end),
        End(Owner, C),
        eventually(fun() -> is({How, []}, {How, inside(Init)}) end, 3000),
        exit(Owner, kill),
        ?assert(alive(Init))
    end || {How, End} <- [{owner, fun(O, _) -> exit(O, kill) end},
        {stop, fun(_, C) -> erlxc_drv:stop(C) end}, {driver, fun(_, C) -> exit(C, kill) end},
        {sigterm, fun(_, C) -> signal(port(C), "TERM") end},
        {sigkill, fun(_, C) -> signal(port(C), "KILL") end}]],
    {ok, Vm} = erlxc_test:vm(?MODULE, there, [[T || {K, _} = T <- Config,
        lists:member(K, [base, lxcpath, token, engine])], Name]),
    ?assert(length(inside(Init)) >= 8),
    signal(erlxc_test:vm_pid(Vm), "KILL"),
    eventually(fun() -> is([], inside(Init)) end, 3000),
    ?assert(alive(Init)),
    New = driver(Config, Name),
    ?assert(liblxc:stop(New)).

there(Config, Name) ->
    residents(driver(Config, Name)),
    ok.

%% When a container stops under its streams, each ends with what it had written, and
%% whoever waits is answered.
container_ends(Config) ->
    {C, _, _} = up(Config),
    [T, P] = Both = both(C, "echo last; exec cat"),
    Readers = [async(fun() -> collect(X) end) || X <- Both],
    Q = piped(C, ["/bin/cat"]),
    ok = erlxc:setopts(Q, [{active, true}]),
    ?assert(liblxc:stop(C)),
    [?assertMatch({<<"last", _/binary>>, {signal, 9}}, await(R, 5000)) || R <- Readers],
    ?assertEqual({erlxc_closed, Q, {signal, 9}}, received(Q)),
    ?assertEqual({error, closed}, erlxc:send(T, "x")),
    _ = erlxc_test:start(C),
    ?assertEqual(<<"new\n">>, ran(C, ["echo", "new"])),
    ?assertEqual({error, closed}, erlxc:send(P, "x")).

%% When the port dies, whoever reads, writes or waits is told at once, and whoever
%% comes later.
port_ends(Config) ->
    {C, _, _} = up(Config),
    [P, R, S] = [piped(C, ["/bin/cat"]) || _ <- lists:seq(1, 3)],
    Q = piped(C, ["/probe/deaf"]),
    expect(Q, "ready"),
    ok = erlxc:setopts(R, [{active, true}]),
    Calls = [async(fun() -> erlxc:recv(P) end), async(fun() -> erlxc:send(Q, burst()) end)],
    Wait = async(fun() -> erlxc:wait(S) end),
    [calling(A) || A <- [Wait | Calls]],
    signal(port(C), "KILL"),
    [?assertEqual({error, closed}, await(A, 5000)) || A <- Calls],
    ?assertEqual({ok, unknown}, await(Wait, 5000)),
    ?assertEqual({erlxc_closed, R, unknown}, received(R)),
    [?assertEqual({error, closed}, erlxc:send(X, "x")) || X <- [P, Q, R, S]].
