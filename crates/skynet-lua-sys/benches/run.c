/*
** run.c: runs one Lua file with a fixed seed. With SKL defined, in a VM of a
** space and through its code cache; else in stock Lua.
*/
#include <stdio.h>

#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"
#ifdef SKL
#include "skl.h"
#endif

int main (int argc, char **argv) {
  lua_State *L;
  int status;
#ifdef SKL
  SklSpace *s = skl_space_new(42);
  L = skl_newvm(s, luaL_alloc, NULL);
#else
  L = lua_newstate(luaL_alloc, NULL, 42);
#endif
  if (argc != 2 || L == NULL) return 2;
  luaL_openlibs(L);
  status = luaL_loadfile(L, argv[1]);
  if (status == LUA_OK) status = lua_pcall(L, 0, 0, 0);
  if (status != LUA_OK) fprintf(stderr, "%s\n", lua_tostring(L, -1));
  lua_close(L);
#ifdef SKL
  skl_space_free(s);
#endif
  return status != LUA_OK;
}
