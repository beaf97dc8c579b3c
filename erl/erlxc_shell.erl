%% SPDX-License-Identifier: ISC
%% @doc For people at a terminal: what {@link erlxc:i/1}, {@link erlxc:stats/1}, {@link
%% erlxc:top/1} and {@link erlxc:attach/2} do.
%%
%% A terminal that nobody else reads is taken raw: from OTP 28 on by {@link
%% shell:start_interactive/1}, before by stty(1), when the node was started with
%% `-noshell'. The shell's own terminal is read line by line: it cannot be had otherwise.
-module(erlxc_shell).

-export([containers/1, i/1, stats/1, top/1, attach/2]).
-export_type([row/0]).

-define(NAME, <<"erlxc.survey">>). % of a driver that only asks: it serves no container
-define(ASK_MS, 1000). % for a driver to say whom it serves
-define(TOP_MS, 2000).
-define(SIZE_MS, 1000). % between two looks at the terminal's size
-define(WIDTH, 80).
-define(ESCAPE, 1). % ^A
-define(INTERRUPT, 3). % ^C

-type row() :: #{name := binary(), state := binary() | unknown, addresses := [binary()],
    pid | uptime | cpu_us | memory := non_neg_integer() | undefined,
    type := erlxc_drv:type() | undefined}.
%% Of a container: `unknown': its monitor does not say. Its init's pid, seconds it has
%% run, microseconds of a CPU used, bytes used; the type that a driver of this node has
%% for it.
-record(attach, {pid :: pid(), reader :: pid(), writer :: pid(), raw :: term(),
    over = false :: boolean(), % there is no more to read
    armed = false :: boolean(), % the escape was typed
    typed = <<>> :: binary(), % that the other side will echo once more
    rest = <<>> :: binary()}). % of a character that is not complete

%% --- The table -----------------------------------------------------------
%% @doc The rows of the table, as maps: of a lxcpath, `<<>>' for liblxc's, or of that of
%% a driver's or stream's container. Raises as {@link erlxc_drv:call/3} does.
-spec containers(erlxc:ref()) -> {ok, [row()]} | {error, term()}.
containers(Ref) -> asking(Ref, fun(C) -> {ok, survey(C)} end).

%% @doc As {@link erlxc:i/1}.
-spec i(erlxc:ref()) -> ok | {error, term()}.
i(Ref) ->
    case containers(Ref) of
        {ok, Rows} -> io:put_chars(lines(table([since_start(R) || R <- Rows]), "\n"));
        Error -> Error
    end.

%% @doc As {@link erlxc:stats/1}.
-spec stats(pid()) -> erlxc:stats() | {error, atom()}.
stats(Ref) ->
    {Stats, _} = erlxc_drv:call(erlxc:container(Ref), stats, []),
    Stats.

asking(Ref, Fun) when is_pid(Ref) -> Fun(erlxc:container(Ref));
asking(Path, Fun) ->
    case erlxc_drv:start([{name, ?NAME}, {path, Path}, permanent]) of
        {ok, C} -> try Fun(C) after erlxc_drv:stop(C) end;
        Error -> Error
    end.

%% The drivers of this node are asked meanwhile, each by a process of its own, as its port
%% may be stopped: whom they serve, and as what type.
survey(C) ->
    Asked = [ask(D) || D <- processes(), is_driver(D)],
    Until = erlang:monotonic_time(millisecond) + ?ASK_MS,
    {Path, _} = erlxc_drv:call(C, get_config_path, []),
    {Rows, _} = erlxc_drv:call(C, survey, [<<>>]),
    Types = maps:from_list(lists:append([answer(A, Until) || A <- Asked])),
    [R#{type => maps:get({Path, Name}, Types, undefined)} || #{name := Name} = R <- Rows].

-dialyzer({nowarn_function, ask/1}). % it exits with its answer
ask(Driver) -> spawn_monitor(fun() -> exit(served(Driver)) end).
is_driver(Pid) -> proc_lib:translate_initial_call(Pid) =:= {erlxc_drv, init, 1}.
served(D) ->
    [{Path, _}, {Name, _}, {Type, _}] =
        [erlxc_drv:call(D, Ask, [], ?ASK_MS) || Ask <- [get_config_path, name, type]],
    {served, {{Path, Name}, Type}}.
answer({Pid, Mon}, Until) ->
    receive
        {'DOWN', Mon, process, Pid, {served, Served}} -> [Served];
        {'DOWN', Mon, process, Pid, _} -> []
    after max(0, Until - erlang:monotonic_time(millisecond)) ->
        demonitor(Mon, [flush]),
        exit(Pid, kill),
        []
    end.

%% Percent of one CPU, since the start or between two looks.
since_start(#{cpu_us := Us, uptime := S} = Row) when is_integer(Us), is_integer(S) ->
    Row#{cpu => Us / (max(S, 1) * 10000)};
since_start(Row) -> Row#{cpu => undefined}.
since(Before, Ms, #{name := Name, pid := Pid, cpu_us := Us} = Row) when is_integer(Us) ->
    case Before of
        #{{Name, Pid} := Was} when is_integer(Was) -> Row#{cpu => (Us - Was) / (Ms * 10)};
        #{} -> since_start(Row)
    end;
since(_, _, Row) -> since_start(Row).

%% A table that is no wider than a terminal: a name that does not fit has a line for
%% itself, as has each address but the first.
table(Rows) ->
    Name = min(16, lists:max([4 | [byte_size(N) || #{name := N} <- Rows]])),
    Widths = [{trailing, Name}, {trailing, 8}, {leading, 7}, {trailing, ?WIDTH - 49 - Name},
        {leading, 6}, {leading, 5}, {leading, 6}, {trailing, 9}],
    Heads = ["NAME", "STATE", "PID", "ADDRESSES", "MEMORY", "CPU%", "UPTIME", "TYPE"],
    [cells(Widths, Heads) | lists:append([row(Widths, R) || R <- Rows])].

row([{_, NameW}, _, _, {_, AddrW} | _] = Widths, #{name := Name, addresses := Addresses} = Row) ->
    {First, More} = case Addresses of
        [A | Rest] when byte_size(A) =< AddrW -> {A, Rest};
        _ -> {[], Addresses}
    end,
    {Above, Shown} = case byte_size(Name) =< NameW of
        true -> {[], Name};
        false -> {[lists:sublist(visible(Name), ?WIDTH - 1)], []}
    end,
    Cells = [visible(Shown), state(Row), number(maps:get(pid, Row)), First | figures(Row)],
    Above ++ [cells(Widths, Cells)] ++ [[lists:duplicate(NameW + 18, $\s), A] || A <- More].
figures(#{memory := Memory, cpu := Cpu, uptime := Uptime, type := Type}) ->
    [bytes(Memory), percent(Cpu), duration(Uptime),
        case Type of undefined -> "-"; _ -> atom_to_list(Type) end].

cells(Widths, Cells) ->
    string:trim(lists:join($\s, lists:zipwith(fun cell/2, Widths, Cells)), trailing).
cell({Side, Width}, Text) -> string:pad(unicode:characters_to_list(Text), Width, Side).

%% Anybody may make a directory with that name; the terminal must not obey it.
visible(Name) -> [visible_char(C) || <<C>> <= iolist_to_binary(Name)].
visible_char(C) when C < 32; C > 126 -> $?;
visible_char(C) -> C.
state(#{state := unknown}) -> "?";
state(#{state := State}) -> State.
number(undefined) -> "-";
number(N) -> integer_to_list(N).
bytes(undefined) -> "-";
bytes(N) -> bytes(N / 1024, "KMGTPE").
bytes(N, [_ | [_ | _] = Units]) when N >= 1000 -> bytes(N / 1024, Units);
bytes(N, [Unit | _]) -> [decimal(N), Unit].
percent(undefined) -> "-";
percent(P) -> decimal(P).
decimal(N) when N < 100 -> float_to_list(float(N), [{decimals, 1}]);
decimal(N) -> integer_to_list(round(N)).
duration(undefined) -> "-";
duration(S) when S < 60 -> io_lib:format("~bs", [S]);
duration(S) when S < 3600 -> io_lib:format("~bm~2..0bs", [S div 60, S rem 60]);
duration(S) when S < 86400 -> io_lib:format("~bh~2..0bm", [S div 3600, S div 60 rem 60]);
duration(S) when S < 8640000 -> io_lib:format("~bd~2..0bh", [S div 86400, S div 3600 rem 24]);
duration(S) -> io_lib:format("~bd", [S div 86400]).
lines(Lines, End) -> [[L, End] || L <- Lines].

%% --- The table, again and again ------------------------------------------
%% @doc As {@link erlxc:top/1}.
-spec top(erlxc:ref()) -> ok | {error, term()}.
top(Ref) ->
    asking(Ref, fun(C) ->
        Raw = raw(),
        Reader = reader(Raw),
        try
            io:put_chars("\e[2J"),
            top(C, Reader, Raw, #{}, 0)
        after
            unlink(Reader),
            exit(Reader, kill),
            cooked(Raw)
        end
    end).
hint(lines) -> "Enter ends this.";
hint(_) -> "Any key ends this.".

top(C, Reader, Raw, Before, Then) ->
    Now = erlang:monotonic_time(millisecond),
    Rows = [since(Before, Now - Then, R) || R <- survey(C)],
    {Height, _} = geometry(Raw),
    %% By the CPU that is used; what is not known, an atom, last.
    {Known, Not} = lists:partition(fun(#{cpu := Cpu}) -> is_float(Cpu) end, Rows),
    Sorted = lists:reverse(lists:keysort(1, [{Cpu, R} || #{cpu := Cpu} = R <- Known])),
    Table = lists:sublist(table([R || {_, R} <- Sorted] ++ Not), max(1, Height - 2)),
    io:put_chars(["\e[H", lines([hint(Raw) | Table], "\e[K\r\n"), "\e[J"]),
    Seen = maps:from_list([{{Name, Pid}, Us} || #{name := Name, pid := Pid, cpu_us := Us} <- Rows]),
    receive {Reader, _} -> ok
    after ?TOP_MS -> top(C, Reader, Raw, Seen, Now)
    end.

%% --- A terminal ------------------------------------------------------------
geometry({tty, _}) ->
    case [list_to_integer(N) || {0, Text} <- [stty("size")], N <- string:lexemes(Text, " ")] of
        [Rows, Columns] when Rows > 0, Columns > 0 -> {Rows, Columns};
        _ -> geometry(tty)
    end;
geometry(_) ->
    case {io:rows(), io:columns()} of
        {{ok, Rows}, {ok, Columns}} when Rows > 0, Columns > 0 -> {Rows, Columns};
        _ -> {24, ?WIDTH}
    end.

%% How the terminal was made raw, for cooked/1; `lines': it was not, as a shell has it, or
%% it is another node's.
raw() ->
    case group_leader() =:= whereis(user) of
        true -> raw(shell, list_to_integer(erlang:system_info(otp_release)));
        false -> lines
    end.
raw(Shell, Release) when Release >= 28 ->
    case Shell:start_interactive({noshell, raw}) of ok -> Shell; _ -> lines end;
raw(_, _) -> raw_tty(init:get_argument(noshell), init:get_argument(noinput)).
raw_tty({ok, _}, error) ->
    case stty("-g") of
        {0, Settings} -> {0, _} = stty("raw -echo"), {tty, Settings};
        _ -> lines
    end;
raw_tty(_, _) -> lines.

cooked(lines) -> ok;
cooked({tty, Settings}) -> stty(Settings);
cooked(Shell) -> Shell:start_interactive({noshell, cooked}).

%% Its own standard input is not ours.
stty(Args) ->
    Command = ["stty -F /proc/", os:getpid(), "/fd/0 ", Args, " 2>/dev/null; echo $?"],
    Lines = string:lexemes(os:cmd(lists:append(Command)), "\n"),
    {list_to_integer(lists:last(Lines)), lists:append(lists:droplast(Lines))}.

%% A process that reads once, and again each time that it is told: none is left to take
%% what is typed for the shell.
reader(Raw) ->
    Self = self(),
    spawn_link(fun() -> read(Self, Raw) end).
read(To, Raw) ->
    case chars(Raw) of
        Chars when is_list(Chars); is_binary(Chars) ->
            To ! {self(), {typed, unicode:characters_to_binary(Chars)}};
        {error, interrupted} -> To ! {self(), {typed, <<?INTERRUPT>>}}; % the shell's ^C
        _ -> To ! {self(), eof}
    end,
    receive again -> read(To, Raw) end.
chars(lines) -> io:get_line("");
chars({tty, _}) -> io:get_chars("", 1);
chars(_) -> io:get_chars("", 1024). % there, what there is

%% --- A terminal that is the container's ------------------------------------
%% @doc As {@link erlxc:attach/2}.
-spec attach(erlxc:ref(), [erlxc:option()]) -> ok | erlxc:status() | {error, term()}.
attach(Ref, Options) ->
    Raw = raw(),
    try attach(Ref, Options, Raw)
    after cooked(Raw)
    end.

attach(Ref, Options, Raw) ->
    Size = geometry(Raw),
    case erlxc:spawn(Ref, Options ++ [{pty, Size}, {env, [{"TERM", term(Raw)}]}]) of
        {ok, Pid} ->
            io:put_chars(["\r\n", greeting(Raw), "\r\n"]),
            Writer = spawn_link(fun() -> write(Pid, Raw, Size) end),
            Attach = #attach{pid = Pid, reader = reader(Raw), writer = Writer, raw = Raw},
            erlxc:setopts(Pid, [{active, once}]),
            try attached(Attach) after hang_up(Attach) end;
        Error -> Error
    end.

term(lines) -> "dumb"; % what edits lines itself would do so twice
term(_) -> os:getenv("TERM", "vt100").
greeting(lines) -> "Line by line. A line of ^A q detaches (type a caret, an A, a q).";
greeting(_) -> "^A q detaches, ^A ^A is ^A.".

%% It may have to wait for the container, while that waits for us to read.
write(Pid, Raw, Size) ->
    receive
        eof -> erlxc:eof(Pid), write(Pid, Raw, Size);
        Bytes -> erlxc:send(Pid, Bytes), write(Pid, Raw, Size)
    after ?SIZE_MS -> write(Pid, Raw, resized(Pid, Size, geometry(Raw)))
    end.
resized(_, Size, Size) -> Size;
resized(Pid, _, {Rows, Columns} = Size) ->
    _ = erlxc:resize(Pid, Rows, Columns),
    Size.

attached(#attach{pid = Pid, reader = Reader} = A) ->
    receive
        {erlxc, Pid, Data} -> attached(show(Data, A));
        {erlxc_stderr, Pid, Data} -> attached(show(Data, A));
        {erlxc_closed, Pid, Status} -> ended(Status, A);
        {erlxc_dropped, Pid, _} -> attached(A);
        {Reader, eof} -> A#attach.writer ! eof, attached(A#attach{over = true});
        {Reader, {typed, Chars}} -> typed(keys(Chars, A))
    end.

typed({Bytes, A}) ->
    Bytes =:= <<>> orelse (A#attach.writer ! Bytes),
    A#attach.reader ! again,
    attached(A);
typed(detach) -> io:put_chars("\r\n").

%% What is for the container of what was typed, or `detach'.
keys(Line, #attach{raw = lines} = A) ->
    case binary:replace(string:trim(Line), [<<" ">>, <<?ESCAPE>>], <<>>, [global]) of
        <<"q">> when binary_part(Line, 0, 1) =:= <<?ESCAPE>> -> detach;
        <<"^Aq">> -> detach;
        _ -> {Line, A#attach{typed = string:trim(Line, trailing, "\r\n")}}
    end;
keys(Bytes, A) -> keys(Bytes, <<>>, A).
keys(<<"q", _/binary>>, _, #attach{armed = true}) -> detach;
keys(<<?ESCAPE, Rest/binary>>, Out, #attach{armed = false} = A) ->
    keys(Rest, Out, A#attach{armed = true});
keys(<<C, Rest/binary>>, Out, A) -> keys(Rest, <<Out/binary, C>>, A#attach{armed = false});
keys(<<>>, Out, A) -> {Out, A}.

show(Data, #attach{pid = Pid, raw = Raw, rest = Rest} = A) ->
    erlxc:setopts(Pid, [{active, once}]),
    {New, Left} = echoed(unasked(Data, Raw), A),
    {Text, Incomplete} = text(<<Rest/binary, New/binary>>, []),
    io:put_chars(Text),
    Left#attach{rest = Incomplete}.

%% What a terminal is asked would be answered to the shell.
unasked(Data, lines) -> re:replace(Data, "\\e\\[[?>0-9;]*[cn]", "", [global, {return, binary}]);
unasked(Data, _) -> Data.

%% The shell has shown a line once already when it comes back.
echoed(Data, #attach{typed = Typed} = A) ->
    N = binary:longest_common_prefix([Data, Typed]),
    case {Data, Typed} of
        {_, <<>>} -> {Data, A};
        {<<_:N/binary, "\r\n", Rest/binary>>, <<_:N/binary>>} -> {Rest, A#attach{typed = <<>>}};
        {<<_:N/binary>>, <<_:N/binary, More/binary>>} -> {<<>>, A#attach{typed = More}};
        _ -> {Data, A#attach{typed = <<>>}}
    end.

text(Bytes, Text) ->
    case unicode:characters_to_list(Bytes) of
        {incomplete, Chars, Rest} -> {[Text | Chars], Rest};
        {error, Chars, <<_, Rest/binary>>} -> text(Rest, [Text, Chars, 16#fffd]);
        Chars -> {[Text | Chars], <<>>}
    end.

%% What is still being read is for nobody else: a key ends it.
ended(Status, #attach{over = true}) -> Status;
ended(Status, #attach{reader = Reader, raw = Raw}) ->
    Key = case Raw of lines -> "Enter"; _ -> "a key" end,
    io:put_chars(["\r\nIt has ended; press ", Key, ".\r\n"]),
    receive {Reader, _} -> Status end.

hang_up(#attach{pid = Pid, reader = Reader, writer = Writer}) ->
    [begin unlink(P), exit(P, kill) end || P <- [Reader, Writer]],
    erlxc:stop(Pid),
    flush(Pid).
flush(Pid) ->
    receive
        {Tag, Pid, _} when Tag =:= erlxc; Tag =:= erlxc_stderr; Tag =:= erlxc_closed;
                Tag =:= erlxc_dropped -> flush(Pid)
    after 0 -> ok
    end.
