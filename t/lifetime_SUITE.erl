%% SPDX-License-Identifier: ISC
%% What is left of a container when one of those who keep it ends: nothing of an
%% attached one, all of a daemonized one. Each event is tried in each state, with
%% a transient and a temporary container.
-module(lifetime_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlxc_test, [
    name/1, container/1, container/2, rootfs/2, tmp/2, path/1, driver/2, driver/3,
    drv_opts/1, start/1, start_clean/3, script/3, nap/2, eventually/2, timed/1, among/3,
    async/1, await/2, owner/1, port_pid/1, child/2,
    guardian/1, comm/1, ppid/1, children/1, alive/1, signal/2, leftovers/2
]).

%% The time that a container has to shut down; none of these inits uses it.
-define(SHUTDOWN, 500).
-define(LIMIT, ?SHUTDOWN + 2000).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, lxc}].

groups() ->
    [{lxc, [], [{group, S} || S <- states()] ++ [{group, detached}] ++ cases()},
        {detached, [], detached()} | [{S, [], events()} || S <- states()]].

states() ->
    [starting, running, frozen, creating].

events() ->
    [owner_exits, owner_killed, driver_stopped, driver_killed, port_sigterm, port_sigkill,
        guardian_sigkill, vm_sigkill, vm_halt].

detached() ->
    [daemonized, permanent, found_running, type_changed, type_changed_running,
        daemonized_running].

cases() ->
    [clean_shutdown, shutdown_time_is_kept, brutal_kill, rebooted, linked_owner,
        unlinked_caller, supervised, start_refused, callers_of_a_dead_port,
        port_after_guardian, guardian_ends_with_container, veth_gone, driver_restarted,
        renamed, moved, idle_guardian_sigkill, watch_sigkill, start_guardian_sigkill,
        start_monitor_sigkill].

init_per_suite(Config) ->
    erlxc_test:setup(Config).

end_per_suite(Config) ->
    erlxc_test:teardown(Config).

init_per_group(lxc, Config) ->
    erlxc_test:engine(lxc, Config);
init_per_group(State, Config) ->
    [{state, State} | Config].

end_per_group(_, _) ->
    ok.

%% --- A container in a state -------------------------------------------------------

%% Both types at once, each with an owner of its own; Event ends it, in whatever
%% way, and gives ok or survives (the port lives on).
matrix(Config, Event) ->
    State = proplists:get_value(state, Config),
    Both = [async(fun() -> one(Config, State, Type, Event) end) || Type <- [transient, temporary]],
    ?assertEqual([ok, ok], [await(A, 50000) || A <- Both]).

one(Config, State, Type, Event) ->
    Name = prepared(Config, State),
    {Owner, C} = owner(fun() -> reach(Config, State, Type, Name) end),
    Begin = erlang:monotonic_time(millisecond),
    Survives = Event(Owner, C, Name),
    Left = Begin + ?LIMIT - erlang:monotonic_time(millisecond),
    nothing_left(Config, Name, Survives, max(Left, 0)),
    Survives =:= survives andalso survivor(C),
    exit(Owner, kill),
    Kept = Type =:= transient andalso State =/= creating,
    eventually(fun() -> is(Kept, on_disk(Config, Name)) end, ?LIMIT),
    nothing_left(Config, Name, ok, ?LIMIT),
    Kept andalso restartable(Config, Name),
    ok.

is(X, X) -> true;
is(_, Y) -> Y.

on_disk(Config, Name) ->
    filelib:is_file(filename:join(path(Config), Name)).

nothing_left(Config, Name, Survives, Ms) ->
    Mine = case Survives of
        survives -> port_pid(Name);
        ok -> none
    end,
    eventually(fun() ->
        case [L || L <- leftovers(Name, Config), not of_port(L, Mine)] of
            [] -> true;
            Left -> Left
        end
    end, Ms).

%% The port that lives on, its query worker, and the idle guardian of a temporary
%% container are no leftovers.
of_port({process, Pid, _}, Port) ->
    Pid =:= Port orelse ppid(Pid) =:= Port andalso children(Pid) =:= []
        andalso lists:member(comm(Pid), [<<"erlxc-query">>, <<"erlxc-guardian">>]);
of_port(_, _) ->
    false.

%% The port without its guardian knows how things are, and goes on.
survivor(C) ->
    ?assertEqual(<<"STOPPED">>, liblxc:state(C)),
    ?assertNot(liblxc:running(C)).

%% A container that is kept is whole.
restartable(Config, Name) ->
    C = driver(Config, Name, [{shutdown, 0}]),
    ?assert(liblxc:clear_config_item(C, "lxc.hook.pre-start")),
    ?assert(alive(start(C))),
    ?assert(liblxc:stop(C)),
    ok = erlxc_drv:stop(C).

%% What a container needs on the disk before it is brought to State. A hook or a
%% template that does not end holds it in starting and creating.
prepared(Config, creating) ->
    slow(Config, name(Config));
prepared(Config, starting) ->
    Name = container(Config),
    slow(Config, Name),
    Line = ["lxc.hook.pre-start = ", tmp(Config, [Name, ".script"]), "\n"],
    ok = file:write_file(filename:join([path(Config), Name, "config"]), Line, [append]),
    Name;
prepared(Config, _) ->
    container(Config).

slow(Config, Name) ->
    Mark = tmp(Config, [Name, ".mark"]),
    _ = script(Config, [Name, ".script"], [": > " ++ Mark, nap(Config, Name) ++ " 30"]),
    Name.

%% Brings the container to State; the calling process owns the driver.
reach(Config, State, Type, Name) ->
    C = driver(Config, Name, [{type, Type}, {shutdown, ?SHUTDOWN}]),
    bring(Config, State, Name, C),
    C.

bring(_, running, _, C) ->
    start(C);
bring(_, frozen, _, C) ->
    start(C),
    true = liblxc:freeze(C);
bring(Config, starting, Name, C) ->
    spawn(fun() -> catch liblxc:start(C, 0, erlxc_test:sleeper()) end),
    marked(Config, Name);
bring(Config, creating, Name, C) ->
    spawn(fun() ->
        catch liblxc:create(C, tmp(Config, [Name, ".script"]), <<>>, <<>>, 0, [])
    end),
    marked(Config, Name).

marked(Config, Name) ->
    Mark = tmp(Config, [Name, ".mark"]),
    eventually(fun() -> filelib:is_regular(Mark) end, 5000).

%% --- The events ---------------------------------------------------------------------

%% The owner returns.
owner_exits(Config) ->
    matrix(Config, fun(Owner, _, _) -> Owner ! exit, ok end).

%% The owner is killed.
owner_killed(Config) ->
    matrix(Config, fun(Owner, _, _) -> exit(Owner, kill), ok end).

%% The driver is stopped; when stop returns, all is gone already.
driver_stopped(Config) ->
    matrix(Config, fun(_, C, Name) ->
        ok = erlxc_drv:stop(C),
        nothing_left(Config, Name, ok, 200),
        ok
    end).

%% The driver is killed.
driver_killed(Config) ->
    matrix(Config, fun(_, C, _) -> exit(C, kill), ok end).

%% The port gets SIGTERM.
port_sigterm(Config) ->
    matrix(Config, fun(_, _, Name) -> signal(port_pid(Name), "TERM"), ok end).

%% The port gets SIGKILL: its guardian does the work.
port_sigkill(Config) ->
    matrix(Config, fun(_, _, Name) -> signal(port_pid(Name), "KILL"), ok end).

%% The guardian gets SIGKILL: the port does the work, and lives on.
guardian_sigkill(Config) ->
    matrix(Config, fun(_, _, Name) ->
        signal(guardian(port_pid(Name)), "KILL"),
        survives
    end).

%% The Erlang VM gets SIGKILL.
vm_sigkill(Config) ->
    vm_matrix(Config, fun(Vm) -> signal(erlxc_test:vm_pid(Vm), "KILL") end).

%% The Erlang VM halts.
vm_halt(Config) ->
    vm_matrix(Config, fun erlxc_test:vm_halt/1).

%% The same for what ends a whole VM, with a second one.
vm_matrix(Config, End) ->
    State = proplists:get_value(state, Config),
    Names = [{T, prepared(Config, State)} || T <- [transient, temporary]],
    {Reached, Vm} = erlxc_test:vm(?MODULE, vm_reach, [wire(Config), State, Names]),
    ?assertMatch([_, _], Reached),
    End(Vm),
    [nothing_left(Config, N, ok, ?LIMIT) || {_, N} <- Names],
    [begin
        Kept = Type =:= transient andalso State =/= creating,
        ?assertEqual({Type, Kept}, {Type, on_disk(Config, N)}),
        Kept andalso restartable(Config, N)
    end || {Type, N} <- Names].

vm_reach(Config, State, Names) ->
    [reach(Config, State, Type, Name) || {Type, Name} <- Names].

%% What another VM needs of the configuration.
wire(Config) ->
    [T || {K, _} = T <- Config, lists:member(K, [base, lxcpath, token, engine])].

%% --- Containers that are not the port's to stop ---------------------------------------

%% Each way of ending that a container without a guardian must not notice.
endings() ->
    [{owner_exits, fun(Owner, _, _) -> Owner ! exit end},
        {owner_killed, fun(Owner, _, _) -> exit(Owner, kill) end},
        {driver_stopped, fun(_, C, _) ->
            {Ms, ok} = timed(fun() -> erlxc_drv:stop(C) end),
            among(0, 3000, Ms)
        end},
        {port_sigterm, fun(_, _, Name) -> signal(port_pid(Name), "TERM") end},
        {port_sigkill, fun(_, _, Name) -> signal(port_pid(Name), "KILL") end}].

%% Start runs in an owner of its own; after each ending the container is as it was,
%% and the next driver adopts it.
untouched(Config, Start) ->
    [?assertEqual({Ending, ok}, {Ending, await(async(fun() ->
        untouched(Config, Start, End)
    end), 30000)}) || {Ending, End} <- endings()].

untouched(Config, Start, End) ->
    Name = container(Config),
    {Owner, {C, Pid}} = owner(fun() -> Start(Name) end),
    Port = port_pid(Name),
    Monitor = monitor(process, C),
    End(Owner, C, Name),
    receive {'DOWN', Monitor, process, C, _} -> ok after ?LIMIT -> error(driver_alive) end,
    eventually(fun() -> not alive(Port) end, ?LIMIT),
    ?assert(alive(Pid)),
    New = driver(Config, Name),
    ?assertEqual({<<"RUNNING">>, Pid}, {liblxc:state(New), liblxc:init_pid(New)}),
    ?assert(liblxc:freeze(New)),
    ?assert(liblxc:unfreeze(New)),
    ?assert(liblxc:stop(New)),
    ?assertNot(alive(Pid)),
    ok = erlxc_drv:stop(New),
    nothing_left(Config, Name, ok, 2000).

%% A daemonized container outlives its port, however that ends.
daemonized(Config) ->
    untouched(Config, fun(Name) ->
        C = driver(Config, Name, [{shutdown, ?SHUTDOWN}]),
        true = liblxc:daemonize(C, 1),
        {C, start(C)}
    end).

%% So does a permanent one.
permanent(Config) ->
    untouched(Config, fun(Name) ->
        C = driver(Config, Name, [permanent]),
        {C, start(C)}
    end).

%% And one whose driver was told so before the start.
type_changed(Config) ->
    untouched(Config, fun(Name) ->
        C = driver(Config, Name, [transient]),
        true = liblxc:type(C, permanent),
        {C, start(C)}
    end).

%% And one whose driver was told so while it ran.
type_changed_running(Config) ->
    untouched(Config, fun(Name) ->
        C = driver(Config, Name, [transient, {shutdown, ?SHUTDOWN}]),
        Pid = start(C),
        true = liblxc:type(C, permanent),
        {C, Pid}
    end).

%% The same by daemonize.
daemonized_running(Config) ->
    untouched(Config, fun(Name) ->
        C = driver(Config, Name, [transient, {shutdown, ?SHUTDOWN}]),
        Pid = start(C),
        true = liblxc:daemonize(C, 1),
        {C, Pid}
    end).

%% A container that ran when the driver came is not the driver's to stop, whatever
%% the driver's type and whatever it did with it.
found_running(Config) ->
    untouched(Config, fun(Name) ->
        Other = driver(Config, Name),
        true = liblxc:daemonize(Other, 1),
        Pid = start(Other),
        ok = erlxc_drv:stop(Other),
        C = driver(Config, Name, [{type, temporary}, {shutdown, ?SHUTDOWN}]),
        ?assertEqual({error, ebusy}, liblxc:start(C)),
        ?assert(liblxc:freeze(C)),
        ?assert(liblxc:unfreeze(C)),
        {C, Pid}
    end).

%% --- How it ends ------------------------------------------------------------------------

%% The container is asked to shut down before it is killed, and not kept waiting
%% when it has.
clean_shutdown(Config) ->
    [begin
        Name = container(Config),
        {_, C} = owner(fun() ->
            C = driver(Config, Name, [{shutdown, 20000}]),
            start_clean(C, Config, Name),
            C
        end),
        {Ms, _} = timed(fun() -> End(C, Name), nothing_left(Config, Name, ok, 10000) end),
        among(0, 5000, Ms),
        ?assert(filelib:is_regular(filename:join(rootfs(Config, Name), "halted")))
    end || End <- [fun(C, _) -> erlxc_drv:stop(C) end,
        fun(_, N) -> signal(port_pid(N), "KILL") end]].

%% An init that does not shut down has its time, and no more.
shutdown_time_is_kept(Config) ->
    Name = container(Config),
    C = driver(Config, Name, [{shutdown, 1500}]),
    start(C),
    {Ms, ok} = timed(fun() -> erlxc_drv:stop(C) end),
    among(1400, 3500, Ms),
    nothing_left(Config, Name, ok, 200).

%% brutal_kill asks nobody.
brutal_kill(Config) ->
    Name = container(Config),
    C = driver(Config, Name, [{shutdown, brutal_kill}]),
    start_clean(C, Config, Name),
    {Ms, ok} = timed(fun() -> erlxc_drv:stop(C) end),
    among(0, 1500, Ms),
    nothing_left(Config, Name, ok, 200),
    ?assertNot(filelib:is_file(filename:join(rootfs(Config, Name), "halted"))).

%% After a reboot it is the new init that is taken down.
rebooted(Config) ->
    [begin
        Name = container(Config),
        {Owner, {C, Old}} = owner(fun() ->
            C = driver(Config, Name, [{shutdown, ?SHUTDOWN}]),
            {C, start_clean(C, Config, Name)}
        end),
        true = liblxc:reboot(C),
        %% A monitor that reboots may not answer in time.
        Pid = eventually(fun() ->
            try liblxc:init_pid(C) of
                P when P > 1, P =/= Old -> {ok, P};
                P -> P
            catch error:timeout -> timeout
            end
        end, 12000),
        Survives = End(Name),
        nothing_left(Config, Name, Survives, ?LIMIT),
        ?assertNot(alive(Pid)),
        exit(Owner, kill)
    end || End <- [
        fun(N) -> signal(port_pid(N), "KILL"), ok end,
        fun(N) -> signal(guardian(port_pid(N)), "KILL"), survives end
    ]].

%% start_link ends with its owner, for whatever reason that ends, and the owner with
%% it.
linked_owner(Config) ->
    [begin
        Name = container(Config),
        {Owner, _} = owner(fun() ->
            {ok, C} = erlxc_drv:start_link([{name, Name}, {shutdown, 0} | drv_opts(Config)]),
            start(C)
        end),
        End(Owner),
        nothing_left(Config, Name, ok, 2000)
    end || End <- [fun(O) -> O ! exit end, fun(O) -> exit(O, kill) end,
        fun(O) -> exit(O, shutdown) end]],
    Name = name(Config),
    {Owner, C} = owner(fun() ->
        {ok, C} = erlxc_drv:start_link([{name, Name} | drv_opts(Config)]),
        C
    end),
    Ref = monitor(process, Owner),
    exit(C, kill),
    receive {'DOWN', Ref, process, Owner, Reason} -> ?assertEqual(killed, Reason)
    after 2000 -> error(owner_alive)
    end.

%% It is the owner that counts: another caller's end ends nothing.
unlinked_caller(Config) ->
    Name = container(Config),
    C = driver(Config, Name, [{shutdown, 0}]),
    Pid = await(async(fun() -> start(C) end), 10000),
    ?assertEqual(<<"RUNNING">>, liblxc:state(C)),
    {Waiter, Ref} = async(fun() -> liblxc:wait(C, "STOPPED", infinity) end),
    exit(Waiter, kill),
    receive {'DOWN', Ref, process, Waiter, killed} -> ok end,
    ?assertEqual(Pid, liblxc:init_pid(C)),
    ?assert(alive(Pid)),
    ok = erlxc_drv:stop(C),
    nothing_left(Config, Name, ok, 2000).

%% Under a supervisor a killed driver is restarted, and the supervisor's end takes
%% the container with it.
supervised(Config) ->
    Name = container(Config),
    Spec = erlxc_drv:child_spec([{name, Name}, {shutdown, ?SHUTDOWN} | drv_opts(Config)]),
    {Owner, Sup} = owner(fun() ->
        {ok, Sup} = supervisor:start_link(?MODULE, Spec),
        Sup
    end),
    Child = fun() -> [{_, C, worker, _}] = supervisor:which_children(Sup), C end,
    First = Child(),
    Old = start(First),
    exit(First, kill),
    Second = eventually(fun() ->
        case Child() of
            C when is_pid(C), C =/= First -> {ok, C};
            Other -> Other
        end
    end, 10000),
    eventually(fun() -> not alive(Old) end, ?LIMIT),
    eventually(fun() -> is(<<"STOPPED">>, liblxc:state(Second)) end, ?LIMIT),
    New = start(Second),
    ?assert(alive(New)),
    Ref = monitor(process, Sup),
    exit(Owner, shutdown),
    receive {'DOWN', Ref, process, Sup, _} -> ok after 10000 -> error(supervisor) end,
    nothing_left(Config, Name, ok, 500).

init(Spec) ->
    {ok, {#{strategy => one_for_one, intensity => 1, period => 60}, [Spec]}}.

%% A driver that cannot be started is an error in bounded time, and leaves neither
%% a process here nor one there.
start_refused(Config) ->
    Name = name(Config),
    Opts = drv_opts(Config),
    Drivers = length(processes()),
    [?assertEqual({N, {error, badarg}}, {N, erlxc_drv:start([{name, N} | Opts])})
        || N <- [".", "..", "../x", "a/b", "a b", "a\n", <<"a", 0>>, [300], atom, 1,
            lists:duplicate(256, $a)]],
    Start = fun(Extra) -> erlxc_drv:start(Extra ++ [{name, Name} | Opts]) end,
    [?assertMatch({E, {error, _}}, {E, Start(E)}) || E <- [
        [{progname, "/nosuch/erlxc"}], [{progname, "/etc/passwd"}], [{progname, "/bin/true"}],
        [{progname, "/bin/false"}], [{exec, "/bin/false"}], [{exec, "/nosuch/sudo -n"}],
        [{type, eternal}], [eternal], [{engine, docker}], [{nosuch, 1}], [{shutdown, -1}],
        [{shutdown, soon}], [{log, loud}], [{path, atom}], [{path, <<"a", 0>>}]]],
    ?assertMatch({error, _}, erlxc_drv:start(not_a_list)),
    {ok, C} = Start([{exec, "/usr/bin/env"}]),
    ?assertEqual(Name, liblxc:name(C)),
    ok = erlxc_drv:stop(C),
    nothing_left(Config, Name, ok, 2000),
    eventually(fun() -> length(processes()) =< Drivers + 2 end, 2000).

%% When the port dies, all who wait for an answer are told at once, and so are those
%% who ask later.
callers_of_a_dead_port(Config) ->
    Name = container(Config),
    C = driver(Config, Name, [{shutdown, 0}]),
    start(C),
    Ref = monitor(process, C),
    Waits = [async(fun() -> liblxc:wait(C, "STOPPED", infinity) end) || _ <- lists:seq(1, 10)],
    ?assert(liblxc:running(C)),
    signal(port_pid(Name), "KILL"),
    [?assertMatch({raised, exit, _}, await(W, 1000)) || W <- Waits],
    receive {'DOWN', Ref, process, C, Reason} -> ?assertNotEqual(normal, Reason)
    after 1000 -> error(driver_alive)
    end,
    ?assertMatch({raised, exit, _}, await(async(fun() -> liblxc:name(C) end), 1000)),
    nothing_left(Config, Name, ok, 2000).

%% After its guardian was killed a port starts its container again, with a new one.
port_after_guardian(Config) ->
    Name = container(Config),
    C = driver(Config, Name, [{shutdown, ?SHUTDOWN}]),
    start(C),
    Guardian = guardian(port_pid(Name)),
    signal(Guardian, "KILL"),
    nothing_left(Config, Name, survives, ?LIMIT),
    Pid = start(C),
    ?assert(alive(Pid)),
    ?assertNotEqual(Guardian, guardian(port_pid(Name))),
    signal(port_pid(Name), "KILL"),
    nothing_left(Config, Name, ok, ?LIMIT).

%% When a container ends by itself its guardian does, and the port goes on.
guardian_ends_with_container(Config) ->
    Name = container(Config),
    C = driver(Config, Name),
    {ok, _} = liblxc:start(C, 0, [<<"/bin/sh">>, <<"-c">>, <<"sleep 0.2">>]),
    ?assert(liblxc:wait(C, "STOPPED", 5)),
    nothing_left(Config, Name, survives, 2000),
    ?assert(alive(start(C))),
    ok = erlxc_drv:stop(C).

%% The host's end of a veth pair goes with the container, however the port ends.
veth_gone(Config) ->
    [begin
        Veth = lists:concat(["v", os:getpid(), "n", erlang:unique_integer([positive])]),
        Name = container(Config, ["lxc.net.0.type = veth", ["lxc.net.0.veth.pair = ", Veth]]),
        {_, _} = owner(fun() -> start(driver(Config, Name, [{shutdown, ?SHUTDOWN}])) end),
        ?assertMatch([_ | _], leftovers(Veth, Config)),
        End(port_pid(Name)),
        nothing_left(Config, Name, ok, ?LIMIT),
        eventually(fun() -> leftovers(Veth, Config) =:= [] end, 1000)
    end || End <- [fun(P) -> signal(P, "TERM") end, fun(P) -> signal(P, "KILL") end]].

%% A driver that comes while the last one's guardian still cleans up gets a
%% container that is either there or stopped, never half of one.
driver_restarted(Config) ->
    Name = container(Config),
    [begin
        {Owner, _} = owner(fun() -> start(driver(Config, Name, [{shutdown, 200}])) end),
        signal(port_pid(Name), "KILL"),
        exit(Owner, kill),
        C = driver(Config, Name, [{shutdown, 200}]),
        ?assert(liblxc:wait(C, "STOPPED", 5)),
        Pid = eventually(fun() ->
            case liblxc:start(C, 0, erlxc_test:sleeper()) of
                {ok, P} -> {ok, P};
                Error -> Error
            end
        end, 3000),
        ?assert(alive(Pid)),
        ok = erlxc_drv:stop(C)
    end || _ <- lists:seq(1, erlxc_test:soak(3))],
    nothing_left(Config, Name, ok, 2000).

%% --- Whose container it is ----------------------------------------------------------------

%% Ways for the owner to end, of which a temporary container's end is the same.
owner_ends() ->
    [fun(Owner, _) -> exit(Owner, kill) end,
        fun(_, Name) -> signal(port_pid(Name), "TERM") end,
        fun(_, Name) -> signal(port_pid(Name), "KILL") end].

%% A renamed temporary container is destroyed under its new name; what has since been
%% created under the old one is somebody else's.
renamed(Config) ->
    [begin
        Name = container(Config),
        New = name(Config),
        {Owner, C} = owner(fun() ->
            C = driver(Config, Name, [temporary, {shutdown, 0}]),
            true = liblxc:rename(C, New),
            C
        end),
        ?assertEqual(New, liblxc:name(C)),
        stranger(Config, Name),
        End(Owner, Name),
        eventually(fun() -> not on_disk(Config, New) end, ?LIMIT),
        nothing_left(Config, New, ok, ?LIMIT),
        unharmed(Config, Name)
    end || End <- owner_ends()].

%% The same for one that another lxcpath was set for.
moved(Config) ->
    Other = tmp(Config, "moved"),
    ok = file:make_dir(Other),
    [begin
        Name = name(Config),
        {Owner, _} = owner(fun() ->
            C = driver(Config, Name, [temporary, {shutdown, 0}]),
            true = liblxc:set_config_path(C, Other),
            true = liblxc:create(C, <<>>, <<>>, <<>>, 0, []),
            C
        end),
        ?assert(filelib:is_regular(filename:join([Other, Name, "config"]))),
        Port = port_pid(Name),
        stranger(Config, Name),
        End(Owner, Name),
        eventually(fun() -> not filelib:is_file(filename:join(Other, Name)) end, ?LIMIT),
        eventually(fun() -> not alive(Port) end, ?LIMIT),
        unharmed(Config, Name)
    end || End <- owner_ends()].

%% A container by another driver, which is gone.
stranger(Config, Name) ->
    {ok, D} = erlxc_drv:start([{name, Name}, permanent | drv_opts(Config)]),
    true = liblxc:set_config_item(D, "lxc.net.0.type", "empty"),
    true = liblxc:create(D, "busybox", <<>>, <<>>, 0, []),
    ok = erlxc_drv:stop(D).

unharmed(Config, Name) ->
    ?assert(filelib:is_regular(filename:join(rootfs(Config, Name), "bin/busybox"))),
    C = driver(Config, Name, [{shutdown, 0}]),
    ?assert(alive(start(C))),
    ok = erlxc_drv:stop(C).

%% --- Processes killed at odd moments -------------------------------------------------------

%% A temporary container that is stopped stays when its idle guardian is killed, and is
%% destroyed when its owner ends, whether or not the port has seen to another guardian.
idle_guardian_sigkill(Config) ->
    [begin
        Name = container(Config),
        {Owner, C} = owner(fun() -> driver(Config, Name, [temporary]) end),
        Port = port_pid(Name),
        Idle = child(Port, <<"erlxc-guardian">>),
        signal(Idle, "KILL"),
        ?assertEqual(<<"STOPPED">>, liblxc:state(C)),
        Wait andalso eventually(fun() -> child(Port, <<"erlxc-guardian">>) =/= Idle end, ?LIMIT),
        ?assert(on_disk(Config, Name)),
        End(Owner, Name),
        eventually(fun() -> not on_disk(Config, Name) end, ?LIMIT),
        nothing_left(Config, Name, ok, ?LIMIT)
    end || {Wait, End} <- [{false, hd(owner_ends())} | [{true, E} || E <- owner_ends()]]].

%% A start whose watcher is killed fails, leaves nothing and keeps nobody out.
watch_sigkill(Config) ->
    Name = prepared(Config, starting),
    C = driver(Config, Name, [{shutdown, ?SHUTDOWN}]),
    Start = async(fun() -> liblxc:start(C, 0, erlxc_test:sleeper()) end),
    marked(Config, Name),
    signal(child(guardian(port_pid(Name)), <<"erlxc-watch">>), "KILL"),
    failed(await(Start, 5000)),
    nothing_left(Config, Name, survives, ?LIMIT),
    {Ms, false} = timed(fun() -> liblxc:create(C, "busybox", <<>>, <<>>, 0, []) end),
    among(0, 2000, Ms),
    ?assert(liblxc:clear_config_item(C, "lxc.hook.pre-start")),
    ?assert(alive(start(C))),
    ok = erlxc_drv:stop(C),
    nothing_left(Config, Name, ok, ?LIMIT).

failed({error, Reason}) when is_atom(Reason) -> ok;
failed({raised, error, _}) -> ok.

%% Whenever a start's guardian is killed, nothing is left, and the next start works.
start_guardian_sigkill(Config) ->
    killed_starts(Config, fun(Port) -> caught(Port, <<"erlxc-guardian">>) end).

%% The same for the monitor.
start_monitor_sigkill(Config) ->
    killed_starts(Config, fun(Port) ->
        caught(caught(Port, <<"erlxc-guardian">>), <<"erlxc-monitor">>)
    end).

killed_starts(Config, Victim) ->
    Name = container(Config),
    C = driver(Config, Name, [{shutdown, 0}]),
    Port = port_pid(Name),
    [begin
        %% The last start's guardian ends after its container.
        eventually(fun() ->
            [] =:= [P || P <- children(Port), comm(P) =:= <<"erlxc-guardian">>]
        end, ?LIMIT),
        Start = async(fun() -> liblxc:start(C, 0, erlxc_test:sleeper()) end),
        Pid = Victim(Port),
        receive after Ms -> signal(Pid, "KILL") end,
        case await(Start, 5000) of
            {ok, Init} -> eventually(fun() -> not alive(Init) end, ?LIMIT);
            Other -> failed(Other)
        end,
        nothing_left(Config, Name, survives, ?LIMIT),
        ?assertEqual({Ms, true}, {Ms, alive(start(C))}),
        ?assert(liblxc:stop(C)),
        nothing_left(Config, Name, survives, ?LIMIT)
    end || _ <- lists:seq(1, erlxc_test:soak(1)), Ms <- lists:seq(0, 28, 4)],
    ok = erlxc_drv:stop(C).

%% The child of Pid whose name is Comm, as soon as there is one: child/2 without its
%% pauses.
caught(Pid, Comm) ->
    {ok, Text} = file:read_file(lists:concat(["/proc/", Pid, "/task/", Pid, "/children"])),
    case [P || W <- string:lexemes(Text, " "), P <- [binary_to_integer(W)], comm(P) =:= Comm] of
        [P | _] -> P;
        [] -> caught(Pid, Comm)
    end.
