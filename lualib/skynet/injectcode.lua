-- Runs code as if it stood in a function that is being debugged: its locals,
-- upvalues and varargs are there under their names, and can be assigned.
local getinfo, getlocal, getupvalue = debug.getinfo, debug.getlocal, debug.getupvalue

-- Line 1 declares the names, so that the user's text starts at line 3.
local TEMPLATE <const> = "local %s\nreturn function(...)\n%s\nend"

local function mentions(source, name)
	return string.find(source, "%f[%w_]" .. name .. "%f[^%w_]") ~= nil
end

-- What the names in source mean: name -> { kind, index or value }. The local
-- declared last hides the others.
local function resolve(source, co, level, f, extra)
	local names, env = {}, nil
	for name, value in pairs(extra) do
		names[name] = { "extra", value }
	end
	local i = 1
	while true do
		local name = getupvalue(f, i)
		if not name then
			break
		elseif name == "_ENV" then
			env = i
		elseif name ~= "" and mentions(source, name) then
			names[name] = { "upvalue", i }
		end
		i = i + 1
	end
	i = 1
	while true do
		local name, value = getlocal(co, level, i)
		if not name then
			break
		elseif string.find(name, "^[%a_]") and mentions(source, name) then
			names[name] = { "local", i, value }
		end
		i = i + 1
	end
	return names, env
end

local function varargs(co, level)
	local values = { n = 0 }
	while true do
		local name, value = getlocal(co, level, -values.n - 1)
		if not name then
			return values
		end
		values.n = values.n + 1
		values[values.n] = value
	end
end

local function compile(source, names)
	local list = {}
	for name in pairs(names) do
		if mentions(source, name) then
			list[#list + 1] = name
		end
	end
	local chunk, err = load(string.format(TEMPLATE, #list > 0 and table.concat(list, ",") or "_", source), "=(debug)", "t")
	if not chunk then
		return nil, err
	end
	return chunk()
end

-- Gives the variables of `code` their values. Its locals: upvalue -> local.
local function bind(code, names, f, env)
	local locals, i = {}, 1
	while true do
		local name = getupvalue(code, i)
		if not name then
			return locals
		end
		local meaning = names[name]
		if name == "_ENV" then
			if env then
				debug.upvaluejoin(code, i, f, env)
			end
		elseif meaning and meaning[1] == "upvalue" then
			debug.upvaluejoin(code, i, f, meaning[2])
		elseif meaning and meaning[1] == "local" then
			debug.setupvalue(code, i, meaning[3])
			locals[i] = meaning
		elseif meaning then
			debug.setupvalue(code, i, meaning[2])
		end
		i = i + 1
	end
end

local function write_back(code, locals, co, level)
	for i, meaning in pairs(locals) do
		local _, value = getupvalue(code, i)
		if not rawequal(value, meaning[3]) then
			debug.setlocal(co, level, meaning[2], value)
		end
	end
end

--- Run source in the frame at `level` of co, which must be another coroutine
--- than the running one.
---@param source string
---@param co thread
---@param level integer
---@param extra? table further names -> values
---@return boolean ok
---@return any ... results, or the error
return function(source, co, level, extra)
	local info = getinfo(co, level, "f")
	if not info then
		return false, "no function at level " .. level
	end
	local f = info.func
	local names, env = resolve(source, co, level, f, extra or {})
	local code, err = compile(source, names)
	if not code then
		return false, err
	end
	local locals = bind(code, names, f, env)
	local args = varargs(co, level)
	local results = table.pack(pcall(code, table.unpack(args, 1, args.n)))
	write_back(code, locals, co, level)
	return table.unpack(results, 1, results.n)
end
