/*
** skltable.h: hash parts that VMs share; included by the edited ltable.c.
**
** The hash part of a library's table is the same in every VM. As long as a VM
** does not change such a table its 'node' points into a template
** (skltemplate.c) and bit BITSHARED of 'flags' is set. A shared part holds
** nothing of a VM: its keys and values are atoms, or no objects at all. So a
** collector need not look into it, and 'luaH_pset*' refuse to write: whoever
** finishes the operation has a 'lua_State' and makes the part the table's own
** first. The copy has the same nodes in the same places, so a node's index
** stays what it was, and so does the order of a traversal.
*/

#ifndef skltable_h
#define skltable_h

/* Bytes of the block of a hash part, 0 for none; 'node' is 'offset' behind
** its start. */
size_t skl_hashblock_ (Table *t, size_t *offset) {
  *offset = extraLastfree(t);
  return isdummy(t) ? 0 : sizehash(t);
}


/* Copies a hash part into the block at 'to'; returns the new 'node'. */
Node *skl_copyhash_ (Table *t, char *to) {
  size_t extra = extraLastfree(t);
  Node *node = (Node *)(to + extra);
  memcpy(to, cast_charp(t->node) - extra, sizehash(t));
  if (haslastfree(t))
    (cast(Limbox *, node) - 1)->lastfree = node + (getlastfree(t) - t->node);
  return node;
}


/* Makes a shared hash part the table's own. May raise (memory). */
static void unshare (lua_State *L, Table *t) {
  char *block = luaM_newblock(L, sizehash(t));
  t->node = skl_copyhash_(t, block);
  t->flags &= cast_byte(~BITSHARED);
}


void skl_unshare_ (lua_State *L, Table *t) {
  unshare(L, t);
}

#endif
