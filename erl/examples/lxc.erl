%% SPDX-License-Identifier: ISC
%% @doc The low-level API: a container defined, created, started, shut down and
%% destroyed, each by its caller.
%%
%% Needs a bridge. `-DTEMPLATE='<<"debian">>'' makes another system of it.
-module(lxc).
-export([
        define/1, define/2, define/3,
        create/1,
        start/1,
        shutdown/1,
        destroy/1
    ]).

-ifndef(TEMPLATE).
-define(TEMPLATE, <<"busybox">>).
-endif.

define(Name) ->
    define(Name, <<"lxcbr0">>).

define(Name, Bridge) ->
    define(Name, Bridge, []).

%% Options: further ones of erlxc_drv:start/1.
define(Name, Bridge, Options) ->
    {ok, Container} = erlxc_drv:start([{name, Name} | Options]),
    liblxc:set_config_item(Container, <<"lxc.network.type">>, <<"veth">>),
    liblxc:set_config_item(Container, <<"lxc.network.link">>, Bridge),
    liblxc:set_config_item(Container, <<"lxc.network.flags">>, <<"up">>),
    Container.

create(Container) ->
    liblxc:create(Container, ?TEMPLATE, <<>>, <<>>, 0, []).

start(Container) ->
    liblxc:start(Container).

shutdown(Container) ->
    liblxc:shutdown(Container, 0).

destroy(Container) ->
    liblxc:destroy(Container).
