%% SPDX-License-Identifier: ISC
%% @doc A command in a container, as a process: what {@link erlxc:spawn/2} starts.
%%
%% It has brought the container up when it is there. Then it holds what the command
%% wrote until somebody takes it, and acknowledges to the port what was taken: the
%% port sends no more than its window ahead, so that a slow reader costs no memory.
%% No request to the port holds up the next.
-module(erlxc_stream).
-behaviour(gen_server).

-export([start/3, run/3, run_wait/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(ATTACH, [pty, stderr, env, cd, user, group, groups]).
-define(DRIVER, [path, engine, type, log, shutdown]).
-define(CHUNK, 16#10000). % at most in a message, or a recv of any length
-define(ACK, 16#8000). % far from the window, where the port would stop
-define(INPUT_MAX, 16#ff0000). % with the rest of a request, in a frame
-define(ACTIVE_MAX, 32767).
-define(IDLE_MS, 2000).

-record(state, {
    c :: pid() | undefined,
    own = false :: boolean(), % the driver is ours, and ends with us
    owner :: pid(),
    how :: how(),
    stream :: non_neg_integer() | undefined, % until it has ended
    status :: erlxc:status() | undefined, % since then
    told = false :: boolean(), % the owner knows
    active = false :: false | once | true | 1..?ACTIVE_MAX,
    %% Who waits, for how many bytes, his timer and monitor.
    recv :: {gen_server:from(), non_neg_integer(), reference(), reference()} | undefined,
    chunks = queue:new() :: queue:queue(binary()),
    errs = [] :: [binary()], % of standard error, the last first
    size = 0 :: non_neg_integer(), % of the chunks
    ahead = 0 :: non_neg_integer(), % of size: no more to be acknowledged
    due = 0 :: non_neg_integer(), % taken, and not acknowledged
    waiting = #{} :: #{pid() => gen_server:from()}, % for the status
    asked = #{} :: #{gen_server:from() => []} % for an answer of the port
}).
-type how() :: monitor | link | supervise | {console, Tty :: integer()}.

%% --- Start ---------------------------------------------------------------
%% @doc Starts the process. `supervise': linked, without an owner to send to, and
%% it ends with its command; `{console, Tty}': on a tty of a container that there is.
-spec start(erlxc:ref(), [erlxc:option()], how()) -> {ok, pid()} | {error, term()}.
start(Ref, Options, How) ->
    Args = {Ref, Options, #state{how = How, owner = self()}},
    case gen_server:start(?MODULE, Args, [{hibernate_after, ?IDLE_MS}]) of
        {error, {shutdown, Reason}} -> {error, Reason};
        Started -> Started
    end.

%% @private
init({Ref, Options, State}) ->
    process_flag(trap_exit, true),
    try
        Opts = options(Options, spawn),
        {ok, owned(up(Opts, connect(Ref, Opts, State)))}
    catch throw:Reason -> {stop, {shutdown, Reason}}
    end.
connect(Ref, _, State) when is_pid(Ref) ->
    C = driver(Ref),
    monitor(process, C),
    State#state{c = C};
connect(Name, #{driver := Options}, State) ->
    case erlxc_drv:start_link([{name, Name} | Options]) of
        {ok, C} -> State#state{c = C, own = true};
        {error, Reason} -> throw(Reason)
    end.
driver(Ref) ->
    try gen_server:call(Ref, container, infinity) catch exit:{Reason, _} -> throw(Reason) end.

up(Opts, #state{c = C, own = Own, how = How, owner = Owner} = State) ->
    %% This may take minutes: our driver does not outlive our owner meanwhile.
    Watch = spawn(fun() ->
        Ref = monitor(process, Owner),
        receive {'DOWN', Ref, _, _, _} -> Own andalso exit(C, {shutdown, owner_exited}) end
    end),
    try State#state{stream = bring_up(How, Opts, asker(C, until(Opts)))}
    catch throw:Reason ->
        terminate(Reason, State),
        throw(Reason)
    after exit(Watch, kill)
    end.

owned(#state{owner = Owner, how = How} = State) ->
    _ = case How =:= link orelse How =:= supervise of
        true -> link(Owner);
        false -> monitor(process, Owner)
    end,
    State.

%% --- Bring-up ------------------------------------------------------------
%% Calls a command by erlxc_drv:call/4 or open/4, within the time that is left.
asker(C, Until) ->
    fun(Function, Command, Args) ->
        try erlxc_drv:Function(C, Command, Args, left(Until))
        catch
            error:Class -> throw({Command, Class, <<>>});
            exit:{{shutdown, Reason}, _} -> throw(Reason);
            exit:{Reason, _} -> throw(Reason)
        end
    end.

until(#{timeout := infinity}) -> infinity;
until(#{timeout := Ms}) -> erlang:monotonic_time(millisecond) + Ms.
left(infinity) -> infinity;
left(Until) -> max(0, Until - erlang:monotonic_time(millisecond)).

bring_up({console, Tty}, _, Ask) -> stream(Ask(open, console, [Tty]));
bring_up(_, #{config := Config, create := Create, chroot := Chroot} = Opts, Ask) ->
    steps(Config, Ask),
    {Defined, _} = Ask(call, defined, []),
    steps([{create, Create} || not Defined] ++ Chroot, Ask),
    launch(Opts, state(Ask), Ask).

launch(#{start := Init, attach := Attach, cgroup := Cgroup}, <<"STOPPED">>, Ask) ->
    Started = Ask(open, start, Init ++ [maps:with([stderr], Attach)]),
    done(start, Started),
    steps(Cgroup, Ask),
    stream(Started);
launch(#{start := _}, _, _) -> throw(ebusy);
launch(#{exec := Argv, attach := Attach, cgroup := Cgroup}, State, Ask) ->
    running(State, Ask),
    steps(Cgroup, Ask),
    stream(Ask(open, attach, [Argv, Attach])).

stream({{ok, Stream, _Pid}, _}) -> Stream;
stream({{error, Reason}, _}) -> throw(Reason).
state(Ask) -> element(1, Ask(call, state, [])).

running(<<"STOPPED">>, Ask) ->
    case Ask(call, start, [0, []]) of
        {{error, ebusy}, _} -> settled(<<"RUNNING|FROZEN">>, Ask); % another one starts it
        Answer -> done(start, Answer)
    end;
running(<<"FROZEN">>, Ask) -> steps([{unfreeze, []}], Ask);
running(<<"FREEZING">>, Ask) -> settled(<<"FROZEN|STOPPED">>, Ask);
running(Up, _) when Up =:= <<"RUNNING">>; Up =:= <<"THAWED">> -> ok;
running(_, Ask) -> settled(<<"RUNNING|FROZEN|STOPPED">>, Ask).

settled(States, Ask) ->
    _ = Ask(call, wait, [States, 1]),
    running(state(Ask), Ask).
steps(Steps, Ask) -> [done(Command, Ask(call, Command, Args)) || {Command, Args} <- Steps].
done(_, {true, _}) -> ok;
done(_, {Ok, _}) when element(1, Ok) =:= ok -> ok;
done(Command, {{error, Posix}, Why}) -> throw({Command, Posix, Why});
done(Command, {Result, Why}) -> throw({Command, Result, Why}).

%% --- Options -------------------------------------------------------------
%% A map, with the defaults. Of two that are the same the first counts.
options(Options, For) when is_list(Options) ->
    Defaults = defaults(For),
    Known = maps:keys(Defaults) ++ ?ATTACH ++ [K || K <- [start | ?DRIVER], For =:= spawn],
    Given = maps:from_list(lists:reverse([option(Opt, Known) || Opt <- Options])),
    Opts = maps:merge(Defaults, Given),
    Driver = [Opt || {K, _} = Opt <- Options, lists:member(K, ?DRIVER)],
    Opts#{attach => attach(For, maps:with(?ATTACH, Given)),
        driver => Driver ++ lists:append([L || {driver, L} <- Options])};
options(Options, _) -> throw({badarg, Options}).

defaults(run) -> #{exec => [], timeout => infinity, max => 16#4000000, input => <<>>};
defaults(spawn) ->
    #{exec => [<<"/bin/sh">>], config => [], create => value({create, []}), chroot => [],
        cgroup => [], timeout => 60000, driver => []}.
attach(spawn, #{pty := false} = Opts) -> maps:merge(#{stderr => stdout}, Opts);
attach(spawn, Opts) -> maps:merge(#{pty => {24, 80}}, Opts);
attach(run, Opts) -> Opts.

option(Option, Known) ->
    try
        true = lists:member(element(1, Option), Known),
        {element(1, Option), value(Option)}
    catch error:_ -> throw({badarg, Option})
    end.

value({exec, Argv}) -> argv(Argv);
value({start, [{_, _} | _] = Fields}) ->
    [UseInit, Argv] = fields(Fields, [{useinit, 0}, {argv, []}]),
    [UseInit, argv(Argv)];
value({start, Argv}) -> [0, argv(Argv)];
value({create, Fields}) ->
    [Template, Type, Spec, Flags, Argv] = fields(Fields, [{template, "busybox"}, {bdevtype, <<>>},
        {bdevspec, <<>>}, {flags, 0}, {argv, []}]),
    [bytes(Template), bytes(Type), bytes(Spec), Flags, argv(Argv)];
value({config, Entries}) -> [config(E) || E <- Entries];
value({chroot, Entries}) -> [chroot(E) || E <- Entries];
value({cgroup, Items}) -> [begin {K, V} = I, {set_cgroup_item, [bytes(K), bytes(V)]} end || I <- Items];
value({pty, true}) -> {24, 80};
value({pty, {R, C}}) when R > 0, R < 1 bsl 16, C > 0, C < 1 bsl 16 -> {R, C};
value({pty, false}) -> false;
value({stderr, To}) when To =:= stdout; To =:= separate; To =:= null -> To;
value({env, Env}) -> [bytes(case E of {K, V} -> [K, $=, V]; _ -> E end) || E <- Env];
value({groups, Groups}) -> [bytes(G) || G <- Groups];
value({timeout, T}) when T =:= infinity; is_integer(T), T >= 0 -> T;
value({max, N}) when N =:= infinity; is_integer(N), N >= 0 -> N;
value({input, Data}) -> true = iolist_size(Data) =< ?INPUT_MAX, bytes(Data);
value({driver, List}) when is_list(List) -> List;
value({Key, Value}) when Key =:= cd; Key =:= user; Key =:= group -> bytes(Value);
value({Key, Value}) -> true = lists:member(Key, ?DRIVER), Value.

fields(Given, Defaults) ->
    [] = [F || F <- Given, not lists:keymember(element(1, F), 1, Defaults)],
    [proplists:get_value(K, Given, Default) || {K, Default} <- Defaults].

config({load, File}) -> {load_config, [bytes(File)]};
config({Key, Value}) -> {set_config_item, [bytes(Key), bytes(Value)]};
config(<<>>) -> {clear_config, []};
config(Key) -> {clear_config_item, [bytes(Key)]}.

%% Mode 0: that of what is copied.
chroot({dir, Path}) -> chroot({dir, Path, 8#755});
chroot({dir, Path, Mode}) -> {chroot_dir, [bytes(Path), Mode]};
chroot({copy, From, To}) -> chroot({copy, From, To, 0});
chroot({copy, From, To, Mode}) -> {chroot_copy, [bytes(From), bytes(To), Mode]};
chroot({file, Path, Data}) -> chroot({file, Path, Data, 8#644});
chroot({file, Path, Data, Mode}) -> {chroot_file, [bytes(Path), bytes(Data), Mode]}.

bytes(Id) when is_integer(Id) -> integer_to_binary(Id); % of a user or group
bytes(Data) -> iolist_to_binary(Data).
argv([Arg | _] = Argv) when not is_integer(Arg) -> [iolist_to_binary(A) || A <- Argv];
argv([]) -> [];
argv(Command) -> [iolist_to_binary(Command)].

%% --- A command without a process -----------------------------------------
%% @doc As {@link erlxc:run/3}.
-spec run(pid(), erlxc:argv(), [erlxc:run_option()]) -> {ok, erlxc:output()} | {error, term()}.
run(Ref, Argv, Options) ->
    try run(options([{exec, Argv} | Options], run), driver(Ref))
    catch throw:Reason -> {error, Reason}
    end.

run(#{exec := Argv, attach := Attach} = Opts, C) ->
    Until = until(Opts),
    finish(Opts#{until => Until}, C, stream((asker(C, Until))(open, attach, [Argv, Attach]))).

%% @doc As run/3, for the command's status; what it writes is dropped. An error has its
%% reason beside it.
-spec run_wait(pid(), erlxc:argv(), [erlxc:run_option()]) ->
    {erlxc:status() | {error, term()}, Why :: binary()}.
run_wait(C, Argv, Options) ->
    #{exec := Exec, attach := Attach} = Opts =
        try options([{exec, Argv} | Options], run)
        catch throw:{badarg, _} -> error(badarg, [C, Argv, Options])
        end,
    case erlxc_drv:open(C, attach, [Exec, Attach]) of
        {{ok, Stream, _}, _} ->
            case finish(Opts#{max => drop, until => until(Opts)}, C, Stream) of
                {ok, #{status := Status}} -> {Status, <<>>};
                {error, timeout} = Error -> {Error, <<"killed: its time was over">>};
                Error -> {Error, <<"the driver is gone">>}
            end;
        Failed -> Failed
    end.

finish(#{input := Input} = Opts, C, Stream) ->
    Mon = monitor(process, C),
    Input =:= <<>> orelse erlxc_drv:tell(C, write, [Stream, Input]),
    erlxc_drv:tell(C, eof, [Stream]),
    Result = collect(Opts#{c => C, mon => Mon, stream => Stream, size => 0, due => 0,
        stdout => [], stderr => []}),
    demonitor(Mon, [flush]),
    Result.

%% However much there is to receive, the time ends.
collect(#{until := Until} = Run) -> collect(left(Until), Run).
collect(0, Run) -> failed(timeout, Run);
collect(Left, #{c := C, mon := Mon, stream := Stream, size := Size, max := Max} = Run) ->
    receive
        {erlxc_drv, C, Stream, {exit, Status}} -> {ok, (output(Run))#{status => Status}};
        {erlxc_drv, C, Stream, {From, Data}} when Size + byte_size(Data) =< Max ->
            collect(add(From, Data, Run));
        {erlxc_drv, C, Stream, _} -> failed({limit, output(Run)}, Run);
        {'DOWN', Mon, process, C, _} -> {error, closed}
    after Left -> failed(timeout, Run)
    end.

add(_, Data, #{max := drop, c := C, stream := Stream, due := Due} = Run) ->
    Run#{due := ack(C, Stream, Due + byte_size(Data))};
add(From, Data, #{c := C, stream := Stream, size := Size, due := Due} = Run) ->
    N = byte_size(Data),
    Run#{From := [maps:get(From, Run), Data], size := Size + N, due := ack(C, Stream, Due + N)}.

output(#{stdout := Out, stderr := Err}) ->
    #{stdout => iolist_to_binary(Out), stderr => iolist_to_binary(Err)}.
failed(Reason, #{c := C, stream := Stream}) ->
    erlxc_drv:close(C, Stream),
    {error, Reason}.

%% What is left of the bytes that are due.
ack(C, Stream, Due) when Due >= ?ACK, is_integer(Stream) ->
    erlxc_drv:tell(C, ack, [Stream, Due]),
    0;
ack(_, _, Due) -> Due.

%% --- The server ----------------------------------------------------------
%% @private
handle_call({ask, Command, Args}, From, #state{stream = Stream, asked = Asked} = State)
        when is_integer(Stream) ->
    erlxc_drv:forward(State#state.c, {self(), {answer, From}}, Command, [Stream | Args]),
    {noreply, State#state{asked = Asked#{From => []}}};
handle_call({ask, _, _}, _, State) -> {reply, {error, closed}, State};
handle_call({recv, _, _}, _, #state{active = Active} = State) when Active =/= false ->
    {reply, {error, einval}, State};
handle_call({recv, _, _}, _, #state{recv = Recv} = State) when Recv =/= undefined ->
    {reply, {error, ealready}, State};
handle_call({recv, Length, Timeout}, {Pid, _} = From, State) ->
    {noreply, flow(State#state{recv = {From, Length, timer(Timeout), monitor(process, Pid)}})};
handle_call(wait, {Pid, _} = From, #state{status = undefined, waiting = Waiting} = State) ->
    {noreply, State#state{waiting = Waiting#{Pid => From}}};
handle_call(wait, _, State) -> {reply, {ok, State#state.status}, State};
handle_call({active, Mode}, _, State) ->
    case active(Mode, State) of
        error -> {reply, {error, einval}, State};
        Active -> {reply, ok, flow(State#state{active = Active})}
    end;
handle_call({give, New}, {Owner, _}, #state{owner = Owner, active = Active} = State) ->
    New =:= Owner orelse unlink(Owner),
    {reply, {ok, Active}, owned(State#state{owner = New, active = false})};
handle_call({give, _}, _, State) -> {reply, {error, not_owner}, State};
handle_call(container, _, State) -> {reply, State#state.c, State}.

%% @private
handle_cast(_, State) -> {noreply, State}.
%% @private
%% What needs no queue, and most is that, is handed on at once.
handle_info({erlxc_drv, C, Stream, {stdout, Data}}, #state{c = C, stream = Stream, size = 0,
        recv = undefined, active = Active, due = Due} = State) when Active =/= false ->
    tell({erlxc, self(), Data}, State),
    {noreply, State#state{active = after_one(Active, State),
        due = ack(C, Stream, Due + byte_size(Data))}};
handle_info({erlxc_drv, C, Stream, Message}, #state{c = C, stream = Stream} = State) ->
    go_on(flow(came(Message, State)));
handle_info({{answer, From}, Answer}, #state{asked = Asked} = State) ->
    is_map_key(From, Asked) andalso gen_server:reply(From, result(Answer)),
    {noreply, State#state{asked = maps:remove(From, Asked)}};
handle_info({timeout, Timer, recv}, #state{recv = {From, _, Timer, _}} = State) ->
    gen_server:reply(From, {error, timeout}),
    {noreply, unwait(State)};
handle_info({'DOWN', Ref, _, _, _}, #state{recv = {_, _, _, Ref}} = State) ->
    {noreply, unwait(State)}; % it would not take what comes
handle_info({'DOWN', _, _, C, _}, #state{c = C} = State) -> go_on(lost(State));
handle_info({'EXIT', C, _}, #state{c = C} = State) -> go_on(lost(State));
handle_info({'DOWN', _, _, Owner, Reason}, #state{owner = Owner} = State) ->
    {stop, {shutdown, {owner_exited, Reason}}, State};
handle_info({'EXIT', Pid, Reason}, #state{owner = Owner} = State)
        when Pid =:= Owner; Reason =/= normal ->
    {stop, Reason, State};
handle_info(_, State) -> {noreply, State}. % late, of what has ended

%% @private
terminate(_, #state{c = C, own = Own, stream = Stream}) ->
    is_integer(Stream) andalso erlxc_drv:close(C, Stream),
    try Own andalso erlxc_drv:stop(C) catch exit:_ -> ok end.

go_on(#state{how = supervise, status = Status} = State) when Status =/= undefined ->
    {stop, {shutdown, Status}, State};
go_on(State) -> {noreply, State}.
result({reply, Result, _}) -> Result;
result({raise, Class}) -> {error, Class};
result({raise, Class, _}) -> {error, Class}.

%% --- What comes, and who takes it ----------------------------------------
came({stdout, Data}, #state{chunks = Chunks, size = Size} = State) ->
    State#state{chunks = queue:in(Data, Chunks), size = Size + byte_size(Data)};
came({stderr, Data}, #state{errs = Errs} = State) -> State#state{errs = [Data | Errs]};
came({dropped, N}, State) ->
    tell({erlxc_dropped, self(), N}, State),
    State;
came({exit, Status}, #state{waiting = Waiting} = State) ->
    [gen_server:reply(From, {ok, Status}) || From <- maps:values(Waiting)],
    State#state{stream = undefined, status = Status, waiting = #{}}.

%% The driver is gone, and what it was asked will have no answer.
lost(#state{asked = Asked, status = Status} = State) ->
    [gen_server:reply(From, {error, closed}) || From <- maps:keys(Asked)],
    Lost = State#state{asked = #{}},
    case Status of undefined -> flow(came({exit, unknown}, Lost)); _ -> Lost end.

tell(_, #state{how = supervise}) -> ok;
tell(Message, #state{owner = Owner}) -> Owner ! Message.
active(_, #state{told = true}) -> error;
active(N, #state{active = Old} = State) when is_integer(N) ->
    count(case Old of _ when is_integer(Old) -> Old + N; _ -> N end, State);
active(Mode, _) -> Mode.
count(N, _) when N > ?ACTIVE_MAX -> error;
count(N, _) when N > 0 -> N;
count(_, State) ->
    tell({erlxc_passive, self()}, State),
    false.

%% Hands on what is there: to a recv, else to the owner as he is active.
flow(#state{recv = {From, Length, _, _}, size = Size} = State) when Size >= Length, Size > 0 ->
    {Data, Rest} = take(Length, State),
    gen_server:reply(From, {ok, Data}),
    flow(unwait(Rest));
flow(#state{recv = {From, _, _, _}, errs = [_ | _]} = State) ->
    {Data, Rest} = take_errs(State),
    gen_server:reply(From, {stderr, Data}),
    flow(unwait(Rest));
flow(#state{recv = {From, _, _, _}, status = Status} = State) when Status =/= undefined ->
    gen_server:reply(From, {error, closed}),
    flow(unwait(State));
flow(#state{recv = {_, _, _, _}, size = Size, ahead = Ahead, due = Due} = State) ->
    %% It may want more than the window: what is there is as good as taken.
    acked(State#state{ahead = Size, due = Due + Size - Ahead});
flow(#state{active = Active, size = Size} = State) when Active =/= false, Size > 0 ->
    {Data, Rest} = take(0, State),
    tell({erlxc, self(), Data}, State),
    flow(Rest#state{active = after_one(Active, State)});
flow(#state{active = Active, errs = [_ | _]} = State) when Active =/= false ->
    {Data, Rest} = take_errs(State),
    tell({erlxc_stderr, self(), Data}, State),
    flow(Rest#state{active = after_one(Active, State)});
flow(#state{active = Active, status = Status} = State)
        when Active =/= false, Status =/= undefined ->
    tell({erlxc_closed, self(), Status}, State),
    State#state{active = false, told = true};
flow(State) -> acked(State).

after_one(true, _) -> true;
after_one(once, _) -> false;
after_one(N, State) -> count(N - 1, State).
acked(#state{c = C, stream = Stream, due = Due} = State) -> State#state{due = ack(C, Stream, Due)}.

timer(infinity) -> make_ref();
timer(Ms) -> erlang:start_timer(Ms, self(), recv).
unwait(#state{recv = {_, _, Timer, Caller}} = State) ->
    _ = erlang:cancel_timer(Timer),
    demonitor(Caller, [flush]),
    State#state{recv = undefined}.

%% So many bytes; 0: whole chunks, as large ones are not copied then.
take(Length, #state{chunks = Chunks, size = Size, ahead = Ahead, due = Due} = State) ->
    {Taken, Rest} = gather(Chunks, Length, case Length of 0 -> ?CHUNK; _ -> Length end, []),
    N = iolist_size(Taken),
    {join(Taken), State#state{chunks = Rest, size = Size - N, ahead = max(0, Ahead - N),
        due = Due + max(0, N - Ahead)}}.

take_errs(#state{errs = Errs, due = Due} = State) ->
    Data = join(Errs),
    {Data, State#state{errs = [], due = Due + byte_size(Data)}}.

gather(Chunks, Least, Most, Taken) ->
    case queue:peek(Chunks) of
        {value, Chunk} when byte_size(Chunk) =< Most ->
            N = byte_size(Chunk),
            gather(queue:drop(Chunks), max(0, Least - N), Most - N, [Chunk | Taken]);
        {value, <<Head:Least/binary, Tail/binary>>} when Least > 0 ->
            {[Head | Taken], queue:in_r(Tail, queue:drop(Chunks))};
        _ -> {Taken, Chunks}
    end.
join([Chunk]) -> Chunk;
join(Chunks) -> iolist_to_binary(lists:reverse(Chunks)).
