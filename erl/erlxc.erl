%% SPDX-License-Identifier: ISC
%% @doc A command in a container as an Erlang process, in gen_tcp's manners.
%%
%% ```
%% {ok, Pid} = erlxc:spawn(<<"web">>), % brought up, with a shell on a pty
%% ok = erlxc:send(Pid, <<"echo hello\n">>),
%% {ok, Data} = erlxc:recv(Pid),
%% {ok, #{stdout := <<"hello\n">>}} = erlxc:run(Pid, [<<"echo">>, <<"hello">>]).
%% '''
%%
%% The process that calls {@link spawn/2} is the stream's owner; with it the container
%% ends, as its type says. Any process of any node may call. What the command writes
%% waits for {@link recv/3}, or is sent to the owner as {@link setopts/2} says:
%%
%% <dl>
%% <dt>`{erlxc, Pid, Data}'</dt><dd>standard output, or the pty</dd>
%% <dt>`{erlxc_stderr, Pid, Data}'</dt><dd>standard error, when it is `separate'</dd>
%% <dt>`{erlxc_closed, Pid, Status}'</dt><dd>the end, behind all output, when active;
%%   `unknown': the container's driver is gone</dd>
%% <dt>`{erlxc_passive, Pid}'</dt><dd>`{active, N}' is used up</dd>
%% <dt>`{erlxc_dropped, Pid, N}'</dt><dd>bytes that a console lost, active or not</dd>
%% </dl>
%%
%% After the end recv gives what is left. Then it, send and all that needs a command
%% give `{error, closed}', also when the process is no more.
-module(erlxc).

-export([spawn/1, spawn/2, spawn_link/1, spawn_link/2, child_spec/2, console/1, console/2, stop/1]).
-export([send/2, send/3, recv/1, recv/2, recv/3, eof/1, setopts/2, controlling_process/2]).
-export([resize/3, signal/2, wait/1, wait/2, run/2, run/3]).
-export([container/1, exit/2, reboot/1, type/1, type/2]).
-export([i/0, i/1, stats/1, top/0, top/1, attach/1, attach/2]).
-export_type([stats/0, ref/0, status/0, argv/0, attach_option/0, option/0, run_option/0, output/0]).
-compile({no_auto_import, [spawn/1, spawn/2, spawn_link/1, spawn_link/2, exit/2]}).

-define(PIECE, 16#100000). % what one request writes: the port holds it meanwhile
-define(SIGNALS, [hup, int, quit, ill, trap, abrt, bus, fpe, kill, usr1, segv, usr2, pipe, alrm,
    term, stkflt, chld, cont, stop, tstp, ttin, ttou, urg, xcpu, xfsz, vtalrm, prof, winch, io,
    pwr, sys]).

-type ref() :: iodata() | pid().
%% A container's name; `<<>>': a generated one, temporary; or the process of a
%% driver or stream, whose container it stays.
-type status() :: erlxc_drv:exited().
-type argv() :: iodata() | [iodata()].
-type output() :: #{status := status(), stdout := binary(), stderr := binary()}.
-type attach_option() ::
    {pty, boolean() | {Rows :: 1..65535, Columns :: 1..65535}}
    | {stderr, stdout | separate | null}
    | {env, [iodata() | {iodata(), iodata()}]}
    | {cd | user | group, iodata() | non_neg_integer()}
    | {groups, [iodata() | non_neg_integer()]}.
%% A pty, or three pipes; where standard error leads then; what is put over PATH, HOME,
%% USER, TERM and container, which is the environment; who runs it, and where.
-type option() ::
    attach_option()
    | {exec, argv()}
    | {start, argv() | [{useinit, 0 | 1} | {argv, argv()}]}
    | {config, [{load, iodata()} | {Key :: iodata(), Value :: iodata()} | iodata()]}
    | {create, [{template | bdevtype | bdevspec, iodata()} | {flags, 0 | 1} | {argv, [iodata()]}]}
    | {chroot, [tuple()]}
    | {cgroup, [{Key :: iodata(), Value :: iodata()}]}
    | {timeout, timeout()}
    | {driver, [erlxc_drv:option()]}
    | {path | engine | type | log | shutdown, term()}.
%% <dl>
%% <dt>`exec'</dt><dd>The command. Default `/bin/sh'.</dd>
%% <dt>`start'</dt><dd>Instead of it: what the container is started with as its init,
%%   on pipes. `{error, ebusy}' when it is not stopped.</dd>
%% <dt>`config'</dt><dd>In its order: `{Key, Value}' is set, `Key' cleared, `{load,
%%   File}' loaded; `<<>>' clears all.</dd>
%% <dt>`create'</dt><dd>How one that is not defined is created. Default: busybox.</dd>
%% <dt>`chroot'</dt><dd>What is put into the rootfs: `{dir, Path}', `{copy, From, To}',
%%   `{file, Path, Data}', each with a mode as one element more.</dd>
%% <dt>`cgroup'</dt><dd>What is set when it runs.</dd>
%% <dt>`timeout'</dt><dd>Milliseconds for all this. Default 60000.</dd>
%% <dt>others</dt><dd>The driver's, for a container by its name.</dd>
%% </dl>
-type run_option() :: attach_option() | {timeout, timeout()} | {max, non_neg_integer() | infinity}
    | {input, iodata()}.
%% `max': bytes of output; default 64 MiB. `input': for its standard input, with
%% end-of-file behind, at most 15 MiB; default none.

%% --- Life ----------------------------------------------------------------
%% @equiv spawn(Ref, [])
-spec spawn(ref()) -> {ok, pid()} | {error, term()}.
spawn(Ref) -> spawn(Ref, []).
%% @doc Brings a container up from whatever state, and runs a command in it: by default
%% on a pty of 24 x 80; with `{pty, false}' on pipes, standard error with the output.
%%
%% `{error, Posix}', `{error, {Stage, Posix}}': the command was not started; `{error,
%% {Step, Why, Text}}': a step before, such as `start', failed: what it gave or raised,
%% and liblxc's reason; `{error, timeout}'; `{error, {badarg, Option}}'; and those of
%% {@link erlxc_drv:start/1}. The driver that was started is stopped then.
-spec spawn(ref(), [option()]) -> {ok, pid()} | {error, term()}.
spawn(Ref, Options) -> erlxc_stream:start(Ref, Options, monitor).

%% @equiv spawn_link(Ref, [])
-spec spawn_link(ref()) -> {ok, pid()} | {error, term()}.
spawn_link(Ref) -> spawn_link(Ref, []).
%% @doc The same, linked to its owner.
-spec spawn_link(ref(), [option()]) -> {ok, pid()} | {error, term()}.
spawn_link(Ref, Options) -> erlxc_stream:start(Ref, Options, link).

%% @doc A supervisor's child. It ends when its command does, with the reason
%% `{shutdown, Status}', and sends messages to nobody.
-spec child_spec(ref(), [option()]) -> supervisor:child_spec().
child_spec(Ref, Options) ->
    Driver = [Opt || {shutdown, _} = Opt <- Options] ++ proplists:get_value(driver, Options, []),
    #{shutdown := Ms} = erlxc_drv:child_spec(Driver),
    Id = {?MODULE, case Ref of <<>> -> make_ref(); _ -> Ref end},
    #{id => Id, start => {erlxc_stream, start, [Ref, Options, supervise]}, shutdown => Ms + 6000}.

%% @equiv console(Pid, 0)
-spec console(pid()) -> {ok, pid()} | {error, term()}.
console(Pid) -> console(Pid, 0).
%% @doc A terminal of the process's container, as a process of its own: 0, its console;
%% N, its tty N, of which there are `lxc.tty.max'; -1, the first tty that is free. A
%% console that is not read loses bytes, a tty makes its writer wait.
-spec console(pid(), Tty :: -1 | non_neg_integer()) -> {ok, pid()} | {error, term()}.
console(Pid, Tty) -> erlxc_stream:start(Pid, [], {console, Tty}).

%% @doc Ends the command and the process, and returns when what the container's type
%% takes down is gone.
-spec stop(pid()) -> ok.
stop(Pid) -> try gen_server:stop(Pid) catch exit:_ -> ok end.

%% --- Bytes ---------------------------------------------------------------
%% @equiv send(Pid, Data, infinity)
-spec send(pid(), iodata()) -> ok | {error, closed | epipe | enobufs | atom()}.
send(Pid, Data) -> send(Pid, Data, infinity).
%% @doc Writes to the command's standard input or pty; returns when all is written.
%% `epipe': nobody reads there, or after {@link eof/1}; `timeout': some may be written
%% later. Data of more than 1 MiB is written in pieces.
-spec send(pid(), iodata(), timeout()) -> ok | {error, closed | epipe | enobufs | timeout | atom()}.
send(Pid, Data, Timeout) when is_binary(Data), byte_size(Data) =< ?PIECE ->
    call(Pid, {ask, write, [Data]}, Timeout);
send(Pid, <<Piece:?PIECE/binary, Rest/binary>>, Timeout) ->
    Start = erlang:monotonic_time(millisecond),
    case send(Pid, Piece, Timeout) of
        ok when Timeout =:= infinity -> send(Pid, Rest, infinity);
        ok -> send(Pid, Rest, max(0, Start + Timeout - erlang:monotonic_time(millisecond)));
        Error -> Error
    end;
send(Pid, Data, Timeout) -> send(Pid, iolist_to_binary(Data), Timeout).

%% @equiv recv(Pid, 0)
-spec recv(pid()) -> {ok | stderr, binary()} | {error, closed | einval | ealready}.
recv(Pid) -> recv(Pid, 0).
%% @equiv recv(Pid, Length, infinity)
-spec recv(pid(), non_neg_integer()) -> {ok | stderr, binary()} | {error, atom()}.
recv(Pid, Length) -> recv(Pid, Length, infinity).
%% @doc The next Length bytes of output; 0: what is there, one byte at least. Before
%% them comes `{stderr, Data}', when that is `separate' and there is some. `closed': the
%% command ended before; `timeout': nothing is lost; `einval': the process is active; `ealready': another one waits here; `enomem': over 64 MiB.
-spec recv(pid(), non_neg_integer(), timeout()) -> {ok | stderr, binary()} | {error, atom()}.
recv(_, Length, _) when is_integer(Length), Length > 16#4000000 -> {error, enomem};
recv(Pid, Length, Timeout) when is_integer(Length), Length >= 0,
        Timeout =:= infinity orelse (is_integer(Timeout) andalso Timeout >= 0) ->
    call(Pid, {recv, Length, Timeout}, infinity).

%% @doc Ends the command's input, behind what was sent: closes the pipe, or writes the
%% terminal's end-of-file character.
-spec eof(pid()) -> ok | {error, closed | atom()}.
eof(Pid) -> call(Pid, {ask, eof, []}, infinity).

%% @doc `[{active, Mode}]', as inet has it: `false' (the default), `true', `once', or N
%% messages more. `einval': another option; or `erlxc_closed' was sent.
-spec setopts(pid(), [{active, boolean() | once | -32768..32767}]) -> ok | {error, einval | closed}.
setopts(Pid, [{active, Mode}]) when is_boolean(Mode); Mode =:= once;
        is_integer(Mode), Mode >= -32768, Mode < 32768 ->
    call(Pid, {active, Mode}, infinity);
setopts(_, _) -> {error, einval}.

%% @doc Makes New the owner, with the messages that its owner, who alone may call this,
%% has not received.
-spec controlling_process(pid(), New :: pid()) -> ok | {error, not_owner | closed}.
controlling_process(Pid, New) when is_pid(New) ->
    case call(Pid, {give, New}, infinity) of
        {ok, Active} ->
            New =:= self() orelse hand_over(Pid, New),
            _ = setopts(Pid, [{active, Active}]),
            ok;
        Error -> Error
    end.

hand_over(Pid, New) ->
    receive
        {Tag, Pid, _} = Message when Tag =:= erlxc; Tag =:= erlxc_stderr; Tag =:= erlxc_closed;
                Tag =:= erlxc_dropped -> New ! Message, hand_over(Pid, New);
        {erlxc_passive, Pid} = Message -> New ! Message, hand_over(Pid, New)
    after 0 -> ok
    end.

%% --- The command ---------------------------------------------------------
%% @doc Sets the size of the pty; `enotty': there is none.
-spec resize(pid(), 1..65535, 1..65535) -> ok | {error, enotty | closed | atom()}.
resize(Pid, Rows, Cols) when Rows > 0, Rows < 1 bsl 16, Cols > 0, Cols < 1 bsl 16 ->
    call(Pid, {ask, resize, [Rows, Cols]}, infinity).

%% @doc Sends the command a signal: a number, or a name such as `int' or `sigint'.
-spec signal(pid(), 1..64 | atom()) -> ok | {error, closed | badarg | atom()}.
signal(Pid, Signal) when Signal > 0, Signal =< 64 -> call(Pid, {ask, signal, [Signal]}, infinity);
signal(Pid, Signal) ->
    Numbers = [N || {Name, N} <- lists:zip(?SIGNALS, lists:seq(1, length(?SIGNALS))),
        Signal =:= Name orelse atom_to_list(Signal) =:= "sig" ++ atom_to_list(Name)],
    signal(Pid, case Numbers of [N] -> N; [] -> error(badarg, [Pid, Signal]) end).

%% @equiv wait(Pid, infinity)
-spec wait(pid()) -> {ok, status()} | {error, closed}.
wait(Pid) -> wait(Pid, infinity).
%% @doc Waits for the command's end.
-spec wait(pid(), timeout()) -> {ok, status()} | {error, timeout | closed}.
wait(Pid, Timeout) -> call(Pid, wait, Timeout).

call(Pid, Request, Timeout) ->
    try gen_server:call(Pid, Request, Timeout)
    catch
        exit:{timeout, _} -> {error, timeout};
        exit:_ -> {error, closed}
    end.

%% @equiv run(Ref, Argv, [])
-spec run(pid(), argv()) -> {ok, output()} | {error, term()}.
run(Ref, Argv) -> run(Ref, Argv, []).
%% @doc Runs a command to its end, by default on pipes, in the running container of a
%% driver or stream. `{error, timeout}', `{error, {limit, Output}}': it was killed.
%% Other errors as of {@link spawn/2}.
-spec run(pid(), argv(), [run_option()]) -> {ok, output()} | {error, term()}.
run(Ref, Argv, Options) -> erlxc_stream:run(Ref, Argv, Options).

%% --- The container -------------------------------------------------------
%% @doc The driver of the process's container, for {@link liblxc}. This and what
%% follows exit as {@link gen_server:call/2} does.
-spec container(pid()) -> erlxc_drv:container().
container(Pid) -> gen_server:call(Pid, container, infinity).

%% @doc A signal to the container: `normal' asks it to shut down, and does not wait;
%% `kill' stops it. The reason of `false' has {@link liblxc:last_error/1}.
-spec exit(pid(), normal | kill) -> boolean().
exit(Pid, normal) -> liblxc:shutdown(container(Pid), 0);
exit(Pid, kill) -> liblxc:stop(container(Pid)).

%% @doc As {@link liblxc:reboot/1}.
-spec reboot(pid()) -> boolean().
reboot(Pid) -> liblxc:reboot(container(Pid)).

%% @doc As {@link liblxc:type/1}.
-spec type(pid()) -> erlxc_drv:type().
type(Pid) -> liblxc:type(container(Pid)).

%% @doc As {@link liblxc:type/2}.
-spec type(pid(), erlxc_drv:type()) -> boolean().
type(Pid, Type) -> liblxc:type(container(Pid), Type).

%% --- For people ------------------------------------------------------------
-type stats() :: #{
    cpu := #{usage_us | user_us | system_us | periods | throttled | throttled_us := number_of()},
    memory := #{usage | peak | limit | anon | file | oom_kills := number_of()},
    swap := #{usage | limit := number_of()},
    pids := #{current | limit := number_of()},
    io := #{read_bytes | write_bytes | reads | writes := number_of()},
    pressure := #{cpu | memory | io := #{some | full := #{
        avg10 | avg60 | avg300 := float() | undefined, total_us := number_of()}}},
    network := #{Interface :: binary() => #{rx_bytes | rx_packets | rx_errors | rx_dropped |
        tx_bytes | tx_packets | tx_errors | tx_dropped := non_neg_integer()}}}.
-type number_of() :: non_neg_integer() | infinity | undefined.

%% @equiv i(<<>>)
-spec i() -> ok | {error, term()}.
i() -> i(<<>>).
%% @doc Prints a table of all containers, defined or active, of a lxcpath: a path, `<<>>'
%% for liblxc's, or that of a driver's or stream's container.
%%
%% The state is `?' when a monitor does not say within a second; all are asked at once.
%% CPU% is that of one CPU since the start; the type is that of a driver of this node.
-spec i(ref()) -> ok | {error, term()}.
i(Ref) -> erlxc_shell:i(Ref).

%% @doc What the running container of a driver or stream uses and has used: bytes,
%% microseconds, and numbers, since its start, but for what the words `usage', `current',
%% `limit' and `peak' say. All keys are there on cgroup version 1 and 2.
%%
%% `infinity': there is no limit; `undefined': this host does not count that, as version
%% 1 does not pressure, without version 2 beside it. Memory that version 1 calls rss and
%% cache is `anon' and `file'; its limit of swap is what that of memory and swap leaves.
%% `{error, esrch}': it does not run. Raises and exits as {@link liblxc:state/1} does.
-spec stats(pid()) -> stats() | {error, atom()}.
stats(Pid) -> erlxc_shell:stats(Pid).

%% @equiv top(<<>>)
-spec top() -> ok | {error, term()}.
top() -> top(<<>>).
%% @doc The table of {@link i/1} every two seconds in the same place, the busiest first,
%% until a key is pressed: Enter, in the shell. CPU% is that since the last time.
-spec top(ref()) -> ok | {error, term()}.
top(Ref) -> erlxc_shell:top(Ref).

%% @equiv attach(Ref, [])
-spec attach(ref()) -> ok | status() | {error, term()}.
attach(Ref) -> attach(Ref, []).
%% @doc Makes this terminal that of a command in a container, as {@link spawn/2} runs it,
%% whose options and errors these are, until it ends, which gives its status, or ^A q is
%% typed, which hangs up. ^A ^A is ^A.
%%
%% Every key is the container's when the terminal can be had for that: in a node started
%% with `-noshell'. The shell's terminal is read line by line; there the end of the
%% command is confirmed with Enter, and `^A q' may be typed with a caret.
-spec attach(ref(), [option()]) -> ok | status() | {error, term()}.
attach(Ref, Options) -> erlxc_shell:attach(Ref, Options).
