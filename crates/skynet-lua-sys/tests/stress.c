/*
** stress.c: many VMs of one space on many threads, doing at random what could
** break the sharing: names that come first as data and later as code, all
** modes of the collector, allocations that fail, the cache cleared while files
** are loaded, VMs that move between threads and are closed in any order,
** compilers that treat 'global' as a name while VMs are born.
**
** usage: stress DIRECTORY SECONDS SEED [ROUNDS]
** Writes its modules into DIRECTORY. Ends after SECONDS, or after ROUNDS
** rounds of each thread if that is earlier. Exit code 0: all checks held.
*/

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"
#include "skl.h"

#define NTHREADS	4
#define NSLOTS	16
#define NMODULES	24
#define NNAMES	40

typedef struct Slot {
  pthread_mutex_t lock;
  lua_State *L;
  unsigned rng;  /* of its allocator */
  int failures;  /* one allocation in so many fails; 0: none */
} Slot;

static SklSpace *space;
static SklTemplate *template[2];
static Slot slots[NSLOTS];
static const char *directory;
static time_t deadline;
static long maxrounds;
static unsigned nextname;  /* atomic */

static __thread unsigned rng;


static void die (const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vfprintf(stderr, fmt, ap);
  va_end(ap);
  fputc('\n', stderr);
  abort();
}


static unsigned step (unsigned *r) {
  *r ^= *r << 13;
  *r ^= *r >> 17;
  *r ^= *r << 5;
  return *r;
}


static unsigned dice (unsigned n) {
  return step(&rng) % n;
}


static void *allocate (void *ud, void *ptr, size_t osize, size_t nsize) {
  Slot *s = ud;
  if (nsize == 0) {
    free(ptr);
    return NULL;
  }
  if (s->failures != 0 && (ptr == NULL || nsize > osize) &&
      step(&s->rng) % (unsigned)s->failures == 0)
    return NULL;
  return realloc(ptr, nsize);
}


/* A module; its three numbers make its names. */
static const char *const moduletext =
  "local M = {}\n"
  "local calls = 0\n"
  "function M.set(t, v)\n"
  "  t.alpha_%1$u = v; t.beta_%2$u = v + 1; t.gamma_%3$u = {v, x_%1$u = v}\n"
  "  calls = calls + 1\n"
  "end\n"
  "function M.get(t) return t.alpha_%1$u, t.beta_%2$u, t.gamma_%3$u end\n"
  "M.long = 'the long string of a module, longer than forty characters: %1$u'\n"
  "function M.check()\n"
  "  local t = {}\n"
  "  M.set(t, 10)\n"
  "  assert(t['alp' .. 'ha_' .. %1$u] == 10)\n"
  "  assert(t[table.concat{'beta', '_', %2$u}] == 11)\n"
  "  assert(t[string.format('gamma_%%d', %3$u)]['x_' .. %1$u] == 10)\n"
  "  local a, b, g = M.get(t)\n"
  "  assert(a == 10 and b == 11 and g[1] == 10)\n"
  "  for k, v in pairs(t) do assert(rawget(t, k) == v and t[k .. ''] == v) end\n"
  "  t[('al' .. 'pha_') .. %1$u] = nil\n"
  "  assert(t.alpha_%1$u == nil)\n"
  "  t[M.long] = 5\n"
  "  assert(t['the long string of a module, longer than forty characters: '\n"
  "           .. %1$u] == 5)\n"
  "  local global = 3\n"
  "  global = global + 1\n"
  "  assert(global == 4 and calls > 0)\n"
  "  local mt = setmetatable({}, {__index = function (_, k) return k end,\n"
  "    __len = function () return %2$u end, __gc = function () M.set({}, 1) end})\n"
  "  assert(mt.alpha_%1$u == 'alpha_' .. %1$u and #mt == %2$u)\n"
  "  local co = coroutine.wrap(function (...) return coroutine.yield(...) end)\n"
  "  assert(co('gamma_%3$u') == 'gamma_' .. %3$u)\n"
  "  local ok, msg = pcall(function () local v; return v.alpha_%1$u.y end)\n"
  "  assert(not ok and msg:find(':'))\n"
  "  M['field_' .. %1$u] = true\n"
  "  return M.field_%1$u\n"
  "end\n"
  "return M\n";


static int module (char *buff, size_t size, unsigned id) {
  return snprintf(buff, size, moduletext, id % NNAMES, id * 7 % NNAMES,
                  id * 13 % NNAMES);
}


static void writemodules (void) {
  unsigned i;
  char name[512], text[4096];
  for (i = 0; i < NMODULES; i++) {
    FILE *f;
    int n = module(text, sizeof(text), i);
    snprintf(name, sizeof(name), "%s/m%u.lua", directory, i);
    f = fopen(name, "w");
    if (f == NULL || fwrite(text, 1, (size_t)n, f) != (size_t)n ||
        fclose(f) != 0)
      die("cannot write %s", name);
  }
}


static void run (lua_State *L, const char *code) {
  if (luaL_loadstring(L, code) != LUA_OK) lua_error(L);
  lua_call(L, 0, 0);
}


/* Runs 'check' of the module on top. */
static void check (lua_State *L) {
  lua_call(L, 0, 1);
  lua_getfield(L, -1, "check");
  lua_call(L, 0, 1);
  if (!lua_toboolean(L, -1)) die("check of a module failed");
  lua_pop(L, 2);
}


static void loadmodule (lua_State *L) {
  char name[512];
  snprintf(name, sizeof(name), "%s/m%u.lua", directory, dice(NMODULES));
  if (luaL_loadfile(L, name) != LUA_OK) lua_error(L);
  if (dice(4) == 0) {  /* keep it, for later checks and the finalizers */
    lua_pushvalue(L, -1);
    luaL_ref(L, LUA_REGISTRYINDEX);
  }
  check(L);
}


/* A module nobody has seen, so that the atoms grow. */
static void loadfresh (lua_State *L) {
  char key[32], text[4096];
  unsigned id = __atomic_fetch_add(&nextname, 1, __ATOMIC_RELAXED);
  int n = snprintf(text, sizeof(text), moduletext, id, id + 1000000,
                   id + 2000000);
  snprintf(key, sizeof(key), "fresh%u", id);
  if (dice(3) == 0) {  /* its name comes first as data */
    char code[200];
    snprintf(code, sizeof(code), "data = data or {}; data['alpha_' .. %u] = %u",
             id, id);
    run(L, code);
  }
  if (skl_loadembedded(L, key, text, (size_t)n, "@fresh") != LUA_OK)
    lua_error(L);
  check(L);
}


/* Names as data: alive, dead, or dead and swept, before code brings them. */
static void makedata (lua_State *L) {
  char code[400];
  unsigned n = dice(NNAMES);
  switch (dice(4)) {
    case 0:
      snprintf(code, sizeof(code),
               "data = data or {}; data['alpha_' .. %u] = true", n);
      break;
    case 1:
      snprintf(code, sizeof(code),
               "for i = 0, %u do local s = 'beta_' .. i end", NNAMES);
      break;
    case 2:
      snprintf(code, sizeof(code), "local s = 'gamma_' .. %u; s = nil; "
               "collectgarbage()", n);
      break;
    default:
      snprintf(code, sizeof(code), "data = nil; for i = 1, 200 do "
               "local s = 'x' .. i; local t = {[s] = {s}} end");
  }
  run(L, code);
}


/* Ordinary compilation in the VM, with 'global' as a name. */
static void compilehere (lua_State *L) {
  char code[300];
  unsigned n = dice(NNAMES);
  snprintf(code, sizeof(code),
           "local global = {alpha_%u = 1}\n"
           "for k, v in pairs(global) do assert(global[k] == v) end\n"
           "function global.f() return global end\n"
           "assert(global.f()['alpha_' .. %u] == 1)", n, n);
  run(L, code);
}


/* dump, hooks, upvalues on frozen functions. */
static void inspect (lua_State *L) {
  char name[512];
  snprintf(name, sizeof(name), "%s/m%u.lua", directory, dice(NMODULES));
  lua_pushstring(L, name);
  lua_setglobal(L, "file");
  run(L,
    "local f = loadfile(file)\n"
    "local g = load(string.dump(f))\n"
    "assert(g().check() and load(string.dump(f, true))().check())\n"
    "local M, N = f(), f()\n"
    "local lines = 0\n"
    "debug.sethook(function () lines = lines + 1 end, 'l')\n"
    "M.set({}, 1)\n"
    "debug.sethook()\n"
    "assert(lines > 2)\n"
    "local n, v = debug.getupvalue(M.set, 1)\n"
    "assert(n == 'calls' and v == 1)\n"
    "debug.setupvalue(M.set, 1, 40)\n"
    "debug.upvaluejoin(N.set, 1, M.set, 1)\n"
    "N.set({}, 1)\n"
    "assert(select(2, debug.getupvalue(M.set, 1)) == 41)\n"
    "assert(debug.getinfo(M.set, 'S').short_src ~= '?')\n"
    "assert(debug.getlocal(M.set, 1) == 't')\n");
}


static void collect (lua_State *L) {
  switch (dice(6)) {
    case 0: lua_gc(L, LUA_GCCOLLECT); break;
    case 1: lua_gc(L, LUA_GCSTEP, (size_t)dice(2000)); break;
    case 2: lua_gc(L, LUA_GCGEN); break;
    case 3: lua_gc(L, LUA_GCINC); break;
    case 4: lua_gc(L, LUA_GCSTOP); break;
    default: lua_gc(L, LUA_GCRESTART);
  }
}


static int useshared (lua_State *M) {
  lua_clonefunction(M, lua_touserdata(M, 1));
  lua_newtable(M);
  lua_call(M, 1, 1);
  lua_sharestring(M, -1);
  return 0;
}


/* A function shared by this VM runs in another one. */
static void share (lua_State *L) {
  int i;
  lua_getfield(L, LUA_REGISTRYINDEX, "sharer");
  if (lua_isnil(L, -1)) {
    char code[200];
    snprintf(code, sizeof(code), "return function (t) t.alpha_%u = 1; "
             "for k in pairs(t) do return k end end", dice(NNAMES));
    if (luaL_loadstring(L, code) != LUA_OK) lua_error(L);
    lua_call(L, 0, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, "sharer");
  }
  lua_sharefunction(L, -1);
  for (i = 0; i < NSLOTS; i++) {
    Slot *s = &slots[dice(NSLOTS)];
    if (pthread_mutex_trylock(&s->lock) != 0) continue;
    if (s->L != NULL && s->failures == 0 && s->L != L) {
      lua_State *M = s->L;
      lua_pushcfunction(M, useshared);
      lua_pushlightuserdata(M, (void *)lua_topointer(L, -1));
      if (lua_pcall(M, 1, 0, 0) != LUA_OK)
        die("shared function: %s", lua_tostring(M, -1));
      pthread_mutex_unlock(&s->lock);
      return;
    }
    pthread_mutex_unlock(&s->lock);
  }
}


static void keepmodule (lua_State *L) {
  char code[600];
  snprintf(code, sizeof(code),
           "package.path = '%s/?.lua'\n"
           "local M = require 'm%u'\n"
           "assert(M.check())\n"
           "package.loaded['m%u'] = nil\n", directory, dice(NMODULES),
           dice(NMODULES));
  run(L, code);
}


static int work (lua_State *L) {
  switch (dice(12)) {
    case 0: case 1: case 2: loadmodule(L); break;
    case 3: loadfresh(L); break;
    case 4: case 5: makedata(L); break;
    case 6: compilehere(L); break;
    case 7: inspect(L); break;
    case 8: keepmodule(L); break;
    case 9: share(L); break;
    case 10: skl_setcachemode(L, dice(4) == 0 ? (int)dice(3) : 0); break;
    default: collect(L);
  }
  return 0;
}


static int openlibs (lua_State *L) {
  luaL_openlibs(L);
  luaL_requiref(L, "skynet.codecache", luaopen_cache, 0);
  return 0;
}


static int traceback (lua_State *L) {
  luaL_traceback(L, L, lua_tostring(L, 1), 1);
  return 1;
}


/* Every error but the failure of an allocation is a failure of the test. */
static void call (Slot *s, lua_CFunction f) {
  lua_State *L = s->L;
  int status;
  lua_settop(L, 0);
  lua_pushcfunction(L, traceback);
  lua_pushcfunction(L, f);
  status = lua_pcall(L, 0, 0, 1);
  if (status != LUA_OK && s->failures == 0)
    die("error %d: %s", status, lua_tostring(L, -1));
  lua_settop(L, 0);
}


/* Makes shared hash parts the VM's own, some of them. */
static int change (lua_State *L) {
  static const char *const library[] = {"string", "table", "math", "utf8"};
  static const char *const name[] = {"rep", "unpack", "pi", "char", "fresh"};
  int i;
  for (i = 0; i < 4; i++) {
    if (dice(2) == 0) continue;
    lua_getglobal(L, library[i]);
    lua_pushinteger(L, i);
    lua_setfield(L, -2, name[dice(5)]);
    lua_pushinteger(L, i);
    if (dice(3) == 0) lua_rawseti(L, -2, 1 + (int)dice(3));
    lua_settop(L, 0);
  }
  return 0;
}


static void newvm (Slot *s) {
  s->failures = (dice(4) == 0) ? 50 + (int)dice(2000) : 0;
  s->rng = dice(1000000) + 1;
  if (dice(2) == 0)
    s->L = skl_newvm(space, allocate, s);
  else {
    s->L = skl_newvmfrom(space, template[dice(2)], allocate, s);
    if (s->L != NULL) call(s, change);
  }
  if (s->L == NULL) {
    if (s->failures == 0) die("no VM");
    return;
  }
  switch (dice(3)) {
    case 0: lua_gc(s->L, LUA_GCGEN); break;
    case 1: lua_gc(s->L, LUA_GCINC); break;
    default: lua_gc(s->L, LUA_GCSTOP);
  }
  call(s, openlibs);
}


static void maketemplate (void) {
  lua_State *L = skl_newvm(space, luaL_alloc, NULL);
  if (L == NULL) die("no VM");
  lua_gc(L, LUA_GCSTOP);
  openlibs(L);
  template[0] = skl_template(L, 0);
  lua_gc(L, LUA_GCGEN);
  template[1] = skl_template(L, 0);
  if (template[0] == NULL || template[1] == NULL) die("no template");
  skl_close(L);
}


/* A VM that is no part of the space, with a seed of its own. */
static void foreign (void) {
  char name[512];
  lua_State *L = luaL_newstate();
  if (L == NULL) die("no foreign VM");
  luaL_openlibs(L);
  snprintf(name, sizeof(name), "%s/m%u.lua", directory, dice(NMODULES));
  if (luaL_loadfile(L, name) != LUA_OK) die("%s", lua_tostring(L, -1));
  check(L);
  lua_close(L);
}


static void *thread (void *arg) {
  long round;
  rng = *(unsigned *)arg;
  for (round = 0; round < maxrounds && time(NULL) < deadline; round++) {
    Slot *s = &slots[dice(NSLOTS)];
    pthread_mutex_lock(&s->lock);
    if (s->L == NULL)
      newvm(s);
    else if (dice(20) == 0) {
      skl_close(s->L);
      s->L = NULL;
    }
    else
      call(s, work);
    pthread_mutex_unlock(&s->lock);
    if (dice(150) == 0) skl_space_clear(space);
    if (dice(200) == 0) foreign();
  }
  return NULL;
}


int main (int argc, char **argv) {
  pthread_t id[NTHREADS];
  unsigned seed[NTHREADS];
  SklSpaceStats st;
  int i;
  if (argc < 4) {
    fprintf(stderr, "usage: stress DIRECTORY SECONDS SEED [ROUNDS]\n");
    return 2;
  }
  directory = argv[1];
  deadline = time(NULL) + atoi(argv[2]);
  maxrounds = (argc > 4) ? atol(argv[4]) : 1000000000;
  writemodules();
  space = skl_space_new((unsigned)atoi(argv[3]));
  if (space == NULL) die("no space");
  maketemplate();
  for (i = 0; i < NSLOTS; i++) pthread_mutex_init(&slots[i].lock, NULL);
  for (i = 0; i < NTHREADS; i++) {
    seed[i] = (unsigned)(atoi(argv[3]) * 1000 + i + 1);
    if (pthread_create(&id[i], NULL, thread, &seed[i]) != 0) die("no thread");
  }
  for (i = 0; i < NTHREADS; i++) pthread_join(id[i], NULL);
  rng = seed[0];
  for (i = 0; i < NSLOTS; i++) {  /* in any order */
    Slot *s = &slots[dice(NSLOTS)];
    lua_State *L = s->L;
    s->L = NULL;
    if (L != NULL) skl_close(L);
  }
  for (i = 0; i < NSLOTS; i++)
    if (slots[i].L != NULL) skl_close(slots[i].L);
  skl_space_clear(space);
  skl_space_stats(space, &st);
  printf("atoms %zu hits %zu misses %zu private %zu\n", st.atoms, st.hits,
         st.misses, st.private_loads);
  if (st.vms != 0 || st.chunks != 0 || st.chunk_bytes != 0 || st.cached != 0)
    die("left over: %zu VMs, %zu chunks", st.vms, st.chunks);
  skl_space_free(space);
  return 0;
}
