%% SPDX-License-Identifier: ISC
%% The codec against term_to_binary/2 and binary_to_term/2, through the test
%% program `transcode` in the directory that ERLXC_BUILD names ("build").
%%
%% Where etf_check/2 is not binary_to_term/1 on purpose (codec.h):
%% - a tag outside of the fifteen, and bytes after the term, are refused; what
%%   is expected here says so itself;
%% - 0.0 and -0.0 as keys of one map are refused, as they are until OTP 26;
%% - the limits (terms, pairs, depth of a key): no term made here reaches them.
-module(prop_codec).

-export([main/0, main/1]).
-export([prop_term/0, prop_bytes/0, prop_encoding/0, prop_iodata/0,
    prop_string/0]).

-include_lib("proper/include/proper.hrl").

-define(ANSWER_MS, 30000).

%% --- Running by hand: erl -eval 'prop_codec:main().' -------------------------

-spec main() -> no_return().
main() ->
    main(500).

%% Runs all with N tests each; the exit status says the same as the last line.
-spec main(pos_integer()) -> no_return().
main(N) ->
    Results = [proper:quickcheck(?MODULE:F(), [{numtests, N}, {to_file, user}])
        || {F, 0} <- ?MODULE:module_info(exports),
           lists:prefix("prop_", atom_to_list(F))],
    Failed = length([R || R <- Results, R =/= true]),
    io:format("~b passed, ~b failed, 0 skipped~n",
        [length(Results) - Failed, Failed]),
    halt(min(Failed, 1)).

%% --- Properties ------------------------------------------------------------

%% Any term in, the same term out, in the bytes of OTP 26's term_to_binary/1
%% (but for a list of bytes, which the writer writes as any other list).
prop_term() ->
    ?FORALL({T, Version}, {a_term(), oneof([1, 2])},
        begin
            In = term_to_binary(T, [{minor_version, Version}]),
            Out = transcode("term", In),
            ?WHENFAIL(shown([{in, In}, {out, Out}]),
                Out =:= canonical(In) andalso binary_to_term(Out) =:= T)
        end).

%% Any bytes in, most of them damaged encodings: accepted exactly when OTP does.
prop_bytes() ->
    ?FORALL(Bin, oneof([binary(), with_version(binary()), damaged(a_term_encoded()),
            damaged(with_version(encoding()))]),
        accepted_as_by_otp(Bin)).

%% Any encoding in, usual or not, with equal keys more often than by chance.
prop_encoding() ->
    ?FORALL(Bin, with_version(encoding()),
        aggregate([kind(Bin)], accepted_as_by_otp(Bin))).

%% What iolist_to_binary/1 says of any term.
prop_iodata() ->
    ?FORALL(T, oneof([iodata(), nearly_iodata(), a_term()]),
        flattened("iodata", T, flat(T))).

%% The same, but what has a NUL in it is no string.
prop_string() ->
    ?FORALL(T, oneof([iodata(), nearly_iodata()]),
        begin
            Flat = flat(T),
            HasNul = is_binary(Flat) andalso binary:match(Flat, <<0>>) =/= nomatch,
            flattened("string", T, case HasNul of true -> error; false -> Flat end)
        end).

flattened(Mode, T, Expected) ->
    Got = case transcode(Mode, term_to_binary(T)) of
        <<>> -> error;
        Out -> binary_to_term(Out)
    end,
    ?WHENFAIL(shown([{got, Got}, {expected, Expected}]), Got =:= Expected).

flat(T) ->
    try iolist_to_binary(T) catch error:badarg -> error end.

accepted_as_by_otp(Bin) ->
    Expected = expected(Bin),
    Out = transcode("term", Bin),
    ?WHENFAIL(shown([{in, Bin}, {out, Out}, {expected, Expected}]),
        Out =:= Expected).

shown(Values) ->
    [io:format("~s: ~tP~n", [Name, Value, 200]) || {Name, Value} <- Values].

%% --- What is expected ------------------------------------------------------

%% The frame that transcode answers Bin with: empty when OTP refuses it, or when
%% it is none of ours.
expected(Bin) ->
    try binary_to_term(Bin, [used]) of
        {T, Used} when Used =:= byte_size(Bin) ->
            case equal_zeros(T) of
                true -> <<>>;
                false -> canonical(Bin)
            end;
        _ ->
            <<>>
    catch
        error:badarg -> <<>>
    end.

kind(Bin) ->
    case expected(Bin) of
        <<>> -> refused;
        _ -> accepted
    end.

%% Keys that differ by the sign of a zero only, which OTP 27 tells apart.
equal_zeros(M) when is_map(M) ->
    Keys = maps:from_list([{unsigned(K), []} || K <- maps:keys(M)]),
    map_size(Keys) < map_size(M) orelse equal_zeros(maps:to_list(M));
equal_zeros([H | T]) ->
    equal_zeros(H) orelse equal_zeros(T);
equal_zeros(T) when is_tuple(T) ->
    equal_zeros(tuple_to_list(T));
equal_zeros(_) ->
    false.

unsigned(F) when is_float(F) -> F + 0.0;
unsigned([H | T]) -> [unsigned(H) | unsigned(T)];
unsigned(T) when is_tuple(T) -> list_to_tuple(unsigned(tuple_to_list(T)));
unsigned(M) when is_map(M) -> maps:from_list(unsigned(maps:to_list(M)));
unsigned(T) -> T.

%% An encoding that OTP accepts, in the writer's form; <<>> for a tag that is
%% none of ours. Maps keep the order they have.
canonical(<<131, Bin/binary>>) ->
    try form(Bin) of
        {Out, <<>>} -> iolist_to_binary([131, Out])
    catch
        throw:other_tag -> <<>>
    end.

form(<<97, _, _/binary>> = B) -> scalar(2, B);
form(<<98, _:32, _/binary>> = B) -> scalar(5, B);
form(<<70, _:64, _/binary>> = B) -> scalar(9, B);
form(<<106, B/binary>>) -> {106, B};
form(<<107, 0:16, B/binary>>) -> {106, B};
form(<<107, N:16, S:N/binary, B/binary>>) ->
    {[<<108, N:32>>, [[97, C] || <<C>> <= S], 106], B};
form(<<109, N:32, _/binary>> = B) -> scalar(5 + N, B);
form(<<100, N:16, _/binary>> = B) -> name(3 + N, B);
form(<<115, N, _/binary>> = B) -> name(2 + N, B);
form(<<118, N:16, _/binary>> = B) -> name(3 + N, B);
form(<<119, N, _/binary>> = B) -> name(2 + N, B);
form(<<110, N, _, _/binary>> = B) -> big(3 + N, B);
form(<<104, N, B/binary>>) -> forms(tuple_head(N), N, B);
form(<<105, N:32, B/binary>>) -> forms(tuple_head(N), N, B);
form(<<108, 0:32, B/binary>>) -> form(B);
form(<<108, N:32, B/binary>>) -> forms(<<108, N:32>>, N + 1, B);
form(<<116, N:32, B/binary>>) -> forms(<<116, N:32>>, 2 * N, B);
form(_) -> throw(other_tag).

forms(Head, N, Bin) ->
    {Elements, Rest} = lists:mapfoldl(fun(_, B) -> form(B) end, Bin,
        lists:seq(1, N)),
    {[Head | Elements], Rest}.

tuple_head(N) when N < 256 -> <<104, N>>;
tuple_head(N) -> <<105, N:32>>.

scalar(Size, Bin) ->
    {Term, _, Rest} = split(Size, Bin),
    <<131, Out/binary>> = term_to_binary(Term, [{minor_version, 2}]),
    {Out, Rest}.

%% What no getter gives is copied: transcode.h.
big(Size, Bin) ->
    case split(Size, Bin) of
        {N, _, _} when N >= -(1 bsl 63), N < 1 bsl 64 -> scalar(Size, Bin);
        {_, As, Rest} -> {As, Rest}
    end.

name(Size, Bin) ->
    {Atom, As, Rest} = split(Size, Bin),
    case lists:member(0, atom_to_list(Atom)) of
        true -> {As, Rest};
        false -> scalar(Size, Bin)
    end.

split(Size, Bin) ->
    <<As:Size/binary, Rest/binary>> = Bin,
    {binary_to_term(<<131, As/binary>>), As, Rest}.

%% --- Terms -------------------------------------------------------------------

a_term() ->
    ?SIZED(Size, a_term(min(Size, 40))).

a_term(0) ->
    oneof([an_integer(), float(), an_atom(), binary(), list(byte()), []]);
a_term(Size) ->
    Less = ?LAZY(a_term(Size div 3)),
    frequency([
        {5, a_term(0)},
        {2, few(Less)},
        {1, ?LET({H, L, T}, {Less, few(Less), Less}, [H | L] ++ T)},
        {2, ?LET(L, few(Less), list_to_tuple(L))},
        {1, ?LET({N, T}, {range(250, 260), a_term(0)}, erlang:make_tuple(N, T))},
        {2, ?LET(L, few({Less, Less}), maps:from_list(L))},
        {1, ?LET(N, range(30, 40), maps:from_list([{I, -I} || I <- lists:seq(1, N)]))},
        {1, iodata()}
    ]).

few(Gen) ->
    ?LET(N, range(0, 4), vector(N, Gen)).

an_integer() ->
    oneof([integer(), an_edge(), a_big()]).

%% Where the encodings of integers change.
an_edge() ->
    ?LET({Bits, Sign, Near}, {oneof([0, 7, 8, 15, 16, 27, 28, 31, 32, 40, 59, 60,
            62, 63, 64, 65]), oneof([1, -1]), range(-1, 1)},
        Sign * (1 bsl Bits) + Near).

%% SMALL_BIG has 255 bytes at most.
a_big() ->
    ?LET({N, Sign}, {range(1, 255), oneof([1, -1])},
        ?LET(B, binary(N), Sign * binary:decode_unsigned(B))).

%% Few, since no atom is ever forgotten.
an_atom() ->
    oneof(['', a, true, false, undefined, set_config_item, 'é', 'ÿ', 'Ā',
        '日本語', 'a\000b', '\000', '\x{7f}', '\x{80}',
        list_to_atom([16#10ffff, 16#fffe]),
        list_to_atom(lists:duplicate(255, $a)),
        list_to_atom(lists:duplicate(127, 16#e9)),
        list_to_atom(lists:duplicate(128, 16#e9)),
        list_to_atom(lists:duplicate(255, 16#1f600))]).

iodata() ->
    ?SIZED(Size, iodata(Size)).

iodata(Size) ->
    oneof([binary(), iolist(min(Size, 40))]).

iolist(0) ->
    list(byte());
iolist(Size) ->
    Less = ?LAZY(iodata(Size div 3)),
    ?LET({L, T}, {few(oneof([byte(), Less])), oneof([[], Less])}, L ++ T).

%% Mostly wrong in one place only.
nearly_iodata() ->
    ?LET({L, Wrong, R, T}, {iolist(6), oneof([256, -1, 1 bsl 70, a, 1.0, {}, #{},
            [1 | 2], [<<"a">> | 0]]), iolist(6),
            frequency([{4, []}, {1, 0}, {1, <<"t">>}, {1, a}])},
        oneof([[L, Wrong, R | T], [L, R | Wrong], [L, R | T]])).

%% --- Encodings ---------------------------------------------------------------

with_version(Gen) ->
    ?LET(B, Gen, <<131, (iolist_to_binary([B]))/binary>>).

a_term_encoded() ->
    ?LET({T, Version}, {a_term(), oneof([1, 2])},
        term_to_binary(T, [{minor_version, Version}])).

%% Every form that our tags allow, and some that they do not. Small numbers and
%% few names, so that a map has equal keys in different forms.
encoding() ->
    ?SIZED(Size, encoding(min(Size, 40))).

encoding(0) ->
    oneof([
        [97, range(0, 3)],
        ?LET(N, range(-1, 3), <<98, N:32>>),
        ?LET({N, Sign, Zeros}, {range(0, 3), oneof([0, 1, 7]), range(0, 12)},
            [110, Zeros + 1, Sign, N, binary:copy(<<0>>, Zeros)]),
        ?LET({N, Sign, Zeros}, {range(1, 3), oneof([0, 1, 7]), range(0, 12)},
            [110, Zeros + 10, Sign, <<N:80/little>>, binary:copy(<<0>>, Zeros)]),
        [110, 0, byte()],
        ?LET(F, oneof([0.0, 1.0, -1.5]), <<70, F/float>>),
        oneof([<<70, 128, 0:56>>, <<70, 16#7ff8:16, 0:48>>, <<70, 16#fff0:16, 0:48>>]),
        106,
        <<107, 0, 0>>,
        ?LET(S, list(range(0, 3)), <<107, (length(S)):16, (list_to_binary(S))/binary>>),
        ?LET(B, binary(), <<109, (byte_size(B)):32, B/binary>>),
        ?LET({Tag, S}, {oneof([100, 118]), characters()},
            <<Tag, (byte_size(S)):16, S/binary>>),
        ?LET({Tag, S}, {oneof([115, 119]), characters()},
            <<Tag, (byte_size(S)), S/binary>>),
        <<104, 0>>,
        <<105, 0:32>>,
        <<116, 0:32>>
    ]);
encoding(Size) ->
    Less = ?LAZY(encoding(Size div 3)),
    frequency([
        {4, encoding(0)},
        {2, ?LET(L, few(Less), [104, length(L) | L])},
        {1, ?LET(L, few(Less), [<<105, (length(L)):32>> | L])},
        {3, ?LET({L, T}, {few(Less), oneof([106, Less])},
            [<<108, (length(L)):32>>, L, T])},
        {3, ?LET(L, few([Less, Less]), [<<116, (length(L)):32>> | L])},
        {2, ?LET({T, V}, {a_key(Size div 3), Less},
            ?LET({A, B}, {a_form(T), a_form(T)}, [<<116, 2:32>>, A, V, B, V]))}
    ]).

a_key(0) ->
    oneof([range(-1, 256), 1 bsl 70, 0.0, -0.0, 1.0, 'é', a, '', [],
        <<"a">>]);
a_key(Size) ->
    Less = ?LAZY(a_key(Size div 2)),
    oneof([Less, few(range(0, 255)), few(Less), ?LET({H, T}, {Less, Less}, [H | T]),
        ?LET(L, few(Less), list_to_tuple(L)),
        ?LET(L, few({Less, Less}), maps:from_list(L))]).

%% One of the encodings of a term.
a_form(N) when is_integer(N) ->
    Big = ?LET({Zeros, Sign}, {range(0, 10), oneof([1, 7])}, begin
        B = binary:encode_unsigned(abs(N), little),
        [110, byte_size(B) + Zeros, Sign * sign(N), B, binary:copy(<<0>>, Zeros)]
    end),
    oneof([Big] ++ [[97, N] || N >= 0, N < 256]
        ++ [<<98, N:32>> || N >= -(1 bsl 31), N < 1 bsl 31]);
a_form(F) when is_float(F), F == 0 ->
    oneof([<<70, 0.0/float>>, <<70, 128, 0:56>>]);
a_form(A) when is_atom(A) ->
    Utf8 = atom_to_binary(A),
    Latin1 = atom_to_binary(A, latin1),
    ?LET({Tag, B}, oneof([{100, Latin1}, {115, Latin1}, {118, Utf8}, {119, Utf8}]),
        case Tag of
            _ when Tag =:= 115; Tag =:= 119 -> [Tag, byte_size(B), B];
            _ -> [Tag, <<(byte_size(B)):16>>, B]
        end);
a_form([]) ->
    oneof([106, <<107, 0:16>>, <<108, 0:32, 106>>]);
a_form([_ | _] = L) ->
    ?LET(N, range(0, proper_length(L, 0)), a_list(N, L));
a_form(T) when is_tuple(T) ->
    ?LET({Head, Elements}, {oneof([[104, tuple_size(T)], <<105, (tuple_size(T)):32>>]),
            [a_form(E) || E <- tuple_to_list(T)]},
        [Head, Elements]);
a_form(M) when is_map(M) ->
    ?LET(Pairs, [{integer(), a_form(K), a_form(V)} || {K, V} <- maps:to_list(M)],
        [<<116, (map_size(M)):32>> | [[K, V] || {_, K, V} <- lists:sort(Pairs)]]);
a_form(T) ->
    <<131, Form/binary>> = term_to_binary(T),
    Form.

%% The first N elements are a list or a string, whose tail is the rest.
a_list(0, L) ->
    ?LET(Form, a_form(L), [<<108, 0:32>>, Form]);
a_list(N, L) ->
    {First, Rest} = take(N, L, []),
    Bytes = Rest =:= [] andalso lists:all(fun(E) -> is_integer(E) andalso
        E >= 0 andalso E < 256 end, First),
    oneof([?LET({Es, Tail}, {[a_form(E) || E <- First], a_form(Rest)},
            [<<108, N:32>>, Es, Tail])] ++ [[<<107, N:16>>, First] || Bytes]).

take(0, Rest, First) -> {lists:reverse(First), Rest};
take(N, [E | Rest], First) -> take(N - 1, Rest, [E | First]).

proper_length([_ | T], N) -> proper_length(T, N + 1);
proper_length(_, N) -> N.

sign(N) when N < 0 -> 1;
sign(_) -> 0.

characters() ->
    oneof([<<>>, <<"a">>, <<16#e9>>, <<"é"/utf8>>, <<"日"/utf8>>, <<0>>, <<16#c0, 16#80>>,
        <<16#ed, 16#a0, 16#80>>, <<16#f4, 16#90, 16#80, 16#80>>, <<16#e0, 16#9f, 16#bf>>,
        <<16#f0, 16#8f, 16#bf, 16#bf>>, <<16#80>>, <<16#c3>>, <<16#ff>>]).

damaged(Gen) ->
    ?LET({Bin, Damage}, {Gen, non_empty(list({oneof([change, cut, insert, tag,
            double]), non_neg_integer(), byte()}))},
        lists:foldl(fun damage/2, Bin, lists:sublist(Damage, 3))).

damage(_, <<>>) ->
    <<>>;
damage({How, N, Byte}, Bin) ->
    At = N * 7919 rem byte_size(Bin),
    <<Before:At/binary, C, After/binary>> = Bin,
    case How of
        change -> <<Before/binary, (C bxor (1 bsl (Byte rem 8))), After/binary>>;
        cut -> Before;
        insert -> <<Before/binary, Byte, C, After/binary>>;
        tag -> <<Before/binary, (lists:nth(Byte rem 16 + 1, tags())), After/binary>>;
        double -> <<Before/binary, C, After/binary, C, After/binary>>
    end.

tags() ->
    [70, 80, 97, 98, 100, 104, 105, 106, 107, 108, 109, 110, 115, 116, 118, 119].

%% --- The port ----------------------------------------------------------------

%% One for each mode, as long as the process lives that runs the properties.
transcode(Mode, Bin) ->
    Port = port(Mode, get({?MODULE, Mode})),
    port_command(Port, Bin),
    receive
        {Port, {data, Out}} -> Out;
        {Port, {exit_status, Status}} -> error({transcode, Status})
    after ?ANSWER_MS ->
        error(timeout)
    end.

port(Mode, Port) when is_port(Port) ->
    case erlang:port_info(Port) of
        undefined -> port(Mode, undefined);
        _ -> Port
    end;
port(Mode, undefined) ->
    Program = filename:join(os:getenv("ERLXC_BUILD", "build"), "transcode"),
    Port = open_port({spawn_executable, Program},
        [{args, [Mode]}, {packet, 4}, binary, exit_status]),
    put({?MODULE, Mode}, Port),
    Port.
