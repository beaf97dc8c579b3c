%% SPDX-License-Identifier: ISC
%% Events: states and ends of containers, whoever caused them.
-module(event_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlxc_test, [
    container/1, driver/2, driver/3, path/1, sleeper/0, start/1, start_clean/3, eventually/2,
    timed/1, among/3, sh/2, port_pid/1, children/1, comm/1, ppid/1, alive/1, signal/2,
    descriptors/1, soak/1, rootfs/2
]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, lxc}].

groups() ->
    [{lxc, [], cases()}].

cases() ->
    [by_commands, by_the_driver, statuses, at_once, attached_once, failed_start,
        reboot, same_state_never, no_polling, stuck_later, stuck_before, monitor_killed,
        watcher_killed, two_subscribers, subscriber_dies, cycles, renamed].

init_per_suite(Config) ->
    erlxc_test:setup(Config).

end_per_suite(Config) ->
    erlxc_test:teardown(Config).

init_per_group(Engine, Config) ->
    erlxc_test:engine(Engine, Config).

end_per_group(_, _) ->
    ok.

%% --- Helpers -----------------------------------------------------------------------

%% A driver of a stopped container that the caller is subscribed to.
subscribed(Config) ->
    Name = container(Config),
    C = driver(Config, Name, [{shutdown, 0}]),
    ok = erlxc_drv:subscribe(C),
    {C, Name}.

%% The same, started by a shell.
running(Config) ->
    {C, Name} = subscribed(Config),
    Init = shell_start(Config, Name, sleeper()),
    ?assertEqual(states([<<"STARTING">>, <<"RUNNING">>]), until(C, <<"RUNNING">>)),
    {C, Name, Init}.

shell_start(Config, Name, Argv) ->
    "" = lxc(Config, Name, start, ["-- " | lists:join(" ", Argv)]),
    list_to_integer(lxc(Config, Name, info, "-pH")).

%% One of the commands lxc-*, in a shell.
lxc(Config, Name, Command, Args) ->
    sh("lxc-~s -P ~s -n ~s ~s", [Command, path(Config), Name, Args]).

states(States) -> [{state, S} || S <- States].

%% The events up to a state, which must come.
until(C, State) ->
    case event(C, 10000) of
        {state, State} = E -> [E];
        none -> error({no, State});
        E -> [E | until(C, State)]
    end.

event(C, Ms) ->
    receive {erlxc, C, E} -> E after Ms -> none end.

exited(C) ->
    receive {erlxc, C, {exited, Status}} -> Status after 10000 -> error(not_exited) end.

%% Nothing is left to be told, by the state and one more end.
over(C) ->
    ?assertEqual(none, event(C, 0)),
    ok = erlxc_drv:unsubscribe(C),
    ok = erlxc_drv:stop(C).

watchers(Port) ->
    [P || P <- children(Port), comm(P) =:= <<"erlxc-watcher">>, alive(P)].

no_watcher(Port) ->
    eventually(fun() -> watchers(Port) =:= [] end, 5000).

stopping() ->
    states([<<"STOPPING">>, <<"STOPPED">>]).

%% --- States ---------------------------------------------------------------------------

%% What is done to a container in a shell is told, each state once, in order.
by_commands(Config) ->
    {C, Name, _} = running(Config),
    "" = lxc(Config, Name, freeze, ""),
    ?assertEqual(states([<<"FREEZING">>, <<"FROZEN">>]), until(C, <<"FROZEN">>)),
    "" = lxc(Config, Name, unfreeze, ""),
    ?assertEqual(states([<<"RUNNING">>]), until(C, <<"RUNNING">>)),
    "" = lxc(Config, Name, stop, "-k"),
    ?assertEqual([{exited, {signal, 9}} | stopping()], until(C, <<"STOPPED">>)),
    over(C).

%% What the driver itself does is told likewise.
by_the_driver(Config) ->
    {C, _} = subscribed(Config),
    start(C),
    ?assertEqual(states([<<"STARTING">>, <<"RUNNING">>]), until(C, <<"RUNNING">>)),
    ?assert(liblxc:freeze(C)),
    ?assertEqual(states([<<"FREEZING">>, <<"FROZEN">>]), until(C, <<"FROZEN">>)),
    ?assert(liblxc:unfreeze(C)),
    ?assertEqual(states([<<"RUNNING">>]), until(C, <<"RUNNING">>)),
    ?assert(liblxc:stop(C)),
    ?assertEqual([{exited, {signal, 9}} | stopping()], until(C, <<"STOPPED">>)),
    over(C).

%% A start that fails is no life: it has no end.
failed_start(Config) ->
    {C, _} = subscribed(Config),
    {error, enoent} = liblxc:start(C, 0, ["/nothing"]),
    Events = until(C, <<"STOPPED">>),
    ?assertEqual([], [E || {exited, _} = E <- Events]),
    ?assertMatch([{state, <<"STARTING">>} | _], Events),
    over(C).

%% The state told last is the state, and none is told twice in a row, however fast they
%% come and go.
same_state_never(Config) ->
    {C, Name} = subscribed(Config),
    [begin
        shell_start(Config, Name, sleeper()),
        [lxc(Config, Name, Command, "") || Command <- [freeze, unfreeze, freeze]],
        lxc(Config, Name, stop, "-k")
    end || _ <- lists:seq(1, soak(3))],
    shell_start(Config, Name, sleeper()),
    All = all(C, <<"RUNNING">>),
    States = [S || {state, S} <- All],
    ?assertEqual([], [A || {A, A} <- lists:zip(States, tl(States) ++ [none])]),
    ?assertEqual(soak(3), length([E || {exited, _} = E <- All])),
    ?assertEqual(soak(3), length([S || <<"STOPPED">> = S <- States])),
    ?assertEqual(<<"RUNNING">>, liblxc:state(C)),
    ?assert(liblxc:stop(C)),
    until(C, <<"STOPPED">>),
    over(C).

%% What comes until there is nothing more after that state.
all(C, State) ->
    Events = until(C, State),
    case event(C, 1000) of
        none -> Events;
        E -> Events ++ [E | all(C, State)]
    end.

%% --- Ends -----------------------------------------------------------------------------

%% How init ended is known of a container that somebody else has started.
statuses(Config) ->
    {C, Name} = subscribed(Config),
    [begin
        "" = lxc(Config, Name, start, ["-- /bin/sh -c ", Script]),
        until(C, <<"RUNNING">>),
        Kill andalso signal(liblxc:init_pid(C), "KILL"),
        ?assertEqual({Script, [{exited, Status} | stopping()]}, {Script, until(C, <<"STOPPED">>)})
    end || {Script, Kill, Status} <- [
        {"'sleep 0.3; exit 7'", false, {exit_status, 7}},
        {"'sleep 0.3; exit 0'", false, {exit_status, 0}},
        {"'sleep 1000; :'", true, {signal, 9}}]],
    over(C).

%% From the death of init to the message it is less than 50 ms, on a busy machine.
at_once(Config) ->
    {C, Name} = subscribed(Config),
    Loop = "while [ -d /proc/" ++ os:getpid() ++ " ]; do :; done",
    Busy = [open_port({spawn_executable, "/bin/sh"}, [{args, ["-c", Loop]}]) || _ <- [1, 2]],
    Times = lists:sort(try [begin
        Init = shell_start(Config, Name, sleeper()),
        until(C, <<"RUNNING">>),
        Start = erlang:monotonic_time(microsecond),
        signal_now(Init),
        ?assertEqual({signal, 9}, exited(C)),
        Took = erlang:monotonic_time(microsecond) - Start,
        until(C, <<"STOPPED">>),
        Took
    end || _ <- lists:seq(1, 15)]
    after [signal(P, "KILL") || B <- Busy, {os_pid, P} <- [erlang:port_info(B, os_pid)]]
    end),
    ct:log("from SIGKILL to message, us: ~p", [Times]),
    among(0, 50000, lists:nth(8, Times)),
    over(C).

%% The shell that signals is ready before, so that its start is not measured.
signal_now(Pid) ->
    P = open_port({spawn_executable, "/bin/sh"},
        [{args, ["-c", "read x; kill -KILL $x; echo done"]}, {line, 80}, exit_status]),
    true = port_command(P, [integer_to_list(Pid), $\n]),
    receive {P, {data, {eol, "done"}}} -> ok end,
    receive {P, {exit_status, 0}} -> ok end.

%% An attached container's end, which the guardian knows too, is told once.
attached_once(Config) ->
    {C, _} = subscribed(Config),
    [begin
        {ok, _} = liblxc:start(C, 0, ["/bin/sh", "-c", "sleep 0.1; exit 3"]),
        ?assertEqual([{exited, {exit_status, 3}}],
            [E || {exited, _} = E <- until(C, <<"STOPPED">>)])
    end || _ <- lists:seq(1, soak(5))],
    {ok, _} = liblxc:start(C, 0, sleeper()),
    until(C, <<"RUNNING">>), % the guardians of the others are gone
    eventually(fun() -> length(guardians(C)) =:= 1 end, 5000),
    ?assert(liblxc:stop(C)),
    ?assertEqual([{exited, {signal, 9}} | stopping()], until(C, <<"STOPPED">>)),
    eventually(fun() -> guardians(C) =:= [] end, 5000),
    over(C).

guardians(C) ->
    #{os_pid := Port} = erlxc_drv:info(C),
    [P || P <- children(Port), comm(P) =:= <<"erlxc-guardian">>].

%% A container that reboots ends and comes back, with another init that is known too. The
%% kernel says SIGHUP of one that reboots, or, once it is reaped, SIGKILL.
reboot(Config) ->
    {C, Name} = subscribed(Config),
    Init = start_clean(C, Config, Name),
    until(C, <<"RUNNING">>),
    ok = file:delete(filename:join(rootfs(Config, Name), "ready")),
    ?assert(liblxc:reboot(C)),
    [{exited, {signal, N}} | States] = until(C, <<"RUNNING">>),
    ?assert(N =:= 1 orelse N =:= 9),
    ?assertEqual(stopping() ++ states([<<"STARTING">>, <<"RUNNING">>]), States),
    Next = eventually(fun() -> found(liblxc:init_pid(C)) end, 5000),
    ?assertNotEqual(Init, Next),
    signal(Next, "KILL"),
    ?assertEqual([{exited, {signal, 9}} | stopping()], until(C, <<"STOPPED">>)),
    eventually(fun() -> guardians(C) =:= [] end, 5000),
    over(C).

found(Pid) when Pid > 1 -> {ok, Pid};
found(Pid) -> Pid.

%% --- Monitors -------------------------------------------------------------------------

%% While nothing happens a monitor is not even woken.
no_polling(Config) ->
    {C, _, Init} = running(Config),
    Monitor = ppid(Init),
    Before = switches(Monitor),
    ?assertEqual(none, event(C, 5000)),
    among(0, 5, switches(Monitor) - Before),
    ?assert(liblxc:stop(C)),
    until(C, <<"STOPPED">>),
    over(C).

%% How often a process has waited for something.
switches(Pid) ->
    list_to_integer(sh("sed -n 's/^voluntary_ctxt_switches:.//p' /proc/~b/status", [Pid])).

%% Init's death is told though the monitor is stuck; the states, when it goes on. Nothing
%% else is held up.
stuck_later(Config) ->
    {C, _, Init} = running(Config),
    Monitor = ppid(Init),
    signal(Monitor, "STOP"),
    signal(Init, "KILL"),
    ?assertEqual({exited, {signal, 9}}, event(C, 5000)),
    {Ms, true} = timed(fun() -> liblxc:defined(C) end),
    among(0, 100, Ms),
    ?assertEqual(none, event(C, 100)),
    signal(Monitor, "CONT"),
    ?assertEqual(stopping(), until(C, <<"STOPPED">>)),
    over(C).

%% Who subscribes while the monitor is stuck is answered within five seconds, and is told
%% the state once it is known.
stuck_before(Config) ->
    Name = container(Config),
    Init = shell_start(Config, Name, sleeper()),
    C = driver(Config, Name),
    Monitor = ppid(Init),
    signal(Monitor, "STOP"),
    {Ms, ok} = timed(fun() -> erlxc_drv:subscribe(C) end),
    among(0, 6000, Ms),
    ?assertEqual(none, event(C, 0)),
    signal(Monitor, "CONT"),
    ?assertEqual({state, <<"RUNNING">>}, event(C, 5000)),
    ?assert(liblxc:stop(C)),
    ?assertEqual([{exited, {signal, 9}} | stopping()], until(C, <<"STOPPED">>)),
    over(C).

%% Init dies of its monitor's death, which its guardian tells too.
monitor_killed(Config) ->
    {C, _} = subscribed(Config),
    Init = start(C),
    until(C, <<"RUNNING">>),
    signal(ppid(Init), "KILL"),
    Events = until(C, <<"STOPPED">>) ++ [E || E <- [event(C, 1000)], E =/= none],
    ?assertEqual([{exited, {signal, 9}}], [E || {exited, _} = E <- Events]),
    eventually(fun() -> guardians(C) =:= [] end, 5000),
    over(C).

%% --- Watchers -------------------------------------------------------------------------

%% A watcher that is lost is replaced, and nothing is missed but the time. (The command
%% complains: the monitor takes it for the client that was lost.)
watcher_killed(Config) ->
    {C, Name, _} = running(Config),
    [Watcher] = watchers(port_pid(Name)),
    signal(Watcher, "KILL"),
    _ = lxc(Config, Name, freeze, ""),
    ?assertEqual(states([<<"FREEZING">>, <<"FROZEN">>]), until(C, <<"FROZEN">>)),
    "" = lxc(Config, Name, stop, "-k"),
    ?assertEqual([{exited, {signal, 9}} | stopping()], until(C, <<"STOPPED">>)),
    over(C).

%% Both are told; who has unsubscribed is not.
two_subscribers(Config) ->
    {C, Name} = subscribed(Config),
    Self = self(),
    {Other, ok} = erlxc_test:owner(fun() -> erlxc_drv:subscribe(C) end),
    Third = spawn_link(fun() ->
        ok = erlxc_drv:subscribe(C),
        Self ! {self(), ready},
        Self ! {self(), until(C, <<"RUNNING">>)}
    end),
    receive {Third, ready} -> ok end,
    ok = erlxc_drv:unsubscribe(C),
    shell_start(Config, Name, sleeper()),
    receive {Third, Events} ->
        ?assertEqual(states([<<"STARTING">>, <<"RUNNING">>]), Events)
    end,
    {messages, Got} = process_info(Other, messages),
    ?assertEqual(states([<<"STARTING">>, <<"RUNNING">>]), [E || {erlxc, _, E} <- Got]),
    ?assertEqual(none, event(C, 0)),
    Other ! exit,
    ?assert(liblxc:stop(C)),
    ok = erlxc_drv:stop(C).

%% The watching ends with the last subscriber's life.
subscriber_dies(Config) ->
    Name = container(Config),
    C = driver(Config, Name),
    Port = port_pid(Name),
    ?assertEqual([], watchers(Port)),
    Owners = [element(1, erlxc_test:owner(fun() -> ok = erlxc_drv:subscribe(C) end))
        || _ <- [1, 2]],
    ?assertMatch([_], watchers(Port)),
    [First, Last] = Owners,
    First ! exit,
    eventually(fun() -> not is_process_alive(First) end, 1000),
    ok = erlxc_drv:subscribe(C),
    ok = erlxc_drv:unsubscribe(C),
    ?assertMatch([_], watchers(Port)),
    Last ! exit,
    no_watcher(Port),
    ok = erlxc_drv:stop(C).

%% Coming and going leaves nothing: no process, no descriptor, nor in the monitor.
cycles(Config) ->
    {C, Name, Init} = running(Config),
    Port = port_pid(Name),
    Monitor = ppid(Init),
    Before = {length(children(Port)), descriptors(Port), descriptors(Monitor)},
    Cycles = fun() -> [begin
        ok = erlxc_drv:unsubscribe(C),
        ok = erlxc_drv:subscribe(C)
    end || _ <- lists:seq(1, 1000)] end,
    Cycles(),
    ?assertEqual(Before, {length(children(Port)), descriptors(Port), descriptors(Monitor)}),
    ?assertMatch([_], watchers(Port)),
    %% A monitor that clients have left tells somebody else what was meant for them.
    "" = lxc(Config, Name, freeze, ""),
    ?assertEqual(states([<<"FREEZING">>, <<"FROZEN">>]), until(C, <<"FROZEN">>)),
    "" = lxc(Config, Name, stop, "-k"),
    ?assertEqual([{exited, {signal, 9}} | stopping()], until(C, <<"STOPPED">>)),
    Cycles(),
    ok = erlxc_drv:unsubscribe(C),
    no_watcher(Port),
    {_, Descriptors, _} = Before,
    among(0, Descriptors, descriptors(Port)),
    over(C).

%% Under its new name the container is watched too.
renamed(Config) ->
    {C, Name} = subscribed(Config),
    New = <<Name/binary, "r">>,
    ?assert(liblxc:rename(C, New)),
    shell_start(Config, New, sleeper()),
    ?assertEqual(states([<<"STARTING">>, <<"RUNNING">>]), until(C, <<"RUNNING">>)),
    "" = lxc(Config, New, stop, "-k"),
    until(C, <<"STOPPED">>),
    over(C).
