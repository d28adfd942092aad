/*
** sklimpl.h: what skl.h keeps to itself. Included by the edited lstring.c,
** lgc.c, llex.c and lstate.c, so nothing here may need more than lobject.h.
*/

#ifndef sklimpl_h
#define sklimpl_h

#include <pthread.h>
#include <string.h>

#include "lobject.h"
#include "lgc.h"
#include "lstate.h"
#include "lstring.h"

/*
** A frozen object belongs to no VM. Bit 7 of 'marked' (unused outside Lua's
** own test builds) says so; the rest looks like a really old black object:
** never white, so no collector marks, ages, sweeps or frees it, and no
** barrier fires. It is in no list of a VM.
*/
#define SKL_FROZENBIT	7
#define SKL_FROZENMARK	cast_byte(bitmask(BLACKBIT) | G_OLD | bitmask(SKL_FROZENBIT))
#define skl_isfrozen(o)	testbit((o)->marked, SKL_FROZENBIT)

/*
** Least number of bytes a VM of a space may allocate between collections.
** Shared code is no part of its heap, so a small service would collect all
** the time if the pace hung on the heap alone.
*/
#define SKL_GCFLOOR	(32 * 1024)

/* Open-addressed index of the atoms. Replaced as a whole when it grows; old
** ones stay for readers that still hold them. */
typedef struct SklAtomTab {
  struct SklAtomTab *older;
  unsigned mask;  /* number of slots - 1 */
  TString *slot[];  /* atomic: NULL until filled, then never changed */
} SklAtomTab;

typedef struct SklAtomBlock {
  struct SklAtomBlock *next;
  size_t used, size;
} SklAtomBlock;

typedef struct SklAtoms {
  SklAtomTab *tab;  /* atomic */
  char apart[64];  /* every VM reads 'tab'; the rest is written to */
  pthread_mutex_t lock;  /* guards all below, and all insertions */
  size_t count;
  size_t bytes;
  size_t budget;
  SklAtomBlock *blocks;
} SklAtoms;

/*
** The atom of a text, or NULL. Needs no lock: the acquire loads pair with the
** release stores of an insertion (sklatom.c), so an atom that is found is
** complete. An atom that another thread is just inserting may be missed; the
** caller then makes a string of its own, which the identity check of
** sklchunk.c will find.
*/
static inline TString *skl_findatom (const SklAtoms *a, const char *str,
                                     size_t l, unsigned h) {
  const SklAtomTab *t = __atomic_load_n(&a->tab, __ATOMIC_ACQUIRE);
  unsigned i = h & t->mask;
  TString *ts;
  while ((ts = __atomic_load_n(&t->slot[i], __ATOMIC_ACQUIRE)) != NULL) {
    if (ts->hash == h && cast_sizet(ts->shrlen) == l &&
        memcmp(str, rawgetshrstr(ts), l) == 0)
      return ts;
    i = (i + 1) & t->mask;
  }
  return NULL;
}

typedef struct SklVm SklVm;

/* lstate.c: lua_newstate with a VM record (NULL: foreign). Takes the record
** over, also when it fails. */
LUAI_FUNC lua_State *skl_newstate_ (lua_Alloc f, void *ud, unsigned seed,
                                    SklVm *vm);
/* Called by lua_close when the VM is gone; 'vm' may be NULL. */
LUAI_FUNC void skl_vmclosed_ (SklVm *vm);
/* lstring.c: the hash of a short string. */
LUAI_FUNC unsigned skl_hash_ (const char *str, size_t l, unsigned seed);
/* skltemplate.c: makes what a new state has from the template of its record.
** Returns 0 if there is none. Raises. */
LUAI_FUNC int skl_fromtemplate_ (lua_State *L);
/* sklfixed.c; lauxlib.c and the libraries declare what they use of it. */
LUAI_FUNC int skl_makeseed_ (lua_State *L, unsigned *seed);
LUAI_FUNC unsigned long long *skl_random_ (lua_State *L, size_t *salt);
LUAI_FUNC int skl_time_ (lua_State *L, int which, unsigned long long *ns);
LUAI_FUNC void skl_basehook_ (lua_State *L, lua_Hook *f, int *mask,
                              int *count);
LUAI_FUNC int skl_nohook_ (lua_State *L, lua_Hook f);
/* skltable.h, in ltable.c. */
LUAI_FUNC size_t skl_hashblock_ (Table *t, size_t *offset);
LUAI_FUNC Node *skl_copyhash_ (Table *t, char *to);
LUAI_FUNC void skl_unshare_ (lua_State *L, Table *t);
/* The atoms a VM uses. */
LUAI_FUNC SklAtoms *skl_vmatoms_ (SklVm *vm);

#endif
