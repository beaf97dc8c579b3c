%% SPDX-License-Identifier: ISC
%% @doc A supervised container: when its command ends, or it is killed, the supervisor
%% brings it up again.
-module(lxc_sup).
-behaviour(supervisor).

-export([start_link/2, stream/1]).
-export([init/1]).

%% @doc Starts a supervisor of the container Name; Options as of `erlxc:spawn/2'.
-spec start_link(iodata(), [erlxc:option()]) -> {ok, pid()} | {error, term()}.
start_link(Name, Options) ->
    supervisor:start_link(?MODULE, {Name, Options}).

%% @private
init({Name, Options}) ->
    {ok, {#{intensity => 5, period => 60}, [erlxc:child_spec(Name, Options)]}}.

%% @doc The stream as it is now, for `erlxc'; `restarting' while there is none.
-spec stream(pid()) -> pid() | restarting.
stream(Sup) ->
    [{_, Stream, worker, _}] = supervisor:which_children(Sup),
    Stream.
