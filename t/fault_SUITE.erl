%% SPDX-License-Identifier: ISC
%% Several at once, and deaths at odd moments: whoever wins, whatever is killed,
%% nobody else's container is harmed and nothing is left behind.
%%
%% What is random here follows from a seed, which is printed and is part of each
%% failure's reason: ERLXC_SEED=N repeats it, as far as time allows.
-module(fault_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlxc_test, [
    name/1, container/1, container/2, rootfs/2, tmp/2, path/1, driver/2, driver/3, start/1,
    stopped/1, script/3, nap/2, eventually/2, timed/1, among/3, async/1, await/2, owner/1, sh/2,
    children/1, comm/1, alive/1, signal/2, leftovers/2, processes/1, state_of/1, stat/1,
    descriptors/1, soak/1, soak/2
]).

suite() ->
    [{timetrap, {seconds, 60 + soak(30)}}].

all() ->
    [{group, lxc}].

groups() ->
    [{lxc, [], cases()}].

cases() ->
    [two_starts, start_and_stop, start_and_destroy, two_creates, two_renames, loser_ends,
        last_hook, turmoil, port_sigkill, crash_table, inline, crashes,
        crashed_guardian].

init_per_suite(Config) ->
    cheap(erlxc_test:setup(Config)).

end_per_suite(Config) ->
    erlxc_test:teardown(Config).

init_per_group(Engine, Config) ->
    erlxc_test:engine(Engine, Config).

end_per_group(_, _) ->
    ok.

%% A template that takes a few milliseconds: the suite's rootfs in hard links.
cheap(Config) ->
    From = filename:join(proplists:get_value(base, Config), "template"),
    Script = script(Config, "cheap", [
        "for a; do case $a in --path=*) p=${a#*=};; --name=*) n=${a#*=};;"
        " --rootfs=*) r=${a#*=};; esac; done",
        ["mkdir -p $r && cp -al ", From, "/rootfs/. $r && sed -e s,", From, ",$p,g"
            " -e 's,\"template\",\"'$n'\",g' -e /lxc.net/d ", From, "/config >>$p/config"]]),
    [{cheap, Script} | Config].

template(Config) ->
    proplists:get_value(cheap, Config).

create(C, Template) ->
    liblxc:create(C, Template, <<>>, <<>>, 0, []).

%% --- Chance ------------------------------------------------------------------------

%% Runs Fun with a seed that is told, so that a failure can be had again.
seeded(Fun) ->
    Seed = list_to_integer(os:getenv("ERLXC_SEED",
        integer_to_list(erlang:system_time(millisecond)))),
    ct:pal("ERLXC_SEED=~b", [Seed]),
    put(seed, Seed),
    _ = rand:seed(exsss, Seed),
    try Fun()
    catch Class:Reason:Stack -> erlang:raise(Class, {{seed, Seed}, Reason}, Stack)
    end.

one_of(List) ->
    lists:nth(rand:uniform(length(List)), List).

%% Lets Us microseconds pass; receive knows no less than a millisecond.
pass(Us) ->
    Until = erlang:monotonic_time(microsecond) + Us,
    receive after Us div 1000 -> spin(Until) end.

spin(Until) ->
    erlang:monotonic_time(microsecond) < Until andalso spin(Until).

%% Runs the functions in processes of their own, at one moment, but for up to
%% 3 ms by which chance delays each; their values, with last_error of the driver
%% that stands beside each.
at_once(Calls) ->
    Runs = [begin
        Us = rand:uniform(3000) - 1,
        async(fun() ->
            receive go -> pass(Us) end,
            {Fun(), liblxc:last_error(C)}
        end)
    end || {C, Fun} <- Calls],
    [Pid ! go || {Pid, _} <- Runs],
    [await(R, 30000) || R <- Runs].

%% --- Two ports, one name -------------------------------------------------------------

%% Nothing of a container but, with its port, what lives as long as that does.
nothing_runs(Config, Name) ->
    eventually(fun() ->
        case [L || L <- leftovers(Name, Config), not idle(L)] of
            [] -> true;
            Left -> Left
        end
    end, 5000).

idle({process, Pid, _}) ->
    lists:member(comm(Pid), [<<"erlxc">>, <<"erlxc-query">>, <<"erlxc-attach">>,
        <<"erlxc-sessions">>]) andalso children_at_work(Pid) =:= [];
idle(_) ->
    false.

children_at_work(Pid) ->
    [P || P <- children(Pid), alive(P), not lists:member(comm(P),
        [<<"erlxc-query">>, <<"erlxc-attach">>, <<"erlxc-sessions">>])].

%% The container of that init is whole, whichever port is asked.
unharmed(Config, Name, Pid, Drivers) ->
    ?assert(alive(Pid)),
    [?assertEqual({<<"RUNNING">>, Pid}, {liblxc:state(C), liblxc:init_pid(C)}) || C <- Drivers],
    [?assertMatch({ok, #{status := {exit_status, 0}, stdout := <<"hi\n">>}},
        erlxc:run(C, ["echo", "hi"])) || C <- [one_of(Drivers)]],
    ?assertEqual([], [L || L <- in_cgroups(Pid), string:find(L, Name) =:= nomatch]),
    ?assertMatch([_ | _], leftovers(["lxc.payload.", Name], Config)).

%% The paths of a process's cgroups, in all hierarchies.
in_cgroups(Pid) ->
    {ok, Text} = file:read_file(lists:concat(["/proc/", Pid, "/cgroup"])),
    [P || L <- binary:split(Text, <<"\n">>, [global, trim]), [_, _, P] <- [binary:split(L,
        <<":">>, [global])]].

%% Of two starts at once one wins, and the other is told that it lost and why; what
%% loses does the winner no harm.
two_starts(Config) ->
    seeded(fun() ->
        Name = container(Config),
        [C, D] = [driver(Config, Name, [{shutdown, 0}]) || _ <- [1, 2]],
        [two_starts(Config, Name, [C, D]) || _ <- lists:seq(1, soak(50, 1000))],
        [ok = erlxc_drv:stop(X) || X <- [C, D]],
        nothing_runs(Config, Name)
    end).

two_starts(Config, Name, [C, D]) ->
    Starts = at_once([{X, fun() -> liblxc:start(X, 0, erlxc_test:sleeper()) end}
        || X <- one_of([[C, D], [C, D], [C, D, C, D, D]])]),
    {Won, Lost} = lists:partition(fun({R, _}) -> element(1, R) =:= ok end, Starts),
    ?assertMatch([{{ok, _}, _}], Won),
    [?assertMatch({{error, ebusy}, <<_, _/binary>>}, L) || L <- Lost],
    [{{ok, Pid}, _}] = Won,
    unharmed(Config, Name, Pid, [C, D]),
    ?assert(liblxc:stop(one_of([C, D]))),
    [stopped(X) || X <- [C, D]].

%% A stop that meets a start comes before or after it: the container runs or not,
%% whole in either case, and can be started and stopped again.
start_and_stop(Config) ->
    seeded(fun() ->
        Name = container(Config),
        Drivers = [C, D] = [driver(Config, Name, [{shutdown, 0}]) || _ <- [1, 2]],
        [begin
            [{Start, _}, {Stop, _}] = at_once([
                {C, fun() -> liblxc:start(C, 0, erlxc_test:sleeper()) end},
                {D, fun() -> pass(1000 * rand:uniform(60)), liblxc:stop(D) end}]),
            ?assert(Stop),
            Start =:= {error, eio} orelse ?assertMatch({ok, _}, Start),
            case liblxc:state(one_of(Drivers)) of
                <<"RUNNING">> -> unharmed(Config, Name, element(2, Start), Drivers);
                _ -> ok
            end,
            ?assert(liblxc:stop(one_of(Drivers))),
            [stopped(X) || X <- Drivers]
        end || _ <- lists:seq(1, soak(12, 300))],
        ?assert(alive(start(C))),
        [ok = erlxc_drv:stop(X) || X <- Drivers],
        nothing_runs(Config, Name)
    end).

%% A start and a destroy: either the container runs, and is all there, or it is
%% gone, with nothing of it left.
start_and_destroy(Config) ->
    seeded(fun() -> [start_and_destroy(Config, N) || N <- lists:seq(1, soak(8, 150))] end).

start_and_destroy(Config, _) ->
    Name = container(Config),
    Drivers = [C, D] = [driver(Config, Name, [{shutdown, 0}]) || _ <- [1, 2]],
    [{Start, Why}, {Destroy, Not}] = at_once([
        {C, fun() -> liblxc:start(C, 0, erlxc_test:sleeper()) end},
        {D, fun() -> liblxc:destroy(D) end}]),
    case Start of
        {ok, Pid} ->
            ?assertMatch({false, <<_, _/binary>>}, {Destroy, Not}),
            unharmed(Config, Name, Pid, Drivers),
            ?assert(filelib:is_regular(filename:join(rootfs(Config, Name), "bin/busybox"))),
            ?assert(liblxc:stop(C)),
            ?assert(liblxc:destroy(D));
        {error, _} ->
            ?assertNotEqual(<<>>, Why),
            ?assertEqual({true, <<>>}, {Destroy, Not})
    end,
    ?assertNot(filelib:is_file(filename:join(path(Config), Name))),
    [ok = erlxc_drv:stop(X) || X <- Drivers],
    nothing_runs(Config, Name).

%% Of two creates one wins, and what it made is what is there.
two_creates(Config) ->
    seeded(fun() -> [two_creates(Config, N) || N <- lists:seq(1, soak(8, 150))] end).

two_creates(Config, _) ->
    Name = name(Config),
    Drivers = [driver(Config, Name, [{shutdown, 0}]) || _ <- [1, 2, 3]],
    [true = liblxc:set_config_item(C, "lxc.net.0.type", "empty") || C <- Drivers],
    Creates = at_once([{C, fun() -> create(C, template(Config)) end} || C <- Drivers]),
    {Won, Lost} = lists:partition(fun({R, _}) -> R end, Creates),
    ?assertMatch([{true, <<>>}], Won),
    [?assertMatch({false, <<_, _/binary>>}, L) || L <- Lost],
    New = driver(Config, Name, [{shutdown, 0}]),
    unharmed(Config, Name, start(New), [New]),
    ?assert(liblxc:stop(New)),
    ?assert(liblxc:destroy(New)),
    [ok = erlxc_drv:stop(C) || C <- [New | Drivers]],
    nothing_runs(Config, Name).

%% Of two renames to one name one wins; the other's container is what it was.
two_renames(Config) ->
    seeded(fun() -> [two_renames(Config, N) || N <- lists:seq(1, soak(3, 50))] end).

two_renames(Config, _) ->
    New = name(Config),
    Both = [{N, driver(Config, N, [{shutdown, 0}])}
        || _ <- [1, 2], N <- [container(Config)]],
    Renames = at_once([{C, fun() -> liblxc:rename(C, New) end} || {_, C} <- Both]),
    ?assertEqual([false, true], lists:sort([R || {R, _} <- Renames])),
    [?assertNotEqual(<<>>, Why) || {false, Why} <- Renames],
    [begin
        Name = case Renamed of true -> New; false -> N end,
        ?assertEqual(Name, liblxc:name(C)),
        unharmed(Config, Name, start(C), [C]),
        ?assert(liblxc:stop(C)),
        ?assert(liblxc:destroy(C)),
        ok = erlxc_drv:stop(C)
    end || {{N, C}, {Renamed, _}} <- lists:zip(Both, Renames)].

%% The owner of a driver ends while that starts a container which another driver
%% has, or starts: the other's runs on.
loser_ends(Config) ->
    seeded(fun() ->
        Name = container(Config),
        C = driver(Config, Name, [{shutdown, 0}]),
        [loser_ends(Config, Name, C, N) || N <- lists:seq(1, soak(8, 150))],
        ok = erlxc_drv:stop(C),
        nothing_runs(Config, Name)
    end).

loser_ends(Config, Name, C, N) ->
    {Owner, D} = owner(fun() -> driver(Config, Name, [{shutdown, 100 * (N rem 2)}]) end),
    #{os_pid := Port} = erlxc_drv:info(D),
    End = one_of([fun() -> exit(Owner, kill) end, fun() -> signal(Port, "KILL") end,
        fun() -> erlxc_drv:stop(D) end]),
    Us = 1000 * rand:uniform(60),
    Others = [async(fun() -> liblxc:start(D, 0, erlxc_test:sleeper()) end),
        async(fun() -> pass(Us), End() end)],
    {ok, Pid} = started(C),
    [await(A, 30000) || A <- Others],
    eventually(fun() -> not alive(Port) end, 5000),
    unharmed(Config, Name, Pid, [C]),
    exit(Owner, kill),
    ?assert(liblxc:stop(C)),
    stopped(C).

%% Starts the container as soon as nobody else does.
started(C) ->
    eventually(fun() ->
        case liblxc:start(C, 0, erlxc_test:sleeper()) of
            {ok, Pid} -> {ok, {ok, Pid}};
            Error -> Error
        end
    end, 10000).

%% While a container that has stopped runs its last hook, another driver starts it
%% again; what then ends the first one's hook does not end the other's container.
last_hook(Config) ->
    Fifo = tmp(Config, "last"),
    "" = sh("mkfifo ~s", [Fifo]),
    [begin
        Hook = script(Config, "last.hook", [": > $0.at", "read x < " ++ Fifo]),
        _ = file:delete(<<Hook/binary, ".at">>),
        Name = container(Config, [["lxc.hook.post-stop = ", Hook]]),
        {Owner, {C, Old}} = owner(fun() ->
            C = driver(Config, Name, [{shutdown, Grace}]),
            {C, start(C)}
        end),
        #{os_pid := Port} = erlxc_drv:info(C),
        signal(Old, "KILL"),
        eventually(fun() -> filelib:is_file(<<Hook/binary, ".at">>) end, 5000),
        D = driver(Config, Name, [{shutdown, 0}]),
        {ok, Pid} = started(D),
        End(Owner, Port),
        eventually(fun() -> not alive(Port) andalso guardians(Name) =:= [Pid] end, 10000),
        unharmed(Config, Name, Pid, [D]),
        ok = erlxc_drv:stop(D),
        nothing_runs(Config, Name)
    end || {Grace, End} <- [{0, fun(O, _) -> exit(O, kill) end},
        {100, fun(_, P) -> signal(P, "KILL") end}]].

%% The inits of a container's guardians that have one.
guardians(Name) ->
    [I || {process, P, _} <- processes(Name), comm(P) =:= <<"erlxc-monitor">>,
        I <- children(P), alive(I)].

%% --- All at once ----------------------------------------------------------------------

%% Ten processes do what they like with a hundred containers; when they are done and
%% the containers are destroyed nothing is left: of the containers, in the ports, in
%% this VM.
turmoil(Config) ->
    seeded(fun() -> turmoil(Config, soak(12, 100), soak(12, 300)) end).

turmoil(Config, N, Seconds) ->
    Fds = descriptors(os:getpid()),
    Cs = [turmoil_driver(Config, K) || K <- lists:seq(1, N)],
    Ports = [{P, descriptors(P)} || {C, _, _} <- Cs, #{os_pid := P} <- [erlxc_drv:info(C)]],
    End = erlang:monotonic_time(second) + Seconds,
    Runs = [begin
        Seed = get(seed) + K,
        async(fun() -> _ = rand:seed(exsss, Seed), act(Cs, End, #{}) end)
    end || K <- lists:seq(1, 10)],
    Counts = [await(R, (Seconds + 90) * 1000) || R <- Runs],
    ?assertEqual([], [Raised || Raised <- Counts, not is_map(Raised)]),
    ct:pal("~p", [lists:foldl(fun(M, Sum) ->
        maps:merge_with(fun(_, A, B) -> A + B end, M, Sum)
    end, #{}, Counts)]),
    [begin
        ?assert(liblxc:stop(C)),
        eventually(fun() -> not liblxc:defined(C) orelse liblxc:destroy(C) end, 5000)
    end || {C, _, _} <- Cs],
    [eventually(fun() -> idle_port(P) andalso (descriptors(P) =< Before + 20
        orelse {descriptors, Before, descriptors(P)}) end, 10000) || {P, Before} <- Ports],
    Names = [binary_to_list(liblxc:name(C)) || {C, _, _} <- Cs],
    [ok = erlxc_drv:stop(C) || {C, _, _} <- Cs],
    eventually(fun() -> none(leftovers(proplists:get_value(token, Config), Config)) end, 5000),
    {ok, Files} = file:list_dir(path(Config)),
    ?assertEqual([], [F || F <- Files, lists:member(F, Names)]),
    ?assertEqual([], zombies(list_to_integer(os:getpid()))),
    eventually(fun() -> descriptors(os:getpid()) =< Fds end, 5000).

none([]) -> true;
none(L) -> L.

%% Every fourth container has a veth pair, every eighth is made by busybox's template.
turmoil_driver(Config, K) ->
    C = driver(Config, name(Config), [{shutdown, 0}]),
    Veth = [proplists:get_value(token, Config), "v", integer_to_list(K)],
    Net = case K rem 4 of
        0 -> [{"lxc.net.0.type", "veth"}, {"lxc.net.0.veth.pair", Veth}];
        _ -> [{"lxc.net.0.type", "empty"}]
    end,
    Template = case K rem 8 of
        1 -> "busybox";
        _ -> template(Config)
    end,
    {C, [{"lxc.net", <<>>}, {"lxc.pty.max", "64"} | Net], Template}.

act(Cs, End, Counts) ->
    case erlang:monotonic_time(second) < End of
        true ->
            {C, _, _} = Spec = one_of(Cs),
            {Name, Do, Good} = one_of(actions(Spec)),
            Result = try Do() catch Class:Reason:Stack ->
                erlang:raise(Class, {Name, liblxc:name(C), Reason}, Stack)
            end,
            Good(Result) orelse error({Name, Result, liblxc:last_error(C)}),
            Key = {Name, kind(Result)},
            act(Cs, End, maps:update_with(Key, fun(X) -> X + 1 end, 1, Counts));
        false ->
            Counts
    end.

kind({error, Reason}) when not is_atom(Reason) -> error;
kind({ok, _}) -> ok;
kind(Result) -> Result.

%% What a process may do with a container, and whether the outcome is one of those
%% that the container's state, whatever it was, allows.
actions({C, Items, Template}) ->
    Bool = fun is_boolean/1,
    Tuple = fun({ok, _}) -> true; ({error, _}) -> true; (_) -> false end,
    Start = {start, fun() -> liblxc:start(C, 0, erlxc_test:sleeper()) end, Tuple},
    Run = {run, fun() -> erlxc:run(C, ["/bin/true"], [{timeout, 10000}]) end, Tuple},
    [{create, fun() -> configured(C, Items), create(C, Template) end, Bool},
        Start, Start, Run, Run, Run,
        {spawn, fun() -> spawned(C, Items, Template) end, Tuple},
        {state, fun() -> liblxc:state(C) end, fun is_binary/1},
        {stop, fun() -> liblxc:stop(C) end, fun(R) -> R end},
        {destroy, fun() -> liblxc:destroy(C) end, Bool}].

%% A handle that is opened anew, as after a destroy, has the host's defaults.
configured(C, Items) ->
    [liblxc:set_config_item(C, Key, Value) || {Key, Value} <- Items].

%% A command that is cut off, by its owner's wish or its driver's, the container brought
%% up for it from whatever state.
spawned(C, Items, Template) ->
    case erlxc:spawn(C, [{exec, ["/bin/sleep", "1000"]}, {pty, one_of([true, false])},
        {config, Items}, {create, [{template, Template}]}, {timeout, 20000}]) of
        {ok, P} ->
            Cut = one_of([fun erlxc:stop/1, fun(X) -> exit(X, kill) end]),
            {ok, Cut(P)};
        Error ->
            Error
    end.

idle_port(Pid) ->
    case {children_at_work(Pid), zombies(Pid)} of
        {[], []} -> true;
        Other -> [{P, comm(P), state_of(P)} || P <- lists:append(tuple_to_list(Other))]
    end.

zombies(Pid) ->
    [P || P <- children(Pid), state_of(P) =:= "Z"].

%% --- The port's death -------------------------------------------------------------------

%% What the port is killed in, a line each: what must be there before, what of it stays
%% as it is (under the one name or the other), and the call.
calls() ->
    [{create, none, "", fun(C, Config, _) -> create(C, template(Config)) end},
        {start, container, "config", fun(C, _, _) -> liblxc:start(C, 0, erlxc_test:sleeper()) end},
        {stop, running, "config", fun(C, _, _) -> liblxc:stop(C) end},
        {rename, container, "rootfs", fun(C, _, New) -> liblxc:rename(C, New) end},
        {clone, container, "config rootfs", fun(C, _, New) ->
            liblxc:clone(C, New, <<>>, 0, <<>>)
        end},
        {snapshot, container, "config rootfs", fun(C, _, _) -> liblxc:snapshot(C, <<>>) end}].

%% The port is killed at any moment of a call: two seconds later no process of the
%% container is left, the next driver opens it, and destroy removes all that there is.
%% What copies comes to its end first, and has the time for that.
port_sigkill(Config) ->
    seeded(fun() ->
        Times = [{Call, how_long(Config, Call)} || Call <- calls()],
        ct:pal("~p", [[{element(1, Call), Us} || {Call, Us} <- Times]]),
        [begin
            {Call, Us} = lists:nth(1 + N rem length(Times), Times),
            port_sigkill(Config, Call, rand:uniform(Us + Us div 5))
        end || N <- lists:seq(1, soak(25, 500))]
    end).

%% In microseconds, undisturbed.
how_long(Config, Call) ->
    {Names, C, Do} = prepare(Config, Call),
    {Us, _} = timer:tc(Do),
    _ = liblxc:stop(C),
    ok = erlxc_drv:stop(C),
    [removable(Config, N) || N <- Names],
    Us.

prepare(Config, {_, Before, _, Do}) ->
    Name = case Before of none -> name(Config); _ -> container(Config) end,
    New = name(Config),
    C = driver(Config, Name, [{shutdown, 0}]),
    Before =:= none andalso (true = liblxc:set_config_item(C, "lxc.net.0.type", "empty")),
    Before =:= running andalso start(C),
    {[New, Name], C, fun() -> Do(C, Config, New) end}.

port_sigkill(Config, {Kind, _, Stays, _} = Call, Us) ->
    {[_, Name] = Names, C, Do} = prepare(Config, Call),
    #{os_pid := Port} = erlxc_drv:info(C),
    Digest = digest(Config, Name, Stays),
    Run = async(Do),
    pass(Us),
    %% kill(1) of a shell that is there already costs no time.
    signal(Port, "KILL"),
    _ = await(Run, 5000),
    {Ms, _} = timed(fun() ->
        try eventually(fun() -> none(lists:append([processes(N) || N <- Names])) end, 10000)
        catch error:Left -> error({Kind, Us, Left})
        end
    end),
    Limit = case lists:member(Kind, [rename, clone, snapshot]) of
        true -> 10000;
        false -> 2000
    end,
    {Kind, Us, Ms, true} = {Kind, Us, Ms, Ms =< Limit},
    ?assert(lists:member(Digest, [digest(Config, N, Stays) || N <- Names])),
    [try removable(Config, N) catch E:R:S -> erlang:raise(E, {Kind, Us, R}, S) end
        || N <- Names],
    Left = [F || N <- Names, F <- [filename:join(path(Config), N)], filelib:is_file(F)],
    ?assertEqual({Kind, Us, []}, {Kind, Us, Left}),
    [eventually(fun() -> none(leftovers(N, Config)) end, 2000) || N <- Names].

%% The next driver opens the container, however it was left, and destroys it.
removable(Config, Name) ->
    There = filelib:is_file(filename:join(path(Config), Name)),
    C = driver(Config, Name, [{shutdown, 0}]),
    ?assertEqual(<<"STOPPED">>, liblxc:state(C)),
    There =:= liblxc:destroy_with_snapshots(C) orelse error({Name, There, liblxc:last_error(C)}),
    ok = erlxc_drv:stop(C).

%% Files of a container, with all that there is to know of them.
digest(Config, Name, Files) ->
    sh("cd ~s/~s 2>/dev/null && tar -c --sort=name --numeric-owner --mtime=@0 ~s | sha256sum",
        [path(Config), Name, Files]).

%% --- Workers that crash -----------------------------------------------------------------

%% How each command is caught at work, a line a command:
%%   inline   it is not: it runs in the port
%%   stuck    its worker asks a monitor that was stopped
%%   locked   it waits for another process's lock
%%   hook     it waits for a hook, or for a template
%%   found    it is tried until its worker was quicker found than done
ways(Config) ->
    Hook = proplists:get_value(hook, Config),
    Many = proplists:get_value(many, Config),
    Sleep = ["/bin/sleep", "1000"],
    [{{add_device_node, 2}, stuck, ["/dev/null", "/dev/x"]},
        {{attach, 2}, stuck, [["true"], #{}]}, {{attach_interface, 2}, stuck, ["nosuch", <<>>]},
        {{checkpoint, 3}, locked, ["/nosuch", false, false]},
        {{chroot_copy, 3}, locked, ["/etc/hosts", "/a", 0]},
        {{chroot_dir, 2}, locked, ["/b", 8#755]},
        {{chroot_file, 3}, locked, ["/c", <<"x">>, 8#644]},
        {{clear_config, 0}, inline, []}, {{clear_config_item, 1}, inline, ["lxc.uts.name"]},
        {{clone, 7}, {hook, "clone"}, [name(Config), <<>>, 0, <<>>, <<>>, 0, []]},
        {{commands, 0}, inline, []}, {{config_file_name, 0}, inline, []},
        {{config_item_is_supported, 1}, inline, ["lxc.uts.name"]}, {{console, 0}, stuck, []},
        {{console, 1}, stuck, [0]}, {{console_log, 1}, stuck, [#{}]},
        {{create, 5}, {hook, none}, [Hook, <<>>, <<>>, 0, []]}, {{daemonize, 1}, inline, [0]},
        {{defined, 0}, inline, []}, {{destroy, 0}, {hook, "destroy"}, []},
        {{destroy_with_snapshots, 0}, {hook, "destroy"}, []},
        {{detach_interface, 2}, stuck, ["nosuch", <<>>]}, {{freeze, 0}, stuck, []},
        {{get_cgroup_item, 1}, stuck, ["pids.current"]},
        {{get_config_item, 1}, inline, ["lxc.uts.name"]}, {{get_config_path, 0}, inline, []},
        {{get_global_config_item, 1}, inline, ["lxc.lxcpath"]}, {{get_interfaces, 0}, stuck, []},
        {{get_ips, 3}, stuck, [<<>>, <<>>, 0]}, {{get_keys, 1}, inline, [<<>>]},
        {{get_running_config_item, 1}, stuck, ["lxc.uts.name"]},
        {{get_wait_states, 0}, inline, []}, {{has_api_extension, 1}, inline, ["pidfd"]},
        {{init_pid, 0}, stuck, []}, {{list_active_containers, 1}, found, [Many]},
        {{list_all_containers, 1}, found, [Many]}, {{list_defined_containers, 1}, found, [Many]},
        {{load_config, 1}, inline, [<<>>]}, {{may_control, 0}, stuck, []},
        {{migrate, 2}, locked, [dump, #{directory => "/nosuch"}]},
        {{mount, 5}, stuck, ["/tmp", "/mnt", <<>>, 0, <<>>]}, {{name, 0}, inline, []},
        {{reboot, 0}, stuck, []}, {{reboot2, 1}, stuck, [0]},
        {{remove_device_node, 2}, stuck, ["/dev/null", "/dev/x"]},
        {{rename, 1}, {hook, "clone"}, [name(Config)]}, {{restore, 2}, locked, ["/nosuch", false]},
        {{running, 0}, found, []}, {{save_config, 1}, locked, [<<>>]},
        {{seccomp_listen, 0}, stuck, []}, {{seccomp_listen, 1}, stuck, [1000]},
        {{seccomp_respond, 2}, found, [1, continue]},
        {{set_cgroup_item, 2}, stuck, ["pids.max", "max"]},
        {{set_config_item, 2}, inline, ["lxc.uts.name", "x"]},
        {{set_config_path, 1}, inline, [path(Config)]}, {{set_timeout, 1}, inline, [1]},
        {{shutdown, 1}, stuck, [0]}, {{snapshot, 1}, {hook, "clone"}, [<<>>]},
        {{snapshot_destroy, 1}, locked, ["snap9"]}, {{snapshot_destroy_all, 0}, locked, []},
        {{snapshot_list, 0}, found, []}, {{snapshot_restore, 2}, locked, ["snap9", <<>>]},
        {{start, 2}, {hook, "pre-start"}, [0, Sleep]},
        {{start, 3}, {hook, "pre-start"}, [0, Sleep, #{}]}, {{state, 0}, found, []},
        {{stats, 0}, found, []}, {{stop, 0}, stuck, []}, {{survey, 1}, found, [Many]},
        {{type, 0}, inline, []}, {{type, 1}, inline, [transient]},
        {{umount, 2}, stuck, ["/mnt", 0]}, {{unfreeze, 0}, stuck, []},
        {{version, 0}, inline, []}, {{wait, 2}, stuck, ["STOPPED|RUNNING", 20]},
        {{want_close_all_fds, 1}, inline, [0]}].

%% The table of ways has a line for every command of the port, and no other.
crash_table(Config) ->
    C = driver(Config, name(Config)),
    ?assertEqual(lists:sort(liblxc:commands(C)), lists:sort([R || {R, _, _} <- ways(Config)])),
    ok = erlxc_drv:stop(C).

%% What the table calls inline needs no process but the port.
inline(Config) ->
    C = driver(Config, container(Config)),
    #{os_pid := Port} = erlxc_drv:info(C),
    Before = {children(Port), forked(Port)},
    [begin
        try {_, _} = erlxc_drv:call(C, Command, Args) catch error:notsup -> ok end,
        ?assertEqual({Command, Before}, {Command, {children(Port), forked(Port)}})
    end || {{Command, _}, inline, Args} <- ways(Config)],
    ok = erlxc_drv:stop(C).

%% Page faults of the children that were waited for: none goes without.
forked(Pid) ->
    lists:nth(9, stat(Pid)).

%% Whatever the call, when its worker crashes it raises that, the port lives on and
%% serves the same call, and nothing is left of what the worker had begun.
crashes(Given) ->
    Config = crash_config(Given),
    Rows = ways(Config),
    [begin
        Name = container(Config),
        C = driver(Config, Name, [{shutdown, 0}]),
        [crash(Config, Name, C, Row) || {_, W, _} = Row <- Rows, W =:= Way],
        ok = erlxc_drv:stop(C),
        nothing_runs(Config, Name)
    end || Way <- [stuck, locked, found]],
    [begin
        Name = hooked(Config, Which),
        C = driver(Config, Name, [{shutdown, 0}]),
        crash(Config, Name, C, Row),
        ?assert(liblxc:stop(C)),
        _ = liblxc:destroy_with_snapshots(C),
        ok = erlxc_drv:stop(C),
        nothing_runs(Config, Name)
    end || {_, {hook, Which}, _} = Row <- Rows].

%% A hook that does not end as long as its mark is there, and an lxcpath that takes long
%% to be listed.
crash_config(Config) ->
    Hook = script(Config, "hook", [["[ -e $0.mark ] && exec ", nap(Config, "hook"), " 30"],
        "true"]),
    Many = tmp(Config, "many"),
    "" = sh("mkdir -p ~s && cd ~s && seq -f 'c%g' 2000 | xargs mkdir -p && "
        "for d in *; do : > $d/config; done", [Many, Many]),
    [{hook, Hook}, {many, Many} | Config].

crash(Config, Name, C, {{Command, _} = Row, Way, Args}) ->
    try
        #{os_pid := Port} = erlxc_drv:info(C),
        Call = fun() -> element(1, erlxc_drv:call(C, Command, Args)) end,
        Release = caught(Config, Name, C, Way),
        Result = crash(Way, C, Port, Call, 2000),
        Release(),
        ?assertEqual({raised, error, {crashed, 11}}, Result),
        ?assert(alive(Port)),
        eventually(fun() -> none(processes("hook.nap")) end, 2000),
        [removable(Config, N) || N <- copies(Command, Args)],
        served(Command, Call())
    catch Class:Reason:Stack ->
        erlang:raise(Class, {Row, Reason}, Stack)
    end.

%% What is hunted may be done before it is hit.
crash(found, C, Port, Call, Tries) ->
    case await(async(Call), 8000) of
        {raised, _, _} = Crashed -> Crashed;
        _ when Tries > 1 -> crash(found, C, Port, Call, Tries - 1)
    end;
crash(Way, C, Port, Call, _) ->
    Run = async(Call),
    sent(C, Run),
    killed(Way, Port, Run).

%% A worker that is about to be replaced may be killed in place of its successor.
killed(Way, Port, Run) ->
    [signal(P, "SEGV") || P <- at_work(Way, Port)],
    try await(Run, 1000)
    catch error:{await, timeout} -> killed(Way, Port, Run)
    end.

%% The containers that a call half makes, beside its own; they are for somebody to destroy.
copies(rename, [New]) -> [New];
copies(clone, [New | _]) -> [New];
copies(_, _) -> [].

%% The next call does what it is to do; some of them have nothing to do it with.
served(Command, Result) when Command =:= start; Command =:= snapshot ->
    ?assertEqual(ok, element(1, Result));
served(Command, Result) when Command =:= create; Command =:= rename; Command =:= clone;
    Command =:= destroy; Command =:= save_config; Command =:= stop; Command =:= wait ->
    ?assert(Result);
served(console, _) ->
    ok; % the first one's client may still be there
served(_, Result) ->
    ?assertNotMatch({error, ebusy}, Result).

%% A container with that hook, or none for a create.
hooked(Config, none) ->
    name(Config);
hooked(Config, Which) ->
    container(Config, [["lxc.hook.", Which, " = ", proplists:get_value(hook, Config)]]).

%% Lets the next call wait; gives what lets go of it.
caught(_, _, C, stuck) ->
    Init = case liblxc:state(C) of
        <<"STOPPED">> -> start(C);
        <<"FROZEN">> -> true = liblxc:unfreeze(C), liblxc:init_pid(C);
        <<"RUNNING">> -> liblxc:init_pid(C)
    end,
    Monitor = erlxc_test:ppid(Init),
    signal(Monitor, "STOP"),
    fun() -> signal(Monitor, "CONT") end;
caught(Config, Name, _, locked) ->
    Lock = iolist_to_binary(["/run/lxc/lock", path(Config), "/.", Name]),
    Holder = open_port({spawn_executable, os:find_executable("flock")},
        [{args, [Lock, "/bin/sh", "-c", "echo; read x"]}, {line, 80}, exit_status]),
    receive {Holder, {data, _}} -> ok after 5000 -> error(flock) end,
    fun() ->
        port_command(Holder, "\n"),
        receive {Holder, {exit_status, _}} -> ok after 5000 -> error(flock) end
    end;
caught(Config, _, _, {hook, _}) ->
    Hook = proplists:get_value(hook, Config),
    ok = file:write_file(<<Hook/binary, ".mark">>, ""),
    fun() -> file:delete(<<Hook/binary, ".mark">>) end;
%% A shell that kills what the port forks, as soon as that is there; it ends with the
%% port, whose number may be another process's then.
caught(_, _, C, found) ->
    #{os_pid := Port} = erlxc_drv:info(C),
    Loop = io_lib:format("while read c </proc/~b/task/~b/children || [ -d /proc/~b ]; do"
        " [ -z \"$c\" ] || kill -SEGV $c; done 2>/dev/null", [Port, Port, Port]),
    Hunter = open_port({spawn_executable, "/bin/sh"}, [{args, ["-c", lists:flatten(Loop)]}]),
    {os_pid, Pid} = erlang:port_info(Hunter, os_pid),
    fun() -> signal(Pid, "KILL") end.

%% Returns when the port has begun with the call: it takes requests in their order.
sent(C, {Pid, _}) ->
    eventually(fun() ->
        process_info(Pid, current_function) =:= {current_function, {gen, do_call, 4}}
    end, 2000),
    _ = liblxc:name(C).

%% The workers that are to be killed, when the call is at work in one of them.
at_work({hook, _}, Port) ->
    eventually(fun() ->
        case [P || {process, P, _} <- processes("hook.nap")] of
            [P] -> {ok, [worker_above(P, Port)]};
            Other -> Other
        end
    end, 5000);
at_work(Way, Port) ->
    Waits = case Way of locked -> <<"lock">>; stuck -> <<>> end,
    eventually(fun() ->
        Workers = [P || P <- children(Port), not lists:member(comm(P),
            [<<"erlxc-guardian">>, <<"erlxc-sessions">>])],
        case [P || P <- Workers, comm(P) =:= <<"erlxc">> orelse not waits(P, Waits)] of
            [] when Workers =/= [] -> {ok, Workers};
            Others -> Others
        end
    end, 4000).

waits(Pid, What) ->
    {ok, Channel} = file:read_file(lists:concat(["/proc/", Pid, "/wchan"])),
    state_of(Pid) =:= "S" andalso string:find(Channel, What) =/= nomatch.

%% The ancestor of Pid that runs the call: a child of the port, or of its guardian.
worker_above(Pid, Port) ->
    Above = erlxc_test:ppid(Pid),
    case Above =:= Port orelse comm(Above) =:= <<"erlxc-guardian">> of
        true -> Pid;
        false when Above > 1 -> worker_above(Above, Port)
    end.

%% When a guardian crashes the port does what is left of its work, and the call that it
%% was at raises that.
crashed_guardian(Given) ->
    Config = crash_config(Given),
    Name = hooked(Config, "pre-start"),
    C = driver(Config, Name, [{shutdown, 0}]),
    Release = caught(Config, Name, C, {hook, none}),
    #{os_pid := Port} = erlxc_drv:info(C),
    Run = async(fun() -> liblxc:start(C, 0, erlxc_test:sleeper()) end),
    [Monitor] = at_work({hook, none}, Port),
    signal(erlxc_test:ppid(Monitor), "SEGV"),
    ?assertEqual({raised, error, {crashed, 11}}, await(Run, 8000)),
    Release(),
    ?assertNot(alive(Monitor)),
    eventually(fun() -> none([P || {process, P, _} <- processes("hook.nap")]) end, 2000),
    ?assert(alive(start(C))),
    ok = erlxc_drv:stop(C),
    nothing_runs(Config, Name).
