//! Our edits to Lua's sources: exact replacements, each of which must match
//! exactly once. Written for Lua 5.5.1; another version has to be read again
//! before these are adapted.

/// One replacement in one file.
pub struct Edit {
    pub file: &'static str,
    pub old: &'static str,
    pub new: &'static str,
}

pub const EDITS: &[Edit] = &[
    // A VM knows the atoms it looks among, and its record.
    Edit {
        file: "lstate.h",
        old: "  unsigned int seed;  /* randomized seed for hashes */\n",
        new: "  unsigned int seed;  /* randomized seed for hashes */\n  \
              struct SklAtoms *sklatoms;  /* names shared by VMs, or NULL */\n  \
              struct SklVm *skl;  /* record of the VM, NULL for a foreign one */\n",
    },
    // The record is set before start-up code interns its first string.
    Edit {
        file: "lstate.c",
        old: "LUA_API lua_State *lua_newstate (lua_Alloc f, void *ud, unsigned seed) {\n  int i;\n",
        new: "lua_State *skl_newstate_ (lua_Alloc f, void *ud, unsigned seed,\n                          \
              SklVm *skl) {\n  int i;\n",
    },
    Edit {
        file: "lstate.c",
        old: "  if (g == NULL) return NULL;\n  L = &g->mainth.l;\n",
        new: "  if (g == NULL) {\n    skl_vmclosed_(skl);\n    return NULL;\n  }\n  \
              g->skl = skl;\n  g->sklatoms = skl_vmatoms_(skl);\n  L = &g->mainth.l;\n",
    },
    // Chunks are dropped when nothing of the VM is left that could use them.
    Edit {
        file: "lstate.c",
        old: "  (*g->frealloc)(g->ud, g, sizeof(global_State), 0);  /* free main block */\n",
        new: "  {\n    SklVm *skl = g->skl;\n    \
              (*g->frealloc)(g->ud, g, sizeof(global_State), 0);  /* free main block */\n    \
              skl_vmclosed_(skl);\n  }\n",
    },
    Edit {
        file: "lstate.c",
        old: "#include \"ltm.h\"\n",
        new: "#include \"ltm.h\"\n#include \"sklimpl.h\"\n",
    },
    // A VM made from a template gets all it holds by copying.
    Edit {
        file: "lstate.c",
        old: "  init_registry(L, g);\n  luaS_init(L);\n  luaT_init(L);\n  luaX_init(L);\n",
        new: "  if (!skl_fromtemplate_(L)) {\n    init_registry(L, g);\n    luaS_init(L);\n    \
              luaT_init(L);\n    luaX_init(L);\n  }\n",
    },
    // Hash parts that VMs share (csrc/skltable.h): the mark, the few places
    // that write, and those that free, count or traverse.
    Edit {
        file: "ltable.h",
        old: "#define setnodummy(t)\t\t((t)->flags &= NOTBITDUMMY)\n",
        new: "/* the hash part is that of a template, see skltable.h */\n\
              #define BITSHARED\t\t(1 << 7)\n\
              #define isshared(t)\t\t((t)->flags & BITSHARED)\n\n\
              #define setnodummy(t)\t\t((t)->flags &= NOTBITDUMMY)\n",
    },
    Edit {
        file: "ltable.c",
        old: "#include \"lvm.h\"\n\n\n/*\n** Only hash parts",
        new: "#include \"lvm.h\"\n#include \"sklimpl.h\"\n\n\n/*\n** Only hash parts",
    },
    Edit {
        file: "ltable.c",
        old: "static void freehash (lua_State *L, Table *t) {\n  if (!isdummy(t)) {\n",
        new: "#include \"skltable.h\"\n\n\n\
              static void freehash (lua_State *L, Table *t) {\n  \
              if (!(t->flags & (BITDUMMY | BITSHARED))) {\n",
    },
    Edit {
        file: "ltable.c",
        old: "  int bitdummy1 = t1->flags & BITDUMMY;\n",
        new: "  const lu_byte bits = BITDUMMY | BITSHARED;\n  int bits1 = t1->flags & bits;\n",
    },
    Edit {
        file: "ltable.c",
        old: "  t1->flags = cast_byte((t1->flags & NOTBITDUMMY) | (t2->flags & BITDUMMY));\n",
        new: "  t1->flags = cast_byte((t1->flags & ~bits) | (t2->flags & bits));\n",
    },
    Edit {
        file: "ltable.c",
        old: "  t2->flags = cast_byte((t2->flags & NOTBITDUMMY) | bitdummy1);\n",
        new: "  t2->flags = cast_byte((t2->flags & ~bits) | bits1);\n",
    },
    Edit {
        file: "ltable.c",
        old: "  if (!isdummy(t))\n    sz += sizehash(t);\n",
        new: "  if (!(t->flags & (BITDUMMY | BITSHARED)))\n    sz += sizehash(t);\n",
    },
    Edit {
        file: "ltable.c",
        old: "  if (!ttisnil(value)) {  /* do not insert nil values */\n    int done = insertkey",
        new: "  if (!ttisnil(value)) {  /* do not insert nil values */\n    int done;\n    \
              if (l_unlikely(isshared(t))) unshare(L, t);\n    done = insertkey",
    },
    Edit {
        file: "ltable.c",
        old: "static int finishnodeset (Table *t, const TValue *slot, TValue *val) {\n  \
              if (!ttisnil(slot)) {\n",
        new: "static int finishnodeset (Table *t, const TValue *slot, TValue *val) {\n  \
              if (!ttisnil(slot) && l_likely(!isshared(t))) {\n",
    },
    Edit {
        file: "ltable.c",
        old: "  if (!ttisnil(slot)) {  /* key already has a value? (all too common) */\n",
        new: "  if (l_unlikely(isshared(t)))\n    return retpsetcode(t, slot);\n  \
              if (!ttisnil(slot)) {  /* key already has a value? (all too common) */\n",
    },
    Edit {
        file: "ltable.c",
        old: "  lua_assert(hres != HOK);\n  if (hres == HNOTFOUND) {\n",
        new: "  lua_assert(hres != HOK);\n  \
              if (l_unlikely(isshared(t)) && hres >= HFIRSTNODE)\n    unshare(L, t);\n  \
              if (hres == HNOTFOUND) {\n",
    },
    Edit {
        file: "ltable.c",
        old: "    int ok = rawfinishnodeset(getintfromhash(t, key), value);\n",
        new: "    int ok;\n    if (l_unlikely(isshared(t))) unshare(L, t);\n    \
              ok = rawfinishnodeset(getintfromhash(t, key), value);\n",
    },
    Edit {
        file: "lgc.c",
        old: "#define gnodelast(h)\tgnode(h, cast_sizet(sizenode(h)))\n",
        new: "#define gnodelast(h)\tgnode(h, isshared(h) ? 0 : cast_sizet(sizenode(h)))\n",
    },
    // The value that a shared part has must not be taken for an absent one, for
    // which a metamethod would be called.
    Edit {
        file: "lvm.c",
        old: "      Table *h = hvalue(t);  /* save 't' table */\n",
        new: "      Table *h = hvalue(t);  /* save 't' table */\n      \
              if (l_unlikely(isshared(h))) {\n        \
              sethvalue2s(L, L->top.p, h);  /* anchor 't' */\n        \
              L->top.p++;  /* assume EXTRA_STACK */\n        \
              skl_unshare_(L, h);\n        L->top.p--;\n        \
              hres = luaH_pset(h, key, val);\n        \
              if (hres == HOK) {\n          \
              luaC_barrierback(L, obj2gco(h), val);\n          return;\n        }\n      }\n",
    },
    Edit {
        file: "lvm.c",
        old: "#include \"lvm.h\"\n",
        new: "#include \"lvm.h\"\n#include \"sklimpl.h\"\n",
    },
    // The state of a VM's random numbers is in its record, so that table 'math'
    // holds no object of the VM. Seeded at the first use.
    Edit {
        file: "lmathlib.c",
        old: "static int math_random (lua_State *L) {\n",
        new: "LUAI_FUNC unsigned long long *skl_random_ (lua_State *L, size_t *salt);\n\n\
              static void setseed (lua_State *L, Rand64 *state,\n                     \
              lua_Unsigned n1, lua_Unsigned n2);\n\n\
              static RanState *randstate (lua_State *L) {\n  size_t salt;\n  \
              unsigned long long *r = skl_random_(L, &salt);\n  \
              if (r == NULL)  /* a VM without a record */\n    \
              return (RanState *)lua_touserdata(L, lua_upvalueindex(1));\n  \
              if ((r[0] | r[1] | r[2] | r[3]) == 0) {\n    \
              setseed(L, ((RanState *)r)->s, luaL_makeseed(L), (lua_Unsigned)salt);\n    \
              lua_pop(L, 2);  /* remove pushed seeds */\n  }\n  \
              return (RanState *)r;\n}\n\n\n\
              static int math_random (lua_State *L) {\n",
    },
    Edit {
        file: "lmathlib.c",
        old: "  RanState *state = (RanState *)lua_touserdata(L, lua_upvalueindex(1));\n  \
              Rand64 rv",
        new: "  RanState *state = randstate(L);\n  Rand64 rv",
    },
    Edit {
        file: "lmathlib.c",
        old: "  RanState *state = (RanState *)lua_touserdata(L, lua_upvalueindex(1));\n  \
              lua_Unsigned n1, n2;\n",
        new: "  RanState *state = randstate(L);\n  lua_Unsigned n1, n2;\n",
    },
    Edit {
        file: "lmathlib.c",
        old: "  RanState *state = (RanState *)lua_newuserdatauv(L, sizeof(RanState), 0);\n",
        new: "  RanState *state;\n  size_t salt;\n  \
              if (skl_random_(L, &salt) != NULL) {\n    \
              luaL_setfuncs(L, randfuncs, 0);\n    return;\n  }\n  \
              state = (RanState *)lua_newuserdatauv(L, sizeof(RanState), 0);\n",
    },
    // Interning falls back to the atoms.
    Edit {
        file: "lstring.c",
        old: "  /* else must create a new string */\n",
        new: "  if (g->sklatoms != NULL &&\n      \
              (ts = skl_findatom(g->sklatoms, str, l, h)) != NULL)\n    return ts;\n  \
              /* else must create a new string */\n",
    },
    Edit {
        file: "lstring.c",
        old: "unsigned luaS_hashlongstr (TString *ts) {\n",
        new: "unsigned skl_hash_ (const char *str, size_t l, unsigned seed) {\n  \
              return luaS_hash(str, l, seed);\n}\n\n\n\
              unsigned luaS_hashlongstr (TString *ts) {\n",
    },
    Edit {
        file: "lstring.c",
        old: "#include \"lstring.h\"\n",
        new: "#include \"lstring.h\"\n#include \"sklimpl.h\"\n",
    },
    // An atom needs no fixing, and is not the VM's to fix.
    Edit {
        file: "lgc.c",
        old: "  lua_assert(g->allgc == o);  /* object must be 1st in 'allgc' list! */\n",
        new: "  if (skl_isfrozen(o)) return;\n  \
              lua_assert(g->allgc == o);  /* object must be 1st in 'allgc' list! */\n",
    },
    // A floor for the pace of the collector.
    Edit {
        file: "lgc.c",
        old: "  if (debt < 0) debt = 0;\n  luaE_setdebt(g, debt);\n",
        new: "  if (debt < 0) debt = 0;\n  \
              if (g->skl != NULL && debt < SKL_GCFLOOR) debt = SKL_GCFLOOR;\n  \
              luaE_setdebt(g, debt);\n",
    },
    Edit {
        file: "lgc.c",
        old: "  luaE_setdebt(g, applygcparam(g, MINORMUL, g->GCmajorminor));\n",
        new: "  l_mem debt = applygcparam(g, MINORMUL, g->GCmajorminor);\n  \
              if (g->skl != NULL && debt < SKL_GCFLOOR) debt = SKL_GCFLOOR;\n  \
              luaE_setdebt(g, debt);\n",
    },
    Edit {
        file: "lgc.c",
        old: "#include \"ltm.h\"\n",
        new: "#include \"ltm.h\"\n#include \"sklimpl.h\"\n",
    },
    // A fault of stock Lua: in generational mode, when the block of the string
    // table cannot be made smaller, an emergency collection sweeps the table
    // while its strings have already moved (found by the hard memory tests).
    Edit {
        file: "lgc.c",
        old: "      luaS_resize(L, g->strt.size / 2);\n",
        new: "    {\n      lu_byte oldstopem = g->gcstopem;\n      \
              g->gcstopem = 1;\n      luaS_resize(L, g->strt.size / 2);\n      \
              g->gcstopem = oldstopem;\n    }\n",
    },
    // Atoms that are reserved words have their mark from birth.
    Edit {
        file: "llex.c",
        old: "    ts->extra = cast_byte(i+1);  /* reserved word */\n",
        new: "    if (!skl_isfrozen(ts))\n      \
              ts->extra = cast_byte(i+1);  /* reserved word */\n",
    },
    Edit {
        file: "llex.c",
        old: "  ls->glbn->extra = 0;  /* mark it as not reserved */\n",
        new: "  if (!skl_isfrozen(ls->glbn))\n    \
              ls->glbn->extra = 0;  /* mark it as not reserved */\n",
    },
    Edit {
        file: "llex.c",
        old: "#include \"ltable.h\"\n",
        new: "#include \"ltable.h\"\n#include \"sklimpl.h\"\n",
    },
    // 'luaL_loadfilex' goes through the cache (sklcache.c).
    Edit {
        file: "lauxlib.c",
        old: "LUALIB_API int luaL_loadfilex (lua_State *L, const char *filename,\n",
        new: "LUALIB_API int luaL_loadfilex_ (lua_State *L, const char *filename,\n",
    },
    Edit {
        file: "lualib.h",
        old: "#define LUA_UTF8LIBNAME\t\"utf8\"\n",
        new: "#define LUA_CACHELIB\n\
              LUAMOD_API int (luaopen_cache) (lua_State *L);\n\n\
              #define LUA_UTF8LIBNAME\t\"utf8\"\n",
    },
    // VMs that run the same each time (sklfixed.c): seeds, the time, and a hook
    // that is there when the program has set none.
    Edit {
        file: "lauxlib.c",
        old: "LUALIB_API unsigned int luaL_makeseed (lua_State *L) {\n  UNUSED(L);\n",
        new: "LUAI_FUNC int skl_makeseed_ (lua_State *L, unsigned *seed);\n\n\
              LUALIB_API unsigned int luaL_makeseed (lua_State *L) {\n  unsigned seed;\n  \
              if (skl_makeseed_(L, &seed)) return seed;\n",
    },
    Edit {
        file: "loslib.c",
        old: "static int os_clock (lua_State *L) {\n",
        new: "LUAI_FUNC int skl_time_ (lua_State *L, int which, unsigned long long *ns);\n\n\
              static time_t hosttime (lua_State *L) {\n  unsigned long long ns;\n  \
              return skl_time_(L, 0, &ns) ? (time_t)(ns / 1000000000) : time(NULL);\n}\n\n\n\
              static int os_clock (lua_State *L) {\n  unsigned long long ns;\n  \
              if (skl_time_(L, 1, &ns)) {\n    \
              lua_pushnumber(L, (lua_Number)ns / 1e9);\n    return 1;\n  }\n",
    },
    Edit {
        file: "loslib.c",
        old: "l_checktime, 2, time(NULL));\n",
        new: "l_checktime, 2, hosttime(L));\n",
    },
    Edit {
        file: "loslib.c",
        old: "    t = time(NULL);  /* get current time */\n",
        new: "    t = hosttime(L);  /* get current time */\n",
    },
    Edit {
        file: "ldebug.c",
        old: "    mask = 0;\n    func = NULL;\n  }\n",
        new: "    mask = 0;\n    func = NULL;\n    \
              skl_basehook_(L, &func, &mask, &count);\n  }\n",
    },
    Edit {
        file: "ldebug.c",
        old: "#include \"lvm.h\"\n",
        new: "#include \"lvm.h\"\n#include \"sklimpl.h\"\n",
    },
    Edit {
        file: "ldblib.c",
        old: "static int db_gethook (lua_State *L) {\n",
        new: "LUAI_FUNC int skl_nohook_ (lua_State *L, lua_Hook f);\n\n\
              static int db_gethook (lua_State *L) {\n",
    },
    Edit {
        file: "ldblib.c",
        old: "  if (hook == NULL) {  /* no hook? */\n",
        new: "  if (skl_nohook_(L1, hook)) {  /* no hook? */\n",
    },
];
