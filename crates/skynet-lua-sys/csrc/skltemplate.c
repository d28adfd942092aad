/*
** skltemplate.c: tables, closures and userdata as the libraries make them,
** kept outside of VMs, to be made again by copying.
**
** Opening the libraries is the same work in every VM of a space: the same
** names, the same seed, the same places in the tables. A template is the
** result of that work, taken once. Hash parts without any object of a VM in
** them are not even copied (skltable.h).
*/

#define LUA_CORE

#include "lprefix.h"

#include <stdlib.h>
#include <string.h>

#include "lapi.h"
#include "ldo.h"
#include "lfunc.h"
#include "lmem.h"
#include "ltable.h"

#include "sklint.h"

/* The most objects a template may have: their addresses are kept in an array
** on the C stack while they are made. */
#define MAXPARTS	256

/* Bytes that all objects begin with; what follows need not be aligned. */
#define HEADERSIZE	(offsetof(GCObject, marked) + sizeof(lu_byte))

#define NOPART	(-1)
#define MAINTHREAD	(-2)

/* A value that is an object: where it goes, what it refers to. */
typedef struct Patch {
  unsigned at;  /* table: array slot, or size of array part + node;
                   closure, userdata: number of the upvalue or user value */
  int part;
  lu_byte tag;
} Patch;

/* One object. */
typedef struct Part {
  lu_byte tt;
  lu_byte flags, lsizenode;  /* table */
  lu_byte finalizer;  /* belongs into the list of those with a finalizer */
  unsigned asize;  /* table */
  int metatable;
  size_t size;  /* of the object; of the array part for a table */
  char *bytes;
  Node *node;  /* table, NULL for no hash part */
  size_t hashsize, hashoffset;
  unsigned patch, npatches;
} Part;

struct SklTemplate {
  SklTemplate *next;  /* in the list of the space */
  int nparts, nfinal;
  int registry;  /* part, if this is a whole VM */
  int generational;  /* mode of the collector, likewise */
  int mt[LUA_NUMTYPES];
  TString *tmname[TM_N];
  Part part[MAXPARTS];
  short final[MAXPARTS];  /* those with a finalizer, oldest first */
  Patch *patches;
  unsigned npatches, maxpatches;
  TString **atoms;
  unsigned natoms, maxatoms;
  void **blocks;
  unsigned nblocks, maxblocks;
};

/* What is needed while a template is made. */
typedef struct Maker {
  SklTemplate *t;
  global_State *g;
  GCObject *orig[MAXPARTS];
  int failed;
} Maker;


static void *append (Maker *m, void *list, unsigned *n, unsigned *max,
                     size_t elem) {
  if (*n == *max) {
    unsigned size = (*max == 0) ? 64 : *max * 2;
    void *new = realloc(list, size * elem);
    if (new == NULL) {
      m->failed = 1;
      return list;
    }
    *max = size;
    list = new;
  }
  (*n)++;
  return list;
}


static void *block (Maker *m, size_t size) {
  SklTemplate *t = m->t;
  void *p = malloc(size);
  t->blocks = append(m, t->blocks, &t->nblocks, &t->maxblocks, sizeof(void *));
  if (p == NULL || m->failed) {
    free(p);
    m->failed = 1;
    return NULL;
  }
  t->blocks[t->nblocks - 1] = p;
  return p;
}


/* The frozen string for a string of the VM. */
static TString *freezestring (Maker *m, TString *o) {
  SklTemplate *t = m->t;
  TString *ts = o;
  if (strisshr(o)) {
    unsigned i;
    if (!sklA_intern(&m->g->skl->space->atoms, &ts, 1)) {
      m->failed = 1;
      return NULL;
    }
    for (i = 0; i < t->natoms; i++)
      if (t->atoms[i] == ts) return ts;
    t->atoms = append(m, t->atoms, &t->natoms, &t->maxatoms,
                      sizeof(TString *));
    if (!m->failed) t->atoms[t->natoms - 1] = ts;
  }
  else if (!skl_isfrozen(o)) {
    ts = block(m, sklC_longsize(o));
    if (ts != NULL) sklC_copylong(ts, o);
  }
  else  /* of a chunk, which may be freed before the template */
    m->failed = 1;
  return ts;
}


/* The number of an object, which is entered if it is new. */
static int partof (Maker *m, GCObject *o) {
  SklTemplate *t = m->t;
  int i;
  if (o == obj2gco(mainthread(m->g))) return MAINTHREAD;
  for (i = 0; i < t->nparts; i++)
    if (m->orig[i] == o) return i;
  if (t->nparts == MAXPARTS ||
      (o->tt != LUA_VTABLE && o->tt != LUA_VCCL && o->tt != LUA_VUSERDATA)) {
    m->failed = 1;
    return NOPART;
  }
  m->orig[i] = o;
  t->part[i].tt = o->tt;
  t->part[i].finalizer = tofinalize(o) ? 1 : 0;
  t->part[i].metatable = NOPART;
  t->nparts++;
  return i;
}


/*
** Prepares a copied value: a string becomes a frozen one; any other object is
** noted, and the value is nil until the copy is made.
*/
static void freezevalue (Maker *m, Part *p, unsigned at, Value *v,
                         lu_byte *tag) {
  SklTemplate *t = m->t;
  Patch *patch;
  int part;
  if (!(*tag & BIT_ISCOLLECTABLE)) return;
  if (novariant(*tag) == LUA_TSTRING) {
    TString *ts = freezestring(m, gco2ts(v->gc));
    if (ts != NULL) {
      v->gc = obj2gco(ts);
      *tag = ctb(ts->tt);
    }
    return;
  }
  part = partof(m, v->gc);
  t->patches = append(m, t->patches, &t->npatches, &t->maxpatches,
                      sizeof(Patch));
  if (m->failed) return;
  patch = &t->patches[t->npatches - 1];
  patch->at = at;
  patch->part = part;
  patch->tag = *tag;
  p->npatches++;
  v->gc = NULL;
  *tag = LUA_VNIL;
}


static void freezetvalue (Maker *m, Part *p, unsigned at, TValue *v) {
  Value value = v->value_;
  lu_byte tag = rawtt(v);
  freezevalue(m, p, at, &value, &tag);
  v->value_ = value;
  v->tt_ = tag;
}


/* Returns whether VMs may share the part as it is. */
static int freezenodes (Maker *m, Part *p) {
  unsigned i, n = 1u << p->lsizenode;
  unsigned before = p->npatches;
  int removed = 0;
  for (i = 0; i < n && !m->failed; i++) {
    Node *node = &p->node[i];
    int key = keytt(node);
    if (key == ctb(LUA_VSHRSTR)) {
      TString *ts = freezestring(m, keystrval(node));
      if (ts != NULL) keyval(node).gc = obj2gco(ts);
    }
    else if (key & BIT_ISCOLLECTABLE || keyisdead(node))
      m->failed = 1;  /* its place hangs on its address, or means nothing */
    if (isempty(gval(node)) && !keyisnil(node))
      removed = 1;  /* a collector may write to such a key */
    freezetvalue(m, p, p->asize + i, gval(node));
  }
  return p->npatches == before && !removed;
}


static void freezetable (Maker *m, Part *p, Table *h) {
  unsigned i;
  p->flags = h->flags & cast_byte(~BITSHARED);
  p->lsizenode = h->lsizenode;
  p->asize = h->asize;
  if (h->metatable != NULL) p->metatable = partof(m, obj2gco(h->metatable));
  if (h->asize > 0) {
    Table copy;
    p->size = cast_sizet(h->asize) * (sizeof(Value) + 1) + sizeof(unsigned);
    p->bytes = block(m, p->size);
    if (p->bytes == NULL) return;
    memcpy(p->bytes, h->array - h->asize, p->size);
    copy.array = (Value *)p->bytes + h->asize;
    for (i = 0; i < h->asize && !m->failed; i++)
      freezevalue(m, p, i, getArrVal(&copy, i), getArrTag(&copy, i));
  }
  p->hashsize = skl_hashblock_(h, &p->hashoffset);
  if (p->hashsize > 0) {
    char *to = block(m, p->hashsize);
    if (to == NULL) return;
    p->node = skl_copyhash_(h, to);
    if (freezenodes(m, p)) p->flags |= BITSHARED;
  }
}


/* Takes the object; all parts get their patches in one piece. */
static void freezepart (Maker *m, int n) {
  Part *p = &m->t->part[n];
  GCObject *o = m->orig[n];
  int i;
  p->patch = m->t->npatches;
  if (o->tt == LUA_VTABLE) {
    freezetable(m, p, gco2t(o));
    return;
  }
  if (o->tt == LUA_VCCL)
    p->size = sizeCclosure(gco2ccl(o)->nupvalues);
  else
    p->size = sizeudata(gco2u(o)->nuvalue, gco2u(o)->len);
  p->bytes = block(m, p->size);
  if (p->bytes == NULL) return;
  memcpy(p->bytes, o, p->size);
  if (o->tt == LUA_VCCL) {
    CClosure *c = (CClosure *)p->bytes;
    for (i = 0; i < c->nupvalues && !m->failed; i++)
      freezetvalue(m, p, cast_uint(i), &c->upvalue[i]);
  }
  else {
    Udata *u = (Udata *)p->bytes;
    if (u->metatable != NULL) {
      p->metatable = partof(m, obj2gco(u->metatable));
      u->metatable = NULL;
    }
    for (i = 0; i < u->nuvalue && !m->failed; i++)
      freezetvalue(m, p, cast_uint(i), &u->uv[i].uv);
  }
}


/* The parts with a finalizer in the order in which they got it. */
static void orderfinalizers (Maker *m) {
  SklTemplate *t = m->t;
  GCObject *o;
  int i, n = 0;
  for (i = 0; i < t->nparts; i++)
    n += t->part[i].finalizer;
  t->nfinal = n;
  for (o = m->g->finobj; o != NULL; o = o->next)
    for (i = 0; i < t->nparts; i++)
      if (m->orig[i] == o) t->final[--n] = cast(short, i);
  if (n != 0) m->failed = 1;  /* one is being finalized */
}


static void freetemplate (SklTemplate *t) {
  unsigned i;
  for (i = 0; i < t->nblocks; i++)
    free(t->blocks[i]);
  free(t->blocks);
  free(t->patches);
  free(t->atoms);
  free(t);
}


void sklT_free (SklSpace *s) {
  while (s->templates != NULL) {
    SklTemplate *next = s->templates->next;
    freetemplate(s->templates);
    s->templates = next;
  }
}


/* A template of the value 'root', or of all of the VM if that is NULL. */
static SklTemplate *make (lua_State *L, const TValue *root) {
  global_State *g = G(L);
  Maker m;
  SklTemplate *t;
  int i;
  if (g->skl == NULL) return NULL;
  t = calloc(1, sizeof(SklTemplate));
  if (t == NULL) return NULL;
  m.t = t;
  m.g = g;
  m.failed = 0;
  for (i = 0; i < LUA_NUMTYPES; i++)
    t->mt[i] = NOPART;
  if (root != NULL)
    partof(&m, gcvalue(root));
  else {
    t->generational = (g->gckind != KGC_INC);
    t->registry = partof(&m, gcvalue(&g->l_registry));
    for (i = 0; i < LUA_NUMTYPES; i++)
      if (g->mt[i] != NULL) t->mt[i] = partof(&m, obj2gco(g->mt[i]));
    for (i = 0; i < TM_N; i++)
      t->tmname[i] = freezestring(&m, g->tmname[i]);
  }
  for (i = 0; i < t->nparts && !m.failed; i++)  /* 'nparts' grows */
    freezepart(&m, i);
  if (!m.failed) orderfinalizers(&m);
  if (root != NULL && t->nfinal > 0) m.failed = 1;
  if (m.failed) {
    freetemplate(t);
    return NULL;
  }
  pthread_mutex_lock(&g->skl->space->lock);
  t->next = g->skl->space->templates;
  g->skl->space->templates = t;
  pthread_mutex_unlock(&g->skl->space->lock);
  return t;
}


LUA_API SklTemplate *skl_template (lua_State *L, int idx) {
  StkId p;
  if (idx == 0) return make(L, NULL);
  lua_pushvalue(L, idx);
  p = L->top.p - 1;
  L->top.p--;
  return ttistable(s2v(p)) ? make(L, s2v(p)) : NULL;
}


static GCObject *newtable (lua_State *L, const Part *p) {
  Table *h = luaH_new(L);
  if (p->asize > 0) {
    char *array = luaM_newblock(L, p->size);
    memcpy(array, p->bytes, p->size);
    h->array = (Value *)array + p->asize;
    h->asize = p->asize;
  }
  if (p->flags & BITSHARED) {
    h->node = p->node;
    h->lsizenode = p->lsizenode;
  }
  else if (p->hashsize > 0) {
    Table from;
    from.node = p->node;
    from.lsizenode = p->lsizenode;
    from.flags = 0;
    h->node = skl_copyhash_(&from, luaM_newblock(L, p->hashsize));
    h->lsizenode = p->lsizenode;
  }
  h->flags = p->flags;
  return obj2gco(h);
}


static GCObject *newobject (lua_State *L, const Part *p) {
  GCObject *o;
  if (p->tt == LUA_VTABLE) return newtable(L, p);
  o = luaC_newobj(L, p->tt, p->size);
  memcpy((char *)o + HEADERSIZE, p->bytes + HEADERSIZE,
         p->size - HEADERSIZE);
  return o;
}


/* Where a patch goes; the tag is set here. */
static Value *place (GCObject *o, const Patch *patch, lu_byte tag) {
  TValue *v;
  switch (o->tt) {
    case LUA_VTABLE: {
      Table *h = gco2t(o);
      if (patch->at < h->asize) {
        *getArrTag(h, patch->at) = tag;
        return getArrVal(h, patch->at);
      }
      v = gval(gnode(h, patch->at - h->asize));
      break;
    }
    case LUA_VCCL: v = &gco2ccl(o)->upvalue[patch->at]; break;
    default: v = &gco2u(o)->uv[patch->at].uv; break;
  }
  v->tt_ = tag;
  return &v->value_;
}


typedef struct Job {
  const SklTemplate *t;
  GCObject *o[MAXPARTS];
} Job;


/* Makes all objects, then connects them. No collection happens in between. */
static void build (lua_State *L, void *ud) {
  Job *j = ud;
  const SklTemplate *t = j->t;
  global_State *g = G(L);
  GCObject *before = g->allgc;
  int i, fin = 0;
  for (i = 0; i < t->nparts; i++)
    j->o[i] = newobject(L, &t->part[i]);
  for (i = 0; i < t->nparts; i++) {
    const Part *p = &t->part[i];
    GCObject *o = j->o[i];
    unsigned n;
    if (p->metatable != NOPART) {
      Table *mt = gco2t(j->o[p->metatable]);
      if (o->tt == LUA_VTABLE) gco2t(o)->metatable = mt;
      else gco2u(o)->metatable = mt;
    }
    for (n = 0; n < p->npatches; n++) {
      const Patch *patch = &t->patches[p->patch + n];
      place(o, patch, patch->tag)->gc = (patch->part == MAINTHREAD)
                                      ? obj2gco(mainthread(g))
                                      : j->o[patch->part];
    }
    fin += p->finalizer;
  }
  if (fin > 0) {
    GCObject **prev = &g->allgc;
    while (*prev != before) {  /* take them out of the list of the others */
      GCObject *o = *prev;
      int found = 0;
      for (i = 0; i < t->nfinal && !found; i++)
        found = (j->o[t->final[i]] == o);
      if (found) *prev = o->next;
      else prev = &o->next;
    }
    for (i = 0; i < t->nfinal; i++) {
      GCObject *o = j->o[t->final[i]];
      o->next = g->finobj;
      g->finobj = o;
      l_setbit(o->marked, FINALIZEDBIT);
    }
  }
}


/*
** Called while the state is being built, when no collection can happen, in the
** place of luaT_init, luaX_init and of what makes the registry.
*/
int skl_fromtemplate_ (lua_State *L) {
  global_State *g = G(L);
  const SklTemplate *t = (g->skl != NULL) ? g->skl->made_from : NULL;
  Job j;
  int i;
  if (t == NULL) return 0;
  luaS_init(L);
  lua_assert(g->strt.nuse == 0);
  memcpy(g->tmname, t->tmname, sizeof(g->tmname));
  if (t->generational)  /* now, when there is nothing to traverse */
    luaC_changemode(L, KGC_GENMINOR);
  j.t = t;
  build(L, &j);
  sethvalue(L, &g->l_registry, gco2t(j.o[t->registry]));
  for (i = 0; i < LUA_NUMTYPES; i++)
    if (t->mt[i] != NOPART) g->mt[i] = gco2t(j.o[t->mt[i]]);
  return 1;
}


LUA_API int skl_instantiate (lua_State *L, const SklTemplate *t) {
  global_State *g = G(L);
  lu_byte stp = g->gcstp, stopem = g->gcstopem;
  TStatus status;
  Job j;
  if (g->skl == NULL || sklC_conflicts(g, t->atoms, t->natoms)) return 0;
  j.t = t;
  g->gcstp |= GCSTPGC;
  g->gcstopem = 1;
  status = luaD_rawrunprotected(L, build, &j);
  g->gcstp = stp;
  g->gcstopem = stopem;
  if (status != LUA_OK) luaD_throw(L, status);
  sethvalue2s(L, L->top.p, gco2t(j.o[0]));
  api_incr_top(L);
  luaC_checkGC(L);
  return 1;
}
