/*
** sklvm.c: spaces and the VMs in them.
*/

#define LUA_CORE

#include "lprefix.h"

#include <stdlib.h>
#include <string.h>

#include "lapi.h"
#include "lualib.h"

#include "sklint.h"

/* Bytes that atoms may use unless the host says otherwise: some 250,000. */
#define ATOMBUDGET	((size_t)16 << 20)


/*
** The names that every VM uses (reserved words, metamethods, all of the
** standard libraries) become atoms before the first VM of the space is made:
** a VM that has its libraries open is the list of them.
*/
static int openlibs (lua_State *L) {
  luaL_openlibs(L);
  return 0;
}


/* Makes all short strings of the VM's own atoms. */
static int learn (SklSpace *s, lua_State *L) {
  const stringtable *tb = &G(L)->strt;
  int ok = 1, i;
  for (i = 0; ok && i < tb->size; i++) {
    const TString *ts = tb->hash[i];
    for (; ok && ts != NULL; ts = ts->u.hnext) {
      lu_byte extra = ts->extra;  /* > 0: a reserved word */
#if LUA_COMPAT_GLOBAL
      /* a compiler takes this mark away when it starts; nobody may write to
         an atom, so this one never has it */
      if (strcmp(rawgetshrstr(ts), "global") == 0) extra = 0;
#endif
      ok = sklA_text(&s->atoms, rawgetshrstr(ts), cast_sizet(ts->shrlen),
                     ts->hash, extra);
    }
  }
  return ok;
}


static int learnlibs (SklSpace *s) {
  lua_State *L = lua_newstate(luaL_alloc, NULL, s->seed);
  int ok;
  if (L == NULL) return 0;
  lua_gc(L, LUA_GCSTOP);
  lua_pushcfunction(L, openlibs);
  ok = lua_pcall(L, 0, 0, 0) == LUA_OK && learn(s, L);
  lua_close(L);
  return ok;
}


LUA_API SklSpace *skl_space_new (unsigned seed) {
  SklSpace *s = calloc(1, sizeof(SklSpace));
  if (s == NULL) return NULL;
  s->seed = seed;
  s->refs = 1;
  if (!sklA_init(&s->atoms, ATOMBUDGET)) {
    free(s);
    return NULL;
  }
  if (!sklK_init(s)) {
    sklA_free(&s->atoms);
    free(s);
    return NULL;
  }
  if (!learnlibs(s)) {
    skl_space_free(s);
    return NULL;
  }
  return s;
}


static void unref (SklSpace *s) {
  if (__atomic_fetch_sub(&s->refs, 1, __ATOMIC_ACQ_REL) == 1) {
    sklT_free(s);
    sklK_free(s);
    sklA_free(&s->atoms);
    free(s);
  }
}


LUA_API void skl_space_free (SklSpace *s) {
  if (s != NULL) unref(s);
}


LUA_API unsigned skl_space_seed (const SklSpace *s) {
  return s->seed;
}


LUA_API void skl_space_setbudget (SklSpace *s, size_t bytes) {
  pthread_mutex_lock(&s->atoms.lock);
  s->atoms.budget = bytes;
  pthread_mutex_unlock(&s->atoms.lock);
}


LUA_API int skl_space_atom (SklSpace *s, const char *text, size_t len) {
  if (len > LUAI_MAXSHORTLEN) return 0;
  return sklA_text(&s->atoms, text, len, skl_hash_(text, len, s->seed), 0);
}


LUA_API void skl_space_clear (SklSpace *s) {
  sklK_clear(s);
}


LUA_API void skl_space_stats (SklSpace *s, SklSpaceStats *st) {
  pthread_mutex_lock(&s->atoms.lock);
  st->atoms = s->atoms.count;
  st->atom_bytes = s->atoms.bytes;
  st->atom_budget = s->atoms.budget;
  pthread_mutex_unlock(&s->atoms.lock);
  pthread_mutex_lock(&s->lock);
  st->cached = s->cached;
  pthread_mutex_unlock(&s->lock);
  st->chunks = skl_counted(s->chunks);
  st->chunk_bytes = skl_counted(s->chunk_bytes);
  st->hits = skl_counted(s->hits);
  st->misses = skl_counted(s->misses);
  st->data_chunks = skl_counted(s->data_chunks);
  st->over_budget = skl_counted(s->over_budget);
  st->private_loads = skl_counted(s->private_loads);
  st->vms = skl_counted(s->vms);
}


LUA_API lua_State *(lua_newstate) (lua_Alloc f, void *ud, unsigned seed) {
  return skl_newstate_(f, ud, seed, NULL);
}


LUA_API lua_State *skl_newvm (SklSpace *s, lua_Alloc f, void *ud) {
  return skl_newvmfrom(s, NULL, f, ud);
}


LUA_API lua_State *skl_newvmfrom (SklSpace *s, const SklTemplate *t,
                                  lua_Alloc f, void *ud) {
  SklVm *vm = calloc(1, sizeof(SklVm));
  if (vm == NULL) return NULL;
  vm->space = s;
  vm->mode = SKL_CACHE_ON;
  vm->made_from = t;
  skl_count(s->vms, 1);
  skl_count(s->refs, 1);
  return skl_newstate_(f, ud, s->seed, vm);  /* frees 'vm' if it fails */
}


SklAtoms *skl_vmatoms_ (SklVm *vm) {
  return (vm != NULL) ? &vm->space->atoms : NULL;
}


/*
** Only now, when no finalizer can run any more, the VM's chunks may go.
*/
void skl_vmclosed_ (SklVm *vm) {
  int i;
  if (vm == NULL) return;
  sklF_vmclosed(vm);
  for (i = 0; i < vm->nchunks; i++)
    sklC_unref(vm->chunk[i]);
  free(vm->chunk);
  skl_uncount(vm->space->vms, 1);
  unref(vm->space);
  free(vm);
}


LUA_API void skl_close (lua_State *L) {
  lua_close(L);
}


LUA_API SklSpace *skl_space (lua_State *L) {
  SklVm *vm = G(L)->skl;
  return (vm != NULL) ? vm->space : NULL;
}


LUA_API int skl_learn (lua_State *L) {
  SklSpace *s = skl_space(L);
  return s != NULL && learn(s, L);
}


LUA_API int skl_nresults (lua_State *L) {
  return get_nresults(L->ci->callstatus);
}


LUA_API int skl_cachemode (lua_State *L) {
  SklVm *vm = G(L)->skl;
  return (vm != NULL) ? vm->mode : SKL_CACHE_OFF;
}


LUA_API void skl_setcachemode (lua_State *L, int mode) {
  SklVm *vm = G(L)->skl;
  if (vm != NULL && mode >= SKL_CACHE_ON && mode <= SKL_CACHE_OFF)
    vm->mode = mode;
}


LUA_API void skl_vmstats (lua_State *L, SklVmStats *st) {
  SklVm *vm = G(L)->skl;
  int i;
  memset(st, 0, sizeof(*st));
  if (vm == NULL) return;
  st->chunks = cast_sizet(vm->nchunks);
  st->private_loads = vm->private_loads;
  for (i = 0; i < vm->nchunks; i++) {
    if (__atomic_load_n(&vm->chunk[i]->retired, __ATOMIC_RELAXED)) {
      st->retired++;
      st->retired_bytes += vm->chunk[i]->size;
    }
  }
}
