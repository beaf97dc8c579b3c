%% SPDX-License-Identifier: ISC
%% @doc The API of liblxc, lxccontainer.h, function for function.
%%
%% The first argument is a container: the pid that {@link erlxc_drv:start/1} gives. The
%% function behind each one has its name, beside `want_daemonize()' and `is_defined()'.
%% Text comes as binaries and goes as iodata of bytes; `<<>>' stands for NULL.
%%
%% What fails gives `false', `none' or `{error, Posix}', and its reason is in
%% {@link last_error/1}. What is no outcome raises, in every function:
%% `badarg' (a wrong type, range, or a NUL byte in a text), `notsup' (this engine, or this
%% version of liblxc, has no such function), `timeout' (the container's monitor did not
%% answer in 5 s), `system_limit' (too many calls are under way, or no memory), `{crashed,
%% Signal}' (the call's worker died, the port lives); and exits as {@link
%% gen_server:call/3} does when the driver is gone. Only {@link wait/3}, {@link
%% shutdown/2}, {@link start/3}, {@link stop/1}, {@link freeze/1}, {@link unfreeze/1} and
%% what changes containers on disk may take long; they hold up no other caller.
-module(liblxc).

-export([list/1, list/2, list/3]).
-export([list_active_containers/2, list_all_containers/2, list_defined_containers/2]).
-export([name/1, version/1, commands/1, last_error/1, type/1, type/2]).
-export([clear_config/1, clear_config_item/2, config_file_name/1, get_config_item/2]).
-export([get_config_path/1, get_keys/1, get_keys/2, load_config/1, load_config/2]).
-export([save_config/1, save_config/2, set_config_item/3, set_config_path/2]).
-export([call/4]).
-export([create/6, create/7, defined/1, destroy/1, destroy_with_snapshots/1, rename/2]).
-export([clone/5, clone/6, clone/8, clone/9, snapshot/2, snapshot_list/1, snapshot_restore/3]).
-export([snapshot_destroy/2, snapshot_destroy_all/1, checkpoint/4, restore/3, migrate/3]).
-export([daemonize/2, start/1, start/3, stop/1, shutdown/2, reboot/1, freeze/1, unfreeze/1]).
-export([state/1, running/1, init_pid/1, wait/3]).
-export([seccomp_listen/1, seccomp_listen/2, seccomp_respond/3]).
-export([get_interfaces/1, get_ips/4, get_cgroup_item/2, set_cgroup_item/3]).
-export([get_running_config_item/2, may_control/1, want_close_all_fds/2, reboot2/2]).
-export([add_device_node/3, remove_device_node/3, attach_interface/3, detach_interface/3]).
-export([console_log/2, mount/6, umount/3, set_timeout/2, attach_run_wait/3]).
-export([get_global_config_item/2, get_wait_states/1, config_item_is_supported/2]).
-export([has_api_extension/2]).
-export_type([container/0, filter/0, bdevspec/0, clone_flag/0, snapshot/0, migration/0]).
-export_type([mount_flag/0, umount_flag/0, options/0]).

-define(LIMITS, {?MODULE, limits}). % of the call/4 that this process is in

-type container() :: erlxc_drv:container().
-type options() :: [{progress, pid()} | {timeout, timeout()}].
%% Those of {@link call/4}, as a list.
-type filter() :: all | active | defined.
-type mount_flag() :: ro | nosuid | nodev | noexec | sync | remount | mand | dirsync | nosymfollow
    | noatime | nodiratime | bind | rec | silent | relatime | strictatime | lazytime.
%% mount(2)'s MS_*.
-type umount_flag() :: force | detach | expire | nofollow.
%% umount(2)'s MNT_* and UMOUNT_NOFOLLOW.
-type bdevspec() :: #{
    fstype => iodata(), fssize => non_neg_integer(), dir => iodata(),
    zfs => #{zfsroot => iodata()},
    lvm => #{vg => iodata(), lv => iodata(), thinpool => iodata()},
    rbd => #{rbdname => iodata(), rbdpool => iodata()}}.
%% `struct bdev_specs': what a backing store is made of; sizes are bytes.
-type clone_flag() :: keepname | keepmacaddr | snapshot | keepbdevtype | maybe_snapshot
    | allow_running.
%% `LXC_CLONE_KEEPNAME', 1, and so on.
-type snapshot() :: #{
    name := binary(), comment := binary(), timestamp := binary(), lxcpath := binary()}.
%% `comment': the path of the comment's copy, `<<>>' without one. `timestamp': local time,
%% such as `<<"2026:11:24 02:00:00">>'. `lxcpath': where it is a container called `name'.
-type migration() :: #{
    directory := iodata(), predump_dir => iodata(), pageserver_address => iodata(),
    pageserver_port => iodata(), action_script => iodata(),
    ghost_limit => non_neg_integer(), stop => boolean(), verbose => boolean(),
    preserves_inodes => boolean(), disable_skip_in_flight => boolean()}.
%% `struct migrate_opts'. `predump_dir' is relative to `directory', an absolute path.

-define(MOUNT_FLAGS, #{ro => 1, nosuid => 2, nodev => 4, noexec => 8, sync => 16, remount => 32,
    mand => 64, dirsync => 128, nosymfollow => 256, noatime => 1024, nodiratime => 2048,
    bind => 4096, rec => 16384, silent => 32768, relatime => 1 bsl 21, strictatime => 1 bsl 24,
    lazytime => 1 bsl 25}).
-define(UMOUNT_FLAGS, #{force => 1, detach => 2, expire => 4, nofollow => 8}).

%% --- The port and its commands -------------------------------------------
%% @doc The reason why the calling process's last call on the container failed,
%% from liblxc's log; `<<>>' after a success. As errno, each process has its own.
-spec last_error(container()) -> binary().
last_error(C) ->
    case get({?MODULE, last_error, C}) of
        undefined -> <<>>;
        Why -> Why
    end.

%% @doc Calls Function, any of this module, with C and Args, in Options' limits.
%%
%% `timeout': after so many milliseconds it raises `timeout' and is cancelled: killed, and a
%% create then leaves nothing behind. What may not be killed half-way ({@link destroy/1},
%% {@link rename/2}, {@link save_config/2}, all that copies containers) finishes, and the
%% next waits for it; what comes of it is an event for those who {@link
%% erlxc_drv:subscribe/1}, and a line in the log. A caller that dies cancels, too.
%%
%% `progress': a process that gets each line that the call's programs print while it runs,
%% as `{erlxc, C, {progress, Line}}'; a line of more than 4 KiB comes in parts.
-spec call(container(), atom(), [term()], erlxc_drv:limits()) -> term().
call(C, Function, Args, Options) ->
    limits(Options) andalso Function =/= call andalso
        erlang:function_exported(?MODULE, Function, length(Args) + 1) orelse
        error(badarg, [C, Function, Args, Options]),
    Outer = get(?LIMITS),
    put(?LIMITS, maps:merge(case Outer of undefined -> #{}; _ -> Outer end, until(Options))),
    try apply(?MODULE, Function, [C | Args])
    after case Outer of undefined -> erase(?LIMITS); _ -> put(?LIMITS, Outer) end
    end.

limits(Options) -> is_map(Options) andalso lists:all(fun limit/1, maps:to_list(Options)).
limit({timeout, T}) -> T =:= infinity orelse is_integer(T) andalso T >= 0 andalso T < 1 bsl 32;
limit({progress, Pid}) -> is_pid(Pid);
limit(_) -> false.

%% A function may make several calls of the port.
until(#{timeout := Ms} = Options) when is_integer(Ms) ->
    Options#{timeout := {until, erlang:monotonic_time(millisecond) + Ms}};
until(Options) -> Options.
left(#{timeout := {until, End}} = Limits) ->
    Limits#{timeout := max(0, End - erlang:monotonic_time(millisecond))};
left(Limits) -> Limits.

%% @doc The container's name.
-spec name(container()) -> binary().
name(C) -> call(C, name, []).

%% @doc liblxc's version, `lxc_get_version()'.
-spec version(container()) -> binary().
version(C) -> call(C, version, []).

%% @doc The port's commands and their arities, each one less than the arity of
%% the function here: the container does not travel.
-spec commands(container()) -> [{atom(), arity()}].
commands(C) -> call(C, commands, []).

%% @doc What happens to the container when the Erlang side is gone.
-spec type(container()) -> erlxc_drv:type().
type(C) -> call(C, type, []).

%% @doc Sets {@link type/1}, of a running container too.
-spec type(container(), erlxc_drv:type()) -> boolean().
type(C, Type) -> call(C, type, [Type]).

%% --- Listings ------------------------------------------------------------
%% @equiv list(C, all)
-spec list(container()) -> [binary()].
list(C) -> list(C, all).
%% @equiv list(C, Filter, <<>>)
-spec list(container(), filter()) -> [binary()].
list(C, Filter) -> list(C, Filter, <<>>).
%% @doc The names of the containers in the lxcpath Path (`<<>>': the default path) that
%% are active, defined, or either; sorted. Asks no container's monitor.
-spec list(container(), filter(), iodata()) -> [binary()].
list(C, active, Path) -> list_active_containers(C, Path);
list(C, all, Path) -> list_all_containers(C, Path);
list(C, defined, Path) -> list_defined_containers(C, Path);
list(C, Filter, Path) -> error(badarg, [C, Filter, Path]).

%% @doc The containers in Path that run.
-spec list_active_containers(container(), iodata()) -> [binary()].
list_active_containers(C, Path) -> call(C, list_active_containers, [Path]).

%% @doc The containers in Path that are active or defined.
-spec list_all_containers(container(), iodata()) -> [binary()].
list_all_containers(C, Path) -> call(C, list_all_containers, [Path]).

%% @doc The containers in Path that have a configuration.
-spec list_defined_containers(container(), iodata()) -> [binary()].
list_defined_containers(C, Path) -> call(C, list_defined_containers, [Path]).

%% --- Configuration -------------------------------------------------------
%% Keys from before LXC 2.1 are translated, here and in files.

%% @doc Empties the configuration in memory.
-spec clear_config(container()) -> true.
clear_config(C) -> call(C, clear_config, []).

%% @doc Clears a key in memory, with all values of a list.
-spec clear_config_item(container(), iodata()) -> boolean().
clear_config_item(C, Key) -> call(C, clear_config_item, [Key]).

%% @doc The path of the configuration file.
-spec config_file_name(container()) -> binary().
config_file_name(C) -> call(C, config_file_name, []).

%% @doc A key's value in memory; the values of a list are separated by `\n'.
%% `none': there is no such key; `<<>>': it has no value.
-spec get_config_item(container(), iodata()) -> binary() | none.
get_config_item(C, Key) -> call(C, get_config_item, [Key]).

%% @doc The lxcpath: the directory that the container's is in.
-spec get_config_path(container()) -> binary().
get_config_path(C) -> call(C, get_config_path, []).

%% @equiv get_keys(C, <<>>)
-spec get_keys(container()) -> binary().
get_keys(C) -> get_keys(C, <<>>).
%% @doc The keys below Key (`<<>>': all), separated by `\n'.
-spec get_keys(container(), iodata()) -> binary().
get_keys(C, Key) -> call(C, get_keys, [Key]).

%% @equiv load_config(C, <<>>)
-spec load_config(container()) -> boolean().
load_config(C) -> load_config(C, <<>>).
%% @doc Loads the file Path (`<<>>': the container's own) over the configuration
%% in memory: lists grow.
-spec load_config(container(), iodata()) -> boolean().
load_config(C, Path) -> call(C, load_config, [Path]).

%% @equiv save_config(C, <<>>)
-spec save_config(container()) -> boolean().
save_config(C) -> save_config(C, <<>>).
%% @doc Saves the configuration to the file Path (`<<>>': the container's own,
%% which defines it).
-spec save_config(container(), iodata()) -> boolean().
save_config(C, Path) -> call(C, save_config, [Path]).

%% @doc Sets a key in memory. A list's key appends; the value `<<>>' clears. A
%% running container does not change.
-spec set_config_item(container(), iodata(), iodata()) -> boolean().
set_config_item(C, Key, Value) -> call(C, set_config_item, [Key, Value]).

%% @doc Sets the lxcpath; loads and moves nothing.
-spec set_config_path(container(), iodata()) -> boolean().
set_config_path(C, Path) -> call(C, set_config_path, [Path]).

%% --- On disk -------------------------------------------------------------
%% @doc Creates the container by a template: a name, an absolute path, or `<<>>'
%% to save the configuration only. Bdevtype and Bdevspec: the backing store and
%% its specification, `<<>>' for a directory. Flags: 0, or 1 for a template with
%% no output (LXC_CREATE_QUIET). Argv: the template's arguments.
-spec create(container(), iodata(), iodata(), <<>> | bdevspec(), non_neg_integer(), [iodata()]) ->
    boolean().
create(C, Template, Bdevtype, Bdevspec, Flags, Argv) ->
    call(C, create, [Template, Bdevtype, Bdevspec, Flags, Argv]).
%% @doc The same with the options of {@link call/4} as a list: `[{progress, Pid}]' sends
%% each line that the template prints while it runs to Pid.
-spec create(container(), iodata(), iodata(), <<>> | bdevspec(), non_neg_integer(),
    [iodata()], options()) -> boolean().
create(C, Template, Bdevtype, Bdevspec, Flags, Argv, Options) ->
    call(C, create, [Template, Bdevtype, Bdevspec, Flags, Argv], maps:from_list(Options)).

%% @doc Whether the container has a configuration file.
-spec defined(container()) -> boolean().
defined(C) -> call(C, defined, []).

%% @doc Removes a stopped container with its file system, unless it has snapshots or
%% clones that share that. What a clone or a create left half done goes as far as it is
%% in the container's own directory: whatever its configuration says, nothing else.
-spec destroy(container()) -> boolean().
destroy(C) -> call(C, destroy, []).

%% @doc As {@link destroy/1}, with all snapshots, or with none when it is refused.
-spec destroy_with_snapshots(container()) -> boolean().
destroy_with_snapshots(C) -> call(C, destroy_with_snapshots, []).

%% @doc Renames a stopped container; C stands for the new one then. It is a copy, and
%% the removal of the original.
-spec rename(container(), iodata()) -> boolean().
rename(C, Name) -> call(C, rename, [Name]).

%% @equiv clone(C, Name, Path, Flags, Bdevtype, <<>>, 0, [])
-spec clone(container(), iodata(), iodata(), [clone_flag()] | non_neg_integer(), iodata()) ->
    boolean().
clone(C, Name, Path, Flags, Bdevtype) -> clone(C, Name, Path, Flags, Bdevtype, <<>>, 0, []).
%% @equiv clone(C, Name, Path, Flags, Bdevtype, <<>>, 0, [], Options)
-spec clone(container(), iodata(), iodata(), [clone_flag()] | non_neg_integer(), iodata(),
    options()) -> boolean().
clone(C, Name, Path, Flags, Bdevtype, Options) ->
    clone(C, Name, Path, Flags, Bdevtype, <<>>, 0, [], Options).
%% @doc Clones a stopped container (with `allow_running', a running one) to the container
%% Name in the lxcpath Path (`<<>>': its own). C stays what it is: {@link erlxc_drv:start/1}
%% opens the clone. Bdevtype: the kind of backing store, `<<>>': the same, for `snapshot'
%% of a directory `overlay'. Bdevdata: what some of them are told. Newsize: bytes, 0: the
%% same. HookArgs: of the hooks `lxc.hook.clone'. The configuration is that in memory.
%%
%% A clone is never killed half-way by its caller's end. One that fails leaves nothing;
%% one whose process was killed leaves what {@link start/3} refuses and {@link destroy/1}
%% removes, without harm to the original.
-spec clone(container(), iodata(), iodata(), [clone_flag()] | non_neg_integer(), iodata(),
    iodata(), non_neg_integer(), [iodata()]) -> boolean().
clone(C, Name, Path, Flags, Bdevtype, Bdevdata, Newsize, HookArgs) ->
    call(C, clone, [Name, Path, Flags, Bdevtype, Bdevdata, Newsize, HookArgs]).
%% @doc The same with the options of {@link call/4} as a list. Progress is a line such as
%% `<<"rsync: 73400320 bytes">>', at most ten a second: the program that copies (or the
%% hook that runs), and what it has written. What they print, liblxc keeps for its log.
-spec clone(container(), iodata(), iodata(), [clone_flag()] | non_neg_integer(), iodata(),
    iodata(), non_neg_integer(), [iodata()], options()) -> boolean().
clone(C, Name, Path, Flags, Bdevtype, Bdevdata, Newsize, HookArgs, Options) ->
    Args = [Name, Path, Flags, Bdevtype, Bdevdata, Newsize, HookArgs],
    call(C, clone, Args, maps:from_list(Options)).

%% --- Snapshots and checkpoints -------------------------------------------
%% @doc Takes a snapshot of a stopped container: `snap0', `snap1', the first name that is
%% free. A copy of the file Comment (`<<>>': none) is kept with it. `{error, enoent}': not
%% defined, or no such file; `ebusy': it runs; `eio': see {@link last_error/1}.
-spec snapshot(container(), iodata()) -> {ok, binary()} | {error, file:posix()}.
snapshot(C, Comment) -> call(C, snapshot, [Comment]).

%% @doc The container's snapshots, by name: `snap9' is before `snap10'.
-spec snapshot_list(container()) -> [snapshot()].
snapshot_list(C) -> call(C, snapshot_list, []).

%% @doc Makes a snapshot the container Name; or, for `<<>>' or its own name, puts it in
%% the place of the container, which is destroyed first. When that is cut short, by a full
%% disk or a kill, the snapshots are whole, and the same call goes on.
-spec snapshot_restore(container(), iodata(), iodata()) -> boolean().
snapshot_restore(C, Snapshot, Name) -> call(C, snapshot_restore, [Snapshot, Name]).

%% @doc Removes a snapshot, a half made one too.
-spec snapshot_destroy(container(), iodata()) -> boolean().
snapshot_destroy(C, Snapshot) -> call(C, snapshot_destroy, [Snapshot]).

%% @doc Removes all snapshots; `true' when there is none.
-spec snapshot_destroy_all(container()) -> boolean().
snapshot_destroy_all(C) -> call(C, snapshot_destroy_all, []).

%% @doc Writes a running container's processes to the directory Dir (an absolute path),
%% and with Stop ends them. This and the two below need criu(8).
-spec checkpoint(container(), iodata(), boolean(), boolean()) -> boolean().
checkpoint(C, Dir, Stop, Verbose) -> call(C, checkpoint, [Dir, Stop, Verbose]).

%% @doc Runs a stopped container from a checkpoint. It is detached, as by {@link
%% daemonize/2}: its monitor was not started by the port's guardian.
-spec restore(container(), iodata(), boolean()) -> boolean().
restore(C, Dir, Verbose) -> call(C, restore, [Dir, Verbose]).

%% @doc The steps of a migration: `pre_dump' copies the memory of a running container,
%% `dump' is {@link checkpoint/4}, `restore' {@link restore/3}.
-spec migrate(container(), pre_dump | dump | restore, migration()) -> boolean().
migrate(C, Command, Options) -> call(C, migrate, [Command, Options]).

%% --- Running -------------------------------------------------------------
%% @doc Whether the container is detached from the port, be it running or started later:
%% 1, it stays when the Erlang side is gone; 0, the default, it does not. One that was
%% started detached stays so. `c->want_daemonize()'.
-spec daemonize(container(), 0 | 1) -> boolean().
daemonize(C, Daemonize) -> call(C, daemonize, [Daemonize]).

%% @equiv start(C, 0, [])
-spec start(container()) -> {ok, pos_integer()} | {error, file:posix()}.
start(C) -> start(C, 0, []).
%% @doc Starts the container, and returns when its init has been executed, with
%% init's process id on the host. UseInit 1 runs the command below lxc-init.
%% Argv: the command and its arguments (iodata: a command without), `<<>>' or
%% `[]' for the container's init. `{error, enoent}': it is not defined; `ebusy':
%% it runs, or another process starts or changes it; `eio': see {@link last_error/1}.
-spec start(container(), 0 | 1, iodata() | [iodata()]) ->
    {ok, pos_integer()} | {error, file:posix()}.
start(C, UseInit, Argv) -> call(C, start, [UseInit, Argv]).

%% @doc Kills the container, and returns when it is gone. After 5 seconds, when its
%% monitor does not answer or init ignores `lxc.signal.stop', the kernel kills init and all
%% that is in its cgroups; then the monitor, when it does not end by itself within 2 seconds
%% (and no hook is at work): post-stop hooks and `lxc.ephemeral' have no effect then, and the
%% log says so. Raises `timeout' when it is not gone after 30 seconds more.
-spec stop(container()) -> boolean().
stop(C) -> call(C, stop, []).

%% @doc Asks init to shut down (lxc.signal.halt, SIGPWR by default), and waits
%% for at most Timeout seconds in all; 0: `true' at once.
-spec shutdown(container(), non_neg_integer()) -> boolean().
shutdown(C, Timeout) -> call(C, shutdown, [Timeout]).

%% @doc Asks init to reboot (lxc.signal.reboot, SIGINT by default); returns at once.
-spec reboot(container()) -> boolean().
reboot(C) -> call(C, reboot, []).

%% @doc Freezes all processes of the container.
-spec freeze(container()) -> boolean().
freeze(C) -> call(C, freeze, []).

%% @doc Ends {@link freeze/1}.
-spec unfreeze(container()) -> boolean().
unfreeze(C) -> call(C, unfreeze, []).

%% @doc STOPPED, STARTING, RUNNING, STOPPING, ABORTING, FREEZING, FROZEN or THAWED.
-spec state(container()) -> binary().
state(C) -> call(C, state, []).

%% @doc Whether the state is another than STOPPED.
-spec running(container()) -> boolean().
running(C) -> call(C, running, []).

%% @doc init's process id on the host, -1 when the container does not run.
-spec init_pid(container()) -> integer().
init_pid(C) -> call(C, init_pid, []).

%% @doc Waits until the container's state is State (or one of several: `"A|B"'), for at
%% most Timeout seconds: `false' then. 0 compares only; -1 or `infinity' waits for ever.
-spec wait(container(), iodata(), -1 | non_neg_integer() | infinity) -> boolean().
wait(C, State, Timeout) -> call(C, wait, [State, Timeout]).

%% @doc The names of a running container's network interfaces.
-spec get_interfaces(container()) -> [binary()].
get_interfaces(C) -> call(C, get_interfaces, []).

%% @doc The addresses of a running container: of one interface (`<<>>': all but lo), of
%% one family (`"inet"', `"inet6"', `<<>>': both), of an IPv6 scope id (0: global).
-spec get_ips(container(), iodata(), iodata(), non_neg_integer()) -> [binary()].
get_ips(C, Interface, Family, Scope) -> call(C, get_ips, [Interface, Family, Scope]).

%% @doc The value of a running container's cgroup file, such as `"memory.current"'.
-spec get_cgroup_item(container(), iodata()) -> binary() | none.
get_cgroup_item(C, Key) -> call(C, get_cgroup_item, [Key]).

%% @doc Writes a running container's cgroup file.
-spec set_cgroup_item(container(), iodata(), iodata()) -> boolean().
set_cgroup_item(C, Key, Value) -> call(C, set_cgroup_item, [Key, Value]).

%% @doc A key's value in the configuration that the container runs with. `none': it does
%% not run; there is no such key; it has no value.
-spec get_running_config_item(container(), iodata()) -> binary() | none.
get_running_config_item(C, Key) -> call(C, get_running_config_item, [Key]).

%% @doc Whether the container's monitor takes our commands; without one, `true'.
-spec may_control(container()) -> boolean().
may_control(C) -> call(C, may_control, []).

%% @doc Whether a start closes all descriptors. It makes no difference: the port has none
%% that a container inherits.
-spec want_close_all_fds(container(), 0 | 1) -> boolean().
want_close_all_fds(C, Close) -> call(C, want_close_all_fds, [Close]).

%% @doc As {@link reboot/1}, and waits until the container runs again, for at most Timeout
%% seconds: `false' then. 0: `true' at once; -1 or `infinity' waits for ever.
-spec reboot2(container(), -1 | non_neg_integer() | infinity) -> boolean().
reboot2(C, Timeout) -> call(C, reboot2, [Timeout]).

%% @doc Seconds that liblxc itself waits for a container's state, -1 or `infinity': as long
%% as the port, 5. Raises `notsup' before liblxc 6.0.
-spec set_timeout(container(), -1 | pos_integer() | infinity) -> boolean().
set_timeout(C, Seconds) -> call(C, set_timeout, [Seconds]).

%% @doc Makes the host's device Source a node of a running container, at Target (`<<>>': as
%% on the host), with its mode, and lets the container use it.
-spec add_device_node(container(), iodata(), iodata()) -> boolean().
add_device_node(C, Source, Target) -> call(C, add_device_node, [Source, Target]).

%% @doc Removes the node Target (`<<>>': as on the host) of the host's device Source, and
%% forbids the container to use that.
-spec remove_device_node(container(), iodata(), iodata()) -> boolean().
remove_device_node(C, Source, Target) -> call(C, remove_device_node, [Source, Target]).

%% @doc Moves a network interface of the host, set down first, into a running container,
%% where it is called Name (`<<>>': the same).
-spec attach_interface(container(), iodata(), iodata()) -> boolean().
attach_interface(C, Interface, Name) -> call(C, attach_interface, [Interface, Name]).

%% @doc Moves a running container's network interface, set down first, to the host, where
%% it is called Name (`<<>>': the same).
-spec detach_interface(container(), iodata(), iodata()) -> boolean().
detach_interface(C, Interface, Name) -> call(C, detach_interface, [Interface, Name]).

%% @doc What a running container has written to its console, of which it keeps
%% `lxc.console.buffer.size' bytes. `read': is given, and no longer kept; default `true'.
%% `clear': the rest is not kept either. `max': bytes, 15 MiB at most (0). `none': it does
%% not run, or keeps none.
-spec console_log(container(), #{read => boolean(), clear => boolean(),
    max => non_neg_integer()}) -> binary() | none.
console_log(C, Options) -> call(C, console_log, [Options]).

%% @doc Mounts the host's Source (`<<>>': none) at a running container's Target, which is
%% made; a file or an empty directory that is there is removed. Fstype and Data: as of
%% mount(2), or `<<>>'. Flags: numbers of that too. Needs `lxc.mount.auto = shmounts:' with
%% a directory of the host that is a shared mount.
-spec mount(container(), iodata(), iodata(), iodata(), non_neg_integer() | [mount_flag()],
    iodata()) -> boolean().
mount(C, Source, Target, Fstype, Flags, Data) ->
    call(C, mount, [Source, Target, Fstype, flags(Flags, ?MOUNT_FLAGS), Data]).

%% @doc Unmounts a running container's Target. Flags: as of umount2(2).
-spec umount(container(), iodata(), non_neg_integer() | [umount_flag()]) -> boolean().
umount(C, Target, Flags) -> call(C, umount, [Target, flags(Flags, ?UMOUNT_FLAGS)]).

%% @doc Runs a command in a running container and gives its status. Standard input is at its
%% end; what is written goes nowhere: {@link erlxc:run/3} gives it, which has the Options
%% too. Errors as of {@link erlxc:spawn/2}, and `{error, timeout}'.
-spec attach_run_wait(container(), erlxc:argv(), [erlxc:run_option()]) ->
    erlxc:status() | {error, term()}.
attach_run_wait(C, Argv, Options) ->
    {Result, Why} = erlxc_stream:run_wait(C, Argv, Options),
    keep(C, Why),
    Result.

%% --- The library ---------------------------------------------------------
%% @doc A value of lxc.system.conf(5), such as `"lxc.lxcpath"'.
-spec get_global_config_item(container(), iodata()) -> binary() | none.
get_global_config_item(C, Key) -> call(C, get_global_config_item, [Key]).

%% @doc The states that there are.
-spec get_wait_states(container()) -> [binary()].
get_wait_states(C) -> call(C, get_wait_states, []).

%% @doc Whether there is such a configuration key, or was before LXC 2.1; whole, as
%% `"lxc.net"', not what goes on with a device's number.
-spec config_item_is_supported(container(), iodata()) -> boolean().
config_item_is_supported(C, Key) -> call(C, config_item_is_supported, [Key]).

%% @doc Whether liblxc has an extension, such as `"pidfd"': those that its
%% doc/api-extensions.md names.
-spec has_api_extension(container(), iodata()) -> boolean().
has_api_extension(C, Extension) -> call(C, has_api_extension, [Extension]).

%% --- System calls that a profile marks `notify' ---------------------------
%% @equiv seccomp_listen(C, 5000)
-spec seccomp_listen(container()) -> boolean().
seccomp_listen(C) -> call(C, seccomp_listen, []).
%% @doc Has a running container's notifications sent to the driver's subscribers, {@link
%% erlxc_drv:subscribe/1}, as `{erlxc, C, {seccomp, Id, Call}}', where Call has the
%% process's `pid' on the host, the system call's number `nr' in the architecture `arch',
%% and its six `args'. A call that is not answered within Timeout milliseconds fails with
%% ENOSYS, also when nobody is subscribed, and when the Erlang side is gone.
%%
%% A start by this driver does this by itself, with 5 seconds: otherwise such a call
%% would wait for ever. The last to listen has all notifications. `false': it does not
%% run, its profile notifies of nothing, or `lxc.seccomp.notify.proxy' does it.
%% `c->seccomp_notify_fd_active()'.
-spec seccomp_listen(container(), non_neg_integer()) -> boolean().
seccomp_listen(C, Timeout) -> call(C, seccomp_listen, [Timeout]).

%% @doc Decides a call that waits: it returns a value, fails with an error (a number or
%% its name), or is carried out. Before `continue', mind that the process can change what
%% its arguments point to after you have looked. `false': it does not wait (any more).
-spec seccomp_respond(container(), non_neg_integer(),
    {value, integer()} | {errno, 1..4095 | file:posix()} | continue) -> boolean().
seccomp_respond(C, Id, Answer) -> call(C, seccomp_respond, [Id, Answer]).

%% -------------------------------------------------------------------------

flags(Flags, Names) when is_list(Flags) ->
    try lists:foldl(fun(F, Sum) -> maps:get(F, Names) bor Sum end, 0, Flags)
    catch error:{badkey, _} -> error(badarg, [Flags])
    end;
flags(Flags, _) -> Flags.

call(C, Name, Args) ->
    try limited(C, Name, wire(Name, Args), get(?LIMITS)) of
        {Result, Why} ->
            keep(C, Why),
            Result
    catch
        exit:{timeout, _}:Stack -> raise(timeout, C, Name, Args, Stack);
        error:Class:Stack -> raise(Class, C, Name, Args, Stack)
    end.

limited(C, Name, Args, undefined) -> erlxc_drv:call(C, Name, Args);
limited(C, Name, Args, Limits) -> erlxc_drv:call(C, Name, Args, left(Limits)).

%% Shows the function that was called, which call/3 has replaced.
-spec raise(erlxc_drv:class(), container(), atom(), [term()], list()) -> no_return().
raise(Class, C, Name, Args, Stack) ->
    Below = [F || F <- Stack, not lists:member(element(1, F), [?MODULE, erlxc_drv, gen_server])],
    Info = [I || {erlxc_drv, _, _, [_ | _] = L} <- Stack, {error_info, _} = I <- L],
    keep(C, iolist_to_binary([Why || {_, #{cause := Why}} <- Info])),
    erlang:raise(error, Class, [{?MODULE, Name, [C | Args], Info} | Below]).

%% Iodata goes flat: a frame has a limit on terms.
wire(create, [Template, Bdevtype, Bdevspec, Flags, Argv]) ->
    wire(none, [Template, Bdevtype, options(Bdevspec), Flags]) ++ [argv(Argv)];
wire(clone, [Name, Path, Flags, Type, Data, Size, Args]) ->
    wire(none, [Name, Path]) ++ [flags(Flags)] ++ wire(none, [Type, Data, Size]) ++ [argv(Args)];
wire(migrate, [Command, Options]) -> [Command, options(Options)];
wire(start, [UseInit, Argv]) -> [UseInit, argv(Argv)];
wire(_, Args) -> lists:map(fun flat/1, Args).

argv([Arg | _] = Argv) when not is_integer(Arg), length(Argv) > 0 -> lists:map(fun flat/1, Argv);
argv(Command) -> Command.

%% {zfs => #{zfsroot => Z}} goes as {zfsroot => Z}.
options(#{} = Map) ->
    maps:fold(fun option/3, #{}, Map);
options(Other) -> Other.

option(Group, #{} = Map, To) when Group =:= zfs; Group =:= lvm; Group =:= rbd ->
    maps:merge(To, options(Map));
option(Key, Value, To) -> To#{Key => flat(Value)}.

flags(Flags) when is_list(Flags) -> lists:foldl(fun(F, N) -> flag(F) bor N end, 0, Flags);
flags(Flags) -> Flags.

flag(keepname) -> 1;
flag(keepmacaddr) -> 2;
flag(snapshot) -> 4;
flag(keepbdevtype) -> 8;
flag(maybe_snapshot) -> 16;
flag(allow_running) -> 64;
flag(_) -> error(badarg).

flat(IoList) when is_list(IoList) -> iolist_to_binary(IoList);
flat(Other) -> Other.

%% A success forgets: a process that has seen many containers keeps no trace.
keep(C, <<>>) -> erase({?MODULE, last_error, C});
keep(C, Why) -> put({?MODULE, last_error, C}, Why).
