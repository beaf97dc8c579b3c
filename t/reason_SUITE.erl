%% SPDX-License-Identifier: ISC
%% Every failure has a reason in last_error/1 that names its cause: what liblxc, the
%% daemonized child, the template or a hook said of it, or what the port refused it for.
-module(reason_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlxc_test, [container/1, container/2, name/1, rootfs/2, tmp/2, path/1, driver/2, driver/3,
    script/3, eventually/2, drv_opts/1, sh/2]).

suite() ->
    [{timetrap, {minutes, 3}}].

all() ->
    [{group, lxc}].

groups() ->
    [{lxc, [], [of_create, of_the_disk, of_the_configuration, of_files, of_start, of_start_detached,
        of_running, of_stopped, of_a_stuck_monitor, successes_have_none, log_lines, log_container]}].

init_per_suite(Config) ->
    erlxc_test:setup(Config).

end_per_suite(Config) ->
    erlxc_test:teardown(Config).

init_per_group(lxc, Config) ->
    erlxc_test:engine(lxc, Config).

end_per_group(_, _) ->
    ok.

%% --- Helpers ------------------------------------------------------------------------

%% Checks failures, {What, Call, Expected result, What its reason names}; all of them, so
%% that one report has all that are wrong. A new process has no reason of another call.
failures(C, List) ->
    ?assertEqual([], lists:append([failure(C, F) || F <- List])).

failure(C, {What, Call, Expected, Parts}) ->
    {Result, Why} = erlxc_test:await(erlxc_test:async(fun() ->
        {Call(), liblxc:last_error(C)}
    end), 60000),
    Missing = [P || P <- [Parts], re:run(Why, P, [caseless, {capture, none}]) =:= nomatch],
    case Result =:= Expected andalso Missing =:= [] of
        true -> [];
        false -> [{What, Result, Why, {expected, Expected, Missing}}]
    end.

stop(C) ->
    ok = erlxc_drv:stop(C).

%% A driver of a container with these lines, which is no more than defined.
defined(Config, Lines) ->
    driver(Config, container(Config, Lines), [{shutdown, brutal_kill}]).

%% A driver whose port sees another file system over the lxcpath: in a mount namespace of
%% its own, where `mount Words' has been done.
in_namespace(Config, Words) ->
    Mount = script(Config, "mount" ++ integer_to_list(erlang:unique_integer([positive])),
        ["mount " ++ Words ++ " " ++ binary_to_list(path(Config)) ++ " || exit 99",
         "exec \"$@\""]),
    driver(Config, name(Config), [{exec, ["unshare", "--mount", Mount]}]).

%% --- Cases --------------------------------------------------------------------------

%% A container that cannot be created.
of_create(Config) ->
    C = driver(Config, name(Config)),
    Fails = script(Config, "fails", ["echo to standard output", "echo it rains >&2", "exit 3"]),
    failures(C, [
        {no_template, fun() -> create(C, "no-such-template") end, false, "no-such-template"},
        {template_fails, fun() -> create(C, Fails) end, false, "it rains"},
        {bdevtype, fun() -> liblxc:create(C, "busybox", "frobfs", <<>>, 0, []) end, false,
            "frobfs|Invalid|bdev|storage"}]),
    stop(C),
    Taken = defined(Config, []),
    failures(Taken, [{taken, fun() -> create(Taken, "busybox") end, false, "exists"}]),
    {ok, _} = liblxc:start(Taken),
    failures(Taken, [{running, fun() -> create(Taken, "") end, false, "running"}]),
    stop(Taken).

create(C, Template) ->
    liblxc:create(C, Template, <<>>, <<>>, 0, []).

%% A disk that is full, one that is read-only, and one that we may not write to.
of_the_disk(Config) ->
    Full = in_namespace(Config, "-t tmpfs -o size=64k tmpfs"),
    failures(Full, [{full, fun() -> create(Full, "busybox") end, false, "No space left"}]),
    stop(Full),
    ReadOnly = in_namespace(Config, "-t tmpfs -o ro tmpfs"),
    failures(ReadOnly, [
        {read_only, fun() -> create(ReadOnly, "busybox") end, false, "Read-only file system"},
        {read_only_save, fun() -> liblxc:save_config(ReadOnly) end, false,
            "Read-only file system"}]),
    stop(ReadOnly),
    %% Root without the capability that lets it write anywhere.
    Dir = tmp(Config, "forbidden"),
    "" = sh("mkdir -m 0700 ~s && chown 1234:1234 ~s", [Dir, Dir]),
    NoCaps = driver(Config, name(Config), [{path, Dir}, {exec, ["setpriv",
        "--bounding-set=-dac_override,-dac_read_search,-fowner",
        "--inh-caps=-dac_override,-dac_read_search,-fowner"]}]),
    failures(NoCaps, [
        {permission, fun() -> create(NoCaps, "busybox") end, false, "Permission denied"},
        {permission_save, fun() -> liblxc:save_config(NoCaps) end, false, "Permission denied"}]),
    stop(NoCaps).

%% A key or a value that is none.
of_the_configuration(Config) ->
    C = defined(Config, []),
    failures(C, [
        {key, fun() -> liblxc:set_config_item(C, "lxc.bogus", "1") end, false, "lxc\\.bogus"},
        {get, fun() -> liblxc:get_config_item(C, "lxc.bogus") end, none, "no such key"},
        {clear, fun() -> liblxc:clear_config_item(C, "lxc.bogus") end, false,
            "bogus|no such key"},
        {keys, fun() -> liblxc:get_keys(C, "lxc.bogus") end, <<>>, "no such key"},
        {network, fun() -> liblxc:set_config_item(C, "lxc.net.0.type", "frob") end, false,
            "network type frob"},
        {signal, fun() -> liblxc:set_config_item(C, "lxc.signal.halt", "SIGFROB") end, false,
            "SIGFROB|lxc\\.signal\\.halt"},
        {idmap, fun() -> liblxc:set_config_item(C, "lxc.idmap", "x 0 1 1") end, false,
            "idmap|map"},
        {limit, fun() -> liblxc:set_config_item(C, "lxc.prlimit.nofile", "many") end, false,
            "prlimit|many"},
        {arch, fun() -> liblxc:set_config_item(C, "lxc.arch", "frob") end, false,
            "lxc\\.arch|frob"},
        {number, fun() -> liblxc:set_config_item(C, "lxc.pty.max", "many") end, false,
            "lxc\\.pty\\.max|many"}]),
    true = liblxc:clear_config(C),
    failures(C, [{none, fun() -> liblxc:get_config_item(C, "lxc.uts.name") end, none,
        "no configuration"}]),
    stop(C).

%% A file that is not there, or not what it should be.
of_files(Config) ->
    C = defined(Config, []),
    Bad = tmp(Config, "bad.conf"),
    ok = file:write_file(Bad, "lxc.uts.name = a\nlxc.frob = 1\n"),
    failures(C, [
        {load, fun() -> liblxc:load_config(C, tmp(Config, "none.conf")) end, false,
            "No such file"},
        {load_key, fun() -> liblxc:load_config(C, Bad) end, false, "lxc\\.frob"},
        {load_dir, fun() -> liblxc:load_config(C, tmp(Config, "")) end, false,
            "directory|regular|Invalid"},
        {include, fun() -> liblxc:set_config_item(C, "lxc.include", tmp(Config, "none")) end,
            false, "none|No such file"},
        {save, fun() -> liblxc:save_config(C, tmp(Config, "none/config")) end, false,
            "No such file"},
        {list, fun() -> liblxc:list(C, defined, tmp(Config, "none")) end, [], "No such file"}]),
    stop(C).

%% A container that does not start, attached to the port.
of_start(Config) ->
    starts(Config, []).

%% The same, of one that is daemonized: the reasons are its monitor's.
of_start_detached(Config) ->
    starts(Config, [{type, permanent}]).

starts(Config, Opts) ->
    No = tmp(Config, "nowhere"),
    Text = tmp(Config, "text"),
    ok = file:write_file(Text, "not executable"),
    Hook = script(Config, "hook" ++ integer_to_list(erlang:unique_integer([positive])),
        ["echo the hook is unhappy >&2", "exit 7"]),
    [one_start(Config, Opts, Start) || Start <- [
        {bridge, ["lxc.net.0.type = veth", "lxc.net.0.link = erlxcnobr0"], "erlxcnobr0"},
        {link, ["lxc.net.0.type = phys", "lxc.net.0.link = erlxcnoif0"], "erlxcnoif0"},
        {rootfs, ["lxc.rootfs.path = dir:" ++ No], "nowhere"},
        {init, ["lxc.init.cmd = /no/such/init"], "/no/such/init"},
        {not_executable, ["lxc.init.cmd = /etc/passwd"], "Permission denied"},
        {init_cwd, ["lxc.init.cwd = /no/such/dir"], "/no/such/dir|No such file"},
        {mount, ["lxc.mount.entry = " ++ No ++ " mnt none bind 0 0"], "nowhere"},
        {fstab, ["lxc.mount.fstab = " ++ No], "nowhere"},
        {hook, ["lxc.hook.pre-start = " ++ binary_to_list(Hook)], "pre-start|status 7|hook"},
        {no_hook, ["lxc.hook.mount = " ++ No], "nowhere|hook"},
        {profile, ["lxc.seccomp.profile = " ++ No], "nowhere"},
        {cgroup, ["lxc.cgroup.pids.max = frob"], "pids\\.max"},
        {no_cgroup, ["lxc.cgroup.pids.frob = 1"], "pids\\.frob"},
        {sysctl, ["lxc.sysctl.kernel.frob = 1"], "frob"},
        {limit, ["lxc.prlimit.frob = 1"], "frob"},
        {console, ["lxc.console.logfile = /no/such/dir/log"], "/no/such/dir"}]].

one_start(Config, Opts, {What, Lines, Part}) ->
    C = driver(Config, container(Config, Lines), [{shutdown, brutal_kill} | Opts]),
    {{error, Posix}, Why} = {liblxc:start(C), liblxc:last_error(C)},
    ?assert(is_atom(Posix)),
    ?assertMatch({What, _, {match, _}}, {What, Why, re:run(Why, Part, [caseless])}),
    stop(C).

%% What a running or frozen container refuses.
of_running(Config) ->
    Name = container(Config),
    C = driver(Config, Name, [{shutdown, brutal_kill}]),
    {ok, _} = liblxc:start(C, 0, erlxc_test:sleeper()),
    failures(C, [
        {start, fun() -> liblxc:start(C) end, {error, ebusy}, "running"},
        {destroy, fun() -> liblxc:destroy(C) end, false, "running|not stopped"},
        {rename, fun() -> liblxc:rename(C, name(Config)) end, false, "running"},
        {no_item, fun() -> liblxc:get_cgroup_item(C, "pids.frob") end, none,
            "pids\\.frob|No such file"},
        {item_value, fun() -> liblxc:set_cgroup_item(C, "pids.max", "frob") end, false,
            "pids\\.max|Invalid"},
        {shutdown, fun() -> liblxc:shutdown(C, 1) end, false, "timeout"},
        {wait, fun() -> liblxc:wait(C, "STOPPED", 1) end, false, "timeout"},
        {look, fun() -> liblxc:wait(C, "STOPPED", 0) end, false, "RUNNING"}]),
    {error, enoent} = erlxc:run(C, ["/no/such/command"]),
    {error, eacces} = erlxc:run(C, ["/etc/passwd"]),
    {error, {user, _}} = erlxc:run(C, ["true"], [{user, "nobodyatall"}]),
    true = liblxc:freeze(C),
    failures(C, [
        {frozen_start, fun() -> liblxc:start(C) end, {error, ebusy}, "running|frozen"}]),
    ?assertEqual({{error, ebusy}, <<"it is frozen">>}, attach(C)),
    stop(C).

attach(C) -> erlxc_drv:open(C, attach, [[<<"true">>], #{}]).

%% What one that does not run, or is not there at all, cannot do.
of_stopped(Config) ->
    Name = container(Config),
    C = driver(Config, Name),
    failures(C, [
        {freeze, fun() -> liblxc:freeze(C) end, false, "not running"},
        {unfreeze, fun() -> liblxc:unfreeze(C) end, false, "not running"},
        {reboot, fun() -> liblxc:reboot(C) end, false, "not running"},
        {get_cgroup, fun() -> liblxc:get_cgroup_item(C, "pids.max") end, none, "not running"},
        {set_cgroup, fun() -> liblxc:set_cgroup_item(C, "pids.max", "1") end, false,
            "not running"},
        {interfaces, fun() -> liblxc:get_interfaces(C) end, [], "not running"},
        {ips, fun() -> liblxc:get_ips(C, "", "", 0) end, [], "not running"},
        {rename, fun() -> liblxc:rename(C, container(Config)) end, false, "taken|exists"}]),
    ?assertEqual({{error, esrch}, <<"not running">>}, attach(C)),
    stop(C),
    None = driver(Config, name(Config)),
    failures(None, [
        {start, fun() -> liblxc:start(None) end, {error, enoent}, "not defined"},
        {destroy, fun() -> liblxc:destroy(None) end, false, "not defined"},
        {rename, fun() -> liblxc:rename(None, name(Config)) end, false, "not defined"}]),
    stop(None).

%% A monitor that does not answer raises, and leaves no reason of something else.
of_a_stuck_monitor(Config) ->
    C = driver(Config, container(Config), [{shutdown, brutal_kill}]),
    {ok, Init} = liblxc:start(C),
    false = liblxc:set_config_item(C, "lxc.bogus", "1"),
    Monitor = erlxc_test:ppid(Init),
    erlxc_test:signal(Monitor, "STOP"),
    ?assertError(timeout, liblxc:state(C)),
    erlxc_test:signal(Monitor, "CONT"),
    ok = eventually(fun() -> try liblxc:state(C) =:= <<"RUNNING">> catch error:_ -> false end end,
        10000),
    ?assertEqual(<<>>, liblxc:last_error(C)),
    stop(C).

%% A success leaves no reason, not even one that liblxc has logged an error for.
successes_have_none(Config) ->
    C = defined(Config, ["lxc.mount.entry = /no/such mnt none bind,optional 0 0"]),
    false = liblxc:set_config_item(C, "lxc.bogus", "1"),
    {ok, _} = liblxc:start(C),
    ?assertEqual(<<>>, liblxc:last_error(C)),
    true = liblxc:stop(C),
    ?assertEqual(<<>>, liblxc:last_error(C)),
    stop(C).

%% liblxc's lines go to logger with their level, container and domain.
log_lines(Config) ->
    ok = logger:add_handler(?MODULE, ?MODULE, #{level => all, config => #{to => self()}}),
    #{level := Level} = logger:get_primary_config(),
    ok = logger:set_primary_config(level, all),
    try
        Name = container(Config),
        C = driver(Config, Name, [{log, debug}, {shutdown, brutal_kill}]),
        false = liblxc:set_config_item(C, "lxc.bogus", "1"),
        #{level := error, meta := Error} = logged("lxc\\.bogus"),
        ?assertMatch(#{container := Name, domain := [erlxc]}, Error),
        {ok, _} = liblxc:start(C),
        true = liblxc:stop(C),
        #{level := Low, meta := #{container := Name, domain := [erlxc]}} = logged("seccomp|cgroup"),
        ?assert(lists:member(Low, [debug, info, notice, warning])),
        stop(C)
    after
        ok = logger:set_primary_config(level, Level),
        ok = logger:remove_handler(?MODULE)
    end.

%% A logger's handler.
log(Event, #{config := #{to := Pid}}) -> Pid ! {logged, Event}.

logged(Part) ->
    receive
        {logged, #{msg := {Format, Args}, meta := #{domain := _}} = Event} when is_list(Args) ->
            case re:run(io_lib:format(Format, Args), Part, [{capture, none}]) of
                match -> Event;
                nomatch -> logged(Part)
            end;
        {logged, _} -> logged(Part)
    after 10000 -> error({not_logged, Part})
    end.

%% What the driver itself reports of a port that died is on every console: it is in no
%% domain that logger's default handler drops.
log_container(Config) ->
    ok = logger:add_handler(?MODULE, ?MODULE, #{level => all, config => #{to => self()}}),
    try
        Name = name(Config),
        C = driver(Config, Name),
        #{os_pid := Pid} = erlxc_drv:info(C),
        erlxc_test:signal(Pid, "KILL"),
        receive {logged, #{level := error, meta := #{container := Name} = Meta}} ->
            ?assertNot(is_map_key(domain, Meta))
        after 10000 -> error(not_logged)
        end
    after
        ok = logger:remove_handler(?MODULE)
    end.
