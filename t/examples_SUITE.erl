%% SPDX-License-Identifier: ISC
%% The examples do what they say, and leave nothing.
-module(examples_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlxc_test, [
    name/1, container/2, rootfs/2, tmp/2, path/1, drv_opts/1, eventually/2, leftovers/2,
    alive/1, signal/2, sh/2
]).

suite() ->
    [{timetrap, {minutes, 2}}].

all() ->
    [{group, lxc}].

groups() ->
    [{lxc, [], [seed_module, tcp_server, supervised_container, elixir]}].

init_per_suite(Config) ->
    Dir = filename:dirname(code:which(?MODULE)),
    [{ok, M} = compile:file(F, [{outdir, Dir}]) || M <- [lxc, lxc_tcp, lxc_sup],
        F <- [filename:join(examples(), M)]],
    erlxc_test:setup(Config).

end_per_suite(Config) ->
    erlxc_test:teardown(Config).

init_per_group(lxc, Config) ->
    erlxc_test:engine(lxc, Config);
init_per_group(_, Config) ->
    Config.

end_per_group(_, _) ->
    ok.

examples() ->
    filename:join([filename:dirname(code:which(erlxc)), "..", "erl", "examples"]).

%% What erlxc:spawn/2 takes for a container of the suite's.
options(Config) ->
    {value, {progname, Program}, Rest} = lists:keytake(progname, 1, drv_opts(Config)),
    [{config, [{"lxc.net.0.type", "empty"}]}, {shutdown, 0}, {driver, [{progname, Program}]} | Rest].

%% --- Cases ----------------------------------------------------------------------

%% The module that the project began with: a container on a bridge, from define to
%% destroy.
seed_module(Config) ->
    Name = name(Config),
    Bridge = list_to_binary(["bx", proplists:get_value(token, Config)]),
    "" = sh("ip link add ~s type bridge 2>&1", [Bridge]),
    try
        C = lxc:define(Name, Bridge, drv_opts(Config)),
        ?assert(lxc:create(C)),
        %% Without a DHCP server the template's rcS would take a minute.
        ok = file:write_file(filename:join(rootfs(Config, Name), "etc/init.d/rcS"), "#!/bin/sh\n"),
        {ok, Init} = lxc:start(C),
        ?assert(alive(Init)),
        eventually(fun() -> erlxc_test:children(Init) =/= [] end, 5000),
        ?assert(lxc:shutdown(C)),
        ?assert(liblxc:wait(C, "STOPPED", 20)),
        eventually(fun() -> lxc:destroy(C) end, 5000),
        ok = erlxc_drv:stop(C)
    after
        sh("ip link del ~s", [Bridge])
    end.

%% Each client has a shell in a container of its own, which is gone when he is, as all
%% are when the server is.
tcp_server(Config) ->
    {ok, Server, Port} = lxc_tcp:start(0, options(Config)),
    [A, B, C] = [begin
        {ok, S} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
        S
    end || _ <- [1, 2, 3]],
    [HostA, HostB, HostC] = [asked(S, "hostname\n") || S <- [A, B, C]],
    ?assertEqual(3, length(lists:usort([HostA, HostB, HostC]))),
    ok = gen_tcp:close(A),
    eventually(fun() -> gone(HostA, Config) end, 10000),
    ?assertEqual(HostB, asked(B, "hostname\n")),
    ok = gen_tcp:send(B, "exit\n"),
    ?assertEqual({error, closed}, gen_tcp:recv(B, 0, 10000)),
    eventually(fun() -> gone(HostB, Config) end, 10000),
    ?assertEqual(HostC, asked(C, "hostname\n")),
    ok = lxc_tcp:stop(Server),
    eventually(fun() -> gone(HostC, Config) end, 10000).

asked(Socket, Command) ->
    ok = gen_tcp:send(Socket, Command),
    {ok, Line} = gen_tcp:recv(Socket, 0, 30000),
    string:trim(Line).

%% Neither a trace of it nor its directory.
gone(Name, Config) ->
    case leftovers(Name, Config) of
        [] -> not filelib:is_dir(filename:join(path(Config), Name));
        Left -> Left
    end.

%% A container that is killed is there again, its supervisor's other children have not
%% noticed; it ends with the supervisor.
supervised_container(Config) ->
    Name = container(Config, []),
    {ok, Sup} = lxc_sup:start_link(Name, [{exec, ["/bin/cat"]}, {pty, false} | options(Config)]),
    First = lxc_sup:stream(Sup),
    Init = liblxc:init_pid(erlxc:container(First)),
    "" = signal(Init, "KILL"),
    Second = eventually(fun() ->
        case lxc_sup:stream(Sup) of
            P when is_pid(P), P =/= First -> {ok, P};
            Other -> Other
        end
    end, 10000),
    ok = erlxc:send(Second, "again"),
    ?assertEqual({ok, <<"again">>}, erlxc:recv(Second, 5, 5000)),
    ?assertNotEqual(Init, liblxc:init_pid(erlxc:container(Second))),
    unlink(Sup),
    exit(Sup, shutdown),
    eventually(fun() -> case leftovers(Name, Config) of [] -> true; L -> L end end, 10000).

%% The same conversation from Elixir.
elixir(Config) ->
    case os:find_executable("elixir") of
        false ->
            {skip, "elixir is not installed"};
        Elixir ->
            Ebin = filename:dirname(code:which(erlxc)),
            Out = sh("LC_ALL=C.UTF-8 ~s -pa ~s ~s/conversation.exs ~s ~s 2>&1", [Elixir, Ebin,
                examples(), path(Config), erlxc_test:program()]),
            ?assertEqual("Hello from erlxc\n{:exit_status, 3}", Out)
    end.
