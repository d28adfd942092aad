/*
** sklchunk.c: frozen copies of compiled code.
**
** A private VM compiles a file. What it made is copied, never used in place:
** the whole tree goes into one block, the short strings among its constants
** become atoms, everything else that is text becomes a frozen string of the
** block. Names of variables and of the source need not be atoms, since they
** never become values of Lua: the API hands them out as C strings. Where an
** atom of that text exists it is used, to save space.
*/

#define LUA_CORE

#include "lprefix.h"

#include <stdlib.h>
#include <string.h>

#include "lfunc.h"
#include "lopcodes.h"

#include "sklint.h"

#define align8(n)	(((n) + 7) & ~(size_t)7)

/* From this many short strings on, a file that only builds tables is data. */
#define DATASTRINGS	256


/* How a string of the original is used. */
#define USE_NAME	0  /* only as a name for debugging */
#define USE_CONST	1  /* short, as a constant */
#define USE_LONG	2  /* long */

typedef struct Piece {
  TString *orig;  /* NULL: free slot */
  TString *copy;
  int use;
} Piece;

typedef struct Copier {
  Piece *map;  /* from original strings to copies; open addressing */
  size_t mapsize, mapused;
  size_t nconst;
  size_t size;  /* bytes of the block */
  char *next;  /* next free byte of the block */
  SklChunk *chunk;
  int failed;  /* out of memory */
} Copier;


static Piece *slotof (Piece *map, size_t size, TString *ts) {
  size_t i = ((size_t)ts >> 4) & (size - 1);
  while (map[i].orig != NULL && map[i].orig != ts)
    i = (i + 1) & (size - 1);
  return &map[i];
}


static void growmap (Copier *cp) {
  size_t size = (cp->mapsize == 0) ? 64 : cp->mapsize * 2;
  size_t i;
  Piece *map = calloc(size, sizeof(Piece));
  if (map == NULL) {
    cp->failed = 1;
    return;
  }
  for (i = 0; i < cp->mapsize; i++)
    if (cp->map[i].orig != NULL)
      *slotof(map, size, cp->map[i].orig) = cp->map[i];
  free(cp->map);
  cp->map = map;
  cp->mapsize = size;
}


static void usestring (Copier *cp, TString *ts, int use) {
  Piece *p;
  if (ts == NULL || cp->failed) return;
  if (cp->mapused * 2 >= cp->mapsize) {
    growmap(cp);
    if (cp->failed) return;
  }
  if (!strisshr(ts)) use = USE_LONG;
  p = slotof(cp->map, cp->mapsize, ts);
  if (p->orig == NULL) {
    p->orig = ts;
    p->use = use;
    cp->mapused++;
    if (use == USE_CONST) cp->nconst++;
  }
  else if (use == USE_CONST && p->use == USE_NAME) {
    p->use = USE_CONST;
    cp->nconst++;
  }
}


/* First pass: all strings, and the sizes of all the rest. */
static void collect (Copier *cp, const Proto *f) {
  int i;
  cp->size += align8(sizeof(Proto))
            + cast_sizet(f->sizek) * sizeof(TValue)
            + cast_sizet(f->sizep) * sizeof(Proto *)
            + align8(cast_sizet(f->sizecode) * sizeof(Instruction))
            + align8(cast_sizet(f->sizelineinfo) * sizeof(ls_byte))
            + align8(cast_sizet(f->sizeabslineinfo) * sizeof(AbsLineInfo))
            + align8(cast_sizet(f->sizeupvalues) * sizeof(Upvaldesc))
            + align8(cast_sizet(f->sizelocvars) * sizeof(LocVar));
  usestring(cp, f->source, USE_NAME);
  for (i = 0; i < f->sizek; i++)
    if (ttisstring(&f->k[i])) usestring(cp, tsvalue(&f->k[i]), USE_CONST);
  for (i = 0; i < f->sizeupvalues; i++)
    usestring(cp, f->upvalues[i].name, USE_NAME);
  for (i = 0; i < f->sizelocvars; i++)
    usestring(cp, f->locvars[i].varname, USE_NAME);
  for (i = 0; i < f->sizep; i++)
    collect(cp, f->p[i]);
}


/* Second pass: makes the constants atoms. Returns them, or NULL. */
static TString **makeatoms (Copier *cp, SklSpace *s, int *budget) {
  TString **list = malloc((cp->nconst + 1) * sizeof(TString *));
  size_t i, n = 0;
  if (list == NULL) return NULL;
  for (i = 0; i < cp->mapsize; i++)
    if (cp->map[i].orig != NULL && cp->map[i].use == USE_CONST)
      list[n++] = cp->map[i].orig;
  if (!sklA_intern(&s->atoms, list, n)) {
    *budget = 1;
    free(list);
    return NULL;
  }
  for (i = n = 0; i < cp->mapsize; i++)
    if (cp->map[i].orig != NULL && cp->map[i].use == USE_CONST)
      cp->map[i].copy = list[n++];
  return list;
}


/* Third pass: the sizes of the strings that the block will hold. */
static void sizestrings (Copier *cp, SklSpace *s) {
  size_t i;
  for (i = 0; i < cp->mapsize; i++) {
    Piece *p = &cp->map[i];
    if (p->orig == NULL || p->use == USE_CONST) continue;
    if (p->use == USE_NAME) {
      p->copy = skl_findatom(&s->atoms, rawgetshrstr(p->orig),
                             cast_sizet(p->orig->shrlen), p->orig->hash);
      if (p->copy == NULL)
        cp->size += align8(sizestrshr(cast_sizet(p->orig->shrlen)));
    }
    else
      cp->size += align8(luaS_sizelngstr(p->orig->u.lnglen, LSTRREG));
  }
}


static void *take (Copier *cp, size_t size) {
  void *p = cp->next;
  cp->next += align8(size);
  lua_assert(cp->next <= (char *)cp->chunk + cp->size);
  return p;
}


size_t sklC_longsize (const TString *o) {
  return luaS_sizelngstr(o->u.lnglen, LSTRREG);
}


void sklC_copylong (TString *ts, TString *o) {
  size_t l = o->u.lnglen;
  ts->next = NULL;
  ts->tt = o->tt;
  ts->marked = SKL_FROZENMARK;
  ts->hash = luaS_hashlongstr(o);  /* nobody may do that later */
  ts->extra = 1;
  ts->shrlen = LSTRREG;
  ts->u.lnglen = l;
  ts->contents = (char *)ts + offsetof(TString, falloc);
  memcpy(ts->contents, getlngstr(o), l);
  ts->contents[l] = '\0';
}


static TString *copystring (Copier *cp, TString *o) {
  TString *ts;
  if (strisshr(o)) {
    size_t l = cast_sizet(o->shrlen);
    ts = take(cp, sizestrshr(l));
    ts->hash = o->hash;
    ts->extra = 0;
    ts->shrlen = o->shrlen;
    ts->u.hnext = NULL;
    memcpy(rawgetshrstr(ts), rawgetshrstr(o), l + 1);
  }
  else {
    ts = take(cp, sklC_longsize(o));
    sklC_copylong(ts, o);
  }
  ts->next = NULL;
  ts->tt = o->tt;
  ts->marked = SKL_FROZENMARK;
  return ts;
}


static void *copyarray (Copier *cp, const void *from, int n, size_t elem) {
  void *to;
  if (n == 0) return NULL;
  to = take(cp, cast_sizet(n) * elem);
  memcpy(to, from, cast_sizet(n) * elem);
  return to;
}


static TString *copyof (Copier *cp, TString *ts) {
  return (ts == NULL) ? NULL : slotof(cp->map, cp->mapsize, ts)->copy;
}


static Proto *copyproto (Copier *cp, const Proto *o) {
  int i;
  Proto *f = take(cp, sizeof(Proto));
  *f = *o;
  f->next = NULL;
  f->marked = SKL_FROZENMARK;
  f->flag &= cast_byte(~PF_FIXED);
  f->gclist = (GCObject *)cp->chunk;  /* unused by the collector here */
  f->code = copyarray(cp, o->code, o->sizecode, sizeof(Instruction));
  f->lineinfo = copyarray(cp, o->lineinfo, o->sizelineinfo, sizeof(ls_byte));
  f->abslineinfo = copyarray(cp, o->abslineinfo, o->sizeabslineinfo,
                             sizeof(AbsLineInfo));
  f->k = copyarray(cp, o->k, o->sizek, sizeof(TValue));
  f->upvalues = copyarray(cp, o->upvalues, o->sizeupvalues,
                          sizeof(Upvaldesc));
  f->locvars = copyarray(cp, o->locvars, o->sizelocvars, sizeof(LocVar));
  f->p = copyarray(cp, o->p, o->sizep, sizeof(Proto *));
  f->source = copyof(cp, o->source);
  for (i = 0; i < f->sizek; i++)
    if (ttisstring(&f->k[i]))
      val_(&f->k[i]).gc = obj2gco(copyof(cp, tsvalue(&o->k[i])));
  for (i = 0; i < f->sizeupvalues; i++)
    f->upvalues[i].name = copyof(cp, o->upvalues[i].name);
  for (i = 0; i < f->sizelocvars; i++)
    f->locvars[i].varname = copyof(cp, o->locvars[i].varname);
  for (i = 0; i < f->sizep; i++)
    f->p[i] = copyproto(cp, o->p[i]);
  return f;
}


static SklChunk *newchunk (SklSpace *s, size_t size) {
  SklChunk *c = malloc(size);
  if (c == NULL) return NULL;
  memset(c, 0, sizeof(*c));
  c->refs = 1;
  c->space = s;
  c->size = size;
  skl_count(s->chunks, 1);
  skl_count(s->chunk_bytes, size);
  return c;
}


SklChunk *sklC_freeze (SklSpace *s, Proto *f, int *budget) {
  Copier cp;
  SklChunk *c = NULL;
  TString **atoms;
  size_t i;
  memset(&cp, 0, sizeof(cp));
  *budget = 0;
  lua_assert(!skl_isfrozen(f));
  collect(&cp, f);
  if (cp.failed) goto done;
  atoms = makeatoms(&cp, s, budget);
  if (atoms == NULL) goto done;
  sizestrings(&cp, s);
  cp.size += align8(sizeof(SklChunk)) + cp.nconst * sizeof(TString *);
  c = newchunk(s, cp.size);
  if (c != NULL) {
    cp.chunk = c;
    cp.next = (char *)c;
    take(&cp, sizeof(SklChunk));
    c->atoms = take(&cp, cp.nconst * sizeof(TString *));
    memcpy(c->atoms, atoms, cp.nconst * sizeof(TString *));
    c->natoms = (unsigned)cp.nconst;
    for (i = 0; i < cp.mapsize; i++) {
      Piece *p = &cp.map[i];
      if (p->orig != NULL && p->copy == NULL)
        p->copy = copystring(&cp, p->orig);
    }
    c->main = copyproto(&cp, f);
    lua_assert(cp.next == (char *)c + cp.size);
  }
  free(atoms);
 done:
  free(cp.map);
  return c;
}


/*
** Whether the file only builds tables, and large ones (a table exported from
** a spreadsheet). Its code runs once and its names would fill the atoms.
*/
static int isdata (const Proto *f) {
  int i, n = 0;
  if (f->sizep > 0) return 0;
  for (i = 0; i < f->sizek; i++)
    if (ttisshrstring(&f->k[i])) n++;
  if (n < DATASTRINGS) return 0;
  for (i = 0; i < f->sizecode; i++) {
    OpCode op = GET_OPCODE(f->code[i]);
    if (op == OP_CALL || op == OP_TAILCALL || op == OP_SELF) return 0;
  }
  return 1;
}


SklChunk *sklC_make (SklSpace *s, lua_State *C) {
  Proto *f = clLvalue(s2v(C->top.p - 1))->p;
  SklChunk *c;
  SklCode *code;
  if (isdata(f))
    skl_count(s->data_chunks, 1);
  else {
    int budget;
    c = sklC_freeze(s, f, &budget);
    if (c != NULL || !budget) return c;
    skl_count(s->over_budget, 1);
  }
  code = sklC_dump(C);
  if (code == NULL) return NULL;
  c = newchunk(s, sizeof(SklChunk));
  if (c == NULL) free(code);
  else c->code = code;
  return c;
}


void sklC_ref (SklChunk *c) {
  __atomic_fetch_add(&c->refs, 1, __ATOMIC_RELAXED);
}


/*
** Release: what this holder read happens before the block is freed. Acquire:
** the one that frees it comes after all of them.
*/
void sklC_unref (SklChunk *c) {
  if (__atomic_fetch_sub(&c->refs, 1, __ATOMIC_ACQ_REL) == 1) {
    skl_uncount(c->space->chunks, 1);
    skl_uncount(c->space->chunk_bytes, c->size);
    free(c->code);
    free(c);
  }
}
