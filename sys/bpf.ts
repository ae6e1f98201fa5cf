/** Operations of classic BPF, as <linux/bpf_common.h> and <linux/filter.h> number them: those that Herald's filters use. */
export const LOAD_WORD = 0x20;
export const LOAD_HALF = 0x28;
export const LOAD_BYTE = 0x30;
export const JUMP_IF_EQUAL = 0x15;
export const JUMP_IF_SET = 0x45;
export const RETURN = 0x06;
