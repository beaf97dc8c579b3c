%% SPDX-License-Identifier: ISC
%% For people: the table of containers, what one uses, and a terminal that is the
%% container's. What a person does is typed into an erl on a pty, by script(1).
-module(shell_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlxc_test, [
    name/1, container/1, container/2, path/1, tmp/2, driver/2, driver/3, drv_opts/1, start/1, up/1,
    up/2, ppid/1, signal/2, expect/2, eventually/2, timed/1, among/3, owner/1, sh/2
]).

suite() ->
    [{timetrap, {minutes, 2}}].

all() ->
    [{group, lxc}].

groups() ->
    [{lxc, [], [like_lxc_ls, of_a_driver, types, stuck_monitors, long_path, stuck_driver, narrow, hostile_name,
        no_path, stats_of_files, stats_grow, stats_of_the_running, stats_of_a_stuck_monitor,
        top_in_shell, top_any_key, top_interrupted, attach_lines, attach_lines_detached,
        attach_lines_interrupted, attach_raw, attach_raw_detached, attach_resized, attach_input,
        attach_fails]}].

init_per_suite(Config) ->
    erlxc_test:setup(Config).

end_per_suite(Config) ->
    erlxc_test:teardown(Config).

init_per_group(Engine, Config) ->
    erlxc_test:engine(Engine, Config).

end_per_group(_, _) ->
    ok.

%% --- Helpers -------------------------------------------------------------

%% Drivers that a case started end with its process.
rows(Ref) ->
    {ok, Rows} = erlxc_shell:containers(Ref),
    maps:from_list([{Name, Row} || #{name := Name} = Row <- Rows]).

%% What Fun prints, in lines.
printed(Config, Fun) ->
    File = tmp(Config, [name(Config), ".txt"]),
    {ok, Out} = file:open(File, [write]),
    Self = self(),
    {_, Mon} = spawn_monitor(fun() ->
        group_leader(Out, self()),
        Self ! {printed, Fun()}
    end),
    receive {'DOWN', Mon, _, _, Reason} -> normal = Reason end,
    receive {printed, ok} -> ok end,
    ok = file:close(Out),
    {ok, Text} = file:read_file(File),
    binary:split(Text, <<"\n">>, [global, trim]).

veth() ->
    ["lxc.net.0.type = veth", "lxc.net.0.flags = up", "lxc.net.0.ipv4.address = 10.123.45.6/24",
        "lxc.net.0.ipv4.address = 10.123.45.7/24", "lxc.net.0.ipv6.address = fd00:123::6/64"].

%% A number of a cgroup, by the first of its names that liblxc knows.
item(C, Names) ->
    [Value | _] = [V || N <- Names, V <- [liblxc:get_cgroup_item(C, N)], V =/= none],
    Value.

number(C, Names) ->
    binary_to_integer(item(C, Names)).

%% A stopped driver answers nobody.
monitor_of(C) ->
    ppid(liblxc:init_pid(C)).

%% An erl with these arguments on a pty of a sane size, or another command there.
erl(Args) ->
    Ebin = filename:dirname(code:which(erlxc)),
    terminal(["erl -pa ", Ebin, " ", Args]).

terminal(Command) ->
    Script = os:find_executable("script"),
    Port = open_port({spawn_executable, Script}, [binary, exit_status, {env, [{"TERM", "xterm"}]},
        {args, ["-qfec", lists:flatten(["stty rows 40 cols 100; " | [binary_to_list(
            iolist_to_binary(Command))]]), "/dev/null"]}]),
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    Self = self(),
    %% A case that fails leaves no terminal behind.
    spawn(fun() ->
        Ref = monitor(process, Self),
        receive {'DOWN', Ref, _, _, _} -> ok end,
        erlxc_test:comm(Pid) =:= <<"script">> andalso signal(Pid, "KILL")
    end),
    Port.

%% An expression in a node without a shell.
eval(Expression) ->
    erl(["-noshell -eval 'io:format(\"result ~0p~n\", [", Expression, "]), halt().'"]).

top(Config) ->
    ["erlxc:top(\"", path(Config), "\")"].

attach(Config, Name) ->
    ["erlxc:attach(\"", Name, "\", [{path, \"", path(Config), "\"}])"].

type(Port, Text) ->
    true = port_command(Port, Text).

%% What is shown until Part has been; all of it.
shown(Port, Part) ->
    shown(Port, iolist_to_binary(Part), <<>>).

shown(Port, Part, Seen) ->
    case binary:match(Seen, Part) of
        nomatch ->
            receive
                {Port, {data, Data}} -> shown(Port, Part, <<Seen/binary, Data/binary>>);
                {Port, Other} -> error({Other, {expected, Part}, {shown, Seen}})
            after 20000 -> error({timeout, {expected, Part}, {shown, Seen}})
            end;
        _ ->
            Seen
    end.

%% All that is shown until the end.
over(Port) ->
    receive
        {Port, {data, Data}} -> <<Data/binary, (over(Port))/binary>>;
        {Port, {exit_status, 0}} -> <<>>
    after 20000 -> error(timeout)
    end.

%% Until a sleep runs in the container: what is typed then is for that.
asleep(Init) ->
    eventually(fun() ->
        lists:member(<<"sleep">>, [erlxc_test:comm(P) || P <- erlxc_test:inside(Init)])
    end, 10000).

count(Text, Part) ->
    length(binary:matches(Text, Part)).

%% An erl's shell that has computed the last expression, and ends.
quit(Port) ->
    type(Port, "40 + 2.\n"),
    shown(Port, "\n42\r\n"),
    type(Port, "halt().\n"),
    over(Port).

%% What Fun gives while there is a configuration of that name.
defined(Config, Name, Fun) ->
    Dir = filename:join(path(Config), Name),
    ok = file:make_dir(Dir),
    ok = file:write_file(filename:join(Dir, "config"), ""),
    try Fun() after
        ok = file:delete(filename:join(Dir, "config")),
        ok = file:del_dir(Dir)
    end.

%% --- The table -----------------------------------------------------------

%% Names, states, pids and addresses are those that lxc-ls shows.
like_lxc_ls(Config) ->
    {_, _, _} = up(Config, veth()),
    {Frozen, _, _} = up(Config),
    true = liblxc:freeze(Frozen),
    _ = container(Config),
    Text = sh("lxc-ls -P ~s -f -F NAME,STATE,PID,IPV4,IPV6", [path(Config)]),
    [_ | Lines] = string:lexemes(string:replace(Text, ", ", ",", all), "\n"),
    Ls = lists:sort([string:lexemes(lists:flatten(L), " ") || L <- Lines]),
    Mine = lists:sort([[binary_to_list(N), binary_to_list(S), pid(P), ips(A, "."), ips(A, ":")]
        || #{name := N, state := S, pid := P, addresses := A} <- maps:values(rows(path(Config)))]),
    ?assertMatch([_, _, _ | _], Ls),
    ?assertEqual(Ls, Mine),
    ?assertMatch([_], [x || [_, _, _, "10.123.45.6,10.123.45.7", "fd00:123::6"] <- Mine]).

pid(undefined) -> "-";
pid(Pid) -> integer_to_list(Pid).

ips(All, Sign) ->
    case [A || A <- All, string:find(A, Sign) =/= nomatch] of
        [] -> "-";
        These -> lists:flatten(lists:join(",", [binary_to_list(A) || A <- lists:sort(These)]))
    end.

%% By a driver or a stream the table is that of its path; what runs has all figures.
of_a_driver(Config) ->
    {C, Name, Init} = up(Config),
    {ok, Stream} = erlxc:spawn(C),
    #{Name := Row} = Rows = rows(C),
    ?assertMatch(#{state := <<"RUNNING">>, pid := Init, type := transient, addresses := []}, Row),
    [?assert(is_integer(maps:get(K, Row))) || K <- [memory, cpu_us, uptime]],
    ?assert(maps:get(memory, Row) > 10000),
    among(0, 60, maps:get(uptime, Row)),
    ?assertEqual(lists:sort(maps:keys(Rows)), lists:sort(maps:keys(rows(Stream)))),
    Lines = printed(Config, fun() -> erlxc:i(Stream) end),
    %% A long name has a line of its own.
    [Name | Row1] = lists:append([binary:split(L, <<" ">>, [global, trim_all]) ||
        L <- lists:dropwhile(fun(L) -> binary:match(L, Name) =:= nomatch end, Lines)]),
    Pid = integer_to_binary(Init),
    ?assertMatch([<<"RUNNING">>, Pid, _, _, _, <<"transient">> | _], Row1).

%% The type is that which the driver has now, of the same path only.
types(Config) ->
    [A, B, None] = Names = [container(Config) || _ <- [1, 2, 3]],
    C = driver(Config, A, [temporary]),
    D = driver(Config, B),
    true = liblxc:type(D, permanent),
    Elsewhere = tmp(Config, name(Config)),
    ok = file:make_dir(Elsewhere),
    E = driver([{lxcpath, list_to_binary(Elsewhere)} | Config], None),
    Rows = rows(path(Config)),
    ?assertEqual([temporary, permanent, undefined], [maps:get(type, maps:get(N, Rows)) || N <- Names]),
    true = liblxc:type(C, transient),
    [erlxc_drv:stop(X) || X <- [C, D, E]],
    [?assertEqual(undefined, maps:get(type, R)) || R <- maps:values(rows(path(Config)))].

%% Monitors that do not answer cost one second together; their state is not known,
%% all else is, and the others' rows are as ever.
stuck_monitors(Config) ->
    Ups = [up(Config, Lines) || Lines <- [veth(), [], []]],
    {Fine, FineName, _} = up(Config),
    Monitors = [monitor_of(C) || {C, _, _} <- Ups],
    [signal(M, "STOP") || M <- Monitors],
    {Ms, Rows} = try timed(fun() -> rows(Fine) end) after [signal(M, "CONT") || M <- Monitors] end,
    among(900, 1500, Ms),
    [begin
        ?assertMatch(#{state := unknown, pid := Init, type := transient}, maps:get(N, Rows)),
        ?assert(maps:get(memory, maps:get(N, Rows)) > 10000)
    end || {_, N, Init} <- Ups],
    [{_, First, _} | _] = Ups,
    ?assertMatch(#{First := #{addresses := [_, _, _]}}, Rows),
    ?assertMatch(#{FineName := #{state := <<"RUNNING">>}}, Rows),
    [eventually(fun() -> liblxc:state(C) =:= <<"RUNNING">> end, 5000) || {C, _, _} <- Ups].

%% The same where a path is too long for the name of a monitor's socket.
long_path(Config) ->
    Deep = list_to_binary(tmp(Config, [name(Config), lists:duplicate(90, $x)])),
    ok = file:make_dir(Deep),
    Config2 = [{lxcpath, Deep} | Config],
    {C, Name, Init} = up(Config2),
    ?assertMatch(#{Name := #{state := <<"RUNNING">>, pid := Init}}, rows(Deep)),
    Monitor = monitor_of(C),
    signal(Monitor, "STOP"),
    Rows = try rows(Deep) after signal(Monitor, "CONT") end,
    ?assertMatch(#{Name := #{state := unknown, pid := Init}}, Rows),
    true = liblxc:stop(C),
    true = liblxc:destroy(C),
    ok = erlxc_drv:stop(C).

%% A port that does not answer costs its container's type, and with a monitor that
%% does not answer one second together.
stuck_driver(Config) ->
    {C, Name, _} = up(Config),
    {D, Other, _} = up(Config),
    {E, _, _} = up(Config),
    #{os_pid := Port} = erlxc_drv:info(C),
    Stopped = [Port, monitor_of(E)],
    [signal(P, "STOP") || P <- Stopped],
    {Ms, Rows} = try timed(fun() -> rows(D) end) after [signal(P, "CONT") || P <- Stopped] end,
    among(900, 1500, Ms),
    ?assertMatch(#{Name := #{state := <<"RUNNING">>, type := undefined}}, Rows),
    ?assertMatch(#{Other := #{state := <<"RUNNING">>, type := transient}}, Rows).

%% Nothing is wider than 80 columns, and nothing is cut: a long name, long addresses.
narrow(Config) ->
    Net = veth() ++ ["lxc.net.0.ipv6.address = fd00:1234:5678:9abc:def0:1234:5678:9abc/64"],
    {_, Name, Init} = up(Config, Net),
    Long = <<(name(Config))/binary, (binary:copy(<<"x">>, 50))/binary>>,
    Lines = defined(Config, Long, fun() -> printed(Config, fun() -> erlxc:i(path(Config)) end) end),
    ?assertEqual([], [L || L <- Lines, byte_size(L) > 80]),
    ?assert(lists:member(Long, Lines)),
    Text = iolist_to_binary(Lines),
    [?assertEqual(1, count(Text, P)) || P <- [Name, integer_to_binary(Init), <<"10.123.45.7">>,
        <<"fd00:1234:5678:9abc:def0:1234:5678:9abc">>]].

%% A directory's name is shown, not obeyed, a long one too.
hostile_name(Config) ->
    Long = <<16#ff, (binary:copy(<<"\e[2J">>, 40))/binary>>,
    Shown = iolist_to_binary(defined(Config, Long, fun() ->
        printed(Config, fun() -> erlxc:i(path(Config)) end)
    end)),
    ?assertEqual(19, count(Shown, <<"?[2J">>)),
    ?assertEqual(nomatch, binary:match(Shown, <<"\e">>)),
    Text = iolist_to_binary(defined(Config, <<"e\e[2Je\x{ff}">>, fun() ->
        printed(Config, fun() -> erlxc:i(path(Config)) end)
    end)),
    ?assertNotEqual(nomatch, binary:match(Text, <<"e?[2Je? ">>)),
    ?assertEqual(nomatch, binary:match(Text, <<"\e">>)).

%% A path where nothing is has an empty table; one that is none is an error.
no_path(Config) ->
    ?assertMatch([_], printed(Config, fun() -> erlxc:i(tmp(Config, "nothing")) end)),
    ?assertMatch({error, {badarg, _}}, erlxc:i(<<"a", 0>>)).

%% --- Statistics ----------------------------------------------------------

%% The numbers are those of the cgroup's files and of /proc; the keys are those that
%% are documented, whatever the version.
stats_of_files(Config) ->
    {C, _, Init} = up(Config, veth() ++ ["lxc.cgroup.memory.limit_in_bytes = 64M",
        "lxc.cgroup2.memory.max = 64M", "lxc.cgroup.pids.max = 50", "lxc.cgroup2.pids.max = 50"]),
    Stats = erlxc:stats(C),
    ?assertMatch(#{memory := #{limit := 67108864, oom_kills := 0}, pids := #{current := 1, limit := 50}},
        Stats),
    #{memory := #{usage := Usage, peak := Peak, anon := Anon}, cpu := #{usage_us := Cpu}} = Stats,
    among(Usage div 2, Usage * 2, number(C, ["memory.usage_in_bytes", "memory.current"])),
    among(Usage, 67108864, Peak),
    among(1, Usage, Anon),
    among(Cpu, 10000000, cpu(C)),
    Keys = #{cpu => [periods, system_us, throttled, throttled_us, usage_us, user_us],
        io => [read_bytes, reads, write_bytes, writes],
        memory => [anon, file, limit, oom_kills, peak, usage],
        network => [<<"eth0">>, <<"lo">>], pids => [current, limit],
        pressure => [cpu, io, memory], swap => [limit, usage]},
    ?assertEqual(Keys, maps:map(fun(_, M) -> lists:sort(maps:keys(M)) end, Stats)),
    #{pressure := Pressure, network := #{<<"eth0">> := Eth0} = Network} = Stats,
    [?assertEqual([avg10, avg300, avg60, total_us], lists:sort(maps:keys(P)))
        || #{some := Some, full := Full} <- maps:values(Pressure), P <- [Some, Full]],
    ?assertEqual(filelib:is_regular("/proc/pressure/cpu"),
        is_float(maps:get(avg10, maps:get(some, maps:get(cpu, Pressure))))),
    Dev = [lists:map(fun erlang:list_to_binary/1, string:lexemes(L, ": ")) || L <- string:lexemes(
        sh("cat /proc/~b/net/dev", [Init]), "\n"), string:find(L, ":") =/= nomatch],
    [[_, Rx, RxN, _, _, _, _, _, _, Tx, TxN | _]] = [L || [<<"eth0">> | _] = L <- Dev],
    ?assertMatch({true, true, true, true}, {binary_to_integer(Rx) >= maps:get(rx_bytes, Eth0),
        binary_to_integer(RxN) >= maps:get(rx_packets, Eth0),
        binary_to_integer(Tx) >= maps:get(tx_bytes, Eth0),
        binary_to_integer(TxN) >= maps:get(tx_packets, Eth0)}),
    ?assertEqual(lists:sort(maps:keys(Network)), lists:sort([hd(L) || L <- Dev])).

%% Microseconds, by hand.
cpu(C) ->
    case liblxc:get_cgroup_item(C, "cpuacct.usage") of
        none ->
            {match, [Us]} = re:run(item(C, ["cpu.stat"]), "usage_usec ([0-9]+)",
                [{capture, [1], list}]),
            list_to_integer(Us);
        Ns ->
            binary_to_integer(Ns) div 1000
    end.

%% What a command computes, holds and sends is seen.
stats_grow(Config) ->
    {C, _, _} = up(Config, ["lxc.net.0.flags = up"]),
    #{cpu := #{usage_us := Cpu}, network := #{<<"lo">> := Lo}} = erlxc:stats(C),
    {ok, #{status := {exit_status, 0}}} =
        erlxc:run(C, ["sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"]),
    {ok, #{status := {exit_status, 0}}} = erlxc:run(C, ["ping", "-c", "3", "-i", "0.1", "127.0.0.1"]),
    {ok, P} = erlxc:spawn(C, [{pty, false}, {exec, ["sh", "-c",
        "x=$(head -c 20000000 /dev/zero | tr '\\0' x); echo ready; read y"]}]),
    expect(P, "ready"),
    #{cpu := #{usage_us := Cpu2, user_us := User}, network := #{<<"lo">> := Lo2},
        memory := #{usage := Usage, anon := Anon}, pids := #{current := Pids}} = erlxc:stats(P),
    among(20000, 20000000, Cpu2 - Cpu),
    among(10000, Cpu2, User),
    ?assertEqual([6, 6], [maps:get(K, Lo2) - maps:get(K, Lo) || K <- [rx_packets, tx_packets]]),
    [?assert(N >= 20000000) || N <- [Usage, Anon]],
    ?assertEqual(2, Pids),
    ok = erlxc:stop(P).

%% None of what does not run; of what runs again those of now.
stats_of_the_running(Config) ->
    {C, _, _} = up(Config, ["lxc.net.0.flags = up"]),
    {ok, _} = erlxc:run(C, ["ping", "-c", "1", "127.0.0.1"]),
    #{network := #{<<"lo">> := #{rx_packets := 2}}} = erlxc:stats(C),
    true = liblxc:stop(C),
    ?assertEqual({error, esrch}, erlxc:stats(C)),
    ?assertEqual({error, esrch}, erlxc:stats(C)),
    _ = start(C),
    ?assertMatch(#{network := #{<<"lo">> := #{rx_packets := 0}}}, erlxc:stats(C)).

%% The monitor is asked once, as long as init lives.
stats_of_a_stuck_monitor(Config) ->
    {C, _, _} = up(Config),
    #{pids := #{current := 1}} = erlxc:stats(C),
    Monitor = monitor_of(C),
    signal(Monitor, "STOP"),
    {Ms, Stats} = try timed(fun() -> erlxc:stats(C) end) after signal(Monitor, "CONT") end,
    among(0, 1000, Ms),
    ?assertMatch(#{pids := #{current := 1}}, Stats).

%% --- Top -----------------------------------------------------------------

%% In the shell: the busiest first, again and again in the same place, until Enter;
%% then the shell is what it was.
top_in_shell(Config) ->
    {_, Idle, _} = up(Config),
    {C, Busy, _} = up(Config),
    {ok, P} = erlxc:spawn(C, [{pty, false}, {exec, ["sh", "-c", "while :; do :; done"]}]),
    Erl = erl(""),
    shown(Erl, "1> "),
    type(Erl, [top(Config), ".\n"]),
    shown(Erl, "\e[J"),
    Text = shown(Erl, "\e[J"),
    ?assertMatch({1, 1, 1}, {count(Text, <<"\e[H">>), count(Text, Idle), count(Text, Busy)}),
    {At, _} = binary:match(Text, Busy),
    {After, _} = binary:match(Text, Idle),
    ?assert(At < After),
    %% A long name has a line of its own.
    Row = <<Busy/binary, ".{1,80}?RUNNING +[0-9]+ +[0-9.]+[KM] +([0-9]+\\.?[0-9]*) ">>,
    {match, [Percent]} = re:run(Text, Row, [dotall, {capture, [1], binary}]),
    ?assert(binary_to_integer(hd(binary:split(Percent, <<".">>))) > 10),
    type(Erl, "\n"),
    shown(Erl, "2> "),
    quit(Erl),
    ok = erlxc:stop(P).

%% Without a shell any key ends it, and the terminal is what it was.
top_any_key(Config) ->
    T = terminal(["stty -g; erl -pa ", filename:dirname(code:which(erlxc)),
        " -noshell -eval '", top(Config), ", halt().'; stty -g"]),
    Text = shown(T, "\e[J"),
    [Settings, _] = binary:split(Text, <<"\r\n">>),
    type(T, "x"),
    Rest = over(T),
    ?assertNotEqual(nomatch, binary:match(Rest, Settings)).

%% ^C in a shell that gets it (+Bc) ends it, and not the shell.
top_interrupted(Config) ->
    Erl = erl("+Bc"),
    shown(Erl, "1> "),
    type(Erl, [top(Config), ".\n"]),
    shown(Erl, "\e[J"),
    type(Erl, [3]),
    shown(Erl, "2> "),
    quit(Erl).

%% --- Attach --------------------------------------------------------------

%% In the shell, line by line: what is typed is there once, the status comes back, and
%% nothing that is typed then is lost.
attach_lines(Config) ->
    {_, Name, _} = up(Config),
    Erl = erl(""),
    shown(Erl, "1> "),
    type(Erl, [attach(Config, Name), ".\n"]),
    shown(Erl, "# "),
    type(Erl, "echo $((6 * 7))$TERM; hostname\n"),
    Text = shown(Erl, [Name, "\r"]),
    ?assertEqual(1, count(Text, <<"echo">>)),
    ?assertNotEqual(nomatch, binary:match(Text, <<"42dumb\r">>)),
    ?assertEqual(nomatch, binary:match(Text, <<"\e[6n">>)),
    type(Erl, "exit 3\n"),
    shown(Erl, "press Enter"),
    type(Erl, "\n"),
    shown(Erl, "{exit_status,3}"),
    type(Erl, "flush(), erlang:length(processes() -- [P || P <- processes(), "
        "proc_lib:translate_initial_call(P) =:= {erlxc_drv, init, 1}]) - length(processes()).\n"),
    shown(Erl, "\n0\r\n"),
    quit(Erl).

%% A line of ^A q detaches.
attach_lines_detached(Config) ->
    {C, Name, Init} = up(Config),
    Erl = erl(""),
    shown(Erl, "1> "),
    type(Erl, [attach(Config, Name), ".\n"]),
    shown(Erl, "# "),
    type(Erl, "^A q\n"),
    shown(Erl, "\nok\r\n2> "),
    quit(Erl),
    eventually(fun() -> erlxc_test:inside(Init) =:= [] end, 5000),
    ?assertEqual(<<"RUNNING">>, liblxc:state(C)).

%% ^C in a shell that gets it is the container's.
attach_lines_interrupted(Config) ->
    {_, Name, Init} = up(Config),
    Erl = erl("+Bc"),
    shown(Erl, "1> "),
    type(Erl, [attach(Config, Name), ".\n"]),
    shown(Erl, "# "),
    type(Erl, "echo on; sleep 1000; echo status $?\n"),
    shown(Erl, "on\r"),
    asleep(Init),
    type(Erl, [3]),
    shown(Erl, "# "),
    type(Erl, "echo $((6 * 7))\n"),
    shown(Erl, "42\r"),
    type(Erl, "^Aq\n"),
    shown(Erl, "2> "),
    quit(Erl).

%% Without a shell each key is the container's; the status comes back, the terminal is
%% what it was.
attach_raw(Config) ->
    {_, Name, Init} = up(Config),
    T = terminal(["stty -g; erl -pa ", filename:dirname(code:which(erlxc)), " -noshell -eval '"
        "io:format(\"result ~0p~n\", [", attach(Config, Name), "]), halt().'; stty -g"]),
    [Settings, _] = binary:split(shown(T, "# "), <<"\r\n">>),
    type(T, "stty size; sleep 1000\r"),
    shown(T, "40 100\r"),
    asleep(Init),
    type(T, [3]),
    shown(T, "# "),
    type(T, "echo rea''dy; cat -v\r"),
    shown(T, "\nready\r\n"),
    type(T, [1, 1, "y", 1, "z\r"]),
    shown(T, "^Ayz\r\n^Ayz\r\n"),
    type(T, [4]),
    shown(T, "# "),
    type(T, "exit 5\r"),
    shown(T, "press a key"),
    type(T, "q"),
    Rest = over(T),
    ?assertNotEqual(nomatch, binary:match(Rest, <<"result {exit_status,5}">>)),
    ?assertNotEqual(nomatch, binary:match(Rest, Settings)).

%% ^A q leaves, and takes the command along, not the container.
attach_raw_detached(Config) ->
    {C, Name, Init} = up(Config),
    T = eval(attach(Config, Name)),
    shown(T, "# "),
    type(T, "sleep 1000\r"),
    asleep(Init),
    type(T, [1, "q"]),
    ?assertNotEqual(nomatch, binary:match(over(T), <<"result ok">>)),
    eventually(fun() -> erlxc_test:inside(Init) =:= [] end, 5000),
    ?assertEqual(<<"RUNNING">>, liblxc:state(C)).

%% The container's terminal follows the size of this one.
attach_resized(Config) ->
    {_, Name, _} = up(Config),
    T = terminal(["tty; erl -pa ", filename:dirname(code:which(erlxc)), " -noshell -eval '",
        attach(Config, Name), ", halt().'"]),
    [Tty, _] = binary:split(shown(T, "# "), <<"\r\n">>),
    "" = sh("stty -F ~s rows 33 cols 77", [Tty]),
    type(T, "until [ \"$(stty size)\" = '33 77' ]; do usleep 50000; done; echo follow''ed\r"),
    shown(T, "followed\r"),
    type(T, [1, "q"]),
    over(T).

%% Input that is no terminal is a script.
attach_input(Config) ->
    {_, Name, _} = up(Config),
    Out = sh("echo 'echo $((6 * 7))' | erl -pa ~s -noshell -eval '~s, halt().'",
        [filename:dirname(code:which(erlxc)), attach(Config, Name)]),
    ?assertNotEqual(nomatch, string:find(Out, "42")).

%% What cannot be attached to is an error.
attach_fails(Config) ->
    {C, _, _} = up(Config),
    ?assertMatch({error, _}, erlxc:attach(C, [{exec, "/no/such"}])),
    ?assertMatch({error, {badarg, _}}, erlxc:attach(C, [{pty, yes}])),
    ?assertMatch({error, _}, erlxc:attach(spawn(fun() -> ok end), [])).
