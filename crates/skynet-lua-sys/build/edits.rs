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
];
