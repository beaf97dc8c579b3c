%% SPDX-License-Identifier: ISC
%% Long work that tells of itself, calls that are given up, and containers whose
%% monitor does not answer.
-module(deadline_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlxc_test, [
    name/1, container/1, container/2, rootfs/2, tmp/2, path/1, driver/2, driver/3, start/1,
    script/3, nap/2, eventually/2, timed/1, among/3, async/1, await/2, owner/1, sh/2,
    port_pid/1, children/1, comm/1, ppid/1, alive/1, signal/2, leftovers/2, processes/1, soak/1
]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, lxc}].

groups() ->
    [{lxc, [parallel], progress() ++ deadlines() ++ stuck()}].

progress() ->
    [progress_while_it_runs, progress_bytes, progress_to_nobody, progress_of_a_failure]
        ++ [progress_of_debian || soak(1) > 1].

deadlines() ->
    [same_results, bad_options, call_timeouts, late_answers, job_killed, create_killed,
        kept_is_reported, kept_is_reported_when_killed].

stuck() ->
    [queries_time_out, disk_times_out, stop_stuck, stop_stuck_frozen, stop_stuck_daemonized,
        stop_of_others, stop_one_of_two, squatted, squatted_silently, stop_ignored,
        stop_with_hook, listen_stuck, owner_of_stuck_dies].

init_per_suite(Config) ->
    erlxc_test:setup(Config).

end_per_suite(Config) ->
    erlxc_test:teardown(Config).

init_per_group(Engine, Config) ->
    erlxc_test:engine(Engine, Config).

end_per_group(_, _) ->
    ok.

%% --- Helpers ---------------------------------------------------------------------------

defined(Config) ->
    defined(Config, []).

defined(Config, Lines) ->
    Name = container(Config, Lines),
    {driver(Config, Name), Name}.

%% What a call raises, and after how many milliseconds.
raised(Fun) ->
    timed(fun() -> try {returned, Fun()} catch error:Class -> Class end end).

%% A template that has Lines in it and makes an empty rootfs.
template(Config, Name, Lines) ->
    script(Config, [Name, ".template"], Lines ++ ["for a in \"$@\"; do case $a in",
        "--rootfs=*) mkdir -p \"${a#--rootfs=}/sbin\";; esac; done"]).

create(C, Template, Options) ->
    liblxc:create(C, Template, <<>>, <<>>, 0, [], Options).

fifo(Config, Name) ->
    File = tmp(Config, [Name, ".fifo"]),
    "" = sh("mkfifo ~s", [File]),
    File.

next(C) ->
    receive {erlxc, C, {progress, Line}} -> Line after 10000 -> error(no_progress) end.

%% All lines that are there.
lines(C) ->
    receive {erlxc, C, {progress, Line}} -> [Line | lines(C)] after 0 -> [] end.

event(C) ->
    receive {erlxc, C, Event} -> Event after 20000 -> error(no_event) end.

mailbox() ->
    element(2, process_info(self(), messages)).

%% A container's driver and name, its init, and its monitor, which is stopped.
stuck(Config) ->
    stuck(Config, []).

stuck(Config, Lines) ->
    {C, Name} = defined(Config, Lines),
    Init = start(C),
    signal(ppid(Init), "STOP"),
    {C, Name, Init, ppid(Init)}.

%% Everything that a container had is gone, its driver's port apart, and it can be
%% started again.
gone(Config, C, Name) ->
    Port = port_pid(Name),
    eventually(fun() ->
        is([], [L || L <- leftovers(Name, Config), not of_port(L, Port)])
    end, 3000),
    ?assertEqual(<<"STOPPED">>, liblxc:state(C)),
    Init = start(C),
    ?assertEqual(<<"RUNNING">>, liblxc:state(C)),
    ?assert(liblxc:stop(C)),
    ?assertNot(alive(Init)).

of_port({process, Pid, _}, Port) -> Pid =:= Port orelse ppid(Pid) =:= Port;
of_port(_, _) -> false.

workers(Name) ->
    lists:sort([comm(P) || P <- children(port_pid(Name)), alive(P)]).

%% --- Progress --------------------------------------------------------------------------

%% A template's line arrives while the template waits for us to have read it.
progress_while_it_runs(Config) ->
    Name = name(Config),
    C = driver(Config, Name),
    Steps = [{N, fifo(Config, [Name, N])} || N <- ["1", "2", "3"]],
    Template = template(Config, Name,
        [["echo step ", N, "; read x <", Fifo] || {N, Fifo} <- Steps] ++ ["echo done >&2"]),
    Self = self(),
    Create = async(fun() -> create(C, Template, [{progress, Self}]) end),
    [begin
        ?assertEqual(iolist_to_binary(["step ", N]), next(C)),
        ?assertEqual([], lines(C)),
        sh("echo >~s", [Fifo])
    end || {N, Fifo} <- Steps],
    ?assertEqual(true, await(Create, 10000)),
    ?assertEqual([<<"done">>], lines(C)),
    ?assert(liblxc:destroy(C)).

%% Lines come as they are, whole up to 4 KiB, all before the call returns, and only
%% of the call that asked for them.
progress_bytes(Config) ->
    Name = name(Config),
    C = driver(Config, Name),
    Template = template(Config, Name, ["printf 'a\\001\\033[1m\\377\\t\\r\\n\\n'",
        "head -c 9000 /dev/zero | tr '\\0' x; echo; printf last"]),
    ?assert(create(C, Template, [{progress, self()}])),
    X = fun(N) -> binary:copy(<<"x">>, N) end,
    ?assertEqual([<<"a", 1, 27, "[1m", 255, "\t\r">>, <<>>, X(4096), X(4096), X(808), <<"last">>],
        lines(C)),
    ?assert(liblxc:destroy(C)),
    ?assert(liblxc:create(C, Template, <<>>, <<>>, 0, [])),
    ?assertEqual([], lines(C)),
    ?assert(liblxc:destroy(C)).

%% A receiver that is dead or does not look holds up nothing.
progress_to_nobody(Config) ->
    Name = name(Config),
    C = driver(Config, Name),
    Template = template(Config, Name, ["seq 20000"]),
    {Dead, Ref} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Ref, _, _, _} -> ok end,
    Deaf = spawn_link(fun() -> receive stop -> ok end end),
    [begin
        ?assert(create(C, Template, [{progress, Pid}])),
        ?assert(liblxc:destroy(C))
    end || Pid <- [Dead, Deaf]],
    ?assertEqual({message_queue_len, 20000}, process_info(Deaf, message_queue_len)),
    unlink(Deaf),
    exit(Deaf, kill).

%% What a template says before it fails is progress, and still the reason.
progress_of_a_failure(Config) ->
    Name = name(Config),
    C = driver(Config, Name),
    Template = template(Config, Name, ["echo no such mirror >&2; exit 3"]),
    ?assertNot(create(C, Template, [{progress, self()}])),
    ?assertEqual(<<"no such mirror">>, hd(lines(C))),
    ?assertNotEqual(nomatch, binary:match(liblxc:last_error(C), <<"no such mirror">>)).

%% The debian template, which takes a minute: it talks from its first second on.
progress_of_debian(Config) ->
    ct:timetrap({minutes, 10}),
    Name = name(Config),
    C = driver(Config, Name),
    Template = script(Config, [Name, ".debian"],
        [["export LXC_CACHE_PATH=", tmp(Config, "debian")],
            "exec /usr/share/lxc/templates/lxc-debian \"$@\""]),
    Self = self(),
    Create = async(fun() -> timed(fun() ->
        liblxc:create(C, Template, <<>>, <<>>, 0, ["-r", "bookworm"], [{progress, Self}])
    end) end),
    {First, _} = timed(fun() -> next(C) end),
    {Ms, Created} = await(Create, 590000),
    Lines = lines(C),
    ct:pal("debian: ~b ms, the first of ~b lines after ~b", [Ms, length(Lines) + 1, First]),
    ?assertEqual(true, Created),
    ?assert(length(Lines) > 100),
    ?assert(First < Ms div 10),
    ?assert(liblxc:destroy(C)).

%% --- Deadlines ---------------------------------------------------------------------------

%% call/4 gives what the function gives, of each kind, and last_error too.
same_results(Config) ->
    {C, Name} = defined(Config),
    [?assertEqual({F, apply(liblxc, F, [C | A])}, {F, liblxc:call(C, F, A, #{timeout => 5000})})
        || {F, A} <- [{name, []}, {state, []}, {version, []}, {commands, []},
            {list, [all, tmp(Config, "")]}, {get_keys, []}, {get_keys, ["lxc.net"]},
            {get_config_item, ["lxc.uts.name"]}, {get_config_item, ["lxc.bogus"]},
            {get_cgroup_item, ["pids.current"]}, {wait, ["RUNNING", 0]}, {wait, ["RUNNING", 1]},
            {init_pid, []}, {set_config_item, ["lxc.bogus", "1"]}, {stop, []}]],
    ?assertEqual(<<>>, liblxc:last_error(C)),
    ?assertNot(liblxc:call(C, set_config_item, ["lxc.bogus", "1"], #{timeout => 5000})),
    ?assertNotEqual(<<>>, liblxc:last_error(C)),
    ?assertEqual(Name, liblxc:call(C, name, [], #{})),
    ?assertEqual(<<>>, liblxc:last_error(C)),
    ?assertError(badarg, liblxc:call(C, wait, ["frob", 1], #{timeout => 5000})),
    ?assertError(badarg, liblxc:call(C, get_keys, [a], #{timeout => infinity})),
    %% Nothing of it stays behind in the caller.
    ?assertNot(liblxc:wait(C, "RUNNING", 1)).

%% A function that is none, and options that are none, are badarg.
bad_options(Config) ->
    {C, _} = defined(Config),
    [?assertError(badarg, liblxc:call(C, F, A, O)) || {F, A, O} <- [
        {nosuch, [], #{}}, {name, [1], #{}}, {call, [name, [], #{}], #{}}, {name, [], []},
        {name, [], #{timeout => -1}}, {name, [], #{timeout => soon}}, {name, [], #{bogus => 1}},
        {name, [], #{progress => someone}}]].

%% A call of any kind is given up when its time is over, and not before.
call_timeouts(Config) ->
    {C, Name} = defined(Config),
    Init = start(C),
    signal(ppid(Init), "STOP"),
    All = [{F, async(fun() -> raised(fun() -> liblxc:call(C, F, A, #{timeout => 300}) end) end)}
        || {F, A} <- queries() ++ [{freeze, []}, {destroy, []}, {wait, ["STOPPED", 9]},
            {shutdown, [9]}, {rename, [name(Config)]}]],
    [begin
        {Waited, Raised} = await(A, 10000),
        ?assertEqual({F, timeout}, {F, Raised}),
        among(300, 1500, Waited)
    end || {F, A} <- All],
    signal(ppid(Init), "CONT"),
    ?assertEqual(<<"RUNNING">>, liblxc:state(C)),
    ?assertEqual(Init, liblxc:init_pid(C)),
    eventually(fun() -> is([<<"erlxc-guardian">>, <<"erlxc-query">>], workers(Name)) end, 8000),
    %% Not stop: what was asked for stays with the monitor.
    signal(ppid(Init), "STOP"),
    {Ms, timeout} = raised(fun() -> liblxc:call(C, stop, [], #{timeout => 300}) end),
    among(300, 1500, Ms),
    signal(ppid(Init), "CONT"),
    eventually(fun() -> is(<<"STOPPED">>, liblxc:state(C)) end, 5000).

is(X, X) -> true;
is(_, Y) -> Y.

%% What asks a monitor.
queries() ->
    [{state, []}, {running, []}, {init_pid, []}, {get_interfaces, []},
        {get_ips, [<<>>, <<>>, 0]}, {get_cgroup_item, ["pids.current"]},
        {set_cgroup_item, ["pids.max", "100"]}, {reboot, []}, {may_control, []},
        {get_running_config_item, ["lxc.uts.name"]}, {console_log, [#{}]}].

%% An answer that comes too late is nobody's: not a message, not the next call's.
late_answers(Config) ->
    {C, Name} = defined(Config),
    Calls = [{name, [], Name}, {get_config_item, ["lxc.uts.name"], Name},
        {state, [], <<"STOPPED">>}, {init_pid, [], -1}, {get_config_item, ["lxc.bogus"], none},
        {defined, [], true}, {wait, ["RUNNING", 0], false}],
    All = [async(fun() ->
        Got = [late(C, lists:nth(rand:uniform(length(Calls)), Calls))
            || _ <- lists:seq(1, soak(150))],
        ?assertEqual(Name, liblxc:name(C)),
        {lists:usort(Got), mailbox()}
    end) || _ <- lists:seq(1, 4)],
    Answers = [await(A, 50000) || A <- All],
    ?assertEqual([[]], lists:usort([Mailbox || {_, Mailbox} <- Answers])),
    %% Both have happened, and nothing else.
    ?assertEqual([right, timeout], lists:usort(lists:append([Got || {Got, _} <- Answers]))).

late(C, {Function, Args, Right}) ->
    try liblxc:call(C, Function, Args, #{timeout => 3 bsl rand:uniform(9) bsr 4}) of
        Right -> right;
        Wrong -> {Function, Wrong}
    catch error:timeout -> timeout
    end.

%% The worker of a call that is given up ends, and no other's.
job_killed(Config) ->
    {C, Name} = defined(Config),
    Waits = fun() -> length([W || W <- workers(Name), W =:= <<"erlxc-job">>]) end,
    Other = async(fun() -> liblxc:wait(C, "RUNNING", -1) end),
    eventually(fun() -> is(1, Waits()) end, 5000),
    {Ms, timeout} = raised(fun() -> liblxc:call(C, wait, ["RUNNING", -1], #{timeout => 200}) end),
    among(200, 1200, Ms),
    eventually(fun() -> is(1, Waits()) end, 5000),
    start(C),
    ?assertEqual(true, await(Other, 10000)),
    ?assert(liblxc:stop(C)).

%% A create that is given up leaves no template and no husk; the next one works.
create_killed(Config) ->
    Name = name(Config),
    C = driver(Config, Name),
    Template = template(Config, Name, ["echo begun", [nap(Config, Name), " 60"]]),
    {Ms, timeout} = raised(fun() -> create(C, Template, [{timeout, 500}, {progress, self()}]) end),
    among(500, 1500, Ms),
    ?assertEqual([<<"begun">>], lines(C)),
    ?assert(create(C, template(Config, Name, []), [])),
    ?assertEqual([], [P || {process, _, Cmd} = P <- processes(Name),
        binary:match(Cmd, <<".nap">>) =/= nomatch]),
    ?assert(liblxc:destroy(C)),
    ?assertNot(filelib:is_file(filename:join(path(Config), Name))).

%% A destroy that nobody waits for any more finishes and is reported; what comes behind
%% it waits for it.
kept_is_reported(Config) ->
    kept(Config, fun(C, destroy) ->
        {Ms, timeout} = raised(fun() -> liblxc:call(C, destroy, [], #{timeout => 500}) end),
        among(500, 1500, Ms)
    end).

kept_is_reported_when_killed(Config) ->
    kept(Config, fun(C, destroy) ->
        {Pid, Ref} = spawn_monitor(fun() -> liblxc:destroy(C) end),
        receive after 200 -> exit(Pid, kill) end,
        receive {'DOWN', Ref, process, Pid, killed} -> ok end
    end).

kept(Config, GiveUp) ->
    {C, Name} = defined(Config),
    Fifo = fifo(Config, Name),
    Hook = script(Config, [Name, ".hook"], [["read x <", Fifo]]),
    true = liblxc:set_config_item(C, "lxc.hook.destroy", Hook),
    true = liblxc:save_config(C),
    ok = erlxc_drv:subscribe(C),
    GiveUp(C, destroy),
    Behind = async(fun() -> liblxc:save_config(C, tmp(Config, [Name, ".saved"])) end),
    ?assertEqual(Name, liblxc:name(C)),
    ?assert(liblxc:defined(C)),
    ?assertEqual([], mailbox()),
    ?assertNot(filelib:is_file(tmp(Config, [Name, ".saved"]))),
    sh("echo >~s", [Fifo]),
    ?assertEqual({finished, destroy, true, <<>>}, event(C)),
    ?assertNot(liblxc:defined(C)),
    ?assertEqual(true, await(Behind, 10000)),
    ok = erlxc_drv:unsubscribe(C).

%% --- A monitor that does not answer --------------------------------------------------------

%% A monitor that does not answer costs its own callers five seconds and nobody
%% else anything: not the lists, not a call that needs no monitor, not another
%% container; and when it goes on, all is as before.
queries_time_out(Config) ->
    {C, Name, Init, Monitor} = stuck(Config),
    {D, _} = defined(Config),
    try
        All = [{F, async(fun() -> raised(fun() -> apply(liblxc, F, [C | A]) end) end)}
            || {F, A} <- queries()],
        {Ms, _} = timed(fun() ->
            ?assertEqual(Name, liblxc:name(C)),
            ?assert(is_binary(liblxc:get_config_item(C, "lxc.arch"))),
            [?assert(lists:member(Name, liblxc:list(X, T)))
                || X <- [C, D], T <- [all, active, defined]],
            ?assertEqual(<<"STOPPED">>, liblxc:state(D))
        end),
        among(0, 1500, Ms),
        [begin
            {Stuck, Raised} = await(A, 10000),
            ?assertEqual({F, timeout}, {F, Raised}),
            among(4500, 6500, Stuck)
        end || {F, A} <- All]
    after
        signal(Monitor, "CONT")
    end,
    ?assertEqual(<<"RUNNING">>, liblxc:state(C)),
    ?assertEqual(Init, liblxc:init_pid(C)),
    ?assertEqual([<<"erlxc-guardian">>, <<"erlxc-query">>], workers(Name)),
    ?assert(liblxc:stop(C)).

%% What changes a container on disk begins only when the monitor answers: it would
%% hold up for ever what comes behind.
disk_times_out(Config) ->
    {C, Name, _, Monitor} = stuck(Config),
    [begin
        {Ms, Raised} = raised(fun() -> apply(liblxc, F, [C | A]) end),
        ?assertEqual({F, timeout}, {F, Raised}),
        among(4500, 6500, Ms)
    end || {F, A} <- [{destroy, []}, {create, ["busybox", <<>>, <<>>, 0, []]}]],
    ?assert(liblxc:save_config(C, tmp(Config, [Name, ".saved"]))),
    signal(Monitor, "CONT"),
    ?assertNot(liblxc:destroy(C)),
    ?assert(liblxc:stop(C)).

%% stop takes down what its monitor does not, and leaves nothing.
stop_stuck(Config) ->
    {C, Name, Init, Monitor} = stuck(Config, veth()),
    ok = erlxc_drv:subscribe(C),
    stopped(C),
    ?assertNot(alive(Init) orelse alive(Monitor)),
    ?assertEqual([{exited, {signal, 9}}, {state, <<"STOPPED">>}], [event(C), event(C)]),
    gone(Config, C, Name),
    ?assertMatch([_], [E || {erlxc, _, {exited, _} = E} <- mailbox()]). % its next life's

veth() ->
    ["lxc.net.0.type = veth", "lxc.net.0.flags = up"].

stopped(C) ->
    {Ms, Stopped} = timed(fun() -> liblxc:stop(C) end),
    ?assertEqual({true, <<>>}, {Stopped, liblxc:last_error(C)}),
    among(4500, 9500, Ms).

%% A frozen init dies of a signal only when it is thawed; of a daemonized container no
%% guardian does that.
stop_stuck_frozen(Config) ->
    {C, Name} = defined(Config),
    true = liblxc:daemonize(C, 1),
    Init = start(C),
    Monitor = ppid(Init),
    true = liblxc:freeze(C),
    signal(Monitor, "STOP"),
    stopped(C),
    ?assertNot(alive(Init) orelse alive(Monitor)),
    gone(Config, C, Name).

%% A daemonized container has no guardian that would clean up.
stop_stuck_daemonized(Config) ->
    {C, Name} = defined(Config),
    true = liblxc:daemonize(C, 1),
    Init = start(C),
    Monitor = ppid(Init),
    signal(Monitor, "STOP"),
    stopped(C),
    ?assertNot(alive(Init) orelse alive(Monitor)),
    gone(Config, C, Name).

%% A container that another driver has started is stopped too, and both know.
stop_of_others(Config) ->
    {C, Name, Init, _} = stuck(Config),
    D = driver(Config, Name),
    stopped(D),
    ?assertNot(alive(Init)),
    ?assertEqual(<<"STOPPED">>, liblxc:state(C)),
    ok = erlxc_drv:stop(D),
    gone(Config, C, Name).

%% Of two containers of one name, in two lxcpaths, the right one is stopped.
stop_one_of_two(Config) ->
    {C, Name, Init, _} = stuck(Config),
    Dir = tmp(Config, "other"),
    "" = sh("mkdir -p ~s && cp -a ~s/~s ~s/ && sed -i s,~s/,~s/, ~s/~s/config",
        [Dir, path(Config), Name, Dir, path(Config), Dir, Dir, Name]),
    {ok, D} = erlxc_drv:start([{name, Name}, {path, Dir}, {progname, erlxc_test:program()}]),
    Other = start(D),
    stopped(C),
    ?assertNot(alive(Init)),
    ?assert(alive(Other)),
    ?assertEqual(<<"RUNNING">>, liblxc:state(D)),
    ?assertEqual(Other, liblxc:init_pid(D)),
    ?assert(liblxc:stop(D)),
    ?assert(liblxc:destroy(D)),
    ok = erlxc_drv:stop(D),
    gone(Config, C, Name).

%% Another user's process in the place of a monitor: what it says is believed by no call,
%% and by none of those that come when the container does run.
squatted(Config) ->
    {C, Name} = defined(Config),
    Victim = open_port({spawn_executable, nap(Config, Name)}, [{args, ["1000"]}]),
    {os_pid, Pid} = erlang:port_info(Victim, os_pid),
    Squatter = squat(Config, Name, [integer_to_list(Pid)]),
    ok = erlxc_drv:subscribe(C),
    [?assertEqual({F, timeout}, {F, element(2, raised(fun() -> apply(liblxc, F, [C | A]) end))})
        || {F, A} <- [{state, []}, {init_pid, []}, {shutdown, [0]}, {reboot, []}, {freeze, []},
            {get_cgroup_item, ["cpu.max"]}, {set_cgroup_item, ["cpu.max", "max"]}]],
    {_, {returned, {error, {attach, timeout, _}}}} = raised(fun() -> erlxc:run(C, ["true"]) end),
    {ok, Rows} = erlxc_shell:containers(C),
    ?assertMatch([_], [R || #{name := N, state := unknown, pid := undefined} = R <- Rows,
        N =:= Name]),
    ok = erlxc_drv:unsubscribe(C),
    ?assert(alive(Pid)),
    signal(Squatter, "KILL"),
    signal(Pid, "KILL"),
    eventually(fun() -> is(<<"STOPPED">>, liblxc:state(C)) end, 5000),
    Init = start(C),
    ?assertEqual(Init, liblxc:init_pid(C)),
    gone_after_stop(C).

%% One that does not answer, and has the kernel's list of sockets say that another
%% container's monitor is the one to be killed.
squatted_silently(Config) ->
    {C, Name} = defined(Config),
    {D, Other} = defined(Config),
    Init = start(D),
    [Inode | _] = [I || L <- string:lexemes(sh("cat /proc/net/unix", []), "\n"),
        [_, _, _, "00010000", _, _, I, "@" ++ Path] <- [string:lexemes(L, " ")],
        string:find(Path, binary_to_list(Other)) =/= nomatch],
    Squatter = squat(Config, Name, ["0", Inode]),
    ?assert(liblxc:stop(C)),
    ?assert(alive(Init)),
    signal(Squatter, "KILL"),
    gone_after_stop(D).

squat(Config, Name, Args) ->
    Port = open_port({spawn_executable, erlxc_test:probe("squat")}, [{line, 80},
        {args, [filename:join([path(Config), Name, "command"]) | Args]}]),
    receive {Port, {data, {eol, "ready"}}} -> ok end,
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    Pid.

gone_after_stop(C) ->
    ?assert(liblxc:stop(C)),
    ?assertEqual(<<"STOPPED">>, liblxc:state(C)).

%% Who would listen to its container's calls is told in time that the monitor is stuck.
listen_stuck(Config) ->
    {C, _, _, Monitor} = stuck(Config),
    {Ms, Class} = raised(fun() -> erlxc_drv:call(C, seccomp_listen, [1000]) end),
    ?assertEqual(timeout, Class),
    among(4500, 9500, Ms),
    signal(Monitor, "CONT"),
    gone_after_stop(C).

%% An init that ignores lxc.signal.stop is killed; its monitor does the rest itself, the
%% hook post-stop too, and knows how init has ended.
stop_ignored(Config) ->
    Mark = tmp(Config, "ignored.mark"),
    Hook = script(Config, "ignored.hook", [": >" ++ Mark]),
    {C, Name} = defined(Config,
        ["lxc.signal.stop = SIGUSR1", ["lxc.hook.post-stop = ", Hook]]),
    {ok, Init} = liblxc:start(C, 0, ["/bin/sh", "-c", "trap '' USR1; exec sleep 1000"]),
    ok = erlxc_drv:subscribe(C),
    stopped(C),
    ?assertNot(alive(Init)),
    ?assertEqual({exited, {signal, 9}}, event(C)),
    ?assert(filelib:is_file(Mark)),
    ok = erlxc_drv:unsubscribe(C),
    eventually(fun() ->
        is([], [L || L <- leftovers(Name, Config), not of_port(L, port_pid(Name))])
    end, 3000).

%% A monitor whose hook takes longer than stop waits for it is not killed.
stop_with_hook(Config) ->
    Mark = tmp(Config, "hook.mark"),
    Hook = script(Config, "hook.hook", ["sleep 8", ": >" ++ Mark]),
    {C, _} = defined(Config, [["lxc.hook.stop = ", Hook]]),
    start(C),
    {Ms, true} = timed(fun() -> liblxc:stop(C) end),
    among(7500, 14000, Ms),
    ?assert(filelib:is_file(Mark)).

%% When the owner dies, a container with such a monitor has its time and no more.
owner_of_stuck_dies(Config) ->
    Name = container(Config),
    {Owner, Init} = owner(fun() -> start(driver(Config, Name, [{shutdown, 1000}])) end),
    signal(ppid(Init), "STOP"),
    exit(Owner, kill),
    {Ms, ok} = timed(fun() ->
        eventually(fun() -> is([], leftovers(Name, Config)) end, 10000)
    end),
    among(0, 3000, Ms).
