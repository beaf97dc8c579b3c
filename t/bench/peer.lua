-- SPDX-License-Identifier: ISC
-- As peer.py, by lua-lxc, which lists the containers of its default path only.
local path, name = arg[1], arg[2]
require("lxc.core").default_config_path_get = function() return path end
local lxc = require("lxc")
local container = lxc.container:new(name, path)

local operations = {
	open = function(other)
		container = lxc.container:new(other, path)
		return container:name()
	end,
	state = function() return container:state() end,
	get_config_item = function(key) return container:get_config_item(key) end,
	get_cgroup_item = function(key) return container:get_cgroup_item(key) end,
	list = function() return #lxc.containers_configured(true) end,
	restart = function() return container:start() and container:stop() end,
	create = function(template) return container:create(template) end,
}

for line in io.lines() do
	local words = {}
	for word in line:gmatch("%S+") do words[#words + 1] = word end
	local operation, value = operations[words[2]]
	for _ = 1, tonumber(words[1]) do
		value = operation((table.unpack or unpack)(words, 3))
	end
	print((tostring(value):gsub("%s+$", "")))
	io.flush()
end
