%% SPDX-License-Identifier: ISC
%% Containers on disk: clones, snapshots, backing stores, checkpoints; and what is
%% left of a copy that was cut short.
-module(disk_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlxc_test, [
    name/1, container/1, container/2, rootfs/2, tmp/2, path/1, driver/2, driver/3, start/1,
    script/3, eventually/2, async/1, await/2, sh/2, port_pid/1, child/2, children/1,
    comm/1, signal/2, soak/1, alive/1
]).

-define(MARK, ".erlxc-partial").

suite() ->
    [{timetrap, {seconds, 120 + soak(10)}}].

all() ->
    [{group, lxc}].

groups() ->
    [{lxc, [], [clone, clone_flags, clone_config, clone_path, clone_running, clone_refused,
        clone_failed, clone_overlay, clone_hook, clone_newsize, clone_progress, clone_timeout,
        being_copied, half_copied, left_behind, copy_of_another, empty_copy, clone_killed,
        port_killed, store_loop, store_dir, store_refused, store_taken, rename_unmanaged, snapshot,
        snapshot_names, temporary, snapshot_refused, snapshot_restore_new, snapshot_overlay, restore_refused,
        restore_killed, destroy_snapshots, destroy_refused, checkpoint_refused]}].

init_per_suite(Config) ->
    erlxc_test:setup(Config).

end_per_suite(Config) ->
    erlxc_test:teardown(Config).

init_per_group(Engine, Config) ->
    erlxc_test:engine(Engine, Config).

end_per_group(_, _) ->
    ok.

%% --- Helpers -----------------------------------------------------------------

defined(Config) ->
    defined(Config, []).

defined(Config, Lines) ->
    Name = container(Config, Lines),
    {driver(Config, Name), Name}.

%% The reason of a call that is refused must have Part in it.
refused(C, Part, Fun) ->
    ?assertEqual(false, Fun()),
    says(C, Part).

says(C, Part) ->
    Why = liblxc:last_error(C),
    {Why, true} = {Why, contains(Why, Part)}.

contains(Bytes, Part) ->
    binary:match(Bytes, iolist_to_binary(Part)) =/= nomatch.

put_file(Config, Name, File, Text) ->
    ok = file:write_file(filename:join(rootfs(Config, Name), File), Text).

get_file(Config, Name, File) ->
    file:read_file(filename:join(rootfs(Config, Name), File)).

is_there(Config, Name) ->
    filelib:is_file(filename:join(path(Config), Name)).

%% What a copy must have: the files with what is in them, but for the host's name.
tree(Dir) ->
    sh("cd ~s && find . ! -path ./etc/hostname -printf '%p %m %s %l\\n' | sort | md5sum; "
       "cd ~s && find . -type f ! -path ./etc/hostname -exec md5sum {} + | sort | md5sum",
       [Dir, Dir]).

%% Files enough for a copy to take a while.
fill(Config, Name) ->
    "" = sh("mkdir ~s/fill && cd ~s/fill && for i in $(seq 200); do "
            "echo $i > $i; done", [rootfs(Config, Name), rootfs(Config, Name)]),
    ok.

%% The clone is there, works, and is removed.
works(Config, Name) ->
    C = driver(Config, Name),
    ?assert(alive(start(C))),
    ?assert(liblxc:stop(C)),
    ?assert(liblxc:destroy(C)),
    ?assertNot(is_there(Config, Name)),
    ok = erlxc_drv:stop(C).

%% --- Clones ------------------------------------------------------------------

%% A clone has the original's files and a name and a rootfs of its own, and the
%% original is as before.
clone(Config) ->
    {C, Name} = defined(Config),
    New = name(Config),
    put_file(Config, Name, "etc/hostname", Name),
    Tree = tree(rootfs(Config, Name)),
    ?assert(liblxc:clone(C, New, <<>>, 0, <<>>)),
    ?assertEqual(Name, liblxc:name(C)),
    ?assertEqual(iolist_to_binary(rootfs(Config, Name)),
        liblxc:get_config_item(C, "lxc.rootfs.path")),
    ?assertEqual({Tree, Tree}, {tree(rootfs(Config, New)), tree(rootfs(Config, Name))}),
    ?assertEqual({ok, New}, get_file(Config, New, "etc/hostname")),
    ?assertEqual({ok, Name}, get_file(Config, Name, "etc/hostname")),
    ?assertNot(filelib:is_file(filename:join([path(Config), New, ?MARK]))),
    N = driver(Config, New),
    ?assertEqual(New, liblxc:get_config_item(N, "lxc.uts.name")),
    ?assertEqual(iolist_to_binary(rootfs(Config, New)),
        liblxc:get_config_item(N, "lxc.rootfs.path")),
    works(Config, New),
    works(Config, Name).

%% keepname and keepmacaddr keep what a clone otherwise has anew; no other bits.
clone_flags(Config) ->
    Mac = "00:16:3e:01:02:03",
    {C, Name} = defined(Config, ["lxc.net.0.hwaddr = " ++ Mac]),
    [New, Same] = [name(Config), name(Config)],
    ?assert(liblxc:clone(C, New, <<>>, [], <<>>)),
    ?assert(liblxc:clone(C, Same, <<>>, [keepname, keepmacaddr], <<>>)),
    Items = fun(N) ->
        D = driver(Config, N),
        [liblxc:get_config_item(D, K) || K <- ["lxc.uts.name", "lxc.net.0.hwaddr"]]
    end,
    [New, Fresh] = Items(New),
    ?assertNotEqual(list_to_binary(Mac), Fresh),
    ?assertEqual([Name, list_to_binary(Mac)], Items(Same)),
    [?assertError(badarg, liblxc:clone(C, name(Config), <<>>, F, <<>>))
        || F <- [32, 128, -1, [frob], snapshot]].

%% The configuration in memory is the clone's, on disk, too.
clone_config(Config) ->
    {C, _} = defined(Config),
    New = name(Config),
    ?assert(liblxc:set_config_item(C, "lxc.environment", "MARK=memory")),
    ?assert(liblxc:clone(C, New, <<>>, 0, <<>>)),
    ?assertEqual(<<"MARK=memory">>,
        liblxc:get_config_item(driver(Config, New), "lxc.environment")).

%% A clone in another lxcpath, which must be there.
clone_path(Config) ->
    {C, Name} = defined(Config),
    Path = tmp(Config, "other"),
    refused(C, "No such file", fun() -> liblxc:clone(C, Name, Path, 0, <<>>) end),
    ok = file:make_dir(Path),
    ?assert(liblxc:clone(C, Name, Path ++ "/", 0, <<>>)),
    D = driver(Config, Name, [{path, Path}]),
    ?assert(alive(start(D))),
    ?assert(liblxc:stop(D)),
    ?assert(liblxc:destroy(D)),
    ?assertEqual({ok, []}, file:list_dir(Path)),
    ?assert(liblxc:defined(C)),
    ?assertError(badarg, liblxc:clone(C, name(Config), "other", 0, <<>>)).

%% A running container is cloned with allow_running only, and goes on running.
clone_running(Config) ->
    {C, _} = defined(Config),
    New = name(Config),
    Pid = start(C),
    refused(C, "running", fun() -> liblxc:clone(C, New, <<>>, 0, <<>>) end),
    ?assertNot(is_there(Config, New)),
    ?assert(liblxc:clone(C, New, <<>>, [allow_running], <<>>)),
    works(Config, New),
    ?assertEqual(Pid, liblxc:init_pid(C)),
    ?assert(liblxc:stop(C)).

%% Not onto itself or another, not of nothing, not to a name that leads elsewhere.
clone_refused(Config) ->
    {C, Name} = defined(Config),
    Other = container(Config),
    Tree = tree(rootfs(Config, Other)),
    U = driver(Config, name(Config)),
    [refused(C, "taken", fun() -> liblxc:clone(C, N, <<>>, 0, <<>>) end) || N <- [Name, Other]],
    refused(U, "not defined", fun() -> liblxc:clone(U, name(Config), <<>>, 0, <<>>) end),
    [?assertError(badarg, liblxc:clone(C, N, <<>>, 0, <<>>))
        || N <- [<<>>, "..", "a/b", "../x", "a b"]],
    ?assertEqual(Tree, tree(rootfs(Config, Other))),
    ?assert(liblxc:clear_config_item(C, "lxc.rootfs.path")),
    refused(C, "no rootfs", fun() -> liblxc:clone(C, name(Config), <<>>, 0, <<>>) end).

%% A clone that fails says why and leaves nothing.
clone_failed(Config) ->
    {C, Name} = defined(Config),
    Tree = tree(rootfs(Config, Name)),
    Fails = fun(Type, Part) ->
        New = name(Config),
        refused(C, Part, fun() -> liblxc:clone(C, New, <<>>, 0, Type) end),
        ?assertNot(is_there(Config, New))
    end,
    Fails("frob", "frob"),
    Fails("overlay", "snapshots"),
    ?assertEqual(Tree, tree(rootfs(Config, Name))),
    works(Config, Name).

%% An overlay shares the original's files, which therefore stays; what is written to
%% it is its own.
clone_overlay(Config) ->
    {C, Name} = defined(Config),
    New = name(Config),
    ?assert(liblxc:clone(C, New, <<>>, [snapshot], "overlay")),
    N = driver(Config, New),
    {ok, _} = liblxc:start(N, 0, [<<"/bin/sh">>, <<"-c">>, <<": > /mine; exec sleep 1000">>]),
    Delta = filename:join([path(Config), New, "overlay/delta/mine"]),
    eventually(fun() -> filelib:is_file(Delta) end, 5000),
    ?assertEqual({error, enoent}, get_file(Config, Name, "mine")),
    ?assert(liblxc:stop(N)),
    refused(C, New, fun() -> liblxc:destroy(C) end),
    refused(C, New, fun() -> liblxc:destroy_with_snapshots(C) end),
    refused(C, New, fun() -> liblxc:rename(C, name(Config)) end),
    ?assert(liblxc:destroy(N)),
    works(Config, Name).

%% A clone's hooks get the arguments, and know both names.
clone_hook(Config) ->
    Out = tmp(Config, "hook.out"),
    Hook = script(Config, "hook", ["echo $LXC_SRC_NAME $LXC_NAME \"$@\" > " ++ Out]),
    {C, Name} = defined(Config, [["lxc.hook.clone = ", Hook]]),
    New = name(Config),
    ?assert(liblxc:clone(C, New, <<>>, 0, <<>>, <<>>, 0, ["one", <<"two three">>])),
    {ok, Text} = file:read_file(Out),
    ?assert(contains(Text, [Name, " ", New, " "])),
    ?assert(contains(Text, "one two three")),
    works(Config, New).

%% A clone in a file of its own has the size asked for.
clone_newsize(Config) ->
    {C, _} = defined(Config),
    New = name(Config),
    Size = 24 bsl 20,
    ?assert(liblxc:clone(C, New, <<>>, 0, "loop", <<>>, Size, [])),
    File = filelib:file_size(filename:join([path(Config), New, "rootdev"])),
    ?assert(File >= Size andalso File =< Size + 4096),
    works(Config, New).

%% What a clone's programs have written is told while they run, each line before the
%% clone is done; those who did not ask are told nothing.
clone_progress(Config) ->
    Go = tmp(Config, "progress"),
    Hook = waits(Config, "waiter", Go),
    {C, Name} = defined(Config, [["lxc.hook.clone = ", Hook]]),
    "" = sh("truncate -s 400M ~s/zeros", [rootfs(Config, Name)]),
    [New, Other] = [name(Config), name(Config)],
    Self = self(),
    Clone = async(fun() -> liblxc:clone(C, New, <<>>, 0, <<>>, [{progress, Self}]) end),
    told(C, "^rsync: [1-9][0-9]* bytes$"),
    told(C, "^waiter: 0 bytes$"),
    ok = file:write_file(Go, ""),
    ?assertEqual(true, await(Clone, 10000)),
    _ = liblxc:name(C),
    [?assertMatch({match, _}, re:run(L, "^[^ ]+: [0-9]+ bytes$")) || L <- progress(C)],
    ?assert(liblxc:clone(C, Other, <<>>, 0, <<>>, <<>>, 0, [], [])),
    ?assertEqual([], progress(C)),
    ?assertError(badarg, liblxc:clone(C, name(Config), <<>>, 0, <<>>, [{progress, someone}])),
    ?assertError(badarg, liblxc:clone(C, name(Config), <<>>, 0, <<>>, progress)).

%% Waits for a line of that form.
told(C, Form) ->
    receive
        {erlxc, C, {progress, Line}} -> re:run(Line, Form) =/= nomatch orelse told(C, Form)
    after 10000 -> error({no_progress, Form})
    end.

progress(C) ->
    receive {erlxc, C, {progress, Line}} -> [Line | progress(C)] after 0 -> [] end.

%% A hook that says that it runs, and then waits for the file Go.
waits(Config, Name, Go) ->
    script(Config, Name, [": > " ++ Go ++ ".on",
        "while [ ! -e " ++ Go ++ " ]; do sleep 0.05; done"]).

%% A clone whose caller does not wait any longer comes to its end.
clone_timeout(Config) ->
    Go = tmp(Config, "timeout"),
    {C, _} = defined(Config, [["lxc.hook.clone = ", waits(Config, "late", Go)]]),
    New = name(Config),
    ok = erlxc_drv:subscribe(C),
    ?assertError(timeout, liblxc:clone(C, New, <<>>, 0, <<>>, [{timeout, 300}])),
    ok = file:write_file(Go, ""),
    receive {erlxc, C, {finished, clone, true, <<>>}} -> ok after 10000 -> error(unfinished) end,
    works(Config, New).

%% --- Cut short ---------------------------------------------------------------

%% While it is copied to, a container cannot be started, created, copied or destroyed.
being_copied(Config) ->
    Go = tmp(Config, "go"),
    {C, Name} = defined(Config, [["lxc.hook.clone = ", waits(Config, "waits", Go)]]),
    New = name(Config),
    Clone = async(fun() -> liblxc:clone(C, New, <<>>, 0, <<>>) end),
    eventually(fun() -> filelib:is_file(Go ++ ".on") end, 10000),
    N = driver(Config, New),
    ?assertEqual({error, ebusy}, liblxc:start(N)),
    refused(N, "being", fun() -> liblxc:destroy(N) end),
    refused(N, "being", fun() -> liblxc:create(N, "busybox", <<>>, <<>>, 0, []) end),
    refused(N, "being", fun() -> liblxc:clone(N, name(Config), <<>>, 0, <<>>) end),
    ?assertEqual({error, ebusy}, liblxc:snapshot(N, <<>>)),
    ?assertEqual(<<"STOPPED">>, liblxc:state(C)),
    ok = file:write_file(Go, ""),
    ?assertEqual(true, await(Clone, 10000)),
    works(Config, New),
    works(Config, Name).

%% A copy whose process is killed ends with all that it runs: what is there is known for
%% half, and is removed at once.
half_copied(Config) ->
    {C, Name, New, Go, Clone} = at_hook(Config, "half"),
    Tree = tree(rootfs(Config, Name)),
    Hook = hook(Go),
    signal(child(port_pid(Name), <<"erlxc-job">>), "KILL"),
    ?assertEqual({raised, error, {crashed, 9}}, await(Clone, 10000)),
    N = driver(Config, New),
    ?assert(filelib:is_file(filename:join([path(Config), New, ?MARK]))),
    eventually(fun() -> half(C, New) end, 10000),
    ?assertEqual({error, ebusy}, liblxc:start(N)),
    ?assert(liblxc:destroy(N)),
    ?assertNot(alive(Hook)),
    ?assertNot(is_there(Config, New)),
    ?assertEqual(Tree, tree(rootfs(Config, Name))),
    works(Config, Name).

%% When the port is killed before, nobody ends the copy's hook: it goes on, and what it
%% works at stays until it is done.
left_behind(Config) ->
    {C, Name, New, Go, Clone} = at_hook(Config, "left"),
    Tree = tree(rootfs(Config, Name)),
    Port = port_pid(Name),
    Job = child(Port, <<"erlxc-job">>),
    signal(Port, "KILL"),
    _ = await(Clone, 10000),
    signal(Job, "KILL"),
    [N, D] = [driver(Config, X) || X <- [New, Name]],
    refused(N, "being", fun() -> liblxc:destroy(N) end),
    ?assert(alive(hook(Go))),
    ok = file:write_file(Go, ""),
    eventually(fun() -> half(D, New) end, 10000),
    ?assertEqual({error, ebusy}, liblxc:start(N)),
    ?assert(liblxc:destroy(N)),
    ?assertNot(is_there(Config, New)),
    ?assertEqual(Tree, tree(rootfs(Config, Name))),
    ?assertExit(_, liblxc:state(C)),
    works(Config, Name).

%% A clone that is at its hook, which waits for the file Go.
at_hook(Config, Mark) ->
    Go = tmp(Config, Mark),
    {C, Name} = defined(Config, [["lxc.hook.clone = ", script(Config, Mark ++ ".hook",
        ["echo $$ > " ++ Go ++ ".pid", "mv " ++ Go ++ ".pid " ++ Go ++ ".on",
            "while [ ! -e " ++ Go ++ " ]; do sleep 0.05; done"])]]),
    New = name(Config),
    Clone = async(fun() -> liblxc:clone(C, New, <<>>, 0, <<>>) end),
    eventually(fun() -> filelib:is_file(Go ++ ".on") end, 10000),
    {C, Name, New, Go, Clone}.

hook(Go) ->
    {ok, Pid} = file:read_file(Go ++ ".on"),
    binary_to_integer(string:trim(Pid)).

%% Nobody is at work at New any more, which is not whole.
half(C, New) ->
    false = liblxc:clone(C, New, <<>>, 0, <<>>),
    contains(liblxc:last_error(C), "half").

%% What is half copied may have the original's rootfs in its configuration: that
%% stays, when the former goes.
copy_of_another(Config) ->
    {_, Name} = defined(Config),
    Tree = tree(rootfs(Config, Name)),
    [begin
        New = name(Config),
        Dir = filename:join(path(Config), New),
        ok = file:make_dir(Dir),
        ok = file:make_dir(filename:join(Dir, "rootfs")),
        ok = file:write_file(filename:join(Dir, ?MARK), ""),
        ok = file:write_file(filename:join(Dir, "config"),
            ["lxc.rootfs.path = ", Kind, rootfs(Config, Name), "\n", More]),
        N = driver(Config, New),
        ?assertEqual({error, ebusy}, liblxc:start(N)),
        ?assert(liblxc:destroy(N)),
        ?assertNot(filelib:is_file(Dir)),
        ?assertEqual(Tree, tree(rootfs(Config, Name)))
    end || Kind <- ["", "dir:"], More <- ["", "lxc.rootfs.managed = 0\n"]].

%% A copy that has made its directory only goes, too.
empty_copy(Config) ->
    {C, _} = defined(Config),
    New = name(Config),
    ok = file:make_dir(filename:join(path(Config), New)),
    refused(C, "taken", fun() -> liblxc:clone(C, New, <<>>, 0, <<>>) end),
    N = driver(Config, New),
    ?assert(liblxc:destroy(N)),
    ?assertNot(is_there(Config, New)),
    refused(N, "not defined", fun() -> liblxc:destroy(N) end).

%% Whenever the process that clones or takes a snapshot is killed: the original is as
%% before, the copy is whole, or known for half and removed, or not there.
clone_killed(Config) ->
    {C, Name} = defined(Config),
    fill(Config, Name),
    Tree = tree(rootfs(Config, Name)),
    Port = port_pid(Name),
    Ends = [begin
        New = name(Config),
        Copy = async(fun() -> liblxc:clone(C, New, <<>>, 0, <<>>) end),
        Job = job(Port, Copy),
        delay(rand:uniform(150)),
        [signal(P, "KILL") || P <- Job],
        End = await(Copy, 20000),
        eventually(fun() -> removed(Config, New) end, 20000),
        ?assertEqual(Tree, tree(rootfs(Config, Name))),
        End
    end || _ <- lists:seq(1, soak(10))],
    ?assert(lists:member({raised, error, {crashed, 9}}, Ends)),
    works(Config, Name).

removed(Config, Name) ->
    N = driver(Config, Name),
    Gone = is_there(Config, Name) =:= false orelse liblxc:destroy(N),
    ok = erlxc_drv:stop(N),
    Gone andalso not is_there(Config, Name).

%% The job of a call that was just made; on a busy machine it may be over before it is
%% seen.
job(Port, {Caller, _}) ->
    eventually(fun() ->
        case [P || P <- children(Port), comm(P) =:= <<"erlxc-job">>, alive(P)] of
            [_ | _] = Job -> {ok, Job};
            [] -> not is_process_alive(Caller) andalso {ok, []}
        end
    end, 20000).

%% Not a wait for something, but a moment at random.
delay(Ms) ->
    receive after Ms -> ok end.

%% A copy goes on when the port is killed, and comes to its end; the original is as
%% before.
port_killed(Config) ->
    Name = container(Config),
    fill(Config, Name),
    Tree = tree(rootfs(Config, Name)),
    [begin
        C = driver(Config, Name),
        Port = port_pid(Name),
        New = name(Config),
        Copy = async(fun() -> case Kind of
            clone -> liblxc:clone(C, New, <<>>, 0, <<>>);
            snapshot -> liblxc:snapshot(C, <<>>)
        end end),
        Job = job(Port, Copy),
        delay(rand:uniform(150)),
        signal(Port, "KILL"),
        _ = await(Copy, 20000),
        eventually(fun() -> not lists:any(fun erlxc_test:alive/1, Job) end, 20000),
        ?assertEqual([], filelib:wildcard("**/" ++ ?MARK, binary_to_list(path(Config)))),
        D = driver(Config, Name),
        case Kind of
            clone -> ?assert(removed(Config, New));
            snapshot -> [#{timestamp := <<_:19/binary>>}] = liblxc:snapshot_list(D)
        end,
        ?assert(liblxc:snapshot_destroy_all(D)),
        ?assertEqual(Tree, tree(rootfs(Config, Name))),
        ok = erlxc_drv:stop(D)
    end || _ <- lists:seq(1, soak(5)), Kind <- [clone, snapshot]],
    works(Config, Name).

%% --- Backing stores ----------------------------------------------------------

%% A file system in a file, of the kind and size asked for.
store_loop(Config) ->
    Name = name(Config),
    C = driver(Config, Name),
    Spec = #{fstype => "ext4", fssize => 32 bsl 20},
    ?assert(liblxc:set_config_item(C, "lxc.net.0.type", "empty")),
    ?assert(liblxc:create(C, "busybox", "loop", Spec, 0, [])),
    File = filename:join([path(Config), Name, "rootdev"]),
    ?assert(filelib:file_size(File) >= 32 bsl 20),
    ?assert(contains(list_to_binary(sh("blkid -p ~s", [File])), "\"ext4\"")),
    works(Config, Name).

%% A directory elsewhere, which goes with the container.
store_dir(Config) ->
    Name = name(Config),
    C = driver(Config, Name),
    Dir = tmp(Config, "store"),
    ?assert(liblxc:create(C, "busybox", "dir", #{dir => Dir}, 0, [])),
    ?assert(filelib:is_regular(filename:join(Dir, "bin/busybox"))),
    ?assertEqual(list_to_binary(Dir), liblxc:get_config_item(C, "lxc.rootfs.path")),
    ?assert(liblxc:destroy(C)),
    ?assertNot(filelib:is_file(Dir)).

%% What the storage's tool is told is in the reason of its failure; nothing is left.
%% An unknown key or a wrong value is no call at all.
store_refused(Config) ->
    Name = name(Config),
    C = driver(Config, Name),
    Create = fun(Type, Spec) -> liblxc:create(C, "busybox", Type, Spec, 0, []) end,
    refused(C, "nosuchtank/" ++ binary_to_list(Name),
        fun() -> Create("zfs", #{zfs => #{zfsroot => "nosuchtank"}}) end),
    refused(C, "nosuchvg/nosuchlv",
        fun() -> Create("lvm", #{lvm => #{vg => "nosuchvg", lv => <<"nosuchlv">>}}) end),
    refused(C, "nosuchname",
        fun() -> Create("rbd", #{rbd => #{rbdname => "nosuchname", rbdpool => "p"}}) end),
    ?assertNot(is_there(Config, Name)),
    [?assertError(badarg, Create("loop", Spec)) || Spec <- [#{frob => "x"}, #{fssize => "1"},
        #{fssize => -1}, #{fstype => 1}, #{lvm => "x"}, <<"x">>, [{fstype, "ext4"}],
        #{fstype => <<"a", 0>>}]].

%% A create by a handle from before another port made the container is refused, and
%% harms nothing: whatever the storage of either, with a template or without.
store_taken(Config) ->
    [begin
        Name = name(Config),
        [C, Late] = [driver(Config, Name) || _ <- [1, 2]],
        ?assert(liblxc:set_config_item(C, "lxc.net.0.type", "empty")),
        ?assert(liblxc:create(C, "busybox", Type, #{fssize => 32 bsl 20}, 0, [])),
        [refused(D, "exists", fun() -> liblxc:create(D, T, B, #{fssize => 32 bsl 20}, 0, []) end)
            || {D, T, B} <- [{Late, "busybox", "loop"}, {Late, "busybox", <<>>}, {Late, <<>>, <<>>},
                {C, "busybox", "loop"}]],
        works(Config, Name)
    end || Type <- ["loop", "dir"]].

%% A rootfs that is not liblxc's to remove keeps its container, as it is.
rename_unmanaged(Config) ->
    {C, Name} = defined(Config, ["lxc.rootfs.managed = 0"]),
    Tree = tree(rootfs(Config, Name)),
    refused(C, "managed", fun() -> liblxc:rename(C, name(Config)) end),
    refused(C, "managed", fun() -> liblxc:destroy(C) end),
    {ok, <<"snap0">>} = liblxc:snapshot(C, <<>>),
    refused(C, "managed", fun() -> liblxc:destroy_with_snapshots(C) end),
    ?assertMatch([_], liblxc:snapshot_list(C)),
    ?assertEqual(Tree, tree(rootfs(Config, Name))),
    "" = sh("sed -i /managed/d ~s/~s/config ~s/~s/snaps/snap0/config",
        [path(Config), Name, path(Config), Name]),
    ?assert(liblxc:destroy_with_snapshots(C)).

%% --- Snapshots ---------------------------------------------------------------

%% A temporary container is gone with its snapshots.
temporary(Config) ->
    {C, Name} = defined(Config),
    {ok, <<"snap0">>} = liblxc:snapshot(C, <<>>),
    ?assert(liblxc:type(C, temporary)),
    ok = erlxc_drv:stop(C),
    ?assertNot(is_there(Config, Name)).

%% A snapshot has its comment and its time, and brings back what has been changed.
snapshot(Config) ->
    {C, Name} = defined(Config),
    Comment = tmp(Config, "comment"),
    ok = file:write_file(Comment, "before\n"),
    put_file(Config, Name, "data", "old"),
    ?assertEqual([], liblxc:snapshot_list(C)),
    ?assertEqual({ok, <<"snap0">>}, liblxc:snapshot(C, Comment)),
    ?assert(liblxc:defined(C)),
    [#{name := <<"snap0">>, comment := Copy, timestamp := Time, lxcpath := Path}] =
        liblxc:snapshot_list(C),
    ?assertEqual({ok, <<"before\n">>}, file:read_file(Copy)),
    ?assertMatch(<<_:4/binary, ":", _:2/binary, ":", _:2/binary, " ", _:8/binary>>, Time),
    ?assertEqual(filename:join([path(Config), Name, "snaps"]), Path),
    put_file(Config, Name, "data", "new"),
    put_file(Config, Name, "more", "new"),
    ?assert(liblxc:set_config_item(C, "lxc.environment", "MARK=memory")),
    ?assert(liblxc:snapshot_restore(C, "snap0", <<>>)),
    ?assertEqual(<<>>, liblxc:get_config_item(C, "lxc.environment")),
    ?assertEqual({{ok, <<"old">>}, {error, enoent}},
        {get_file(Config, Name, "data"), get_file(Config, Name, "more")}),
    ?assertEqual(iolist_to_binary(rootfs(Config, Name)),
        liblxc:get_config_item(C, "lxc.rootfs.path")),
    ?assertMatch([_], liblxc:snapshot_list(C)),
    ?assert(alive(start(C))),
    ?assert(liblxc:stop(C)),
    ?assert(liblxc:snapshot_restore(C, "snap0", Name)),
    ?assert(liblxc:snapshot_destroy_all(C)),
    works(Config, Name).

%% The first name that is free is a snapshot's; the list is in the order of numbers.
snapshot_names(Config) ->
    {C, Name} = defined(Config),
    Names = fun() -> [N || #{name := N, comment := <<>>} <- liblxc:snapshot_list(C)] end,
    Snaps = [element(2, {ok, _} = liblxc:snapshot(C, <<>>)) || _ <- lists:seq(1, 3)],
    ?assertEqual([<<"snap0">>, <<"snap1">>, <<"snap2">>], Snaps),
    ok = file:rename(snap(Config, Name, "snap2"), snap(Config, Name, "snap10")),
    ?assertEqual([<<"snap0">>, <<"snap1">>, <<"snap10">>], Names()),
    ?assert(liblxc:snapshot_destroy(C, "snap0")),
    ?assertEqual([<<"snap1">>, <<"snap10">>], Names()),
    refused(C, "no such snapshot", fun() -> liblxc:snapshot_destroy(C, "snap0") end),
    ?assertEqual({ok, <<"snap0">>}, liblxc:snapshot(C, <<>>)),
    ?assert(liblxc:snapshot_destroy_all(C)),
    ?assert(liblxc:snapshot_destroy_all(C)),
    ?assertEqual([], Names()),
    [?assertError(badarg, liblxc:snapshot_destroy(C, N)) || N <- [<<>>, "..", "../..", "a/b"]],
    works(Config, Name).

snap(Config, Name, Snap) ->
    filename:join([path(Config), Name, "snaps", Snap]).

%% What is refused has its errno and its reason, and leaves nothing.
snapshot_refused(Config) ->
    {C, Name} = defined(Config),
    U = driver(Config, name(Config)),
    Snaps = filename:dirname(snap(Config, Name, "x")),
    Fifo = tmp(Config, "fifo"),
    "" = sh("mkfifo ~s", [Fifo]),
    ?assertEqual({error, enoent}, liblxc:snapshot(U, <<>>)),
    says(U, "not defined"),
    ?assertEqual([], liblxc:snapshot_list(U)),
    says(U, "not defined"),
    ?assertEqual({error, enoent}, liblxc:snapshot(C, tmp(Config, "nosuchfile"))),
    says(C, "No such file"),
    ?assertEqual({error, einval}, liblxc:snapshot(C, Fifo)),
    ?assertEqual({error, einval}, liblxc:snapshot(C, tmp(Config, ""))),
    start(C),
    ?assertEqual({error, ebusy}, liblxc:snapshot(C, <<>>)),
    says(C, "running"),
    ?assertNot(filelib:is_file(Snaps)),
    ?assert(liblxc:stop(C)).

%% Under another name a snapshot is a container beside the one that it was taken of.
snapshot_restore_new(Config) ->
    {C, Name} = defined(Config),
    New = name(Config),
    put_file(Config, Name, "data", "old"),
    {ok, Snap} = liblxc:snapshot(C, <<>>),
    put_file(Config, Name, "data", "new"),
    ?assert(liblxc:set_config_item(C, "lxc.environment", "MARK=memory")),
    ?assert(liblxc:snapshot_restore(C, Snap, New)),
    ?assertEqual(<<"MARK=memory">>, liblxc:get_config_item(C, "lxc.environment")),
    ?assertEqual({{ok, <<"old">>}, {ok, <<"new">>}},
        {get_file(Config, New, "data"), get_file(Config, Name, "data")}),
    N = driver(Config, New),
    ?assertEqual([New, iolist_to_binary(rootfs(Config, New))],
        [liblxc:get_config_item(N, K) || K <- ["lxc.uts.name", "lxc.rootfs.path"]]),
    works(Config, New),
    ?assert(liblxc:destroy_with_snapshots(C)).

%% An overlay's snapshots are of what is its own; it is restored in its place.
snapshot_overlay(Config) ->
    {C, Name} = defined(Config),
    [Over, New] = [name(Config), name(Config)],
    ?assert(liblxc:clone(C, Over, <<>>, [snapshot], <<>>)),
    O = driver(Config, Over),
    Mine = filename:join([path(Config), Over, "overlay/delta/mine"]),
    ok = file:write_file(Mine, "old"),
    {ok, Snap} = liblxc:snapshot(O, <<>>),
    ok = file:write_file(Mine, "new"),
    ?assert(liblxc:snapshot_restore(O, Snap, <<>>)),
    ?assertEqual({ok, <<"old">>}, file:read_file(Mine)),
    ?assert(liblxc:snapshot_restore(O, Snap, New)),
    works(Config, New),
    ?assert(alive(start(O))),
    ?assert(liblxc:stop(O)),
    ?assert(liblxc:destroy_with_snapshots(O)),
    works(Config, Name).

%% Not in the place of a running container or of another, not what there is not.
restore_refused(Config) ->
    {C, Name} = defined(Config),
    Other = container(Config),
    U = driver(Config, name(Config)),
    {ok, Snap} = liblxc:snapshot(C, <<>>),
    Tree = tree(rootfs(Config, Name)),
    refused(C, "no such snapshot", fun() -> liblxc:snapshot_restore(C, "snap7", <<>>) end),
    refused(U, "no such snapshot", fun() -> liblxc:snapshot_restore(U, Snap, <<>>) end),
    refused(C, "taken", fun() -> liblxc:snapshot_restore(C, Snap, Other) end),
    Pid = start(C),
    refused(C, "running", fun() -> liblxc:snapshot_restore(C, Snap, <<>>) end),
    ?assert(alive(Pid)),
    ?assert(liblxc:stop(C)),
    [?assertError(badarg, liblxc:snapshot_restore(C, S, N))
        || {S, N} <- [{<<>>, <<>>}, {"../x", <<>>}, {Snap, "../x"}]],
    ?assertEqual(Tree, tree(rootfs(Config, Name))),
    ?assert(liblxc:destroy_with_snapshots(C)).

%% A restore that was killed leaves the snapshot whole; the same call again brings the
%% container back.
restore_killed(Config) ->
    {C, Name} = defined(Config),
    fill(Config, Name),
    Tree = tree(rootfs(Config, Name)),
    {ok, Snap} = liblxc:snapshot(C, <<>>),
    Port = port_pid(Name),
    [begin
        Restore = async(fun() -> liblxc:snapshot_restore(C, Snap, <<>>) end),
        Job = job(Port, Restore),
        delay(rand:uniform(150)),
        [signal(P, "KILL") || P <- Job],
        _ = await(Restore, 20000),
        eventually(fun() -> liblxc:snapshot_restore(C, Snap, <<>>) end, 20000),
        ?assertEqual(Tree, tree(rootfs(Config, Name)))
    end || _ <- lists:seq(1, soak(10))],
    ?assert(alive(start(C))),
    ?assert(liblxc:stop(C)),
    ?assert(liblxc:destroy_with_snapshots(C)),
    ?assertNot(is_there(Config, Name)).

%% --- Destroy -----------------------------------------------------------------

%% A container that has snapshots is destroyed with them, and not without.
destroy_snapshots(Config) ->
    {C, Name} = defined(Config),
    [{ok, _}, {ok, Last}] = [liblxc:snapshot(C, <<>>) || _ <- [1, 2]],
    refused(C, "snap0, snap1", fun() -> liblxc:destroy(C) end),
    refused(C, "snap0, snap1", fun() -> liblxc:rename(C, name(Config)) end),
    ok = file:write_file(filename:join(snap(Config, Name, Last), ?MARK), ""),
    ?assertMatch([#{name := <<"snap0">>}], liblxc:snapshot_list(C)),
    refused(C, "half", fun() -> liblxc:snapshot_restore(C, Last, name(Config)) end),
    ?assert(liblxc:destroy_with_snapshots(C)),
    ?assertNot(is_there(Config, Name)),
    refused(C, "not defined", fun() -> liblxc:destroy_with_snapshots(C) end),
    {D, Plain} = defined(Config),
    ?assert(liblxc:destroy_with_snapshots(D)),
    ?assertNot(is_there(Config, Plain)).

%% A running container keeps its snapshots.
destroy_refused(Config) ->
    {C, _} = defined(Config),
    {ok, Snap} = liblxc:snapshot(C, <<>>),
    Pid = start(C),
    refused(C, "running", fun() -> liblxc:destroy_with_snapshots(C) end),
    ?assertMatch([#{name := Snap}], liblxc:snapshot_list(C)),
    ?assert(alive(Pid)),
    ?assert(liblxc:stop(C)),
    ?assert(liblxc:destroy_with_snapshots(C)).

%% --- Checkpoints -------------------------------------------------------------

%% What criu cannot do has criu's reason, and the container goes on.
checkpoint_refused(Config) ->
    {C, _} = defined(Config),
    U = driver(Config, name(Config)),
    Dir = tmp(Config, "checkpoint"),
    Dump = fun() -> liblxc:migrate(C, dump, #{directory => Dir, verbose => true,
        ghost_limit => 1 bsl 20, preserves_inodes => true}) end,
    refused(U, "not defined", fun() -> liblxc:checkpoint(U, Dir, false, false) end),
    refused(C, "not running", fun() -> liblxc:checkpoint(C, Dir, false, false) end),
    refused(C, "not running", Dump),
    refused(C, "criu", fun() -> liblxc:restore(C, Dir, true) end),
    refused(C, "criu", fun() -> liblxc:migrate(C, restore, #{directory => Dir}) end),
    Pid = start(C),
    refused(C, "running", fun() -> liblxc:restore(C, Dir, false) end),
    case os:find_executable("criu") of
        false ->
            refused(C, "criu", fun() -> liblxc:checkpoint(C, Dir, true, true) end),
            refused(C, "criu", Dump);
        _ ->
            Dump() orelse says(C, "Error (criu/")
    end,
    ?assertEqual({Pid, <<"RUNNING">>}, {liblxc:init_pid(C), liblxc:state(C)}),
    [?assertError(badarg, liblxc:migrate(C, Cmd, Opts)) || {Cmd, Opts} <- [
        {frob, #{directory => Dir}}, {dump, #{}}, {dump, #{directory => "x"}}, {dump, []},
        {dump, #{directory => Dir, stop => 1}}, {dump, #{directory => Dir, frob => 1}}]],
    ?assertError(badarg, liblxc:checkpoint(C, "relative", false, false)),
    ?assert(liblxc:stop(C)).
