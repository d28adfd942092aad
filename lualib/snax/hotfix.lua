-- Replaces functions of a running snax service by those of a patch. A local
-- that the patch declares without a value is the service's own of that name.
local interface = require "snax.interface"

local getupvalue, upvalueid, upvaluejoin = debug.getupvalue, debug.upvalueid, debug.upvaluejoin

-- What patches see as globals until their functions are joined to the service.
local env = {}
for k, v in pairs(_ENV) do
	env[k] = v
end

-- Functions of one file share the variable _ENV.
local function env_id(f)
	local i = 1
	while true do
		local name = getupvalue(f, i)
		if not name then
			return
		elseif name == "_ENV" then
			return upvalueid(f, i)
		end
		i = i + 1
	end
end

-- Adds the variables that f uses to `found`: name -> { f, index, id }.
local function collect(found, f, file)
	local i = 1
	while true do
		local name, value = getupvalue(f, i)
		if not name or name == "" then
			return
		end
		local id = upvalueid(f, i)
		if not found[name] then
			found[name] = { f, i, id }
			if type(value) == "function" and file and env_id(value) == file then
				collect(found, value, file)
			end
		elseif found[name][3] ~= id then
			error(string.format("ambiguity local value %s", name))
		end
		i = i + 1
	end
end

local function variables(methods)
	local found = {}
	for _, method in ipairs(methods) do
		local f = method[4]
		if f then
			collect(found, f, env_id(f))
		end
	end
	if not found._ENV then
		found._ENV = { variables, 1 }
		while getupvalue(variables, found._ENV[2]) ~= "_ENV" do
			found._ENV[2] = found._ENV[2] + 1
		end
	end
	return found
end

-- Goes through the functions of the patch only, not those it got from elsewhere.
local function join(f, found, done)
	if done[f] or debug.getinfo(f, "S").source ~= "=patch" then
		return
	end
	done[f] = true
	local i = 1
	while true do
		local name, value = getupvalue(f, i)
		if not name or name == "" then
			return
		end
		if value == nil or name == "_ENV" then
			local old = found[name]
			if old then
				upvaluejoin(f, i, old[1], old[2])
			end
		elseif type(value) == "function" then
			join(value, found, done)
		end
		i = i + 1
	end
end

local function find(methods, kind, name)
	for _, method in ipairs(methods) do
		if method[2] == kind and method[3] == name then
			return method
		end
	end
	error(string.format("Patch mismatch %s.%s", kind, name))
end

-- Nothing is replaced before all of the patch has been found to fit.
local function apply(methods, source, ...)
	local patch = interface("patch", env, function(_, _, globals)
		return load(source, "=patch", "bt", globals)
	end)
	local found, targets, done = variables(methods), {}, {}
	for _, new in ipairs(patch) do
		if new[4] then
			targets[new] = find(methods, new[2], new[3])
		end
	end
	for new in pairs(targets) do
		join(new[4], found, done)
	end
	for new, old in pairs(targets) do
		old[4] = new[4]
	end
	local hotfix = find(patch, "system", "hotfix")[4]
	if hotfix then
		return hotfix(...)
	end
end

--- Patch the methods of a snax service and run the patch's own hotfix function.
---@param methods table of snax.interface
---@param source string
---@return boolean, any ... what hotfix returned, or the error
return function(methods, source, ...)
	return pcall(apply, methods, source, ...)
end
