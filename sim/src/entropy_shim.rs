//! Owns the override of the C library's `syscall`, so that getrandom 0.2 and rand 0.8, which make the raw
//! `SYS_getrandom` system call, draw from the simulation's seeded generator (madsim intercepts the C function
//! `getrandom`, not the system call). Everything else passes through unchanged, with errno set as the C library does;
//! outside a simulation madsim's `getrandom` passes on to the operating system.
//!
//! This is the one file of the workspace with unsafe code. Only x86-64 Linux is covered; elsewhere nothing is
//! overridden and `lockstep doctor` says that runs are not bit-exact there.
#![allow(
    unsafe_code,
    reason = "the one named exception: a C function is overridden here"
)]

/// Whether the override is in place on this platform.
pub const ACTIVE: bool = cfg!(all(target_os = "linux", target_arch = "x86_64"));

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod x86_64_linux {
    use libc::c_long;

    unsafe extern "C" {
        /// madsim's, which draws from the simulation of this thread, if there is one.
        fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize;
    }

    /// Takes the place of the C library's function of this name for everything that is linked into the executable.
    ///
    /// # Safety
    /// As for the C library's `syscall`: the arguments must be valid for the system call `number`.
    #[unsafe(no_mangle)]
    pub(super) unsafe extern "C" fn syscall(
        number: c_long,
        a: c_long,
        b: c_long,
        c: c_long,
        d: c_long,
        e: c_long,
        f: c_long,
    ) -> c_long {
        if number == libc::SYS_getrandom {
            // SAFETY: the caller vouches for buffer and length, as it does for the system call.
            return unsafe { getrandom(a as *mut u8, b as usize, c as u32) as c_long };
        }
        let result: c_long;
        // SAFETY: the Linux x86-64 convention: number in rax, arguments in rdi, rsi, rdx, r10, r8, r9; rcx and r11
        // are overwritten by the kernel. The caller vouches for the arguments.
        unsafe {
            core::arch::asm!(
                "syscall",
                inlateout("rax") number => result,
                in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
                lateout("rcx") _, lateout("r11") _,
                options(nostack)
            );
        }
        if (-4095..0).contains(&result) {
            // SAFETY: the C library gives this thread's errno.
            unsafe { *libc::__errno_location() = -result as i32 };
            return -1;
        }
        result
    }
}

/// Draws through getrandom 0.2, as dependencies do. In a simulation the same seed must give the same bytes: the trace
/// begins with them, so that a determinism check fails where the override is not in place.
#[expect(
    clippy::disallowed_methods,
    reason = "the probe is about this very function"
)]
pub fn probe() -> Result<[u8; 8], getrandom02::Error> {
    let mut bytes = [0; 8];
    getrandom02::getrandom(&mut bytes)?;
    Ok(bytes)
}

/// Keeps the override linked in: the scheduler calls this before it starts a simulation.
pub fn link_in() -> bool {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    {
        let function: unsafe extern "C" fn(
            libc::c_long,
            libc::c_long,
            libc::c_long,
            libc::c_long,
            libc::c_long,
            libc::c_long,
            libc::c_long,
        ) -> libc::c_long = x86_64_linux::syscall;
        std::hint::black_box(function);
    }
    ACTIVE
}
