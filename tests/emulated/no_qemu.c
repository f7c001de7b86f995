/* Stands for the emulator, so that icount.c can be loaded without one and its table of instructions be tested. */
#define NOTHING(name) \
    void name(void);  \
    void name(void) {}
NOTHING(qemu_plugin_register_vcpu_tb_trans_cb)
NOTHING(qemu_plugin_register_vcpu_tb_exec_inline)
NOTHING(qemu_plugin_register_vcpu_syscall_cb)
NOTHING(qemu_plugin_register_atexit_cb)
NOTHING(qemu_plugin_tb_n_insns)
NOTHING(qemu_plugin_tb_get_insn)
NOTHING(qemu_plugin_insn_data)
