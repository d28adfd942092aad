/* A Lua C module as projects have them: built against the Lua headers, linked
   with nothing. Its blocks come from malloc and go to whoever frees them. */
#include <lua.h>
#include <lauxlib.h>

#include <stdlib.h>
#include <string.h>

static int add(lua_State *L) {
	lua_Integer *n = luaL_checkudata(L, 1, "test.counter");
	*n += luaL_checkinteger(L, 2);
	lua_pushinteger(L, *n);
	return 1;
}

static int create(lua_State *L) {
	lua_Integer *n = lua_newuserdatauv(L, sizeof *n, 0);
	*n = luaL_optinteger(L, 1, 0);
	luaL_setmetatable(L, "test.counter");
	return 1;
}

/* A block that the runtime sends and frees. */
static int block(lua_State *L) {
	size_t size;
	const char *text = luaL_checklstring(L, 1, &size);
	void *copy = malloc(size);
	if (copy == NULL)
		return luaL_error(L, "not enough memory");
	memcpy(copy, text, size);
	lua_pushlightuserdata(L, copy);
	lua_pushinteger(L, (lua_Integer)size);
	return 2;
}

int luaopen_test_counter(lua_State *L) {
	static const luaL_Reg methods[] = {{"add", add}, {NULL, NULL}};
	static const luaL_Reg functions[] = {{"new", create}, {"block", block}, {NULL, NULL}};
	luaL_checkversion(L);
	luaL_newmetatable(L, "test.counter");
	luaL_newlib(L, methods);
	lua_setfield(L, -2, "__index");
	luaL_newlib(L, functions);
	return 1;
}
