#!/usr/bin/env escript
%% SPDX-License-Identifier: ISC
%% Does the port named start, answer, and end? Without liblxc it says so by its
%% engines, and its commands raise notsup. Speaks the protocol itself.

main([File]) ->
    Port = open_port({spawn_executable, File},
        [{args, ["-n", "smoke"]}, {packet, 4}, binary, exit_status]),
    {ready, Ready} = from(Port),
    Lxc = lists:member(lxc, maps:get(engines, Ready)),
    Checks = [
        {"protocol", maps:get(protocol, Ready), 1},
        {"commands", lists:member({state, 0}, element(3, call(Port, 1, commands, []))), true},
        {"name", call(Port, 2, name, []), {reply, 2, <<"smoke">>, <<>>}},
        {"state", call(Port, 3, state, []), result(Lxc, 3, {reply, 3, <<"STOPPED">>, <<>>})},
        {"unknown command", call(Port, 4, no_such, []), {raise, 4, undef}},
        {"halt", halt_port(Port), 0}],
    Failed = [F || {_, Got, Want} = F <- Checks, Got =/= Want],
    [io:format("~s ~s~n", [word(Got, Want), Name]) || {Name, Got, Want} <- Checks],
    [io:format("~s: got ~p, want ~p~n", [N, G, W]) || {N, G, W} <- Failed],
    io:format("~b passed, ~b failed, 0 skipped~n",
        [length(Checks) - length(Failed), length(Failed)]),
    halt(min(1, length(Failed))).

word(Same, Same) -> "ok";
word(_, _) -> "FAILED".

result(true, _, Reply) -> Reply;
result(false, Id, _) -> {raise, Id, notsup}.

call(Port, Id, Command, Args) ->
    port_command(Port, term_to_binary({Id, Command, Args})),
    from(Port).

halt_port(Port) ->
    port_command(Port, term_to_binary({0, halt, []})),
    receive
        {Port, {exit_status, Status}} -> Status
    after 10000 -> timeout
    end.

from(Port) ->
    receive
        {Port, {data, Frame}} -> binary_to_term(Frame);
        {Port, {exit_status, Status}} -> {exit, Status, []}
    after 10000 -> {timeout, Port, []}
    end.
