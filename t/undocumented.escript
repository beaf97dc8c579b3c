#!/usr/bin/env escript
%% SPDX-License-Identifier: ISC
%% Prints every module without a description, and every exported function
%% without one or without a spec, of the files named. Callbacks are documented by
%% their behaviour.

main(Files) ->
    Dir = string:trim(os:cmd("mktemp -d")),
    ok = edoc:files(Files, [{dir, Dir}, {preprocess, true},
        {doclet, edoc_doclet_chunks}, {layout, edoc_layout_chunks}]),
    Bad = lists:append([file(F, Dir) || F <- Files]),
    os:cmd("rm -r " ++ Dir),
    [io:put_chars([L, $\n]) || L <- Bad],
    halt(length(Bad)).

file(File, Dir) ->
    Name = filename:basename(File, ".erl"),
    {ok, Bin} = file:read_file(filename:join([Dir, "chunks", Name ++ ".chunk"])),
    {docs_v1, _, _, _, ModuleDoc, _, Docs} = binary_to_term(Bin),
    {ok, Forms} = epp:parse_file(File, []),
    Specs = [FA || {attribute, _, spec, {FA, _}} <- Forms],
    Callbacks = lists:append([B:behaviour_info(callbacks)
        || {attribute, _, behaviour, B} <- Forms]),
    Exports = lists:append([E || {attribute, _, export, E} <- Forms]) -- Callbacks,
    Described = [{F, A} || {{function, F, A}, _, _, Doc, _} <- Docs, Doc =/= none],
    [[File, ": no description of the module"] || ModuleDoc =:= none]
        ++ [line(File, FA, "no description") || FA <- Exports -- Described]
        ++ [line(File, FA, "no spec") || FA <- Exports -- Specs].

line(File, {F, A}, What) ->
    io_lib:format("~s: ~s/~b: ~s", [File, F, A, What]).
