// Lua's headers for C++ (the library is C).
extern "C" {
#include "lua.h"
#include "lualib.h"
#include "lauxlib.h"
}
