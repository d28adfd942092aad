/*
** sklfunc.c: upstream's additions to the C API that share single objects.
** Here, too, sharing is copying: the function stays what it is for its VM.
*/

#define LUA_CORE

#include "lprefix.h"

#include <stdlib.h>

#include "lapi.h"

#include "sklint.h"

typedef struct SklShared {
  struct SklShared *next;
  const void *fp;  /* the function, anchored in the registry of 'vm' */
  SklVm *vm;
  SklChunk *chunk;  /* one reference */
  Proto *f;
} SklShared;


/*
** The entry of a function; with 'vm', only one made by that VM. Entries of a
** VM go a moment after its memory is free, so one may still be there whose
** address has got a new function: the newest entry, first in the list, is the
** right one. Lock held.
*/
static SklShared *find (SklSpace *s, const void *fp, const SklVm *vm) {
  SklShared *e = s->shared;
  while (e != NULL && (e->fp != fp || (vm != NULL && e->vm != vm)))
    e = e->next;
  return e;
}


LUA_API void lua_sharefunction (lua_State *L, int idx) {
  SklVm *vm = G(L)->skl;
  const void *fp = lua_topointer(L, idx);
  SklSpace *s;
  SklShared *e;
  Proto *f;
  if (!lua_isfunction(L, idx) || lua_iscfunction(L, idx))
    luaL_error(L, "Only Lua function can share");
  if (vm == NULL)
    luaL_error(L, "this VM has no space to share in");
  s = vm->space;
  pthread_mutex_lock(&s->lock);
  e = find(s, fp, vm);
  pthread_mutex_unlock(&s->lock);
  if (e != NULL) return;
  lua_pushvalue(L, idx);  /* keep it, and so its address, to the VM's end */
  lua_rawsetp(L, LUA_REGISTRYINDEX, fp);
  f = ((const LClosure *)fp)->p;
  e = malloc(sizeof(SklShared));
  if (e != NULL) {
    if (skl_isfrozen(f)) {
      e->f = f;
      e->chunk = (SklChunk *)f->gclist;
      sklC_ref(e->chunk);
    }
    else {
      int budget;
      e->chunk = sklC_freeze(s, f, &budget);
      if (e->chunk != NULL) e->f = e->chunk->main;
      else {
        free(e);
        e = NULL;
        if (budget) luaL_error(L, "no room left for shared names");
      }
    }
  }
  if (e == NULL) {
    sklC_memerr(L);
    lua_error(L);
  }
  e->fp = fp;
  e->vm = vm;
  pthread_mutex_lock(&s->lock);
  e->next = s->shared;
  s->shared = e;
  pthread_mutex_unlock(&s->lock);
}


LUA_API void lua_clonefunction (lua_State *L, const void *fp) {
  SklVm *vm = G(L)->skl;
  SklShared *e;
  SklChunk *c = NULL;
  Proto *f = NULL;
  if (vm != NULL) {
    pthread_mutex_lock(&vm->space->lock);
    e = find(vm->space, fp, NULL);
    if (e != NULL) {
      c = e->chunk;
      f = e->f;
      sklC_ref(c);
    }
    pthread_mutex_unlock(&vm->space->lock);
  }
  if (c == NULL) luaL_error(L, "Not a shared function");
  if (sklC_load(L, c, f, "=(shared)") != LUA_OK) lua_error(L);
}


LUA_API void lua_sharestring (lua_State *L, int idx) {
  const char *str;
  size_t l;
  SklSpace *s = skl_space(L);
  if (lua_type(L, idx) != LUA_TSTRING)
    luaL_error(L, "need a string to share");
  str = lua_tolstring(L, idx, &l);
  if (s != NULL) skl_space_atom(s, str, l);  /* without room: not shared */
}


LUA_API void lua_clonetable (lua_State *L, const void *t) {
  (void)t;
  luaL_error(L, "Not a shared table");
}


void sklF_vmclosed (SklVm *vm) {
  SklSpace *s = vm->space;
  SklShared *dead = NULL, *e, **p;
  pthread_mutex_lock(&s->lock);
  for (p = &s->shared; (e = *p) != NULL; ) {
    if (e->vm == vm) {
      *p = e->next;
      e->next = dead;
      dead = e;
    }
    else p = &e->next;
  }
  pthread_mutex_unlock(&s->lock);
  while ((e = dead) != NULL) {
    dead = e->next;
    sklC_unref(e->chunk);
    free(e);
  }
}
