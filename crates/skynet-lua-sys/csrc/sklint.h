/*
** sklint.h: the types that the files of this folder share.
*/

#ifndef sklint_h
#define sklint_h

#include "skl.h"
#include "sklimpl.h"

/*
** A compiled file. 'main' is the root of a frozen prototype tree that lives,
** with all its parts, in this one block; or NULL for a chunk that is not
** shared, of which there is only bytecode.
** 'refs' counts the cache (while the entry is there) and the VMs that loaded
** the chunk.
*/
typedef struct SklChunk {
  size_t refs;  /* atomic */
  SklSpace *space;
  int retired;  /* atomic: the cache has dropped it */
  unsigned natoms;
  Proto *main;
  TString **atoms;  /* the short strings among its constants, once each */
  struct SklCode *code;  /* atomic: its bytecode, made when first needed */
  size_t size;  /* of this block */
} SklChunk;

typedef struct SklCode {
  size_t size;
  char bytes[];
} SklCode;

typedef struct SklEntry SklEntry;

struct SklSpace {
  SklAtoms atoms;
  unsigned seed;
  size_t refs;  /* atomic: the owner and the VMs */
  pthread_mutex_t lock;  /* guards the cache and the shared functions */
  SklEntry **bucket;
  size_t nbuckets;
  size_t cached;
  size_t generation;  /* number of clears */
  struct SklShared *shared;  /* functions given to lua_sharefunction */
  SklTemplate *templates;  /* all of them; none goes before the space */
  /* counters, atomic */
  size_t chunks, chunk_bytes, hits, misses, data_chunks, over_budget;
  size_t private_loads, vms;
};

/* Record of a VM of a space. */
struct SklVm {
  SklSpace *space;
  SklChunk **chunk;  /* chunks it holds, ordered by address */
  int nchunks, maxchunks;
  int mode;
  size_t private_loads;
  const SklTemplate *made_from;  /* NULL: made step by step */
  unsigned long long random[4];  /* state of 'math.random'; 0: not seeded */
  /* sklfixed.c: what the host has set */
  int seeded;
  unsigned long long seed;  /* if 'seeded': all seeds of the VM come from it */
  SklTime time;  /* NULL: the machine's */
  lua_Hook basehook;  /* NULL: none */
  int basemask, basecount;
};

#define skl_count(c,n)	((void)__atomic_fetch_add(&(c), (n), __ATOMIC_RELAXED))
#define skl_uncount(c,n)	((void)__atomic_fetch_sub(&(c), (n), __ATOMIC_RELAXED))
#define skl_counted(c)	__atomic_load_n(&(c), __ATOMIC_RELAXED)

/* sklatom.c */
int sklA_init (SklAtoms *a, size_t budget);
void sklA_free (SklAtoms *a);
/* Turns n short strings into their atoms, in place, all or (budget, memory)
** none of those not yet atoms. Returns 0 for none. */
int sklA_intern (SklAtoms *a, TString **ts, size_t n);
int sklA_text (SklAtoms *a, const char *str, size_t l, unsigned h,
               lu_byte extra);

/* sklchunk.c */
/* A frozen copy of 'f', which is not frozen, with one reference. NULL: out of
   memory (then '*budget' is 0) or of budget (1). May not raise. */
SklChunk *sklC_freeze (SklSpace *s, Proto *f, int *budget);
/* A chunk for the Lua function on top of the private VM 'C', with one
   reference: frozen, or only bytecode for what should not be shared. NULL:
   out of memory. May not raise. */
SklChunk *sklC_make (SklSpace *s, lua_State *C);
void sklC_ref (SklChunk *c);
void sklC_unref (SklChunk *c);

/* sklload.c */
/* Pushes a function that runs 'f', a prototype of chunk 'c' (NULL: its main
   one): on the frozen code if the VM may, else on a private copy. Returns the
   status; pushes a message if it is not LUA_OK. The caller's reference goes
   to the VM in any case. May raise (memory). */
int sklC_load (lua_State *L, SklChunk *c, Proto *f, const char *name);
/* Pushes the message for LUA_ERRMEM; may not raise. */
int sklC_memerr (lua_State *L);
/* Bytecode of the Lua function on top of 'C', to be freed. NULL: out of
   memory. May not raise. */
SklCode *sklC_dump (lua_State *C);

/* Whether the VM has strings of its own for some of these atoms, which then
   must not come into it. */
int sklC_conflicts (const global_State *g, TString *const *atoms,
                    unsigned natoms);

/* sklchunk.c: frozen copies of long strings that are not frozen. */
size_t sklC_longsize (const TString *o);
void sklC_copylong (TString *to, TString *o);

/* skltemplate.c */
void sklT_free (SklSpace *s);

/* sklcache.c */
int sklK_init (SklSpace *s);
void sklK_clear (SklSpace *s);
void sklK_free (SklSpace *s);

/* sklfunc.c */
void sklF_vmclosed (SklVm *vm);

#endif
