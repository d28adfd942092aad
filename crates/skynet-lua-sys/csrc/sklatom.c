/*
** sklatom.c: the atoms of a space: an append-only set of frozen short
** strings, one object for one text, always.
**
** Readers take no lock (skl_findatom in sklimpl.h). Writers hold 'lock', so
** no text can get two objects. Orderings: an atom is filled before the
** release store to its slot, an index before the release store to 'tab';
** readers load both with acquire. A thread that has once seen an atom (in a
** slot, or by a chunk handed over under the lock of the cache) finds it ever
** after, since a newer index holds all that the older ones held.
*/

#define LUA_CORE

#include "lprefix.h"

#include <stdlib.h>
#include <string.h>

#include "sklint.h"

#define FIRSTSLOTS	1024
#define BLOCKSIZE	(16 * 1024)


static SklAtomTab *newtab (unsigned slots, SklAtomTab *older) {
  SklAtomTab *t = calloc(1, sizeof(SklAtomTab) + slots * sizeof(TString *));
  if (t == NULL) return NULL;
  t->mask = slots - 1;
  t->older = older;
  return t;
}


static size_t tabbytes (const SklAtomTab *t) {
  return sizeof(SklAtomTab) + (t->mask + (size_t)1) * sizeof(TString *);
}


int sklA_init (SklAtoms *a, size_t budget) {
  memset(a, 0, sizeof(*a));
  a->tab = newtab(FIRSTSLOTS, NULL);
  if (a->tab == NULL) return 0;
  if (pthread_mutex_init(&a->lock, NULL) != 0) {
    free(a->tab);
    return 0;
  }
  a->bytes = tabbytes(a->tab);
  a->budget = budget;
  return 1;
}


void sklA_free (SklAtoms *a) {
  SklAtomTab *t = a->tab;
  SklAtomBlock *b = a->blocks;
  while (t != NULL) {
    SklAtomTab *older = t->older;
    free(t);
    t = older;
  }
  while (b != NULL) {
    SklAtomBlock *next = b->next;
    free(b);
    b = next;
  }
  pthread_mutex_destroy(&a->lock);
}


/* Puts an atom into the first free slot of its probe sequence. */
static void put (SklAtomTab *t, TString *ts) {
  unsigned i = ts->hash & t->mask;
  while (t->slot[i] != NULL)  /* only writers fill slots, and we are it */
    i = (i + 1) & t->mask;
  __atomic_store_n(&t->slot[i], ts, __ATOMIC_RELEASE);
}


/* Makes room for n atoms more (at most half of the slots are in use, which
** keeps the look-up of a text that is no atom short). Lock held. */
static int reserve (SklAtoms *a, size_t n) {
  SklAtomTab *old = a->tab;
  size_t slots = old->mask + (size_t)1;
  size_t i;
  SklAtomTab *t;
  if ((a->count + n) * 2 <= slots) return 1;
  while ((a->count + n) * 2 > slots) slots *= 2;
  if (slots > ((size_t)1 << 31)) return 0;
  t = newtab((unsigned)slots, old);
  if (t == NULL) return 0;
  for (i = 0; i <= old->mask; i++)
    if (old->slot[i] != NULL) put(t, old->slot[i]);
  a->bytes += tabbytes(t);
  __atomic_store_n(&a->tab, t, __ATOMIC_RELEASE);
  return 1;
}


static size_t atomsize (size_t l) {
  return (sizestrshr(l) + 7) & ~(size_t)7;
}


/* Inserts a text that is not there. Lock held, room reserved. */
static TString *insert (SklAtoms *a, const char *str, size_t l, unsigned h,
                        lu_byte extra) {
  size_t size = atomsize(l);
  SklAtomBlock *b = a->blocks;
  TString *ts;
  if (b == NULL || b->size - b->used < size) {
    b = malloc(BLOCKSIZE);
    if (b == NULL) return NULL;
    b->used = (sizeof(SklAtomBlock) + 7) & ~(size_t)7;
    b->size = BLOCKSIZE;
    b->next = a->blocks;
    a->blocks = b;
  }
  ts = (TString *)((char *)b + b->used);
  b->used += size;
  ts->next = NULL;
  ts->tt = LUA_VSHRSTR;
  ts->marked = SKL_FROZENMARK;
  ts->extra = extra;
  ts->shrlen = cast(ls_byte, l);
  ts->hash = h;
  ts->u.hnext = NULL;
  memcpy(rawgetshrstr(ts), str, l);
  rawgetshrstr(ts)[l] = '\0';
  a->count++;
  a->bytes += size;
  put(a->tab, ts);
  return ts;
}


int sklA_text (SklAtoms *a, const char *str, size_t l, unsigned h,
               lu_byte extra) {
  int ok = 1;
  pthread_mutex_lock(&a->lock);
  if (skl_findatom(a, str, l, h) == NULL)
    ok = a->bytes + atomsize(l) <= a->budget && reserve(a, 1) &&
         insert(a, str, l, h, extra) != NULL;
  pthread_mutex_unlock(&a->lock);
  return ok;
}


int sklA_intern (SklAtoms *a, TString **ts, size_t n) {
  size_t i, fresh = 0, bytes = 0;
  int ok = 1;
  pthread_mutex_lock(&a->lock);
  for (i = 0; i < n; i++) {
    TString *s = ts[i];
    if (skl_isfrozen(s)) continue;  /* the VM that compiled uses atoms too */
    s = skl_findatom(a, rawgetshrstr(s), cast_sizet(s->shrlen), s->hash);
    if (s != NULL) ts[i] = s;
    else {
      fresh++;
      bytes += atomsize(cast_sizet(ts[i]->shrlen));
    }
  }
  if (fresh > 0)
    ok = a->bytes + bytes <= a->budget && reserve(a, fresh);
  for (i = 0; ok && i < n; i++) {
    TString *s = ts[i];
    if (skl_isfrozen(s)) continue;
    /* a text comes only once per call: strings of one VM are unique */
    s = insert(a, rawgetshrstr(s), cast_sizet(s->shrlen), s->hash, 0);
    if (s == NULL) ok = 0;
    else ts[i] = s;
  }
  pthread_mutex_unlock(&a->lock);
  return ok;
}
