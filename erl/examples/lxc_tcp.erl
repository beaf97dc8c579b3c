%% SPDX-License-Identifier: ISC
%% @doc A TCP server that gives every client a shell in a container of its own.
%%
%% ```
%% {ok, Server, Port} = lxc_tcp:start(0, []).
%% $ nc localhost Port
%% '''
%%
%% The container has no name, so it is temporary: it is created for the client, and
%% destroyed when the client or the shell leaves.
-module(lxc_tcp).

-export([start/2, stop/1]).

%% For a shell that does not read: while we wait, the client's leaving is not seen.
-define(PATIENCE_MS, 60000).

%% @doc Listens on the loopback interface; Port 0: a free one. Options: further ones
%% of `erlxc:spawn/2'.
-spec start(inet:port_number(), [erlxc:option()]) -> {ok, pid(), inet:port_number()}.
start(Port, Options) ->
    Self = self(),
    Server = spawn_link(fun() ->
        process_flag(trap_exit, true),
        {ok, Listen} = gen_tcp:listen(Port, [binary, {active, false}, {ip, loopback},
            {reuseaddr, true}, {nodelay, true}]),
        {ok, Actual} = inet:port(Listen),
        Self ! {self(), Actual},
        serve(Self, Listen, Options)
    end),
    receive {Server, Actual} -> {ok, Server, Actual} end.

%% @doc Stops the server, with all its clients.
-spec stop(pid()) -> ok.
stop(Server) ->
    Ref = monitor(process, Server),
    unlink(Server),
    exit(Server, shutdown),
    receive {'DOWN', Ref, process, Server, _} -> ok end.

%% One process waits for the next client; then it is his.
serve(Parent, Listen, Options) ->
    Server = self(),
    spawn_link(fun() ->
        {ok, Socket} = gen_tcp:accept(Listen),
        Server ! next,
        client(Socket, Options)
    end),
    wait(Parent, Listen, Options).

wait(Parent, Listen, Options) ->
    receive
        next -> serve(Parent, Listen, Options);
        {'EXIT', _, shutdown} -> exit(shutdown);
        {'EXIT', Parent, Reason} -> exit(Reason);
        {'EXIT', _, _} -> wait(Parent, Listen, Options)
    end.

%% Two processes, so that a client that does not read can still be read from. The
%% container's owner is this one: however it ends, the container does, too.
client(Socket, Options) ->
    case erlxc:spawn(<<>>, [{pty, false} | Options]) of
        {ok, Pid} ->
            spawn_link(fun() -> to_client(Pid, Socket) end),
            from_client(Socket, Pid),
            erlxc:stop(Pid);
        {error, Reason} ->
            gen_tcp:send(Socket, io_lib:format("no container: ~tp~n", [Reason]))
    end.

from_client(Socket, Pid) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Data} ->
            case erlxc:send(Pid, Data, ?PATIENCE_MS) of
                ok -> from_client(Socket, Pid);
                {error, _} -> ok
            end;
        {error, _} ->
            ok
    end.

to_client(Pid, Socket) ->
    case erlxc:recv(Pid) of
        {ok, Data} ->
            _ = gen_tcp:send(Socket, Data),
            to_client(Pid, Socket);
        {error, closed} ->
            gen_tcp:shutdown(Socket, read_write)
    end.
