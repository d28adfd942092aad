/*
** sklcache.c: the code cache of a space. A file is compiled once, in a
** private VM that is closed right after, and kept under its literal name.
*/

#define LUA_CORE

#include "lprefix.h"

#include <stdlib.h>
#include <string.h>

#include "lapi.h"

#include "sklint.h"

#define FIRSTBUCKETS	64  /* a power of 2 */

#define KIND_FILE	'@'
#define KIND_EMBEDDED	'='

struct SklEntry {
  SklEntry *next;
  SklChunk *chunk;
  size_t len;
  unsigned hash;
  char kind;
  char key[];
};

/* What to compile. */
typedef struct Job {
  const char *filename;  /* NULL: the buffer below */
  const char *mode;
  const char *buff;
  size_t size;
  const char *chunkname;
  int status;
} Job;


int sklK_init (SklSpace *s) {
  s->bucket = calloc(FIRSTBUCKETS, sizeof(SklEntry *));
  if (s->bucket == NULL) return 0;
  s->nbuckets = FIRSTBUCKETS;
  if (pthread_mutex_init(&s->lock, NULL) != 0) {
    free(s->bucket);
    return 0;
  }
  return 1;
}


static SklEntry *detach (SklSpace *s) {
  SklEntry *all = NULL;
  size_t i;
  for (i = 0; i < s->nbuckets; i++) {
    SklEntry *e = s->bucket[i];
    while (e != NULL) {
      SklEntry *next = e->next;
      __atomic_store_n(&e->chunk->retired, 1, __ATOMIC_RELAXED);
      e->next = all;
      all = e;
      e = next;
    }
    s->bucket[i] = NULL;
  }
  s->cached = 0;
  return all;
}


void sklK_clear (SklSpace *s) {
  SklEntry *e;
  pthread_mutex_lock(&s->lock);
  e = detach(s);
  s->generation++;
  pthread_mutex_unlock(&s->lock);
  while (e != NULL) {
    SklEntry *next = e->next;
    sklC_unref(e->chunk);
    free(e);
    e = next;
  }
}


void sklK_free (SklSpace *s) {
  sklK_clear(s);
  free(s->bucket);
  pthread_mutex_destroy(&s->lock);
}


static unsigned hashkey (char kind, const char *key, size_t len) {
  return skl_hash_(key, len, (unsigned char)kind);
}


/* Lock held. */
static SklEntry *find (SklSpace *s, char kind, const char *key, size_t len,
                       unsigned h) {
  SklEntry *e = s->bucket[h & (s->nbuckets - 1)];
  for (; e != NULL; e = e->next)
    if (e->hash == h && e->kind == kind && e->len == len &&
        memcmp(e->key, key, len) == 0)
      return e;
  return NULL;
}


/* Lock held. Without memory the chains only get longer. */
static void growbuckets (SklSpace *s) {
  size_t n = s->nbuckets * 2, i;
  SklEntry **b = calloc(n, sizeof(SklEntry *));
  if (b == NULL) return;
  for (i = 0; i < s->nbuckets; i++) {
    SklEntry *e = s->bucket[i];
    while (e != NULL) {
      SklEntry *next = e->next;
      e->next = b[e->hash & (n - 1)];
      b[e->hash & (n - 1)] = e;
      e = next;
    }
  }
  free(s->bucket);
  s->bucket = b;
  s->nbuckets = n;
}


/* The chunk of an entry, with a reference for the caller; or NULL. */
static SklChunk *lookup (SklSpace *s, char kind, const char *key, size_t len,
                         unsigned h, size_t *generation) {
  SklChunk *c = NULL;
  SklEntry *e;
  pthread_mutex_lock(&s->lock);
  *generation = s->generation;
  e = find(s, kind, key, len, h);
  if (e != NULL) {
    c = e->chunk;
    sklC_ref(c);
  }
  pthread_mutex_unlock(&s->lock);
  return c;
}


/*
** Enters a chunk just compiled. If another thread was faster, its chunk is
** the one to use. If the cache was cleared since the compiler began, the file
** may have been read before it changed: then nothing is entered.
*/
static SklChunk *enter (SklSpace *s, char kind, const char *key, size_t len,
                        unsigned h, size_t generation, SklChunk *c) {
  SklEntry *fresh = malloc(sizeof(SklEntry) + len + 1);
  SklEntry *e;
  SklChunk *loser = NULL;
  pthread_mutex_lock(&s->lock);
  e = find(s, kind, key, len, h);
  if (e != NULL) {
    loser = c;
    c = e->chunk;
    sklC_ref(c);
  }
  else if (fresh == NULL || s->generation != generation)
    __atomic_store_n(&c->retired, 1, __ATOMIC_RELAXED);
  else {
    if (s->cached >= s->nbuckets) growbuckets(s);
    e = fresh;
    fresh = NULL;
    e->chunk = c;
    sklC_ref(c);
    e->len = len;
    e->hash = h;
    e->kind = kind;
    memcpy(e->key, key, len + 1);
    e->next = s->bucket[h & (s->nbuckets - 1)];
    s->bucket[h & (s->nbuckets - 1)] = e;
    s->cached++;
  }
  pthread_mutex_unlock(&s->lock);
  free(fresh);
  if (loser != NULL) sklC_unref(loser);
  return c;
}


static int plainload (lua_State *L, Job *j) {
  if (j->filename != NULL)
    return luaL_loadfilex_(L, j->filename, j->mode);
  return luaL_loadbufferx(L, j->buff, j->size, j->chunkname, j->mode);
}


static int compiling (lua_State *C) {
  Job *j = lua_touserdata(C, 1);
  j->status = plainload(C, j);
  return 1;
}


static int copymessage (lua_State *L) {
  size_t l;
  const char *msg = lua_tolstring(lua_touserdata(L, 1), -1, &l);
  if (msg == NULL) lua_pushliteral(L, "(error object is not a string)");
  else lua_pushlstring(L, msg, l);
  return 1;
}


/*
** Compiles in a private VM. Returns the chunk with a reference, or NULL with
** a message on L's stack and the status in the job.
*/
static SklChunk *compile (lua_State *L, SklSpace *s, Job *j) {
  SklChunk *c = NULL;
  int status;
  lua_State *C = skl_newvm(s, luaL_alloc, NULL);
  if (C == NULL) {
    j->status = LUA_ERRMEM;
    lua_pushliteral(L, "New state failed");
    return NULL;
  }
  lua_gc(C, LUA_GCSTOP);
  lua_pushcfunction(C, compiling);
  lua_pushlightuserdata(C, j);
  status = lua_pcall(C, 1, 1, 0);
  if (status != LUA_OK) j->status = status;
  if (j->status == LUA_OK) {
    c = sklC_make(s, C);
    if (c == NULL) j->status = sklC_memerr(L);
  }
  else {  /* L may be out of memory, and C must be closed in any case */
    lua_pushcfunction(L, copymessage);
    lua_pushlightuserdata(L, C);
    status = lua_pcall(L, 1, 1, 0);
    if (status != LUA_OK) j->status = status;
  }
  lua_close(C);
  return c;
}


static int load (lua_State *L, char kind, const char *key, Job *j) {
  SklVm *vm = G(L)->skl;
  SklSpace *s;
  SklChunk *c;
  unsigned h;
  size_t len, generation;
  if (vm == NULL || vm->mode == SKL_CACHE_OFF) return plainload(L, j);
  s = vm->space;
  len = strlen(key);
  h = hashkey(kind, key, len);
  c = lookup(s, kind, key, len, h, &generation);
  if (c != NULL)
    skl_count(s->hits, 1);
  else if (vm->mode == SKL_CACHE_EXIST)
    return plainload(L, j);
  else {
    skl_count(s->misses, 1);
    c = compile(L, s, j);
    if (c == NULL) return j->status;
    c = enter(s, kind, key, len, h, generation, c);
  }
  return sklC_load(L, c, NULL, key);
}


LUALIB_API int luaL_loadfilex (lua_State *L, const char *filename,
                                             const char *mode) {
  Job j;
  /* standard input, and buffers that must outlive the call, are not for all */
  if (filename == NULL || (mode != NULL && strchr(mode, 'B') != NULL))
    return luaL_loadfilex_(L, filename, mode);
  memset(&j, 0, sizeof(j));
  j.filename = filename;
  j.mode = mode;
  return load(L, KIND_FILE, filename, &j);
}


LUA_API int skl_loadfile (lua_State *L, const char *filename,
                          const char *mode) {
  return luaL_loadfilex(L, filename, mode);
}


LUA_API int skl_loadembedded (lua_State *L, const char *key, const char *buff,
                              size_t size, const char *chunkname) {
  Job j;
  memset(&j, 0, sizeof(j));
  j.buff = buff;
  j.size = size;
  j.chunkname = chunkname;
  return load(L, KIND_EMBEDDED, key, &j);
}


LUALIB_API void luaL_initcodecache (void) {
}
