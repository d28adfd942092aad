/*
** rss.c: resident bytes of a VM. Makes VMs with their libraries, then loads
** (does not run) generated modules in each, and prints KiB per VM.
** usage: rss DIRECTORY VMS
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"
#ifdef SKL
#include "skl.h"
#endif

#define FILES	49
#define FUNCTIONS	23  /* of 11 lines: 253 lines a file, 12,400 in all */

static long resident (void) {
  long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (f == NULL || fscanf(f, "%*d %ld", &pages) != 1) exit(2);
  fclose(f);
  return pages * 4096;
}

static void generate (const char *directory, char name[][512]) {
  int i, j;
  for (i = 0; i < FILES; i++) {
    FILE *f;
    snprintf(name[i], 512, "%s/mod%d.lua", directory, i);
    f = fopen(name[i], "w");
    if (f == NULL) exit(2);
    for (j = 0; j < FUNCTIONS; j++)
      fprintf(f,
        "local function handler_%d_%d(player, amount, reason)\n"
        "  local bag = player.bag or { items_%d = {}, weight = 0 }\n"
        "  for index, item in ipairs(bag.items_%d or {}) do\n"
        "    if item.kind == 'kind_%d' and item.count > amount then\n"
        "      item.count = item.count - amount\n"
        "      player:log('removed', reason, index, 'a message about item %d of %d')\n"
        "    end\n"
        "  end\n"
        "  bag.weight = bag.weight + amount * %d.5\n"
        "  return bag, player.level_%d, bag.weight\n"
        "end\n", i, j, j, j, (i * j) % 40, j, i, j + 1, (i + j) % 60);
    fclose(f);
  }
}

int main (int argc, char **argv) {
  static char name[FILES][512];
  lua_State **vm;
  long base, with, loaded;
  int i, j, n;
#ifdef SKL
  SklSpaceStats st;
  SklVmStats vs;
  SklSpace *s = skl_space_new(42);
#endif
  if (argc != 3) return 2;
  n = atoi(argv[2]);
  vm = calloc((size_t)n, sizeof(*vm));
  generate(argv[1], name);
  base = resident();
  for (i = 0; i < n; i++) {
#ifdef SKL
    vm[i] = skl_newvm(s, luaL_alloc, NULL);
#else
    vm[i] = lua_newstate(luaL_alloc, NULL, 42);
#endif
    if (vm[i] == NULL) return 2;
    lua_gc(vm[i], LUA_GCGEN);
    lua_gc(vm[i], LUA_GCSTOP);
    luaL_openlibs(vm[i]);
    lua_gc(vm[i], LUA_GCRESTART);
    lua_gc(vm[i], LUA_GCCOLLECT);
  }
  with = resident();
  printf("with libraries: %.1f KiB a VM (Lua's own count %.1f)\n",
         (double)(with - base) / n / 1024,
         lua_gc(vm[n - 1], LUA_GCCOUNT) + lua_gc(vm[n - 1], LUA_GCCOUNTB) / 1024.0);
  for (i = 0; i < n; i++) {
    for (j = 0; j < FILES; j++) {
      if (luaL_loadfile(vm[i], name[j]) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(vm[i], -1));
        return 1;
      }
      luaL_ref(vm[i], LUA_REGISTRYINDEX);
    }
    lua_gc(vm[i], LUA_GCCOLLECT);
  }
  loaded = resident();
  printf("with %d files loaded: %.1f KiB a VM (Lua's own count %.1f)\n", FILES,
         (double)(loaded - base) / n / 1024,
         lua_gc(vm[n - 1], LUA_GCCOUNT) + lua_gc(vm[n - 1], LUA_GCCOUNTB) / 1024.0);
#ifdef SKL
  skl_space_stats(s, &st);
  skl_vmstats(vm[n - 1], &vs);
  printf("shared: %zu atoms %.1f KiB, %zu chunks %.1f KiB, %zu private loads, "
         "last VM holds %zu chunks\n", st.atoms, st.atom_bytes / 1024.0,
         st.chunks, st.chunk_bytes / 1024.0, st.private_loads, vs.chunks);
#endif
  return 0;
}
