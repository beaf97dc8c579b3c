%% SPDX-License-Identifier: ISC
%% The wire protocol and the loop: the port program driven byte by byte.
-module(port_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlxc_test, [
    name/1, container/1, path/1, tmp/2, script/3, nap/2, eventually/2, timed/1, among/3,
    sh/2, port_pid/1, children/1, child/2, comm/1, ppid/1, state_of/1, alive/1, signal/2,
    processes/1, probe/1, program/0, soak/1, flatten/1
]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, lxc}].

groups() ->
    [{lxc, [], cases()}].

cases() ->
    [ready_frame, replies, errors_are_answered, id_zero, encodings, malformed_frames,
        malformed_requests, malformed_headers, largest_frame, frame_of_zero, cut_frames,
        single_bytes, many_frames_at_once, end_of_file, end_in_a_frame, halt_request,
        signals, signals_ignored_at_entry, usage_errors, bad_names, help_and_version,
        start_failure, error_log, environment, program_not_writable, descriptors,
        soak_calls, closed_at_entry, limits_at_entry, stdout_full_end_of_file,
        stdout_full_sigterm, stdout_closed, query_worker_killed, query_worker_stuck,
        progress_unread, job_cancelled, jobs_overlap, no_zombies, log_frames, failures_unread].

init_per_suite(Config) ->
    ok = code:ensure_modules_loaded([erlxc_drv, liblxc]), % their atoms are the protocol's
    erlxc_test:setup(Config).

end_per_suite(Config) ->
    erlxc_test:teardown(Config).

init_per_group(Engine, Config) ->
    erlxc_test:engine(Engine, Config).

end_per_group(_, _) ->
    ok.

%% --- A port, raw -----------------------------------------------------------------

args(Config, Name) ->
    ["-n", Name, "-P", path(Config), "-e", atom_to_list(proplists:get_value(engine, Config))].

%% The port program with its pipes bare; standard error goes to a file.
open(Config) ->
    open(Config, name(Config), []).

open(Config, Name, Extra) ->
    run(Config, Name, args(Config, Name) ++ Extra, []).

run(Config, Name, Args, Opts) ->
    Err = tmp(Config, [Name, ".stderr"]),
    P = open_port({spawn_executable, "/bin/sh"},
        [{args, ["-c", "exec \"$@\" 2>" ++ Err, "sh", program() | Args]}, stream, binary,
            exit_status | Opts]),
    put({buffer, P}, <<>>),
    P.

%% A port that has said that it is ready.
ready(Config) ->
    ready(Config, name(Config), []).

ready(Config, Name, Extra) ->
    P = open(Config, Name, Extra),
    {ready, _} = frame(P),
    P.

stderr(Config, Name) ->
    {ok, Text} = file:read_file(tmp(Config, [Name, ".stderr"])),
    Text.

%% The next frame's term, events passed over, or {exit_status, N}.
frame(P) ->
    frame(P, 10000).

frame(P, Timeout) ->
    case get({buffer, P}) of
        <<Len:32, Frame:Len/binary, Rest/binary>> ->
            put({buffer, P}, Rest),
            case binary_to_term(Frame, [safe]) of
                {event, _} -> frame(P, Timeout);
                Term -> Term
            end;
        Buffer ->
            receive
                {P, {data, Bytes}} ->
                    put({buffer, P}, <<Buffer/binary, Bytes/binary>>),
                    frame(P, Timeout);
                {P, {exit_status, Status}} ->
                    {exit_status, Status}
            after Timeout -> error({no_frame, Buffer})
            end
    end.

bytes(P, Bytes) ->
    true = port_command(P, Bytes).

packet(Frame) ->
    [<<(iolist_size(Frame)):32>>, Frame].

request(P, Id, Command, Args) ->
    bytes(P, packet(term_to_binary({Id, Command, Args}))).

call(P, Id, Command, Args) ->
    request(P, Id, Command, Args),
    frame(P).

%% The port is there, and in step.
in_step(P) ->
    Id = erlang:unique_integer([positive]),
    ?assertMatch({reply, Id, <<_/binary>>, <<>>}, call(P, Id, name, [])).

%% The port ends by itself, with Status, within a time; what it sent before is
%% passed over.
ends(P, Status) ->
    case frame(P, 8000) of
        {exit_status, Got} -> ?assertEqual(Status, Got);
        _ -> ends(P, Status)
    end.

lines(Text) ->
    [L || L <- binary:split(Text, <<"\n">>, [global]), L =/= <<>>].

os_pid(P) ->
    {os_pid, Pid} = erlang:port_info(P, os_pid),
    Pid.

%% Runs the port program in a shell's pipeline: {Status, Stdout, Stderr}.
pipeline(Config, Before, Args, After) ->
    N = erlang:unique_integer([positive]),
    [Out, Err, St] = [tmp(Config, io_lib:format("~b.~s", [N, X])) || X <- [out, err, status]],
    Quoted = [[" '", A, "'"] || A <- [program() | Args]],
    _ = sh("~s { ~s 2>~s; echo $? >~s; } ~s >~s", [Before, Quoted, Err, St, After, Out]),
    [{ok, O}, {ok, E}, {ok, S}] = [file:read_file(F) || F <- [Out, Err, St]],
    {binary_to_integer(string:trim(S)), O, E}.

%% The frames in a file, end-of-file behind them.
feed(Config, Args, Bytes) ->
    File = tmp(Config, integer_to_list(erlang:unique_integer([positive]))),
    ok = file:write_file(File, Bytes),
    {Status, Out, Err} = pipeline(Config, ["cat ", File, " |"], Args, ""),
    {Status, [binary_to_term(F) || <<L:32, F:L/binary>> <= Out], Err}.

%% --- Frames ------------------------------------------------------------------------

%% The first frame is ready, with all that it promises.
ready_frame(Config) ->
    P = open(Config),
    {ready, Map} = frame(P),
    #{version := Version, protocol := 1, engines := Engines, liblxc := Lxc, os_pid := Pid} = Map,
    ?assertMatch({match, _}, re:run(Version, "^[0-9]+\\.[0-9]+\\.[0-9]+$")),
    ?assertMatch({match, _}, re:run(Lxc, "^[0-9]+\\.[0-9]+")),
    ?assert(lists:member(lxc, Engines)),
    ?assertEqual(os_pid(P), Pid).

%% A reply carries the request's id, its result, and a reason when it is a failure.
replies(Config) ->
    Name = name(Config),
    P = ready(Config, Name, []),
    ?assertEqual({reply, 1, Name, <<>>}, call(P, 1, name, [])),
    ?assertEqual({reply, 16#ffffffff, false, <<>>}, call(P, 16#ffffffff, defined, [])),
    {reply, 7, false, Why} = call(P, 7, set_config_item, [<<"lxc.bogus">>, <<"1">>]),
    ?assertNotEqual(<<>>, Why),
    {reply, 8, Rows, <<>>} = call(P, 8, commands, []),
    ?assert(lists:member({name, 0}, Rows)).

%% A request that is wrong, but a request, is answered, and the port goes on.
errors_are_answered(Config) ->
    P = ready(Config),
    ?assertEqual({raise, 1, undef}, call(P, 1, nosuch, [])),
    ?assertEqual({raise, 2, badarg}, call(P, 2, name, [a])),
    ?assertEqual({raise, 3, badarg}, call(P, 3, set_config_item, [<<"a", 0>>, <<>>])),
    ?assertEqual({raise, 4, badarg}, call(P, 4, wait, [<<"STOPPED">>, {}])),
    ?assertEqual({raise, 5, badarg}, call(P, 5, daemonize, [1 bsl 63])),
    ?assertEqual({raise, 6, badarg}, call(P, 6, name, [a | b])),
    ?assertEqual({raise, 7, badarg}, call(P, 7, daemonize, [1 | 0])),
    in_step(P).

%% Id 0 wants no answer and gets none, not even of an error.
id_zero(Config) ->
    P = ready(Config),
    request(P, 0, set_config_item, [<<"lxc.uts.name">>, <<"zero">>]),
    request(P, 0, name, []),
    request(P, 0, nosuch, []),
    request(P, 0, name, [a]),
    request(P, 0, state, []),
    request(P, 0, cancel, [12345]),
    ?assertEqual({reply, 1, <<"zero">>, <<>>}, call(P, 1, get_config_item, [<<"lxc.uts.name">>])),
    ?assertMatch({reply, 2, <<"STOPPED">>, <<>>}, call(P, 2, state, [])),
    in_step(P).

%% Every encoding that an Erlang term has means the same.
encodings(Config) ->
    Name = container(Config),
    P = ready(Config, Name, []),
    Frame = fun(Id, Atom, Args) -> [131, 104, 3, Id, Atom, Args] end,
    Atoms = [<<100, 4:16, "name">>, <<115, 4, "name">>, <<118, 4:16, "name">>, <<119, 4, "name">>],
    Ids = [<<97, 9>>, <<98, 9:32>>, <<110, 1, 0, 9>>, <<110, 4, 0, 9:32/little>>],
    [begin
        bytes(P, packet(Frame(I, A, <<106>>))),
        ?assertEqual({reply, 9, Name, <<>>}, frame(P))
    end || A <- Atoms, I <- Ids],
    bytes(P, packet([131, <<105, 3:32>>, 97, 9, hd(Atoms), 106])),
    ?assertEqual({reply, 9, Name, <<>>}, frame(P)),
    Keys = [<<107, 12:16, "lxc.uts.name">>, <<109, 12:32, "lxc.uts.name">>,
        <<108, 1:32, 109, 12:32, "lxc.uts.name", 106>>,
        <<108, 1:32, 97, $l, 109, 11:32, "xc.uts.name">>],
    [begin
        bytes(P, packet(Frame(<<97, 1>>, <<119, 15, "get_config_item">>, [<<108, 1:32>>, K, 106]))),
        ?assertEqual({reply, 1, Name, <<>>}, frame(P))
    end || K <- Keys].

%% A frame that is no term of ours ends the port: status 2 and a line, no crash.
malformed_frames(Config) ->
    Good = term_to_binary({1, name, []}),
    <<131, Term/binary>> = Good,
    Nest = fun(N) ->
        [131, 104, 3, 97, 1, <<119, 4, "name">>, lists:duplicate(N, <<108, 1:32>>)]
    end,
    Frames = [<<>>, <<131>>, <<130, Term/binary>>, <<0>>, Term, [Good, 0], [Good, Good],
        binary:part(Good, 0, byte_size(Good) - 1),
        term_to_binary({1, name, [lists:duplicate(1000, $a)]}, [{compressed, 9}]),
        Nest(10), Nest(1000000), [131, lists:duplicate(1000000, <<104, 1>>)],
        [131, lists:duplicate(1000000, <<116, 1:32>>)],
        [131, 104, 3, 97, 1, <<119, 4, "name">>, <<108, 16#ffffffff:32>>],
        [131, 104, 3, 97, 1, <<119, 4, "name">>, <<109, 16#ffffffff:32>>],
        [131, 105, <<16#ffffffff:32>>], [131, 116, <<16#ffffffff:32>>],
        [131, 104, 3, <<110, 255, 0, 1>>], [131, 104, 3, <<111, 16#ffffffff:32, 0>>],
        [131, 104, 3, 97, 1, <<100, 65535:16, "name">>],
        [131, 104, 3, 97, 1, <<119, 2, 16#c3, 16#28>>, 106],
        [131, 104, 3, 97, 1, <<119, 4, "name">>, <<108, 1:32, 70, 16#7ff0000000000000:64, 106>>],
        [131, 104, 3, 97, 1, <<119, 4, "name">>,
            <<108, 1:32, 116, 2:32, 97, 1, 106, 97, 1, 106, 106>>],
        term_to_binary({1, name, [self()]}), term_to_binary({1, name, [make_ref()]}),
        term_to_binary({1, name, [fun erlang:node/0]}), term_to_binary({1, name, [<<1:3>>]}),
        term_to_binary({1, name, [1 bsl 3000]})],
    [ruined(Config, packet(F)) || F <- Frames].

ruined(Config, Bytes) ->
    Name = name(Config),
    P = ready(Config, Name, []),
    bytes(P, Bytes),
    Shown = binary:part(iolist_to_binary(Bytes), 0, min(40, iolist_size(Bytes))),
    ?assertEqual({Shown, {exit_status, 2}}, {Shown, frame(P)}),
    ?assertMatch({_, [_]}, {Shown, lines(stderr(Config, Name))}).

%% A term that is no request ends the port as well: who sends it is out of step.
malformed_requests(Config) ->
    [ruined(Config, packet(term_to_binary(T)))
        || T <- [name, [], {}, {1}, {1, name}, {1, name, [], []}, [1, name, []], #{},
            {-1, name, []}, {1 bsl 32, name, []}, {1 bsl 64, name, []}, {a, name, []},
            {1.0, name, []}, {1, <<"name">>, []}, {1, "name", []}, {1, 2, []}, {1, name, a},
            {1, name, {}}, {1, name, <<>>}]].

%% A length that no frame may have ends the port before anything is allocated.
malformed_headers(Config) ->
    [ruined(Config, <<N:32>>) || N <- [16#ffffffff, 16#80000000, 16 * 1024 * 1024 + 1, 0]].

%% A frame of just 16 MiB is read, and refused for what is in it only.
largest_frame(Config) ->
    P = ready(Config),
    Frame = fun(N) -> term_to_binary({1, get_config_item, [binary:copy(<<"x">>, N)]}) end,
    Fill = 16 * 1024 * 1024 - byte_size(Frame(0)),
    ?assertEqual(16 * 1024 * 1024, byte_size(Frame(Fill))),
    bytes(P, packet(Frame(Fill))),
    ?assertMatch({reply, 1, _, _}, four(frame(P))),
    in_step(P).

%% A raise has three elements, a reply four.
four({raise, Id, Class}) -> {reply, Id, Class, raise};
four({reply, _, _, _} = Reply) -> Reply.

%% A frame without a byte in it has no term.
frame_of_zero(Config) ->
    ruined(Config, [packet(term_to_binary({0, name, []})), <<0:32>>]).

%% Wherever a frame is cut in two, it is one frame.
cut_frames(Config) ->
    Name = name(Config),
    P = ready(Config, Name, []),
    Bytes = iolist_to_binary(packet(term_to_binary({2, name, []}))),
    [begin
        <<Head:N/binary, Tail/binary>> = Bytes,
        bytes(P, [packet(term_to_binary({1, defined, []})), Head]),
        ?assertEqual({reply, 1, false, <<>>}, frame(P)),
        bytes(P, Tail),
        ?assertEqual({N, {reply, 2, Name, <<>>}}, {N, frame(P)})
    end || N <- lists:seq(0, byte_size(Bytes) - 1)].

%% One byte at a time is as good as all at once.
single_bytes(Config) ->
    P = ready(Config),
    [begin
        [bytes(P, <<B>>) || <<B>> <= iolist_to_binary(packet(term_to_binary({N, defined, []})))],
        ?assertEqual({reply, N, false, <<>>}, frame(P))
    end || N <- lists:seq(1, 5)].

%% Many frames in one write are answered each.
many_frames_at_once(Config) ->
    Name = name(Config),
    P = ready(Config, Name, []),
    Ids = lists:seq(1, 5000),
    bytes(P, [packet(term_to_binary({N, name, []})) || N <- Ids]),
    ?assertEqual([{reply, N, Name, <<>>} || N <- Ids], [frame(P) || _ <- Ids]).

%% --- The end -------------------------------------------------------------------------

%% End-of-file is the owner's end: what came before is done, status 0, and nothing
%% is said.
end_of_file(Config) ->
    Name = name(Config),
    {0, [{ready, _}], Err} = feed(Config, args(Config, Name), <<>>),
    ?assertEqual(<<>>, Err),
    File = tmp(Config, "before-eof"),
    {0, _, _} = feed(Config, args(Config, Name), packet(term_to_binary({1, save_config, [File]}))),
    ?assert(filelib:is_regular(File)),
    ?assertEqual([], processes(Name)).

%% End-of-file within a header or a body is end-of-file; half a command is not done.
end_in_a_frame(Config) ->
    Name = name(Config),
    File = tmp(Config, "half"),
    Bytes = iolist_to_binary(packet(term_to_binary({1, save_config, [File]}))),
    [begin
        {Status, Frames, _} = feed(Config, args(Config, Name), binary:part(Bytes, 0, N)),
        ?assertMatch({N, 0, [{ready, _}]}, {N, Status, Frames}),
        ?assertNot(filelib:is_file(File))
    end || N <- [1, 2, 3, 4, 5, byte_size(Bytes) div 2, byte_size(Bytes) - 1]].

%% halt is end-of-file with the pipe open: the port ends with status 0.
halt_request(Config) ->
    P = ready(Config),
    request(P, 0, halt, []),
    ends(P, 0).

%% TERM, HUP and INT are end-of-file too.
signals(Config) ->
    [begin
        P = ready(Config),
        signal(os_pid(P), S),
        ends(P, 0)
    end || S <- ["TERM", "HUP", "INT"]].

%% Whatever is ignored or blocked at entry, children are reaped and signals heard.
signals_ignored_at_entry(Config) ->
    Name = container(Config),
    P = open_port({spawn_executable, "/bin/sh"}, [stream, binary, exit_status, {args,
        ["-c", "trap '' TERM HUP INT CHLD PIPE USR1; exec \"$@\"", "sh", program()
            | args(Config, Name)]}]),
    put({buffer, P}, <<>>),
    {ready, _} = frame(P),
    ?assertMatch({reply, 1, {ok, _}, <<>>}, call(P, 1, start, [0, erlxc_test:sleeper()])),
    ?assertMatch({reply, 2, [<<"lo">>], <<>>}, call(P, 2, get_interfaces, [])),
    ?assertMatch({reply, 3, true, <<>>}, call(P, 3, stop, [])),
    signal(os_pid(P), "TERM"),
    ends(P, 0).

%% --- Options ---------------------------------------------------------------------------

%% A command line that is wrong costs one line and status 64.
usage_errors(Config) ->
    Name = name(Config),
    Good = ["-n", Name],
    [begin
        {Status, Out, Err} = pipeline(Config, "printf '' |", Args, ""),
        ?assertEqual({Args, 64, <<>>, 1}, {Args, Status, Out, length(lines(Err))})
    end || Args <- [[], ["-n"], Good ++ ["-x"], Good ++ ["extra"], Good ++ ["-t", "eternal"],
        Good ++ ["-e", "docker"], Good ++ ["-l", "loud"], Good ++ ["-s", "soon"],
        Good ++ ["-s", "-1"], Good ++ ["-s", "99999999999999999999"], Good ++ ["-P"],
        Good ++ ["--nosuch"]]].

%% A name that leaves the lxcpath, or is none, is refused before anything is done.
bad_names(Config) ->
    [begin
        {Status, Out, Err} = pipeline(Config, "printf '' |", ["-P", path(Config), "-n", N], ""),
        ?assertEqual({N, 64, <<>>, 1}, {N, Status, Out, length(lines(Err))})
    end || N <- ["", ".", "..", "../x", "a/b", "/", "a b", "a\nb", "\e[1m", [200],
        lists:duplicate(256, $a)]].

%% -h and --version are answered on standard output, status 0.
help_and_version(Config) ->
    {0, Help, <<>>} = pipeline(Config, "printf '' |", ["-h"], ""),
    [?assertMatch({O, {_, _}}, {O, binary:match(Help, O)})
        || O <- [<<"-n">>, <<"-P">>, <<"-t">>, <<"-e">>, <<"-o">>, <<"-l">>, <<"-h">>]],
    ?assertEqual({0, Help, <<>>}, pipeline(Config, "printf '' |", ["--help"], "")),
    {0, Version, <<>>} = pipeline(Config, "printf '' |", ["--version"], ""),
    ?assertMatch({match, _}, re:run(Version, "[0-9]+\\.[0-9]+\\.[0-9]+")).

%% A start that fails for another reason is one line and status 1.
start_failure(Config) ->
    Bad = ["-n", name(Config), "-P", path(Config), "-o", "/nosuch/dir/log"],
    {1, _, Err} = pipeline(Config, "printf '' |", Bad, ""),
    ?assertMatch([_], lines(Err)).

%% -o appends the log's lines to a file.
error_log(Config) ->
    File = tmp(Config, "errlog"),
    ok = file:write_file(File, "before\n"),
    P = ready(Config, name(Config), ["-o", File]),
    {reply, 1, false, _} = call(P, 1, set_config_item, [<<"lxc.bogus.key">>, <<"1">>]),
    eventually(fun() ->
        {ok, Text} = file:read_file(File),
        case {Text, binary:match(Text, <<"lxc.bogus.key">>)} of
            {<<"before\n", _/binary>>, {_, _}} -> true;
            Other -> Other
        end
    end, 3000).

%% Log lines come as frames between the replies, when they are asked for.
log_frames(Config) ->
    P = ready(Config, name(Config), ["-l", "trace"]),
    request(P, 1, set_config_item, [<<"lxc.bogus.key">>, <<"1">>]),
    request(P, 2, name, []),
    Frames = collect(P, [reply, reply, log]),
    ?assertEqual([1, 2], [element(2, F) || F <- Frames, element(1, F) =:= reply]),
    [?assertMatch({log, L, B} when is_atom(L) andalso is_binary(B), F)
        || F <- Frames, element(1, F) =:= log].

%% Reads frames until there was one for each of Kinds.
collect(_, []) ->
    [];
collect(P, Kinds) ->
    F = frame(P),
    [F | collect(P, Kinds -- [element(1, F)])].

%% --- The process --------------------------------------------------------------------------

%% Nothing of the caller's environment gets into the port.
environment(Config) ->
    Name = name(Config),
    Bad = ["LXC_MEMFD_REXEC", "LISTEN_FDS", "LISTEN_PID", "LD_PRELOAD_X", "XDG_RUNTIME_DIR",
        "ERL_SECRET", "GLIBC_TUNABLES", "DBUS_SESSION_BUS_ADDRESS", "LXC_NAME", "IFS"],
    P = run(Config, Name, args(Config, Name), [{env, [{K, "1"} || K <- Bad]}]),
    {ready, _} = frame(P),
    {ok, Env} = file:read_file(lists:concat(["/proc/", os_pid(P), "/environ"])),
    Keys = [hd(binary:split(E, <<"=">>)) || E <- binary:split(Env, <<0>>, [global, trim_all])],
    ?assertEqual([], [K || K <- Bad, lists:member(list_to_binary(K), Keys)]),
    ?assertEqual([], [K || K <- [<<"BINDIR">>, <<"ROOTDIR">>, <<"EMU">>], lists:member(K, Keys)]),
    ?assert(lists:member(<<"PATH">>, Keys)),
    ?assert(length(Keys) < 8).

%% The running program is not the file on the host's disk, and can be written by
%% nobody, now or when it has ended.
program_not_writable(Config) ->
    P = ready(Config),
    Probe = open_port({spawn_executable, probe("exewrite")},
        [{args, [integer_to_list(os_pid(P))]}, {line, 100}, binary]),
    Said = fun() -> receive {Probe, {data, {eol, L}}} -> L after 5000 -> timeout end end,
    ?assertEqual(<<"open">>, Said()),
    request(P, 0, halt, []),
    ends(P, 0),
    true = port_command(Probe, <<"\n">>),
    Answer = Said(),
    ?assertEqual({Answer, true}, {Answer, lists:member(Answer, [<<"refused">>, <<"sealed">>])}).

%% Every descriptor but 0, 1 and 2 closes on exec, in the port and in its workers,
%% and 0, 1 and 2 are not the protocol.
descriptors(Config) ->
    Name = container(Config),
    P = ready(Config, Name, []),
    {reply, 1, {ok, _}, _} = call(P, 1, start, [0, erlxc_test:sleeper()]),
    {reply, 2, _, _} = call(P, 2, init_pid, []),
    request(P, 3, wait, [<<"STOPPED">>, -1]),
    Port = os_pid(P),
    child(Port, <<"erlxc-job">>),
    Guardian = child(Port, <<"erlxc-guardian">>),
    [?assertEqual({Pid, comm(Pid), []}, {Pid, comm(Pid), inheritable(Pid)})
        || Pid <- [Port, Guardian, child(Port, <<"erlxc-query">>)]],
    {ok, Input} = file:read_link(lists:concat(["/proc/", Port, "/fd/0"])),
    ?assertEqual("/dev/null", Input),
    {ok, Out} = file:read_link(lists:concat(["/proc/", Port, "/fd/1"])),
    ?assertEqual({ok, Out}, file:read_link(lists:concat(["/proc/", Port, "/fd/2"]))),
    {reply, 4, true, _} = collect_reply(P, 4, stop, []),
    ok.

inheritable(Pid) ->
    Dir = lists:concat(["/proc/", Pid, "/fdinfo/"]),
    {ok, Fds} = file:list_dir(Dir),
    [{Fd, file:read_link(lists:concat(["/proc/", Pid, "/fd/", Fd]))}
        || Fd <- Fds, not lists:member(Fd, ["0", "1", "2"]), not cloexec(Dir ++ Fd)].

cloexec(File) ->
    {ok, Info} = file:read_file(File),
    {match, [Flags]} = re:run(Info, "flags:\\s*([0-7]+)", [{capture, all_but_first, list}]),
    list_to_integer(Flags, 8) band 8#2000000 =/= 0.

%% The reply to a request, others passed over.
collect_reply(P, Id, Command, Args) ->
    request(P, Id, Command, Args),
    reply(P, Id).

reply(P, Id) ->
    case frame(P) of
        {Kind, Id, _} = F when Kind =:= raise -> F;
        {reply, Id, _, _} = F -> F;
        F when is_tuple(F), element(1, F) =/= exit_status -> reply(P, Id)
    end.

%% A thousand calls of every way of running grow neither descriptors nor memory.
soak_calls(Config) ->
    Name = container(Config),
    P = ready(Config, Name, []),
    Round = fun(N) ->
        [begin
            {reply, _, _, _} = call(P, 1, name, []),
            {reply, _, _, _} = call(P, 2, state, []),
            {reply, _, _, _} = call(P, 3, get_keys, [<<>>]),
            {reply, _, false, _} = call(P, 4, set_config_item, [<<"lxc.bogus">>, <<"1">>]),
            {reply, _, true, _} = call(P, 5, wait, [<<"STOPPED">>, 0]),
            {raise, _, badarg} = call(P, 6, wait, [<<"X">>, 0]),
            {reply, _, true, _} = call(P, 7, load_config, [<<>>])
        end || _ <- lists:seq(1, N)]
    end,
    Round(30),
    Before = {fds(P), rss(P)},
    Round(soak(150)),
    {Fds, Rss} = Before,
    eventually(fun() -> fds(P) =< Fds orelse {Fds, fds(P)} end, 2000),
    among(0, Rss + 1024, rss(P)).

fds(P) ->
    {ok, L} = file:list_dir(lists:concat(["/proc/", os_pid(P), "/fd"])),
    length(L).

rss(P) ->
    status(os_pid(P), "VmRSS").

%% A number of /proc/PID/status, in KiB.
status(Pid, Key) ->
    {ok, Text} = file:read_file(lists:concat(["/proc/", Pid, "/status"])),
    {match, [N]} = re:run(Text, Key ++ ":\\s*([0-9]+)", [{capture, all_but_first, list}]),
    list_to_integer(N).

%% With 2 closed at entry the protocol is what it is, and with 0 or 1 closed the
%% port ends by itself.
closed_at_entry(Config) ->
    Args = args(Config, name(Config)),
    Run = fun(Redirect) ->
        sh("printf '' | timeout 5 ~s ~s | od -An -c | head -c 200; echo \"$?\"",
            [[[" '", A, "'"] || A <- [program() | Args]], Redirect])
    end,
    ?assertMatch({_, _}, binary:match(list_to_binary(Run("2>&-")), <<"r   e   a   d   y">>)),
    [begin
        {Ms, _} = timed(fun() -> Run(R) end),
        among(0, 4000, Ms)
    end || R <- ["<&-", "1>&-", "<&- 1>&- 2>&-"]].

%% Poor limits and an open umask at entry make no difference.
limits_at_entry(Config) ->
    Name = container(Config),
    P = open_port({spawn_executable, "/bin/sh"}, [stream, binary, exit_status, {args,
        ["-c", "umask 0; ulimit -Sn 16; exec 9</dev/null 8</; exec \"$@\"", "sh", program()
            | args(Config, Name)]}]),
    put({buffer, P}, <<>>),
    {ready, _} = frame(P),
    ?assertEqual([], [F || F <- [8, 9],
        {ok, T} <- [file:read_link(lists:concat(["/proc/", os_pid(P), "/fd/", F]))],
        lists:member(T, ["/", "/dev/null"])]),
    {reply, 1, {ok, _}, _} = call(P, 1, start, [0, erlxc_test:sleeper()]),
    {reply, 2, true, _} = call(P, 2, stop, []),
    File = tmp(Config, "umask"),
    {reply, 3, true, _} = call(P, 3, save_config, [File]),
    ?assertEqual("", sh("find ~s -perm /022", [File])).

%% --- Output that nobody reads --------------------------------------------------------------

%% The port in a pipeline whose end does not read, clogged with requests for
%% answers. Gives what was taken, the port's pid and what tells its status.
clogged(Config, Mode) ->
    Name = name(Config),
    Frames = tmp(Config, [Name, ".frames"]),
    [Sent, Status] = [tmp(Config, [Name, X]) || X <- [".sent", ".status"]],
    ok = file:write_file(Frames, packet(term_to_binary({1, get_keys, [<<>>]}))),
    Shell = sh_port("~s ~s ~s 2>~s | { ~s; echo $? >~s; } | ~s 60",
        [probe("clog"), Frames, Mode, Sent,
            [[" '", A, "'"] || A <- [program() | args(Config, Name)]], Status, nap(Config, Name)]),
    {ok, Bytes} = eventually(fun() -> number(Sent) end, 20000),
    {Name, Bytes, Status, Shell}.

sh_port(Format, Args) ->
    open_port({spawn_executable, "/bin/sh"},
        [{args, ["-c", flatten(io_lib:format(Format, Args))]}, binary, exit_status]).

%% {ok, {ok, N}} once the file has a line with a number.
number(File) ->
    case file:read_file(File) of
        {ok, Line} when Line =/= <<>> ->
            case binary:last(Line) of
                $\n -> {ok, {ok, binary_to_integer(string:trim(Line))}};
                _ -> Line
            end;
        Other ->
            {no, Other}
    end.

%% Ends the programs at the pipeline's ends, and with them the pipeline.
unclog(Name, Shell) ->
    [signal(Pid, "KILL") || {process, Pid, Cmd} <- processes([Name, "."]),
        string:prefix(Cmd, "/bin/sh") =:= nomatch],
    receive {Shell, {exit_status, _}} -> ok after 5000 -> error(clogged) end.

%% With its output full the port stops reading requests, holds little memory, and
%% still sees end-of-file.
stdout_full_end_of_file(Config) ->
    {Name, Sent, Status, Shell} = clogged(Config, ""),
    ?assert(Sent < 4 * 1024 * 1024),
    {ok, 0} = eventually(fun() -> number(Status) end, 5000),
    unclog(Name, Shell).

%% The same for SIGTERM; in the half second before it used little of the processor,
%% and little memory.
stdout_full_sigterm(Config) ->
    {Name, _, Status, Shell} = clogged(Config, "hold"),
    Pid = port_pid(Name),
    among(0, 64 * 1024, status(Pid, "VmHWM")),
    among(0, 30, cpu(Pid)),
    signal(Pid, "TERM"),
    {ok, 0} = eventually(fun() -> number(Status) end, 5000),
    unclog(Name, Shell).

%% Processor time in ticks of a hundredth of a second.
cpu(Pid) ->
    {ok, Stat} = file:read_file(lists:concat(["/proc/", Pid, "/stat"])),
    [_, Rest] = string:split(Stat, ")", trailing),
    Fields = string:lexemes(Rest, " "),
    binary_to_integer(lists:nth(12, Fields)) + binary_to_integer(lists:nth(13, Fields)).

%% Three thousand failing requests, sent at once and unread for a while, are answered
%% each, and end-of-file is seen, whether the answers are read before it or not.
failures_unread(Config) ->
    [failures_unread(Config, Extra, Read)
        || Extra <- [[], ["-l", "trace"]], Read <- [true, false]].

failures_unread(Config, Extra, Read) ->
    Name = name(Config),
    Ids = lists:seq(1, 3000),
    [Frames, Out, Status, Reader, Writer] = [tmp(Config, [Name, X])
        || X <- [".frames", ".out", ".status", ".reader", ".writer"]],
    Args = [<<"lxc.bogus">>, <<"1">>],
    ok = file:write_file(Frames,
        [packet(term_to_binary({N, set_config_item, Args})) || N <- Ids]),
    "" = sh("mkfifo ~s ~s && : >~s", [Reader, Writer, Out]),
    Shell = sh_port("{ cat ~s; read x <~s; } | { ~s 2>/dev/null; echo $? >~s; } |"
        " { read x <~s; cat >~s; }", [Frames, Writer,
            [[" '", A, "'"] || A <- [program() | args(Config, Name) ++ Extra]], Status,
            Reader, Out]),
    idle(port_pid(Name)),
    Read andalso all_answered(Reader, Out, Ids),
    sh("echo >~s", [Writer]),
    ?assertEqual({ok, 0}, eventually(fun() -> number(Status) end, 8000)),
    Read orelse sh("echo >~s", [Reader]),
    receive {Shell, {exit_status, _}} -> ok after 5000 -> error(unread) end.

%% Lets the pipeline's end read, until all is there.
all_answered(Reader, Out, Ids) ->
    sh("echo >~s", [Reader]),
    eventually(fun() ->
        {ok, Bytes} = file:read_file(Out),
        Answers = [binary_to_term(F) || <<L:32, F:L/binary>> <= Bytes],
        Got = [N || {reply, N, false, Why} <- Answers, Why =/= <<>>],
        Got =:= Ids orelse {answered, length(Got)}
    end, 20000).

%% Returns when the process has used no processor time for a while: ten looks in
%% a row, after the first.
idle(Pid) ->
    put(idle, {none, 0}),
    eventually(fun() ->
        {Cpu, N} = get(idle),
        Now = cpu(Pid),
        put(idle, case Now of Cpu -> {Cpu, N + 1}; _ -> {Now, 0} end),
        N >= 10 orelse {busy, Now}
    end, 10000).

%% A template whose output is wanted but not read waits, and the port holds little of
%% it; when it is read, every line is there, in order, before the answer.
progress_unread(Config) ->
    Name = name(Config),
    Lines = 60000,
    [Frames, Out, Reader, Writer] = [tmp(Config, [Name, X])
        || X <- [".frames", ".out", ".reader", ".writer"]],
    Template = script(Config, [Name, ".template"],
        [["seq -f %060.0f ", integer_to_list(Lines)], "for a in \"$@\"; do case $a in",
            "--rootfs=*) mkdir -p \"${a#--rootfs=}/sbin\";; esac; done"]),
    ok = file:write_file(Frames, [packet(term_to_binary(F)) || F <- [{0, progress, [1]},
        {1, create, [Template, <<>>, <<>>, 0, []]}, {2, destroy, []}]]),
    "" = sh("mkfifo ~s ~s && : >~s", [Reader, Writer, Out]),
    Shell = sh_port("{ cat ~s; read x <~s; } | ~s 2>/dev/null | { read x <~s; cat >~s; }",
        [Frames, Writer, [[" '", A, "'"] || A <- [program() | args(Config, Name)]], Reader, Out]),
    Pid = port_pid(Name),
    eventually(fun() -> processes("%060.0f") =/= [] end, 5000),
    idle(Pid),
    ?assertNotEqual([], processes("%060.0f")),
    among(0, 32 * 1024, status(Pid, "VmHWM")),
    sh("echo >~s", [Reader]),
    Expected = [{progress, 1, iolist_to_binary(io_lib:format("~60..0b", [N]))}
        || N <- lists:seq(1, Lines)] ++ [{reply, N, true, <<>>} || N <- [1, 2]],
    eventually(fun() ->
        {ok, Bytes} = file:read_file(Out),
        Got = [binary_to_term(F) || <<L:32, F:L/binary>> <= Bytes],
        tl(Got) =:= Expected orelse {frames, length(Got), lists:last(Got)}
    end, 30000),
    sh("echo >~s", [Writer]),
    receive {Shell, {exit_status, _}} -> ok after 5000 -> error(unread) end.

%% A reader that is gone is the owner's end, not a signal.
stdout_closed(Config) ->
    Name = name(Config),
    Frames = tmp(Config, "closed.frames"),
    ok = file:write_file(Frames, packet(term_to_binary({1, name, []}))),
    {Ms, {Status, _, _}} = timed(fun() ->
        pipeline(Config, ["{ cat ", Frames, "; ", probe("clog"), " ", Frames, "; } 2>/dev/null |"],
            args(Config, Name), "| head -c 4")
    end),
    ?assertEqual(0, Status),
    among(0, 8000, Ms),
    ?assertEqual([], processes(Name)).

%% --- Workers -------------------------------------------------------------------------------

%% A running container behind a raw port.
running(Config) ->
    Name = container(Config),
    P = ready(Config, Name, []),
    {reply, 1, {ok, Init}, _} = call(P, 1, start, [0, erlxc_test:sleeper()]),
    {reply, 2, <<"RUNNING">>, _} = call(P, 2, state, []),
    {P, Init}.

%% The query worker's death in a call is that call's {crashed, 9}; the next call
%% has a new worker.
query_worker_killed(Config) ->
    {P, Init} = running(Config),
    Port = os_pid(P),
    Answered = {reply, 4, Init, <<>>},
    ?assertEqual(Answered, call(P, 4, init_pid, [])),
    Worker = child(Port, <<"erlxc-query">>),
    Monitor = ppid(Init),
    signal(Monitor, "STOP"),
    request(P, 3, init_pid, []),
    in_step(P),
    signal(Worker, "KILL"),
    Answer = frame(P),
    signal(Monitor, "CONT"),
    ?assertEqual({raise, 3, {crashed, 9}}, Answer),
    ?assertEqual(Answered, call(P, 4, init_pid, [])),
    ?assertNotEqual(Worker, child(Port, <<"erlxc-query">>)),
    signal(child(Port, <<"erlxc-query">>), "KILL"),
    eventually(fun() -> call(P, 4, init_pid, []) =:= Answered end, 2000),
    ?assertEqual({reply, 6, true, <<>>}, call(P, 6, stop, [])).

%% A monitor that does not answer is a timeout after five seconds, for whoever is
%% queued behind it too, and no other call waits.
query_worker_stuck(Config) ->
    {P, Init} = running(Config),
    signal(ppid(Init), "STOP"),
    {Ms, Frames} = timed(fun() ->
        [request(P, Id, Question, []) || {Id, Question} <- [{3, state}, {6, state}, {7, init_pid}]],
        [in_step(P) || _ <- lists:seq(1, 10)],
        lists:sort([frame(P) || _ <- [3, 6, 7]])
    end),
    signal(ppid(Init), "CONT"),
    ?assertEqual([{raise, Id, timeout} || Id <- [3, 6, 7]], Frames),
    among(4500, 6500, Ms),
    ?assertEqual({reply, 4, Init, <<>>}, call(P, 4, init_pid, [])),
    ?assertEqual({reply, 5, true, <<>>}, call(P, 5, stop, [])).

%% A job that is cancelled ends; others go on.
job_cancelled(Config) ->
    {P, _} = running(Config),
    Jobs = fun() ->
        length([C || C <- children(os_pid(P)), comm(C) =:= <<"erlxc-job">>, alive(C)])
    end,
    request(P, 3, wait, [<<"STOPPED">>, -1]),
    request(P, 4, wait, [<<"STOPPED">>, -1]),
    eventually(fun() -> Jobs() =:= 2 end, 3000),
    request(P, 0, cancel, [3]),
    eventually(fun() -> Jobs() =:= 1 end, 3000),
    ?assertMatch({reply, 5, true, _}, collect_reply_of([4, 5], P, stop)),
    ok.

%% Requests stop with id 5; gives its reply after all of Ids were answered.
collect_reply_of(Ids, P, Command) ->
    request(P, 5, Command, []),
    Frames = [reply_any(P) || _ <- Ids],
    ?assertEqual(Ids, lists:sort([element(2, F) || F <- Frames])),
    lists:keyfind(5, 2, Frames).

reply_any(P) ->
    case frame(P) of
        {reply, 3, _, _} -> reply_any(P);
        {raise, 3, _} -> reply_any(P);
        {reply, _, _, _} = F -> F
    end.

%% Waits overlap: ten of a second each take one second.
jobs_overlap(Config) ->
    P = ready(Config, container(Config), []),
    Ids = lists:seq(1, 10),
    {Ms, Frames} = timed(fun() ->
        [request(P, N, wait, [<<"RUNNING">>, 1]) || N <- Ids],
        [frame(P) || _ <- Ids]
    end),
    ?assertEqual([{reply, N, false} || N <- Ids],
        lists:sort([{element(1, F), element(2, F), element(3, F)} || F <- Frames])),
    among(990, 2500, Ms).

%% Workers that ended are reaped.
no_zombies(Config) ->
    P = ready(Config, container(Config), []),
    [{reply, N, true, _} = call(P, N, wait, [<<"STOPPED">>, 0]) || N <- lists:seq(1, soak(50))],
    [{reply, N, false, _} = call(P, N, wait, [<<"RUNNING">>, 1]) || N <- [1]],
    eventually(fun() ->
        [] =:= [C || C <- children(os_pid(P)), state_of(C) =:= "Z"]
    end, 2000).
