/* A plugin of qemu-user (plugin API 1: Debian 12's qemu 7.2 and newer) that counts the instructions which a program
 * executes: all of them and by class.
 *
 *     cc -O2 -fPIC -shared -o icount.so icount.c
 *     qemu-aarch64 -plugin icount.so[,out=counts.txt] program
 *
 * Lines go to standard error or to the file, one when the guest calls syscall(0x5EED, T), which fails and does no harm,
 *
 *     icount before-mark-T all=N simd=N ...    what was executed since the mark before (or the start)
 *
 * and one at the end, always the last:
 *
 *     icount TOTAL all=N simd=N ...            what was executed in all
 *
 * Classes of AArch64 (a 32-bit guest has only `all`). The first four divide what there is by the top-level table of the
 * Arm ARM; the others name the extensions of the architecture that not every core has, by the encodings in chapter C4:
 *
 *     simd ldst branch   SIMD and floating-point data processing; loads and stores; branches and system
 *     dotprod            SDOT, UDOT                                    (Armv8.2; Cortex-A76 has it, A72 has not)
 *     fp16               arithmetic on half-precision numbers          (Armv8.2; likewise)
 *     rdm                SQRDMLAH, SQRDMLSH                            (Armv8.1; likewise)
 *     lse                atomic instructions: CAS, LDADD, SWP, ...     (Armv8.1; likewise)
 *     rcpc               LDAPR                                         (Armv8.3; likewise)
 *     fhm i8mm bf16 sve  FMLAL; USDOT, SMMLA; BFDOT, BFMMLA; SVE       (neither has them)
 *     crypto             AES, SHA, PMULL: optional in each core        (a Raspberry Pi 4 has none)
 *
 * A translation block is counted as a whole when it is entered. Counters are not atomic: with several threads at work
 * a few counts are lost, so count a single thread. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

/* What is used of qemu-plugin.h, which no package of Debian has. */
typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*tb_callback)(plugin_id, struct qemu_plugin_tb *);
typedef void (*syscall_callback)(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                 uint64_t, uint64_t, uint64_t);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, tb_callback);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int operation, void *counter, uint64_t addend);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, syscall_callback);
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
enum { ADD = 0 };
EXPORT int qemu_plugin_version = 1;

enum class { ALL, SIMD, LDST, BRANCH, DOTPROD, FP16, RDM, LSE, RCPC, FHM, I8MM, BF16, SVE, CRYPTO, CLASSES };
static const char *const names[CLASSES] = {"all", "simd", "ldst", "branch", "dotprod", "fp16", "rdm",
                                           "lse", "rcpc", "fhm",  "i8mm",   "bf16",    "sve",  "crypto"};

/* The first row that fits decides. */
static const struct {
    uint32_t mask, value;
    uint8_t class;
} rows[] = {
    {0x9FE0FC00, 0x0E809400, DOTPROD}, /* SDOT, UDOT (vector) */
    {0x9FC0F400, 0x0F80E000, DOTPROD}, /* SDOT, UDOT (by element) */
    {0xBFE0FC00, 0x0E809C00, I8MM},    /* USDOT (vector) */
    {0xBF40F400, 0x0F00F000, I8MM},    /* USDOT, SUDOT (by element) */
    {0xDFE0F400, 0x4E80A400, I8MM},    /* SMMLA, UMMLA, USMMLA */
    {0xBFE0FC00, 0x2E40FC00, BF16},    /* BFDOT (vector) */
    {0xBFC0F400, 0x0F40F000, BF16},    /* BFDOT (by element) */
    {0xFFE0FC00, 0x6E40EC00, BF16},    /* BFMMLA */
    {0xBFE0FC00, 0x2EC0FC00, BF16},    /* BFMLALB, BFMLALT (vector) */
    {0xBFC0F400, 0x0FC0F000, BF16},    /* BFMLALB, BFMLALT (by element) */
    {0xFFFFFC00, 0x1E634000, BF16},    /* BFCVT */
    {0xBFFFFC00, 0x0EA16800, BF16},    /* BFCVTN */
    {0xBF60FC00, 0x0E20EC00, FHM},     /* FMLAL, FMLSL */
    {0xBF60FC00, 0x2E20CC00, FHM},     /* FMLAL2, FMLSL2 */
    {0xBFC0B400, 0x0F800000, FHM},     /* FMLAL, FMLSL (by element) */
    {0xBFC0B400, 0x2F808000, FHM},     /* FMLAL2, FMLSL2 (by element) */
    {0xBF20F400, 0x2E008400, RDM},     /* SQRDMLAH, SQRDMLSH (vector) */
    {0xFF20F400, 0x7E008400, RDM},     /* ... (scalar) */
    {0xBF00D400, 0x2F00D000, RDM},     /* ... (by element) */
    {0xFF00D400, 0x7F00D000, RDM},     /* ... (scalar by element) */
    {0xFFFF7C00, 0x1EE24000, SIMD},    /* FCVT from half to single and double: every core has it */
    {0x7F20FC00, 0x1E204000, SIMD},    /* (and to half, which bears another type) */
    {0x5FE00000, 0x1EE00000, FP16},    /* scalar half precision */
    {0x5FE00000, 0x1EC00000, FP16},    /* conversions to and from fixed point */
    {0xFFC00000, 0x1FC00000, FP16},    /* FMADD ... */
    {0x9F60C400, 0x0E400400, FP16},    /* vector, three registers */
    {0x9F7E0C00, 0x0E780800, FP16},    /* vector, two registers */
    {0xDF60C400, 0x5E400400, FP16},    /* scalar of SIMD, three registers */
    {0xDF7E0C00, 0x5E780800, FP16},    /* scalar of SIMD, two registers */
    {0xFF7FEC00, 0x5E30C800, FP16},    /* pairwise: FMAXNMP, FMINNMP; FADDP below */
    {0xFFFFFC00, 0x5E30D800, FP16},    /* FADDP */
    {0xFF7FFC00, 0x5E30F800, FP16},    /* FMAXP, FMINP */
    {0xBF7FCC00, 0x0E30C800, FP16},    /* across lanes: FMAXNMV, FMAXV, FMINNMV, FMINV */
    {0x8FC0B400, 0x0F001000, FP16},    /* FMLA, FMLS by element (scalar: bit 28) */
    {0x8FC0F400, 0x0F009000, FP16},    /* FMUL, FMULX by element */
    {0xBFF8FC00, 0x0F00FC00, FP16},    /* FMOV of an immediate */
    {0x8FF0FC00, 0x0F10E400, FP16},    /* SCVTF, UCVTF of fixed point */
    {0x8FF0FC00, 0x0F10FC00, FP16},    /* FCVTZS, FCVTZU to fixed point */
    {0x3FFFFC00, 0x38BFC000, RCPC},    /* LDAPR */
    {0x3F200C00, 0x38200000, LSE},     /* LDADD, LDCLR, LDEOR, LDSET, SWP, ... */
    {0x3FA07C00, 0x08A07C00, LSE},     /* CAS */
    {0xBFA07C00, 0x08207C00, LSE},     /* CASP */
    {0xFF3E0C00, 0x4E280800, CRYPTO},  /* AES */
    {0xFF208C00, 0x5E000000, CRYPTO},  /* SHA, three registers */
    {0xFF3E0C00, 0x5E280800, CRYPTO},  /* SHA, two registers */
    {0xBFE0FC00, 0x0EE0E000, CRYPTO},  /* PMULL of 64 bits */
    {0x1E000000, 0x04000000, SVE},     /* SVE */
    {0x0A000000, 0x08000000, LDST},    /* loads and stores: x1x0 in bits 28:25 */
    {0x0E000000, 0x0E000000, SIMD},    /* SIMD and floating point: x111 */
    {0x1C000000, 0x14000000, BRANCH},  /* branches, system: 101x */
};

static uint64_t executed[CLASSES], before[CLASSES];
static bool wide;
static FILE *to;

static int classify(uint32_t word)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if ((word & rows[i].mask) == rows[i].value) {
            return rows[i].class;
        }
    }
    return ALL;
}

/* For the tests of the table above: the name of an instruction's class. */
EXPORT const char *icount_class(uint32_t word)
{
    return names[classify(word)];
}

static void translated(plugin_id id, struct qemu_plugin_tb *block)
{
    uint64_t in_block[CLASSES] = {0};
    (void)id;
    in_block[ALL] = qemu_plugin_tb_n_insns(block);
    for (size_t i = 0; wide && i < in_block[ALL]; i++) {
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)), sizeof word);
        const int class = classify(word);
        if (class != ALL) {
            in_block[class]++;
        }
        /* The classes of extensions are parts of the first four. */
        if (class == LSE || class == RCPC) {
            in_block[LDST]++;
        } else if (class > BRANCH && class != SVE) {
            in_block[SIMD]++;
        }
    }
    for (int class = 0; class < CLASSES; class++) {
        if (in_block[class]) {
            qemu_plugin_register_vcpu_tb_exec_inline(block, ADD, &executed[class], in_block[class]);
        }
    }
}

/* One write a line, so that a guest's own output does not get into it. */
static void line(const char *tag, const uint64_t since[CLASSES])
{
    char text[1024];
    int used = snprintf(text, sizeof text, "icount %s", tag);
    for (int class = 0; class < (wide ? CLASSES : 1); class++) {
        used += snprintf(text + used, sizeof text - (size_t)used, " %s=%llu", names[class],
                         (unsigned long long)(executed[class] - since[class]));
    }
    fprintf(to, "%s\n", text);
    fflush(to);
}

static void called(plugin_id id, unsigned cpu, int64_t number, uint64_t tag, uint64_t a2, uint64_t a3, uint64_t a4,
                   uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)cpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number == 0x5EED) {
        char text[64];
        snprintf(text, sizeof text, "before-mark-%llu", (unsigned long long)tag);
        line(text, before);
        memcpy(before, executed, sizeof before);
    }
}

static void ended(plugin_id id, void *unused)
{
    static const uint64_t start[CLASSES];
    (void)id, (void)unused;
    line("TOTAL", start);
}

/* `info` begins with the name of the guest's architecture; nothing else of it is needed. */
EXPORT int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments)
{
    wide = strcmp(*(const char *const *)info, "aarch64") == 0;
    to = stderr;
    for (int i = 0; i < count; i++) {
        if (strncmp(arguments[i], "out=", 4) != 0 || !(to = fopen(arguments[i] + 4, "ae"))) {
            fprintf(stderr, "icount: cannot use %s\n", arguments[i]);
            return -1;
        }
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
