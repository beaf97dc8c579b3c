%% SPDX-License-Identifier: ISC
-module(erlxc_user).
-export([main/1]).

%% Talks to the port program that rebar3 has built, and to no container.
-spec main([file:filename()]) -> ok.
main([Path]) ->
    {ok, [erlxc, erlxc_user]} = application:ensure_all_started(erlxc_user),
    {ok, C} = erlxc_drv:start([{name, "rebar3"}, {path, Path}]),
    <<"rebar3">> = liblxc:name(C),
    io:format("erlxc with liblxc ~s~n", [liblxc:version(C)]),
    ok = erlxc_drv:stop(C).
