# SPDX-License-Identifier: ISC
#
# A conversation with a shell in a temporary container, from Elixir:
#
#     elixir -pa ebin erl/examples/conversation.exs [LXCPATH [PORT-PROGRAM]]

options =
  case System.argv() do
    [] -> []
    [path] -> [path: path]
    [path, progname] -> [path: path, driver: [progname: progname]]
  end

{:ok, shell} = :erlxc.spawn("", [pty: false, config: [{"lxc.net.0.type", "empty"}]] ++ options)

:ok = :erlxc.send(shell, "echo Hello from $(hostname | cut -c1-5)\n")
{:ok, answer} = :erlxc.recv(shell, byte_size("Hello from erlxc\n"), 10_000)
IO.write(answer)

{:ok, %{status: {:exit_status, 0}, stdout: "Linux\n"}} = :erlxc.run(shell, ["uname"])

:ok = :erlxc.send(shell, "exit 3\n")
{:ok, status} = :erlxc.wait(shell, 10_000)
IO.inspect(status)

:ok = :erlxc.stop(shell)
