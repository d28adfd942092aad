/*
** sklload.c: how a VM comes to run a chunk.
**
** Lua compares short strings by address, so a VM must never see two objects
** for one text. It looks into its own table first and among the atoms after
** that, so by itself it never does. Only a frozen chunk can bring in an atom
** where the VM has a string of its own: therefore each atom of the chunk is
** looked up in the VM's table before the first function on the chunk is made,
** and if one text is there (be it dead and not yet swept, as it can come back
** to life), this VM gets a private copy. Once a chunk has passed, its texts
** cannot get objects of their own any more: interning finds the atoms.
*/

#define LUA_CORE

#include "lprefix.h"

#include <stdlib.h>
#include <string.h>

#include "lapi.h"
#include "lfunc.h"

#include "sklint.h"


/* Whether the VM has a string of its own for the text of an atom. */
static int ownstring (const stringtable *tb, const TString *atom) {
  const TString *ts = tb->hash[lmod(atom->hash, tb->size)];
  for (; ts != NULL; ts = ts->u.hnext)
    if (ts->hash == atom->hash && ts->shrlen == atom->shrlen &&
        memcmp(rawgetshrstr(ts), rawgetshrstr(atom),
               cast_sizet(atom->shrlen)) == 0)
      return 1;
  return 0;
}


/*
** Whether atoms may not come into the VM. Goes the shorter way round:
** the VM's strings that are the text of an atom at all are few.
*/
int sklC_conflicts (const global_State *g, TString *const *atoms,
                    unsigned natoms) {
  const stringtable *tb = &g->strt;
  unsigned i;
  if (tb->size < 4 * cast_int(natoms)) {
    int b, any = 0;
    for (b = 0; b < tb->size && !any; b++) {
      const TString *ts = tb->hash[b];
      for (; ts != NULL && !any; ts = ts->u.hnext)
        any = skl_findatom(g->sklatoms, rawgetshrstr(ts),
                           cast_sizet(ts->shrlen), ts->hash) != NULL;
    }
    if (!any) return 0;
  }
  for (i = 0; i < natoms; i++)
    if (ownstring(tb, atoms[i])) return 1;
  return 0;
}


/* Index of the chunk in the VM's list, or of the place where it belongs. */
static int search (const SklVm *vm, const SklChunk *c) {
  int lo = 0, hi = vm->nchunks;
  while (lo < hi) {
    int mid = lo + (hi - lo) / 2;
    if ((size_t)vm->chunk[mid] < (size_t)c) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}


/* Enters the chunk, with the caller's reference, at index i. */
static int hold (SklVm *vm, SklChunk *c, int i) {
  if (vm->nchunks == vm->maxchunks) {
    int max = (vm->maxchunks == 0) ? 4 : vm->maxchunks + vm->maxchunks / 2;
    SklChunk **list = realloc(vm->chunk, cast_sizet(max) * sizeof(*list));
    if (list == NULL) return 0;
    vm->chunk = list;
    vm->maxchunks = max;
  }
  memmove(vm->chunk + i + 1, vm->chunk + i,
          cast_sizet(vm->nchunks - i) * sizeof(*vm->chunk));
  vm->chunk[i] = c;
  vm->nchunks++;
  return 1;
}


/*
** A collection in here (an emergency, when an allocation fails) only removes
** strings from the VM's table, so the check before stays true.
*/
static void pushfrozen (lua_State *L, Proto *f) {
  LClosure *cl = luaF_newLclosure(L, f->sizeupvalues);
  setclLvalue2s(L, L->top.p, cl);
  api_incr_top(L);
  cl->p = f;
  luaF_initupvals(L, cl);
  if (f->sizeupvalues >= 1) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_setupvalue(L, -2, 1);
  }
  luaC_checkGC(L);
}


int sklC_memerr (lua_State *L) {
  setsvalue2s(L, L->top.p, G(L)->memerrmsg);
  api_incr_top(L);
  return LUA_ERRMEM;
}


typedef struct Dump {
  SklCode *code;
  size_t max;
} Dump;


static int dumpwriter (lua_State *L, const void *p, size_t sz, void *ud) {
  Dump *d = ud;
  size_t used = (d->code != NULL) ? d->code->size : 0;
  (void)L;
  if (sz == 0) return 0;
  if (d->max - used < sz) {
    size_t max = d->max + d->max / 2 + sz + 256;
    SklCode *code = realloc(d->code, sizeof(SklCode) + max);
    if (code == NULL) return 1;
    code->size = used;
    d->code = code;
    d->max = max;
  }
  memcpy(d->code->bytes + used, p, sz);
  d->code->size = used + sz;
  return 0;
}


static int dumping (lua_State *L) {
  Dump *d = lua_touserdata(L, 2);
  lua_settop(L, 1);
  lua_pushboolean(L, lua_dump(L, dumpwriter, d, 0) == 0);
  return 1;
}


SklCode *sklC_dump (lua_State *C) {
  Dump d = {NULL, 0};
  int ok;
  lua_pushcfunction(C, dumping);
  lua_pushvalue(C, -2);
  lua_pushlightuserdata(C, &d);
  ok = lua_pcall(C, 2, 1, 0) == LUA_OK && lua_toboolean(C, -1);
  lua_pop(C, 1);
  if (!ok) {
    free(d.code);
    return NULL;
  }
  return d.code;
}


static int pushing (lua_State *L) {
  pushfrozen(L, lua_touserdata(L, 1));
  return 1;
}


/* Bytecode of a frozen prototype, made in a VM of its own. */
static SklCode *dumpfrozen (SklSpace *s, Proto *f) {
  SklCode *code = NULL;
  lua_State *C = skl_newvm(s, luaL_alloc, NULL);
  if (C == NULL) return NULL;
  lua_gc(C, LUA_GCSTOP);
  lua_pushcfunction(C, pushing);
  lua_pushlightuserdata(C, f);
  if (lua_pcall(C, 1, 1, 0) == LUA_OK)
    code = sklC_dump(C);
  lua_close(C);
  return code;
}


/* Loads bytecode as an ordinary function. */
static int loadcode (lua_State *L, const SklCode *code, const char *name) {
  return luaL_loadbufferx(L, code->bytes, code->size, name, "b");
}


static int loadprivate (lua_State *L, SklChunk *c, Proto *f,
                        const char *name) {
  SklCode *code;
  if (f != NULL && f != c->main) {  /* part of a chunk: not worth keeping */
    int status;
    code = dumpfrozen(c->space, f);
    if (code == NULL) return sklC_memerr(L);
    status = loadcode(L, code, name);
    free(code);
    return status;
  }
  code = __atomic_load_n(&c->code, __ATOMIC_ACQUIRE);
  if (code == NULL) {
    SklCode *none = NULL;
    code = dumpfrozen(c->space, c->main);
    if (code == NULL) return sklC_memerr(L);
    if (!__atomic_compare_exchange_n(&c->code, &none, code, 0,
                                     __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
      free(code);  /* another VM was faster */
      code = none;
    }
  }
  return loadcode(L, code, name);
}


int sklC_load (lua_State *L, SklChunk *c, Proto *f, const char *name) {
  SklVm *vm = G(L)->skl;
  int status;
  if (c->main != NULL) {
    int i = search(vm, c);
    if (f == NULL) f = c->main;
    if (i < vm->nchunks && vm->chunk[i] == c)
      sklC_unref(c);  /* the VM's own reference stays */
    else if (sklC_conflicts(G(L), c->atoms, c->natoms))
      goto copy;
    else if (!hold(vm, c, i)) {
      sklC_unref(c);
      return sklC_memerr(L);
    }
    pushfrozen(L, f);
    return LUA_OK;
   copy:
    vm->private_loads++;
    skl_count(vm->space->private_loads, 1);
  }
  status = loadprivate(L, c, f, name);
  sklC_unref(c);
  return status;
}
