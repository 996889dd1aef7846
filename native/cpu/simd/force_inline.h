// Functions that must melt into their caller: the registers of a kernel do not survive a call, and a copy
// that the compiler kept out of line could be linked into code for a lesser processor.
#pragma once

#if defined(__GNUC__)
#define LOWRANK_INLINE inline __attribute__((always_inline))
#elif defined(_MSC_VER)
#define LOWRANK_INLINE __forceinline
#else
#define LOWRANK_INLINE inline
#endif
