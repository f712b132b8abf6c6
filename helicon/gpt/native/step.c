/* Decode step of a GPT on a CPU: one new token per row, all layers and the output matrix, in one parallel region.

   Computes GPT.step and GPT.logits without a call per operation and without a copy of the weights: they are read where
   PyTorch keeps them, in float32, bfloat16, or int8 with one scale per output. Everything else is float32.
   Each sum has the same order for any batch and any number of threads, so results do not depend on either.

   Shapes: B rows, C width, H heads, D head width of values, E of queries and keys, T tokens that the KV cache holds,
   V tokens of the vocabulary slice. Within matrices: K inputs, R outputs computed at a time. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __AVX512F__
#include <immintrin.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#else
static int omp_get_thread_num(void) { return 0; }
static int omp_get_num_threads(void) { return 1; }
#endif

/* Keeps x in a register: compilers otherwise load it again for every product, and the loads become the bottleneck */
#if defined(__AVX512F__)
#define KEEP_IN_REGISTER(x) __asm__("" : "+v"(x))
#else
#define KEEP_IN_REGISTER(x)
#endif
#define INLINE static inline __attribute__((always_inline))
#define LANES 16 /* float32 numbers of a 64-byte vector */
#define PREFETCH_BYTES 8192 /* distance of explicit prefetches: rows of a matrix are too short for hardware prefetching */
#define TILE_ROWS 4 /* outputs, and */
#define TILE_BATCH 5 /* rows of the batch, computed at a time: 20 accumulators of 32 registers, the rest for operands */

typedef float vec __attribute__((vector_size(64)));
typedef float half __attribute__((vector_size(32)));
typedef float quarter __attribute__((vector_size(16)));
typedef int32_t ivec __attribute__((vector_size(64)));
typedef float vec_at __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t uvec __attribute__((vector_size(64)));

/* Numbered as KINDS and ACTIVATIONS of step.py */
enum { FLOAT32, BFLOAT16, INT8 };
enum { GELU, QUICK_GELU, RELU2, SWIGLU };

typedef struct { const void *weight; const float *scale; const float *bias; int64_t outputs, inputs, kind; } Linear;
typedef struct { const float *weight, *bias; } Norm; /* either may be NULL */
typedef struct {
    Norm norm_1, q_norm, k_norm, norm_2;
    Linear qkv, out, up, down;
    const int32_t *keys; /* [queries, keys_count] positions in the slot, -1 where not valid; NULL: all up to the query */
    int64_t keys_count;
    void *k_cache, *v_cache; /* [B, H, T, D] */
} Layer;
typedef struct {
    const Layer *layers;
    int64_t layer_count, width, heads, head, qk_head, normalise_qk, rms, activation, rope, mlp_width, prefix;
    int64_t cache_kind, cache_length, axes, table_kind, threads;
    const void *tokens, *coords; /* embedding tables of tokens and coordinates */
    Norm norm;
    float *x, *angles, *shared, *scratch; /* [B, C]; [B, E]; [B, shared_width]; [threads, scratch_size] */
    int64_t shared_width, scratch_size;
} Model;

/* ---- numbers ---- */

INLINE float from_bf16(uint16_t x) { uint32_t bits = (uint32_t)x << 16; float y; memcpy(&y, &bits, 4); return y; }

INLINE uint16_t to_bf16(float x) { /* to nearest, ties to even */
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

INLINE float get(const void *p, int kind, int64_t i) {
    if (kind == FLOAT32) return ((const float *)p)[i];
    return kind == BFLOAT16 ? from_bf16(((const uint16_t *)p)[i]) : (float)((const int8_t *)p)[i];
}

INLINE void put(void *p, int kind, int64_t i, float x) {
    if (kind == FLOAT32) ((float *)p)[i] = x;
    else ((uint16_t *)p)[i] = to_bf16(x);
}

#if defined(__AVX512F__) /* conversions that compilers do not vectorise like this */
INLINE vec from_bytes(const int8_t *p) { return (vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p))); }
INLINE uvec from_halves(const uint16_t *p) { return (uvec)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)); }
#else
INLINE vec from_bytes(const int8_t *p) {
    vec y;
    for (int i = 0; i < LANES; i++) y[i] = p[i];
    return y;
}
INLINE uvec from_halves(const uint16_t *p) {
    uvec y;
    for (int i = 0; i < LANES; i++) y[i] = p[i];
    return y;
}
#endif

INLINE vec load(const void *p, int kind, int64_t i) {
    if (kind == FLOAT32) return *(const vec_at *)((const float *)p + i);
    if (kind == BFLOAT16) return (vec)(from_halves((const uint16_t *)p + i) << 16);
    return from_bytes((const int8_t *)p + i);
}

INLINE float sum(vec a) {
    half halves[2];
    quarter quarters[2];
    memcpy(halves, &a, sizeof a);
    halves[0] += halves[1];
    memcpy(quarters, halves, sizeof quarters);
    quarters[0] += quarters[1];
    return (quarters[0][0] + quarters[0][2]) + (quarters[0][1] + quarters[0][3]);
}

/* e^x = 2^n e^r, |r| <= ln 2 / 2, with the polynomial and split ln 2 of Cephes' expf; relative error about 1e-7.
   0 below -87, e^88 from 88 on */
INLINE vec exponential(vec x) {
    vec low = (vec){0} - 87.0f, high = (vec){0} + 88.0f, n_rounding = (vec){0} + 12582912.0f; /* 1.5 x 2^23: adding it rounds to integers */
    ivec under = x < low, over = x > high; /* beyond, 2^n is no normal float */
    x = (vec)(((ivec)x & ~(under | over)) | ((ivec)low & under) | ((ivec)high & over));
    vec n = (x * 1.44269504f + n_rounding) - n_rounding;
    vec r = x - n * 0.693359375f - n * -2.12194440e-4f;
    vec y = ((((1.98756915e-4f * r + 1.39819995e-3f) * r + 8.33345190e-3f) * r + 4.16657962e-2f) * r + 1.66666655e-1f) * r;
    y = (y + 0.5f) * r * r + r + 1.0f;
    ivec power = (__builtin_convertvector(n, ivec) + 127) << 23;
    return (vec)((ivec)(y * (vec)power) & ~under);
}

INLINE vec sigmoid(vec x) { return 1.0f / (1.0f + exponential(-x)); }

/* tanh form of GELU: x (1 + tanh u) / 2 = x sigmoid(2 u), u = sqrt(2 / pi) (x + .044715 x^3) */
INLINE vec activate(vec x, int kind) {
    if (kind == GELU) return x * sigmoid(1.5957691216f * (x + 0.044715f * x * x * x));
    if (kind == QUICK_GELU) return x * sigmoid(1.702f * x);
    if (kind == SWIGLU) return x * sigmoid(x);
    ivec positive = x > 0;
    x = (vec)((ivec)x & positive);
    return x * x;
}

/* Activates numbers first .. last - 1 of a row; for swiglu, multiplies by the numbers `width` further on */
static void activate_row(float *y, int64_t width, int kind, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; i += LANES) {
        int64_t count = last - i < LANES ? last - i : LANES;
        vec x = {0}, gate = (vec){0} + 1;
        memcpy(&x, y + i, count * sizeof(float));
        if (kind == SWIGLU) memcpy(&gate, y + width + i, count * sizeof(float));
        x = activate(x, kind) * gate;
        memcpy(y + i, &x, count * sizeof(float));
    }
}

INLINE float dot(const float *a, const void *b, int kind, int64_t n) {
    vec total = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) total += load(a, FLOAT32, i) * load(b, kind, i);
    float rest = sum(total);
    for (; i < n; i++) rest += a[i] * get(b, kind, i);
    return rest;
}

/* ---- matrices ---- */

/* y = x W^T + bias, or with `add` y += x W^T + bias. Rows of x and y are x_width and y_width numbers apart; x is
   float32, or bfloat16 where functions take `halves` */
typedef struct { const Linear *m; const void *x; int64_t x_width; float *y; int64_t y_width; int add; } Product;

INLINE int64_t size_of(int kind) { return kind == FLOAT32 ? 4 : kind == BFLOAT16 ? 2 : 1; }

/* Adds products of R rows of the matrix, from `w` on, and `many` rows of x. Returns the inputs done: complete vectors */
INLINE int64_t accumulate(vec total[TILE_ROWS][TILE_BATCH], const char *w, int kind, int R, int64_t K, const float *x, int64_t x_width, int many) {
    int64_t k = 0, size = size_of(kind);
    for (const char *ahead = w + PREFETCH_BYTES; k + LANES <= K; k += LANES, ahead += R * LANES * size) {
        vec rows[TILE_ROWS];
        for (int64_t i = 0; i < R * LANES * size; i += 64) __builtin_prefetch(ahead + i);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) rows[r] = load(w + r * K * size, kind, k);
#pragma GCC unroll 5
        for (int b = 0; b < many; b++) {
            vec column = load(x + b * x_width, FLOAT32, k);
            KEEP_IN_REGISTER(column);
#pragma GCC unroll 4
            for (int r = 0; r < R; r++) total[r][b] += rows[r] * column;
        }
    }
    return k;
}

#if defined(__AVX512BF16__) /* dot products of pairs of bfloat16 in one instruction; int8 is exact in bfloat16 */
#define HALVES 1
INLINE __m512bh load_halves(const void *p, int kind, int64_t i) {
    if (kind == BFLOAT16) return (__m512bh)_mm512_loadu_si512((const uint16_t *)p + i);
    return _mm512_cvtne2ps_pbh((__m512)load(p, kind, i + LANES), (__m512)load(p, kind, i));
}

INLINE int64_t accumulate_halves(vec total[TILE_ROWS][TILE_BATCH], const char *w, int kind, int R, int64_t K, const uint16_t *x, int64_t x_width, int many) {
    int64_t k = 0, size = size_of(kind);
    for (const char *ahead = w + PREFETCH_BYTES; k + 2 * LANES <= K; k += 2 * LANES, ahead += 2 * R * LANES * size) {
        __m512bh rows[TILE_ROWS];
        for (int64_t i = 0; i < 2 * R * LANES * size; i += 64) __builtin_prefetch(ahead + i);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) rows[r] = load_halves(w + r * K * size, kind, k);
#pragma GCC unroll 5
        for (int b = 0; b < many; b++) {
            __m512bh column = load_halves(x + b * x_width, BFLOAT16, k);
            KEEP_IN_REGISTER(column);
#pragma GCC unroll 4
            for (int r = 0; r < R; r++) total[r][b] = (vec)_mm512_dpbf16_ps((__m512)total[r][b], rows[r], column);
        }
    }
    return k;
}
#else
#define HALVES 0
#define accumulate_halves(total, w, kind, R, K, x, x_width, many) 0
#endif

/* Computes y[b .. b + many - 1, n .. n + R - 1] */
INLINE void tile(const Product *p, int kind, int halves, int64_t n, int R, int64_t b, int many) {
    const Linear *m = p->m;
    int64_t K = m->inputs, size = size_of(kind), k;
    const char *w = (const char *)m->weight + n * K * size, *x = (const char *)p->x + b * p->x_width * (halves ? 2 : 4);
    vec total[TILE_ROWS][TILE_BATCH] = {{{0}}};
    if (halves) k = accumulate_halves(total, w, kind, R, K, (const uint16_t *)x, p->x_width, many);
    else k = accumulate(total, w, kind, R, K, (const float *)x, p->x_width, many);
    for (int i = 0; i < many; i++)
        for (int r = 0; r < R; r++) {
            float s = sum(total[r][i]);
            for (int64_t j = k; j < K; j++) s += get(w + r * K * size, kind, j) * get(x, halves ? BFLOAT16 : FLOAT32, i * p->x_width + j);
            if (m->scale) s *= m->scale[n + r];
            if (m->bias) s += m->bias[n + r];
            float *to = p->y + (b + i) * p->y_width + n + r;
            *to = p->add ? *to + s : s;
        }
}

/* Computes outputs first .. last - 1 of all rows. Outputs that fill no tile are few, and go one by one. */
INLINE void outputs(const Product *p, int kind, int halves, int64_t B, int64_t first, int64_t last) {
    int64_t n = first;
    for (; n + TILE_ROWS <= last; n += TILE_ROWS) {
        int64_t b = 0;
        for (; b + TILE_BATCH <= B; b += TILE_BATCH) tile(p, kind, halves, n, TILE_ROWS, b, TILE_BATCH);
        switch (B - b) {
            case 1: tile(p, kind, halves, n, TILE_ROWS, b, 1); break;
            case 2: tile(p, kind, halves, n, TILE_ROWS, b, 2); break;
            case 3: tile(p, kind, halves, n, TILE_ROWS, b, 3); break;
            case 4: tile(p, kind, halves, n, TILE_ROWS, b, 4); break;
        }
    }
    for (; n < last; n++)
        for (int64_t b = 0; b < B; b++) tile(p, kind, halves, n, 1, b, 1);
}

/* Computes outputs first .. last - 1 of B rows. `workspace` takes x rounded to bfloat16, where products need it. */
static void linear(const Linear *m, const float *x, int64_t x_width, int64_t B, float *y, int64_t y_width, int add, int64_t first, int64_t last, void *workspace) {
    int64_t K = m->inputs;
    Product p = {m, x, x_width, y, y_width, add};
    if (HALVES && m->kind != FLOAT32) {
        uint16_t *rounded = workspace;
        for (int64_t b = 0; b < B; b++)
            for (int64_t k = 0; k < K; k++) rounded[b * K + k] = to_bf16(x[b * x_width + k]);
        p.x = rounded, p.x_width = K;
    }
    switch (m->kind) {
        case FLOAT32: outputs(&p, FLOAT32, 0, B, first, last); break;
        case BFLOAT16: outputs(&p, BFLOAT16, HALVES, B, first, last); break;
        case INT8: outputs(&p, INT8, HALVES, B, first, last); break;
    }
}

/* Outputs first .. last - 1 of n for a thread, in complete tiles */
INLINE void share(int64_t n, int64_t thread, int64_t threads, int64_t *first, int64_t *last) {
    int64_t size = ((n + threads - 1) / threads + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    *first = thread * size < n ? thread * size : n;
    *last = *first + size < n ? *first + size : n;
}

/* LayerNorm, or RMSNorm with `rms` */
static void normalise(const Norm *norm, const float *x, int64_t n, int rms, float *y) {
    float mean = 0, square = 0;
    if (!rms) {
        for (int64_t i = 0; i < n; i++) mean += x[i];
        mean /= n;
    }
    for (int64_t i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean);
    float scale = 1 / sqrtf(square / n + 1e-5f); /* NORM_EPS of gpt/layer.py */
    for (int64_t i = 0; i < n; i++) {
        float z = (x[i] - mean) * scale;
        y[i] = z * (norm->weight ? norm->weight[i] : 1) + (norm->bias ? norm->bias[i] : 0);
    }
}

/* ---- attention ---- */

/* Rotary embedding as in gpt/rotary.py, feature i with feature i + count: cosines, then sines, of a position */
static void angles_of(int64_t position, int64_t count, float *angles) {
    for (int64_t i = 0; i < count; i++) {
        double angle = position * pow(10000.0, -(double)i / count);
        angles[i] = (float)cos(angle), angles[count + i] = (float)sin(angle);
    }
}

INLINE void rotate(float *x, int64_t n, const float *angles) {
    int64_t count = n / 2;
    for (int64_t i = 0; i < count; i++) {
        float a = x[i], b = x[count + i], c = angles[i], s = angles[count + i];
        x[i] = a * c - b * s, x[count + i] = a * s + b * c;
    }
}

/* Lists the positions of a query's keys: the prefix up to itself, then the valid ones of its row of the key table */
static int64_t listed(const Model *m, const Layer *l, int64_t query, int64_t position, int32_t *list) {
    int64_t n = 0;
    for (; n < m->prefix && n <= position; n++) list[n] = (int32_t)n;
    const int32_t *keys = l->keys + query * l->keys_count;
    for (int64_t k = 0; k < l->keys_count; k++)
        if (keys[k] >= 0) list[n++] = keys[k] + (int32_t)m->prefix;
    return n;
}

/* Sums n value rows times their weights; `list` has their positions, NULL for 0 .. n - 1 */
INLINE void weighted_sum(const Model *m, const char *values, int kind, const int32_t *list, const float *weights, int64_t n, float *out) {
    int64_t D = m->head, d = 0, size = kind == FLOAT32 ? 4 : 2;
    for (; d + 4 * LANES <= D; d += 4 * LANES) {
        vec total[4] = {{0}};
        for (int64_t i = 0; i < n; i++) {
            const char *row = values + (list ? list[i] : i) * D * size;
            for (int j = 0; j < 4; j++) total[j] += weights[i] * load(row, kind, d + j * LANES);
        }
        memcpy(out + d, total, sizeof total);
    }
    for (; d + LANES <= D; d += LANES) {
        vec total = {0};
        for (int64_t i = 0; i < n; i++) total += weights[i] * load(values + (list ? list[i] : i) * D * size, kind, d);
        memcpy(out + d, &total, sizeof total);
    }
    for (; d < D; d++) {
        out[d] = 0;
        for (int64_t i = 0; i < n; i++) out[d] += weights[i] * get(values + (list ? list[i] : i) * D * size, kind, d);
    }
}

/* Softmax of n scores, in place; the LANES numbers after them are overwritten */
static void softmax(float *scores, int64_t n) {
    float most = scores[0];
    for (int64_t i = 1; i < n; i++) most = scores[i] > most ? scores[i] : most;
    for (int64_t i = n; i < n + LANES; i++) scores[i] = -INFINITY;
    vec total = {0};
    for (int64_t i = 0; i < n; i += LANES) {
        vec weights = exponential(load(scores, FLOAT32, i) - most);
        memcpy(scores + i, &weights, sizeof weights);
        total += weights;
    }
    float scale = 1 / sum(total);
    for (int64_t i = 0; i < n; i++) scores[i] *= scale;
}

/* Normalises and rotates a head's query and key, writes key and value to the cache, attends. The output replaces the value */
INLINE void attend_head(const Model *m, const Layer *l, int kind, int64_t b, int64_t h, int64_t position, int64_t query, float *qkv, float *scratch) {
    int64_t D = m->head, E = m->qk_head, H = m->heads, T = m->cache_length, size = kind == FLOAT32 ? 4 : 2;
    float *q = qkv + h * E, *k = qkv + (H + h) * E, *v = qkv + 2 * H * E + h * D;
    if (m->normalise_qk) normalise(&l->q_norm, q, E, 1, q), normalise(&l->k_norm, k, E, 1, k);
    if (m->rope) rotate(q, E, m->angles + b * E), rotate(k, E, m->angles + b * E);
    char *keys = (char *)l->k_cache + (b * H + h) * T * D * size, *values = (char *)l->v_cache + (b * H + h) * T * D * size;
    for (int64_t d = 0; d < D; d++) {
        put(keys, kind, position * D + d, d < E ? k[d] : 0);
        put(values, kind, position * D + d, v[d]);
    }
    int32_t *list = l->keys ? (int32_t *)scratch : NULL;
    int64_t n = list ? listed(m, l, query, position, list) : position + 1;
    float *scores = list ? scratch + n : scratch; /* each key is listed once, so n <= T */
    float scale = 1 / sqrtf((float)E);
    for (int64_t i = 0; i < n; i++) scores[i] = scale * dot(q, keys + (list ? list[i] : i) * D * size, kind, E);
    if (n) softmax(scores, n);
    weighted_sum(m, values, kind, list, scores, n, v);
}

/* ---- the step ---- */

INLINE void embed(const Model *m, int64_t id, const int64_t *coord_ids, float *x) {
    for (int64_t i = 0; i < m->width; i++) {
        x[i] = get(m->tokens, (int)m->table_kind, id * m->width + i);
        for (int64_t a = 0; a < m->axes; a++) x[i] += get(m->coords, (int)m->table_kind, coord_ids[a] * m->width + i);
    }
}

/* Computes logits [B, V] of the next tokens from ids [B], coordinate ids [B, A], positions [B], and the queries' rows [B]
   in the layers' key tables */
void helicon_step(const Model *m, const Linear *head, int64_t B, const int64_t *ids, const int64_t *coord_ids,
                  const int64_t *positions, const int64_t *queries, float *logits) {
#pragma omp parallel num_threads((int)m->threads)
    {
        int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads(); /* may be fewer than m->threads */
        int64_t C = m->width, H = m->heads, M = m->mlp_width, S = m->shared_width, first, last;
        float *normed = m->scratch + thread * m->scratch_size, *workspace = normed + B * C; /* of this thread */
        share(B, thread, threads, &first, &last);
        for (int64_t b = first; b < last; b++) {
            embed(m, ids[b], coord_ids + b * m->axes, m->x + b * C);
            if (m->rope) angles_of(positions[b], m->qk_head / 2, m->angles + b * m->qk_head);
        }
#pragma omp barrier
        for (const Layer *l = m->layers; l < m->layers + m->layer_count; l++) {
            for (int64_t b = 0; b < B; b++) normalise(&l->norm_1, m->x + b * C, C, (int)m->rms, normed + b * C);
            share(l->qkv.outputs, thread, threads, &first, &last);
            linear(&l->qkv, normed, C, B, m->shared, S, 0, first, last, workspace);
#pragma omp barrier
            for (int64_t task = thread; task < B * H; task += threads) {
                int64_t b = task / H, h = task % H;
                if (m->cache_kind == FLOAT32) attend_head(m, l, FLOAT32, b, h, positions[b], queries[b], m->shared + b * S, workspace);
                else attend_head(m, l, BFLOAT16, b, h, positions[b], queries[b], m->shared + b * S, workspace);
            }
#pragma omp barrier
            share(C, thread, threads, &first, &last); /* the outputs of the heads have replaced their values */
            linear(&l->out, m->shared + 2 * H * m->qk_head, S, B, m->x, C, 1, first, last, workspace);
#pragma omp barrier
            for (int64_t b = 0; b < B; b++) normalise(&l->norm_2, m->x + b * C, C, (int)m->rms, normed + b * C);
            share(M, thread, threads, &first, &last);
            linear(&l->up, normed, C, B, m->shared, S, 0, first, last, workspace);
            if (m->activation == SWIGLU) linear(&l->up, normed, C, B, m->shared, S, 0, M + first, M + last, workspace);
            for (int64_t b = 0; b < B; b++) activate_row(m->shared + b * S, M, (int)m->activation, first, last);
#pragma omp barrier
            share(C, thread, threads, &first, &last);
            linear(&l->down, m->shared, S, B, m->x, C, 1, first, last, workspace);
#pragma omp barrier
        }
        for (int64_t b = 0; b < B; b++) normalise(&m->norm, m->x + b * C, C, (int)m->rms, normed + b * C);
        share(head->outputs, thread, threads, &first, &last);
        linear(head, normed, C, B, logits, head->outputs, 0, first, last, workspace);
    }
}
