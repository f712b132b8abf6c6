/* What step.c uses of AVX-512, in plain C, as Intel's guide to its intrinsics tells it: its branches run anywhere. */

#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#define __AVX512F__ 1
#define __asm__(...) /* only holds a register that may not be there */

typedef struct { int8_t n[16]; } __m128i;
typedef struct { uint16_t n[16]; } __m256i;
typedef int32_t __m512i __attribute__((vector_size(64)));
typedef float __m512 __attribute__((vector_size(64)));

static inline __m128i _mm_loadu_si128(const __m128i *p) { __m128i y; memcpy(&y, p, sizeof y); return y; }
static inline __m256i _mm256_loadu_si256(const __m256i *p) { __m256i y; memcpy(&y, p, sizeof y); return y; }

static inline __m512i _mm512_cvtepi8_epi32(__m128i a) {
    __m512i y;
    for (int i = 0; i < 16; i++) y[i] = a.n[i];
    return y;
}

static inline __m512i _mm512_cvtepu16_epi32(__m256i a) {
    __m512i y;
    for (int i = 0; i < 16; i++) y[i] = a.n[i];
    return y;
}

static inline __m512 _mm512_cvtepi32_ps(__m512i a) { return __builtin_convertvector(a, __m512); }

#ifdef PRETEND_BF16
#define __AVX512BF16__ 1

typedef uint16_t __m512bh __attribute__((vector_size(64)));

static inline float pretend_float(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float y;
    memcpy(&y, &bits, sizeof y);
    return y;
}

static inline __m512bh _mm512_loadu_si512(const void *p) { __m512bh y; memcpy(&y, p, sizeof y); return y; }

/* The second vector becomes the lower half; to nearest, ties to even */
static inline __m512bh _mm512_cvtne2ps_pbh(__m512 a, __m512 b) {
    __m512bh y;
    for (int i = 0; i < 32; i++) {
        float x = i < 16 ? b[i] : a[i - 16];
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        y[i] = (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    }
    return y;
}

/* Each of 16 sums takes two neighbouring products */
static inline __m512 _mm512_dpbf16_ps(__m512 sums, __m512bh a, __m512bh b) {
    for (int i = 0; i < 16; i++) {
        sums[i] += pretend_float(a[2 * i + 1]) * pretend_float(b[2 * i + 1]);
        sums[i] += pretend_float(a[2 * i]) * pretend_float(b[2 * i]);
    }
    return sums;
}
#endif
