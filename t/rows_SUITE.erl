%% SPDX-License-Identifier: ISC
%% The rows of lxccontainer.h beyond those of liblxc_SUITE, on real containers.
-module(rows_SUITE).

-include_lib("kernel/include/file.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlxc_test, [
    container/1, container/2, rootfs/2, tmp/2, name/1, driver/2, driver/3, start/1, start_clean/3,
    up/1, up/2, expect/2, script/3, eventually/2, timed/1, among/3, async/1, await/2, sh/2,
    ppid/1, signal/2, flatten/1
]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [running_config, may_control, close_all_fds, reboot2, reboot2_failures, device_nodes,
        device_failures, device_links, interfaces, interface_failures, console_log,
        console_log_failures, ttys, tty_waits, tty_failures, mounts, mount_failures, set_timeout,
        run_wait, run_wait_failures, library, stuck_monitor, bad_arguments, table].

init_per_suite(Config) ->
    erlxc_test:engine(lxc, erlxc_test:setup(Config)).

end_per_suite(Config) ->
    erlxc_test:teardown(Config).

%% --- Helpers -----------------------------------------------------------------

%% A call fails with Result, and its reason has Part in it: asked in a new process,
%% which has no reason of an older failure.
fails(C, Result, Part, Fun) ->
    {Got, Why} = await(async(fun() -> {Fun(), liblxc:last_error(C)} end), 30000),
    ?assertEqual({Result, {Why, true}}, {Got, {Why, has(Why, Part)}}).

has(Bytes, Part) ->
    binary:match(iolist_to_binary(Bytes), iolist_to_binary(Part)) =/= nomatch.

stopped(Config) ->
    driver(Config, container(Config)).

out(C, Argv) ->
    {ok, #{status := {exit_status, 0}, stdout := Out}} = erlxc:run(C, Argv, [{timeout, 10000}]),
    Out.

status(C, Argv) ->
    {ok, #{status := Status}} = erlxc:run(C, Argv, [{timeout, 10000}]),
    Status.

raised(Fun) ->
    try Fun() of R -> {returned, R} catch error:Class -> Class end.

down(C) ->
    ?assert(liblxc:stop(C)).

%% --- A running container ---------------------------------------------------------

%% What the container runs with is not what is set afterwards; none says why.
running_config(Config) ->
    Name = container(Config, ["lxc.environment = A=1", "lxc.environment = B=2"]),
    C = driver(Config, Name),
    Get = fun(Key) -> fun() -> liblxc:get_running_config_item(C, Key) end end,
    fails(C, none, "not running", Get("lxc.uts.name")),
    start(C),
    ?assert(liblxc:set_config_item(C, "lxc.uts.name", "other")),
    ?assertEqual(Name, liblxc:get_running_config_item(C, "lxc.uts.name")),
    ?assertEqual(Name, liblxc:get_running_config_item(C, "lxc.utsname")),
    ?assertEqual(<<"A=1\nB=2">>, liblxc:get_running_config_item(C, "lxc.environment")),
    fails(C, none, "no such key", Get("lxc.bogus")),
    fails(C, none, "no value", Get("lxc.console.path")),
    ?assert(liblxc:clear_config(C)),
    fails(C, none, "no configuration", Get("lxc.uts.name")),
    down(C).

%% A container of our own may be controlled, running or not; its monitor is asked.
may_control(Config) ->
    C = stopped(Config),
    ?assert(liblxc:may_control(C)),
    start(C),
    ?assert(liblxc:may_control(C)),
    down(C).

%% It takes a configuration, and changes nothing: the container starts, and a start that
%% fails still says why.
close_all_fds(Config) ->
    C = stopped(Config),
    ?assert(liblxc:want_close_all_fds(C, 1)),
    Init = start(C),
    {ok, Fds} = file:list_dir(lists:concat(["/proc/", Init, "/fd"])),
    ?assertEqual([], [F || F <- Fds, list_to_integer(F) > 2]),
    down(C),
    {Result, Why} = await(async(fun() ->
        {liblxc:start(C, 0, ["/no/such/init"]), liblxc:last_error(C)}
    end), 30000),
    ?assertMatch({error, enoent}, Result),
    ?assert(has(Why, "/no/such/init")),
    ?assert(liblxc:want_close_all_fds(C, 0)),
    ?assert(liblxc:clear_config(C)),
    fails(C, false, "no configuration", fun() -> liblxc:want_close_all_fds(C, 1) end).

%% It is true when the container runs again.
reboot2(Config) ->
    Name = container(Config),
    C = driver(Config, Name),
    First = start_clean(C, Config, Name),
    ?assert(liblxc:reboot2(C, 20)),
    Second = liblxc:init_pid(C),
    ?assert(Second > 1),
    ?assertNotEqual(First, Second),
    down(C).

%% It is bounded by its timeout, and says whether that was it.
reboot2_failures(Config) ->
    Name = container(Config),
    C = driver(Config, Name),
    fails(C, false, "not running", fun() -> liblxc:reboot2(C, 5) end),
    fails(C, false, "not running", fun() -> liblxc:reboot2(C, 0) end),
    start(C),
    {Ms, _} = timed(fun() -> fails(C, false, "timeout", fun() -> liblxc:reboot2(C, 1) end) end),
    among(900, 2500, Ms),
    {Zero, true} = timed(fun() -> liblxc:reboot2(C, 0) end),
    among(0, 500, Zero),
    Waiting = async(fun() -> {liblxc:reboot2(C, infinity), liblxc:last_error(C)} end),
    eventually(fun() -> erlxc_test:comm(hd(jobs(Name))) =:= <<"erlxc-job">> end, 5000),
    down(C),
    {false, Why} = await(Waiting, 10000),
    ?assertNotEqual(<<>>, Why).

jobs(Name) ->
    Port = erlxc_test:port_pid(Name),
    [P || P <- erlxc_test:children(Port), erlxc_test:comm(P) =:= <<"erlxc-job">>] ++ [Port].

%% --- Devices, interfaces, mounts ---------------------------------------------------

%% A device under another name than the host's can be used as long as it is there, and
%% only then; it is the container's root's, with the host's mode.
device_nodes(Config) ->
    {C, Name, _} = up(Config, ["lxc.cgroup.devices.deny = a", "lxc.cgroup2.devices.deny = a"]),
    Read = ["/bin/head", "-c", "3", "/d/e/void"],
    {ok, #file_info{mode = Mode}} = file:read_file_info("/dev/zero"),
    ?assert(liblxc:add_device_node(C, "/dev/zero", "/d/e/void")),
    ?assertEqual(<<0, 0, 0>>, out(C, Read)),
    {ok, Info} = file:read_file_info(filename:join(rootfs(Config, Name), "d/e/void")),
    ?assertMatch(#file_info{mode = Mode, uid = 0, gid = 0, type = device}, Info),
    ?assert(liblxc:add_device_node(C, "/dev/zero", "/d/e/void")),
    ?assert(liblxc:add_device_node(C, "/dev/zero", <<>>)),
    ?assertEqual(<<0>>, out(C, ["/bin/head", "-c", "1", "/dev/zero"])),
    ?assert(liblxc:remove_device_node(C, "/dev/zero", "/d/e/void")),
    ?assertNotEqual({exit_status, 0}, status(C, Read)),
    ?assertNotEqual({exit_status, 0}, status(C, ["/bin/head", "-c", "1", "/dev/zero"])),
    down(C).

%% What is no device, or not there, is refused, and nothing else is removed for it.
device_failures(Config) ->
    {C, Name, _} = up(Config),
    Add = fun(S, T) -> fun() -> liblxc:add_device_node(C, S, T) end end,
    Remove = fun(S, T) -> fun() -> liblxc:remove_device_node(C, S, T) end end,
    fails(C, false, "No such device", Add("/etc/passwd", "/dev/x")),
    fails(C, false, "No such file", Add("/dev/nosuch", "/dev/x")),
    fails(C, false, "Not a directory", Add("/dev/zero", "/bin/busybox/x")),
    fails(C, false, "Is a directory", Add("/dev/zero", "/bin")),
    fails(C, false, "No such file", Remove("/dev/zero", "/no/such")),
    ?assertNot(filelib:is_dir(filename:join(rootfs(Config, Name), "no"))),
    [fails(C, false, "No such device", Remove("/dev/full", T)) || T <- ["/bin/busybox", "/dev/zero"]],
    ?assertEqual(<<0>>, out(C, ["/bin/head", "-c", "1", "/dev/zero"])),
    ?assert(filelib:is_regular(filename:join(rootfs(Config, Name), "bin/busybox"))),
    down(C),
    fails(C, false, "not running", Add("/dev/zero", "/dev/x")),
    fails(C, false, "not running", Remove("/dev/zero", "/dev/x")).

%% No link of the container's leads to the host.
device_links(Config) ->
    {C, Name, _} = up(Config),
    Root = rootfs(Config, Name),
    Outside = tmp(Config, "outside"),
    ok = file:make_dir(Outside),
    ok = file:make_symlink(Outside, filename:join(Root, "esc")),
    ok = file:make_symlink(lists:append(lists:duplicate(12, "../")) ++ Outside,
        filename:join(Root, "up")),
    _ = [liblxc:add_device_node(C, "/dev/zero", [Link, "/zero"]) || Link <- ["/esc", "/up"]],
    ?assertEqual({ok, []}, file:list_dir(Outside)),
    down(C).

%% An interface goes into the container under the name that was asked for, and back.
interfaces(Config) ->
    {C, _, _} = up(Config),
    with_interface(Config, fun(If) ->
        ?assert(liblxc:attach_interface(C, If, "eth7")),
        ?assertEqual([<<"eth7">>, <<"lo">>], lists:sort(liblxc:get_interfaces(C))),
        ?assertNot(on_host(If)),
        ?assert(liblxc:detach_interface(C, "eth7", If)),
        ?assertEqual([<<"lo">>], liblxc:get_interfaces(C)),
        ?assert(on_host(If)),
        ?assert(liblxc:attach_interface(C, If, <<>>)),
        ?assert(lists:member(list_to_binary(If), liblxc:get_interfaces(C))),
        ?assert(liblxc:detach_interface(C, If, <<>>)),
        ?assert(on_host(If))
    end),
    down(C).

with_interface(Config, Fun) ->
    Token = proplists:get_value(token, Config),
    [If, Peer] = [lists:sublist(End ++ Token, 15) || End <- ["vi", "vp"]],
    "" = sh("ip link add ~s type veth peer name ~s && ip link set ~s up", [If, Peer, If]),
    try Fun(If) after sh("ip link del ~s 2>&1", [Peer]) end.

on_host(If) -> filelib:is_dir("/sys/class/net/" ++ If).
is_up(If) -> has(sh("ip link show ~s", [If]), "UP").

%% What cannot be moved stays as it is, and the reason is told.
interface_failures(Config) ->
    {C, _, _} = up(Config),
    Attach = fun(I, N) -> fun() -> liblxc:attach_interface(C, I, N) end end,
    Detach = fun(I, N) -> fun() -> liblxc:detach_interface(C, I, N) end end,
    with_interface(Config, fun(If) ->
        fails(C, false, "No such device", Attach("nosuch0", <<>>)),
        fails(C, false, "exists", Attach(If, "lo")),
        ?assert(on_host(If)),
        fails(C, false, "nosuch0", Detach("nosuch0", <<>>)),
        fails(C, false, "exists", Detach("lo", If)),
        sh("ip link set ~s up", [If]),
        down(C),
        fails(C, false, "not running", Attach(If, <<>>)),
        ?assert(is_up(If)),
        fails(C, false, "not running", Detach("lo", "nosuch0"))
    end).

%% The monitor's part of the host is a directory that is shared: here in a mount
%% namespace of the port's own, which ends with it.
sharing(Config, Lines) ->
    Dir = tmp(Config, "shared" ++ integer_to_list(erlang:unique_integer([positive]))),
    ok = file:make_dir(Dir),
    Enter = script(Config, "enter", ["set -e", "dir=$1", "shift",
        "mount -t tmpfs none \"$dir\"", "mount --make-shared \"$dir\"", "echo hello >$dir/file",
        "mkdir \"$dir\"/some && echo there >\"$dir\"/some/thing", "exec \"$@\""]),
    Name = container(Config, ["lxc.mount.auto = shmounts:" ++ Dir | Lines]),
    {driver(Config, Name, [{exec, ["unshare", "-m", Enter, Dir]}, {shutdown, 0}]), Dir}.

%% A directory, a file and a new file system of the host appear in the container with the
%% flags given, and go again.
mounts(Config) ->
    {C, Dir} = sharing(Config, []),
    start(C),
    ?assert(liblxc:mount(C, [Dir, "/some"], "/mnt/some", <<>>, [bind], <<>>)),
    ?assertEqual(<<"there\n">>, out(C, ["/bin/cat", "/mnt/some/thing"])),
    ?assert(liblxc:mount(C, [Dir, "/file"], "/mnt/file", <<>>, 4096, <<>>)),
    ?assertEqual(<<"hello\n">>, out(C, ["/bin/cat", "/mnt/file"])),
    ?assert(liblxc:mount(C, <<>>, "/mnt/ram", "tmpfs", [ro, nosuid], "size=8k,mode=711")),
    Mounts = out(C, ["/bin/cat", "/proc/self/mounts"]),
    {match, [Options]} = re:run(Mounts, "/mnt/ram tmpfs (\\S+)", [{capture, [1], binary}]),
    [?assert(has(Options, O)) || O <- ["ro,", "nosuid", "size=8k", "mode=711"]],
    [?assert(liblxc:umount(C, T, 0)) || T <- ["/mnt/file", "/mnt/ram"]],
    ?assert(liblxc:umount(C, "/mnt/some", [detach])),
    ?assertNot(has(out(C, ["/bin/cat", "/proc/self/mounts"]), " /mnt/")),
    down(C).

%% Nothing is mounted, and the reason is told.
mount_failures(Config) ->
    {C, Dir} = sharing(Config, []),
    Mount = fun(S, T) -> fun() -> liblxc:mount(C, S, T, <<>>, [bind], <<>>) end end,
    Umount = fun(T) -> fun() -> liblxc:umount(C, T, []) end end,
    fails(C, false, "not running", Mount(Dir, "/mnt")),
    fails(C, false, "not running", Umount("/mnt")),
    start(C),
    fails(C, false, "/no/such", Mount("/no/such", "/mnt/x")),
    fails(C, false, "No such device", fun() ->
        liblxc:mount(C, <<>>, "/mnt/x", "nosuchfs", 0, <<>>)
    end),
    fails(C, false, "Invalid argument", Umount("/mnt")),
    fails(C, false, "No such file", Umount("/no/such")),
    down(C),
    {D, _, _} = up(Config),
    fails(D, false, "shared mountpoint", fun() ->
        liblxc:mount(D, "/tmp", "/mnt", <<>>, [bind], <<>>)
    end),
    down(D).

%% --- The console and the ttys --------------------------------------------------------

%% What was written to the console is read once, in the pieces asked for, or cleared.
console_log(Config) ->
    {C, _, _} = up(Config, ["lxc.console.buffer.size = 16KB"]),
    Say = fun(Text) ->
        {exit_status, 0} = status(C, ["/bin/sh", "-c", ["echo ", Text, " >/dev/console"]])
    end,
    Logged = fun(Options, Part) ->
        eventually(fun() ->
            case liblxc:console_log(C, Options) of
                <<>> -> empty;
                Bytes -> {ok, {Bytes, has(Bytes, Part)}}
            end
        end, 5000)
    end,
    ?assertEqual(<<>>, liblxc:console_log(C, #{})),
    Say("one"),
    ?assertEqual({<<"one\r\n">>, true}, Logged(#{}, "one")),
    ?assertEqual(<<>>, liblxc:console_log(C, #{read => true})),
    Say("twothree"),
    ?assertEqual({<<"two">>, true}, Logged(#{max => 3}, "two")),
    ?assertEqual({<<"three\r\n">>, true}, Logged(#{clear => true}, "three")),
    Say("four"),
    ?assertEqual({<<"fo">>, true}, Logged(#{max => 2, clear => true}, "fo")),
    ?assertEqual(<<>>, liblxc:console_log(C, #{max => 1 bsl 60})),
    Say("five"),
    ?assertEqual(<<>>, liblxc:console_log(C, #{read => false, clear => true})),
    down(C).

%% No log is none, not an empty one.
console_log_failures(Config) ->
    {C, _, _} = up(Config),
    Log = fun() -> liblxc:console_log(C, #{}) end,
    fails(C, none, "lxc.console.buffer.size", Log),
    down(C),
    fails(C, none, "not running", Log).

%% A tty is a terminal with a program of the container's at its other end: a place for
%% one, that a name or the first that is free gives, and that ends with the container.
ttys(Config) ->
    {C, _, _} = up(Config, ["lxc.tty.max = 2"]),
    {ok, P} = erlxc:spawn(C, [{exec, ["/bin/sh", "-c", "read x; exec sh </dev/tty2 >/dev/tty2"]}]),
    {ok, T} = erlxc:console(P, 2),
    ?assertMatch({error, _}, erlxc:console(P, 2)),
    ok = erlxc:send(P, "go\n"),
    ok = erlxc:resize(T, 33, 99),
    ok = erlxc:send(T, "echo $((6 * 7)); stty size; tty\n"),
    Seen = expect(T, "/dev/tty2"),
    [?assert(has(Seen, X)) || X <- ["\n42\r\n", "\n33 99\r\n"]],
    {ok, First} = erlxc:console(P, -1),
    {error, _} = erlxc:console(P, -1),
    ok = erlxc:stop(First),
    {{ok, Stream, 1}, <<>>} = eventually(fun() ->
        case erlxc_drv:open(C, console, [-1]) of
            {{ok, _, _}, _} = Open -> {ok, Open};
            Busy -> Busy
        end
    end, 5000),
    ok = erlxc_drv:close(C, Stream),
    down(C),
    ?assertEqual({ok, unknown}, erlxc:wait(T, 5000)).

%% A tty that nobody reads holds up its writer, and loses nothing.
tty_waits(Config) ->
    {C, _, _} = up(Config, ["lxc.tty.max = 1"]),
    {ok, P} = erlxc:spawn(C, [{exec, ["/bin/sh", "-c", "stty raw </dev/tty1; "
        "seq 100000 >/dev/tty1; echo written"]}]),
    {ok, T} = erlxc:console(P, 1),
    ?assertEqual({error, timeout}, erlxc:recv(P, 0, 1000)),
    {Ms, <<"RUNNING">>} = timed(fun() -> liblxc:state(C) end),
    among(0, 1000, Ms),
    Wanted = iolist_to_binary([[integer_to_list(N), "\n"] || N <- lists:seq(1, 100000)]),
    {ok, Got} = erlxc:recv(T, byte_size(Wanted), 20000),
    ?assertEqual(Wanted, binary:replace(Got, <<"\r">>, <<>>, [global])),
    expect(P, "written"),
    down(C).

%% A tty that there is not is refused, with a reason.
tty_failures(Config) ->
    {C, _, _} = up(Config, ["lxc.tty.max = 1"]),
    Open = fun(N) -> fun() ->
        {Result, Why} = erlxc_drv:open(C, console, [N]),
        ?assertNotEqual(<<>>, Why),
        Result
    end end,
    ?assertEqual({error, ebusy}, (Open(2))()),
    ?assertEqual(badarg, raised(Open(-2))),
    down(C),
    ?assertEqual({error, esrch}, (Open(1))()).

%% --- What the port itself does otherwise ---------------------------------------------

%% A liblxc that is too old is named, with what it takes; a newer one does it.
set_timeout(Config) ->
    C = stopped(Config),
    Version = liblxc:version(C),
    case [binary_to_integer(N) || N <- binary:split(Version, <<".">>, [global])] >= [6] of
        true ->
            ?assert(liblxc:set_timeout(C, 1)),
            fails(C, false, "0", fun() -> liblxc:set_timeout(C, 0) end);
        false ->
            {Class, Why, [{liblxc, set_timeout, [C, 1], Info} | _] = Stack} =
                try liblxc:set_timeout(C, 1)
                catch error:Error:Trace -> {Error, liblxc:last_error(C), Trace}
                end,
            ?assertEqual(notsup, Class),
            [?assert(has(Why, Part)) || Part <- [Version, "set_timeout", "6.0"]],
            #{module := Module} = proplists:get_value(error_info, Info),
            ?assertEqual(#{general => Why}, Module:format_error(Class, Stack))
    end.

%% The status is the command's; its output, however much, goes nowhere.
run_wait(Config) ->
    {C, _, _} = up(Config),
    Run = fun(Script, Opts) -> liblxc:attach_run_wait(C, ["/bin/sh", "-c", Script], Opts) end,
    ?assertEqual({exit_status, 0}, liblxc:attach_run_wait(C, "/bin/true", [])),
    ?assertEqual({exit_status, 7}, Run("exit 7", [])),
    ?assertEqual({signal, 9}, Run("kill -9 $$", [])),
    ?assertEqual({exit_status, 3}, Run("yes | head -c 80000000; yes | head -c 999999 >&2; exit 3",
        [])),
    ?assertEqual({exit_status, 1}, Run("read x", [])),
    ?assertEqual({exit_status, 0}, Run("test \"$A$(id -u)$(pwd)\" = b99/tmp",
        [{env, [{"A", "b"}]}, {user, 99}, {cd, "/tmp"}])),
    ?assertEqual(<<>>, liblxc:last_error(C)),
    receive Message -> error({left, Message}) after 0 -> ok end,
    down(C).

%% What comes to no status has a reason, and leaves no process.
run_wait_failures(Config) ->
    {C, _, Init} = up(Config),
    Run = fun(Argv, Opts) -> fun() -> liblxc:attach_run_wait(C, Argv, Opts) end end,
    fails(C, {error, enoent}, "No such file", Run(["/no/such"], [])),
    fails(C, {error, {cd, enoent}}, "No such file", Run(["/bin/true"], [{cd, "/no/such"}])),
    fails(C, {error, timeout}, "time", Run(["/bin/sleep", "1000"], [{timeout, 100}])),
    eventually(fun() -> erlxc_test:inside(Init) =:= [] end, 5000),
    [?assertError(badarg, liblxc:attach_run_wait(C, Argv, Opts))
        || {Argv, Opts} <- [{["/bin/true"], [{nosuch, 1}]}, {[], []}]],
    down(C),
    fails(C, {error, esrch}, "not running", Run(["/bin/true"], [])).

%% What is the library's, not a container's.
library(Config) ->
    C = stopped(Config),
    <<"/", _/binary>> = liblxc:get_global_config_item(C, "lxc.lxcpath"),
    fails(C, none, "no such key", fun() -> liblxc:get_global_config_item(C, "lxc.bogus") end),
    States = liblxc:get_wait_states(C),
    [?assert(lists:member(S, States)) || S <- [<<"STOPPED">>, <<"RUNNING">>, <<"FROZEN">>]],
    [?assert(liblxc:wait(C, [S, "|STOPPED"], 0)) || S <- States],
    [?assert(liblxc:config_item_is_supported(C, K))
        || K <- ["lxc.uts.name", "lxc.net", "lxc.utsname", "lxc.limit"]],
    [fails(C, false, "no such key", fun() -> liblxc:config_item_is_supported(C, K) end)
        || K <- ["lxc.bogus", "", "lxc.kmsg"]],
    ?assert(liblxc:has_api_extension(C, "console_log")),
    fails(C, false, "extension", fun() -> liblxc:has_api_extension(C, "nosuch") end).

%% A monitor that does not answer is a timeout to each of them, in its time; nothing of
%% what they were to do is done when it answers again.
stuck_monitor(Config) ->
    {C, _, Init} = up(Config, ["lxc.console.buffer.size = 4KB"]),
    Monitor = ppid(Init),
    with_interface(Config, fun(If) ->
        signal(Monitor, "STOP"),
        Calls = [fun() -> liblxc:F(C) end || F <- [may_control]]
            ++ [fun() -> erlang:apply(liblxc, F, [C | A]) end || {F, A} <-
                [{get_running_config_item, ["lxc.uts.name"]}, {reboot2, [0]},
                    {add_device_node, ["/dev/zero", "/dev/x"]}, {attach_interface, [If, <<>>]},
                    {detach_interface, ["lo", "nosuch0"]}, {console_log, [#{}]},
                    {mount, ["/", "/mnt", <<>>, [bind], <<>>]}, {umount, ["/proc", 0]}]],
        try
            {Ms, Results} = timed(fun() ->
                [await(A, 30000) || A <- [async(fun() -> raised(F) end) || F <- Calls]]
            end),
            ?assertEqual([timeout || _ <- Calls], Results),
            among(4500, 8000, Ms)
        after signal(Monitor, "CONT")
        end,
        ?assertEqual(<<"RUNNING">>, liblxc:state(C)),
        ?assertEqual(Init, liblxc:init_pid(C)),
        ?assert(on_host(If)),
        ?assertEqual({exit_status, 0}, status(C, ["/bin/test", "-e", "/proc/self"]))
    end),
    down(C).

%% What is none of a call's arguments is badarg.
bad_arguments(Config) ->
    C = stopped(Config),
    Long = lists:duplicate(16, $i),
    Bad = [{attach_interface, [<<>>, <<>>]}, {attach_interface, ["a/b", <<>>]},
        {attach_interface, ["lo", Long]}, {detach_interface, [Long, <<>>]},
        {detach_interface, ["lo", ".."]}, {add_device_node, ["dev/null", <<>>]},
        {add_device_node, ["/dev/null", "dev/null"]}, {remove_device_node, [<<>>, "/dev/null"]},
        {mount, ["/", "mnt", <<>>, 0, <<>>]}, {mount, ["/", "/mnt", <<>>, [nosuch], <<>>]},
        {mount, ["/", "/mnt", <<>>, -1, <<>>]}, {umount, ["mnt", 0]}, {umount, ["/mnt", [bind]]},
        {console_log, [#{nosuch => true}]}, {console_log, [#{read => 1}]},
        {console_log, [#{max => -1}]}, {console_log, [[]]}, {reboot2, [-2]}, {set_timeout, [soon]},
        {want_close_all_fds, [2]}, {get_running_config_item, [["a", 0]]}],
    [?assertEqual({F, A, badarg}, {F, A, raised(fun() -> apply(liblxc, F, [C | A]) end)})
        || {F, A} <- Bad].

%% The README's table has every function of the header that is installed, and every
%% function that it names exists.
table(_) ->
    {ok, Header} = file:read_file("/usr/include/lxc/lxccontainer.h"),
    Readme = filename:join(filename:dirname(filename:dirname(filename:absname(
        code:which(erlxc_drv)))), "README.md"),
    {ok, Text} = file:read_file(Readme),
    [_, Section | _] = re:split(Text, "\n## liblxc's functions\n"),
    [Table | _] = re:split(Section, "\n## "),
    Rows = [[string:trim(X) || X <- string:split(string:trim(L, both, "|"), "|", all)]
        || <<"| `", _/binary>> = L <- re:split(Table, "\n")],
    C = names([hd(R) || R <- Rows], "`(?:c->)?([a-z_0-9]+)`"),
    Members = names(Header, "^\t[a-z][^;/]*?\\(\\*([a-z_0-9]+)\\)\\(struct lxc_container"),
    Functions = names(Header, "^[a-z][^;/*=]*?\\*?\\b((?:lxc|list)_[a-z_]+)\\("),
    ?assert(length(Members) >= 59),
    ?assert(length(Functions) >= 10),
    ?assertEqual([], (Members ++ Functions) -- C),
    Erlang = [{list_to_atom(binary_to_list(M)), list_to_atom(binary_to_list(F)),
        binary_to_integer(A)} || R <- Rows, [_, M, F, A] <- all(lists:nth(2, R),
            "`([a-z_]+):([a-z_0-9]+)/([0-9])`")],
    ?assert(length(Erlang) > 50),
    _ = [code:ensure_loaded(M) || {M, _, _} <- Erlang],
    ?assertEqual([], [E || {M, F, A} = E <- Erlang, not erlang:function_exported(M, F, A)]).

names(Texts, Re) ->
    [N || [_, N] <- all(Texts, Re)].

all(Texts, Re) ->
    case re:run(iolist_to_binary([[T, "\n"] || T <- lists:flatten([Texts])]), Re,
            [global, multiline, {capture, all, binary}]) of
        {match, L} -> L;
        nomatch -> []
    end.
