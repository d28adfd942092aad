-- Runs code from outside inside a service; see the debug command RUN.
local function table_upvalues(found, f, seen)
	local i = 1
	while true do
		local name, value = debug.getupvalue(f, i)
		if not name or name == "" then -- no more, or not in Lua
			return found
		end
		if type(value) == "table" then
			found[name] = value
		elseif type(value) == "function" and not seen[value] then
			seen[value] = true
			table_upvalues(found, value, seen)
		end
		i = i + 1
	end
end

local function protocols(skynet)
	local found = {}
	for name, p in pairs(skynet._proto) do
		if type(name) == "string" and p.dispatch then
			found[name] = table_upvalues({}, p.dispatch, {})
		end
	end
	return found
end

--- Run source with `print` collected. The code finds state of the service by
--- the names of upvalues: `_P[protocol]` and `_U`, those of `functions`.
---@param skynet table
---@param source string
---@param filename? string
---@param args table of table.pack
---@param ... function
---@return boolean ok
---@return string[] lines printed, and last the error if there was one
return function(skynet, source, filename, args, ...)
	local lines = {}
	local env = { _U = {}, _P = protocols(skynet) }
	function env.print(...)
		local values = table.pack(...)
		for i = 1, values.n do
			values[i] = tostring(values[i])
		end
		lines[#lines + 1] = table.concat(values, "\t")
	end
	for _, f in ipairs { ... } do
		table_upvalues(env._U, f, {})
	end
	setmetatable(env, { __index = _ENV })
	local f, err = load(source, filename and "@" .. filename or "=(load)", "bt", env)
	if not f then
		return false, { err }
	end
	local ok
	ok, err = pcall(f, table.unpack(args, 1, args.n))
	if not ok then
		lines[#lines + 1] = tostring(err)
	end
	return ok, lines
end
