// CUDA's vector types, with CUDA's alignment.
#pragma once

#include <cstdint>

#define LOWRANK_VECTOR_2(name, element, alignment)                      \
  struct alignas(alignment) name {                                      \
    element x, y;                                                       \
  };                                                                    \
  inline constexpr name make_##name(element x, element y) { return {x, y}; }
#define LOWRANK_VECTOR_4(name, element, alignment)                      \
  struct alignas(alignment) name {                                      \
    element x, y, z, w;                                                 \
  };                                                                    \
  inline constexpr name make_##name(element x, element y, element z, element w) { return {x, y, z, w}; }

LOWRANK_VECTOR_2(char2, signed char, 2)
LOWRANK_VECTOR_2(uchar2, unsigned char, 2)
LOWRANK_VECTOR_2(short2, short, 4)
LOWRANK_VECTOR_2(ushort2, unsigned short, 4)
LOWRANK_VECTOR_2(int2, int, 8)
LOWRANK_VECTOR_2(uint2, unsigned, 8)
LOWRANK_VECTOR_2(float2, float, 8)
LOWRANK_VECTOR_2(double2, double, 16)
LOWRANK_VECTOR_2(longlong2, long long, 16)
LOWRANK_VECTOR_2(ulonglong2, unsigned long long, 16)
LOWRANK_VECTOR_4(char4, signed char, 4)
LOWRANK_VECTOR_4(uchar4, unsigned char, 4)
LOWRANK_VECTOR_4(short4, short, 8)
LOWRANK_VECTOR_4(ushort4, unsigned short, 8)
LOWRANK_VECTOR_4(int4, int, 16)
LOWRANK_VECTOR_4(uint4, unsigned, 16)
LOWRANK_VECTOR_4(float4, float, 16)

#undef LOWRANK_VECTOR_2
#undef LOWRANK_VECTOR_4

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned in_x = 1, unsigned in_y = 1, unsigned in_z = 1) : x(in_x), y(in_y), z(in_z) {}
};
