%% SPDX-License-Identifier: ISC
%% Runs the Common Test suites and the PropEr properties for t/check.sh, one
%% line a case on file descriptor 3, which is the terminal: Common Test's own
%% chatter goes elsewhere. A case that ends is counted in the file named, so
%% that the count is right even when the node is gone half-way.
-module(erlxc_check).
-behaviour(gen_event).

-export([suites/2, properties/2]).
-export([init/1, handle_event/2, handle_call/2]).

-include_lib("common_test/include/ct_event.hrl").

%% Runs the suites, whose beams are in Dir/t; counts go to File.
suites(Dir, File) ->
    Suites = [list_to_atom(S) || S <- string:lexemes(os:getenv("SUITES"), " ")],
    Beams = filename:join(Dir, "t"),
    Log = filename:join(Dir, "ct"),
    ok = filelib:ensure_dir(filename:join(Log, "x")),
    R = ct:run_test([{dir, Beams}, {suite, Suites}, {logdir, Log},
        {auto_compile, false}, {multiply_timetraps, slow()},
        {event_handler, {?MODULE, [File]}}]),
    case R of
        {Ok, Failed, {User, Auto}} when Ok + Failed + User + Auto > 0 -> halt(0);
        _ -> io:format("ct:run_test: ~p~n", [R]), halt(1)
    end.

%% How many times longer than usual things may take.
slow() ->
    list_to_integer(os:getenv("ERLXC_SLOW", "1")).

%% Runs every prop_*/0 of the modules.
properties(Modules, File) ->
    Out = out(),
    [property(Out, File, M, F) || M <- Modules, {F, 0} <- M:module_info(exports),
        lists:prefix("prop_", atom_to_list(F))],
    halt(0).

property(Out, File, M, F) ->
    Start = now_ms(),
    Name = io_lib:format("~s:~s", [M, F]),
    N = list_to_integer(os:getenv("PROPER_TESTS", "200")),
    Result = try proper:quickcheck(M:F(), [{numtests, N}, {max_shrinks, 200}]) of
        true -> ok;
        R -> {failed, io_lib:format("~tlp~n~tlP", [R, proper:counterexample(), 60])}
    catch
        C:E:Stack -> {failed, {C, E, Stack}}
    end,
    done(Out, File, Name, Result, Start).

%% --- The event handler ------------------------------------------------------

init([File]) ->
    {ok, #{out => out(), file => File, group => [], start => #{}}}.

handle_event(#event{name = tc_start, data = {_, {init_per_group, G, _}}}, S) ->
    {ok, S#{group := [$:, atom_to_list(G)]}};
handle_event(#event{name = tc_start, data = {_, init_per_suite}}, S) ->
    {ok, S#{group := [], start := #{}}};
handle_event(#event{name = tc_start, data = Case}, #{start := Start} = S) ->
    {ok, S#{start := Start#{Case => now_ms()}}};
handle_event(#event{name = tc_done, data = {Suite, Case, Result}}, S) ->
    tc_done(Suite, Case, Result, S),
    {ok, left(Case, S)};
handle_event(#event{name = Skip, data = {Suite, Case, Reason}}, S)
    when Skip =:= tc_auto_skip; Skip =:= tc_user_skip ->
    tc_done(Suite, Case, {skipped, Reason}, S),
    {ok, left(Case, S)};
handle_event(_, S) ->
    {ok, S}.

handle_call(_, S) ->
    {ok, ok, S}.

left({end_per_group, _, _}, S) -> S#{group := []};
left({end_per_group, _}, S) -> S#{group := []};
left(_, S) -> S.

%% What comes before and after the cases is worth a line only when it failed.
tc_done(Suite, Case, Result, #{out := Out, file := File, start := Start} = S) ->
    Name = [atom_to_list(Suite), maps:get(group, S), $:, name(Case)],
    case is_failure(Result) orelse not is_frame(Case) of
        true -> done(Out, File, Name, Result, maps:get({Suite, Case}, Start, now_ms()));
        false -> ok
    end.

is_failure({failed, _}) -> true;
is_failure(_) -> false.

is_frame({_, _, _}) -> true;
is_frame({end_per_group, _}) -> true;
is_frame(Case) -> Case =:= init_per_suite orelse Case =:= end_per_suite.

name({Case, Group}) when is_atom(Case), is_atom(Group) -> atom_to_list(Case);
name({Case, _, _}) -> atom_to_list(Case);
name(Case) -> atom_to_list(Case).

%% --- One line ---------------------------------------------------------------

out() ->
    open_port({fd, 0, 3}, [out, binary]).

done(Out, File, Name, Result, Start) ->
    {Word, Reason} = verdict(Result),
    Line = io_lib:format("~s ~s (~.1f s)~n~s",
        [Word, Name, (now_ms() - Start) / 1000, Reason]),
    ok = file:write_file(File, [Word, $\n], [append]),
    true = port_command(Out, unicode:characters_to_binary(Line)).

verdict(ok) -> {"ok", ""};
verdict({failed, R}) -> {"FAILED", reason(R)};
verdict({auto_skipped, R}) -> {"skipped", reason(R)};
verdict({skipped, R}) -> {"skipped", reason(R)}.

reason({failed, {Suite, Init, _}}) ->
    io_lib:format("    ~s:~s failed~n", [Suite, Init]);
reason(R) ->
    Text = case is_list(R) andalso io_lib:printable_unicode_list(lists:flatten(R)) of
        true -> lists:flatten(R);
        false -> io_lib:format("~tP", [R, 60])
    end,
    [["    ", L, $\n] || L <- string:lexemes(unicode:characters_to_list(Text), "\n")].

now_ms() ->
    erlang:monotonic_time(millisecond).
