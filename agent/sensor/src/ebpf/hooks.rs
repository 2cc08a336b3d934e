//! Which programs this kernel has a place for.

use libbpf_rs::btf::types::{Struct, Typedef};
use libbpf_rs::{Btf, OpenProgramMut};

/// Leaves out every program whose tracepoint or iterator the running kernel lacks, by asking its BTF,
/// and answers the sections left out, for example `tp_btf/cgroup_mkdir`. Coverage rows that name such
/// a section among their sources are covered in part then, or not at all without any of them. Programs
/// of other types are left as they are.
pub(super) fn leave_out<'a>(programs: impl IntoIterator<Item = OpenProgramMut<'a>>) -> Vec<String> {
    // Without BTF nothing loads: that error says what is wrong with the whole.
    let Ok(btf) = Btf::from_vmlinux() else {
        return Vec::new();
    };
    let mut left_out = Vec::new();
    for mut program in programs {
        let section = program.section().to_string_lossy().into_owned();
        if is_absent(&btf, &section) {
            tracing::info!(section, "this kernel has no such hook");
            program.set_autoload(false);
            left_out.push(section);
        }
    }
    left_out
}

/// Whether the kernel says that there is no such hook. `include/trace/bpf_probe.h` makes a type
/// `btf_trace_NAME` for each tracepoint; each iterator has a context `bpf_iter__NAME`.
fn is_absent(btf: &Btf<'_>, section: &str) -> bool {
    match section.split_once('/') {
        Some(("tp_btf", name)) => {
            let found = btf.type_by_name::<Typedef<'_>>(&format!("btf_trace_{name}"));
            found.is_none()
        }
        Some(("iter", name)) => {
            let found = btf.type_by_name::<Struct<'_>>(&format!("bpf_iter__{name}"));
            found.is_none()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks the kernel that runs the test.
    #[test]
    fn a_hook_that_the_kernel_has_is_told_from_one_that_it_lacks() {
        let btf = Btf::from_vmlinux().unwrap();
        for present in ["tp_btf/sched_process_exec", "iter/task", "syscall"] {
            assert!(!is_absent(&btf, present), "{present}");
        }
        for absent in ["tp_btf/no_such_tracepoint", "iter/no_such_iterator"] {
            assert!(is_absent(&btf, absent), "{absent}");
        }
    }
}
