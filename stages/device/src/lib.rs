//! Where a job computes, and with how many threads.

use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::{Cuda, Device};

/// A device that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Not a device's name.
    #[error("device `{0}`: expected `cpu` or `cuda:N`")]
    Name(String),
    /// CUDA is not there at all, or has fewer devices.
    #[error(
        "device `{name}`: libtorch sees {count} CUDA devices{}; on a machine with an NVIDIA GPU, \
         `make setup TORCH=cuda` installs the libtorch that can use it", in_brackets(.cause)
    )]
    Absent {
        /// The device that was asked for.
        name: String,
        /// How many there are.
        count: i64,
        /// Why libtorch has no CUDA, where it has none.
        cause: Option<String>,
    },
}

fn in_brackets(cause: &Option<String>) -> String {
    cause.as_ref().map_or(String::new(), |cause| format!(" ({cause})"))
}

/// Readies libtorch for a job: the device, and the number of threads one operation may use.
///
/// # Errors
/// When `name` is neither `cpu` nor a CUDA device that is there.
pub fn prepare(name: &str, threads: usize) -> Result<Device, DeviceError> {
    static WITHOUT_CUDA: OnceLock<Option<String>> = OnceLock::new();
    let without_cuda = WITHOUT_CUDA.get_or_init(|| {
        let cuda = load_cuda();
        compute_exactly();
        keep_memory();
        // One job computes one thing at a time; libtorch takes this setting only before its first parallel work.
        tch::set_num_interop_threads(1);
        cuda.err().map(|error| error.to_string())
    });
    tch::set_num_threads(i32::try_from(threads.max(1)).unwrap_or(i32::MAX));
    if name == "cpu" { Ok(Device::Cpu) } else { card(name, without_cuda.as_deref()) }
}

/// The CUDA device of that name. Where libtorch has none at all, it may be known why.
fn card(name: &str, without_cuda: Option<&str>) -> Result<Device, DeviceError> {
    let index = match name {
        "cuda" => Some(0),
        _ => name.strip_prefix("cuda:").and_then(|index| index.parse().ok()),
    };
    let index = index.ok_or_else(|| DeviceError::Name(name.to_owned()))?;
    let count = Cuda::device_count();
    if i64::try_from(index).is_ok_and(|index| index < count) {
        Ok(Device::Cuda(index))
    } else {
        Err(DeviceError::Absent { name: name.to_owned(), count, cause: without_cuda.map(str::to_owned) })
    }
}

/// Loads libtorch's CUDA half where it is installed. The linker drops it, since no symbol of it is named; its
/// constructors register CUDA with libtorch, so one program serves machines with and without a GPU. By its path: the other
/// half of another libtorch, in LD_LIBRARY_PATH, does not fit.
fn load_cuda() -> Result<(), libloading::Error> {
    // Of build.rs.
    let library = concat!(env!("HYPERRIBBON_LIBTORCH"), "/libtorch_cuda.so");
    // SAFETY: the library's constructors only register kernels with libtorch_cpu, which this program has loaded. It is
    // never unloaded.
    let library = unsafe { Library::open(Some(library), RTLD_NOW | RTLD_GLOBAL) }?;
    std::mem::forget(library);
    Ok(())
}

/// Whether a GPU fails where it has no way to compute the same bits each time, instead of warning. The gradient of attention
/// goes such a way only where this is asked for; that of max pooling may have none.
pub fn refuse_inexact(refuse: bool) {
    unsafe extern "C" {
        /// Of `arithmetic.cpp`.
        fn hyperribbon_refuse_inexact(refuse: bool);
    }
    // SAFETY: it sets a flag of libtorch's context.
    unsafe { hyperribbon_refuse_inexact(refuse) }
}

/// Lets GPUs compute the same bits each time, in full f32 where f32 is asked for. Processors do so anyway.
fn compute_exactly() {
    unsafe extern "C" {
        /// Of `arithmetic.cpp`.
        fn hyperribbon_compute_exactly();
    }
    // SAFETY: it takes nothing and sets flags of libtorch's context, which is there from the first use on.
    unsafe { hyperribbon_compute_exactly() }
}

/// Lets the allocator keep what libtorch frees. Each operation allocates its result; by default glibc maps a large one
/// anew and gives it back after use, and the kernel's clearing of pages then costs a third of a small network's time.
#[cfg(target_env = "gnu")]
fn keep_memory() {
    for (option, value) in
        [(libc::M_MMAP_MAX, 0), (libc::M_TRIM_THRESHOLD, i32::MAX), (libc::M_TOP_PAD, 64 << 20)]
    {
        // SAFETY: mallopt only sets a limit of the allocator; an unknown one is refused without effect.
        unsafe { libc::mallopt(option, value) };
    }
}

#[cfg(not(target_env = "gnu"))]
fn keep_memory() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there_and_threads_are_as_asked() {
        assert_eq!(prepare("cpu", 1).unwrap(), Device::Cpu);
        assert_eq!(tch::get_num_threads(), 1);
    }

    #[test]
    fn gpus_are_to_give_the_same_bits_each_time_and_f32_where_it_is_asked_for() {
        use std::ffi::c_void;
        prepare("cpu", 1).unwrap();
        // What tch has no call for either, by its C++ names: a member function takes its object first.
        let program = Library::this();
        let is_set = |name: &str| {
            // SAFETY: all are functions of libtorch_cpu, declared so in ATen/Context.h.
            unsafe {
                let context =
                    program.get::<unsafe extern "C" fn() -> *const c_void>(b"_ZN2at13globalContextEv\0");
                let name = format!("_ZNK2at7Context{}{name}Ev\0", name.len());
                let flag = program.get::<unsafe extern "C" fn(*const c_void) -> bool>(name.as_bytes());
                flag.unwrap()(context.unwrap()())
            }
        };
        for name in ["deterministicAlgorithms", "deterministicAlgorithmsWarnOnly", "deterministicCuDNN"] {
            assert!(is_set(name), "{name}");
        }
        for name in ["deterministicFillUninitializedMemory", "benchmarkCuDNN", "allowTF32CuBLAS"] {
            assert!(!is_set(name), "{name}");
        }
        assert!(std::env::var_os("CUBLAS_WORKSPACE_CONFIG").is_some());
        refuse_inexact(true);
        assert!(is_set("deterministicAlgorithms") && !is_set("deterministicAlgorithmsWarnOnly"));
        refuse_inexact(false);
        assert!(is_set("deterministicAlgorithmsWarnOnly"));
    }

    #[test]
    fn an_unknown_or_absent_device_is_told_by_name() {
        assert_eq!(prepare("gpu", 1).unwrap_err().to_string(), "device `gpu`: expected `cpu` or `cuda:N`");
        let message = prepare("cuda:999", 1).unwrap_err().to_string();
        assert!(message.starts_with("device `cuda:999`: libtorch sees"), "{message}");
        if !Cuda::is_available() {
            assert!(message.contains("/libtorch_cuda.so: cannot open"), "{message}");
        }
    }
}
