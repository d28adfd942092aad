/*
** skl.h: Lua VMs that share compiled code and names.
**
** A *space* is what the VMs of one process share: the hash seed, the atoms
** (names that are one object in all its VMs), and the code cache. A VM made
** with skl_newvm belongs to a space for its whole life; a VM made by
** lua_newstate or luaL_newstate is *foreign* and shares nothing.
**
** All functions on a space may be called from any thread at any time; all
** functions on a lua_State only by the thread that owns the VM.
** "May raise" means: may leave by a Lua error (longjmp).
*/

#ifndef skl_h
#define skl_h

#include <stddef.h>

#include "lua.h"
#include "lauxlib.h"

typedef struct SklSpace SklSpace;
typedef struct SklTemplate SklTemplate;

/* Modes of the code cache of a VM. */
#define SKL_CACHE_ON	0  /* look up, compile for all on a miss */
#define SKL_CACHE_EXIST	1  /* look up, compile for this VM on a miss */
#define SKL_CACHE_OFF	2  /* never look, compile for this VM */

/* Counters of a space. 'size_t' each, in this order. */
typedef struct SklSpaceStats {
  size_t atoms;  /* names that are atoms */
  size_t atom_bytes;  /* bytes of their texts and headers, and of the index */
  size_t atom_budget;  /* bytes the atoms may use */
  size_t chunks;  /* shared chunks alive: cached ones and retired ones */
  size_t chunk_bytes;  /* bytes of these */
  size_t cached;  /* entries of the code cache */
  size_t hits;  /* loads served by the cache */
  size_t misses;  /* loads that compiled for the cache */
  size_t data_chunks;  /* compiled files that are all data, kept unshared */
  size_t over_budget;  /* compiled files kept unshared for want of budget */
  size_t private_loads;  /* private copies made of shared chunks, all VMs */
  size_t vms;  /* VMs alive */
} SklSpaceStats;

/* Counters of a VM. */
typedef struct SklVmStats {
  size_t chunks;  /* shared chunks this VM runs */
  size_t retired;  /* of these, chunks the cache has dropped */
  size_t retired_bytes;  /* bytes of the latter */
  size_t private_loads;  /* shared chunks loaded as a private copy */
} SklVmStats;

/* A new space. 'seed' is the hash seed of all its VMs; pass luaL_makeseed(NULL)
** or a fixed one to make table order repeatable. NULL: out of memory. */
LUA_API SklSpace *skl_space_new (unsigned seed);

/* Lets go of the space: it is freed when its last VM has been closed. NULL is
** allowed. */
LUA_API void skl_space_free (SklSpace *s);

/* The seed of the space. */
LUA_API unsigned skl_space_seed (const SklSpace *s);

/* Bounds the bytes that atoms may use. A file whose new names would go past
** is compiled for each VM alone; atoms that exist stay. */
LUA_API void skl_space_setbudget (SklSpace *s, size_t bytes);

/* Makes 'text' an atom ahead of its first use, so that no VM makes an object
** of its own for it. For names of the host, before it starts VMs. Returns 1,
** or 0 when the text is too long to be a name, the budget is used up, or
** memory is out (never an error: only sharing is lost). */
LUA_API int skl_space_atom (SklSpace *s, const char *text, size_t len);

/* Drops all entries of the code cache. Functions already loaded keep working;
** a chunk is freed when the last VM that loaded it has been closed. */
LUA_API void skl_space_clear (SklSpace *s);

/* Fills 'st'. */
LUA_API void skl_space_stats (SklSpace *s, SklSpaceStats *st);

/* lua_newstate for a VM of space 's' (its seed is the space's). NULL: out of
** memory. No panic function, no warning function, no libraries. */
LUA_API lua_State *skl_newvm (SklSpace *s, lua_Alloc f, void *ud);

/* Takes a template: of the table at 'idx', or of all that the VM holds in its
** registry and in the metatables of types if 'idx' is 0. Everything reached
** must be a table, a C closure, a userdata, the main thread, or no object;
** keys of tables must be short strings or no objects. The host must be able to
** do with plain copies of the userdata. Later changes do not touch the
** template, which lives as long as the space, and is for its VMs alone.
** Returns NULL if that cannot be. Slots: 1. Does not raise. */
LUA_API SklTemplate *skl_template (lua_State *L, int idx);

/* skl_newvm for a VM that holds all that the VM of template 't' (taken with
** index 0) held, with the same mode of the collector. 't' may be NULL: plain skl_newvm. */
LUA_API lua_State *skl_newvmfrom (SklSpace *s, const SklTemplate *t,
                                  lua_Alloc f, void *ud);

/* Pushes a copy of the table that 't' was taken of and returns 1; or pushes
** nothing and returns 0, if this VM has strings of its own that stand in the
** way. Slots: 1. May raise (memory). */
LUA_API int skl_instantiate (lua_State *L, const SklTemplate *t);

/*
** A VM that runs the same each time. No effect on foreign VMs.
*/

/* All seeds of the VM come from 'seed' from now on: 'luaL_makeseed', and so
** 'math.random', 'math.randomseed()' and the pivots of 'table.sort'. */
LUA_API void skl_setseed (lua_State *L, unsigned long long seed);

/* Nanoseconds, as asked: since 1970 (for 'os.time' and 'os.date'), or used by
** the program ('os.clock'). May not raise. */
#define SKL_TIME_DATE	0
#define SKL_TIME_USED	1
typedef unsigned long long (*SklTime) (lua_State *L, int which);

/* Where the VM has its time from; NULL: the machine. */
LUA_API void skl_settime (lua_State *L, SklTime f);

/* The hook of the thread 'L' now, of all threads made from it, and of each
** thread whose hook is turned off. 'debug.gethook' does not show it. Before
** other threads are made. */
LUA_API void skl_setbasehook (lua_State *L, lua_Hook f, int mask, int count);

/* Closes a VM of any kind and then drops its chunks. Same as lua_close. */
LUA_API void skl_close (lua_State *L);

/* The space of the VM; NULL for a foreign one. */
LUA_API SklSpace *skl_space (lua_State *L);

/* Makes every name atoms that this VM has a string of its own for. Meant for
** one VM, made and closed before all others, that did what they will all do
** first (open libraries, set globals): they then share what they run from the
** start. Returns 1, or 0 when not all could be made atoms. */
LUA_API int skl_learn (lua_State *L);

/* The number of results the caller of the running C function wants: -1 for
** "all there are", else 0 and up. */
LUA_API int skl_nresults (lua_State *L);

/* The mode of the VM's code cache. A foreign VM is always SKL_CACHE_OFF. */
LUA_API int skl_cachemode (lua_State *L);

/* Sets it; no effect on a foreign VM or by a value that is no mode. */
LUA_API void skl_setcachemode (lua_State *L, int mode);

/* luaL_loadfilex through the cache: pushes the function, or a message, and
** returns the status. Slots: 1 result, up to 3 in between. May raise
** (memory). luaL_loadfilex itself is this function. */
LUA_API int skl_loadfile (lua_State *L, const char *filename, const char *mode);

/* Loads an embedded source through the cache. 'key' names the entry (its own
** name space, apart from file names); 'chunkname' is Lua's ("@path", "=name").
** On a hit 'buff' is not looked at. Slots, results, raising as above. */
LUA_API int skl_loadembedded (lua_State *L, const char *key, const char *buff,
                              size_t size, const char *chunkname);

/* Fills 'st'; all 0 for a foreign VM. */
LUA_API void skl_vmstats (lua_State *L, SklVmStats *st);

/*
** Upstream's additions to the C API.
*/

/* The uncached luaL_loadfilex. */
LUALIB_API int luaL_loadfilex_ (lua_State *L, const char *filename,
                                const char *mode);

/* Nothing to do here: spaces are made by skl_space_new. */
LUALIB_API void luaL_initcodecache (void);

/* Opens the library "skynet.codecache": clear, mode, loadfile. May raise. */
LUAMOD_API int luaopen_cache (lua_State *L);

/* Makes a shareable copy of the Lua function at 'idx'; see
** lua_clonefunction. May raise. */
LUA_API void lua_sharefunction (lua_State *L, int idx);

/* Makes the text of the string at 'idx' an atom where it can be one. May
** raise. */
LUA_API void lua_sharestring (lua_State *L, int idx);

/* Pushes a new function with the code of the shared function 'fp' (a pointer
** by lua_topointer, of any VM of the same space that is still open). Upvalues
** are nil, the first one is the table of globals. May raise. */
LUA_API void lua_clonefunction (lua_State *L, const void *fp);

/* Raises "Not a shared table": there are none yet. */
LUA_API void lua_clonetable (lua_State *L, const void *t);

#endif
