%% SPDX-License-Identifier: ISC
%% The low-level API, function by function, on real containers.
-module(liblxc_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlxc_test, [
    name/1, container/1, container/2, rootfs/2, tmp/2, path/1, driver/2, driver/3,
    drv_opts/1, start/1, start_clean/3, stopped/1, script/3, nap/2, eventually/2,
    timed/1, among/3, async/1, await/2, sh/2, port_pid/1, ppid/1, alive/1, signal/2,
    leftovers/2, processes/1, soak/1
]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, lxc}].

groups() ->
    [{lxc, [], cases()}].

cases() ->
    [names_and_paths, config_path, config_items, config_lists, bad_arguments,
        control_bytes, iodata_forms, foreign_terms, undefined_command, wrong_arity,
        commands_are_exports, version, types, daemonize, cleared_config, keys,
        save_and_load, load_failures, legacy_network, legacy_keys, legacy_file,
        legacy_container, create_and_destroy, create_config_only, create_failures,
        template_output, template_that_fails, template_killed, destroy_failures,
        start_and_stop, start_argv, start_useinit, start_errors, start_bad_init,
        short_lives, running_and_state, wait_zero, wait_second, wait_alternatives,
        wait_forever, wait_for_start, wait_holds_up_nobody, wait_arguments, shutdown_zero,
        shutdown_clean, shutdown_ignored, shutdown_stopped, reboot, freeze, freeze_stopped,
        stop_frozen, rename, rename_failures, cgroup_items, cgroup_failures, interfaces,
        ips, lists, lists_of_a_path, long_paths, last_error_per_process,
        many_callers, log_lines, seed_example].

init_per_suite(Config) ->
    erlxc_test:setup(Config).

end_per_suite(Config) ->
    erlxc_test:teardown(Config).

init_per_group(Engine, Config) ->
    erlxc_test:engine(Engine, Config).

end_per_group(_, _) ->
    ok.

%% --- Helpers -----------------------------------------------------------------

%% A driver for a defined, stopped container.
defined(Config) ->
    Name = container(Config),
    {driver(Config, Name), Name}.

%% A driver for a name that there is no container of.
undefined(Config) ->
    Name = name(Config),
    {driver(Config, Name), Name}.

%% The reason of a call that must give Result; asked in a new process, which has
%% no reason of an older failure.
why(C, Result, Fun) ->
    {Before, Got, Why} = await(async(fun() ->
        {liblxc:last_error(C), Fun(), liblxc:last_error(C)}
    end), 30000),
    ?assertEqual({<<>>, Result}, {Before, Got}),
    ?assertNotEqual(<<>>, Why),
    Why.

refused(C, Fun) ->
    why(C, false, Fun).

contains(none, _) ->
    false;
contains(Bytes, Part) ->
    binary:match(iolist_to_binary(Bytes), iolist_to_binary(Part)) =/= nomatch.

wait_file(File) ->
    eventually(fun() -> filelib:is_regular(File) end, 5000).

%% --- The handle ----------------------------------------------------------------

%% The handle knows its name, its lxcpath and its configuration file.
names_and_paths(Config) ->
    {C, Name} = defined(Config),
    Path = path(Config),
    ?assertEqual(Name, liblxc:name(C)),
    ?assertEqual(Path, liblxc:get_config_path(C)),
    ?assertEqual(<<Path/binary, "/", Name/binary, "/config">>, liblxc:config_file_name(C)),
    ?assert(liblxc:defined(C)),
    {U, Other} = undefined(Config),
    ?assertEqual(Other, liblxc:name(U)),
    ?assertNot(liblxc:defined(U)),
    ?assertNot(liblxc:running(U)),
    ?assertEqual(-1, liblxc:init_pid(U)),
    ?assertEqual(<<"STOPPED">>, liblxc:state(U)).

%% Another lxcpath is where the container is looked for from then on.
config_path(Config) ->
    {C, Name} = defined(Config),
    Other = tmp(Config, "otherpath"),
    ok = file:make_dir(Other),
    ?assert(liblxc:set_config_path(C, Other)),
    ?assertEqual(list_to_binary(Other), liblxc:get_config_path(C)),
    ?assertNot(liblxc:defined(C)),
    ?assertEqual(list_to_binary([Other, "/", Name, "/config"]), liblxc:config_file_name(C)),
    ?assert(liblxc:set_config_path(C, path(Config))),
    ?assert(liblxc:defined(C)).

%% version/1 is liblxc's version, as text of numbers and dots.
version(Config) ->
    {C, _} = undefined(Config),
    ?assertMatch({match, _}, re:run(liblxc:version(C), "^[0-9]+\\.[0-9]+(\\.[0-9]+)?")).

%% The type is transient until another one of the three is set.
types(Config) ->
    {C, Name} = undefined(Config),
    ?assertEqual(transient, liblxc:type(C)),
    [begin
        ?assertEqual(true, liblxc:type(C, T)),
        ?assertEqual(T, liblxc:type(C))
    end || T <- [temporary, permanent, transient]],
    [?assertError(badarg, liblxc:type(C, T)) || T <- [eternal, <<"temporary">>, 1, []]],
    ?assertEqual(temporary, liblxc:type(driver(Config, Name, [{type, temporary}]))),
    ?assertEqual(permanent, liblxc:type(driver(Config, Name, [permanent]))).

%% daemonize takes 0 and 1 and nothing else, whether or not there is a
%% configuration.
daemonize(Config) ->
    [begin
        ?assert(liblxc:daemonize(C, 1)),
        ?assert(liblxc:daemonize(C, 0)),
        [?assertError(badarg, liblxc:daemonize(C, X)) || X <- [2, -1, true, <<"1">>, 1 bsl 64]]
    end || {C, _} <- [defined(Config), undefined(Config)]].

%% --- Configuration ---------------------------------------------------------------

%% An item is what it was set to; unknown is none, and false with the key in the
%% reason; cleared is empty.
config_items(Config) ->
    {C, Name} = defined(Config),
    ?assertEqual(Name, liblxc:get_config_item(C, <<"lxc.uts.name">>)),
    ?assert(liblxc:set_config_item(C, <<"lxc.uts.name">>, <<"other">>)),
    ?assertEqual(<<"other">>, liblxc:get_config_item(C, <<"lxc.uts.name">>)),
    ?assert(liblxc:clear_config_item(C, <<"lxc.uts.name">>)),
    ?assertEqual(<<>>, liblxc:get_config_item(C, <<"lxc.uts.name">>)),
    ?assert(liblxc:set_config_item(C, <<"lxc.uts.name">>, <<"again">>)),
    ?assert(liblxc:set_config_item(C, <<"lxc.uts.name">>, <<>>)),
    ?assertEqual(<<>>, liblxc:get_config_item(C, <<"lxc.uts.name">>)),
    ?assertEqual(none, liblxc:get_config_item(C, <<"lxc.bogus.key">>)),
    ?assertEqual(none, liblxc:get_config_item(C, <<>>)),
    Why = refused(C, fun() -> liblxc:set_config_item(C, <<"lxc.bogus.key">>, <<"1">>) end),
    ?assert(contains(Why, "lxc.bogus.key")),
    refused(C, fun() -> liblxc:clear_config_item(C, <<"lxc.bogus.key">>) end),
    refused(C, fun() -> liblxc:set_config_item(C, <<"lxc.net.0.type">>, <<"frob">>) end).

%% Values of a list are joined with newlines, none at the end; a long value comes
%% back whole.
config_lists(Config) ->
    {C, _} = undefined(Config),
    Key = <<"lxc.environment">>,
    [?assert(liblxc:set_config_item(C, Key, V)) || V <- ["A=1", "B=2", "C=3"]],
    ?assertEqual(<<"A=1\nB=2\nC=3">>, liblxc:get_config_item(C, Key)),
    ?assert(liblxc:set_config_item(C, Key, <<>>)),
    ?assertEqual(<<>>, liblxc:get_config_item(C, Key)),
    Long = ["L=", binary:copy(<<"x">>, 100000)],
    ?assert(liblxc:set_config_item(C, Key, Long)),
    ?assertEqual(iolist_to_binary(Long), liblxc:get_config_item(C, Key)).

%% No configuration at all is not a crash: everything still answers, and the port
%% is the same.
cleared_config(Config) ->
    {C, Name} = defined(Config),
    Port = port_pid(Name),
    ?assert(liblxc:clear_config(C)),
    ?assert(lists:member(liblxc:get_config_item(C, <<"lxc.uts.name">>), [none, <<>>])),
    ?assert(is_binary(liblxc:get_keys(C))),
    ?assert(is_binary(liblxc:get_keys(C, <<"lxc.net.0">>))),
    ?assert(liblxc:daemonize(C, 1)),
    ?assert(liblxc:daemonize(C, 0)),
    ?assertNot(liblxc:freeze(C)),
    ?assertEqual(<<"STOPPED">>, liblxc:state(C)),
    ?assert(is_boolean(liblxc:clear_config_item(C, <<"lxc.uts.name">>))),
    case liblxc:start(C, 0, erlxc_test:sleeper()) of
        {ok, Pid} -> ?assert(is_integer(Pid)), ?assert(liblxc:stop(C));
        {error, Reason} -> ?assert(is_atom(Reason))
    end,
    ?assert(liblxc:set_config_item(C, <<"lxc.uts.name">>, <<"new">>)),
    ?assertEqual(<<"new">>, liblxc:get_config_item(C, <<"lxc.uts.name">>)),
    ?assertEqual(Port, port_pid(Name)).

%% The keys are whole lines, each known, however many there are.
keys(Config) ->
    {C, _} = defined(Config),
    All = liblxc:get_keys(C, <<>>),
    ?assertEqual(All, liblxc:get_keys(C)),
    Keys = binary:split(All, <<"\n">>, [global, trim]),
    ?assert(length(Keys) > 60),
    ?assert(lists:member(<<"lxc.uts.name">>, Keys)),
    ?assertEqual([], [K || K <- Keys, binary:part(K, 0, 4) =/= <<"lxc.">>]),
    Net = binary:split(liblxc:get_keys(C, <<"lxc.net.0">>), <<"\n">>, [global, trim]),
    ?assert(lists:member(<<"type">>, Net)),
    ?assert(is_binary(liblxc:get_keys(C, <<"lxc.bogus">>))).

%% A saved configuration, loaded elsewhere, gives the same items.
save_and_load(Config) ->
    {C, _} = defined(Config),
    File = tmp(Config, "saved"),
    ?assert(liblxc:set_config_item(C, "lxc.environment", "SAVED=1")),
    ?assert(liblxc:save_config(C, File)),
    {U, Name} = undefined(Config),
    ?assert(liblxc:save_config(U, tmp(Config, "undefined"))),
    ?assertNot(contains(liblxc:get_config_item(U, "lxc.environment"), "SAVED=1")),
    ?assert(liblxc:load_config(U, File)),
    ?assertEqual(<<"SAVED=1">>, liblxc:get_config_item(U, "lxc.environment")),
    ?assert(liblxc:save_config(C, <<>>)),
    ?assert(liblxc:save_config(C)),
    {ok, Saved} = file:read_file(liblxc:config_file_name(C)),
    ?assert(contains(Saved, "SAVED=1")),
    ?assert(liblxc:load_config(C)),
    ?assert(liblxc:load_config(C, <<>>)),
    ?assertNot(filelib:is_file(filename:join(path(Config), Name))).

%% What cannot be read, parsed or written is false, with a reason.
load_failures(Config) ->
    {C, _} = defined(Config),
    Bad = tmp(Config, "bad.conf"),
    ok = file:write_file(Bad, "lxc.bogus.key = 1\n"),
    refused(C, fun() -> liblxc:load_config(C, tmp(Config, "nosuch")) end),
    ?assert(contains(refused(C, fun() -> liblxc:load_config(C, Bad) end), "lxc.bogus.key")),
    refused(C, fun() -> liblxc:save_config(C, "/nosuch/dir/file") end),
    ?assert(is_binary(liblxc:get_config_item(C, "lxc.uts.name"))).

%% The seed's sequence of network keys makes one interface after the other, and
%% indexed legacy keys read, clear and list them.
legacy_network(Config) ->
    {C, _} = undefined(Config),
    refused(C, fun() -> liblxc:set_config_item(C, "lxc.network.link", "br0") end),
    Set = [{"type", "veth"}, {"link", "br0"}, {"flags", "up"}, {"ipv4", "10.9.8.7/24"},
        {"ipv4.gateway", "10.9.8.1"}, {"type", "empty"}, {"flags", "up"}],
    [?assert(liblxc:set_config_item(C, ["lxc.network.", K], V)) || {K, V} <- Set],
    Is = fun(Key) -> liblxc:get_config_item(C, Key) end,
    ?assertEqual(<<"veth">>, Is("lxc.net.0.type")),
    ?assertEqual(<<"br0">>, Is("lxc.net.0.link")),
    ?assertEqual(<<"up">>, Is("lxc.net.0.flags")),
    ?assertEqual(<<"10.9.8.1">>, Is("lxc.net.0.ipv4.gateway")),
    ?assert(contains(Is("lxc.net.0.ipv4.address"), "10.9.8.7/24")),
    ?assertEqual(<<"empty">>, Is("lxc.net.1.type")),
    ?assertEqual(<<"br0">>, Is("lxc.network.0.link")),
    ?assert(contains(Is("lxc.network.0.ipv4"), "10.9.8.7/24")),
    ?assert(liblxc:set_config_item(C, "lxc.network.0.link", "br1")),
    ?assertEqual(<<"br1">>, Is("lxc.net.0.link")),
    ?assert(contains(liblxc:get_keys(C, "lxc.network.0"), "type")),
    ?assert(liblxc:clear_config_item(C, "lxc.network")),
    ?assertNot(lists:member(Is("lxc.net.0.type"), [<<"veth">>, <<"empty">>])),
    ?assert(liblxc:set_config_item(C, "lxc.network.type", "empty")),
    ?assertEqual(<<"empty">>, Is("lxc.net.0.type")),
    ?assert(liblxc:set_config_item(C, "lxc.network", "")),
    ?assertNotEqual(<<"empty">>, Is("lxc.net.0.type")).

%% Keys from before LXC 2.1 set, get and clear what their new names mean.
legacy_keys(Config) ->
    {C, _} = undefined(Config),
    Table = [{"lxc.utsname", "lxc.uts.name", "old"}, {"lxc.stopsignal", "lxc.signal.stop", "12"},
        {"lxc.pts", "lxc.pty.max", "7"}, {"lxc.haltsignal", "lxc.signal.halt", "10"},
        {"lxc.init_cmd", "lxc.init.cmd", "/bin/x"}, {"lxc.devttydir", "lxc.tty.dir", "tt"},
        {"lxc.console", "lxc.console.path", "none"}, {"lxc.mount", "lxc.mount.fstab", "/f"},
        {"lxc.limit.nofile", "lxc.prlimit.nofile", "100:200"},
        {"lxc.seccomp", "lxc.seccomp.profile", "/nosuch"}],
    [begin
        ?assertEqual({Old, true}, {Old, liblxc:set_config_item(C, Old, V)}),
        New1 = liblxc:get_config_item(C, New),
        ?assertEqual({New, true}, {New, contains(New1, V)}),
        ?assertEqual({Old, New1}, {Old, liblxc:get_config_item(C, Old)}),
        ?assertEqual({Old, true}, {Old, liblxc:clear_config_item(C, Old)}),
        ?assertEqual({Old, false}, {Old, contains(liblxc:get_config_item(C, New), V)})
    end || {Old, New, V} <- Table],
    ?assert(liblxc:set_config_item(C, "lxc.tty", "3")), % which liblxc cannot clear
    ?assertEqual(<<"3">>, liblxc:get_config_item(C, "lxc.tty.max")),
    ?assert(liblxc:set_config_item(C, "lxc.rootfs", "/some/dir")),
    ?assert(contains(liblxc:get_config_item(C, "lxc.rootfs.path"), "/some/dir")).

%% A file with keys from before LXC 2.1 is translated, not refused, and is not
%% rewritten by that.
legacy_file(Config) ->
    {C, _} = undefined(Config),
    File = tmp(Config, "legacy.conf"),
    Text = ["# lxc.network.type = veth\n", "lxc.utsname = legacy\n",
        "lxc.network.type = empty\n", "lxc.network.flags=up\n", "lxc.kmsg = 0\n",
        "lxc.tty = 2\n", "lxc.environment = E=1\n"],
    ok = file:write_file(File, Text),
    ?assert(liblxc:load_config(C, File)),
    ?assertEqual(<<"legacy">>, liblxc:get_config_item(C, "lxc.uts.name")),
    ?assertEqual(<<"empty">>, liblxc:get_config_item(C, "lxc.net.0.type")),
    ?assertEqual(<<"2">>, liblxc:get_config_item(C, "lxc.tty.max")),
    ?assertEqual(<<"E=1">>, liblxc:get_config_item(C, "lxc.environment")),
    ?assertEqual({ok, iolist_to_binary(Text)}, file:read_file(File)).

%% A container whose configuration on disk is from before LXC 2.1 opens, starts
%% and stops.
legacy_container(Config) ->
    Name = container(Config),
    File = filename:join([path(Config), Name, "config"]),
    {ok, New} = file:read_file(File),
    Old = lists:foldl(fun({A, B}, S) -> binary:replace(S, A, B, [global]) end, New,
        [{<<"lxc.net.0.type">>, <<"lxc.network.type">>}, {<<"lxc.uts.name">>, <<"lxc.utsname">>},
            {<<"lxc.rootfs.path">>, <<"lxc.rootfs">>}, {<<"lxc.tty.max">>, <<"lxc.tty">>},
            {<<"lxc.signal.halt">>, <<"lxc.haltsignal">>}]),
    ?assertNotEqual(New, Old),
    ok = file:write_file(File, Old),
    C = driver(Config, Name),
    ?assert(liblxc:defined(C)),
    ?assertEqual(<<"empty">>, liblxc:get_config_item(C, "lxc.net.0.type")),
    Pid = start_clean(C, Config, Name),
    ?assert(alive(Pid)),
    ?assert(liblxc:shutdown(C, 5)),
    ?assert(liblxc:destroy(C)).

%% --- Arguments ---------------------------------------------------------------------

%% Each function with good arguments, and which of them are iodata.
iodata_arguments() ->
    [{list_all_containers, [<<>>], [1]}, {list_active_containers, [<<>>], [1]},
        {list_defined_containers, [<<>>], [1]}, {list, [all, <<>>], [2]},
        {clear_config_item, [<<"lxc.uts.name">>], [1]}, {get_config_item, [<<"lxc.arch">>], [1]},
        {create, [<<"busybox">>, <<>>, <<>>, 0, []], [1, 2]}, {get_keys, [<<>>], [1]},
        {load_config, [<<>>], [1]}, {save_config, [<<>>], [1]}, {rename, [<<"new">>], [1]},
        {set_config_item, [<<"lxc.uts.name">>, <<"n">>], [1, 2]},
        {set_config_path, [<<"/">>], [1]},
        {start, [0, []], [2]}, {wait, [<<"STOPPED">>, 0], [1]},
        {get_cgroup_item, [<<"pids.max">>], [1]},
        {set_cgroup_item, [<<"pids.max">>, <<"9">>], [1, 2]},
        {get_ips, [<<"lo">>, <<"inet">>, 0], [1, 2]}].

%% Each function's integer and atom arguments, out of their range or type.
other_arguments() ->
    [{daemonize, [2]}, {daemonize, [a]}, {create, [<<>>, <<>>, <<>>, -1, []]},
        {create, [<<>>, <<>>, <<>>, 1 bsl 40, []]}, {create, [<<>>, <<>>, <<>>, a, []]},
        {create, [<<>>, <<>>, a, 0, []]}, {create, [<<>>, <<>>, #{a => 1}, 0, []]},
        {create, [<<>>, <<>>, #{dir => <<0>>}, 0, []]}, {clone, [a, <<>>, 0, <<>>]},
        {clone, [<<"n">>, a, 0, <<>>]}, {clone, [<<"n">>, <<>>, 0, a]},
        {clone, [<<"n">>, <<>>, 0, <<>>, a, 0, []]}, {clone, [<<"n">>, <<>>, 0, <<>>, <<>>, -1, []]},
        {clone, [<<"n">>, <<>>, 0, <<>>, <<>>, 1 bsl 64, []]},
        {clone, [<<"n">>, <<>>, 0, <<>>, <<>>, 0, [a]]}, {snapshot, [a]}, {snapshot, [<<0>>]},
        {snapshot_restore, [a, <<>>]}, {snapshot_restore, [<<"s">>, a]}, {snapshot_destroy, [a]},
        {checkpoint, [<<"/">>, 1, false]}, {restore, [<<"/">>, 0]}, {migrate, [dump, []]},
        {create, [<<>>, <<>>, <<>>, 0, a]}, {create, [<<>>, <<>>, <<>>, 0, [a]]},
        {create, [<<>>, <<>>, <<>>, 0, [<<0>>]]}, {create, [<<>>, <<>>, <<>>, 0, [<<"a">> | b]]},
        {shutdown, [-1]}, {shutdown, [a]}, {shutdown, [1 bsl 64]}, {shutdown, [1.0]},
        {start, [2, []]}, {start, [-1, []]}, {start, [a, []]}, {start, [0, [<<"/bin/sh">>, a]]},
        {start, [0, [<<"/bin/sh">>, <<"a", 0>>]]}, {wait, [<<"STOPPED">>, -2]},
        {wait, [<<"STOPPED">>, 1 bsl 64]}, {wait, [<<"STOPPED">>, a]}, {wait, [<<"STOPPED">>, 1.5]},
        {get_ips, [<<"lo">>, <<"inet">>, a]}, {list, [some]}, {list, [all, a]}].

%% Whatever is not iodata, or has a NUL in it, is badarg in every place, and
%% changes nothing.
bad_arguments(Config) ->
    {C, Name} = defined(Config),
    Port = port_pid(Name),
    Bad = [atom, 1.5, {}, #{}, [256], [-1], [$a | b], [$a | 1], <<1:1>>, [<<"a", 1:1>>],
        <<"a", 0, "b">>, ["a", [[0]]], [self()], make_ref(), fun erlang:node/0],
    [?assertEqual({F, Args, badarg}, {F, Args, raised(C, F, Args)})
        || {F, Good, Places} <- iodata_arguments(), N <- Places, B <- Bad,
            Args <- [replace(N, B, Good)]],
    [?assertEqual({F, Args, badarg}, {F, Args, raised(C, F, Args)})
        || {F, Args} <- other_arguments()],
    ?assertEqual(Port, port_pid(Name)),
    ?assertEqual(Name, liblxc:get_config_item(C, "lxc.uts.name")),
    ?assertEqual(<<"STOPPED">>, liblxc:state(C)).

replace(N, New, List) ->
    lists:sublist(List, N - 1) ++ [New | lists:nthtail(N, List)].

raised(C, F, Args) ->
    try apply(liblxc, F, [C | Args]) of
        Value -> {value, Value}
    catch
        error:Reason -> Reason;
        Class:Reason -> {Class, Reason}
    end.

%% A control byte, a newline above all, never gets into a configuration.
control_bytes(Config) ->
    {C, _} = defined(Config),
    [begin
        ?assertError(badarg, liblxc:set_config_item(C, "lxc.environment", ["A=1", B, "x"])),
        ?assertError(badarg, liblxc:set_config_item(C, ["lxc.environment", B], "A=1")),
        ?assertError(badarg, liblxc:set_config_item(C, "lxc.utsname", ["a", B])),
        ?assertError(badarg, liblxc:set_config_item(C, "lxc.network.link", ["a", B]))
    end || B <- [1, $\n, $\r, 27]],
    ?assert(lists:member(liblxc:get_config_item(C, "lxc.environment"), [none, <<>>])).

%% A binary, a string and nested iodata mean the same, at any depth and length.
iodata_forms(Config) ->
    {C, Name} = defined(Config),
    Forms = fun(B) ->
        Deep = lists:foldl(fun(_, A) -> [A] end, B, lists:seq(1, 10000)),
        <<H, T/binary>> = B,
        [B, binary_to_list(B), [H | T], [[[H], <<>>], [], T], Deep]
    end,
    [begin
        ?assert(liblxc:set_config_item(C, Key, Value)),
        ?assertEqual(<<"host">>, liblxc:get_config_item(C, Key))
    end || Key <- Forms(<<"lxc.uts.name">>), Value <- Forms(<<"host">>)],
    [?assert(liblxc:wait(C, S, 0)) || S <- Forms(<<"STOPPED">>)],
    [?assert(lists:member(Name, liblxc:list(C, all, P))) || P <- Forms(path(Config))],
    [?assert(liblxc:load_config(C, F)) || F <- Forms(liblxc:config_file_name(C))],
    Long = lists:duplicate(100000, $y),
    ?assert(liblxc:set_config_item(C, "lxc.environment", ["Y=", Long])),
    ?assertEqual(iolist_to_binary(["Y=", Long]), liblxc:get_config_item(C, "lxc.environment")).

%% No term that a caller can pass ends the port, however large or odd.
foreign_terms(Config) ->
    {C, Name} = undefined(Config),
    Port = port_pid(Name),
    Huge = binary:copy(<<"x">>, 17 * 1024 * 1024),
    Odd = [self(), make_ref(), fun() -> C end, <<1:3>>, Huge, 1 bsl 100, -(1 bsl 2000),
        lists:seq(1, 70000), #{a => #{}}, 'â', {{}, []}],
    [begin
        ?assertMatch(R when is_atom(R), raised(C, set_config_item, [X, X])),
        ?assertMatch(R when is_atom(R), raised(C, wait, [X, 0])),
        ?assertMatch(R when is_atom(R), raised(C, daemonize, [X])),
        ?assertError(_, erlxc_drv:call(C, name, [X]))
    end || X <- Odd],
    ?assertError(_, erlxc_drv:call(C, get_config_item, [lists:seq(1, 70000)])),
    ?assertError(_, erlxc_drv:call(C, name, [a | b])),
    ?assertEqual(Name, liblxc:name(C)),
    ?assertEqual(Port, port_pid(Name)).

%% A command that the table has no row for is undef.
undefined_command(Config) ->
    {C, Name} = undefined(Config),
    [?assertError(undef, erlxc_drv:call(C, X, [])) || X <- [nosuch, '', 'NAME', 'nämë']],
    ?assertError(undef, erlxc_drv:call(C, list_to_atom(lists:duplicate(255, $a)), [])),
    ?assertEqual(Name, liblxc:name(C)).

%% A command with another number of arguments is badarg.
wrong_arity(Config) ->
    {C, Name} = undefined(Config),
    ?assertError(badarg, erlxc_drv:call(C, name, [1])),
    ?assertError(badarg, erlxc_drv:call(C, set_config_item, [<<"lxc.uts.name">>])),
    ?assertError(badarg, erlxc_drv:call(C, wait, lists:duplicate(300, 0))),
    ?assertEqual(Name, liblxc:name(C)).

%% The table and liblxc's exports name the same functions, but for those that are
%% written in Erlang upon the others.
commands_are_exports(Config) ->
    {C, _} = undefined(Config),
    Conveniences = [{attach_run_wait, 3}, {call, 4}, {clone, 5}, {clone, 6}, {clone, 9},
        {create, 7}, {get_keys, 1}, {last_error, 1}, {list, 1}, {list, 2}, {list, 3},
        {load_config, 1}, {save_config, 1}, {start, 1}],
    %% What erlxc calls is no function of liblxc.
    Streams = [{attach, 2}, {chroot_copy, 3}, {chroot_dir, 2}, {chroot_file, 3}, {console, 0},
        {console, 1}, {start, 3}, {stats, 0}, {survey, 1}],
    Commands = liblxc:commands(C),
    ?assertEqual([], Streams -- Commands),
    Rows = [{N, A + 1} || {N, A} <- Commands -- Streams],
    Exports = liblxc:module_info(exports) -- [{module_info, 0}, {module_info, 1}],
    ?assertEqual(lists:sort(Rows), lists:usort(Rows)),
    ?assertEqual([], Rows -- Exports),
    ?assertEqual(Conveniences, lists:sort(Exports -- Rows)),
    Seed = [{list_active_containers, 2}, {list_all_containers, 2}, {list_defined_containers, 2},
        {clear_config, 1}, {clear_config_item, 2}, {config_file_name, 1}, {create, 6},
        {daemonize, 2}, {defined, 1}, {destroy, 1}, {get_config_item, 2}, {get_config_path, 1},
        {get_keys, 2}, {init_pid, 1}, {load_config, 2}, {name, 1}, {running, 1},
        {save_config, 2}, {set_config_item, 3}, {set_config_path, 2}, {shutdown, 2},
        {start, 3}, {state, 1}, {stop, 1}, {wait, 3}],
    ?assertEqual([], Seed -- Exports).

%% --- Create and destroy ---------------------------------------------------------------

%% A template makes a defined container with the configuration set before; a
%% second create is refused and harms nothing; destroy leaves no file.
create_and_destroy(Config) ->
    {C, Name} = undefined(Config),
    Dir = filename:join(path(Config), Name),
    ?assert(liblxc:set_config_item(C, "lxc.net.0.type", "empty")),
    ?assert(liblxc:create(C, "busybox", <<>>, <<>>, 0, [])),
    ?assert(liblxc:defined(C)),
    ?assert(filelib:is_regular(filename:join(Dir, "rootfs/bin/busybox"))),
    ?assertEqual(<<"empty">>, liblxc:get_config_item(C, "lxc.net.0.type")),
    refused(C, fun() -> liblxc:create(C, "busybox", <<>>, <<>>, 0, []) end),
    ?assert(filelib:is_regular(filename:join(Dir, "rootfs/bin/busybox"))),
    Pid = start(C),
    ?assert(alive(Pid)),
    ?assert(liblxc:stop(C)),
    ?assert(liblxc:destroy(C)),
    ?assertNot(liblxc:defined(C)),
    ?assertNot(filelib:is_file(Dir)),
    ?assert(liblxc:set_config_item(C, "lxc.net.0.type", "empty")),
    ?assert(liblxc:create(C, "/usr/share/lxc/templates/lxc-busybox", "dir", <<>>, 1, [])),
    ?assert(liblxc:destroy(C)).

%% Without a template the configuration alone is saved.
create_config_only(Config) ->
    {C, Name} = undefined(Config),
    ?assert(liblxc:set_config_item(C, "lxc.uts.name", "saved")),
    ?assert(liblxc:create(C, <<>>, <<>>, <<>>, 0, [])),
    ?assert(liblxc:defined(C)),
    {ok, Text} = file:read_file(filename:join([path(Config), Name, "config"])),
    ?assert(contains(Text, "saved")),
    ?assert(liblxc:destroy(C)),
    ?assertNot(filelib:is_file(filename:join(path(Config), Name))).

%% A create that cannot work says why and leaves nothing on the disk.
create_failures(Config) ->
    {C, Name} = undefined(Config),
    Fails = fun(Template, Bdev) ->
        refused(C, fun() -> liblxc:create(C, Template, Bdev, <<>>, 0, []) end),
        ?assertNot(filelib:is_file(filename:join(path(Config), Name)))
    end,
    Fails("nosuchtemplate", <<>>),
    Fails("/nosuch/template", <<>>),
    Fails("busybox", "frob"),
    ?assertNot(liblxc:defined(C)).

%% What a template writes never gets into the protocol, and it reads end-of-file.
template_output(Config) ->
    {C, Name} = undefined(Config),
    Template = script(Config, "noisy", [
        "cat >/dev/null || exit 9",
        "n=0; while [ $n -lt 300 ]; do n=$((n + 1))",
        "head -c 1000 /dev/urandom; head -c 1000 /dev/zero >&2; printf 'text\\n'; done",
        "for a in \"$@\"; do case $a in --path=*) p=${a#--path=};;",
        "--rootfs=*) r=${a#--rootfs=};; esac; done",
        "echo \"$@\" > " ++ tmp(Config, "noisy.args"),
        "mkdir -p \"${r:-$p/rootfs}/sbin\""]),
    Create = async(fun() ->
        liblxc:create(C, Template, <<>>, <<>>, 0, [<<"--one">>, ["t", <<"wo">>], "a b"])
    end),
    ?assertEqual(Name, liblxc:name(C)),
    ?assertEqual(true, await(Create, 20000)),
    {ok, Args} = file:read_file(tmp(Config, "noisy.args")),
    ?assert(contains(Args, "--one two a b")),
    ?assert(liblxc:defined(C)),
    ?assertEqual(Name, liblxc:name(C)),
    ?assert(liblxc:destroy(C)).

%% A template that fails makes create false, with a reason and without a husk,
%% whatever it did to the configuration before.
template_that_fails(Config) ->
    {C, Name} = undefined(Config),
    Dir = filename:join(path(Config), Name),
    Exit = script(Config, "fails", ["echo no such mirror >&2", "exit 3"]),
    Gone = script(Config, "removes", [["rm -f ", Dir, "/config"], "exit 0"]),
    refused(C, fun() -> liblxc:create(C, Exit, <<>>, <<>>, 0, []) end),
    ?assertNot(liblxc:defined(C)),
    ?assertNot(filelib:is_file(Dir)),
    ?assertNotEqual(true, try liblxc:create(C, Gone, <<>>, <<>>, 0, []) catch error:E -> E end),
    ?assertEqual(Name, liblxc:name(C)),
    ?assertNot(filelib:is_file(Dir)).

%% When its caller dies, a create ends: no template, no husk, and the next one
%% works.
template_killed(Config) ->
    {C, Name} = undefined(Config),
    Dir = filename:join(path(Config), Name),
    Mark = tmp(Config, [Name, ".mark"]),
    Slow = script(Config, [Name, ".template"], [": > " ++ Mark, nap(Config, Name) ++ " 60"]),
    {Caller, _} = async(fun() -> liblxc:create(C, Slow, <<>>, <<>>, 0, []) end),
    wait_file(Mark),
    ?assertNotEqual([], naps(Name)),
    exit(Caller, kill),
    eventually(fun() -> filelib:is_file(Dir) =:= false andalso naps(Name) =:= [] end, 5000),
    ?assertNot(liblxc:defined(C)),
    ?assert(liblxc:set_config_item(C, "lxc.net.0.type", "empty")),
    ?assert(liblxc:create(C, "busybox", <<>>, <<>>, 0, [])),
    ?assert(liblxc:destroy(C)).

naps(Name) ->
    [P || {process, _, Cmd} = P <- processes(Name), contains(Cmd, [Name, ".nap"])
        orelse contains(Cmd, [Name, ".template"])].

%% A running and an undefined container are not destroyed.
destroy_failures(Config) ->
    {C, Name} = defined(Config),
    {U, _} = undefined(Config),
    refused(U, fun() -> liblxc:destroy(U) end),
    Pid = start(C),
    refused(C, fun() -> liblxc:destroy(C) end),
    ?assert(alive(Pid)),
    ?assert(filelib:is_regular(filename:join(rootfs(Config, Name), "bin/busybox"))),
    ?assert(liblxc:stop(C)).

%% --- Start and stop -----------------------------------------------------------------

%% start/1 boots the container's own init, and stop returns when all is gone.
start_and_stop(Config) ->
    {C, Name} = defined(Config),
    {ok, Pid} = liblxc:start(C),
    ?assert(Pid > 1),
    ?assertEqual(Pid, liblxc:init_pid(C)),
    ?assert(alive(Pid)),
    ?assert(liblxc:stop(C)),
    ?assertNot(alive(Pid)),
    ?assertEqual(<<"STOPPED">>, liblxc:state(C)),
    ?assertEqual(-1, liblxc:init_pid(C)),
    ?assert(liblxc:stop(C)),
    {ok, Again} = liblxc:start(C, 0, <<>>),
    ?assertNotEqual(Pid, Again),
    ?assert(liblxc:stop(C)),
    Rest = fun() -> [L || L <- leftovers(Name, Config), element(1, L) =/= process] end,
    eventually(fun() -> Rest() =:= [] orelse Rest() end, 2000).

%% The third argument is the argv of init: a list, or one program.
start_argv(Config) ->
    {C, _} = defined(Config),
    {ok, Pid} = liblxc:start(C, 0, ["/bin/sleep", [<<"10">>, "00"]]),
    {ok, Cmd} = file:read_file(["/proc/", integer_to_list(Pid), "/cmdline"]),
    ?assertEqual(<<"/bin/sleep", 0, "1000", 0>>, Cmd),
    ?assert(liblxc:stop(C)),
    {ok, One} = liblxc:start(C, 0, <<"/bin/sh">>),
    ?assert(is_integer(One)),
    ?assert(liblxc:stop(C)).

%% With useinit a small init of LXC's runs the command.
start_useinit(Config) ->
    {C, _} = defined(Config),
    {ok, Pid} = liblxc:start(C, 1, erlxc_test:sleeper()),
    Command = fun() ->
        [P || P <- erlxc_test:children(Pid), File <- [lists:concat(["/proc/", P, "/cmdline"])],
            {ok, Cmd} <- [file:read_file(File)], contains(Cmd, "1000")]
    end,
    eventually(fun() -> length(Command()) =:= 1 end, 3000),
    ?assert(liblxc:stop(C)),
    ?assertNot(alive(Pid)).

%% Undefined is enoent and running is ebusy, and neither disturbs anything.
start_errors(Config) ->
    {U, _} = undefined(Config),
    ?assertEqual({error, enoent}, liblxc:start(U)),
    {C, Name} = defined(Config),
    Pid = start(C),
    ?assertEqual({error, ebusy}, liblxc:start(C)),
    ?assertEqual({error, ebusy}, liblxc:start(driver(Config, Name))),
    ?assertEqual(Pid, liblxc:init_pid(C)),
    ?assert(alive(Pid)),
    ?assert(liblxc:stop(C)).

%% An init that cannot be executed is an error with a reason, soon, and the
%% container is stopped and can be started afterwards.
start_bad_init(Config) ->
    {C, Name} = defined(Config),
    ok = file:write_file(filename:join(rootfs(Config, Name), "text"), "no program"),
    [begin
        {Ms, {Result, Why}} = timed(fun() ->
            await(async(fun() -> {liblxc:start(C, 0, [P]), liblxc:last_error(C)} end), 20000)
        end),
        ?assertMatch({error, R} when is_atom(R), Result),
        ?assertNotEqual({error, ebusy}, Result),
        ?assertNotEqual(<<>>, Why),
        among(0, 5000, Ms),
        ?assertEqual(<<"STOPPED">>, liblxc:state(C))
    end || P <- ["/nosuch/init", "/text", "/etc"]],
    Pid = start(C),
    ?assert(alive(Pid)),
    ?assert(liblxc:stop(C)).

%% An init that ends at once has been started nevertheless, and its end is one event.
short_lives(Config) ->
    {C, _} = defined(Config),
    ok = erlxc_drv:subscribe(C),
    Lives = [{["/bin/true"], 0}, {["/bin/sh", "-c", "exit 7"], 7}],
    [begin
        ?assertMatch({N, {ok, Pid}} when Pid > 1, {N, liblxc:start(C, 0, Argv)}),
        ?assertEqual({N, {exit_status, Status}}, {N, exited(C, 5000)})
    end || N <- lists:seq(1, soak(10)), {Argv, Status} <- Lives],
    ?assertEqual(<<"STOPPED">>, liblxc:state(C)),
    ok = erlxc_drv:unsubscribe(C),
    ?assertEqual(none, exited(C, 0)).

%% What the next event of an end says; none within the time.
exited(C, Ms) ->
    receive {erlxc, C, {exited, How}} -> How
    after Ms -> none
    end.

%% running is true in every state but STOPPED.
running_and_state(Config) ->
    {C, _} = defined(Config),
    ?assertNot(liblxc:running(C)),
    start(C),
    ?assertEqual(<<"RUNNING">>, liblxc:state(C)),
    ?assert(liblxc:running(C)),
    ?assert(liblxc:freeze(C)),
    ?assert(liblxc:running(C)),
    ?assert(liblxc:stop(C)),
    ?assertNot(liblxc:running(C)).

%% --- wait ------------------------------------------------------------------------------

%% A timeout of 0 compares and returns, in whatever state (liblxc blocks for ever).
wait_zero(Config) ->
    {C, _} = defined(Config),
    Zero = fun(State) ->
        {Ms, R} = timed(fun() -> liblxc:wait(C, State, 0) end),
        among(0, 1000, Ms),
        R
    end,
    ?assert(Zero("STOPPED")),
    ?assertNot(Zero("RUNNING")),
    start(C),
    ?assert(Zero("RUNNING")),
    [?assertNot(Zero(S)) || S <- ["STOPPED", "FROZEN", "ABORTING", "STARTING"]],
    ?assert(liblxc:stop(C)).

%% A second is a second, whether the container runs or not.
wait_second(Config) ->
    {C, _} = defined(Config),
    Second = fun(State) ->
        {Ms, R} = timed(fun() -> liblxc:wait(C, State, 1) end),
        ?assertNot(R),
        among(990, 1500, Ms)
    end,
    Second("RUNNING"),
    start(C),
    Second("STOPPED"),
    Second("FROZEN|STOPPED"),
    ?assert(liblxc:stop(C)).

%% Any of several states will do.
wait_alternatives(Config) ->
    {C, _} = defined(Config),
    [?assert(liblxc:wait(C, S, T))
        || S <- ["RUNNING|STOPPED", "STOPPED|FROZEN"], T <- [0, 1, infinity]],
    ?assertNot(liblxc:wait(C, "RUNNING|FROZEN", 0)),
    start(C),
    [?assert(liblxc:wait(C, "RUNNING|STOPPED", T)) || T <- [0, 1, -1, infinity]],
    ?assert(liblxc:stop(C)).

%% A wait without an end is woken by another process's stop.
wait_forever(Config) ->
    {C, _} = defined(Config),
    start(C),
    Waits = [async(fun() -> liblxc:wait(C, "STOPPED", T) end) || T <- [infinity, -1, 30]],
    ?assert(liblxc:running(C)),
    ?assert(liblxc:stop(C)),
    ?assertEqual([true, true, true], [await(W, 3000) || W <- Waits]).

%% A wait for RUNNING that begins before the start sees it.
wait_for_start(Config) ->
    {C, _} = defined(Config),
    Waits = [async(fun() -> liblxc:wait(C, "RUNNING", T) end) || T <- [20, infinity]],
    ?assertNot(liblxc:running(C)),
    start(C),
    ?assertEqual([true, true], [await(W, 3000) || W <- Waits]),
    ?assert(liblxc:stop(C)).

%% While many wait, other calls are answered at once.
wait_holds_up_nobody(Config) ->
    {C, Name} = defined(Config),
    start(C),
    Waits = [async(fun() -> liblxc:wait(C, "STOPPED", 30) end) || _ <- lists:seq(1, 20)],
    {Ms, _} = timed(fun() ->
        ?assertEqual(Name, liblxc:name(C)),
        ?assertEqual(<<"RUNNING">>, liblxc:state(C)),
        ?assert(liblxc:freeze(C)),
        ?assert(liblxc:unfreeze(C))
    end),
    among(0, 2000, Ms),
    ?assert(liblxc:stop(C)),
    ?assertEqual([true], lists:usort([await(W, 5000) || W <- Waits])).

%% An unknown state is badarg, alone or beside a known one.
wait_arguments(Config) ->
    {C, _} = defined(Config),
    [?assertError(badarg, liblxc:wait(C, S, 0))
        || S <- ["NOSUCH", "stopped", "", "|", "STOPPED|", "STOPPED|NOSUCH", "STOPPED RUNNING"]],
    [?assertError(badarg, liblxc:wait(C, "STOPPED", T)) || T <- [-2, foo, 1.0, "1"]].

%% --- shutdown, reboot ----------------------------------------------------------------

%% Timeout 0 sends the signal and returns.
shutdown_zero(Config) ->
    {C, Name} = defined(Config),
    start_clean(C, Config, Name),
    {Ms, true} = timed(fun() -> liblxc:shutdown(C, 0) end),
    among(0, 1000, Ms),
    ?assert(liblxc:wait(C, "STOPPED", 5)),
    ?assert(filelib:is_regular(filename:join(rootfs(Config, Name), "halted"))).

%% A container that ends in time is true, when it has ended.
shutdown_clean(Config) ->
    {C, Name} = defined(Config),
    Pid = start_clean(C, Config, Name),
    {Ms, true} = timed(fun() -> liblxc:shutdown(C, 20) end),
    among(0, 4000, Ms),
    ?assertNot(alive(Pid)),
    ?assertEqual(<<"STOPPED">>, liblxc:state(C)).

%% An init that ignores the signal is false after Timeout, and no later, and runs on.
shutdown_ignored(Config) ->
    {C, _} = defined(Config),
    Pid = start(C),
    {Ms, _} = timed(fun() -> refused(C, fun() -> liblxc:shutdown(C, 1) end) end),
    among(900, 1700, Ms),
    ?assertEqual(Pid, liblxc:init_pid(C)),
    ?assert(liblxc:stop(C)).

%% What does not run is shut down already.
shutdown_stopped(Config) ->
    {C, _} = defined(Config),
    [?assert(liblxc:shutdown(C, T)) || T <- [0, 1]].

%% A reboot gives a new init in the same, running container; none when stopped.
reboot(Config) ->
    {C, Name} = defined(Config),
    refused(C, fun() -> liblxc:reboot(C) end),
    Pid = start_clean(C, Config, Name),
    ?assert(liblxc:reboot(C)),
    New = eventually(fun() ->
        case liblxc:init_pid(C) of
            P when P =/= Pid, P > 1 -> {ok, P};
            P -> P
        end
    end, 5000),
    ?assert(liblxc:wait(C, "RUNNING", 5)),
    ?assert(alive(New)),
    ?assertNot(alive(Pid)),
    ?assert(liblxc:stop(C)),
    ?assertNot(alive(New)).

%% --- freeze --------------------------------------------------------------------------

%% A frozen container is FROZEN until it is unfrozen.
freeze(Config) ->
    {C, _} = defined(Config),
    Pid = start(C),
    Wait = async(fun() -> liblxc:wait(C, "FROZEN", 10) end),
    ?assert(liblxc:freeze(C)),
    ?assertEqual(<<"FROZEN">>, liblxc:state(C)),
    ?assertEqual(true, await(Wait, 3000)),
    ?assertEqual(Pid, liblxc:init_pid(C)),
    ?assert(liblxc:unfreeze(C)),
    ?assert(liblxc:wait(C, "RUNNING", 5)),
    ?assertEqual(<<"RUNNING">>, liblxc:state(C)),
    ?assert(liblxc:stop(C)).

%% What does not run is not frozen.
freeze_stopped(Config) ->
    {C, _} = defined(Config),
    {U, _} = undefined(Config),
    [refused(X, fun() -> liblxc:F(X) end) || X <- [C, U], F <- [freeze, unfreeze]].

%% A frozen container stops.
stop_frozen(Config) ->
    {C, _} = defined(Config),
    Pid = start(C),
    ?assert(liblxc:freeze(C)),
    {Ms, true} = timed(fun() -> liblxc:stop(C) end),
    among(0, 3000, Ms),
    ?assertNot(alive(Pid)),
    ?assertEqual(<<"STOPPED">>, liblxc:state(C)).

%% --- rename --------------------------------------------------------------------------

%% After a rename the handle is the container's under the new name, for all uses.
rename(Config) ->
    {C, Name} = defined(Config),
    New = name(Config),
    ?assert(liblxc:rename(C, New)),
    ?assertEqual(New, liblxc:name(C)),
    ?assert(liblxc:defined(C)),
    ?assertNot(filelib:is_file(filename:join(path(Config), Name))),
    ?assert(contains(liblxc:get_config_item(C, "lxc.rootfs.path"), New)),
    Pid = start_clean(C, Config, New),
    ?assertEqual(Pid, liblxc:init_pid(C)),
    ?assertEqual(<<"RUNNING">>, liblxc:state(C)),
    ?assert(liblxc:stop(C)),
    ?assert(liblxc:destroy(C)),
    ?assertNot(filelib:is_file(filename:join(path(Config), New))).

%% Neither onto another, nor while running, nor without a container, nor to a
%% name that leaves the lxcpath.
rename_failures(Config) ->
    {C, Name} = defined(Config),
    {U, _} = undefined(Config),
    Other = container(Config),
    refused(C, fun() -> liblxc:rename(C, Other) end),
    refused(U, fun() -> liblxc:rename(U, name(Config)) end),
    [?assertError(badarg, liblxc:rename(C, N)) || N <- bad_names()],
    ?assert(filelib:is_regular(filename:join(rootfs(Config, Other), "bin/busybox"))),
    start(C),
    refused(C, fun() -> liblxc:rename(C, name(Config)) end),
    ?assert(liblxc:stop(C)),
    ?assertEqual(Name, liblxc:name(C)),
    ?assert(liblxc:defined(C)).

bad_names() ->
    [<<>>, ".", "..", "../x", "a/b", "/", "a b", "a\n", <<"a", 0>>, "a\e[0m", [200],
        lists:duplicate(256, $a)].

%% --- cgroups, network -------------------------------------------------------------------

%% A limit that is set is the kernel's, and reads back.
cgroup_items(Config) ->
    {C, Name} = defined(Config),
    start(C),
    ?assert(liblxc:set_cgroup_item(C, "pids.max", "77")),
    ?assertEqual(<<"77">>, string:trim(liblxc:get_cgroup_item(C, "pids.max"))),
    Files = filelib:wildcard("/sys/fs/cgroup/{.,pids,unified}/lxc.payload."
        ++ binary_to_list(Name) ++ "/pids.max"),
    ?assert(lists:member({ok, <<"77\n">>}, [file:read_file(F) || F <- Files])),
    ?assert(liblxc:stop(C)).

%% An unknown item, or one of a stopped container, is a failure with a reason.
cgroup_failures(Config) ->
    {C, _} = defined(Config),
    Both = fun() ->
        why(C, none, fun() -> liblxc:get_cgroup_item(C, "nosuch.item") end),
        refused(C, fun() -> liblxc:set_cgroup_item(C, "nosuch.item", "1") end)
    end,
    Both(),
    why(C, none, fun() -> liblxc:get_cgroup_item(C, "pids.max") end),
    start(C),
    Both(),
    refused(C, fun() -> liblxc:set_cgroup_item(C, "pids.max", "many") end),
    ?assert(liblxc:stop(C)).

%% The container's interfaces, not the host's; none when stopped.
interfaces(Config) ->
    {C, _} = defined(Config),
    ?assertEqual([], liblxc:get_interfaces(C)),
    start(C),
    ?assertEqual([<<"lo">>], liblxc:get_interfaces(C)),
    ?assert(liblxc:stop(C)).

%% Addresses by interface and family; none is the empty list.
ips(Config) ->
    C = driver(Config, container(Config, ["lxc.net.0.flags = up"])),
    ?assertEqual([], liblxc:get_ips(C, "lo", "inet", 0)),
    start(C),
    ?assertEqual([<<"127.0.0.1">>], liblxc:get_ips(C, "lo", "inet", 0)),
    ?assertEqual([], liblxc:get_ips(C, <<>>, <<>>, 0)),
    ?assertEqual([], liblxc:get_ips(C, "nosuch0", "inet", 0)),
    ?assert(liblxc:stop(C)).

%% --- lists ----------------------------------------------------------------------------

%% Lists are sorted, and each holds the containers of its kind.
lists(Config) ->
    {C, Name} = defined(Config),
    {D, Other} = defined(Config),
    {_, Undefined} = undefined(Config),
    start(C),
    start(D),
    Defined = liblxc:list_defined_containers(C, <<>>),
    Active = liblxc:list_active_containers(C, <<>>),
    All = liblxc:list_all_containers(C, <<>>),
    [?assertEqual(L, lists:usort(L)) || L <- [Defined, Active, All]],
    [?assert(lists:member(N, L)) || L <- [Defined, Active, All], N <- [Name, Other]],
    [?assertNot(lists:member(Undefined, L)) || L <- [Defined, Active, All]],
    ?assertEqual(All, liblxc:list(C)),
    ?assertEqual([All, Active, Defined], [liblxc:list(C, T) || T <- [all, active, defined]]),
    ?assertEqual([All, Active, Defined],
        [liblxc:list(C, T, path(Config)) || T <- [all, active, defined]]),
    ?assert(liblxc:stop(C)),
    ?assertNot(lists:member(Name, liblxc:list(C, active))),
    ?assert(lists:member(Name, liblxc:list(C, all))),
    ?assert(liblxc:stop(D)).

%% Another path is listed, and only what is a container in it.
lists_of_a_path(Config) ->
    {C, _} = undefined(Config),
    Dir = tmp(Config, "listed"),
    Names = [<<"b">>, <<"a">>, <<"z.9">>, <<"A">>, <<"a_b">>],
    [begin
        ok = filelib:ensure_dir(filename:join([Dir, N, "x"])),
        ok = file:write_file(filename:join([Dir, N, "config"]), "")
    end || N <- Names],
    ok = file:make_dir(filename:join(Dir, "nothing")),
    Sorted = lists:sort(Names),
    ?assertEqual([Sorted, Sorted, []], [liblxc:list(C, T, Dir) || T <- [all, defined, active]]),
    ?assertEqual([], liblxc:list(C, all, tmp(Config, "nosuch"))).

%% A monitor is found at its socket whether or not liblxc hashes the name of that, which
%% it does from 106 bytes on.
long_paths(Config) ->
    [begin
        Name = container(Config),
        Length = Bytes - byte_size(<<"//command">>) - byte_size(Name),
        Short = tmp(Config, "long"),
        Dir = Short ++ lists:duplicate(Length - length(Short), $x),
        ok = file:make_symlink(path(Config), Dir),
        {ok, C} = erlxc_drv:start([{name, Name}, {path, Dir}, {progname, erlxc_test:program()}]),
        Init = start(C),
        ?assertEqual(<<"RUNNING">>, liblxc:state(C)),
        signal(ppid(Init), "STOP"),
        {Rows, _} = erlxc_drv:call(C, survey, [Dir]),
        signal(ppid(Init), "CONT"),
        ?assertMatch({Bytes, [#{state := unknown, pid := Init}]},
            {Bytes, [R || #{name := N} = R <- Rows, N =:= Name]}),
        ok = erlxc_drv:stop(C)
    end || Bytes <- [104, 105, 106, 107]].

%% --- callers ----------------------------------------------------------------------------

%% Like errno, the reason is the calling process's own.
last_error_per_process(Config) ->
    {C, _} = defined(Config),
    Fail = fun(Key) -> refused(C, fun() -> liblxc:set_config_item(C, Key, "1") end) end,
    Whys = [{K, await(async(fun() -> Fail(K) end), 10000)}
        || N <- lists:seq(1, 5), K <- ["lxc.bogus." ++ integer_to_list(N)]],
    [?assertEqual({K, true}, {K, contains(W, K)}) || {K, W} <- Whys],
    ?assertEqual(<<>>, liblxc:last_error(C)),
    ?assertEqual(false, liblxc:set_config_item(C, "lxc.bogus.me", "1")),
    Fail("lxc.bogus.you"),
    ?assert(contains(liblxc:last_error(C), "lxc.bogus.me")).

%% Fifty processes with a hundred calls each get their own answers.
many_callers(Config) ->
    {C, Name} = defined(Config),
    File = liblxc:config_file_name(C),
    Callers = [async(fun() -> [mixed(C, Name, File, P, N) || N <- lists:seq(1, soak(100))], ok end)
        || P <- lists:seq(1, 50)],
    ?assertEqual([ok], lists:usort([await(A, 50000) || A <- Callers])).

mixed(C, Name, File, P, N) ->
    Bogus = lists:concat(["lxc.bogus.", P, ".", N]),
    case (P + N) rem 8 of
        0 -> ?assertEqual(Name, liblxc:name(C));
        1 -> ?assertEqual(Name, liblxc:get_config_item(C, "lxc.uts.name"));
        2 -> ?assertEqual(none, liblxc:get_config_item(C, Bogus));
        3 -> ?assert(liblxc:defined(C));
        4 -> ?assertEqual(<<"STOPPED">>, liblxc:state(C));
        5 -> ?assertEqual(File, liblxc:config_file_name(C));
        6 -> ?assertError(badarg, liblxc:wait(C, Bogus, 0));
        7 ->
            ?assertNot(liblxc:set_config_item(C, Bogus, "1")),
            ?assert(contains(liblxc:last_error(C), Bogus))
    end.

%% Log lines, of liblxc's and of a template's, go to logger with the container's name,
%% from the driver's level on.
log_lines(Config) ->
    #{level := Primary} = logger:get_primary_config(),
    ok = logger:add_handler(?MODULE, ?MODULE, #{level => all, config => #{to => self()}}),
    ok = logger:set_primary_config(level, all),
    try
        [?assertEqual({Level, Lines}, {Level, logged(Config, Level)}) || {Level, Lines} <-
            [{debug, [error, notice]}, {notice, [error, notice]}, {error, [error]}, {fatal, []}]]
    after
        logger:set_primary_config(level, Primary),
        logger:remove_handler(?MODULE)
    end.

%% The levels that a driver's lines have; when it has ended, all were handled.
logged(Config, Level) ->
    Template = script(Config, "says", ["echo no such mirror", "exit 3"]),
    Name = name(Config),
    C = driver(Config, Name, [{log, Level}]),
    ?assertNot(liblxc:set_config_item(C, "lxc.bogus.key", "1")),
    ?assertNot(liblxc:create(C, Template, <<>>, <<>>, 0, [])),
    ok = erlxc_drv:stop(C),
    lists:usort(lines_of(Name)).

lines_of(Name) ->
    receive {logged, Level, #{container := Name}} -> [Level | lines_of(Name)]
    after 0 -> []
    end.

%% logger's callback.
log(#{level := Level, meta := Meta}, #{config := #{to := Pid}}) ->
    Pid ! {logged, Level, Meta}.

%% The seed's example, call by call, but for its template and lxcpath.
seed_example(Config) ->
    Name = name(Config),
    Bridge = list_to_binary(["br", proplists:get_value(token, Config)]),
    case sh("ip link add ~s type bridge 2>&1", [Bridge]) of
        "" ->
            try seed(Config, Name, Bridge)
            after sh("ip link del ~s", [Bridge])
            end;
        Why ->
            {skip, "no bridge: " ++ Why}
    end.

seed(Config, Name, Bridge) ->
    {ok, Container} = erlxc_drv:start([{name, Name} | drv_opts(Config)]),
    liblxc:set_config_item(Container, <<"lxc.network.type">>, <<"veth">>),
    liblxc:set_config_item(Container, <<"lxc.network.link">>, Bridge),
    liblxc:set_config_item(Container, <<"lxc.network.flags">>, <<"up">>),
    true = liblxc:create(Container, <<"busybox">>, <<>>, <<>>, 0, []),
    %% Without a DHCP server the template's rcS would take a minute.
    ok = file:write_file(filename:join(rootfs(Config, Name), "etc/init.d/rcS"), "#!/bin/sh\n"),
    {ok, Pid} = liblxc:start(Container),
    eventually(fun() -> erlxc_test:children(Pid) =/= [] end, 5000),
    ?assertEqual([<<"eth0">>, <<"lo">>], lists:sort(liblxc:get_interfaces(Container))),
    {ok, Ports} = file:list_dir(erlxc_test:flatten(["/sys/class/net/", Bridge, "/brif"])),
    ?assertMatch([_], Ports),
    true = liblxc:shutdown(Container, 0),
    true = liblxc:wait(Container, <<"STOPPED">>, 20),
    eventually(fun() -> liblxc:destroy(Container) end, 5000),
    ?assertNot(liblxc:defined(Container)).
