/*
** sklfixed.c: VMs that run the same each time. What stock Lua takes from the
** machine (seeds, the time) comes from the host for a VM that it says so of.
*/

#define LUA_CORE

#include "lprefix.h"

#include "lstate.h"

#include "sklint.h"


LUA_API void skl_setseed (lua_State *L, unsigned long long seed) {
  SklVm *vm = G(L)->skl;
  if (vm == NULL) return;
  vm->seeded = 1;
  vm->seed = seed;
  memset(vm->random, 0, sizeof(vm->random));
}


LUA_API void skl_settime (lua_State *L, SklTime f) {
  SklVm *vm = G(L)->skl;
  if (vm != NULL) vm->time = f;
}


LUA_API void skl_setbasehook (lua_State *L, lua_Hook f, int mask, int count) {
  SklVm *vm = G(L)->skl;
  if (vm == NULL) return;
  vm->basehook = f;
  vm->basemask = mask;
  vm->basecount = count;
  lua_sethook(L, NULL, 0, 0);
}


/*
** For 'luaL_makeseed': 'math.random' before its first use, 'math.randomseed'
** without arguments, the pivots of 'table.sort'. Returns 0 for "as stock Lua".
*/
int skl_makeseed_ (lua_State *L, unsigned *seed) {
  SklVm *vm;
  unsigned long long z;
  if (L == NULL || (vm = G(L)->skl) == NULL || !vm->seeded) return 0;
  /* SplitMix64: neighbouring seeds give unrelated sequences */
  z = (vm->seed += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  *seed = (unsigned)((z ^ (z >> 31)) >> 32);
  return 1;
}


/*
** For lmathlib.c: where the state of the VM's random numbers is, so that
** 'math' need not hold an object for it; NULL for a foreign VM. Addresses make
** the seeds of VMs differ that are made in the same second.
*/
unsigned long long *skl_random_ (lua_State *L, size_t *salt) {
  SklVm *vm = G(L)->skl;
  if (vm == NULL) return NULL;
  *salt = vm->seeded ? (size_t)vm->seed : (size_t)vm;
  return vm->random;
}


/* For loslib.c: returns 0 for "as stock Lua". */
int skl_time_ (lua_State *L, int which, unsigned long long *ns) {
  SklVm *vm = G(L)->skl;
  if (vm == NULL || vm->time == NULL) return 0;
  *ns = vm->time(L, which);
  return 1;
}


/*
** For 'lua_sethook', which may run in a signal handler: the hook of a thread
** that has no other.
*/
void skl_basehook_ (lua_State *L, lua_Hook *f, int *mask, int *count) {
  SklVm *vm = G(L)->skl;
  if (vm == NULL || vm->basehook == NULL) return;
  *f = vm->basehook;
  *mask = vm->basemask;
  *count = vm->basecount;
}


/* For 'debug.gethook': whether the program has set no hook. */
int skl_nohook_ (lua_State *L, lua_Hook f) {
  SklVm *vm = G(L)->skl;
  return f == NULL || (vm != NULL && f == vm->basehook);
}
