/* Sharpness and brightness of a luma plane. */

#include "internal.h"

static int check_luma(const uint8_t *luma, size_t size, int width, int height, int least)
{
    if (!luma)
        return FG_ENULL;
    if (width < least || height < least || width > FG_MAX_SIDE || height > FG_MAX_SIDE)
        return FG_ERANGE;
    return (uint64_t)size == (uint64_t)width * (uint64_t)height ? FG_OK : FG_ESIZE;
}

int fg_sharpness(const uint8_t *luma, size_t size, int width, int height, double *sharpness)
{
    if (!sharpness)
        return FG_ENULL;
    int status = check_luma(luma, size, width, height, 3);
    if (status != FG_OK)
        return status;
    const ptrdiff_t row = width;
    int64_t sum = 0, squares = 0; /* |Laplacian| <= 1020, 2^28 pixels: far from overflow */
    for (int y = 1; y < height - 1; y++) {
        const uint8_t *p = luma + y * row;
        int32_t line = 0, line_squares[2] = {0};
        for (int x = 1; x < width - 1; x++) {
            int32_t l = 4 * p[x] - p[x - 1] - p[x + 1] - p[x - row] - p[x + row];
            line += l;
            line_squares[0] += l * l & 1023; /* 2^14 pixels of 2^20 would overflow 32 bits in one piece */
            line_squares[1] += l * l >> 10;
        }
        sum += line;
        squares += line_squares[0] + 1024 * (int64_t)line_squares[1];
    }
    double n = (double)(width - 2) * (double)(height - 2), mean = (double)sum / n;
    double variance = (double)squares / n - mean * mean;
    *sharpness = variance > 0 ? variance : 0;
    return FG_OK;
}

enum { PIECE = 240 }; /* bytes whose sum fits 16 bits and whose number fits 8: vectors of small numbers */

int fg_brightness(const uint8_t *luma, size_t size, int width, int height, double *mean, double *dark, double *bright)
{
    if (!mean || !dark || !bright)
        return FG_ENULL;
    int status = check_luma(luma, size, width, height, 1);
    if (status != FG_OK)
        return status;
    uint64_t sum = 0;
    uint32_t below = 0, above = 0;
    for (size_t from = 0; from < size; from += PIECE) {
        const size_t end = size - from < PIECE ? size : from + PIECE;
        uint16_t piece = 0;
        uint8_t dark_ones = 0, bright_ones = 0;
        for (size_t i = from; i < end; i++) {
            piece = (uint16_t)(piece + luma[i]);
            dark_ones = (uint8_t)(dark_ones + (luma[i] < 32));
            bright_ones = (uint8_t)(bright_ones + (luma[i] >= 224));
        }
        sum += piece;
        below += dark_ones;
        above += bright_ones;
    }
    *mean = (double)sum / (double)size;
    *dark = (double)below / (double)size;
    *bright = (double)above / (double)size;
    return FG_OK;
}
