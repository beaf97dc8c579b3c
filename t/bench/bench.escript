#!/usr/bin/env escript
%% SPDX-License-Identifier: ISC
%%! -pa ebin -kernel logger_level error
%%
%% Each row is ours and a peer's, measured in turns in this one run, since the
%% figures of two runs or two machines do not compare: medians and their ratio.
%% Arguments: the rows wanted (call codec memory start attach throughput keystroke
%% idle; against the bindings: state get_config_item get_cgroup_item list restart
%% create); default all.
%% Status 0 whether or not the targets are met; a row that cannot run: 1.

-mode(compile).
-define(CONTAINERS, 50).
-define(IDLE, 1000).
-define(LISTED, 500).

main(Args) ->
    Rows = [{"call", fun call/1}, {"codec", fun codec/1},
        {"memory", fun memory/1}, {"start", fun start/1}, {"attach", fun attach/1},
        {"throughput", fun throughput/1}, {"keystroke", fun keystroke/1}, {"idle", fun idle/1},
        {"state", fun state/1}, {"get_config_item", fun get_config_item/1},
        {"get_cgroup_item", fun get_cgroup_item/1}, {"list", fun list/1},
        {"restart", fun restart/1}, {"create", fun create/1}],
    Dir = string:trim(os:cmd("mktemp -d /tmp/erlxc-bench.XXXXXX")),
    ok = file:make_dir(Dir ++ "/lxc"),
    line(["", "ours", "peer", "ratio", "target", ""]),
    try
        template(Dir),
        [Run(Dir) || {Name, Run} <- Rows, Args =:= [] orelse lists:member(Name, Args)]
    after
        %% The bindings' containers and lxc-start's leave some, which are empty.
        os:cmd("rmdir /sys/fs/cgroup/*/lxc.monitor.{c,restarted,state,weighed}*"),
        os:cmd("rm -rf --one-file-system " ++ Dir ++ " /run/lxc/lock" ++ Dir)
    end.

%% --- Rows ---------------------------------------------------------------------

%% A call that the port answers by itself, against an echo of as many bytes: from
%% liblxc down, and the port alone, driven as the echo is. On one CPU: on several,
%% where the kernel puts the two processes counts more than what they do.
call(Dir) ->
    C = driver(Dir, "call"),
    Request = term_to_binary({1, name, []}),
    Reply = term_to_binary({reply, 1, liblxc:name(C), <<>>}),
    Bare = open_port({spawn_executable, "priv/erlxc"},
        [{args, ["-n", "call", "-P", Dir ++ "/lxc"]}, {packet, 4}, binary]),
    receive {Bare, {data, _Ready}} -> ok end,
    Echo = echo(),
    Node = os:getpid(),
    Cpus = pin("0", [Node, os_pid(Bare), os_pid(Echo),
        port_pid(C)]),
    [Ours, Alone, Peer] = turns(21, [fun() -> per_call(2000, F) end || F <- [
        fun() -> liblxc:name(C) end,
        fun() -> exchange(Bare, Request) end,
        fun() -> exchange(Echo, Reply) end]]),
    pin(Cpus, [Node]),
    port_close(Echo),
    port_close(Bare),
    ok = erlxc_drv:stop(C),
    row("liblxc:name/1, against a bare echo", us, Ours, Peer, {at_most, 1.3}),
    row("the same frames to the port, against a bare echo", us, Alone, Peer,
        {at_most, 1.3}).

exchange(Port, Frame) ->
    true = port_command(Port, Frame),
    receive {Port, {data, Answer}} -> Answer end.

echo() ->
    open_port({spawn_executable, build("bench/echo")}, [{packet, 4}, binary]).

%% Restricts processes to CPUs, and returns those of the first one before.
pin(Cpus, [Pid | _] = Pids) ->
    Old = os:cmd("taskset -cp " ++ Pid),
    [os:cmd(["taskset -acp ", Cpus, " ", P]) || P <- Pids],
    string:trim(lists:last(string:split(Old, ": "))).

port_pid(C) ->
    integer_to_list(maps:get(os_pid, erlxc_drv:info(C))).

os_pid(Port) ->
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    integer_to_list(Pid).

%% Prints what the C program measures: name: ours NS ei NS ratio R.
codec(_Dir) ->
    Lines = string:lexemes(os:cmd(build("bench/codec_bench")), "\n"),
    Rows = [L || L <- Lines, lists:prefix("codec ", L)],
    Rows =/= [] orelse throw({codec_bench, Lines}),
    [codec_row(string:split(L, ": ")) || L <- Rows].

codec_row([Name, Figures]) ->
    ["ours", A, "ei", B | _] = string:lexemes(Figures, " "),
    row(Name ++ ", against ei", ns, number(A), number(B), {faster, 1.5}).

%% What an idle port and its helpers weigh, against python3 with python3-lxc, each
%% alone: pages that both share would be split between them.
memory(Dir) ->
    [weigh(Dir, Name, What) || {Name, What} <- [{"stopped", fun stopped/2},
        {"weighed", fun detached/2}]].

stopped(Dir, Name) ->
    erlxc_drv:stop(driver(Dir, Name)).

%% Run by neither of the two, so that both hold the same.
detached(Dir, Name) ->
    C = driver(Dir, Name, [{type, permanent}]),
    {ok, _} = liblxc:start(C),
    ok = erlxc_drv:stop(C).

weigh(Dir, Name, Prepare) ->
    ok = Prepare(Dir, Name),
    C = driver(Dir, Name, [{type, permanent}]),
    State = liblxc:state(C),
    receive after 100 -> ok end, % idle
    A = pss(port_pid(C)),
    ok = erlxc_drv:stop(C),
    Hold = open_port({spawn_executable, "/usr/bin/python3"},
        [{args, ["t/bench/hold.py", Name, Dir ++ "/lxc"]}, {line, 80}, binary]),
    receive {Hold, {data, {eol, State}}} -> ok end,
    B = pss(os_pid(Hold)),
    port_close(Hold),
    os:cmd("lxc-stop -k -P " ++ Dir ++ "/lxc -n " ++ Name),
    row(io_lib:format("idle port (~ts), against python3-lxc",
        [string:lowercase(State)]), kb, A, B, {at_most, 0.2}).

%% Containers from one node, their drivers included, against a shell loop.
start(Dir) ->
    Names = ["c" ++ integer_to_list(N) || N <- lists:seq(1, ?CONTAINERS)],
    [copy(Dir, Name) || Name <- Names],
    Shell = fun() -> shell(Dir, "lxc-start -d") end,
    Turns = [[in_turn([driver(Dir, N) || N <- Names]),
        timed(fun() -> [running(Dir, N) || N <- Names] end, fun stop/1),
        timed(fun() -> at_once(Dir, Names) end, fun stop/1),
        timed(Shell, fun(_) -> shell(Dir, "lxc-stop -k") end)]
        || _ <- lists:seq(1, 5)],
    [One, Whole, Once, Loop] = [median([lists:nth(I, T) || T <- Turns]) || I <- [1, 2, 3, 4]],
    start_row("one after another", One, Loop, {at_most, 1.0}),
    start_row("one after another, with drivers", Whole, Loop, {at_most, 1.0}),
    start_row("at once, with drivers", Once, Loop, {at_most, 1.0}).

start_row(How, Ours, Peer, Target) ->
    row(io_lib:format("~b starts ~s, against lxc-start", [?CONTAINERS, How]),
        ms, Ours, Peer, Target).

%% Containers whose drivers are there, as in a system that restarts them.
in_turn(Drivers) ->
    timed(fun() -> [{ok, _} = liblxc:start(C) || C <- Drivers], Drivers end, fun stop/1).

at_once(Dir, Names) ->
    Me = self(),
    Pids = [spawn_link(fun() -> Me ! {self(), running(Dir, N)}, receive after infinity -> ok end end)
        || N <- Names],
    [receive {P, C} -> C end || P <- Pids].

stop(Drivers) ->
    [ok = erlxc_drv:stop(C) || C <- Drivers].

shell(Dir, Cmd) ->
    "" = os:cmd(io_lib:format("for i in $(seq ~b); do ~s -P ~s/lxc -n c$i; done",
        [?CONTAINERS, Cmd, Dir])).

%% --- Rows: commands in a running container ---------------------------------------

%% The shortest command, against the command line tool's and against what entering the
%% same container costs in C, with an echo of the request's and the answers' bytes.
attach(Dir) ->
    C = running(Dir, "attach"),
    Echo = echo(),
    Frame = term_to_binary({1, attach, [[<<"/bin/true">>], #{stderr => separate}]}),
    Tool = "lxc-attach -P " ++ Dir ++ "/lxc -n attach -- /bin/true",
    Floor = io_lib:format("~s ~b 200 /bin/true", [build("bench/attach"), liblxc:init_pid(C)]),
    Run = fun() -> {ok, #{status := {exit_status, 0}}} = erlxc:run(C, ["/bin/true"]) end,
    [Ours, Peer, Enter, Trip] = turns(11, [fun() -> per_call(100, Run) end,
        fun() -> per_call(3, fun() -> "" = os:cmd(Tool) end) end,
        fun() -> number(string:trim(os:cmd(Floor))) / 1000 end,
        fun() -> per_call(1000, fun() -> exchange(Echo, Frame) end) end]),
    port_close(Echo),
    ok = erlxc_drv:stop(C),
    row("run of /bin/true, against lxc-attach", us, Ours, Peer, {faster, 4}),
    row("run of /bin/true, against attach and echo in C", us, Ours, Enter + Trip,
        {at_most, 1.5}).

%% Bytes of a command into Erlang, against C programs that do nothing else, and what
%% has grown in the meantime.
throughput(Dir) ->
    C = running(Dir, "bytes"),
    "" = os:cmd(["cp ", build("probe/burst"), " ", Dir, "/lxc/bytes/rootfs/burst"]),
    {Pipe, Pty} = {200000000, 50000000},
    Ours = fun(N, Opts) -> streamed(C, N, Opts) end,
    [Ours(Pty, O) || O <- [[{pty, false}], []], _ <- [1, 2]],
    Before = sizes(C),
    [A, B, X, Y] = turns(7, [fun() -> Ours(Pipe, [{pty, false}]) end, fun() -> framed(Pipe) end,
        fun() -> Ours(Pty, []) end, fun() -> read(Pty) end]),
    After = sizes(C),
    ok = erlxc_drv:stop(C),
    row("bytes out of a pipe, against a C port's", 'MB/s', A, B, {at_least, 0.8}),
    row("bytes out of a pty, against a C program's", 'MB/s', X, Y, {at_least, 0.85}),
    [row(What ++ " after that, against before", kb, N, M, {at_most, 1.2})
        || {What, N, M} <- lists:zip3(["memory of the port", "memory of the VM"], After, Before)].

%% In MB/s, from the key that sets it off to the last byte.
streamed(C, N, Opts) ->
    {ok, P} = erlxc:spawn(C, [{exec, ["/burst", integer_to_list(N), "wait"]} | Opts]),
    ok = erlxc:setopts(P, [{active, true}]),
    Time = timed(fun() -> ok = erlxc:send(P, "\n"), drain(erlxc, P, N) end, fun(_) -> ok end),
    ok = erlxc:stop(P),
    N / Time / 1000.

framed(N) ->
    Port = open_port({spawn_executable, build("bench/pipe")},
        [{args, [build("probe/burst"), integer_to_list(N)]}, {packet, 4}, binary]),
    Time = timed(fun() -> exchange(Port, <<"go">>), drain(Port, data, N - 65536) end,
        fun(_) -> ok end),
    port_close(Port),
    N / Time / 1000.

drain(_, _, Left) when Left =< 0 -> ok;
drain(erlxc, P, Left) -> receive {erlxc, P, Data} -> drain(erlxc, P, Left - byte_size(Data)) end;
drain(Port, data, Left) ->
    receive {Port, {data, Data}} -> drain(Port, data, Left - byte_size(Data)) end.

read(N) ->
    Cmd = io_lib:format("~s read ~s ~b wait", [build("bench/pty"), build("probe/burst"), N]),
    N * 1000 / number(string:trim(os:cmd(Cmd))).

%% Of the port alone, and of the VM without its garbage, in kB.
sizes(C) ->
    [erlang:garbage_collect(P) || P <- processes()],
    [pss_alone(port_pid(C)), erlang:memory(total) / 1024].

%% A key's way to a pty and back as its echo, which nobody in the container has a part
%% in, against the same in C and an echo port: the median of all. On one CPU, as row
%% `call'. A terminal's bytes are moved by threads of the kernel, though, and where those
%% are counts still: hence many turns, of not so many keys.
keystroke(Dir) ->
    C = running(Dir, "keys"),
    Echo = echo(),
    Trip = fun() -> exchange(Echo, <<"x">>) end,
    Bench = ["taskset -c 0 ", build("bench/pty"), " echo 500"],
    Node = os:getpid(),
    Cpus = pin("0", [Node, port_pid(C), os_pid(Echo)]),
    [Ours, Bare, Port] = turns(41, [fun() -> typed(C, 500) end,
        fun() -> number(string:trim(os:cmd(Bench))) / 1000 end,
        fun() -> each(500, Trip) end]),
    pin(Cpus, [Node]),
    port_close(Echo),
    ok = erlxc_drv:stop(C),
    row("a key's echo, against a pty's in C and an echo port", us, Ours, Bare + Port,
        {at_most, 1.5}).

%% Fewer keys than a line may have.
typed(C) -> typed(C, 2000).
typed(C, N) ->
    {ok, P} = erlxc:spawn(C, [{exec, ["/bin/sleep", "1000"]}]),
    ok = erlxc:setopts(P, [{active, true}]),
    Time = each(N, fun() -> ok = erlxc:send(P, "x"), receive {erlxc, P, <<"x">>} -> ok end end),
    ok = erlxc:stop(P),
    Time.

%% The median time of a call in microseconds.
each(N, Fun) ->
    median([per_call(1, Fun) || _ <- lists:seq(1, N)]).

%% What streams that do nothing cost: memory, and the time of one that does something,
%% against the same in a container that has no others.
idle(Dir) ->
    [C, Quiet] = [running(Dir, N) || N <- ["idle", "quiet"]],
    typed(C),
    Before = sizes(C),
    Idle = [element(2, {ok, _} = erlxc:spawn(C, [{exec, ["/bin/cat"]}, {pty, false}]))
        || _ <- lists:seq(1, ?IDLE)],
    [Port, Vm] = [(A - B) / ?IDLE || {A, B} <- lists:zip(sizes(C), Before)],
    [Ours, Peer] = turns(7, [fun() -> typed(C) end, fun() -> typed(Quiet) end]),
    [true = is_process_alive(P) || P <- Idle],
    [ok = erlxc_drv:stop(X) || X <- [C, Quiet]],
    row(io_lib:format("a key's echo beside ~b idle streams, against none", [?IDLE]), us, Ours,
        Peer, {at_most, 1.2}),
    [line([["an idle stream's memory in the ", Where], figure(Kb, kb), "", "", "", ""])
        || {Where, Kb} <- [{"port", Port}, {"VM", Vm}]].

%% --- Rows: the bindings and the commands -----------------------------------------
%% A call, the same call of the bindings in a loop of theirs, and the command, all about
%% the same containers. A binding is in its caller's process: ours counts without its
%% round trips to the port, each as long as name/1 takes in the same turns.

state(Dir) ->
    query(Dir, {200, "state", fun liblxc:state/1}, "lxc-info -H -s -n asked", 15).

get_config_item(Dir) ->
    query(Dir, {500, "get_config_item lxc.uts.name",
        fun(C) -> liblxc:get_config_item(C, <<"lxc.uts.name">>) end},
        "lxc-info -H -c lxc.uts.name -n asked", 10).

get_cgroup_item(Dir) ->
    query(Dir, {50, "get_cgroup_item pids.max",
        fun(C) -> liblxc:get_cgroup_item(C, <<"pids.max">>) end},
        "lxc-cgroup -n asked pids.max", 10).

%% Of a running container; on one CPU, as row `call', the monitor too.
query(Dir, {N, Request, Ours}, Command, Times) ->
    Path = Dir ++ "/lxc",
    C = driver(Dir, "asked"),
    Peers = bindings(Path, "asked"),
    Node = os:getpid(),
    Cpus = pin("0", [Node, port_pid(C) | [os_pid(P) || {_, P} <- Peers]]),
    {ok, _} = liblxc:start(C),
    Value = Ours(C),
    against(C, hd(string:lexemes(Request, " ")), 1, fun() -> per_call(N, fun() -> Ours(C) end) end,
        [{Name, fun() -> asked(P, N, Request, Value) end} || {Name, P} <- Peers],
        command([Command, " -P ", Path]), {faster, Times}),
    pin(Cpus, [Node]),
    ok = erlxc_drv:stop(C),
    [port_close(P) || {_, P} <- Peers].

list(Dir) ->
    Path = Dir ++ "/listed",
    {ok, Config} = file:read_file(Dir ++ "/template/config"),
    Files = [io_lib:format("~s/c~3..0b/config", [Path, N]) || N <- lists:seq(1, ?LISTED)],
    [ok = file:write_file(F, Config) || F <- Files, ok =:= filelib:ensure_dir(F)],
    C = driver(Dir, "asked"),
    Ours = fun() -> ?LISTED = length(liblxc:list(C, defined, Path)) end,
    Peers = bindings(Path, "c001"),
    against(C, io_lib:format("list of ~b", [?LISTED]), 1, fun() -> per_call(5, Ours) end,
        [{Name, fun() -> asked(P, 5, "list", integer_to_binary(?LISTED)) end}
            || {Name, P} <- Peers],
        command(["lxc-ls --defined -1 -P ", Path]), {faster, 10}),
    ok = erlxc_drv:stop(C),
    [port_close(P) || {_, P} <- Peers].

%% As the bindings do it, whose containers outlive who starts them, and as is our default:
%% attached, by a guardian that takes the container down with the port.
restart(Dir) ->
    [restart(Dir, What, Type) || {What, Type} <- [{"start and stop", permanent},
        {"start and stop, attached", transient}]].

restart(Dir, What, Type) ->
    C = driver(Dir, "restarted", [{type, Type}]),
    Ours = fun() -> {ok, _} = liblxc:start(C), true = liblxc:stop(C) end,
    Peers = bindings(Dir ++ "/lxc", "restarted"),
    Tool = [" -P ", Dir, "/lxc -n restarted"],
    against(C, What, 2, fun() -> per_call(3, Ours) end,
        [{Name, fun() -> asked(P, 3, "restart", <<"true">>) end} || {Name, P} <- Peers],
        command(["lxc-start", Tool, " && lxc-stop -k", Tool]), {at_most, 1.0}),
    ok = erlxc_drv:stop(C),
    [port_close(P) || {_, P} <- Peers].

%% By a template that does nothing, so that it does not hide what is around it.
create(Dir) ->
    Path = Dir ++ "/lxc",
    Template = Dir ++ "/nothing",
    ok = file:write_file(Template, "#!/bin/sh\n"),
    ok = file:change_mode(Template, 8#755),
    C = driver(Dir, "asked"),
    Peers = bindings(Path, "asked"),
    After = fun(Time) -> "" = os:cmd(["rm -r ", Path, "/created"]), Time end,
    against(C, "create", 1, fun() -> After(created(Path, Template)) end,
        [{Name, fun() ->
            asked(P, 1, "open created", <<"created">>),
            After(asked(P, 1, "create " ++ Template, <<"true">>))
        end} || {Name, P} <- Peers],
        fun() ->
            Cmd = ["lxc-create -P ", Path, " -n created -t ", Template, " >/dev/null"],
            After((command(Cmd))())
        end, {at_most, 1.0}),
    ok = erlxc_drv:stop(C),
    [port_close(P) || {_, P} <- Peers].

created(Path, Template) ->
    {ok, C} = erlxc_drv:start([{name, "created"}, {path, Path}]),
    <<"created">> = liblxc:name(C), % it is ready before it has opened the container
    Time = per_call(1, fun() -> true = liblxc:create(C, Template, <<>>, <<>>, 0, []) end),
    ok = erlxc_drv:stop(C),
    Time.

%% What each of the functions returns is in microseconds a call.
against(C, Call, Trips, Ours, Peers, Command, Target) ->
    Trip = fun() -> Trips * per_call(500, fun() -> liblxc:name(C) end) end,
    [A, T, B | Figures] = turns(21, [Ours, Trip, Command | [F || {_, F} <- Peers]]),
    [row(io_lib:format("~s less ~s of trips, against ~s", [Call, figure(T, us), Name]), us, A,
        Figure, {beyond, T, 1.0}) || {{Name, _}, Figure} <- lists:zip(Peers, Figures)],
    row([Call, ", against the command"], us, A, B, Target).

command(Cmd) ->
    fun() -> per_call(1, fun() -> os:cmd(Cmd) end) end.

bindings(Path, Name) ->
    Lua = string:trim(os:cmd("for l in lua5.4 lua5.3 lua5.2 lua5.1 lua; do "
        "$l -e 'require \"lxc\"' 2>/dev/null && command -v $l && break; done")),
    [{Binding, open_port({spawn_executable, Program}, [{args, [File, Path, Name]},
        {line, 256}, binary])} || {Binding, Program, File} <- [
            {"python3-lxc", "/usr/bin/python3", "t/bench/peer.py"},
            {"lua-lxc", Lua, "t/bench/peer.lua"}], Program =/= ""].

%% Microseconds a call; the last of N must have had the value.
asked(Peer, N, Request, Value) ->
    Line = [integer_to_list(N), " ", Request, "\n"],
    per_call(1, fun() -> {eol, Value} = exchange(Peer, Line) end) / N.

%% --- Containers ---------------------------------------------------------------

template(Dir) ->
    Cmd = "lxc-create -P ~s -n template -f ~s -t busybox >~s/log 2>&1 && echo ok",
    ok = file:write_file(Dir ++ "/conf", "lxc.net.0.type = empty\n"),
    "ok\n" = os:cmd(io_lib:format(Cmd, [Dir, Dir ++ "/conf", Dir])).

copy(Dir, Name) ->
    To = Dir ++ "/lxc/" ++ Name,
    "" = os:cmd(["cp -a ", Dir, "/template ", To]),
    "" = os:cmd(["sed -i 's|", Dir, "/template|", To, "|; s|\\btemplate\\b|", Name,
        "|' ", To, "/config"]),
    "" = os:cmd(["echo lxc.pty.max = 1024 >>", To, "/config"]).

driver(Dir, Name) ->
    driver(Dir, Name, []).

driver(Dir, Name, Opts) ->
    filelib:is_dir(Dir ++ "/lxc/" ++ Name) orelse copy(Dir, Name),
    {ok, C} = erlxc_drv:start([{name, Name}, {path, Dir ++ "/lxc"},
        {shutdown, brutal_kill} | Opts]),
    C.

running(Dir, Name) ->
    C = driver(Dir, Name),
    {ok, _} = liblxc:start(C),
    C.

%% The sum over a process and its descendants, in kB.
pss(Pid) ->
    Children = os:cmd(["cat /proc/", Pid, "/task/", Pid, "/children"]),
    lists:sum([pss_alone(Pid) | [pss(C) || C <- string:lexemes(string:trim(Children), " ")]]).

pss_alone(Pid) ->
    {ok, Text} = file:read_file(["/proc/", Pid, "/smaps_rollup"]),
    {match, [Own]} = re:run(Text, "\nPss: *([0-9]+) kB", [{capture, [1], list}]),
    list_to_integer(Own).

%% --- Measuring and printing -----------------------------------------------------

build(File) ->
    filename:absname(filename:join(os:getenv("BUILD", "build"), File)).

per_call(N, Fun) ->
    Start = erlang:monotonic_time(nanosecond),
    repeat(N, Fun),
    (erlang:monotonic_time(nanosecond) - Start) / N / 1000.

repeat(0, _) -> ok;
repeat(N, Fun) -> Fun(), repeat(N - 1, Fun).

%% Milliseconds that Fun takes; After gets what it returned, off the clock.
timed(Fun, After) ->
    {Time, Value} = timer:tc(Fun),
    After(Value),
    Time / 1000.

%% The medians of some that take turns, after one turn each that is not counted.
turns(N, Funs) ->
    [F() || F <- Funs],
    Turns = [[F() || F <- Funs] || _ <- lists:seq(1, N)],
    [median([lists:nth(I, T) || T <- Turns]) || I <- lists:seq(1, length(Funs))].

median(L) ->
    lists:nth((length(L) + 1) div 2, lists:sort(L)).

number(S) ->
    case string:to_float(S) of
        {error, no_float} -> list_to_integer(S);
        {F, _} -> F
    end.

%% faster: so many times; at_most, at_least: of the peer's.
row(Name, Unit, Ours, Peer, {faster, Times}) ->
    print(Name, Unit, Ours, Peer, Peer / Ours, ">=", Times, Peer / Ours >= Times);
row(Name, Unit, Ours, Peer, {at_most, Part}) ->
    print(Name, Unit, Ours, Peer, Ours / Peer, "<=", Part, Ours / Peer =< Part);
row(Name, Unit, Ours, Peer, {beyond, Trip, Part}) ->
    Ratio = (Ours - Trip) / Peer,
    print(Name, Unit, Ours, Peer, Ratio, "<=", Part, Ratio =< Part);
row(Name, Unit, Ours, Peer, {at_least, Part}) ->
    print(Name, Unit, Ours, Peer, Ours / Peer, ">=", Part, Ours / Peer >= Part).

print(Name, Unit, Ours, Peer, Ratio, Op, Target, Met) ->
    line([Name, figure(Ours, Unit), figure(Peer, Unit), io_lib:format("~.2f", [Ratio]),
        io_lib:format("~s ~p", [Op, Target]), case Met of true -> "ok"; false -> "miss" end]).

figure(N, us) when N >= 10000 -> figure(N / 1000, ms);
figure(N, Unit) when N < 100 -> io_lib:format("~.1f ~s", [N / 1, Unit]);
figure(N, Unit) -> io_lib:format("~b ~s", [round(N), Unit]).

line([Name, Ours, Peer, Ratio, Target, Verdict]) ->
    io:format("~-60ts ~12ts ~12ts ~8ts ~9ts  ~ts~n",
        [lists:flatten(Name), Ours, Peer, Ratio, Target, Verdict]).
