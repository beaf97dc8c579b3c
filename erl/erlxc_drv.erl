%% SPDX-License-Identifier: ISC
%% @doc The driver of one container: a process that owns one port program.
%%
%% {@link start/1} and {@link start_link/1} give the pid that every function of
%% {@link liblxc} takes as its first argument. Any number of processes may call
%% at once; no call holds up another. A caller that dies has its pending call
%% cancelled. When the port program ends, so does the driver, with `{shutdown,
%% {port_exited, Status}}', and whoever waits for an answer exits with that.
%%
%% The driver ends with its owner, the process that started it, and takes down what its
%% container's {@link type(). type} says. It logs with the metadata `container => Name';
%% the lines of the option `log' are in the domain `[erlxc]', which logger's default
%% handler drops unless it is told: `logger:add_handler_filter(default, erlxc, {fun
%% logger_filters:domain/2, {log, sub, [erlxc]}})'.
-module(erlxc_drv).
-behaviour(gen_server).

-export([start/1, start_link/1, stop/1, child_spec/1, info/1, subscribe/1, unsubscribe/1]).
-export([call/3, call/4, open/3, open/4, close/2, forward/4, tell/3, vocabulary/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2, format_error/2]).
-export_type([container/0, option/0, type/0, level/0, class/0, info/0]).
-export_type([event/0, exited/0, message/0, limits/0]).

-define(PROTOCOL, 1).
-define(ID_MAX, 16#ffffffff).
%% A frame of more bytes or terms ends the port: it could not be read safely.
-define(FRAME_BYTES, 16#1000000).
-define(FRAME_TERMS, 65536).
-define(NAME_BYTES, 300). % what {Id, Command, Args} may take beside Args
-define(READY_MS, 10000). % from fork to the frame `ready'
-define(GRACE_MS, 5000).
-define(MARGIN_MS, 12000). % the port gives up 10 s after the grace
-define(ABSENT, <<>>). % an option's value that stands for NULL

-define(is_type(T), (T =:= temporary orelse T =:= transient orelse T =:= permanent)).
-define(is_level(L), (L =:= trace orelse L =:= debug orelse L =:= info orelse L =:= notice orelse
    L =:= warn orelse L =:= error orelse L =:= crit orelse L =:= alert orelse L =:= fatal)).

-type container() :: pid().
%% A driver, and thereby a container.
-type type() :: temporary | transient | permanent.
%% What happens to the container when the Erlang side is gone: it is stopped
%% and destroyed (the default without a name), it is stopped (the default), it
%% is left running.
-type level() :: trace | debug | info | notice | warn | error | crit | alert | fatal.
%% liblxc's log levels.
-type option() ::
    {name | path | progname | errlog, iodata()}
    | {exec, string() | [string()]}
    | {engine, lxc | ns}
    | {type, type()}
    | type()
    | {log, level()}
    | {shutdown, brutal_kill | non_neg_integer()}.
%% <dl>
%% <dt>`name'</dt><dd>1 to 255 bytes of `[A-Za-z0-9._-]', not `.' or `..'.
%%   Without it, or `<<>>': a generated name, and type `temporary'.</dd>
%% <dt>`path'</dt><dd>The lxcpath. Default: liblxc's.</dd>
%% <dt>`engine'</dt><dd>liblxc, or the port's own namespaces.</dd>
%% <dt>`exec'</dt><dd>Words put in front of the port program, such as
%%   `"sudo -n"'. A string is cut at its spaces; there is no shell.</dd>
%% <dt>`progname'</dt><dd>The port program. Default: `priv/erlxc'.</dd>
%% <dt>`errlog'</dt><dd>A file that the port appends its log lines to.</dd>
%% <dt>`log'</dt><dd>Log lines from this level on go to {@link logger}, in the domain
%%   `[erlxc]'; none.</dd>
%% <dt>`shutdown'</dt><dd>Milliseconds that a container has to shut down when
%%   it is taken down, before it is killed. Default 5000; `brutal_kill': 0.</dd>
%% </dl>
-type class() :: badarg | undef | notsup | timeout | system_limit | {crashed, 1..64}.
%% Why a call raised: the arguments are wrong; no such command; this engine or
%% this version of liblxc has no such function; the container's monitor does not
%% answer; the port has too many jobs; a worker died of a signal in the call.
-type info() :: #{version := binary(), protocol := ?PROTOCOL, engines := [lxc | ns],
    liblxc := binary(), os_pid := pos_integer(), atom() => term()}.
-type event() :: {state, binary()} | {exited, exited()}
    | {seccomp, Id :: non_neg_integer(), #{pid := pos_integer(), nr := integer(),
        arch := non_neg_integer(), args := [non_neg_integer()]}}
    | {finished, Command :: atom(), Result :: term() | {raise, class()}, Why :: binary()}.
%% The container has come to another state, one of those that {@link liblxc:state/1}
%% has; its init has ended, once for each of its lives; a process of it waits in a system
%% call, see {@link liblxc:seccomp_respond/3}; a command that may not be killed half-way
%% has finished, whose caller was gone: what he would have got.
-type exited() :: {exit_status, 0..255} | {signal, 1..64} | unknown.
-type limits() :: #{timeout => timeout(), progress => pid()}.
%% After how many milliseconds a call is cancelled; who gets each line that it prints.
-type message() ::
    {?MODULE, container(), Stream :: non_neg_integer(),
        {stdout | stderr, binary()} | {dropped, pos_integer()} | {exit, exited()}}.
%% What the receiver of a stream gets: bytes; how many of a console were lost;
%% the end, after all output.

-record(state, {
    port :: port() | undefined,
    grace :: non_neg_integer(),
    info :: info() | undefined,
    id = 0 :: 0..?ID_MAX,
    calls = #{} :: #{1..?ID_MAX =>
        {call | forward | {open, reference()} | {progress, pid()}, gen_server:from()}},
    streams = #{} :: #{non_neg_integer() => {Receiver :: pid(), Open :: reference()}},
    owner :: pid() | undefined,
    %% Who has called is monitored from then on: cheaper than for each call.
    monitored = #{} :: #{pid() => reference()},
    subscribers = [] :: [pid()],
    joining = [] :: [gen_server:from()] % until the port watches
}).

%% --- Life ----------------------------------------------------------------
%% @doc Starts a driver for the calling process, which is monitored.
%%
%% Returns when the port program is ready. `{error, badarg}': the name is none; `{error,
%% {badarg, Option}}'; `{error, {enoent, File}}' (or `eacces'): no such program;
%% `{error, {port_exited, Status}}': it gave up, saying why on the standard error (64:
%% it refused an argument), or `exec' did; `{error, timeout}': it was not ready within
%% 10 seconds; `{error, protocol}': it is no port program of this version.
-spec start([option()]) -> {ok, container()} | {error, term()}.
start(Options) ->
    SpawnOpt = {spawn_opt, [{min_heap_size, 4096}]},
    start(Options, fun(Opts) -> gen_server:start(?MODULE, Opts#{owner => self()}, [SpawnOpt]) end).

%% @doc The same, linked to the calling process: for a supervisor.
-spec start_link([option()]) -> {ok, container()} | {error, term()}.
start_link(Options) -> start(Options, fun(Opts) -> gen_server:start_link(?MODULE, Opts, []) end).

start(Options, Start) ->
    try Start(command(options(Options))) of
        {error, {shutdown, Reason}} -> {error, Reason};
        Started -> Started
    catch throw:Reason -> {error, Reason}
    end.

%% @doc Stops a driver, and returns when its port program has ended: what the
%% container's type takes down is gone then. Waits for the option `shutdown' and
%% 12 seconds at most. Exits with `noproc' as {@link gen_server:stop/1} does.
-spec stop(container()) -> ok.
stop(C) -> gen_server:stop(C).

%% @doc A supervisor's child of {@link start_link/1}, restarted whenever it ends.
-spec child_spec([option()]) -> supervisor:child_spec().
child_spec(Options) ->
    {shutdown, Grace} = option({shutdown, proplists:get_value(shutdown, Options, ?GRACE_MS)}),
    Id = {?MODULE, proplists:get_value(name, Options, make_ref())},
    #{id => Id, start => {?MODULE, start_link, [Options]}, shutdown => Grace + ?MARGIN_MS + 1000}.

%% --- Calls ---------------------------------------------------------------
%% @doc Calls a command of the port; `liblxc' has a function for each.
%%
%% Returns the result, and the reason as text when it says failure. Raises
%% {@link class()}; `badarg' also for arguments of more than 16 MiB or 65,536
%% terms, and for those that are not made of numbers of 64 bits, atoms,
%% binaries, lists, tuples and maps. Exits as {@link gen_server:call/3} does.
-spec call(container(), atom(), [term()]) -> {Result :: term(), Why :: binary()}.
call(C, Command, Args) -> call(C, Command, Args, infinity).

%% @doc The same; after Timeout milliseconds the call is cancelled and the
%% caller exits with `timeout'. With `progress => Pid' what the command's worker and its
%% programs (a template) print goes to that process while it runs, and before the return:
%% `{erlxc, Container, {progress, Line}}', Line without its newline, 4 KiB at most.
%%
%% What is cancelled is killed, and leaves nothing half done. A command that cannot be
%% (destroy, rename, clone, snapshots, save_config) finishes: whoever has subscribed gets
%% `{finished, Command, Result, Why}', see {@link event()}.
-spec call(container(), atom(), [term()], timeout() | limits()) -> {term(), binary()}.
call(C, Command, Args, #{progress := To} = Limits) when is_pid(To) ->
    call(C, {progress, To}, Command, Args, maps:get(timeout, Limits, infinity));
call(C, Command, Args, Limits) when is_map(Limits) ->
    call(C, call, Command, Args, maps:get(timeout, Limits, infinity));
call(C, Command, Args, Timeout) -> call(C, call, Command, Args, Timeout).

%% @equiv open(C, Command, Args, infinity)
-spec open(container(), atom(), [term()]) -> {Result :: term(), Why :: binary()}.
open(C, Command, Args) -> open(C, Command, Args, infinity).
%% @doc As {@link call/4} for a command that opens a stream: the calling process
%% receives, after `{ok, Stream, Pid}', {@link message()}s until `exit'. What
%% came is to be acknowledged by {@link tell/3}, `ack', `[Stream, Bytes]': 256 KiB
%% may be outstanding. The receiver's death closes the stream.
-spec open(container(), atom(), [term()], timeout()) -> {term(), binary()}.
open(C, Command, Args, Timeout) -> call(C, {open, make_ref()}, Command, Args, Timeout).

%% @doc Closes a stream: its command is killed. No message of it is left then.
-spec close(container(), Stream :: non_neg_integer()) -> ok.
close(C, Stream) ->
    try call(C, close, [Stream], ?GRACE_MS) catch exit:_ -> ok end,
    flush(C, Stream).

%% @doc A call that nobody waits in: From gets its answer, by {@link
%% gen_server:reply/2}, as `{reply, Result, Why}', `{raise, Class}' or, with a reason,
%% `{raise, Class, Why}'; none when
%% the driver ends.
-spec forward(container(), From :: {pid(), term()}, atom(), [term()]) -> ok.
forward(C, From, Command, Args) ->
    fits(Command, Args) orelse error(badarg, [C, From, Command, Args]),
    gen_server:cast(C, {forward, From, Command, Args}).

%% @doc A call without an answer.
-spec tell(container(), atom(), [term()]) -> ok.
tell(C, Command, Args) ->
    fits(Command, Args) orelse error(badarg, [C, Command, Args]),
    gen_server:cast(C, {tell, Command, Args}).

call(C, Kind, Command, Args, Timeout) ->
    fits(Command, Args) orelse error(badarg, [C, Command, Args, Timeout]),
    try gen_server:call(C, {Kind, Command, Args}, Timeout) of
        {reply, Result, Why} -> {Result, Why};
        {raise, Class} -> error(Class, [C, Command, Args, Timeout]);
        {raise, Class, Why} ->
            Info = #{module => ?MODULE, cause => Why},
            error(Class, [C, Command, Args, Timeout], [{error_info, Info}])
    catch
        exit:{timeout, _} = Reason:Stack ->
            abandon(C, Kind),
            erlang:raise(exit, Reason, Stack)
    end.

abandon(C, {open, Ref}) ->
    %% The stream may have come to be, with messages under way to us.
    try [flush(C, S) || S <- gen_server:call(C, {abandon, Ref})] catch exit:_ -> ok end;
abandon(C, _) -> gen_server:cast(C, {cancel, self()}).
flush(C, Stream) ->
    receive
        {?MODULE, C, Stream, _} -> flush(C, Stream)
    after 0 -> ok
    end.

%% @private
%% What the shell shows of an exception: the reason that came with it.
-spec format_error(term(), [tuple()]) -> #{general => binary()}.
format_error(_, [{_, _, _, Info} | _]) ->
    case proplists:get_value(error_info, Info) of
        #{cause := Why} -> #{general => Why};
        _ -> #{}
    end.

%% @doc What the port program says of itself.
-spec info(container()) -> info().
info(C) -> gen_server:call(C, info, infinity).

%% @doc Sends the container's events to the calling process, as `{erlxc, Container,
%% {@link event(). Event}}', until it ends or calls {@link unsubscribe/1}.
%%
%% What changes after the return is told, whoever caused it, in order; no state twice in a
%% row. Returns when the state to start from is known, or after 5 seconds when the
%% container's monitor does not answer: then the first event is that state.
-spec subscribe(container()) -> ok.
subscribe(C) -> gen_server:call(C, {subscribe, self()}, infinity).

%% @doc Ends {@link subscribe/1}. No event is sent after the return.
-spec unsubscribe(container()) -> ok.
unsubscribe(C) -> gen_server:call(C, {unsubscribe, self()}, infinity).

%% What the port would refuse as a frame must not reach it, as it ends then, for
%% every caller.
fits(Command, []) -> is_atom(Command);
fits(Command, Args) when is_atom(Command), length(Args) >= 0 ->
    erlang:external_size(Args) =< ?FRAME_BYTES - ?NAME_BYTES andalso
        terms(Args, ?FRAME_TERMS - 4) >= 0;
fits(_, _) -> false.

%% The number of terms that are left of Max: negative when they are too many,
%% or of a type that the port does not read.
terms(_, Max) when Max < 0 -> -1;
terms([], Max) -> Max - 1;
terms([H | T], Max) -> terms(T, terms(H, Max - 1));
terms(T, Max) when is_binary(T); is_atom(T); is_float(T) -> Max - 1;
terms(T, Max) when is_integer(T), T >= -(1 bsl 63), T < 1 bsl 64 -> Max - 1;
terms(T, Max) when is_tuple(T) -> terms(tuple_to_list(T), Max);
terms(T, Max) when is_map(T) -> terms(maps:to_list(T), Max);
terms(_, _) -> -1.

%% --- The server ----------------------------------------------------------
%% @private
init(#{name := Name, shutdown := Grace, command := {File, Args}} = Opts) ->
    process_flag(trap_exit, true),
    logger:update_process_metadata(#{container => Name}),
    Owner = maps:get(owner, Opts, undefined),
    is_pid(Owner) andalso monitor(process, Owner),
    %% They have the atoms of errors and commands; see vocabulary/0.
    _ = [code:ensure_loaded(Module) || Module <- [erl_posix_msg, liblxc]],
    try open(File, Args) of
        Port -> await_ready(#state{port = Port, grace = Grace, owner = Owner})
    catch error:Reason -> {stop, {shutdown, {Reason, File}}}
    end.

%% Without limits the driver is never suspended by a port program that does not
%% read. What queues up is bounded: a caller waits for its answer.
open(File, Args) ->
    Unset = [{Name, false} || Name <- ["LXC_MEMFD_REXEC", "LISTEN_FDS", "LISTEN_PID"]],
    open_port({spawn_executable, File}, [
        {args, Args}, {env, Unset}, {packet, 4}, binary, use_stdio, exit_status,
        {busy_limits_port, disabled}, {busy_limits_msgq, disabled}]).

await_ready(#state{port = Port} = State) ->
    receive
        {Port, {data, Bytes}} -> started(decode(Bytes), State);
        {Port, {exit_status, Status}} -> {stop, {shutdown, {port_exited, Status}}};
        {'EXIT', Port, Reason} -> {stop, {shutdown, {port_exited, Reason}}}
    after ?READY_MS -> {stop, {shutdown, timeout}}
    end.
started({ok, {ready, #{protocol := ?PROTOCOL} = Info}}, State) -> {ok, State#state{info = Info}};
started({ok, {log, _, _} = Frame}, State) -> await_ready(frame(Frame, State));
started(_, _) -> {stop, {shutdown, protocol}}.

%% @private
handle_call({{progress, _} = Kind, Command, Args}, {Pid, _} = From, State) ->
    request(0, progress, [next_id(State#state.id, State#state.calls)], State),
    {noreply, watch(Pid, request(Kind, From, Command, Args, State))};
handle_call({Kind, Command, Args}, {Pid, _} = From, State) ->
    {noreply, watch(Pid, request(Kind, From, Command, Args, State))};
handle_call({abandon, Ref}, _From, State) ->
    {reply, streams(Ref, State), hang_up(Ref, cancel(Ref, State))};
handle_call(info, _From, State) -> {reply, State#state.info, State};
handle_call(container, _From, State) -> {reply, self(), State};
handle_call({subscribe, Pid}, From, #state{subscribers = Subs, joining = Joining} = State) ->
    request(0, watch, [], State),
    {noreply, watch(Pid, State#state{subscribers = lists:usort([Pid | Subs]),
        joining = [From | Joining]})};
handle_call({unsubscribe, Pid}, _From, State) -> {reply, ok, leave(Pid, State)};
handle_call(Call, From, State) ->
    unexpected({call, From, Call}),
    {reply, {error, badarg}, State}.

%% @private
handle_cast({forward, From, Command, Args}, State) ->
    {noreply, request(forward, From, Command, Args, State)};
handle_cast({tell, Command, Args}, State) ->
    request(0, Command, Args, State),
    {noreply, closing(Command, Args, State)};
handle_cast({cancel, Pid}, State) -> {noreply, cancel(Pid, State)};
handle_cast(Cast, State) ->
    unexpected({cast, Cast}),
    {noreply, State}.

%% @private
handle_info({Port, {data, Bytes}}, #state{port = Port} = State) ->
    case decode(Bytes) of
        {ok, Frame} -> {noreply, frame(Frame, State)};
        error -> {stop, {shutdown, protocol}, State}
    end;
handle_info({Port, {exit_status, Status}}, #state{port = Port} = State) ->
    port_exited(Status, State);
handle_info({'EXIT', Port, Reason}, #state{port = Port} = State) -> port_exited(Reason, State);
handle_info({'DOWN', _, process, Owner, Reason}, #state{owner = Owner} = State) ->
    {stop, {shutdown, {owner_exited, Reason}}, State};
handle_info({'DOWN', _, process, Pid, _Reason}, State) ->
    {noreply, forget(Pid, hang_up(Pid, cancel(Pid, State)))};
handle_info({'EXIT', Pid, Reason}, State) when is_pid(Pid), Reason =/= normal ->
    {stop, Reason, State};
handle_info(Info, State) ->
    unexpected(Info),
    {noreply, State}.

%% @private
terminate(_Reason, #state{port = undefined}) -> ok;
terminate(_Reason, #state{grace = Grace} = State) ->
    request(0, halt, [], State),
    await_exit(State, erlang:monotonic_time(millisecond) + Grace + ?MARGIN_MS).

%% The pipe is kept open until the port program has taken down what it must: its
%% exit tells when.
await_exit(#state{port = Port} = State, Deadline) ->
    receive
        {Port, {exit_status, 0}} -> ok;
        {Port, {exit_status, Status}} -> log(error, "port exited: ~tp", [Status]);
        {'EXIT', Port, Reason} -> log(error, "port exited: ~tp", [Reason]);
        {Port, {data, Bytes}} -> await_exit(last_words(decode(Bytes), State), Deadline)
    after max(0, Deadline - erlang:monotonic_time(millisecond)) ->
        log(error, "port does not exit", [])
    end.

last_words({ok, Frame}, State) -> frame(Frame, State);
last_words(error, State) -> State.
port_exited(Status, State) ->
    log(error, "port exited: ~tp", [Status]),
    {stop, {shutdown, {port_exited, Status}}, State#state{port = undefined}}.

%% --- Options -------------------------------------------------------------
%% Throws what start/1 gives as the reason.
options(Options) when is_list(Options) ->
    %% Of two that are the same the first counts, as in a property list.
    Opts = maps:merge(#{name => ?ABSENT, shutdown => ?GRACE_MS},
        maps:from_list(lists:reverse([option(Opt) || Opt <- Options]))),
    case Opts of
        #{name := ?ABSENT} -> maps:merge(#{type => temporary}, Opts#{name := generated_name()});
        _ -> maps:merge(#{type => transient}, Opts)
    end;
options(_) -> throw(badarg).

option({name, Name}) -> {name, name(bytes(Name, badarg))};
option({path, Path} = Opt) -> {path, file(Path, Opt)};
option({engine, E}) when E =:= lxc; E =:= ns -> {engine, E};
option({type, T}) when ?is_type(T) -> {type, T};
option(T) when ?is_type(T) -> {type, T};
option({exec, Words} = Opt) -> {exec, words(Words, Opt)};
option({progname, File} = Opt) -> {progname, file(File, Opt)};
option({errlog, File} = Opt) -> {errlog, file(File, Opt)};
option({log, L}) when ?is_level(L) -> {log, L};
option({shutdown, brutal_kill}) -> {shutdown, 0};
option({shutdown, Ms}) when is_integer(Ms), Ms >= 0, Ms < 1 bsl 30 -> {shutdown, Ms};
option(Opt) -> throw({badarg, Opt}).
bytes(Data, Error) ->
    try iolist_to_binary(Data) catch error:badarg -> throw(Error) end.

name(Name) ->
    Grammar = "\\A(?!\\.{1,2}\\z)[A-Za-z0-9._-]{1,255}\\z",
    Name =:= ?ABSENT orelse re:run(Name, Grammar, [{capture, none}]) =:= match orelse
        throw(badarg),
    Name.

%% The port does not run in our working directory.
file(File, Opt) ->
    case no_nul(File, Opt) of ?ABSENT -> ?ABSENT; Bytes -> absolute(Bytes) end.
%% filename:absname/1 asks the file server for the directory in every case.
absolute(<<$/, _/binary>> = File) -> filename:join([File]);
absolute("/" ++ _ = File) -> filename:join([File]);
absolute(File) -> filename:absname(File).
no_nul(Data, Opt) ->
    Bytes = bytes(Data, {badarg, Opt}),
    binary:match(Bytes, <<0>>) =:= nomatch orelse throw({badarg, Opt}),
    Bytes.
words([C | _] = String, Opt) when is_integer(C) -> words(string:lexemes(String, " "), Opt);
words(Words, Opt) when is_list(Words) -> [no_nul(W, Opt) || W <- Words];
words(_, Opt) -> throw({badarg, Opt}).

%% Unique in this VM by the integer, on this host by process and time. Short: the
%% monitor's socket has the name in its own.
generated_name() ->
    Parts = [list_to_integer(os:getpid()), erlang:system_time(millisecond),
        erlang:unique_integer([positive])],
    Unique = [["-", integer_to_list(N, 36)] || N <- Parts],
    iolist_to_binary(["erlxc", string:lowercase(Unique)]).

%% The program to run, and its arguments.
command(Opts) ->
    Opts#{command => case maps:get(exec, Opts, []) of
        [] -> {program(Opts), arguments(Opts)};
        [Word | Words] -> {executable(Word), Words ++ [program(Opts) | arguments(Opts)]}
    end}.

executable(Word) ->
    File = os:find_executable(binary_to_list(Word)),
    File =/= false orelse throw({enoent, Word}),
    File.
arguments(Opts) ->
    Flags = [{name, "-n"}, {path, "-P"}, {type, "-t"}, {engine, "-e"}, {errlog, "-o"},
        {log, "-l"}, {shutdown, "-s"}],
    lists:append([[Flag, argument(V)] || {Key, Flag} <- Flags,
        {ok, V} <- [maps:find(Key, Opts)], V =/= ?ABSENT]).

argument(Atom) when is_atom(Atom) -> atom_to_list(Atom);
argument(N) when is_integer(N) -> integer_to_list(N);
argument(Bytes) -> Bytes.
program(#{progname := File}) when File =/= ?ABSENT -> File;
program(_) -> filename:join(priv_dir(code:priv_dir(erlxc)), "erlxc").

%% A checkout's directory has any name: the port is beside our ebin.
priv_dir({error, bad_name}) ->
    Ebin = filename:dirname(absolute(beam(code:which(?MODULE)))),
    filename:join(filename:dirname(Ebin), "priv");
priv_dir(Dir) -> Dir.
beam(File) when is_list(File), File =/= "" -> File;
beam(_) -> code:where_is_file(?MODULE_STRING ".beam"). % cover has compiled it

%% --- Requests and frames -------------------------------------------------
%% A signal to the port, which, other than port_command/2, cannot fail: when the
%% port is gone, its exit is on the way to us.
request(Id, Command, Args, #state{port = Port}) ->
    Port ! {self(), {command, term_to_binary({Id, Command, Args})}},
    ok.

request(Kind, From, Command, Args, #state{id = Last, calls = Calls} = State) ->
    Id = next_id(Last, Calls),
    %% First, so that the port works while we write down what it works for.
    request(Id, Command, Args, State),
    closing(Command, Args, State#state{id = Id, calls = Calls#{Id => {Kind, From}}}).
closing(close, [Stream], #state{streams = Streams} = State) ->
    State#state{streams = maps:remove(Stream, Streams)};
closing(_, _, State) -> State.
next_id(Last, Calls) ->
    Id = Last rem ?ID_MAX + 1,
    case is_map_key(Id, Calls) of true -> next_id(Id, Calls); false -> Id end.
watch(Pid, #state{monitored = Pids} = State) when is_map_key(Pid, Pids) -> State;
watch(Pid, #state{monitored = Pids} = State) ->
    State#state{monitored = Pids#{Pid => monitor(process, Pid)}}.
forget(Pid, #state{monitored = Pids} = State) ->
    leave(Pid, State#state{monitored = maps:remove(Pid, Pids)}).

%% With the last subscriber ends the watching.
leave(_, #state{subscribers = []} = State) -> State;
leave(Pid, #state{subscribers = Subs} = State) ->
    Rest = lists:delete(Pid, Subs),
    Rest =:= [] andalso request(0, unwatch, [], State),
    State#state{subscribers = Rest}.

%% The calls that a process waits in, or one by its reference. What was forwarded
%% goes on: half of a write is worse than all of it.
cancel(Key, #state{calls = Calls} = State) ->
    Ids = [Id || {Id, {Kind, {Pid, _}}} <- maps:to_list(Calls), Kind =/= forward,
        Key =:= Pid orelse {open, Key} =:= Kind],
    lists:foreach(fun(Id) -> request(0, cancel, [Id], State) end, Ids),
    State#state{calls = maps:without(Ids, Calls)}.

hang_up(Key, #state{streams = Streams} = State) ->
    Ended = streams(Key, State),
    lists:foreach(fun(Stream) -> request(0, close, [Stream], State) end, Ended),
    State#state{streams = maps:without(Ended, Streams)}.
streams(Key, #state{streams = Streams}) ->
    [S || {S, {Pid, Ref}} <- maps:to_list(Streams), Key =:= Pid orelse Key =:= Ref].

%% @doc The atoms of frames, beside commands and error numbers: as literals of a
%% loaded module they exist, and only those that exist are decoded.
-spec vocabulary() -> [atom(), ...].
vocabulary() ->
    [ready, version, protocol, engines, liblxc, os_pid, lxc, ns, reply, raise, badarg, undef,
        notsup, timeout, system_limit, crashed, event, watching, state, exited, finished,
        exit_status, signal, unknown, log, trace, debug, info, notice, warn, error, crit, alert,
        fatal, progress, ok, true, false, none, all, active, defined, temporary, transient,
        permanent, attach, console, write, eof, resize, close, ack, data, stdout, stderr, dropped,
        exit, closed, init, cgroup, label, limits, pty, stdio, setns, root, fork, session, terminal,
        user, group, caps, no_new_privs, seccomp, cd, pid, nr, arch, args, read, clear, max,
        comment, timestamp, lxcpath, chroot_copy, chroot_dir, chroot_file, stats, survey,
        name, uptime, addresses, cpu_us, memory, cpu, swap, pids, io, pressure,
        network, undefined, infinity, usage_us, user_us, system_us, periods, throttled,
        throttled_us, usage, peak, limit, anon, file, oom_kills, current, read_bytes, write_bytes,
        reads, writes, some, full, avg10, avg60, avg300, total_us, rx_bytes, rx_packets, rx_errors,
        rx_dropped, tx_bytes, tx_packets, tx_errors, tx_dropped].

%% A data frame is told by its bytes, as binary_to_term/2 would copy the data:
%% up to 64 KiB, thousands of times a second. Another encoding is a term as others.
decode(<<131, 104, 4, 119, 4, "data", 97, Stream, Rest/binary>> = Bytes) ->
    data(Stream, Rest, Bytes);
decode(<<131, 104, 4, 119, 4, "data", 98, Stream:32/signed, Rest/binary>> = Bytes) ->
    data(Stream, Rest, Bytes);
decode(<<131, 104, 4, 119, 5, "reply", 98, Id:32/signed, 119, 2, "ok", 109, 0:32>>) when Id > 0 ->
    {ok, {reply, Id, ok, <<>>}};
decode(<<131, 104, 4, 119, 5, "reply", 98, Id:32/signed, 109, N:32, Text:N/binary, 109, 0:32>>)
        when Id > 0 ->
    {ok, {reply, Id, Text, <<>>}};
decode(Bytes) -> term(Bytes).
data(Stream, <<119, 6, "stdout", 109, N:32, Data:N/binary>>, _) ->
    {ok, {data, Stream, stdout, Data}};
data(Stream, <<119, 6, "stderr", 109, N:32, Data:N/binary>>, _) ->
    {ok, {data, Stream, stderr, Data}};
data(_, _, Bytes) -> term(Bytes).
term(Bytes) ->
    try {ok, binary_to_term(Bytes, [safe])}
    catch error:badarg ->
        log(error, "port sent no term: ~P", [Bytes, 40]),
        error
    end.

frame({data, Stream, From, Data}, State) -> pass(Stream, {From, Data}, State);
frame({reply, Id, Result, Why}, State) -> answer(Id, {reply, Result, Why}, State);
frame({raise, Id, Class}, State) -> answer(Id, {raise, Class}, State);
frame({raise, Id, Class, Why}, State) -> answer(Id, {raise, Class, Why}, State);
frame({exit, Stream, Status}, State) ->
    closing(close, [Stream], pass(Stream, {exit, Status}, State));
frame({dropped, Stream, N}, State) -> pass(Stream, {dropped, N}, State);
frame({event, {seccomp, Id, _}}, #state{subscribers = []} = State) ->
    request(0, seccomp_respond, [Id, {errno, enosys}], State),
    State;
frame({event, watching}, #state{joining = Joining} = State) ->
    lists:foreach(fun(From) -> gen_server:reply(From, ok) end, Joining),
    State#state{joining = []};
frame({event, Event}, #state{subscribers = Subs} = State) ->
    element(1, Event) =:= finished andalso
        log(notice, "finished after its caller had gone: ~tp", [Event]),
    lists:foreach(fun(Pid) -> Pid ! {erlxc, self(), Event} end, Subs),
    State;
frame({log, Level, Line}, State) when is_binary(Line) ->
    log(level(Level), "~ts", [text(Line)], #{domain => [erlxc]}),
    State;
frame({progress, Id, Line}, #state{calls = Calls} = State) ->
    case Calls of
        #{Id := {{progress, To}, _}} -> To ! {erlxc, self(), {progress, Line}};
        #{} -> ok
    end,
    State;
frame(Frame, State) ->
    unexpected(Frame),
    State.

%% What a closed stream sent before it knew is nobody's.
pass(Stream, Message, #state{streams = Streams} = State) ->
    case Streams of
        #{Stream := {Pid, _}} -> Pid ! {?MODULE, self(), Stream, Message};
        #{} -> ok
    end,
    State.

answer(Id, Answer, #state{calls = Calls} = State) ->
    case maps:take(Id, Calls) of
        {{Kind, From}, Rest} ->
            gen_server:reply(From, Answer),
            opened(Kind, From, Answer, State#state{calls = Rest});
        error ->
            %% It may have crossed its cancellation.
            orphan(Id, Answer, State),
            State
    end.

opened({open, Ref}, {Pid, _}, {reply, {ok, Stream, _}, _}, #state{streams = Streams} = State) ->
    State#state{streams = Streams#{Stream => {Pid, Ref}}};
opened(_, _, _, State) -> State.
orphan(_, {reply, {ok, Stream, _}, _}, State) -> request(0, close, [Stream], State);
orphan(Id, Answer, _) -> log(notice, "nobody waits for ~tp: ~tp", [Id, Answer]).

log(Level, Format, Args) -> log(Level, Format, Args, #{}).
log(Level, Format, Args, Meta) ->
    #{container := Name} = logger:get_process_metadata(),
    logger:log(Level, "erlxc ~ts: " ++ Format, [Name | Args], Meta).
unexpected(Message) -> log(warning, "unexpected: ~tp", [Message]).
level(trace) -> debug;
level(warn) -> warning;
level(crit) -> critical;
level(fatal) -> emergency;
level(Level) ->
    case lists:member(Level, [debug, info, error, alert]) of true -> Level; false -> notice end.

%% A container may write what it likes; an operator's terminal must not obey it.
text(Bytes) ->
    Chars = case unicode:characters_to_list(Bytes) of
        L when is_list(L) -> L;
        _ -> binary_to_list(Bytes)
    end,
    [visible(C) || C <- Chars].
visible(C) when C < 32; C >= 127, C < 160 -> $?;
visible(C) -> C.
