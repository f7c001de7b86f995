/*
 * Every code path of this machine against plain C, without Python: for processors that are only emulated.
 *
 *   cd edge_runtime/csrc
 *   FILES="$(ls *.c) ../../tests/edge_runtime/check_paths.c"
 *   cc -std=c11 -O3 -ffp-contract=off -fno-math-errno -I. $FILES -lm -o check_paths && ./check_paths
 *   zig cc -target aarch64-linux-musl -static (the same) && qemu-aarch64 -cpu cortex-a76 ./check_paths
 *
 * Prints a hash of all results, which is the same on every machine, and exits with 1 where a path differs.
 */

#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

static uint32_t seed = 1;

static uint8_t noise(void)
{
    seed = seed * 1664525u + 1013904223u;
    /* A quarter black or white, where clamping shows. */
    return seed >> 30 ? (uint8_t)(seed >> 20) : seed >> 29 & 1 ? 255 : 0;
}

static uint64_t hash(uint64_t h, const void *data, size_t size)
{
    for (const uint8_t *p = data; size--; p++)
        h = (h ^ *p) * 1099511628211u;
    return h;
}

static void expect(int status, const char *what)
{
    if (status != FG_OK) {
        printf("%s: %s\n", what, fg_status_name(status));
        exit(1);
    }
}

enum { WIDE = 64, SIDE = 90, ROWS = 200, LENGTH = 515, K = 7 };

static uint8_t frame_bytes[SIDE * SIDE * 3], scratch[1 << 16];
static _Alignas(64) float lut[768], image[WIDE * WIDE * 3];
static uint8_t luma[WIDE * WIDE];
static int8_t rows[ROWS * LENGTH];
static int32_t norms[ROWS];

static uint64_t pixels(int path)
{
    uint64_t h = 14695981039346656037u;
    static const int frames[][2] = {{90, 60}, {2, 2}, {31 * 2, 90}, {8, 8}};
    static const int targets[][2] = {{64, 64}, {33, 17}, {1, 1}, {50, 9}};
    static const double matrices[][6] = {
        {1, 0, 0, 0, 1, 0}, {.8, -.6, 12.25, .6, .8, -3.5}, {3.7, .2, -5, -.1, 4.1, 2}, {.1, 0, 3.3, 0, .1, 4.4}};
    for (int bent = 0; bent < 2; bent++) {
        for (int i = 0; i < 768; i++)
            lut[i] = ((float)(i % 256) - 127.5f) * 0.0078125f + (float)(bent && i % 7 == 0);
        for (int format = FG_RGB; format <= FG_YUYV; format++)
            for (int rotation = 0; rotation < 360; rotation += 90)
                for (size_t f = 0; f < 4; f++)
                    for (size_t t = 0; t < 4; t++) {
                        size_t n = (size_t)frames[f][0] * (size_t)frames[f][1];
                        size_t size = format < FG_GRAY     ? 3 * n
                                      : format == FG_GRAY  ? n
                                      : format == FG_YUYV ? 2 * n
                                                           : n + n / 2;
                        /* A copy that ends where its memory ends, so that valgrind and sanitizers see a byte too far. */
                        uint8_t *data = malloc(size);
                        if (!data)
                            exit(1);
                        memcpy(data, frame_bytes, size);
                        fg_frame frame = {data, size, frames[f][0], frames[f][1], format, rotation};
                        int w = targets[t][0], height = targets[t][1];
                        fg_target target = {image, sizeof(float) * 3 * (size_t)(w * height), lut, sizeof lut, w, height,
                                            FG_FLOAT32, (int)(t % 2)};
                        double scale;
                        expect(fg_letterbox(&frame, &target, path, scratch, sizeof scratch, &scale), "letterbox");
                        h = hash(h, image, target.size);
                        for (size_t m = 0; m < 4; m++) {
                            expect(fg_warp(&frame, matrices[m], 1 + (int)(m + t) % 3, (int)(m + f) % 3, &target, path,
                                           luma, (size_t)(w * height)),
                                   "warp");
                            h = hash(h, image, target.size);
                            h = hash(h, luma, (size_t)(w * height));
                        }
                        free(data);
                    }
    }
    return h;
}

static uint64_t search(int path)
{
    uint64_t h = 14695981039346656037u;
    for (int length = 1; length <= LENGTH; length += length < 140 ? 1 : 75) {
        expect(fg_norm(rows, sizeof rows, LENGTH, length, ROWS, norms, sizeof norms), "norm");
        fg_gallery gallery = {rows, sizeof rows, norms, sizeof norms, NULL, 0, LENGTH, length, ROWS};
        int32_t indices[K];
        double similarities[K];
        int found;
        expect(fg_search(&gallery, rows + 3 * LENGTH, (size_t)length, K, path, indices, sizeof indices, similarities,
                         sizeof similarities, &found),
               "search");
        h = hash(h, indices, sizeof indices);
        h = hash(h, similarities, sizeof similarities);
    }
    return h;
}

int main(void)
{
    static const char *const names[] = {"auto", "scalar", "avx2", "avx512vnni", "neon", "dotprod"};
    for (size_t i = 0; i < sizeof frame_bytes; i++)
        frame_bytes[i] = noise();
    for (size_t i = 0; i < sizeof rows; i++) {
        int value = (int8_t)noise();
        rows[i] = (int8_t)(i % LENGTH == 0 ? 127 : value == -128 ? -127 : value);
    }
    const uint64_t wanted = pixels(FG_SCALAR), wanted_search = search(FG_SCALAR);
    int wrong = 0;
    for (int path = FG_SCALAR; path <= FG_DOTPROD; path++) {
        if (fg_check_path(path) != FG_OK)
            continue;
        uint64_t p = pixels(path), s = search(path);
        bool same = p == wanted && s == wanted_search;
        printf("%-12s pixels %016llx search %016llx %s\n", names[path], (unsigned long long)p, (unsigned long long)s,
               same ? "same" : "DIFFERENT");
        wrong |= !same;
    }
    return wrong;
}
