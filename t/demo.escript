#!/usr/bin/env escript
%% SPDX-License-Identifier: ISC
%%! -pa ebin -kernel logger_level warning
%%
%% The life of a container, one call after another, as in a shell: what is
%% called is what is printed. Works in a temporary lxcpath, leaves nothing.

main([]) ->
    Path = string:trim(os:cmd("mktemp -d /tmp/erlxc-demo.XXXXXX")),
    try
        demo(Path)
    after
        %% liblxc keeps a lock file for each container that ever was.
        os:cmd(["rm -rf --one-file-system ", Path, " /run/lxc/lock", Path])
    end.

demo(Path) ->
    Start = "{ok, C} = erlxc_drv:start([{name, <<\"demo\">>}, {path, Path}]).",
    {C, B0} = match('C', Start, [{'Path', Path}]),
    Bindings = lists:foldl(fun(Call, B) -> call(Call, B) end, B0, calls()),
    false = erl_eval_value("liblxc:defined(C).", Bindings),
    ok = erlxc_drv:stop(C).

calls() ->
    ["liblxc:version(C).",
     "liblxc:set_config_item(C, <<\"lxc.net.0.type\">>, <<\"empty\">>).",
     "liblxc:create(C, <<\"busybox\">>, <<>>, <<>>, 0, []).",
     "{ok, Init} = liblxc:start(C).",
     "liblxc:state(C).",
     "liblxc:wait(C, <<\"RUNNING\">>, 10).",
     "Init =:= liblxc:init_pid(C).",
     "liblxc:get_config_item(C, <<\"lxc.uts.name\">>).",
     "liblxc:get_cgroup_item(C, <<\"pids.current\">>).",
     "liblxc:get_interfaces(C).",
     "erlxc:run(C, [\"uname\", \"-s\"]).",
     "{ok, Sh} = erlxc:spawn(C, [{exec, \"/bin/sh\"}, {pty, false}]).",
     "erlxc:send(Sh, <<\"hostname\\n\">>).",
     "erlxc:recv(Sh).",
     "erlxc:send(Sh, <<\"echo $((6 * 7)); exit 3\\n\">>).",
     "erlxc:recv(Sh).",
     "erlxc:wait(Sh).",
     "erlxc:run(C, [\"tty\"], [{pty, true}]).",
     "liblxc:freeze(C).",
     "liblxc:state(C).",
     "liblxc:unfreeze(C).",
     "liblxc:set_config_item(C, <<\"lxc.bogus\">>, <<\"1\">>).",
     "liblxc:last_error(C).",
     "liblxc:shutdown(C, 10).",
     "liblxc:state(C).",
     "liblxc:destroy(C)."].

match(Var, Call, Bindings) ->
    After = call(Call, Bindings),
    {proplists:get_value(Var, After), After}.

%% Prints a call as the shell would, and its value.
call(Call, Bindings) ->
    io:format("> ~s~n", [Call]),
    {value, Value, After} = eval(Call, Bindings),
    io:format("~tp~n", [Value]),
    After.

erl_eval_value(Call, Bindings) ->
    {value, Value, _} = eval(Call, Bindings),
    Value.

eval(Call, Bindings) ->
    {ok, Tokens, _} = erl_scan:string(Call),
    {ok, Exprs} = erl_parse:parse_exprs(Tokens),
    erl_eval:exprs(Exprs, Bindings).
