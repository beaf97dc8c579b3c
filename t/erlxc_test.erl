%% SPDX-License-Identifier: ISC
%% What the suites share: a lxcpath of their own, containers in it, and the
%% search for what a container leaves behind.
%%
%% Every name of a suite contains the suite's token, and no name is a prefix of
%% another, so that a search for a name in /proc, in the cgroup file systems or
%% among the interfaces finds that container's traces and nobody else's.
-module(erlxc_test).

-export([setup/1, teardown/1, engine/2]).
-export([name/1, container/1, container/2, rootfs/2, tmp/2, path/1]).
-export([driver/2, driver/3, drv_opts/1, program/0, soak/1, soak/2]).
-export([sleeper/0, clean_init/0, start/1, start_clean/3, stopped/1]).
-export([script/3, nap/2, probe/1, probes/1, up/1, up/2, expect/2, collect/1, inside/1]).
-export([eventually/2, timed/1, among/3, async/1, await/2, owner/1, sh/2, flatten/1]).
-export([port_pid/1, children/1, child/2, guardian/1, comm/1, ppid/1, state_of/1, alive/1]).
-export([signal/2, leftovers/2, processes/1, stat/1, rss/1, descriptors/1]).
-export([vm/3, vm_halt/1, vm_pid/1, vm_main/0]).

-include_lib("kernel/include/file.hrl").
-include_lib("stdlib/include/assert.hrl").

-define(TEMPLATE, "/usr/share/lxc/templates/lxc-busybox").

%% --- A suite's own directory ---------------------------------------------

%% A fresh directory with an empty lxcpath and the rootfs that containers are
%% copied from.
setup(Config) ->
    Token = "e" ++ string:lowercase(integer_to_list(list_to_integer(os:getpid()), 36))
        ++ "s" ++ integer_to_list(erlang:unique_integer([positive])),
    Base = sh("mktemp -d /tmp/erlxc-~s.XXXXXX", [Token]),
    Path = filename:join(Base, "lxc"),
    [ok = file:make_dir(filename:join(Base, D)) || D <- ["lxc", "tmp", "template"]],
    C = [{base, Base}, {lxcpath, list_to_binary(Path)}, {token, Token} | Config],
    template(filename:join(Base, "template")),
    C.

engine(Engine, Config) ->
    lists:keystore(engine, 1, Config, {engine, Engine}).

template(Dir) ->
    ok = file:write_file(filename:join(Dir, "config"), "lxc.net.0.type = empty\n"),
    Out = sh("~s --path=~s --name=template --rootfs=~s/rootfs 2>&1", [?TEMPLATE, Dir, Dir]),
    filelib:is_regular(filename:join(Dir, "rootfs/bin/busybox")) orelse error({template, Out}).

%% Stops and destroys what is left, removes the directory, and fails when any
%% trace of the suite's containers outlives that.
teardown(Config) ->
    Base = proplists:get_value(base, Config),
    Token = proplists:get_value(token, Config),
    {ok, Names} = file:list_dir(path(Config)),
    Failed = [F || N <- Names, F <- remove(Config, list_to_binary(N))],
    Left = try eventually(fun() -> none(leftovers(Token, Config)) end, 10000) of
        ok -> []
    catch
        error:{timeout, L} -> L
    end,
    [signal(P, "KILL") || {process, P, _} <- Left],
    {ok, Files} = file:list_dir(path(Config)),
    Mounts = [M || {mount, M} <- Left],
    Mounts =:= [] andalso sh("rm -rf ~s /run/lxc/lock~s", [Base, Base]),
    ?assertEqual({[], [], []}, {Failed, Left, Files}).

remove(Config, Name) ->
    try
        C = driver(Config, Name),
        true = liblxc:stop(C),
        Defined = liblxc:defined(C),
        Defined =:= false orelse (true = liblxc:destroy(C)),
        ok = erlxc_drv:stop(C),
        case Defined of
            true -> [];
            false -> [{husk, Name}]
        end
    catch
        Class:Reason -> [{Name, Class, Reason}]
    end.

none([]) -> true;
none(L) -> L.

path(Config) ->
    proplists:get_value(lxcpath, Config).

%% A path beside the lxcpath, for files of the tests.
tmp(Config, File) ->
    filename:join([proplists:get_value(base, Config), "tmp", flatten(File)]).

flatten(IoData) ->
    binary_to_list(iolist_to_binary(IoData)).

%% --- Containers ------------------------------------------------------------

%% A name that no other container of this run has.
name(Config) ->
    N = erlang:unique_integer([positive]),
    list_to_binary([proplists:get_value(token, Config), "n", integer_to_list(N), "z"]).

%% A defined, stopped busybox container, made without the code under test.
container(Config) ->
    container(Config, []).

%% The same with lines added to its configuration; of another template, when the
%% test's configuration says so.
container(Config, Lines) ->
    Name = name(Config),
    Template = filename:join(proplists:get_value(base, Config),
        proplists:get_value(template, Config, "template")),
    Dir = filename:join(path(Config), Name),
    "" = sh("mkdir ~s && cp -a ~s/rootfs ~s/rootfs", [Dir, Template, Dir]),
    {ok, Conf} = file:read_file(filename:join(Template, "config")),
    New = binary:replace(binary:replace(Conf, list_to_binary(Template), Dir, [global]),
        <<"\"template\"">>, Name),
    ok = file:write_file(filename:join(Dir, "config"), [New, [[L, "\n"] || L <- Lines]]),
    Name.

rootfs(Config, Name) ->
    filename:join([path(Config), Name, "rootfs"]).

drv_opts(Config) ->
    [{path, path(Config)}, {progname, program()},
        {engine, proplists:get_value(engine, Config, lxc)}].

program() ->
    case os:getenv("ERLXC_PORT") of
        false ->
            Ebin = filename:dirname(code:which(erlxc_drv)),
            filename:join([filename:dirname(filename:absname(Ebin)), "priv", "erlxc"]);
        File ->
            File
    end.

%% The factor by which ERLXC_SOAK makes a long run longer.
soak(N) ->
    N * list_to_integer(os:getenv("ERLXC_SOAK", "1")).

%% Or to Full at most.
soak(N, Full) ->
    min(soak(N), Full).

driver(Config, Name) ->
    driver(Config, Name, []).

driver(Config, Name, Opts) ->
    {ok, C} = erlxc_drv:start([{name, Name} | Opts] ++ drv_opts(Config)),
    C.

%% An init that ignores every signal that may be ignored.
sleeper() ->
    [<<"/bin/sleep">>, <<"1000">>].

%% An init that ends at once on the busybox template's lxc.signal.halt (USR1),
%% leaving /halted, and reboots on its lxc.signal.reboot (TERM). /ready says
%% that it listens.
clean_init() ->
    [<<"/bin/sh">>, <<"-c">>,
        <<"trap ': > /halted; exit 0' USR1; trap 'reboot -f' TERM;"
          "echo $$ >> /ready; while :; do sleep 1000 & wait $!; done">>].

start(C) ->
    {ok, Pid} = liblxc:start(C, 0, sleeper()),
    Pid.

start_clean(C, Config, Name) ->
    Ready = filename:join(rootfs(Config, Name), "ready"),
    {ok, Pid} = liblxc:start(C, 0, clean_init()),
    eventually(fun() -> filelib:is_regular(Ready) end, 5000),
    Pid.

stopped(C) ->
    eventually(fun() -> is(<<"STOPPED">>, liblxc:state(C)) end, 5000).

is(X, X) -> true;
is(_, Y) -> Y.

%% An executable shell script beside the lxcpath; its path.
script(Config, File, Lines) ->
    Path = tmp(Config, File),
    ok = file:write_file(Path, ["#!/bin/sh\n", [[L, "\n"] || L <- Lines]]),
    ok = file:change_mode(Path, 8#755),
    list_to_binary(Path).

%% A sleep(1) whose command line has the container's name in it, so that one
%% that is left behind is found: the path to call.
nap(Config, Name) ->
    Path = tmp(Config, [Name, ".nap"]),
    _ = file:make_symlink("/bin/sleep", Path),
    Path.

%% --- Commands in containers ------------------------------------------------

%% A probe program on the host.
probe(Name) ->
    Default = filename:join([filename:dirname(program()), "..", "build"]),
    Build = os:getenv("ERLXC_BUILD", Default),
    [File | _] = [F || D <- ["probe", "."], F <- [filename:join([Build, D, Name])],
        filelib:is_regular(F)],
    File.

%% Puts probes into /probe of every container made from now on.
probes(Config) ->
    Dir = filename:join(proplists:get_value(base, Config), "template/rootfs/probe"),
    Files = [[" ", probe(P)]
        || P <- ["burst", "daemon", "deaf", "die", "overwrite", "self", "spy"]],
    "" = sh("mkdir ~s && cp ~s ~s", [Dir, Files, Dir]),
    Config.

%% A running container with ptys enough: its driver, its name, its init.
up(Config) ->
    up(Config, []).

up(Config, Lines) ->
    Name = container(Config, ["lxc.pty.max = 1024" | Lines]),
    C = driver(Config, Name, [{shutdown, 0}]),
    {C, Name, start(C)}.

%% What a command has sent when Part is in it.
expect(P, Part) ->
    expect(P, iolist_to_binary(Part), <<>>).

expect(P, Part, Seen) ->
    case has(Seen, Part) of
        true ->
            Seen;
        false ->
            case erlxc:recv(P, 0, slow(10000)) of
                {ok, Data} -> expect(P, Part, <<Seen/binary, Data/binary>>);
                Error -> error({Error, {expected, Part}, {got, Seen}})
            end
    end.

%% All that a command sends, and how it ends.
collect(P) ->
    collect(P, []).

collect(P, Seen) ->
    case erlxc:recv(P, 0, slow(30000)) of
        {ok, Data} ->
            collect(P, [Seen, Data]);
        {error, closed} ->
            {ok, Status} = erlxc:wait(P, 1000),
            {iolist_to_binary(Seen), Status};
        Error ->
            error({Error, iolist_size(Seen)})
    end.

%% The processes of a container, by the host's numbers, but for its init.
inside(Init) ->
    Ns = fun(P) -> file:read_link(lists:concat(["/proc/", P, "/ns/pid"])) end,
    {ok, _} = Mine = Ns(Init),
    lists:sort([P || P <- pids(), P =/= Init, alive(P), Ns(P) =:= Mine]).

%% --- Waiting, measuring ----------------------------------------------------

%% Polls until Fun gives true (ok) or {ok, Value} (Value).
eventually(Fun, Timeout) ->
    poll(Fun, erlang:monotonic_time(millisecond) + slow(Timeout)).

poll(Fun, End) ->
    case Fun() of
        true ->
            ok;
        {ok, Value} ->
            Value;
        Other ->
            erlang:monotonic_time(millisecond) < End orelse error({timeout, Other}),
            receive after 20 -> ok end,
            poll(Fun, End)
    end.

timed(Fun) ->
    {Us, Result} = timer:tc(Fun),
    {Us div 1000, Result}.

%% That Min =< N =< Max; ERLXC_SLOW is a factor for Max, as for all time limits.
among(Min, Max, N) ->
    {N, true} = {N, N >= Min andalso N =< slow(Max)},
    ok.

slow(Ms) ->
    Ms * list_to_integer(os:getenv("ERLXC_SLOW", "1")).

%% Calls Fun in a process of its own; await/2 gives its value or {raised, Class,
%% Reason}.
async(Fun) ->
    spawn_monitor(fun() ->
        exit({async, try Fun() catch C:R -> {raised, C, R} end})
    end).

await({Pid, Ref}, Timeout) ->
    receive
        {'DOWN', Ref, process, Pid, {async, Value}} -> Value;
        {'DOWN', Ref, process, Pid, Reason} -> {died, Reason}
    after slow(Timeout) -> error({await, timeout})
    end.

%% A process that runs Fun and stays until it is told to exit, or the caller ends.
owner(Fun) ->
    Self = self(),
    Owner = spawn(fun() ->
        Ref = monitor(process, Self),
        Self ! {self(), try {ok, Fun()} catch C:R:S -> {C, R, S} end},
        receive exit -> ok; {'DOWN', Ref, _, _, _} -> ok end
    end),
    receive {Owner, {ok, Value}} -> {Owner, Value};
        {Owner, Error} -> error(Error)
    end.

sh(Format, Args) ->
    string:trim(os:cmd(lists:flatten(io_lib:format(Format, Args))), trailing, "\n").

%% --- Processes of the host -------------------------------------------------

pids() ->
    {ok, Files} = file:list_dir("/proc"),
    [list_to_integer(F) || F <- Files, lists:all(fun(D) -> D >= $0 andalso D =< $9 end, F)].

%% Past the file server, which a search of /proc would keep busy.
proc(Pid, File) ->
    case file:open(["/proc/", integer_to_list(Pid), "/", File], [read, raw, binary]) of
        {ok, Fd} ->
            try read_all(Fd)
            after file:close(Fd)
            end;
        {error, _} ->
            <<>>
    end.

read_all(Fd) ->
    case file:read(Fd, 65536) of
        {ok, Bytes} -> <<Bytes/binary, (read_all(Fd))/binary>>;
        _ -> <<>>
    end.

%% The fields of proc(5), from the third on; the name before them may be anything.
stat(Pid) ->
    case string:split(proc(Pid, "stat"), ")", trailing) of
        [_, Rest] -> string:lexemes(string:trim(Rest), " ");
        _ -> [<<"X">>, <<"0">>]
    end.

ppid(Pid) -> binary_to_integer(lists:nth(2, stat(Pid))).

state_of(Pid) -> binary_to_list(hd(stat(Pid))).

%% In kB.
rss(Pid) ->
    {match, [Kb]} = re:run(proc(Pid, "status"), "VmRSS:\\s*([0-9]+)", [{capture, [1], list}]),
    list_to_integer(Kb).

descriptors(Pid) ->
    {ok, Files} = file:list_dir(lists:concat(["/proc/", Pid, "/fd"])),
    length(Files).

alive(Pid) -> not lists:member(state_of(Pid), ["X", "Z"]).

comm(Pid) -> string:trim(proc(Pid, "comm")).

children(Pid) -> [P || P <- pids(), ppid(P) =:= Pid].

%% The child of Pid whose name is Comm; waits for it to appear.
child(Pid, Comm) ->
    eventually(fun() ->
        case [P || P <- children(Pid), comm(P) =:= Comm, alive(P)] of
            [P | _] -> {ok, P};
            [] -> {no_child, Comm, [{P, comm(P)} || P <- children(Pid)]}
        end
    end, 5000).

%% The guardian at work below Port. (A temporary container that does not run has
%% an idle one.)
guardian(Port) ->
    eventually(fun() ->
        case [P || P <- children(Port), comm(P) =:= <<"erlxc-guardian">>, children(P) =/= []] of
            [P] -> {ok, P};
            Other -> {guardians, Other, [{P, comm(P)} || P <- children(Port)]}
        end
    end, 5000).

%% The port program that serves Name: its workers have the same command line,
%% but their parent has it too.
port_pid(Name) ->
    eventually(fun() ->
        All = [P || P <- pids(), serves(Name, P), alive(P)],
        case [P || P <- All, not lists:member(ppid(P), All)] of
            [P] -> {ok, P};
            Other -> {ports, Other}
        end
    end, 5000).

serves(Name, Pid) ->
    binary:match(proc(Pid, "cmdline"), <<0, "-n", 0, Name/binary, 0>>) =/= nomatch.

signal(Pid, Signal) when is_integer(Pid), Pid > 1 ->
    sh("kill -~s ~b", [Signal, Pid]).

%% --- Leftovers -------------------------------------------------------------

%% Every trace of a container (or, by the suite's token, of all): processes,
%% mounts, cgroups, interfaces, command sockets, locks that are held.
leftovers(Name, Config) ->
    N = iolist_to_binary(Name),
    processes(N) ++ mounts(N) ++ cgroups(N) ++ interfaces(N) ++ sockets(N)
        ++ locks(N, Config).

%%
%% Kernel threads and zombies have no command line.
processes(Name) ->
    Self = list_to_integer(os:getpid()),
    [{process, P, printable(Cmd)} || P <- pids(), P =/= Self,
        Cmd <- [proc(P, "cmdline")], Cmd =/= <<>>, traces(iolist_to_binary(Name), P, Cmd)].

traces(Name, Pid, Cmd) ->
    has(Cmd, Name) orelse has(proc(Pid, "cgroup"), Name) orelse has(proc(Pid, "environ"), Name).

printable(Cmdline) ->
    binary:replace(Cmdline, <<0>>, <<" ">>, [global]).

has(Bytes, Part) ->
    binary:match(Bytes, iolist_to_binary(Part)) =/= nomatch.

mounts(Name) ->
    lines(mount, "/proc/self/mountinfo", Name).

sockets(Name) ->
    lines(socket, "/proc/net/unix", Name).

lines(Kind, File, Part) ->
    {ok, Text} = file:read_file(File),
    [{Kind, L} || L <- binary:split(Text, <<"\n">>, [global]), has(L, Part)].

%% liblxc makes its cgroups at the top of each hierarchy or below our own.
cgroups(Name) ->
    Roots = ["/sys/fs/cgroup" | subdirs("/sys/fs/cgroup")],
    {ok, Own} = file:read_file("/proc/self/cgroup"),
    Subs = lists:usort(["" | [binary_to_list(P) || L <- binary:split(Own, <<"\n">>, [global, trim]),
        [_, _, <<"/", P/binary>>] <- [binary:split(L, <<":">>, [global])]]]),
    lists:usort([{cgroup, filename:join(D, N)} || R <- Roots, S <- Subs,
        D <- [filename:join(R, S)], N <- subdirs_of_name(D, Name)]).

subdirs(Dir) ->
    {ok, Names} = file:list_dir(Dir),
    [D || N <- Names, D <- [filename:join(Dir, N)], filelib:is_dir(D)].

subdirs_of_name(Dir, Name) ->
    case file:list_dir(Dir) of
        {ok, Names} -> [N || N <- Names, has(list_to_binary(N), Name)];
        {error, _} -> []
    end.

interfaces(Name) ->
    {ok, Names} = file:list_dir("/sys/class/net"),
    [{interface, I} || I <- Names, has(list_to_binary(I), Name)].

%% liblxc leaves its lock files, unlocked; one that is held is a leftover.
locks(Name, Config) ->
    Dir = "/run/lxc/lock" ++ binary_to_list(path(Config)),
    {ok, Held} = file:read_file("/proc/locks"),
    [{lock, F} || F <- filelib:wildcard(Dir ++ "/.*"), has(list_to_binary(F), Name),
        has(Held, [":", inode(F), " "])].

inode(File) ->
    case file:read_file_info(File) of
        {ok, #file_info{inode = Inode}} -> integer_to_list(Inode);
        {error, _} -> "none"
    end.

%% --- A second Erlang VM ----------------------------------------------------

%% Starts a VM that calls M:F(A...), and gives the call's value and the VM, which
%% stays until vm_halt/1, its death, or the death of the caller.
vm(M, F, A) ->
    Paths = lists:usort([filename:dirname(code:which(X)) || X <- [erlxc_drv, M, ?MODULE]]),
    Arg = base64:encode(term_to_binary({M, F, A})),
    Vm = open_port({spawn_executable, filename:join([code:root_dir(), "bin", "erl"])},
        [{args, ["-noshell", "-pa"] ++ Paths ++ ["-s", "erlxc_test", "vm_main", "-extra", Arg]},
            {line, 65536}, binary, exit_status]),
    {vm_result(Vm), Vm}.

vm_result(Vm) ->
    receive
        {Vm, {data, {eol, <<"result ", Line/binary>>}}} -> binary_to_term(base64:decode(Line));
        {Vm, {data, {eol, Line}}} -> error({vm, Line});
        {Vm, {exit_status, N}} -> error({vm, exit_status, N})
    after 30000 -> error({vm, timeout})
    end.

vm_main() ->
    [Arg] = init:get_plain_arguments(),
    {M, F, A} = binary_to_term(base64:decode(Arg)),
    Result = try apply(M, F, A) catch C:R:S -> {C, R, S} end,
    io:format("result ~s~n", [base64:encode(term_to_binary(Result))]),
    _ = io:get_line(""),
    erlang:halt(0).

vm_halt(Vm) ->
    true = port_command(Vm, <<"halt\n">>),
    receive
        {Vm, {exit_status, 0}} -> ok
    after 10000 -> error(vm_halt)
    end.

vm_pid(Vm) ->
    {os_pid, Pid} = erlang:port_info(Vm, os_pid),
    Pid.
