#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""A binding's share of a row: reads lines of how often, an operation and
its arguments, and answers each with the last result."""
import sys

import lxc

path, name = sys.argv[1:]
container = lxc.Container(name, path)


def opened(other):
    global container
    container = lxc.Container(other, path)
    return container.name


operations = {
    "open": opened,
    "state": lambda: container.state,
    "get_config_item": lambda key: container.get_config_item(key),
    "get_cgroup_item": lambda key: container.get_cgroup_item(key),
    "list": lambda: len(lxc.list_containers(active=False, config_path=path)),
    "restart": lambda: container.start() and container.stop(),
    "create": lambda template: container.create(template),
}
for line in sys.stdin:
    times, operation, *args = line.split()
    for _ in range(int(times)):
        value = operations[operation](*args)
    print("true" if value is True else value, flush=True)
