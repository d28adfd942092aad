/*
** skllib.c: the Lua library "skynet.codecache".
*/

#define LUA_LIB

#include "lprefix.h"

#include "skl.h"


/* clear(): empties the cache of the space. */
static int cache_clear (lua_State *L) {
  SklSpace *s = skl_space(L);
  if (s != NULL) skl_space_clear(s);
  return 0;
}


/* mode(): the mode of this VM; mode(m): sets it. */
static int cache_mode (lua_State *L) {
  static const char *const modes[] = {"ON", "EXIST", "OFF", NULL};
  if (lua_isnoneornil(L, 1)) {
    lua_pushstring(L, modes[skl_cachemode(L)]);
    return 1;
  }
  skl_setcachemode(L, luaL_checkoption(L, 1, NULL, modes));
  return 0;
}


LUAMOD_API int luaopen_cache (lua_State *L) {
  static const luaL_Reg lib[] = {
    {"clear", cache_clear},
    {"mode", cache_mode},
    {NULL, NULL}
  };
  luaL_checkversion(L);
  luaL_newlib(L, lib);
  lua_getglobal(L, "loadfile");
  lua_setfield(L, -2, "loadfile");
  return 1;
}
