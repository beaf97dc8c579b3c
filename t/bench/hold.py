#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Holds a container as the port does, until its input ends."""
import sys

import lxc

container = lxc.Container(sys.argv[1], sys.argv[2])
print(container.state, flush=True)
sys.stdin.read()
